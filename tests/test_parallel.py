"""Chunks on real processes: results, errors, workers that are killed, backends of other packages.

Workers import the functions at the top of this file by the name of its module. `parallel` imports
neither Darts nor PyTorch, so that these workers start fast.
"""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joblib.externals.loky import get_reusable_executor

from darts_lstm_seq.parallel import backend, chunk_ranges, count_workers, run_chunks


def double(chunk: int) -> int:
    return 2 * chunk


def fail_on_three(chunk: int) -> int:
    if chunk == 3:
        raise KeyError("three")
    return chunk


def nested_workers(_: int) -> int:
    return joblib.effective_n_jobs(2)


def die(chunk: tuple[str, str]) -> tuple[str, bool]:
    """Kill the worker: `always`, or `once`, until a file exists."""
    kind, folder = chunk
    file = Path(folder) / "killed"
    if kind == "always" or (kind == "once" and not file.exists()):
        file.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return kind, file.exists()


@pytest.fixture(scope="module", autouse=True)
def _fresh_workers() -> Iterator[None]:
    """Leave no workers to tests that import Darts in them: joblib restarts workers that grow."""
    yield
    get_reusable_executor().shutdown(wait=True)


@given(st.integers(0, 300), st.integers(1, 9))
def test_ranges_cover_all_indices_once_in_order(count: int, n_workers: int) -> None:
    chunks = chunk_ranges(count, n_workers)
    assert [index for chunk in chunks for index in chunk] == list(range(count))
    assert all(1 <= len(chunk) <= 25 for chunk in chunks)
    assert len(chunks) >= min(count, n_workers)


@pytest.mark.parametrize("n_jobs", [None, 1, 2])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_every_chunk_has_its_result(count: int, n_jobs: int | None) -> None:
    assert sorted(run_chunks(double, range(count), n_jobs)) == [(i, 2 * i) for i in range(count)]


@pytest.mark.parametrize("name", ["loky", "threading", "multiprocessing"])
def test_backends_with_and_without_generators(name: str) -> None:
    with joblib.parallel_config(backend=name, n_jobs=2):
        assert sorted(run_chunks(double, range(5))) == [(i, 2 * i) for i in range(5)]


def test_work_within_a_chunk_stays_with_its_worker() -> None:
    with joblib.parallel_config(backend="threading", n_jobs=2):
        assert dict(run_chunks(nested_workers, range(2))) == {0: 1, 1: 1}
    with joblib.parallel_config(backend="threading", n_jobs=1):
        assert dict(run_chunks(nested_workers, range(2))) == {0: 2, 1: 2}


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_fails_its_own_chunk_only(n_jobs: int) -> None:
    found = dict(run_chunks(fail_on_three, range(6), n_jobs))
    error = found.pop(3)
    assert isinstance(error, KeyError)
    assert "in fail_on_three" in error.__notes__[0]
    assert found == {i: i for i in (0, 1, 2, 4, 5)}


@pytest.mark.cluster
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_worker_fails_its_own_chunk_only(tmp_path: Path) -> None:
    kinds = ["works", "once", "works", "always", "works", "works"]
    found = dict(run_chunks(die, [(kind, str(tmp_path)) for kind in kinds], 2))
    assert isinstance(found.pop(3), Exception)
    assert {index: kind for index, (kind, _) in found.items()} == {
        index: kind for index, kind in enumerate(kinds) if kind != "always"
    }


@pytest.mark.parametrize("wrong", [0, 1.5, True, "2"])
def test_refuses_a_wrong_number_of_jobs(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"`n_jobs` must be a number of processes, .* received"):
        count_workers(wrong)


def test_the_number_of_workers_is_that_of_the_context_by_default() -> None:
    assert count_workers(None) == 1
    with joblib.parallel_config(n_jobs=3):
        assert count_workers(None) == 3


@pytest.mark.parametrize(("name", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_the_error_of_a_missing_backend_says_what_to_install(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    monkeypatch.setitem(sys.modules, f"{package}.util.joblib", None)
    with pytest.raises(ValueError, match=rf"pip install 'darts-lstm-seq\[{name}\]'"), backend(name):
        pass


@pytest.mark.cluster
def test_on_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # for workers
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with backend("ray"):
            assert count_workers(None) == 2
            found = dict(run_chunks(fail_on_three, range(5)))
    finally:
        ray.shutdown()
    assert isinstance(found.pop(3), KeyError)
    assert found == {i: i for i in (0, 1, 2, 4)}
