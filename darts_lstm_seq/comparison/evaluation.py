"""Backtest models on one series, and time and score them: a row for each model.

Folds, refitting and metrics are Darts' own backtest. Every model sees the same folds: the training
part grows, the last parts of one horizon each are forecast. What happens to the rows is up to
`comparison.py`.
"""

import logging
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.dataprocessing.transformers import MissingValuesFiller
from darts.metrics import mase, rmse, smape
from darts.models import MultivariateModel
from darts.models.forecasting.forecasting_model import ForecastingModel
from threadpoolctl import threadpool_limits

from darts_lstm_seq.comparison.baselines import Models, check_models, find_seasonality, make_models
from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel
from darts_lstm_seq.parallel import process_lock

SCORES = ["MASE", "sMAPE", "RMSE", "fit_seconds", "predict_seconds", "error"]
FORECASTS = ["model", "fold", "time", "component", "forecast", "actual"]

# forecasts drawn from a likelihood, whose median is scored
_SAMPLES = 500


@dataclass(frozen=True)
class Evaluation:
    """What every series of a comparison is put through; see `compare` for the parameters."""

    horizon: int
    folds: int
    models: Models = None
    seasonality: int | None = None

    def run(
        self, series: TimeSeries, watch: Callable[[Iterable[str]], Iterable[str]] = iter
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return a row of scores for each model, and its forecasts, for one series.

        Parameters
        ----------
        series
            The series.
        watch
            Wraps the names of the models that are run one after another.

        Returns
        -------
        tuple[pd.DataFrame, pd.DataFrame]
            Scores and forecasts as in `Comparison`, in the order of the models.

        Raises
        ------
        ValueError
            If the series is too short, constant, without any value or infinite somewhere.
        """
        horizon, folds = self.horizon, self.folds
        train_length = len(series) - folds * horizon
        needed = folds * horizon + max(2 * horizon, 4)
        if len(series) < needed:
            raise ValueError(
                f"`series` has {len(series)} time steps, too few for {folds} folds of horizon "
                f"{horizon}, which need {needed}. Lower `horizon` or `folds`."
            )
        values = series.values(copy=False)
        if np.isnan(values).all():
            raise ValueError("`series` holds nothing but missing values (NaN).")
        infinite = np.isinf(values).any(axis=1)
        if infinite.any():
            time = series.time_index[int(np.argmax(infinite))]
            raise ValueError(
                f"`series` is infinite at {time}. Correct it, or make it missing (NaN)."
            )
        if not (np.nanmax(values) > np.nanmin(values)):
            raise ValueError(
                f"`series` is constant ({np.nanmin(values)}): there is nothing to learn, and no "
                f"change that errors could be measured by. Leave it out."
            )
        season = find_seasonality(series) if self.seasonality is None else self.seasonality
        if 2 * season > train_length:
            season = 1  # less than two seasons teach nothing about them
        models = make_models(self.models, season, horizon, train_length)
        rows, forecasts = [], []
        # models this small gain nothing from more threads, and lose a lot on busy cores: with two
        # on two cores ARIMA took 8 times as long, the LSTM 50 times
        limit = None if isinstance(self.models, Mapping) else 1
        with process_lock, threadpool_limits(limit):
            for name in watch(models):
                row = {"model": name, "folds": folds, "horizon": horizon, "seasonality": season}
                try:
                    scores, found = _backtest(models[name], series, horizon, folds, season)
                    forecasts.append(found.assign(model=name))
                    rows.append(row | scores)
                except Exception as error:
                    rows.append(row | {"error": f"{type(error).__name__}: {error}"})
        table = pd.DataFrame(rows).reindex(columns=[*row, *SCORES])
        found = pd.concat(forecasts) if forecasts else pd.DataFrame()
        return table, found.reindex(columns=FORECASTS)

    def run_chunk(self, chunk: Mapping[str, TimeSeries]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the rows of several series; one that cannot be run has its error in each row.

        Parameters
        ----------
        chunk
            The series by the keys that shall stand in the column `series`.
        """
        scores, forecasts = [], []
        for key, series in chunk.items():
            table, found = self._run_safely(series)
            scores.append(table.assign(series=key))
            if not found.empty:  # whose types would be taken over
                forecasts.append(found.assign(series=key))
        found = pd.concat(forecasts) if forecasts else pd.DataFrame(columns=["series", *FORECASTS])
        return pd.concat(scores), found

    def _run_safely(self, series: TimeSeries) -> tuple[pd.DataFrame, pd.DataFrame]:
        try:
            return self.run(series)
        except Exception as error:
            return self.failed(f"{type(error).__name__}: {error}"), pd.DataFrame(columns=FORECASTS)

    def failed(self, error: str) -> pd.DataFrame:
        """Return the rows of a series that no model could be run on."""
        columns = ["model", "folds", "horizon", "seasonality", *SCORES]
        rows = [{"model": name, "error": error} for name in check_models(self.models)]
        table = pd.DataFrame(rows).reindex(columns=columns)
        return table.assign(folds=self.folds, horizon=self.horizon)


def _backtest(
    model: ForecastingModel, series: TimeSeries, horizon: int, folds: int, season: int
) -> tuple[dict[str, float], pd.DataFrame]:
    bridge = np.isnan(series.values(copy=False)).any() and not isinstance(model, LSTMSeqModel)
    samples = _SAMPLES if model.supports_likelihood_parameter_prediction else 1
    if series.n_components > 1 and not model.supports_multivariate:
        model = MultivariateModel(model)
    with _quiet_logging(), _timed_predict(type(model)) as predict_seconds:
        start = time.perf_counter()
        forecasts = model.historical_forecasts(
            series,
            start=len(series) - folds * horizon,
            start_format="position",
            forecast_horizon=horizon,
            stride=horizon,
            retrain=True,
            last_points_only=False,
            show_warnings=False,
            num_samples=samples,
            data_transformers={"series": MissingValuesFiller()} if bridge else None,
        )
        seconds = time.perf_counter() - start
        if forecasts[0].start_time() != series.time_index[-folds * horizon]:
            raise ValueError(
                f"the model needs more time steps than the {len(series) - folds * horizon} on "
                f"which the first fold trains. Lower `horizon` or `folds`."
            )
        forecasts = [_median(forecast) for forecast in forecasts]
        scores = model.backtest(
            series,
            historical_forecasts=forecasts,
            last_points_only=False,
            metric=[mase, smape, rmse],
            metric_kwargs=[{"m": season}, {}, {}],
            reduction=np.nanmean,  # a fold may hold nothing but missing values
        )
    frames = [
        pd.DataFrame(
            {
                "fold": fold,
                "time": np.tile(forecast.time_index, forecast.n_components),
                "component": np.repeat(forecast.components, len(forecast)),
                "forecast": forecast.values().ravel(order="F"),
                "actual": series.slice_intersect(forecast).values().ravel(order="F"),
            }
        )
        for fold, forecast in enumerate(forecasts, start=1)
    ]
    row = dict(zip(["MASE", "sMAPE", "RMSE"], map(float, scores), strict=True))
    if np.isnan(row["RMSE"]):
        raise ValueError("nothing to score: forecasts or actual values are missing in all folds.")
    if np.isinf(row["RMSE"]):
        raise ValueError("errors are too large to be squared. Scale the series down.")
    row["predict_seconds"] = sum(predict_seconds)
    # folds need not be fitted one by one, so there is no `fit` to watch
    row["fit_seconds"] = seconds - row["predict_seconds"]
    return row, pd.concat(frames)


def _median(forecast: TimeSeries) -> TimeSeries:
    return forecast.with_values(np.median(forecast.all_values(), axis=2, keepdims=True))


@contextmanager
def _timed_predict(cls: type) -> Iterator[list[float]]:
    """Collect the seconds of each call of a class' `predict` while the context lasts.

    A backtest makes its models itself, so only their class can be watched.
    """
    seconds: list[float] = []
    inherited = "predict" not in vars(cls)
    original = cls.predict  # type: ignore[attr-defined]

    @wraps(original)
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            seconds.append(time.perf_counter() - start)

    cls.predict = timed  # type: ignore[attr-defined]
    try:
        yield seconds
    finally:
        if inherited:
            del cls.predict  # type: ignore[attr-defined]
        else:
            cls.predict = original  # type: ignore[attr-defined]


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """Keep what is told about every single fit from hiding the progress bar."""
    loggers = [logging.getLogger(name) for name in ("darts", "pytorch_lightning")]
    loggers += [
        logging.getLogger(name)
        for name in logging.root.manager.loggerDict
        if name.startswith(("darts.", "pytorch_lightning.", "lightning_fabric"))
    ]
    # an error has a row; the levels of a hundred loggers cost a tenth of a brief comparison
    # (`benchmarks/bench_scaling.py`), for each change clears what all of them remember
    before = [one.disabled for one in loggers]
    for one in loggers:
        one.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, disabled in zip(loggers, before, strict=True):
            one.disabled = disabled
