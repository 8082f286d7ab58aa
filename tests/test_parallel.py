"""Chunks over real processes: order of blame, workers that are killed, backends of other packages.

Workers import this file's functions by the name of the module, so they stand at its top.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import joblib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darts_lstm_seq.parallel import backend, chunk_ranges, count_workers, run_chunks

# a worker of any backend can import what is beside this file
joblib_path = str(Path(__file__).parent)


def double(chunk: int) -> int:
    return 2 * chunk


def fail_on_three(chunk: int) -> int:
    if chunk == 3:
        raise KeyError("three")
    return chunk


def die(chunk: tuple[str, str]) -> tuple[str, bool]:
    """Kill the worker: `always`, or `once`, which a file remembers."""
    kind, folder = chunk
    seen = Path(folder) / "seen"
    if kind == "always" or (kind == "once" and not seen.exists()):
        seen.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return kind, seen.exists()


@given(st.integers(0, 300), st.integers(1, 9))
def test_chunks_cover_everything_once_in_order(count: int, n_workers: int) -> None:
    chunks = chunk_ranges(count, n_workers)
    assert [number for chunk in chunks for number in chunk] == list(range(count))
    assert all(1 <= len(chunk) <= 25 for chunk in chunks)
    assert len(chunks) >= min(count, n_workers)


@pytest.mark.parametrize("n_jobs", [None, 1, 2])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_every_chunk_has_its_result(count: int, n_jobs: int | None) -> None:
    assert sorted(run_chunks(double, range(count), n_jobs)) == [(i, 2 * i) for i in range(count)]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_costs_its_own_chunk(n_jobs: int) -> None:
    found = dict(run_chunks(fail_on_three, range(6), n_jobs))
    assert isinstance(found.pop(3), KeyError)
    assert found == {i: i for i in (0, 1, 2, 4, 5)}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_worker_costs_at_most_its_chunk(tmp_path: Path) -> None:
    kinds = ["well", "once", "well", "always", "well", "well"]
    found = dict(run_chunks(die, [(kind, str(tmp_path)) for kind in kinds], 2))
    assert isinstance(found.pop(3), Exception)
    assert {number: kind for number, (kind, _) in found.items()} == {
        number: kind for number, kind in enumerate(kinds) if kind != "always"
    }


@pytest.mark.parametrize("wrong", [0, 1.5, True, "2"])
def test_refuses_a_wrong_number_of_jobs(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"`n_jobs` must be a number of processes, .* received"):
        count_workers(wrong)


def test_the_context_decides_where_nothing_is_said() -> None:
    assert count_workers(None) == 1
    with joblib.parallel_config(n_jobs=3):
        assert count_workers(None) == 3


@pytest.mark.parametrize(("name", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_missing_backend_says_what_to_install(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    monkeypatch.setitem(sys.modules, f"{package}.util.joblib", None)
    with pytest.raises(ValueError, match=rf"pip install 'darts-lstm-seq\[{name}\]'"), backend(name):
        pass


def test_on_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", joblib_path)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with backend("ray"):
            assert count_workers(None) == 2  # all there are
            found = dict(run_chunks(fail_on_three, range(5)))
    finally:
        ray.shutdown()
    assert isinstance(found.pop(3), KeyError)
    assert found == {i: i for i in (0, 1, 2, 4)}
