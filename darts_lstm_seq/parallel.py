"""Work in chunks on several processes or machines: what is lost is tried again, the rest is kept.

Processes and clusters are joblib's: `joblib.parallel_config(backend="dask")` and its like decide
where the work goes. What a chunk is, and what becomes of its result, is the caller's.

Source: `joblib.Parallel`, which on its own ends with the first worker that dies.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from numbers import Integral
from typing import Any

import joblib
from joblib.parallel import get_active_backend
from threadpoolctl import threadpool_limits

from darts_lstm_seq.compat import is_sequential, yields_results

# for work with what belongs to a whole process, logs and PyTorch's random numbers for instance:
# the workers of some clusters are threads
process_lock = threading.RLock()

# chunks for each worker: few, and the last ones leave workers idle; many, and each costs a message
_CHUNKS_PER_WORKER, _LARGEST_CHUNK = 4, 25


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Within, joblib's work goes to a backend by this name.

    Parameters
    ----------
    name
        `"loky"` for processes of this machine; `"dask"` for the cluster that Dask's settings name
        (``DASK_SCHEDULER_ADDRESS``), or one of its own; `"ray"` likewise (``RAY_ADDRESS``).

    Raises
    ------
    ValueError
        If the package of the backend is missing.

    Examples
    --------
    >>> import joblib
    >>> from darts_lstm_seq.parallel import backend
    >>> with backend("loky"):
    ...     joblib.effective_n_jobs(2)
    2
    """
    connection: AbstractContextManager[Any] = nullcontext()
    options = {}
    try:
        if name == "dask":
            from distributed import Client

            connection = Client()
        elif name == "ray":
            from ray.util.joblib import register_ray

            register_ray()
            options = {"n_jobs": -1}  # else joblib takes one worker
    except ImportError as error:
        raise ValueError(
            f"The backend {name!r} needs a package that is missing: python -m pip install "
            f"'darts-lstm-seq[{name}]'. Reason: {error}"
        ) from error
    with connection, joblib.parallel_config(backend=name, **options):
        yield


def count_workers(n_jobs: int | None) -> int:
    """Return how many workers joblib would use.

    Parameters
    ----------
    n_jobs
        Number of workers as joblib takes it: -1 for all there are; `None` for what
        ``joblib.parallel_config`` says, and one otherwise.

    Raises
    ------
    ValueError
        If it is no such number.

    Examples
    --------
    >>> import joblib
    >>> from darts_lstm_seq.parallel import count_workers
    >>> with joblib.parallel_config(n_jobs=3):
    ...     count_workers(None)
    3
    """
    is_number = isinstance(n_jobs, Integral) and not isinstance(n_jobs, bool)
    if n_jobs is not None and not (is_number and n_jobs != 0):
        raise ValueError(
            f"`n_jobs` must be a number of processes, -1 for all cores, or `None` for what "
            f"`joblib.parallel_config` says, received {n_jobs!r}."
        )
    return joblib.effective_n_jobs(n_jobs)


