"""A leaderboard of forecasters on one series: numbers only.

Folds, refitting and metrics are Darts' own backtest; pictures are in `plotting.py`. Every model
sees the same folds: the training part grows, the last parts of one horizon each are forecast.
"""

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from importlib.metadata import version
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.dataprocessing.transformers import MissingValuesFiller
from darts.metrics import mase, rmse, smape
from darts.models import (
    ARIMA,
    ExponentialSmoothing,
    MultivariateModel,
    NaiveDrift,
    NaiveSeasonal,
    Theta,
)
from darts.models.forecasting.forecasting_model import ForecastingModel
from darts.utils.utils import SeasonalityMode
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from darts_lstm_seq import __version__
from darts_lstm_seq.model import LSTMSeqModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# a state space model of a longer season needs minutes for a fit
_LONGEST_ARIMA_SEASON = 24
# forecasts drawn from a likelihood, whose median is scored
_SAMPLES = 500

# networks as small as ours are no faster on a GPU when there is one series to learn
QUIET_TRAINER = {
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "logger": False,
}


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    scores
        A row per model, the best MASE first: `model`, `folds`, `horizon`, `seasonality` (time
        steps), `MASE`, `sMAPE` (percent), `RMSE` (units of the series), each the mean over folds
        and components, `fit_seconds` and `predict_seconds` (wall clock, all folds; what is not
        spent in ``predict`` counts as fit), `error` (why a model has no scores), and the versions
        of the packages at work.
    forecasts
        A row per model, fold, time and component: `forecast` and the `actual` value.
    series
        The series that was forecast.
    """

    scores: pd.DataFrame
    forecasts: pd.DataFrame
    series: TimeSeries

    def plot(self, component: str | None = None) -> "Figure":
        """Draw the end of the series and every model's forecasts (see `plot_comparison`)."""
        from darts_lstm_seq.plotting import plot_comparison

        return plot_comparison(self.series, self.forecasts, self.scores, component)


def compare(
    series: TimeSeries,
    horizon: int,
    models: Sequence[str] | Mapping[str, ForecastingModel] | None = None,
    folds: int = 3,
    seasonality: int | None = None,
    show_progress: bool = True,
) -> Comparison:
    """Backtest several models on the same folds of a series and rank them.

    Parameters
    ----------
    series
        The series to forecast, of one or more components.
    horizon
        Number of time steps to forecast in each fold.
    models
        Names out of `MODELS`, or Darts models by the names they shall have; all of `MODELS` by
        default. Models of single components are fitted component by component; of models with a
        likelihood the median is scored.
    folds
        Number of folds. Fold k trains on all that precedes the last ``folds - k`` horizons.
    seasonality
        Number of time steps of a season. By default a year of steps longer than days (12 months, 4
        quarters, 52 weeks), a week of days (7, or 5 business days), or a day of shorter steps (24
        hours); 1, which is none, for an index of integers, for steps that do not divide their
        cycle, and where the first fold trains on less than two seasons.
    show_progress
        Whether to show a progress bar over the models.

    Returns
    -------
    Comparison
        Scores, forecasts, and `.plot()`. A model that fails has a row with its error.

    Raises
    ------
    ValueError
        If a parameter is out of its range, a name is unknown, or the series is too short.

    Notes
    -----
    Missing values (NaN) are not scored. `LSTMSeqModel` learns around them; for other models those
    of the training part are interpolated.

    The models of `MODELS` get the seasonality; the LSTM's window takes three seasons and at least
    two horizons, as far as the series allows. ARIMA is the airline model (0, 1, 1)(0, 1, 1), or
    (1, 1, 1) if there is no season or one of more than 24 steps. They run on one thread; Darts
    models of your own run as you set them up.

    Examples
    --------
    >>> from darts_lstm_seq import compare
    >>> from darts_lstm_seq.data import nile
    >>> result = compare(
    ...     nile(), horizon=5, models=["NaiveSeasonal", "NaiveDrift"], show_progress=False
    ... )
    >>> sorted(result.scores["model"])
    ['NaiveDrift', 'NaiveSeasonal']
    """
    if not isinstance(series, TimeSeries):
        raise ValueError(
            f"`series` must be a Darts `TimeSeries`, received {type(series).__name__}. "
            f"`TimeSeries.from_dataframe` and its kin make one."
        )
    horizon, folds = _positive("horizon", horizon), _positive("folds", folds)
    train_length = len(series) - folds * horizon
    needed = folds * horizon + max(2 * horizon, 4)
    if len(series) < needed:
        raise ValueError(
            f"`series` has {len(series)} time steps, too few for {folds} folds of horizon "
            f"{horizon}, which need {needed}. Lower `horizon` or `folds`."
        )
    given = seasonality is not None
    season = _positive("seasonality", seasonality) if given else _season_of(series)
    if 2 * season > train_length:
        season = 1  # less than two seasons teach nothing about them
    chosen = _choose(models, season, horizon, train_length)

    rows, forecasts = [], []
    bar = tqdm(chosen.items(), desc="Comparing", disable=not show_progress)
    # models this small gain nothing from more threads, and lose a lot on busy cores: with two on
    # two cores ARIMA took 8 times as long, the LSTM 50 times
    with threadpool_limits(None if isinstance(models, Mapping) else 1):
        for name, model in bar:
            bar.set_postfix_str(name)
            row: dict[str, Any] = {"model": name, "folds": folds, "horizon": horizon}
            row["seasonality"] = season
            try:
                scores, found = _backtest(model, series, horizon, folds, season)
                forecasts.append(found.assign(model=name))
                rows.append(row | scores)
            except Exception as error:
                rows.append(row | {"error": f"{type(error).__name__}: {error}"})
    columns = ["MASE", "sMAPE", "RMSE", "fit_seconds", "predict_seconds", "error"]
    table = pd.DataFrame(rows).reindex(columns=[*row, *columns]).sort_values("MASE")
    table = table.assign(**_versions()).reset_index(drop=True)
    tidy = ["model", "fold", "time", "component", "forecast", "actual"]
    found = pd.concat(forecasts) if forecasts else pd.DataFrame()
    return Comparison(table, found.reindex(columns=tidy).reset_index(drop=True), series)


