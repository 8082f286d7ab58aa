"""Evaluate models on series: folds, fitting, forecasts and scores, a row for each model and series.

All models share the folds: an expanding training part, then one horizon to forecast. Default
models are in `baselines.py`, metrics in `scoring.py`, a model for each series in `local_fit.py`,
the network of all series in `global_fit.py`, several workers and results on disk in `compare.py`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import pandas as pd
from darts import TimeSeries
from darts.models.forecasting.forecasting_model import ForecastingModel
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from darts_lstm_seq.comparison.baselines import (
    FINE_TUNED,
    GLOBAL,
    GLOBALS,
    TUNED,
    Models,
    check_models,
    make_model,
)
from darts_lstm_seq.comparison.global_fit import evaluate_globally
from darts_lstm_seq.comparison.inputs import Inputs, calendar_encoders
from darts_lstm_seq.comparison.local_fit import evaluate_locally, within_limit
from darts_lstm_seq.comparison.preparation import prepare
from darts_lstm_seq.comparison.scoring import (
    FORECASTS,
    SCORES,
)
from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel
from darts_lstm_seq.model.seasons import usable_seasonality
from darts_lstm_seq.parallel import process_lock, quiet_logging
from darts_lstm_seq.tuning.tune import tune

# other models would have to be told of the encoders by their users
_WITH_CALENDAR = ("LSTMSeqModel", GLOBAL, TUNED)
# of the tuned model; its folds lie within the training part, which may be short
_TRIALS, _MIN_TUNING_FOLDS, _MAX_TUNING_FOLDS = 16, 2, 3
_PRETRAINED = "darts_lstm_seq.model.pretrained"


class Task(NamedTuple):
    """One model and the series that it is evaluated on, by the values for the column `series`."""

    model: str
    inputs: Mapping[str, Inputs]
    seconds: float | None = None  # the time limit of all series together


class Evaluated(NamedTuple):
    """The rows of a task: scores and forecasts as in `Comparison`, and the seconds it took."""

    scores: pd.DataFrame
    forecasts: pd.DataFrame
    seconds: float


class TimedTasks(Sequence[Task]):
    """Tasks with the time that their models have left when they are asked for."""

    def __init__(self, tasks: Sequence[Task], bar: tqdm) -> None:
        self._tasks, self._bar = tasks, bar
        self._seconds: dict[str, float] = defaultdict(float)

    def __len__(self) -> int:
        return len(self._tasks)

    def __getitem__(self, index: Any) -> Any:
        task = self._tasks[index]
        self._bar.set_description(task.model)
        if task.seconds is None:
            return task
        return Task(task.model, task.inputs, task.seconds - self._seconds[task.model])

    def add(self, model: str, seconds: float) -> None:
        """Take the seconds of an evaluation from what is left to a model."""
        self._seconds[model] += seconds


@dataclass(frozen=True)
class Evaluation:
    """The settings of a comparison; parameters as in `compare`."""

    horizon: int
    folds: int
    models: Models = None
    seasonality: int | None = None
    random_state: int = 42
    calendar: bool = False

    @property
    def names(self) -> list[str]:
        """The names of the models."""
        return check_models(self.models)

    def is_global(self, name: str) -> bool:
        """Whether a model is one network for all series."""
        return name in GLOBALS and not isinstance(self.models, Mapping)

    def make_model(
        self, name: str, season: int, train_length: int, inputs: Inputs
    ) -> ForecastingModel:
        """Return an untrained model, which encodes the calendar of a series if that is wanted.

        The tuned one sees the first `train_length` steps of the series alone.
        """
        sizes = season, self.horizon, train_length, self.random_state
        model = make_model(self.models, name, *sizes)
        if self.calendar and name in _WITH_CALENDAR and isinstance(model, LSTMSeqModel):
            encoders = {"add_encoders": calendar_encoders(inputs.series)}
            model = LSTMSeqModel(**{**model.model_params, **encoders})
        if name != TUNED or isinstance(self.models, Mapping):
            return model
        folds = min(_MAX_TUNING_FOLDS, (train_length - max(2 * self.horizon, 4)) // self.horizon)
        found = tune(
            inputs.series[:train_length],
            self.horizon,
            n_trials=_TRIALS,
            folds=max(folds, _MIN_TUNING_FOLDS),
            model=model,
            random_state=self.random_state,
            show_progress=False,
            **inputs.covariates,
        )
        return LSTMSeqModel(**found.best_params)

    def used_covariates(self, name: str, model: ForecastingModel, inputs: Inputs) -> str | None:
        """Return what a model uses of the covariates that there are; `None` if there are none."""
        _, usable = prepare(model, Inputs(inputs.series) if name == FINE_TUNED else inputs)
        given = {
            "past": inputs.past_covariates is not None,
            "future": inputs.future_covariates is not None,
            "static": inputs.series.has_static_covariates,
            "calendar": self.calendar,
        }
        uses = {
            "past": usable.past_covariates is not None,
            "future": usable.future_covariates is not None,
            # for one series alone they are constants
            "static": name == GLOBAL,
            "calendar": isinstance(model, LSTMSeqModel) and model.add_encoders is not None,
        }
        used = [kind for kind in given if given[kind] and uses[kind]]
        return (", ".join(used) or "none") if any(given.values()) else None

    def season(self, series: TimeSeries, train_length: int) -> int:
        """Return the season of a series; it cannot be estimated from less than two."""
        return usable_seasonality(series, train_length, self.seasonality)

    @pd.option_context("mode.string_storage", "python")  # as in `compare`, for workers
    def run(self, task: Task, on_fold: Callable[[], Any] = lambda: None) -> Evaluated:
        """Evaluate a model on several series.

        A series that cannot be evaluated, or not within the time limit, has a row with its error.

        Parameters
        ----------
        task
            The model and the series.
        on_fold
            Called after each fold of each series.
        """
        start = perf_counter()
        rows, frames = [], []
        with self.alone():
            if self.is_global(task.model):
                end = None if task.seconds is None else start + task.seconds
                evaluate = partial(evaluate_globally, self, task.model, task.inputs, on_fold)
                found = within_limit(evaluate, end)
                if isinstance(found, str):
                    found = {key: ({"error": found}, None) for key in task.inputs}
            else:
                found = evaluate_locally(self, task.model, task.inputs, task.seconds, on_fold)
        for key, (row, frame) in found.items():
            rows.append(self._row(key, task.model, row))
            if frame is not None:
                frames.append(frame.assign(model=task.model, series=key))
        forecasts = pd.concat(frames) if frames else pd.DataFrame()
        columns = ["series", "model", "folds", "horizon", "seasonality", *SCORES]
        return Evaluated(
            pd.DataFrame(rows).reindex(columns=columns),
            forecasts.reindex(columns=["series", *FORECASTS]),
            perf_counter() - start,
        )

    def failed(self, task: Task, error: str) -> pd.DataFrame:
        """Return the score rows of a task that could not be run."""
        columns = ["series", "model", "folds", "horizon", "seasonality", *SCORES]
        rows = [self._row(key, task.model, {"error": error}) for key in task.inputs]
        return pd.DataFrame(rows).reindex(columns=columns)

    def _row(self, key: str, model: str, row: Mapping[str, Any]) -> dict[str, Any]:
        settings = {"folds": self.folds, "horizon": self.horizon}
        return {"series": key, "model": model, **settings, **row}

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Quiet, on one thread, and alone in this process.

        Models this small gain nothing from more threads, and lose a lot on busy cores: with two on
        two cores ARIMA took 8 times as long, the LSTM 50 times.
        """
        limit = None if isinstance(self.models, Mapping) else 1
        # a pre-trained network warns at each forecast that it was not measured: here it is
        with process_lock, threadpool_limits(limit), quiet_logging(_PRETRAINED):
            yield
