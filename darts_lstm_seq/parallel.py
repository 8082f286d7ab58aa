"""Run chunks of work on several processes or machines; a chunk that fails is retried once.

Processes and clusters are joblib's and chosen with `joblib.parallel_config`. What a chunk holds and
what happens to its result is up to the caller.

Source: `joblib.Parallel`, which on its own stops at the first worker that dies.
"""

import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from numbers import Integral
from typing import Any

import joblib
from joblib.parallel import get_active_backend
from threadpoolctl import threadpool_limits

# serialises code that touches process-global state (random numbers, loggers): the workers of some
# clusters are threads
process_lock = threading.RLock()

# with fewer chunks per worker, workers are idle at the end; each chunk costs a message
_CHUNKS_PER_WORKER, _LARGEST_CHUNK = 4, 25


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Select the backend of joblib within a `with` block.

    Parameters
    ----------
    name
        `"loky"` for processes of this machine; `"dask"` for the cluster in Dask's configuration
        (``DASK_SCHEDULER_ADDRESS``), or a new local one; `"ray"` likewise (``RAY_ADDRESS``).

    Raises
    ------
    ValueError
        If the package of the backend is not installed.

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
            options = {"n_jobs": -1}  # the default of joblib is one worker
    except ImportError as error:
        raise ValueError(
            f"The backend {name!r} needs a package that is missing: python -m pip install "
            f"'darts-lstm-seq[{name}]'. Reason: {error}"
        ) from error
    with connection, joblib.parallel_config(backend=name, **options):
        yield


def count_workers(n_jobs: int | None) -> int:
    """Return the number of workers that joblib would use.

    Parameters
    ----------
    n_jobs
        Number of workers in joblib's convention: -1 for all; `None` for the setting of
        ``joblib.parallel_config``, or one worker without it.

    Raises
    ------
    ValueError
        If it is neither `None` nor an integer other than 0.

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
            f"`n_jobs` must be a number of processes, -1 for all cores, or `None` for the setting "
            f"of `joblib.parallel_config`, received {n_jobs!r}."
        )
    return joblib.effective_n_jobs(n_jobs)


def chunk_ranges(count: int, n_workers: int) -> list[range]:
    """Divide the indices below `count` into consecutive chunks for a number of workers.

    Examples
    --------
    >>> from darts_lstm_seq.parallel import chunk_ranges
    >>> chunk_ranges(10, n_workers=1)
    [range(0, 3), range(3, 6), range(6, 9), range(9, 10)]
    """
    # an adaptive cluster may have no worker yet
    size = max(1, min(_LARGEST_CHUNK, -(-count // (_CHUNKS_PER_WORKER * max(1, n_workers)))))
    return [range(first, min(first + size, count)) for first in range(0, count, size)]


def run_chunks(
    function: Callable[[Any], Any], chunks: Sequence[Any], n_jobs: int | None = None
) -> Iterator[tuple[int, Any]]:
    """Yield the index of each chunk with the result of a function, in the order of completion.

    A chunk that fails, because its worker died or its result cannot be pickled, is retried once
    with no other chunk running, so that a chunk that kills its worker does not fail others.

    Parameters
    ----------
    function
        Called with one chunk.
    chunks
        The arguments of the calls.
    n_jobs
        See `count_workers`.

    Yields
    ------
    tuple[int, Any]
        The index of the chunk, and its result or the exception of its second failure.

    Examples
    --------
    >>> from darts_lstm_seq.parallel import run_chunks
    >>> sorted(run_chunks(sum, [[1, 2], [3, 4]]))
    [(0, 3), (1, 7)]
    """
    pending = list(range(len(chunks)))
    while pending:
        done: set[int] = set()
        started: list[int] = []
        failed: dict[int, BaseException] = {}
        try:
            for index, result in _run(function, chunks, pending, n_jobs, started):
                done.add(index)
                if isinstance(result, _Failure):
                    failed[index] = result.error
                else:
                    yield index, result
        except Exception as error:  # joblib stops at the first failure, and drops what was running
            running = [index for index in started if index not in done]
            if not running:  # the failure is not one of a chunk
                raise
            failed |= dict.fromkeys(running, error)
        # retried only now that nothing else is running
        for index, first_error in failed.items():
            yield index, _retry(function, chunks, index, n_jobs, first_error)
        done |= failed.keys()
        pending = [index for index in pending if index not in done]


@dataclass
class _Failure:
    """The exception of a chunk, in the place of its result."""

    error: BaseException


def _run(
    function: Callable[[Any], Any],
    chunks: Sequence[Any],
    indices: Sequence[int],
    n_jobs: int | None,
    started: list[int],
) -> Iterator[tuple[int, Any]]:
    """Run chunks and append the index of each one that is submitted to `started`."""

    def calls() -> Iterator[tuple[Any, ...]]:
        for index in indices:
            started.append(index)
            yield function, index, chunks[index], is_shared

    active, _ = get_active_backend()
    if hasattr(active, "client"):
        is_shared = True
        yield from _run_on_dask(active.client, calls())
        return
    n_workers = count_workers(n_jobs)
    is_shared = n_workers > 1
    if not active.supports_return_generator:
        delayed = map(_delay, calls())
        with joblib.Parallel(n_jobs) as parallel:
            while batch := list(islice(delayed, n_workers)):  # all results at once, or none
                yield from parallel(batch)
        return
    # no more chunks submitted than there are workers, so that a dead worker fails few of them
    options = {"return_as": "generator_unordered", "batch_size": 1, "pre_dispatch": n_workers}
    yield from joblib.Parallel(n_jobs, **options)(map(_delay, calls()))


def _run_on_dask(client: Any, calls: Iterator[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
    """Submit chunks to Dask directly: joblib 1.5 waits forever for a task that Dask gives up."""
    from distributed import as_completed

    running: dict[Any, int] = {}
    finished = as_completed()
    while True:
        # two tasks per core, so that an adaptive cluster grows; joblib would not only count the
        # cores, but give up while no worker has arrived yet
        cores = max(1, sum(client.ncores().values()))
        for call in islice(calls, max(0, 2 * cores - len(running))):
            future = client.submit(_call, *call, pure=False)
            running[future] = call[1]
            finished.add(future)
        if not running:
            return
        future = next(finished)
        index, error = running.pop(future), future.exception()
        yield future.result() if error is None else (index, _Failure(error))


def _retry(
    function: Callable[[Any], Any],
    chunks: Sequence[Any],
    index: int,
    n_jobs: int | None,
    first_error: BaseException,
) -> Any:
    try:
        ((_, result),) = _run(function, chunks, [index], n_jobs, [])
    except Exception as error:
        result = _Failure(error)
    if not isinstance(result, _Failure):
        return result
    result.error.__cause__ = result.error.__cause__ or first_error
    return result.error


def _delay(call: tuple[Any, ...]) -> Any:
    return joblib.delayed(_call)(*call)


def _call(
    function: Callable[[Any], Any], index: int, chunk: Any, is_shared: bool
) -> tuple[int, Any]:
    limits = ExitStack()
    if is_shared:
        # workers with a thread per core would compete for the cores; and on a cluster, nested
        # joblib calls (of Darts' metrics) would wait for the chunk that makes them
        limits.enter_context(threadpool_limits(1))
        limits.enter_context(joblib.parallel_config(backend="sequential"))
    with limits:
        try:
            return index, function(chunk)
        except Exception as error:  # joblib would stop all workers, whose start takes seconds
            error.add_note(traceback.format_exc())  # pickling an exception drops its traceback
            return index, _Failure(error)
