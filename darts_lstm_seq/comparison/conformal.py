"""Intervals around the forecasts of models without a likelihood, from their errors in the past.

Global models are calibrated by Darts' `ConformalNaiveModel`. It takes no local ones, which are
refitted here at earlier times of the series; what follows is the same: for each step of the
horizon, a quantile of the absolute errors of as many steps ahead.
"""

import math

import numpy as np
from darts import TimeSeries
from darts.models import ConformalNaiveModel
from darts.models.forecasting.forecasting_model import ForecastingModel, GlobalForecastingModel

from darts_lstm_seq.comparison.quantiles import Forecast

# T time steps, C components, N earlier forecasts

# more give the quantiles less noise, and take time
_FORECASTS = 40
_ROUNDING = 1e-9
# of an ensemble, which forecasts their median; Darts' default
_SAMPLES = 500


def add_interval(
    forecast: Forecast,
    model: ForecastingModel,
    series: TimeSeries,
    interval: float,
    **covariates: TimeSeries,
) -> Forecast:
    """Return a forecast with the two limits of an interval as its quantiles, if there are any.

    Parameters
    ----------
    forecast
        What the model forecasts.
    model
        The fitted model.
    series
        The series, without missing values.
    interval
        The share of values that the limits shall hold.
    **covariates
        Those that the model was fitted with.

    Returns
    -------
    Forecast
        Without quantiles if the series is too short for as many earlier forecasts as they need.
    """
    horizon = len(forecast.point)
    if isinstance(model, GlobalForecastingModel):
        return _of_global_model(model, series, horizon, interval, **covariates)
    shortest = max(model.min_train_series_length, len(series) // 2)
    # a quantile of fewer errors than these would be beyond the largest
    needed = math.ceil(interval / (1 - interval) - _ROUNDING)
    count = min(max(_FORECASTS, needed), len(series) - horizon - shortest + 1)
    if count < needed:
        return forecast
    past = model.historical_forecasts(
        series,
        start=-(count + horizon - 1),
        start_format="position",
        forecast_horizon=horizon,
        last_points_only=False,
        show_warnings=False,
        **covariates,
    )
    errors = np.stack(
        [np.abs(one.values() - series.slice_intersect(one).values()) for one in past]
    )  # (N, T, C)
    level = min(1.0, math.ceil((len(errors) + 1) * interval - _ROUNDING) / len(errors))
    width = np.quantile(errors, level, axis=0, method="higher")  # (T, C)
    # the further ahead, the less is known; few errors may say otherwise
    width = np.maximum.accumulate(width, axis=0)
    values = forecast.point.values()
    return Forecast(forecast.point, np.stack([values - width, values + width], axis=2))


def _of_global_model(
    model: GlobalForecastingModel,
    series: TimeSeries,
    horizon: int,
    interval: float,
    **covariates: TimeSeries,
) -> Forecast:
    quantiles = [(1 - interval) / 2, 0.5, (1 + interval) / 2]
    state = np.random.get_state()  # noqa: NPY002
    try:
        is_ensemble = getattr(model, "n_members", 1) > 1
        # without a likelihood the samples of a single network are equal
        n_samples = _SAMPLES if is_ensemble else 1
        calibrated = ConformalNaiveModel(model, quantiles=quantiles, cal_num_samples=n_samples)
        found = calibrated.predict(
            horizon, series, predict_likelihood_parameters=True, show_warnings=False, **covariates
        )
    finally:
        np.random.set_state(state)  # noqa: NPY002 - Darts seeds it, and draws nothing here
    values = found.values().reshape(horizon, series.n_components, 3)  # (T, C, 3)
    point = TimeSeries(times=found.time_index, values=values[:, :, 1], components=series.components)
    return Forecast(point, values[:, :, [0, 2]])
