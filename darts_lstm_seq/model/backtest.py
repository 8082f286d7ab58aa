"""Retrained historical forecasts in one go: the networks of all folds are trained as stacks.

Darts' own loop runs twice. The first time, the trainings of all folds are prepared and recorded;
then they are trained together by `stacking.py`; the second time the loop is handed the trained
models in their order. All options of the loop (schedules, callables, transformers, many series) are
therefore supported; data transformers are fitted in both rounds. What cannot be stacked runs in
Darts' loop alone; the reason is logged (level DEBUG). Many series are first divided among the
workers of `joblib.parallel_config`, if there are any.

Source: the loop of `darts.models.forecasting.ForecastingModel.historical_forecasts`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from itertools import count
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
from darts import TimeSeries
from darts.logging import get_logger
from darts.utils.ts_utils import SeriesType, get_series_seq_type
from tqdm.auto import tqdm

from darts_lstm_seq.model.recording import BacktestHooks, FoldRecorder, FoldReplayer
from darts_lstm_seq.model.stacking import CannotStackError, train_stacks, unsupported_reason
from darts_lstm_seq.parallel import chunk_ranges, count_workers, process_lock, run_chunks

if TYPE_CHECKING:
    from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel

logger = get_logger(__name__)


class CannotDistributeError(Exception):
    """A worker refused a series; the loop then runs here, for an error with the right index."""


def historical_forecasts(
    model: "LSTMSeqModel", loop: Callable[..., Any], arguments: dict[str, Any]
) -> Any:
    """Return what Darts' `loop` returns, sooner if the folds can be trained together.

    Parameters
    ----------
    model
        The model that the loop retrains.
    loop
        Darts' `historical_forecasts` of this model.
    arguments
        All of its arguments.
    """
    reason = _unsupported_reason(model, arguments)
    if _is_local(arguments) and count_workers(None) > 1:
        try:
            return _distribute(model, arguments)
        except CannotDistributeError:
            logger.debug("A series is refused: the loop in this process says which.")
    if reason is None:
        numpy_state = np.random.get_state()  # noqa: NPY002
        decisions: list[bool] = []
        try:
            return _run_stacked(model, loop, arguments, decisions)
        except CannotStackError as error:
            reason = str(error)
            np.random.set_state(numpy_state)  # noqa: NPY002
            retrain = replay_decisions(arguments["retrain"], decisions)
            arguments = {**arguments, "retrain": retrain}
    logger.debug("The folds are trained one by one: %s.", reason)
    return loop(**arguments)


def _unsupported_reason(model: "LSTMSeqModel", arguments: dict[str, Any]) -> str | None:
    """Return why the folds cannot be trained together, or `None` if they can."""
    if not arguments["enable_optimization"]:
        return "`enable_optimization` is `False`"
    if not arguments["retrain"]:
        return "nothing is retrained"
    if arguments["val_length"]:
        return "there is a validation set"
    return unsupported_reason(model, arguments["fit_kwargs"])


def replay_decisions(retrain: Any, decisions: list[bool]) -> Any:
    """Return a `retrain` that repeats recorded decisions, then calls the given one.

    A callable may have a state, so it must be called only once per fold.

    Parameters
    ----------
    retrain
        As for Darts' loop, which calls it in the same order each time.
    decisions
        Results recorded so far; new ones are appended.
    """
    if not callable(retrain):
        return retrain
    numbers = count()

    @wraps(retrain)  # Darts looks at the signature
    def decide(*args: Any, **kwargs: Any) -> bool:
        number = next(numbers)
        if number == len(decisions):
            decisions.append(retrain(*args, **kwargs))
        return decisions[number]

    return decide


def _run_stacked(
    model: "LSTMSeqModel",
    loop: Callable[..., Any],
    arguments: dict[str, Any],
    decisions: list[bool],
) -> Any:
    jobs = _split_into_jobs(arguments)
    show_progress = model.trainer_params.get("enable_progress_bar", True)
    results: list[Any] = []
    waiting: list[tuple[dict[str, Any], FoldRecorder]] = []
    for index, job in enumerate(jobs):
        recorder = FoldRecorder()
        retrain = replay_decisions(job["retrain"], decisions)
        try:
            with _attached(model, recorder):
                loop(**{**job, "retrain": retrain, "verbose": False})
        except ValueError as error:
            if index == 0:
                raise
            # Darts' own message has the right index of the series
            raise CannotStackError(f"series {index} is refused") from error
        waiting.append((job, recorder))
        prepared = [fold for _, recorded in waiting for fold in recorded.prepared]
        if len(prepared) < model.folds_per_stack and index + 1 < len(jobs):
            continue
        train_stacks(prepared, model.folds_per_stack, show_progress)
        for waiting_job, recorded in waiting:
            replayer = FoldReplayer([fitted for fitted, _ in recorded.prepared])
            retrain = replay_decisions(waiting_job["retrain"], decisions)
            with _attached(model, replayer):
                results.append(loop(**{**waiting_job, "retrain": retrain, "show_warnings": False}))
            for fitted in replayer.models:  # which someone may have kept
                fitted.backtest_hooks = None
        waiting.clear()
    is_single_job = len(jobs) == 1 and jobs[0] is arguments
    return results[0] if is_single_job else results


@contextmanager
def _attached(model: "LSTMSeqModel", hooks: BacktestHooks) -> Iterator[None]:
    """Let the models of the loop that starts from `model` record or replay."""
    model.backtest_hooks = hooks
    try:
        yield
    finally:
        model.backtest_hooks = None


def _is_local(arguments: dict[str, Any]) -> bool:
    """Tell whether Darts retrains on one series after another."""
    return (
        bool(arguments["retrain"])
        and not arguments["apply_globally"]
        and get_series_seq_type(arguments["series"]) is SeriesType.SEQ
        # a callable may be asked by Darts' checks, and leave a series to the last model of another
        and not callable(arguments["retrain"])
    )


def _split_into_jobs(arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """Split what Darts does series by series, so that not all folds are held at once."""
    if not _is_local(arguments):
        return [arguments]
    return [
        select_series(arguments, itemgetter(index)) for index in range(len(arguments["series"]))
    ]


def select_series(arguments: dict[str, Any], select: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the arguments with a part of each group of series."""
    groups = ("series", "past_covariates", "future_covariates", "sample_weight")
    whole = (str, TimeSeries, type(None))
    given = {n: arguments[n] for n in groups if not isinstance(arguments[n], whole)}
    return {**arguments, **{name: select(group) for name, group in given.items()}}


