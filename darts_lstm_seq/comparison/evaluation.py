"""Evaluate models on one series: folds, fitting, forecasts and scores, a row for each model.

All models share the folds: an expanding training part, then one horizon to forecast. Metrics are
Darts'. Default models are in `baselines.py`, several series and results on disk in `compare.py`.

Source: the loop of Darts' `historical_forecasts(retrain=True)`, written out with public methods so
that fitting and predicting are timed separately.
"""

import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.dataprocessing.transformers import MissingValuesFiller
from darts.metrics import mase, rmse, smape
from darts.models import MultivariateModel
from darts.models.forecasting.conformal_models import ConformalModel
from darts.models.forecasting.forecasting_model import ForecastingModel
from threadpoolctl import threadpool_limits

from darts_lstm_seq.comparison.baselines import (
    Models,
    check_models,
    make_models,
    usable_seasonality,
)
from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel
from darts_lstm_seq.model.stacking import fit_together
from darts_lstm_seq.parallel import process_lock

SCORES = ["MASE", "sMAPE", "RMSE", "fit_seconds", "predict_seconds", "note", "error"]
FORECASTS = ["model", "fold", "time", "component", "forecast", "actual"]

# differences over a season that are smaller than this share of the values are rounding errors
_ROUNDING = 1e-12
# drawn from models with a likelihood; the median is scored
_SAMPLES = 500


