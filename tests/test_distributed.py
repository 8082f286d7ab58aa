"""Two real processes (gloo, on the CPU), started as Lightning and as torchrun start them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import two_processes

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(sys.platform == "win32", reason="torchrun lacks libuv there"),
]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
FOUND = dict[str, Any]


@pytest.fixture(scope="module", params=[[], TORCHRUN], ids=["lightning", "torchrun"])
def ranks(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[FOUND, FOUND, Path]:
    """What each of two processes found, and their folder."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, *request.param, two_processes.__file__, str(folder), "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(2))
    return first, second, folder


def assert_close(found: Any, expected: Any, tolerance: float) -> None:
    if isinstance(found, dict):
        found, expected = found.values(), expected.values()
    for left, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance)


def test_processes_agree(ranks: tuple[FOUND, FOUND, Path]) -> None:
    first, second, _ = ranks
    for case in ("plain", "everything", "members"):
        for name in ("weights", "forecasts"):
            assert_close(first[case][name], second[case][name], 0)
        assert first[case]["losses"] == second[case]["losses"]  # averaged over both
        assert len(first[case]["losses"]["train_loss"]) == 3
    assert len(first["everything"]["losses"]["val_loss"]) == 3


def test_two_learn_what_one_learns(ranks: tuple[FOUND, FOUND, Path], tmp_path: Path) -> None:
    first, _, _ = ranks
    alone = two_processes.learn_plainly(tmp_path, devices=1)
    for name in ("weights", "forecasts"):
        assert_close(first["plain"][name], alone[name], 1e-10)
    assert_close(first["plain"]["losses"]["train_loss"], alone["losses"]["train_loss"], 1e-10)


def test_each_process_forecasts_every_series_in_order(ranks: tuple[FOUND, FOUND, Path]) -> None:
    levels = [100 * number for number in range(3)]  # an odd number for two processes
    for found in ranks[:2]:
        for name in ("forecasts", "through_trainer"):
            means = [values.mean() for values in found["plain"][name]]
            np.testing.assert_allclose(means, levels, atol=15)
        assert_close(found["plain"]["through_trainer"], found["plain"]["forecasts"], 1e-10)


def test_one_process_writes_the_checkpoint(ranks: tuple[FOUND, FOUND, Path]) -> None:
    checkpoints = [path.name for path in ranks[2].rglob("*.ckpt")]
    assert sorted(checkpoints) == ["last-epoch=2.ckpt", "plain.pt.ckpt"]
