"""The future: models fitted to whole series, and tables of their forecasts with intervals.

Which models there are is up to `baselines.py`, where intervals come from up to `quantiles.py` and
`conformal.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.models.forecasting.conformal_models import ConformalModel
from darts.models.forecasting.forecasting_model import ForecastingModel

from darts_lstm_seq.checks import check_positive_integer
from darts_lstm_seq.comparison.baselines import FINE_TUNED
from darts_lstm_seq.comparison.conformal import add_interval
from darts_lstm_seq.comparison.evaluation import Evaluation
from darts_lstm_seq.comparison.global_fit import (
    fit_arguments,
    make_global,
    model_error,
    seen_by,
)
from darts_lstm_seq.comparison.global_fit import forecast as forecast_globally
from darts_lstm_seq.comparison.inputs import Inputs, Series, inputs_by_name
from darts_lstm_seq.comparison.preparation import filled, prepare
from darts_lstm_seq.comparison.quantiles import Forecast, predict_quantiles
from darts_lstm_seq.comparison.scoring import to_frame
from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel
from darts_lstm_seq.parallel import (
    chunk_ranges,
    count_workers,
    process_lock,
    quiet_logging,
    run_chunks,
)

_COLUMNS = ["series", "time", "component", "forecast", "lower", "upper", "error"]


@dataclass(frozen=True)
class Fitted:
    """Models fitted to whole series, by the names of the series, and why others have none."""

    models: Mapping[Any, ForecastingModel]
    errors: Mapping[Any, str]
    is_global: bool


def check_interval(interval: float) -> None:
    """Check that an interval is a share of values.

    Raises
    ------
    ValueError
        If it is no number between 0 and 1.
    """
    if not (isinstance(interval, (int, float, np.number)) and 0 < interval < 1):
        raise ValueError(
            f"`interval` must be a share between 0 and 1, 0.8 for instance; received {interval!r}."
        )


def forecast(
    series: Series,
    model: LSTMSeqModel | str | Path,
    horizon: int | None = None,
    interval: float = 0.8,
    past_covariates: Series | None = None,
    future_covariates: Series | None = None,
) -> pd.DataFrame:
    """Forecast series by a fitted `LSTMSeqModel`, without training.

    Parameters
    ----------
    series
        A series, a sequence of series, or a mapping of names to series.
    model
        The model, or the file that `save` wrote.
    horizon
        Number of time steps; by default the model's `output_chunk_length`.
    interval
        The share of values that the limits shall hold, in (0, 1); see `Comparison.predict`.
    past_covariates, future_covariates
        As for the model's `predict`; a mapping or sequence as `series` is.

    Returns
    -------
    pd.DataFrame
        As from `Comparison.predict`.

    Raises
    ------
    ValueError
        If a parameter is out of its range, or the model is not fitted.

    Examples
    --------
    >>> from darts_lstm_seq import LSTMSeqModel, forecast
    >>> from darts_lstm_seq.data import nile
    >>> from darts.utils.likelihood_models.torch import QuantileRegression
    >>> model = LSTMSeqModel(
    ...     10,
    ...     5,
    ...     n_epochs=2,
    ...     likelihood=QuantileRegression([0.1, 0.5, 0.9]),
    ...     pl_trainer_kwargs={"enable_progress_bar": False},
    ... )
    >>> future = forecast({"nile": nile(), "short": nile()[:5]}, model.fit(nile()))
    >>> future["series"].tolist()
    ['nile', 'nile', 'nile', 'nile', 'nile', 'short']
    """
    check_interval(interval)
    inputs = inputs_by_name(series, past_covariates, future_covariates)
    if isinstance(model, (str, Path)):
        model = LSTMSeqModel.load(str(model), map_location="cpu")
    if not (model._fit_called or model.is_zero_shot):
        raise ValueError("`model` is not fitted. Call its `fit`, or load a fitted one.")
    steps = model.output_chunk_length if horizon is None else horizon
    check_positive_integer("horizon", steps)
    fitted = Fitted(dict.fromkeys(inputs, model), {}, is_global=True)
    future = forecast_future(fitted, inputs, steps, interval)
    return of_one_series(future) if isinstance(series, TimeSeries) else future


def fit_models(
    evaluation: Evaluation, name: str, inputs: Mapping[Any, Inputs], n_jobs: int | None
) -> Fitted:
    """Fit a model of a comparison to each series, or one to all of them.

    Parameters
    ----------
    evaluation
        The settings of the comparison.
    name
        The name of the model.
    inputs
        The series.
    n_jobs
        Number of processes for many series.
    """
    if evaluation.is_global(name):
        return _fit_globally(evaluation, name, seen_by(name, inputs))
    names = list(inputs)
    chunks = [
        [inputs[names[index]] for index in indices]
        for indices in chunk_ranges(len(names), count_workers(n_jobs))
    ]
    found: list[ForecastingModel | str] = []
    results: dict[int, Any] = dict(run_chunks(partial(_fit_each, evaluation, name), chunks, n_jobs))
    for index, chunk in enumerate(chunks):
        result = results[index]
        if isinstance(result, Exception):
            result = [f"the worker was lost: {type(result).__name__}: {result}"] * len(chunk)
        found += result
    pairs = list(zip(names, found, strict=True))
    return Fitted(
        {key: model for key, model in pairs if not isinstance(model, str)},
        {key: error for key, error in pairs if isinstance(error, str)},
        is_global=False,
    )


def _fit_each(
    evaluation: Evaluation, name: str, chunk: list[Inputs]
) -> list[ForecastingModel | str]:
    """Return a fitted model, or an error, for each series."""
    found: list[ForecastingModel | str] = []
    with evaluation.alone():
        for inputs in chunk:
            try:
                found.append(_fit_one(evaluation, name, inputs))
            except Exception as error:
                found.append(f"{type(error).__name__}: {error}")
    return found


def _fit_one(evaluation: Evaluation, name: str, inputs: Inputs) -> ForecastingModel:
    length = len(inputs.series)
    if not length or np.isnan(inputs.series.values(copy=False)).all():
        raise ValueError("`series` holds nothing but missing values (NaN).")
    season = evaluation.season(inputs.series, length)
    given = evaluation.make_model(name, season, length, inputs)
    model, usable = prepare(given, inputs)
    if isinstance(model, ConformalModel):  # calibrates a model that is fitted already
        return model
    covariates = {name: filled(given, value) for name, value in usable.covariates.items()}
    return model.untrained_model().fit(filled(given, inputs.series), **covariates)


def _fit_globally(evaluation: Evaluation, name: str, inputs: Mapping[Any, Inputs]) -> Fitted:
    shortest = 1 if name == FINE_TUNED else evaluation.horizon
    filled_in = {
        key: given
        for key, given in inputs.items()
        if len(given.series) > shortest and not np.isnan(given.series.values(copy=False)).all()
    }
    without = (
        f"ValueError: `series` has fewer than {shortest + 1} time steps, or holds only missing "
        f"values (NaN)."
    )
    errors = dict.fromkeys(inputs.keys() - filled_in.keys(), without)
    with evaluation.alone():
        model, unlike = make_global(evaluation, name, filled_in)
        errors |= unlike
        check = model_error(model)
        errors |= {
            key: error
            for key, given in filled_in.items()
            if key not in errors and (error := check(given))
        }
        usable = [given for key, given in filled_in.items() if key not in errors]
        if usable:
            model.fit(**fit_arguments(model, usable))
    fitted = {key: model for key in inputs if key not in errors}
    return Fitted(fitted, errors, is_global=True)


def forecast_future(
    fitted: Fitted, inputs: Mapping[Any, Inputs], horizon: int, interval: float
) -> pd.DataFrame:
    """Return a row per series, time and component, and one with the error of other series.

    Parameters
    ----------
    fitted
        The models.
    inputs
        The series that they forecast.
    horizon
        Number of time steps.
    interval
        The share of values that the limits shall hold.
    """
    levels = [(1 - interval) / 2, (1 + interval) / 2]
    found: dict[Any, Forecast | str] = dict(fitted.errors)
    with process_lock, quiet_logging():
        if fitted.is_global:
            usable = {key: inputs[key] for key in fitted.models}
            model = next(iter(fitted.models.values()), None)
            found |= _forecast_many(model, usable, horizon, levels)
        else:
            for key, model in fitted.models.items():
                found[key] = _attempt(partial(_forecast_one, model, inputs[key], horizon, levels))
    frames = []
    for key in inputs:
        result = found[key]
        frame = (
            to_frame(result) if isinstance(result, Forecast) else pd.DataFrame({"error": [result]})
        )
        # an object for every row, as a name may be a tuple
        names = pd.Series([key] * len(frame), dtype=object, index=frame.index)
        frames.append(frame.assign(series=names))
    return _concatenate(frames)


def of_one_series(future: pd.DataFrame) -> pd.DataFrame:
    """Return the table of the only series.

    Raises
    ------
    ValueError
        If it could not be forecast.
    """
    for error in future["error"].dropna():
        raise ValueError(f"the series cannot be forecast. {error}")
    return future.drop(columns=["series", "error"])


def _concatenate(frames: list[pd.DataFrame]) -> pd.DataFrame:
    columns = {
        name: [
            value
            for frame in frames
            for value in (frame[name] if name in frame else [None] * len(frame))
        ]
        for name in _COLUMNS
    }
    numbers = ("forecast", "lower", "upper")
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype=float if name in numbers else None)
            if name != "series"
            else pd.Series(values, dtype=None if _is_plain(values) else object)
            for name, values in columns.items()
        }
    )


def _is_plain(names: list[Any]) -> bool:
    return {type(name) for name in names} in ({int}, {str})


def _forecast_many(
    model: Any, inputs: Mapping[Any, Inputs], horizon: int, levels: list[float]
) -> dict[Any, Forecast | str]:
    """Return the forecasts of all series by one network, in one go if none is at fault."""
    if not inputs:
        return {}
    usable = {key: _usable(model, given) for key, given in inputs.items()}
    try:
        found = forecast_globally(model, usable.values(), horizon, levels)
        results: dict[Any, Forecast | str] = dict(zip(inputs, found, strict=True))
    except ValueError:  # one by one, each with its error
        results = {
            key: _attempt(partial(_one_of_many, model, given, horizon, levels))
            for key, given in usable.items()
        }
    for key, result in results.items():
        if isinstance(result, Forecast) and result.quantiles is None:
            given = usable[key]
            interval = levels[1] - levels[0]
            results[key] = _attempt(
                partial(add_interval, result, model, given.series, interval, **given.covariates)
            )
    return results


def _one_of_many(model: Any, inputs: Inputs, horizon: int, levels: list[float]) -> Forecast:
    return forecast_globally(model, [inputs], horizon, levels)[0]


def _usable(model: ForecastingModel, inputs: Inputs) -> Inputs:
    series, past, future = inputs
    return Inputs(
        series,
        past if model.uses_past_covariates else None,
        future if model.uses_future_covariates else None,
    )


def _forecast_one(
    model: ForecastingModel, inputs: Inputs, horizon: int, levels: list[float]
) -> Forecast:
    _, usable = prepare(model, inputs)
    covariates = {name: filled(model, value) for name, value in usable.covariates.items()}
    series = filled(model, inputs.series)
    lists = {name: [value] for name, value in covariates.items()}
    (found,) = predict_quantiles(model, horizon, levels, [series], **lists)
    if found.quantiles is None:
        interval = levels[1] - levels[0]
        found = add_interval(found, model, series, interval, **covariates)
    return found


def _attempt(run: Callable[[], Forecast]) -> Forecast | str:
    try:
        return run()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
