"""The default models of a comparison, each created for one series, or for all of them.

Apart from `LSTMSeqModel` they are Darts' own, with their defaults and the seasonality of the
series; none is tuned to a data set. They are fitted and scored in `evaluation.py`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

from darts import TimeSeries
from darts.models import ARIMA, ExponentialSmoothing, NaiveDrift, NaiveSeasonal, Theta
from darts.models.forecasting.forecasting_model import ForecastingModel
from darts.utils.likelihood_models.torch import QuantileRegression
from darts.utils.utils import SeasonalityMode
from typing_extensions import override

from darts_lstm_seq.model.defaults import full_window, input_chunk_length
from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel
from darts_lstm_seq.model.pretrained_networks import networks
from darts_lstm_seq.model.seasons import usable_seasonality

Models = Sequence[str] | Mapping[str, ForecastingModel] | None

# one network for all series of a comparison, a global model: trained from random weights, and from
# pre-trained ones, without covariates
GLOBAL, FINE_TUNED = "LSTMSeqModel (global)", "LSTMSeqModel (fine-tuned)"
GLOBALS = (GLOBAL, FINE_TUNED)
# parameters are tuned on the training part of the first fold, see `Evaluation.make_model`
TUNED = "LSTMSeqModel (tuned)"
# of at least so many series, by default
MIN_GLOBAL_SERIES = 10

# a comparison trains on no fewer steps
_SHORTEST_ARIMA_TRAINING = 4
# with a longer season, one fit of the state space model takes minutes
_LONGEST_ARIMA_SEASON = 24
# of two years of hours one fit took 140 s, of their last 500 steps it takes 7, equally accurate
_LONGEST_ARIMA_TRAINING = 500
# those of the network; `quantiles.py` interpolates others
_QUANTILES = [0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975]
# with many series there is enough data for larger batches, in less time and equally accurate
_GLOBAL_BATCH_SIZE = 128

# networks this small are no faster on a GPU when trained on a single series
QUIET_TRAINER = {
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "logger": False,
}


class RecentARIMA(ARIMA):
    """Darts' ARIMA, fitted to the newest steps of a series alone."""

    @override
    def fit(
        self,
        series: TimeSeries,
        future_covariates: TimeSeries | None = None,
        verbose: bool | None = None,
    ) -> Self:
        """Fit to the last 500 steps; parameters as for `ARIMA`."""
        return super().fit(series[-_LONGEST_ARIMA_TRAINING:], future_covariates, verbose)


def _arima(season: int, horizon: int, length: int, random_state: int) -> ForecastingModel:
    # the airline model for seasonal series, ARIMA(1, 1, 1) for others; by Darts' lower limit of 30
    # steps, short series would have no rank
    if 1 < season <= _LONGEST_ARIMA_SEASON:
        shortest = max(2 * season, _SHORTEST_ARIMA_TRAINING)
        order = (0, 1, 1, season)
        return RecentARIMA(p=0, d=1, q=1, seasonal_order=order, min_train_length=shortest)
    return ARIMA(p=1, d=1, q=1, min_train_length=_SHORTEST_ARIMA_TRAINING)


def _exponential_smoothing(
    season: int, horizon: int, length: int, random_state: int
) -> ForecastingModel:
    if season > 1:
        return ExponentialSmoothing(seasonal_periods=season)
    return ExponentialSmoothing(seasonal=SeasonalityMode.NONE)


def _theta(season: int, horizon: int, length: int, random_state: int) -> ForecastingModel:
    mode = SeasonalityMode.ADDITIVE if season > 1 else SeasonalityMode.NONE
    return Theta(seasonality_period=season if season > 1 else None, season_mode=mode)


def _lstm(season: int, horizon: int, length: int, random_state: int) -> ForecastingModel:
    return _quantile_lstm(input_chunk_length(season, horizon, length), horizon, random_state)


def _global_lstm(season: int, horizon: int, length: int, random_state: int) -> ForecastingModel:
    # the shortest series has a window, too
    wanted = full_window(season, horizon)
    shortest = min(wanted, max(1, length - horizon))
    input_length = wanted if shortest == wanted else (shortest, wanted)
    return _quantile_lstm(input_length, horizon, random_state, batch_size=_GLOBAL_BATCH_SIZE)


def _quantile_lstm(
    input_length: int | tuple[int, int], horizon: int, random_state: int, **kwargs: Any
) -> ForecastingModel:
    return LSTMSeqModel(
        input_chunk_length=input_length,
        output_chunk_length=horizon,
        likelihood=QuantileRegression(list(_QUANTILES)),
        random_state=random_state,
        pl_trainer_kwargs=dict(QUIET_TRAINER),
        **kwargs,
    )


