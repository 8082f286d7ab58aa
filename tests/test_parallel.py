"""Chunks on real processes: results, errors, workers that are killed, backends of other packages.

Workers import the functions at the top of this file by the name of its module. `parallel` imports
neither Darts nor PyTorch, so that these workers start fast.
"""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import joblib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darts_lstm_seq import workers
from darts_lstm_seq.parallel import backend, chunk_ranges, count_workers, run_chunks


def double(chunk: int) -> int:
    return 2 * chunk


def fail_on_three(chunk: int) -> int:
    if chunk == 3:
        raise KeyError("three")
    return chunk


def nested_workers(_: int) -> int:
    return joblib.effective_n_jobs(2)


posix = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")


def die_after(chunk: tuple[int, Path]) -> int:
    """Kill the worker after so many calls of functions, up to when it waits for the next chunk."""
    calls, folder = chunk
    with open(folder / str(calls), "a+") as starts:
        is_first = not starts.tell()
        starts.write("started\n")
    remaining = itertools.count(calls, -1)

    def count_call(frame: FrameType, event: str, argument: Any) -> None:
        if frame.f_code.co_name == "poll":
            sys.setprofile(None)
        elif next(remaining) <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if is_first:
        sys.setprofile(count_call)
    return calls


class DiesAt:
    """Kills the process that pickles it (`save`) or loads it (`load`), until a file exists."""

    def __init__(self, moment: str, file: Path) -> None:
        self.moment, self.file, self.parent = moment, file, os.getpid()

    def die(self, moment: str) -> None:
        if moment == self.moment and os.getpid() != self.parent and not self.file.exists():
            self.file.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def __getstate__(self) -> dict[str, Any]:
        self.die("save")
        return vars(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.die("load")


def send_half(file: Path) -> bytes:
    """Kill the worker when half of the result is sent, until a file exists."""
    from multiprocessing.connection import Connection

    def send(self: Connection, data: Any, *_: Any) -> None:
        os.write(self.fileno(), data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    if not file.exists():
        file.touch()
        Connection._send = send  # type: ignore[attr-defined]
    return bytes(1000)


class DiesAtStart:
    """Kills the first workers that load it."""

    def __init__(self, deaths: int, folder: Path) -> None:
        self.deaths, self.folder, self.parent = deaths, folder, os.getpid()

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if os.getpid() != self.parent and len(list(self.folder.iterdir())) < self.deaths:
            (self.folder / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, chunk: int) -> int:
        return chunk


class Replaced:
    """Kills a worker when two have loaded it; no other one can load it before a file exists."""

    loaded_by = 0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if Replaced.loaded_by != os.getpid() and (self.folder / "killed").exists():
            self.wait_until(lambda: (self.folder / "end").exists())
        Replaced.loaded_by = os.getpid()
        (self.folder / f"{os.getpid()}.worker").touch()

    def __call__(self, chunk: int) -> int:
        if chunk == 0 and not (self.folder / "killed").exists():
            self.wait_until(lambda: len(list(self.folder.glob("*.worker"))) == 2)
            (self.folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return chunk

    def wait_until(self, is_true: Callable[[], bool]) -> None:
        while not is_true():
            time.sleep(0.01)


def identity(chunk: Any) -> Any:
    return chunk


def worker_id(_: int) -> int:
    return os.getpid()


def hold(fifo: str) -> None:
    """Hold a pipe open, in which the other end sees whether this process ends."""
    with open(fifo, "w") as file:
        print(os.getpid(), file=file, flush=True)
        time.sleep(100)
        print("still there", file=file, flush=True)


def die(chunk: tuple[str, str]) -> tuple[str, bool]:
    """Kill the worker `once`, `twice` or `thrice`."""
    kind, folder = chunk
    killed = Path(folder) / kind
    deaths = killed.stat().st_size if killed.exists() else 0
    if deaths < ("works", "once", "twice", "thrice").index(kind):
        killed.write_bytes(bytes(deaths + 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return kind, killed.exists()


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
@posix
def test_a_killed_worker_fails_its_own_chunk_only(tmp_path: Path) -> None:
    kinds = ["works", "once", "twice", "thrice", "works", "works"]
    found = dict(run_chunks(die, [(kind, str(tmp_path)) for kind in kinds], 2))
    assert isinstance(found.pop(3), workers.WorkerDiedError)
    assert {index: kind for index, (kind, _) in found.items()} == {
        index: kind for index, kind in enumerate(kinds) if kind != "thrice"
    }


@pytest.mark.slow
@pytest.mark.cluster
@posix
def test_workers_killed_between_any_two_calls_lose_nothing(tmp_path: Path) -> None:
    chunks = [(calls, tmp_path) for calls in [*range(0, 30, 3), *range(30, 120, 15)]]
    found = dict(run_chunks(die_after, chunks, 2))
    assert found == {index: calls for index, (calls, _) in enumerate(chunks)}
    starts = [(tmp_path / str(calls)).read_text().count("started") for calls, _ in chunks]
    assert max(starts) == 2
    assert sum(starts) > len(chunks) + 5  # some are killed after the result was sent


@pytest.mark.cluster
@posix
@pytest.mark.parametrize("moment", ["load", "save"])
def test_workers_killed_while_they_pickle_lose_nothing(moment: str, tmp_path: Path) -> None:
    chunks = [1, DiesAt(moment, tmp_path / "killed"), 3, 4]
    found = dict(run_chunks(identity, chunks, 2))
    assert (tmp_path / "killed").exists()
    assert isinstance(found.pop(1), DiesAt)
    assert found == {0: 1, 2: 3, 3: 4}


@pytest.mark.cluster
@posix
def test_a_killed_worker_costs_its_chunk_once_and_not_the_start_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_idle", deque())
    try:
        found = dict(run_chunks(Replaced(tmp_path), range(6), 2))
    finally:
        (tmp_path / "end").touch()
    assert (tmp_path / "killed").exists()
    assert found == {index: index for index in range(6)}


@pytest.mark.cluster
@posix
def test_workers_killed_at_their_start_fail_no_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_idle", deque())
    assert dict(run_chunks(DiesAtStart(3, tmp_path), [5], 2)) == {0: 5}
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.cluster
@posix
def test_starts_end_where_every_worker_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_idle", deque())
    monkeypatch.setattr(workers, "_failed_starts", workers._MAX_FAILED_STARTS)
    ((_, error),) = run_chunks(DiesAtStart(1000, tmp_path), [5], 2)
    assert isinstance(error, workers.WorkerDiedError)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.cluster
def test_what_cannot_be_pickled_fails_its_own_chunk_only() -> None:
    lock = threading.Lock()
    found = dict(run_chunks(identity, [1, lock, 3], 2))
    assert "pickle" in str(found.pop(1))
    assert found == {0: 1, 2: 3}
    found = dict(run_chunks(lambda _: threading.Lock(), range(3), 2))
    assert all("pickle" in str(error) for error in found.values())
    found = dict(run_chunks(lambda _: lock, range(3), 2))
    assert all("pickle" in str(error) for error in found.values())


@pytest.mark.cluster
@posix
def test_half_a_result_is_none(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "abc"]
    assert dict(run_chunks(send_half, files, 2)) == dict.fromkeys(range(3), bytes(1000))
    assert all(file.exists() for file in files)


@pytest.mark.cluster
@posix
def test_idle_workers_are_used_again_unless_they_were_killed() -> None:
    before = set(dict(run_chunks(worker_id, range(8), 2)).values())
    assert set(dict(run_chunks(worker_id, range(8), 2)).values()) <= before
    for process in before:
        os.kill(process, signal.SIGKILL)
    after = dict(run_chunks(worker_id, range(8), 2))
    assert after.keys() == set(range(8))
    assert before.isdisjoint(after.values())


@pytest.mark.cluster
@posix
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_process_that_started_them(number: int, tmp_path: Path) -> None:
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    call = f"next(run_chunks({__name__}.hold, [{fifo!r}] * 2, 2))"
    # a shell may have started the tests in the background, where the interrupt is ignored
    interrupt = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    process = start_python(f"{interrupt}\nfrom darts_lstm_seq.parallel import run_chunks; {call}")
    with open(fifo) as file:
        assert int(file.readline()) != int(file.readline())
        process.send_signal(number)
        assert file.read() == ""  # when no worker holds the other end any more
    assert process.wait() == -number


@pytest.mark.cluster
def test_idle_workers_do_not_keep_their_process_alive() -> None:
    call = "print(len(list(run_chunks(abs, range(4), 2))))"
    process = start_python(f"from darts_lstm_seq.parallel import run_chunks; {call}")
    assert process.communicate(timeout=60) == ("4\n", "")
    assert process.returncode == 0


def start_python(code: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", f"import {__name__}\n{code}"],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


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
