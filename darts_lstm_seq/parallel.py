"""Run chunks of work on several processes or machines; a chunk that fails is retried once.

Backends are chosen with `joblib.parallel_config`. Processes of this machine are in `workers.py`,
tasks of Dask are submitted to its client, and joblib runs the rest. What a chunk holds and what
happens to its result is up to the caller.

Source: `joblib.Parallel`, which on its own stops at the first worker that dies.
"""

import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from numbers import Integral
from typing import Any

import joblib
from joblib.parallel import BACKENDS, get_active_backend
from threadpoolctl import threadpool_limits

from darts_lstm_seq.workers import Failure, WorkerDiedError, run_on_processes

# serialises code that touches process-global state (random numbers, loggers): the workers of some
# clusters are threads
process_lock = threading.RLock()

# with fewer chunks per worker, workers are idle at the end; each chunk costs a message
_CHUNKS_PER_WORKER, _LARGEST_CHUNK = 4, 25


@contextmanager
def quiet_logging(*others: str) -> Iterator[None]:
    """Silence Darts and Lightning, whose messages for each fit would hide the progress bar.

    The errors of our checks, which are raised anyway, are not logged either.

    Parameters
    ----------
    *others
        Names of further loggers to silence.
    """
    names = ("darts", "pytorch_lightning", "darts_lstm_seq.model.validation", *others)
    loggers = [logging.getLogger(name) for name in names]
    loggers += [
        logging.getLogger(name)
        # Darts makes the logger of a module when the first error is raised there
        for name in {*logging.root.manager.loggerDict, *sys.modules}
        if name.startswith(("darts.", "pytorch_lightning.", "lightning_fabric"))
    ]
    # `disabled` instead of the level: setting a level clears the cache of every logger, which cost
    # a tenth of a short comparison (`benchmarks/bench_scaling.py`)
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


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

    A chunk that fails, because it raises, its worker dies or its result cannot be pickled, is
    retried after all others: once, or twice if its worker dies again.

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
        The index of the chunk, and its result or the exception of its last failure.

    Examples
    --------
    >>> from darts_lstm_seq.parallel import run_chunks
    >>> sorted(run_chunks(sum, [[1, 2], [3, 4]]))
    [(0, 3), (1, 7)]
    """
    errors: dict[int, BaseException] = {}
    for index, result in _run(function, chunks, range(len(chunks)), n_jobs):
        if isinstance(result, Failure):
            errors[index] = result.error
        else:
            yield index, result
    for index, first_error in errors.items():
        for _ in range(2):
            # one at a time: tasks of a cluster share a worker, and die with it
            ((_, result),) = _run(function, chunks, [index], n_jobs)
            if not (isinstance(result, Failure) and isinstance(result.error, WorkerDiedError)):
                break
        if isinstance(result, Failure):
            result.error.__cause__ = result.error.__cause__ or first_error
            result = result.error
        yield index, result


def _run(
    function: Callable[[Any], Any],
    chunks: Sequence[Any],
    indices: Sequence[int],
    n_jobs: int | None,
) -> Iterator[tuple[int, Any]]:
    """Yield the index of each chunk with its result or a `Failure`."""
    active, _ = get_active_backend()
    on_dask = hasattr(active, "client")
    n_workers = 0 if on_dask else count_workers(n_jobs)
    call = _call if n_workers == 1 else _call_on_one_thread
    calls = ((index, (call, function, chunks[index])) for index in indices)
    if on_dask:
        return _run_on_dask(active.client, calls)
    if n_workers > 1 and isinstance(active, BACKENDS["loky"]):
        return run_on_processes(calls, n_workers, shared=function)
    return _run_with_joblib(calls, n_jobs, n_workers, active.supports_return_generator)


def _run_with_joblib(
    calls: Iterator[tuple[int, tuple[Any, ...]]], n_jobs: int | None, n_workers: int, streams: bool
) -> Iterator[tuple[int, Any]]:
    running: list[int] = []

    def submit() -> Iterator[Any]:
        for index, call in calls:
            running.append(index)
            yield joblib.delayed(_label)(index, *call)

    # no more chunks submitted than there are workers, so that a lost worker fails few of them
    options: dict[str, Any] = {"batch_size": 1, "pre_dispatch": n_workers}
    if streams:
        options["return_as"] = "generator_unordered"
    while True:
        batches = [submit()] if streams else iter(lambda: list(islice(submit(), n_workers)), [])
        try:
            with joblib.Parallel(n_jobs, **options) as parallel:
                for batch in batches:
                    for index, result in parallel(batch):
                        running.remove(index)
                        yield index, result
            return
        except Exception as error:  # joblib stops at the first lost worker
            if not running:  # the failure is not one of a chunk
                raise
            yield from [(index, Failure(error)) for index in running]
            running.clear()


def _run_on_dask(
    client: Any, calls: Iterator[tuple[int, tuple[Any, ...]]]
) -> Iterator[tuple[int, Any]]:
    """Submit chunks to Dask directly: joblib 1.5 waits forever for a task that Dask gives up."""
    from distributed import as_completed

    running: dict[Any, int] = {}
    finished = as_completed()
    while True:
        # two tasks per core, so that an adaptive cluster grows; joblib would not only count the
        # cores, but give up while no worker has arrived yet
        cores = max(1, sum(client.ncores().values()))
        for index, call in islice(calls, max(0, 2 * cores - len(running))):
            future = client.submit(*call, pure=False)
            running[future] = index
            finished.add(future)
        if not running:
            return
        future = next(finished)
        index, error = running.pop(future), future.exception()
        yield index, future.result() if error is None else Failure(error)


def _label(index: int, function: Callable[..., Any], *arguments: Any) -> tuple[int, Any]:
    return index, function(*arguments)


def _call(function: Callable[[Any], Any], chunk: Any) -> Any:
    try:
        return function(chunk)
    except Exception as error:
        error.add_note(traceback.format_exc())  # pickling an exception drops its traceback
        return Failure(error)


def _call_on_one_thread(function: Callable[[Any], Any], chunk: Any) -> Any:
    # workers with a thread per core would compete for the cores; and on a cluster, nested joblib
    # calls (of Darts' metrics) would wait for the chunk that makes them
    with threadpool_limits(1), joblib.parallel_config(backend="sequential"):
        return _call(function, chunk)
