"""The default models of a comparison, each created for one series.

Apart from `LSTMSeqModel` they are Darts' own, with their defaults and the seasonality of the
series; none is tuned to a data set. They are fitted and scored in `evaluation.py`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from darts.models import ARIMA, ExponentialSmoothing, NaiveDrift, NaiveSeasonal, Theta
from darts.models.forecasting.forecasting_model import ForecastingModel
from darts.utils.utils import SeasonalityMode

from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel
from darts_lstm_seq.model.pretrained import networks

Models = Sequence[str] | Mapping[str, ForecastingModel] | None

# with a longer season, one fit of the state space model takes minutes
_LONGEST_ARIMA_SEASON = 24

# networks this small are no faster on a GPU when trained on a single series
QUIET_TRAINER = {
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "logger": False,
}


def _arima(season: int, horizon: int, length: int) -> ForecastingModel:
    # the airline model for seasonal series, ARIMA(1, 1, 1) for others
    if 1 < season <= _LONGEST_ARIMA_SEASON:
        return ARIMA(p=0, d=1, q=1, seasonal_order=(0, 1, 1, season))
    return ARIMA(p=1, d=1, q=1)


def _exponential_smoothing(season: int, horizon: int, length: int) -> ForecastingModel:
    if season > 1:
        return ExponentialSmoothing(seasonal_periods=season)
    return ExponentialSmoothing(seasonal=SeasonalityMode.NONE)


def _theta(season: int, horizon: int, length: int) -> ForecastingModel:
    mode = SeasonalityMode.ADDITIVE if season > 1 else SeasonalityMode.NONE
    return Theta(seasonality_period=season if season > 1 else None, season_mode=mode)


def _lstm(season: int, horizon: int, length: int) -> ForecastingModel:
    # three seasons of input show the repetition; half of the training part is left for windows
    wanted = max(3 * season, 2 * horizon)
    input_length = max(1, min(wanted, (length - horizon) // 2))
    return LSTMSeqModel(
        input_chunk_length=input_length,
        output_chunk_length=horizon,
        random_state=42,
        pl_trainer_kwargs=dict(QUIET_TRAINER),
    )


def _pretrained(season: int, horizon: int, length: int) -> ForecastingModel:
    known = networks().get(season)
    is_long_enough = known is not None and length >= known.parameters["input_chunk_length"][0]
    return LSTMSeqModel.from_pretrained(
        season if is_long_enough else None,
        n_epochs=0,
        random_state=42,
        pl_trainer_kwargs=dict(QUIET_TRAINER),
    )


# each creates a model for a season, a horizon and a training length, all in time steps
MODELS: dict[str, Callable[[int, int, int], ForecastingModel]] = {
    "LSTMSeqModel": _lstm,
    "LSTMSeqModel.from_pretrained": _pretrained,
    "ARIMA": _arima,
    "ExponentialSmoothing": _exponential_smoothing,
    "Theta": _theta,
    "NaiveSeasonal": lambda season, *_: NaiveSeasonal(K=season),
    "NaiveDrift": lambda *_: NaiveDrift(),
}


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
    names = list(MODELS) if models is None else list(dict.fromkeys(models))
    if not names or any(name not in MODELS for name in names):
        raise ValueError(f"`models` must be names out of {list(MODELS)}, received {names}.")
    return names


def make_models(models: Models, *sizes: int) -> dict[str, ForecastingModel]:
    """Return the models by name, created for a season, a horizon and a training length."""
    if isinstance(models, Mapping):
        return {str(name): model for name, model in models.items()}
    return {name: MODELS[name](*sizes) for name in check_models(models)}