def _arima(season: int, horizon: int, length: int) -> ForecastingModel:
    # the airline model, the classic for a season; (1, 1, 1) for none
    if 1 < season <= _LONGEST_ARIMA_SEASON:
        return ARIMA(p=0, d=1, q=1, seasonal_order=(0, 1, 1, season))
    return ARIMA(p=1, d=1, q=1)


def _smoothing(season: int, horizon: int, length: int) -> ForecastingModel:
    if season > 1:
        return ExponentialSmoothing(seasonal_periods=season)
    return ExponentialSmoothing(seasonal=SeasonalityMode.NONE)


def _theta(season: int, horizon: int, length: int) -> ForecastingModel:
    mode = SeasonalityMode.ADDITIVE if season > 1 else SeasonalityMode.NONE
    return Theta(seasonality_period=season if season > 1 else None, season_mode=mode)


def _lstm(season: int, horizon: int, length: int) -> ForecastingModel:
    # three seasons show the LSTM what repeats; half of the training part must be left for windows
    wanted = max(3 * season, 2 * horizon)
    input_length = max(1, min(wanted, (length - horizon) // 2))
    return LSTMSeqModel(
        input_chunk_length=input_length,
        output_chunk_length=horizon,
        random_state=42,
        pl_trainer_kwargs=dict(QUIET_TRAINER),
    )


# each makes a model for a season, a horizon and a training length, all in time steps
MODELS: dict[str, Callable[[int, int, int], ForecastingModel]] = {
    "LSTMSeqModel": _lstm,
    "ARIMA": _arima,
    "ExponentialSmoothing": _smoothing,
    "Theta": _theta,
    "NaiveSeasonal": lambda season, *_: NaiveSeasonal(K=season),
    "NaiveDrift": lambda *_: NaiveDrift(),
}


def _choose(
    models: Sequence[str] | Mapping[str, ForecastingModel] | None, *sizes: int
) -> dict[str, ForecastingModel]:
    if isinstance(models, Mapping):
        return dict(models)
    names = list(MODELS) if models is None else list(models)
    unknown = [name for name in names if name not in MODELS]
    if unknown or not names:
        raise ValueError(f"`models` must be names out of {list(MODELS)}, received {names}.")
    return {name: MODELS[name](*sizes) for name in names}


def _positive(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"`{name}` must be an integer >= 1, received {value!r}.")
    return int(value)


def _season_of(series: TimeSeries) -> int:
    if not series.has_datetime_index:
        return 1
    days = series.duration / (len(series) - 1) / pd.Timedelta(days=1)
    steps = (365.25 if days > 5 else 7 if days >= 1 else 1) / days
    # a year has 52.2 weeks, but a week has no whole number of two days
    return max(1, round(steps)) if abs(steps - round(steps)) < 0.3 else 1


def _backtest(
    model: ForecastingModel, series: TimeSeries, horizon: int, folds: int, season: int
) -> tuple[dict[str, float], pd.DataFrame]:
    bridge = np.isnan(series.values(copy=False)).any() and not isinstance(model, LSTMSeqModel)
    samples = _SAMPLES if model.supports_likelihood_parameter_prediction else 1
    if series.n_components > 1 and not model.supports_multivariate:
        model = MultivariateModel(model)
    with _silence(), _timed_predict(type(model)) as predict_seconds:
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
        forecast.to_dataframe(time_as_index=False)
        .set_axis(["time", *forecast.components], axis=1)
        .melt("time", var_name="component", value_name="forecast")
        .assign(
            fold=fold,
            actual=series.slice_intersect(forecast).values().ravel(order="F"),
        )
        for fold, forecast in enumerate(forecasts, start=1)
    ]
    row = dict(zip(["MASE", "sMAPE", "RMSE"], map(float, scores), strict=True))
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
def _silence() -> Iterator[None]:
    """Keep what is told about every single fit from hiding the progress bar."""
    loggers = [logging.getLogger(name) for name in ("darts", "pytorch_lightning")]
    loggers += [
        logging.getLogger(name)
        for name in logging.root.manager.loggerDict
        if name.startswith(("darts.", "pytorch_lightning.", "lightning_fabric"))
    ]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


def _versions() -> dict[str, str]:
    return {"darts_lstm_seq": __version__, "darts": version("darts"), "torch": version("torch")}