def _distribute(model: "LSTMSeqModel", arguments: dict[str, Any]) -> list[Any]:
    """Divide the series among the workers that `joblib.parallel_config` names."""
    n_series = len(arguments["series"])
    ranges = chunk_ranges(n_series, count_workers(None))
    chunks = [
        {**select_series(arguments, itemgetter(slice(part.start, part.stop))), "verbose": False}
        for part in ranges
    ]
    results: list[Any] = [None] * len(ranges)
    is_hidden = not arguments["verbose"]
    with tqdm(desc="Backtesting", total=n_series, unit="series", disable=is_hidden) as bar:
        for number, result in run_chunks(partial(_run_chunk, model), chunks):
            part = ranges[number]
            if isinstance(result, ValueError):
                raise CannotDistributeError from result
            if isinstance(result, Exception):
                raise ValueError(
                    f"`series` {part.start} to {part.stop - 1} were lost twice with their worker; "
                    f"choose fewer workers if memory ran out. Reason: {result!r}"
                ) from result
            results[number] = result
            bar.update(len(part))
    return [forecasts for result in results for forecasts in result]


def _run_chunk(model: "LSTMSeqModel", arguments: dict[str, Any]) -> list[Any]:
    # a worker divides no further; the model and random numbers belong to all threads of a process
    with process_lock, joblib.parallel_config(backend="sequential"):
        return model.historical_forecasts(**arguments)
