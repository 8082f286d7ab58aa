"""One network for all series: which series it can be trained on, its folds, and its scores.

It is trained from random weights, or fine-tuned from pre-trained ones, which know no covariates. A
fold ends at the same position from the end of each series; the networks of all folds are trained
together (`model/stacking.py`). Series that differ from most, or cannot be trained on, have an error
and do not stop the others.

Source: Darts' `historical_forecasts` with `apply_globally`, which leaves out what series do not
have in common; here each has all of its past.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from darts import TimeSeries

from darts_lstm_seq.comparison.baselines import FINE_TUNED
from darts_lstm_seq.comparison.inputs import Inputs
from darts_lstm_seq.comparison.quantiles import Forecast, predict_quantiles
from darts_lstm_seq.comparison.scoring import LEVELS, Result, check_series, fold_ends, score
from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel
from darts_lstm_seq.model.seasons import find_seasonality, usable_seasonality
from darts_lstm_seq.model.stacking import fit_together
from darts_lstm_seq.model.validation import check_labels, check_values, check_windows

if TYPE_CHECKING:
    from darts_lstm_seq.comparison.evaluation import Evaluation

Key = TypeVar("Key")

# steps of the shortest input of any pre-trained network
_SHORTEST = 4
# training windows of all series; of more, the newest of each series are used
_MAX_WINDOWS = 200_000


def evaluate_globally(
    evaluation: "Evaluation", name: str, inputs: Mapping[str, Inputs], on_fold: Callable[[], Any]
) -> dict[str, Result]:
    """Return the scores, or the error, and the forecasts of each series.

    Parameters
    ----------
    evaluation
        The settings.
    name
        Which network.
    inputs
        The series by their keys.
    on_fold
        Called once for each fold of each series.
    """
    horizon, folds = evaluation.horizon, evaluation.folds
    errors: dict[str, str] = {}
    for key, (series, *_) in inputs.items():
        try:
            check_series(series, horizon, folds)
        except ValueError as error:
            errors[key] = f"ValueError: {error}"
    parts = {
        key: [_until(given, end) for end in fold_ends(given.series, horizon, folds)]
        for key, given in seen_by(name, inputs).items()
        if key not in errors
    }
    first = {key: of_folds[0] for key, of_folds in parts.items()}
    model, unlike = make_global(evaluation, name, first)
    errors |= unlike
    for key, of_folds in parts.items():
        if key not in errors and (reason := first_error(map(model_error(model), of_folds))):
            errors[key] = reason
    usable = [key for key in parts if key not in errors]
    start = perf_counter()
    models = [model.untrained_model() for _ in range(folds)]
    if usable:
        fold_inputs = [[parts[key][fold] for key in usable] for fold in range(folds)]
        fit_together(models, [fit_arguments(model, part) for part in fold_inputs])
    middle = perf_counter()
    forecasts: list[list[Forecast]] = [
        forecast(fitted, part, horizon, LEVELS)
        for fitted, part in zip(models, fold_inputs if usable else [], strict=False)
    ]
    seconds = {
        "fit_seconds": (middle - start) / max(1, len(usable)),
        "predict_seconds": (perf_counter() - middle) / max(1, len(usable)),
    }
    results: dict[str, Result] = {key: ({"error": error}, None) for key, error in errors.items()}
    for index, key in enumerate(usable):
        series = inputs[key].series
        season = evaluation.season(series, len(series) - folds * horizon)
        try:
            scores, frame = score(series, [of_fold[index] for of_fold in forecasts], season)
            used = {"covariates": evaluation.used_covariates(name, model, inputs[key])}
            results[key] = {"seasonality": season, **scores, **seconds, **used}, frame
        except ValueError as error:
            results[key] = {"error": f"ValueError: {error}"}, None
    for _ in range(folds * len(inputs)):
        on_fold()
    return {key: results[key] for key in inputs}


def seen_by(name: str, inputs: Mapping[Key, Inputs]) -> Mapping[Key, Inputs]:
    """Return what a network uses of series and covariates: a pre-trained one only the series."""
    if name != FINE_TUNED:
        return inputs
    return {key: Inputs(given.series.with_static_covariates(None)) for key, given in inputs.items()}


def make_global(
    evaluation: "Evaluation", name: str, inputs: Mapping[Key, Inputs]
) -> tuple[LSTMSeqModel, dict[Key, str]]:
    """Return the network of all series before its training, and why it leaves out others.

    Parameters
    ----------
    evaluation
        The settings.
    name
        Which network.
    inputs
        What the network will be trained on.
    """
    kinds = {key: _kind(evaluation, given) for key, given in inputs.items()}
    ((most, _),) = Counter(kinds.values()).most_common(1) or [((1, 1, 0), 0)]
    properties = ("season", "number of components", "number of static covariates")
    errors = {}
    for key, kind in kinds.items():
        for what, own, usual in zip(properties, kind, most, strict=True):
            if own != usual:
                errors[key] = (
                    f"ValueError: the {what} is {own}, that of most series {usual}; one network "
                    f"needs them equal. Compare these series by themselves."
                )
    alike = [given.series for key, given in inputs.items() if key not in errors]
    if not alike:  # nothing to train on
        alike = [TimeSeries.from_values(np.zeros(2))]
    # short series lack two seasons of their own, but not the season of the others
    season = usable_seasonality(alike[0], max(map(len, alike)), most[0])
    model = evaluation.make_model(name, season, min(map(len, alike)), Inputs(alike[0]))
    assert isinstance(model, LSTMSeqModel)
    return model, errors


def _kind(evaluation: "Evaluation", inputs: Inputs) -> tuple[int, int, int]:
    series = inputs.series
    statics = series.static_covariates
    width = 0 if statics is None else statics.shape[1]
    season = evaluation.seasonality or find_seasonality(series)
    return season, series.n_components, width


def model_error(model: LSTMSeqModel) -> Callable[[Inputs], str | None]:
    """Return a function that says why a network cannot be trained on a series."""
    shortest, length = model.min_input_chunk_length, model.input_chunk_length
    horizon = model.output_chunk_length
    if model.pretrained_season is not None:
        horizon = 1  # the newest windows have one label at least

    def check(inputs: Inputs) -> str | None:
        series, past, future = _lengthened(model, inputs, shortest + horizon)
        if len(series) < shortest + horizon:
            fewest = _fewest(model, inputs) + horizon
            return (
                f"ValueError: {len(series)} time steps are too few to train on; {fewest} are "
                f"needed."
            )
        try:
            past_list, future_list = ([one] if one is not None else None for one in (past, future))
            check_values([series], past_list, future_list, True)
            if not np.isnan(series.values(copy=False)).any():
                return None
            check_windows([series], length, [np.arange(shortest, len(series) + 1)])
            check_labels([series], shortest)
        except ValueError as error:
            return f"ValueError: {error}"
        return None

    return check


def fit_arguments(model: LSTMSeqModel, inputs: Iterable[Inputs]) -> dict[str, Any]:
    """Return the arguments of `fit` for all series."""
    listed = _of_one_dtype(inputs)
    if model.pretrained_season is not None:
        # with `max_samples_per_ts`, no window would reach beyond the end of its series
        count = max(_MAX_WINDOWS // len(listed), model.input_chunk_length)
        shortest = model.min_input_chunk_length
        listed = [_lengthened(model, given, shortest + 1) for given in listed]
        return {"series": [given.series[-count - shortest :] for given in listed]}
    windows = sum(len(given.series) - model.output_chunk_length for given in listed)
    arguments: dict[str, Any] = {"series": [given.series for given in listed], **_lists(listed)}
    if windows > _MAX_WINDOWS:
        arguments["max_samples_per_ts"] = max(1, _MAX_WINDOWS // len(listed))
    return arguments


def forecast(
    model: LSTMSeqModel, inputs: Iterable[Inputs], horizon: int, levels: Iterable[float]
) -> list[Forecast]:
    """Return the forecasts of all series, in one go."""
    listed = _of_one_dtype(inputs)
    shortest = model.min_input_chunk_length
    listed = [_lengthened(model, given, shortest) for given in listed]
    for given in listed:
        fewest = _fewest(model, given)
        if len(given.series) < fewest:
            raise ValueError(
                f"{len(given.series)} time steps are too few to forecast from; {fewest} are needed."
            )
    series = [given.series for given in listed]
    return predict_quantiles(model, horizon, list(levels), series, **_lists(listed))


def _fewest(model: LSTMSeqModel, inputs: Inputs) -> int:
    """Return the fewest steps that a model forecasts a series from."""
    if model.pretrained_season is None or inputs.covariates:
        return model.min_input_chunk_length
    return min(_SHORTEST, model.min_input_chunk_length)


def _lengthened(model: LSTMSeqModel, inputs: Inputs, n_steps: int) -> Inputs:
    """Return a series that a pre-trained network takes, if it is too short: with missing values.

    Of 12 values, the network of months so makes smaller errors than the one without a season, of 10
    about the same (the monthly series of the M3 competition, six months ahead).
    """
    series = inputs.series
    n_missing = n_steps - len(series)
    n_labels = n_steps - model.min_input_chunk_length
    if n_missing <= 0 or len(series) < _fewest(model, inputs) + n_labels:
        return inputs
    missing = np.full((n_missing, series.n_components, 1), np.nan, series.dtype)
    return Inputs(series.prepend_values(missing))


def first_error(errors: Iterable[str | None]) -> str | None:
    """Return the first that is not `None`."""
    return next((error for error in errors if error), None)


def _of_one_dtype(inputs: Iterable[Inputs]) -> list[Inputs]:
    listed = list(inputs)
    if len({given.series.dtype for given in listed}) == 1:
        return listed
    return [Inputs(given.series.astype(np.float64), *given[1:]) for given in listed]


def _lists(inputs: list[Inputs]) -> dict[str, list[TimeSeries]]:
    names = inputs[0].covariates if inputs else {}
    return {name: [getattr(given, name) for given in inputs] for name in names}


def _until(inputs: Inputs, end: int) -> Inputs:
    return Inputs(inputs.series[:end], *inputs[1:])