def chunk_ranges(count: int, n_workers: int) -> list[range]:
    """Cut the numbers from 0 to `count` into chunks that keep some workers busy.

    Examples
    --------
    >>> from darts_lstm_seq.parallel import cut
    >>> chunk_ranges(10, n_workers=1)
    [range(0, 3), range(3, 6), range(6, 9), range(9, 10)]
    """
    # a cluster that grows with its work may have no worker yet
    size = max(1, min(_LARGEST_CHUNK, -(-count // (_CHUNKS_PER_WORKER * max(1, n_workers)))))
    return [range(first, min(first + size, count)) for first in range(0, count, size)]


def run_chunks(
    function: Callable[[Any], Any], chunks: Sequence[Any], n_jobs: int | None = None
) -> Iterator[tuple[int, Any]]:
    """Yield the number of each chunk and what a function returns for it, the first done first.

    A chunk that is lost, since its worker died or its result cannot travel, is tried once more
    alone, so that no chunk is blamed for its neighbour.

    Parameters
    ----------
    function
        Called with one chunk.
    chunks
        What the workers get.
    n_jobs
        See `count_workers`.

    Yields
    ------
    tuple[int, Any]
        The number of the chunk, and its result or the exception that cost it twice.

    Examples
    --------
    >>> from darts_lstm_seq.parallel import run_chunks
    >>> sorted(run_chunks(sum, [[1, 2], [3, 4]]))
    [(0, 3), (1, 7)]
    """
    left = list(range(len(chunks)))
    while left:
        done: set[int] = set()
        started: list[int] = []
        lost: dict[int, BaseException] = {}
        try:
            for number, result in _run(function, chunks, left, n_jobs, started):
                done.add(number)
                if isinstance(result, _Lost):
                    lost[number] = result.error
                else:
                    yield number, result
        except Exception as error:  # with one worker, joblib loses what the others had begun
            begun = [number for number in started if number not in done]
            if not begun:  # no worker had
                raise
            lost |= dict.fromkeys(begun, error)
        # not before nothing else is under way
        for number, reason in lost.items():
            yield number, _run_alone(function, chunks, number, n_jobs, reason)
        done |= lost.keys()
        left = [number for number in left if number not in done]


@dataclass
class _Lost:
    """Stands for a result."""

    error: BaseException


def _run(
    function: Callable[[Any], Any],
    chunks: Sequence[Any],
    numbers: Sequence[int],
    n_jobs: int | None,
    started: list[int],
) -> Iterator[tuple[int, Any]]:
    """Run chunks, noting which of them have been handed out."""

    def calls() -> Iterator[tuple[Any, ...]]:
        for number in numbers:
            started.append(number)
            yield function, number, chunks[number], is_shared

    active, _ = get_active_backend()
    if hasattr(active, "client"):
        is_shared = True
        yield from _run_on_dask(active.client, calls())
        return
    n_workers = count_workers(n_jobs)
    with joblib.Parallel(n_jobs) as parallel:
        is_shared = not is_sequential(parallel)
        if not yields_results(parallel):
            todo = map(_delay, calls())
            while batch := list(islice(todo, n_workers)):  # their results come all at once, or none
                yield from parallel(batch)
            return
    # no more chunks under way than workers: few are lost with one
    options = {"return_as": "generator_unordered", "batch_size": 1, "pre_dispatch": n_workers}
    yield from joblib.Parallel(n_jobs, **options)(map(_delay, calls()))


def _run_on_dask(client: Any, calls: Iterator[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
    """Hand chunks to Dask itself: joblib 1.5 waits forever for one that Dask gives up."""
    from distributed import as_completed

    running: dict[Any, int] = {}
    finished = as_completed()
    while True:
        # twice the cores, since an adaptive cluster grows with what waits; joblib would not only
        # count them, but give up while all workers are on their way
        cores = max(1, sum(client.ncores().values()))
        for call in islice(calls, max(0, 2 * cores - len(running))):
            future = client.submit(_numbered, *call, pure=False)
            running[future] = call[1]
            finished.add(future)
        if not running:
            return
        future = next(finished)
        number, error = running.pop(future), future.exception()
        yield future.result() if error is None else (number, _Lost(error))


def _run_alone(
    function: Callable[[Any], Any],
    chunks: Sequence[Any],
    number: int,
    n_jobs: int | None,
    lost_by: BaseException,
) -> Any:
    try:
        ((_, result),) = _run(function, chunks, [number], n_jobs, [])
    except Exception as error:
        result = _Lost(error)
    if not isinstance(result, _Lost):
        return result
    result.error.__cause__ = result.error.__cause__ or lost_by
    return result.error


def _delay(call: tuple[Any, ...]) -> Any:
    return joblib.delayed(_numbered)(*call)


def _numbered(
    function: Callable[[Any], Any], number: int, chunk: Any, is_shared: bool
) -> tuple[int, Any]:
    if not is_shared:
        return number, function(chunk)
    # several workers with a thread for each core would fight over the cores; and what joblib is
    # asked for within a chunk (Darts' metrics do) would wait, on a cluster, for the chunk to end
    with threadpool_limits(1), joblib.parallel_config(backend="sequential"):
        return number, function(chunk)
