"""Models with pre-trained networks: the choice among these by the data, forecasts without `fit`.

Forecasts of series of several seasons, each by its network, are made here; everything else about
prediction and training is the model's own. The weights are in `pretrained_networks.py`.

Source: Darts' foundation models, which forecast before they are fitted.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from darts import TimeSeries
from darts.logging import get_logger, raise_log
from darts.typing import TimeSeriesLike
from darts.utils.ts_utils import series2seq

from darts_lstm_seq.compat import random_state
from darts_lstm_seq.model.backtest import select_series
from darts_lstm_seq.model.defaults import FINE_TUNING_BATCH_SIZE
from darts_lstm_seq.model.pretrained_networks import networks
from darts_lstm_seq.model.seasons import detect_season, find_seasonality
from darts_lstm_seq.model.validation import check_lengths

if TYPE_CHECKING:
    from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel

logger = get_logger(__name__)

Model = TypeVar("Model", bound="LSTMSeqModel")

# the value of `pretrained_season` that leaves the choice to the data
AUTO = "auto"
# the zero-shot models of the seasons, components and dtypes that a model was asked about
_models: WeakKeyDictionary[Any, dict[Any, Any]] = WeakKeyDictionary()


def _check_season(season: Any) -> None:
    """Check a season that a user chose.

    Raises
    ------
    ValueError
        If there is no network for it.
    """
    is_known = isinstance(season, (int, np.integer)) and season in networks()
    if not is_known or isinstance(season, bool):
        raise_log(
            ValueError(
                f"`season` must be the season of a pre-trained network, one of "
                f"{sorted(networks())} time steps, or `None` to choose by the data, received "
                f"{season!r}. For another season fit `LSTMSeqModel(input_chunk_length, "
                f"output_chunk_length)`, or resample the series."
            )
        )


def choose_season(series: TimeSeries) -> int:
    """Return the season of the network for a series, in time steps.

    The season of its frequency or, without dates, the one that its values show. Series shorter than
    the shortest window of that network are forecast without a season.

    Parameters
    ----------
    series
        Any series.
    """
    return _choose_seasons([series])[0]


def _choose_seasons(series: Sequence[TimeSeries]) -> list[int]:
    """Return the season of the network for each of several series."""
    return [
        season if len(target) >= _shortest_window(season) else 1
        for target, season in zip(series, _seasons_of_any_length(series), strict=True)
    ]


def _shortest_window(season: int) -> int:
    return int(networks()[season].parameters["input_chunk_length"][0])


def _seasons_of_any_length(series: Sequence[TimeSeries]) -> list[int]:
    """Return the season for each series, however short; a warning names those without a network."""
    seasons: list[int] = []
    unknown: dict[tuple[int, str], None] = {}
    for target in series:
        if target.has_datetime_index:
            season = find_seasonality(target)
        else:
            season = detect_season(target, networks())
        if season not in networks():
            unknown[season, target.freq_str] = None  # of many series, each is named once
            season = 1
        seasons.append(season)
    for season, frequency in unknown:
        logger.warning(
            f"There is no pre-trained network for a season of {season} steps (frequency "
            f"{frequency}), only for {sorted(networks())}: the one without a season is used. "
            f"Resample the series, or fit `LSTMSeqModel`, for forecasts with that season."
        )
    return seasons


def make(cls: type[Model], season: int | None, kwargs: dict[str, Any]) -> Model:
    """Return a model with pre-trained weights, see `LSTMSeqModel.from_pretrained`."""
    if season is not None:
        _check_season(season)
    # while the choice is open, the network without a season forecasts nothing, but has the shortest
    # windows: no check of lengths that Darts makes beforehand refuses too much
    parameters = networks()[1 if season is None else int(season)].model_parameters()
    fixed = sorted((parameters.keys() | {"output_chunk_shift", "n_members"}) & kwargs.keys())
    if fixed:
        raise_log(
            ValueError(
                f"`{fixed[0]}` is fixed by the pre-trained network, received {kwargs[fixed[0]]!r}. "
                f"Leave it out, or create a model of your own with `LSTMSeqModel(...)`."
            )
        )
    return cls(
        **parameters,
        pretrained_season=AUTO if season is None else int(season),
        **{"use_static_covariates": False, "batch_size": FINE_TUNING_BATCH_SIZE, **kwargs},
    )


def is_open(model: "LSTMSeqModel") -> bool:
    """Tell whether the network is still to be chosen by the data."""
    return model.pretrained_season == AUTO


def check_is_chosen(model: "LSTMSeqModel") -> None:
    """Refuse what needs a network before one was chosen."""
    if is_open(model):
        raise_log(
            ValueError(
                "Which pre-trained network to use is not chosen yet. Choose one with "
                "`LSTMSeqModel.from_pretrained(season=...)`, or call `fit(series)` first."
            )
        )


def choose_for_fit(model: "LSTMSeqModel", series: TimeSeriesLike) -> None:
    """Choose the network for a fit, if the choice is still open.

    If all series are too short for a training window of the network of their season, the one
    without a season is chosen; if only some are, the fit refuses these.

    Raises
    ------
    ValueError
        If the seasons of the series differ, naming the index of the first that does.
    """
    if not is_open(model):
        return
    targets = series2seq(series)
    seasons = _seasons_of_any_length(targets)
    for index, season in enumerate(seasons):
        if season != seasons[0]:
            raise_log(
                ValueError(
                    f"`series` at index {index} has a season of {season} steps, the first one of "
                    f"{seasons[0]}; a network is trained for one season. Fit a model for each "
                    f"season, or choose one with `LSTMSeqModel.from_pretrained(season=...)`."
                )
            )
    # a training window has one label at least
    season = seasons[0] if max(map(len, targets)) > _shortest_window(seasons[0]) else 1
    # the folder of its checkpoints, if there is one, was made for it a moment ago
    chosen = _of_season(model, season, model_name=model.model_name, force_reset=True)
    model.__dict__.update(vars(chosen))


def keep_weights(model: Model, series: TimeSeriesLike) -> Model:
    """Make a zero-shot model a fitted one, without training."""
    model._fit_called = True
    model.training_series = series if isinstance(series, TimeSeries) else None
    return model


def _of_season(model: Model, season: int, **kwargs: Any) -> Model:
    """Return a new model with the training parameters of a model for one season."""
    parameters = {**model.model_params, **networks()[season].model_parameters(), **kwargs}
    parameters["pretrained_season"] = season
    state = random_state(model)
    if parameters.get("random_state") is not None or state is None:
        return type(model)(**parameters)
    # without a seed, the constructor would draw one from NumPy's random state
    made = type(model)(**{**parameters, "random_state": state.randint(2**31)})
    made.model_params.pop("random_state")  # models made from it are not seeded, as it was not
    return made


def for_series(model: Model, series: TimeSeries) -> Model:
    """Return the fitted model that forecasts a series for a zero-shot model."""
    return _for_each(model, [series])[0]


def _for_each(model: Model, series: Sequence[TimeSeries]) -> list[Model]:
    """Return the fitted model that forecasts each of several series."""
    if is_open(model):
        seasons = _choose_seasons(series)
    else:
        seasons = [int(model.pretrained_season or 1)] * len(series)
    return [
        _fitted(model, season, target.n_components, target.dtype)
        for target, season in zip(series, seasons, strict=True)
    ]


def for_export(model: Model) -> Model:
    """Return the fitted model that is exported for a zero-shot model."""
    if model.training_series is not None:
        return for_series(model, model.training_series)
    check_is_chosen(model)
    return _fitted(model, int(model.pretrained_season or 1), 1, np.dtype(np.float32))


def _fitted(model: Model, season: int, width: int, dtype: np.dtype) -> Model:
    """Return a fitted model with the network of a season, for series of `width` components."""
    models = _models.setdefault(model, {})
    key = season, width, dtype
    if key not in models:
        fitted = _of_season(model, season, save_checkpoints=False, log_tensorboard=False)
        fitted.load_pretrained_network(width, dtype)
        models[key] = fitted
    return models[key]


def extend(series: Sequence[TimeSeries], n_steps: int, shortest: int) -> list[TimeSeries]:
    """Append steps without a value, so that the newest windows have one label at least.

    Raises
    ------
    ValueError
        If a series has fewer than `shortest` steps, naming its index.
    """
    check_lengths(series, shortest - 1, 1, "Leave it out.")
    return [
        target.append_values(
            np.full((n_steps, target.n_components, target.n_samples), np.nan, target.dtype)
        )
        for target in series
    ]


def predict(model: "LSTMSeqModel", arguments: dict[str, Any]) -> TimeSeriesLike:
    """Return zero-shot forecasts, each by the network of its series.

    Parameters
    ----------
    model
        A model that was not fitted.
    arguments
        The arguments of its `predict`, by name.

    Raises
    ------
    ValueError
        If there are covariates, or no series.
    """
    series = arguments.get("series")
    series = model.training_series if series is None else series
    if series is None:
        raise_log(ValueError("`series` must be given to `predict()` before the model is fitted."))
    _check_no_covariates(arguments)

    def predict_part(fitting: "LSTMSeqModel", part: TimeSeriesLike, _: list[int]) -> TimeSeriesLike:
        if arguments["n"] > fitting.output_chunk_length:
            logger.warning(
                f"`n` is {arguments['n']}: forecasts beyond {fitting.output_chunk_length} steps "
                f"are made from forecasts; their accuracy was not measured."
            )
        return fitting.predict_with_own_network({**arguments, "self": fitting, "series": part})

    return _by_network(model, series, predict_part)


def historical_forecasts(model: "LSTMSeqModel", arguments: dict[str, Any]) -> Any:
    """Return the historical forecasts of each series by the model of its season.

    Parameters
    ----------
    model
        A model that was not fitted.
    arguments
        All arguments of its `historical_forecasts`, by name.
    """
    if not arguments["retrain"]:
        _check_no_covariates(arguments)

    def forecast_part(fitting: "LSTMSeqModel", part: TimeSeriesLike, indices: list[int]) -> Any:
        chosen = select_series(arguments, lambda group: [group[index] for index in indices])
        return fitting.historical_forecasts(**{**chosen, "series": part})

    return _by_network(model, arguments["series"], forecast_part)


def encode(model: "LSTMSeqModel", series: TimeSeriesLike) -> np.ndarray:
    """Return the last hidden states `(n_series, H)`, each of the network of its series.

    Raises
    ------
    ValueError
        If their sizes differ, naming the index of the first series whose state does.
    """
    states = _by_network(
        model, series2seq(series), lambda fitting, part, _: list(fitting.encode(part))
    )
    for index, state in enumerate(states):
        if len(state) != len(states[0]):
            raise_log(
                ValueError(
                    f"`series` at index {index} has a hidden state of {len(state)} values, the "
                    f"first one of {len(states[0])}, as their seasons or numbers of components "
                    f"differ. Encode them separately, or choose one network with "
                    f"`LSTMSeqModel.from_pretrained(season=...)`."
                )
            )
    return np.stack(states)


def _by_network(
    model: "LSTMSeqModel",
    series: TimeSeriesLike,
    call: Callable[["LSTMSeqModel", Any, list[int]], Any],
) -> Any:
    """Return the results of `call` for each series, in their order.

    Parameters
    ----------
    model
        A model that was not fitted.
    series
        One series, or several.
    call
        Called with the model that forecasts some of the series, these, and their positions.
    """
    if isinstance(series, TimeSeries):
        return call(for_series(model, series), series, [0])
    groups: dict[LSTMSeqModel, list[int]] = {}
    for index, fitting in enumerate(_for_each(model, series)):
        groups.setdefault(fitting, []).append(index)
    results: list[Any] = [None] * len(series)
    for fitting, indices in groups.items():
        part = [series[index] for index in indices]
        for index, result in zip(indices, call(fitting, part, indices), strict=True):
            results[index] = result
    return results


def _check_no_covariates(arguments: Mapping[str, Any]) -> None:
    for name in ("past_covariates", "future_covariates"):
        if arguments.get(name) is not None:
            raise_log(
                ValueError(
                    f"`{name}` need `fit()`: the pre-trained networks were trained without. Call "
                    f"`fit(series, {name}=...)` first, or leave them out."
                )
            )
