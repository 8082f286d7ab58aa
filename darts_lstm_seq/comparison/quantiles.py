"""Point forecasts and quantiles of any Darts model, exact where its likelihood gives them.

Quantiles are those of a quantile regression, or of samples that the model draws from its own
likelihood; models without a likelihood have none (`conformal.py`).
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from darts import TimeSeries, concatenate
from darts.models import ARIMA, MultivariateModel
from darts.models.forecasting.forecasting_model import ForecastingModel, GlobalForecastingModel
from darts.models.forecasting.torch_forecasting_model import TorchForecastingModel
from darts.utils.likelihood_models.torch import QuantileRegression

from darts_lstm_seq.compat import component_models

# T time steps, C components, Q quantiles

# drawn from models with a likelihood other than quantiles
_SAMPLES = 500
_SEED = 0


class Forecast(NamedTuple):
    """A forecast of one series: a value per step and component, and quantiles if there are any."""

    point: TimeSeries
    quantiles: np.ndarray | None  # (T, C, Q)


def predict_quantiles(
    model: ForecastingModel,
    horizon: int,
    levels: Sequence[float],
    series: Sequence[TimeSeries],
    **covariates: Sequence[TimeSeries],
) -> list[Forecast]:
    """Forecast series, with quantiles.

    Parameters
    ----------
    model
        A fitted model.
    horizon
        Number of time steps.
    levels
        The quantiles, in (0, 1).
    series
        The series; for a local model, the one that it was fitted to.
    **covariates
        `past_covariates` and `future_covariates`, if the model was fitted with them.

    Returns
    -------
    list[Forecast]
        The point is the median for models whose likelihood is trained, and otherwise what they
        predict without samples.
    """
    arguments: dict[str, Any] = {"n": horizon, **covariates}
    # as in Darts: what is forecast need not be what a model was fitted to
    if model.supports_transferable_series_prediction:
        arguments["series"] = series
    if len(series) == 1:  # some models take no lists
        arguments |= {name: value[0] for name, value in arguments.items() if name != "n"}
    if isinstance(model, MultivariateModel):
        return [_of_components(model, horizon, levels, series[0], covariates)]
    if isinstance(model, ARIMA) and not model.add_encoders:
        return [_of_arima(model, horizon, levels, series[0], covariates)]
    quantiles = exact_quantiles(model, horizon)
    if quantiles is not None:
        found = _as_list(model.predict(**arguments, predict_likelihood_parameters=True))
        return [
            _from_parameters(forecast, target, quantiles, levels)
            for forecast, target in zip(found, series, strict=True)
        ]
    is_trained = model.supports_likelihood_parameter_prediction
    is_local = not isinstance(model, GlobalForecastingModel)
    # Lightning's models could draw from their dropout, too
    if not is_trained and not (is_local and model.supports_probabilistic_prediction):
        return [Forecast(point, None) for point in _as_list(model.predict(**arguments))]
    sampled = _as_list(model.predict(**arguments, num_samples=_SAMPLES, random_state=_SEED))
    # beyond its horizon, a pre-trained model feeds its medians back
    if is_trained and getattr(model, "pretrained_season", None) is None:
        points = [
            forecast.with_values(np.median(forecast.all_values(), axis=2, keepdims=True))
            for forecast in sampled
        ]
    else:
        points = _as_list(model.predict(**arguments))
    return [
        Forecast(point, np.moveaxis(np.quantile(forecast.all_values(), levels, axis=2), 0, 2))
        for point, forecast in zip(points, sampled, strict=True)
    ]


def exact_quantiles(model: ForecastingModel, horizon: int) -> list[float] | None:
    """Return the quantiles that a neural network predicts itself, if it predicts any."""
    if not isinstance(model, TorchForecastingModel) or horizon > model.output_chunk_length:
        return None
    likelihood = model.likelihood
    return likelihood.quantiles if isinstance(likelihood, QuantileRegression) else None


def interpolate(values: np.ndarray, quantiles: Sequence[float], levels: Sequence[float]) -> Any:
    """Return other quantiles of a distribution of which some are known.

    They are interpolated linearly; beyond the outermost, the distribution continues as a normal one
    does from its median.

    Parameters
    ----------
    values
        `(..., K)`, increasing.
    quantiles
        The K known quantiles, increasing, with the median among them.
    levels
        The Q quantiles to return.

    Returns
    -------
    np.ndarray
        `(..., Q)`.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_lstm_seq.comparison.quantiles import interpolate
    >>> interpolate(np.array([-1.0, 0.0, 2.0]), [0.1, 0.5, 0.9], [0.3, 0.95]).round(2).tolist()
    [-0.5, 2.57]
    """
    normal = NormalDist()
    median = values[..., [list(quantiles).index(0.5)]]  # (..., 1)
    found = []
    for level in levels:
        if quantiles[0] <= level <= quantiles[-1]:
            above = int(np.searchsorted(quantiles, level))
            below = max(above - 1, 0)
            width = quantiles[above] - quantiles[below] or 1.0
            share = (level - quantiles[below]) / width
            found.append(values[..., below] + share * (values[..., above] - values[..., below]))
        else:
            end = 0 if level < quantiles[0] else -1
            factor = normal.inv_cdf(level) / normal.inv_cdf(quantiles[end])
            found.append(median[..., 0] + factor * (values[..., end] - median[..., 0]))
    return np.stack(found, axis=-1)


def _of_components(
    model: MultivariateModel,
    horizon: int,
    levels: Sequence[float],
    series: TimeSeries,
    covariates: dict[str, Sequence[TimeSeries]],
) -> Forecast:
    """Return the forecast of a model that forecasts each component on its own."""
    models = component_models(model)
    if len(models) == 1:  # the model takes all components
        return predict_quantiles(models[0], horizon, levels, [series], **covariates)[0]
    found = [
        predict_quantiles(one, horizon, levels, [series[name]], **covariates)[0]
        for one, name in zip(models, series.components, strict=True)
    ]
    points = concatenate([one.point for one in found], axis="component")
    parts = [one.quantiles for one in found if one.quantiles is not None]
    return Forecast(points, np.concatenate(parts, axis=1) if parts else None)


def _of_arima(
    model: ARIMA,
    horizon: int,
    levels: Sequence[float],
    series: TimeSeries,
    covariates: dict[str, Sequence[TimeSeries]],
) -> Forecast:
    """Return normal quantiles; the samples of statsmodels do not vary at the first step."""
    exogenous = None
    for future in covariates.values():
        start = series.end_time() + series.freq
        end = series.end_time() + horizon * series.freq
        exogenous = future[0].slice(start, end).values(copy=False)
    arguments = {name: value[0] for name, value in covariates.items()}
    point = model.predict(horizon, **arguments)
    errors = model.model.get_forecast(horizon, exog=exogenous).se_mean  # (T,)
    normal = NormalDist()
    scores = np.array([normal.inv_cdf(level) for level in levels])  # (Q,)
    limits = point.values()[:, 0, None] + np.asarray(errors)[:, None] * scores  # (T, Q)
    return Forecast(point, limits[:, None, :])


def _from_parameters(
    forecast: TimeSeries, target: TimeSeries, quantiles: list[float], levels: Sequence[float]
) -> Forecast:
    values = forecast.values(copy=False)  # (T, CK)
    values = values.reshape(len(values), target.n_components, len(quantiles))  # (T, C, K)
    values = np.sort(values, axis=2)  # those of a network may cross
    point = TimeSeries(
        times=forecast.time_index,
        values=values[:, :, quantiles.index(0.5)],
        components=target.components,
    )
    return Forecast(point, interpolate(values, quantiles, levels))


def _as_list(forecasts: Any) -> list[TimeSeries]:
    return [forecasts] if isinstance(forecasts, TimeSeries) else list(forecasts)