def _pretrained(season: int, horizon: int, length: int, random_state: int) -> ForecastingModel:
    known = networks().get(season)
    is_long_enough = known is not None and length >= known.parameters["input_chunk_length"][0]
    return LSTMSeqModel.from_pretrained(
        season if is_long_enough else None,
        n_epochs=0,
        random_state=random_state,
        pl_trainer_kwargs=dict(QUIET_TRAINER),
    )


def _fine_tuned(season: int, horizon: int, length: int, random_state: int) -> ForecastingModel:
    return LSTMSeqModel.from_pretrained(
        season if season in networks() else 1,
        random_state=random_state,
        pl_trainer_kwargs=dict(QUIET_TRAINER),
    )


# each creates a model for a season, a horizon and a training length, all in time steps, and a seed;
# for the model of all series, it is the length of the shortest
MODELS: dict[str, Callable[[int, int, int, int], ForecastingModel]] = {
    "LSTMSeqModel": _lstm,
    GLOBAL: _global_lstm,
    TUNED: _lstm,
    FINE_TUNED: _fine_tuned,
    "LSTMSeqModel.from_pretrained": _pretrained,
    "ARIMA": _arima,
    "ExponentialSmoothing": _exponential_smoothing,
    "Theta": _theta,
    "NaiveSeasonal": lambda season, *_: NaiveSeasonal(K=season),
    "NaiveDrift": lambda *_: NaiveDrift(),
}
# tuning takes the time of many models, so it is there on request alone
_UNTUNED = [name for name in MODELS if name != TUNED]


def check_models(models: Models) -> list[str]:
    """Return the names of the models of a comparison.

    Raises
    ------
    ValueError
        If a name is not in `MODELS`, if there is no name, or if two models have the same one.
    """
    if isinstance(models, Mapping) and models:
        names = [str(name) for name in models]
        if len(set(names)) < len(names):
            raise ValueError(f"`models` must have names that differ as text, received {names}.")
        return names
    if isinstance(models, str) or not isinstance(models, Iterable | None):
        raise ValueError(
            f"`models` must be a list of names out of {list(MODELS)}, or a mapping of names to "
            f"Darts models ({{'mine': ...}}), received {models!r}."
        )
    names = _UNTUNED if models is None else list(dict.fromkeys(models))
    if not names or any(name not in MODELS for name in names):
        raise ValueError(f"`models` must be names out of {list(MODELS)}, received {names}.")
    return names


def default_models(n_series: int) -> list[str]:
    """Return the names of the default models: with many series, networks for all of them."""
    left_out = ("LSTMSeqModel",) if n_series >= MIN_GLOBAL_SERIES else GLOBALS
    return [name for name in _UNTUNED if name not in left_out]


def make_model(models: Models, name: str, *sizes: int) -> ForecastingModel:
    """Return a model of a comparison, created for a season, a horizon and a training length."""
    if isinstance(models, Mapping):
        return {str(given): model for given, model in models.items()}[name]
    return MODELS[name](*sizes)


def baseline_models(
    series: TimeSeries, horizon: int, seasonality: int | None = None, random_state: int = 42
) -> dict[str, ForecastingModel]:
    """Return the default models of `compare`, to be changed, fitted or compared with others.

    Parameters
    ----------
    series
        What the models are to be fitted to; in `compare` it is the training part of the first fold.
        Its length and frequency decide the input length of the LSTM and the season of all.
    horizon
        Number of time steps to forecast at once.
    seasonality
        Number of time steps of a season; by default as in `compare`.
    random_state
        Seed of the LSTM.

    Returns
    -------
    dict[str, ForecastingModel]
        Darts models by name, not fitted.

    Examples
    --------
    >>> from darts_lstm_seq import baseline_models, compare
    >>> from darts_lstm_seq.data import nile
    >>> models = baseline_models(nile()[:-15], horizon=5)
    >>> sorted(models)
    ['ARIMA', 'ExponentialSmoothing', 'LSTMSeqModel', 'LSTMSeqModel.from_pretrained', 'NaiveDrift',
     'NaiveSeasonal', 'Theta']
    >>> some = {"drift": models["NaiveDrift"], "last year": models["NaiveSeasonal"]}
    >>> len(compare(nile(), horizon=5, models=some, show_progress=False).scores)
    2
    """
    season = usable_seasonality(series, len(series), seasonality)
    sizes = season, horizon, len(series), random_state
    return {name: make_model(None, name, *sizes) for name in default_models(1)}