@dataclass(frozen=True)
class Evaluation:
    """The settings of a comparison, applied to one series at a time; parameters as in `compare`."""

    horizon: int
    folds: int
    models: Models = None
    seasonality: int | None = None
    random_state: int = 42

    def run(
        self, series: TimeSeries, progress: Callable[[Iterable[str]], Iterable[str]] = iter
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the scores and the forecasts of all models for one series.

        Parameters
        ----------
        series
            The series.
        progress
            Wraps the iteration over the names of the models, to show a progress bar.

        Returns
        -------
        tuple[pd.DataFrame, pd.DataFrame]
            Scores and forecasts as in `Comparison`, in the order of the models.

        Raises
        ------
        ValueError
            If the series is too short, constant, entirely missing or infinite somewhere.
        """
        _check_series(series, self.horizon, self.folds)
        train_length = len(series) - self.folds * self.horizon
        season = usable_seasonality(series, train_length, self.seasonality)
        models = make_models(self.models, season, self.horizon, train_length, self.random_state)
        settings = {"folds": self.folds, "horizon": self.horizon, "seasonality": season}
        rows, forecasts = [], []
        # models this small gain nothing from more threads, and lose a lot on busy cores: with two
        # on two cores ARIMA took 8 times as long, the LSTM 50 times
        limit = None if isinstance(self.models, Mapping) else 1
        with process_lock, threadpool_limits(limit), _quiet_logging():
            for name in progress(models):
                row = {"model": name, **settings}
                try:
                    scores, frame = _evaluate(
                        models[name], series, self.horizon, self.folds, season
                    )
                    forecasts.append(frame.assign(model=name))
                    rows.append(row | scores)
                except Exception as error:
                    rows.append(row | {"error": f"{type(error).__name__}: {error}"})
        table = pd.DataFrame(rows).reindex(columns=["model", *settings, *SCORES])
        found = pd.concat(forecasts) if forecasts else pd.DataFrame()
        return table, found.reindex(columns=FORECASTS)

    def run_chunk(self, chunk: Mapping[str, TimeSeries]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the scores and the forecasts of several series.

        A series that cannot be evaluated has its error in the row of each model.

        Parameters
        ----------
        chunk
            The series, by the values for the column `series`.
        """
        scores, forecasts = [], []
        for key, series in chunk.items():
            try:
                table, found = self.run(series)
            except Exception as error:
                table = self.failed(f"{type(error).__name__}: {error}")
                found = pd.DataFrame(columns=FORECASTS)
            scores.append(table.assign(series=key))
            if not found.empty:  # an empty frame would change the column types
                forecasts.append(found.assign(series=key))
        found = pd.concat(forecasts) if forecasts else pd.DataFrame(columns=["series", *FORECASTS])
        return pd.concat(scores), found

    def failed(self, error: str) -> pd.DataFrame:
        """Return the score rows of a series that could not be evaluated."""
        columns = ["model", "folds", "horizon", "seasonality", *SCORES]
        rows = [{"model": name, "error": error} for name in check_models(self.models)]
        table = pd.DataFrame(rows).reindex(columns=columns)
        return table.assign(folds=self.folds, horizon=self.horizon)


def _check_series(series: TimeSeries, horizon: int, folds: int) -> None:
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
        raise ValueError(f"`series` is infinite at {time}. Correct it, or make it missing (NaN).")
    if not (np.nanmax(values) > np.nanmin(values)):
        raise ValueError(
            f"`series` is constant ({np.nanmin(values)}), so errors have no scale to be compared "
            f"with. Leave it out."
        )


def _evaluate(
    model: ForecastingModel, series: TimeSeries, horizon: int, folds: int, season: int
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the scores of one model and its forecasts, a row for each predicted value."""
    ends = [len(series) - fold * horizon for fold in range(folds, 0, -1)]
    training_parts = [series[:end] for end in ends]
    # LSTMSeqModel masks missing values itself
    if np.isnan(series.values(copy=False)).any() and not isinstance(model, LSTMSeqModel):
        training_parts = MissingValuesFiller().transform(training_parts)
    # a pre-trained model returns the median itself
    is_sampled = not (isinstance(model, LSTMSeqModel) and model.pretrained_season is not None)
    n_samples = _SAMPLES if is_sampled and model.supports_likelihood_parameter_prediction else 1
    if series.n_components > 1 and not model.supports_multivariate:
        model = MultivariateModel(model)
    forecasts, fit_seconds, predict_seconds = _forecast_folds(
        model, training_parts, horizon, n_samples
    )
    for forecast, end in zip(forecasts, ends, strict=True):
        if forecast.start_time() != series.time_index[end]:
            raise ValueError(
                f"the forecast starts at {forecast.start_time()}, not right after the training "
                f"part at {series.time_index[end]}. Use a model without `output_chunk_shift`."
            )
    scaled, note = _components_with_scale(series, ends, season)
    scores: dict[str, Any] = {
        "MASE": _score(model, series[scaled], [f[scaled] for f in forecasts], mase, m=season)
        if scaled
        else np.nan,
        "sMAPE": _score(model, series, forecasts, smape),
        "RMSE": _score(model, series, forecasts, rmse),
        **({"note": note} if note else {}),
    }
    if np.isnan(scores["RMSE"]):
        raise ValueError("nothing to score: forecasts or actual values are missing in all folds.")
    if np.isinf(scores["RMSE"]):
        raise ValueError("errors are too large to be squared. Scale the series down.")
    scores |= {"fit_seconds": fit_seconds, "predict_seconds": predict_seconds}
    frames = [_to_frame(forecast, series).assign(fold=k) for k, forecast in enumerate(forecasts, 1)]
    return scores, pd.concat(frames)


def _components_with_scale(
    series: TimeSeries, ends: Sequence[int], season: int
) -> tuple[list[str], str | None]:
    """Return the components that MASE can score, and why it leaves out others.

    MASE divides by the mean absolute change over a season in the training part of each fold. Folds
    without a change must not be left out of the mean: a model may fail in just these.
    """
    values = series.values(copy=False)  # (time steps, C)
    components = list(series.components)
    varies = np.nanmax(values, axis=0) > np.nanmin(values, axis=0)  # (C,)
    for fold, end in enumerate(ends, start=1):
        part = np.abs(np.nan_to_num(values[:end]))
        change = np.abs(values[season:end] - values[: end - season])
        has_scale = np.nan_to_num(change).sum(axis=0) > _ROUNDING * part.sum(axis=0)  # (C,)
        for index in np.flatnonzero(varies & ~has_scale):
            steps = "one step" if season == 1 else f"{season} steps"
            return [], (
                f"no MASE: before fold {fold}, {components[index]!r} does not change over {steps}, "
                f"so errors have no scale; ranked by RMSE"
            )
    constant = [name for name, is_scored in zip(components, varies, strict=True) if not is_scored]
    note = f"MASE leaves out constant components: {', '.join(constant)}" if constant else None
    return [name for name in components if name not in constant], note


def _score(
    model: ForecastingModel,
    series: TimeSeries,
    forecasts: list[TimeSeries],
    metric: Callable[..., Any],
    **kwargs: Any,
) -> float:
    return float(
        model.backtest(
            series,
            historical_forecasts=forecasts,
            last_points_only=False,
            metric=metric,
            metric_kwargs=kwargs,
            reduction=np.nanmean,  # all actual values of a fold may be missing
        )
    )


def _forecast_folds(
    model: ForecastingModel, training_parts: Sequence[TimeSeries], horizon: int, n_samples: int
) -> tuple[list[TimeSeries], float, float]:
    """Return a forecast after each training part, and the seconds of all fits and predictions."""
    forecasts, fit_seconds, predict_seconds = [], 0.0, 0.0
    fitted_models = _fit_folds(model, training_parts)
    for training_part in training_parts:
        start = perf_counter()
        fitted = next(fitted_models)
        middle = perf_counter()
        # as in Darts: what is forecast need not be what a global model was fitted to
        is_transferable = fitted.supports_transferable_series_prediction
        arguments = {"series": training_part} if is_transferable else {}
        forecast = fitted.predict(horizon, num_samples=n_samples, **arguments)
        predict_seconds += perf_counter() - middle
        fit_seconds += middle - start
        forecasts.append(_median(forecast))
    return forecasts, fit_seconds, predict_seconds


def _fit_folds(
    model: ForecastingModel, training_parts: Sequence[TimeSeries]
) -> Iterator[ForecastingModel]:
    """Yield a model fitted to each training part; those of an `LSTMSeqModel` together."""
    if isinstance(model, ConformalModel):  # calibrates a model that is fitted already
        yield from [model] * len(training_parts)
    elif isinstance(model, LSTMSeqModel):
        models = [model.untrained_model() for _ in training_parts]
        fit_together(models, [{"series": training_part} for training_part in training_parts])
        yield from models
    else:
        for training_part in training_parts:
            yield model.untrained_model().fit(training_part)


def _median(forecast: TimeSeries) -> TimeSeries:
    return forecast.with_values(np.median(forecast.all_values(), axis=2, keepdims=True))


def _to_frame(forecast: TimeSeries, series: TimeSeries) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "time": np.tile(forecast.time_index, forecast.n_components),
            "component": np.repeat(forecast.components, len(forecast)),
            "forecast": forecast.values().ravel(order="F"),
            "actual": series.slice_intersect(forecast).values().ravel(order="F"),
        }
    )


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """Silence Darts and Lightning, whose messages for each fit would hide the progress bar."""
    loggers = [logging.getLogger(name) for name in ("darts", "pytorch_lightning")]
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
