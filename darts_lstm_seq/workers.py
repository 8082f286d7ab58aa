"""Worker processes of this machine, each with its own pipe: one that dies loses its own call only.

Idle workers are kept for the next calls, because importing Darts and PyTorch takes seconds; they
end with the process that started them. Which calls are made, and which are repeated, is decided in
`parallel.py`.

Source: joblib's start method "loky", a fresh interpreter that does not run `__main__` again. Its
pool is not used: all of its workers share queues, and all their calls fail when one is killed.
"""

import atexit
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import wait
from typing import Any

import joblib  # registers the start method

__all__ = ["Failure", "WorkerDiedError", "run_on_processes"]

# an idle worker ends after this time, as those of joblib's pool do
_IDLE_SECONDS = 300
# so many workers may die one after another before any is ready; then each one fails a call, or
# starts would never end
_MAX_FAILED_STARTS = 10


class WorkerDiedError(RuntimeError):
    """A worker process ended during a call, killed for its memory for instance."""


@dataclass
class Failure:
    """The exception of a call, in the place of its result."""

    error: BaseException


class _Worker:
    """A process that answers one call after another, the first of which is made at its start."""

    def __init__(self, first_call: bytes) -> None:
        context: Any = get_context("loky")
        self.connection, connection = context.Pipe()
        # nothing is ever sent here: it is at its end when this process is
        lifeline, self._lifeline = context.Pipe(duplex=False)
        self._process = context.Process(target=_answer_calls, args=(connection, lifeline))
        self._process.start()
        connection.close()  # with no other copy here, `receive` sees the end of the process
        lifeline.close()
        self.send(first_call)
        self.is_ready = False

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def send(self, message: bytes) -> None:
        with suppress(OSError):  # it died, which `receive` reports
            self.connection.send_bytes(message)

    def receive(self) -> Any:
        """Return the result of the call or a `Failure`, and keep the worker if it lives."""
        try:
            message = self.connection.recv_bytes()
        except (EOFError, OSError):
            self.stop()
            code = self._process.exitcode
            return Failure(WorkerDiedError(f"a worker process ended with exit code {code}"))
        self.is_ready = True
        _idle.append(self)
        try:
            return pickle.loads(message)
        except Exception as error:
            return Failure(error)

    def stop(self) -> None:
        self.connection.close()
        self._process.terminate()
        self._process.join()


# those that are ready last
_idle: deque[_Worker] = deque()
_failed_starts = 0  # since a worker was ready


def _take_worker(first_call: bytes) -> _Worker:
    while _idle:
        worker = _idle.pop()
        if worker.is_alive():
            return worker
        worker.stop()
    return _Worker(first_call)


@atexit.register  # before `multiprocessing` joins its processes
def _stop_idle_workers() -> None:
    while _idle:
        _idle.pop().stop()


if hasattr(os, "register_at_fork"):
    # a forked process must not share the pipes of its parent
    os.register_at_fork(after_in_child=_idle.clear)


def run_on_processes(
    calls: Iterable[tuple[int, tuple[Any, ...]]], n_workers: int, shared: Any = None
) -> Iterator[tuple[int, Any]]:
    """Yield the results of calls on worker processes, in the order of completion.

    Calls go to workers that are ready for them: while one takes the place of one that died, the
    others go on.

    Parameters
    ----------
    calls
        An index for each call, and the call: a function followed by its arguments.
    n_workers
        Number of worker processes.
    shared
        What all calls share. It is loaded, with all that must be imported for it, before a worker
        is ready.

    Yields
    ------
    tuple[int, Any]
        The index of the call, and its result or a `Failure`.

    Examples
    --------
    >>> from darts_lstm_seq.workers import run_on_processes
    >>> sorted(run_on_processes([(0, (abs, -1)), (1, (max, 2, 3))], n_workers=2))
    [(0, 1), (1, 3)]
    """
    global _failed_starts
    pending = deque(calls)
    try:
        first_call = _dumps((callable, shared))
    except Exception:  # each call says why
        first_call = _dumps((callable, None))
    busy: dict[Any, tuple[_Worker, int]] = {}
    starting: dict[Any, _Worker] = {}
    try:
        while True:
            while pending and len(busy) + len(starting) < n_workers:
                if not _idle and len(starting) >= len(pending):
                    break  # no more starts than calls
                worker = _take_worker(first_call)
                if not worker.is_ready:
                    starting[worker.connection] = worker
                    continue
                index, call = pending.popleft()
                try:
                    message = _dumps(call)
                except Exception as error:
                    _idle.append(worker)
                    yield index, Failure(error)
                    continue
                busy[worker.connection] = worker, index
                worker.send(message)
            if not (pending or busy):
                return
            for connection in wait([*busy, *starting]):
                if connection in busy:
                    worker, index = busy.pop(connection)
                    yield index, worker.receive()
                    continue
                worker = starting.pop(connection)
                result = worker.receive()
                _failed_starts = 0 if worker.is_ready else _failed_starts + 1
                if _failed_starts > _MAX_FAILED_STARTS and pending:
                    yield pending.popleft()[0], result
    finally:  # a caller that goes away, Ctrl-C included, waits for no result
        for worker, _ in busy.values():
            worker.stop()
        _idle.extendleft(starting.values())


def _dumps(value: Any) -> bytes:
    # what is defined in `__main__` or a function is pickled by value
    return pickle.dumps(joblib.wrap_non_picklable_objects(value, keep_wrapper=False))


def _answer_calls(connection: Any, lifeline: Any) -> None:
    """Answer calls until the other end is closed; runs in the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal
    threading.Thread(target=_exit_with_parent, args=(lifeline,), daemon=True).start()
    while connection.poll(_IDLE_SECONDS):
        try:
            message = connection.recv_bytes()
        except (EOFError, OSError):
            return
        connection.send_bytes(_answer(message))


def _exit_with_parent(lifeline: Any) -> None:
    lifeline.poll(None)
    os._exit(1)


def _answer(message: bytes) -> bytes:
    try:
        function, *arguments = pickle.loads(message)
        return _dumps(function(*arguments))
    except Exception as error:
        try:
            return _dumps(Failure(error))
        except Exception:
            return _dumps(Failure(RuntimeError(f"{type(error).__name__}: {error}")))
