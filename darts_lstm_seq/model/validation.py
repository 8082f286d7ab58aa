"""Checks of parameters and series before training or prediction starts.

Components, frequencies and covariate spans are checked by Darts, and so are lengths before a
prediction. This file adds lengths before a training, with a repair, and the checks without which
training ends in NaN: infinite values, missing values that are not masked, windows without a single
value, labels all of which are missing. Every error names the argument (`val_series` and so on for
validation data), the series index, the component and the first time.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.logging import raise_log
from darts.utils.likelihood_models.torch import TorchLikelihood

from darts_lstm_seq.batching.datasets import ValidationSeries
from darts_lstm_seq.checks import check_positive_integer
from darts_lstm_seq.training.likelihoods import unsupported

Series = Sequence[TimeSeries]

# values of parameters of `BlockRNNModel` that ask for what is here, or for nothing: without
# `hidden_fc_sizes` there is no activation
_SAME_AS_BLOCK_RNN: dict[str, tuple[Any, ...]] = {
    "model": (None, "LSTM"),
    "hidden_fc_sizes": (None, [], ()),
    "activation": (None, "ReLU"),
}


def check_parameters(
    params: dict, at_least: dict[str, int], below_one: Sequence[str] = ("dropout",)
) -> None:
    """Raise a `ValueError` for the first parameter that is out of its range.

    Parameters
    ----------
    params
        Parameter values by name.
    at_least
        The smallest legal value of each integer parameter; absent ones pass.
    below_one
        Names of fractions in [0, 1); absent ones pass.
    """
    for name in at_least.keys() & params.keys():
        check_positive_integer(name, params[name], at_least[name])
    for name in below_one:
        value = params.get(name, 0)
        number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if not number or not 0 <= value < 1:
            raise_log(ValueError(f"`{name}` must be a number in [0, 1), received {value!r}."))


def check_types(params: Mapping[str, Any], types: Mapping[str, tuple[type, str]]) -> None:
    """Refuse parameters of a wrong type; absent ones, and `None`, pass.

    Parameters
    ----------
    params
        Parameter values by name.
    types
        The legal type of each parameter, and how a message calls it.

    Raises
    ------
    ValueError
        Naming the parameter, its type in words and the value received.
    """
    for name, (legal, words) in types.items():
        value = params.get(name)
        if value is not None and not isinstance(value, legal):
            raise_log(ValueError(f"`{name}` must be {words}, received {value!r}."))


def check_block_rnn_parameters(params: Mapping[str, Any]) -> list[str]:
    """Return which parameters are those that only `BlockRNNModel` has, if they can be left out.

    Raises
    ------
    ValueError
        If one asks for what this model has not, with the repair.
    """
    repairs = {
        "model": "the recurrent layer is an LSTM. Pass 'LSTM', leave it out, or use Darts' "
        "`BlockRNNModel`",
        "hidden_fc_sizes": "one linear layer leads from the last hidden state to the forecast. "
        "Leave it out, and choose the size of the network by `hidden_dim`",
        "activation": "it belongs to `hidden_fc_sizes`, which there are not. Leave it out",
    }
    for name, repair in repairs.items():
        value = params.get(name)
        if value not in _SAME_AS_BLOCK_RNN[name]:
            raise_log(ValueError(f"`{name}` cannot be {value!r}: {repair}."))
    return [name for name in repairs if name in params]


def check_series_given(series: object) -> None:
    """Check that `series` is a `TimeSeries` or a sequence of at least one.

    Raises
    ------
    ValueError
        Naming what was received.
    """
    if isinstance(series, TimeSeries):
        return
    if isinstance(series, Sequence) and len(series) and isinstance(series[0], TimeSeries):
        return
    is_empty = series is None or (isinstance(series, Sequence) and not len(series))
    received = repr(series) if is_empty else type(series).__name__
    raise_log(
        ValueError(
            f"`series` must be a Darts `TimeSeries` or a sequence of at least one, received "
            f"{received}. Create one with `TimeSeries.from_dataframe`, `TimeSeries.from_values` or "
            f"another `TimeSeries.from_...` method."
        )
    )


def check_values(
    series: Series,
    past_covariates: Series | None,
    future_covariates: Series | None,
    use_static_covariates: bool,
    steps_after: int = 0,
    steps_before: int | None = None,
    prefix: str = "",
) -> None:
    """Refuse infinite values, and missing ones where the network has no mask for them.

    The target and past covariates may hold NaN; future and static covariates may not.

    Parameters
    ----------
    series, past_covariates, future_covariates
        Sequences of series of equal number.
    use_static_covariates
        Whether static covariates count.
    steps_after
        Number of time steps after the end of each target that covariates are used for.
    steps_before
        Number of time steps at the end of each target that are used; `None` means all.
    prefix
        What the names of the arguments start with: `"val_"` for validation data.

    Raises
    ------
    ValueError
        Naming the series index, the component and the time of the first such value.
    """
    for idx, target in enumerate(series):
        _check_one(f"{prefix}series", idx, target, missing_allowed=True, last=steps_before)
        first = 0 if steps_before is None else max(0, len(target) - steps_before)
        span = (
            target.time_index[first],
            target.end_time() + steps_after * target.freq,
        )
        for name, covariates in (
            ("past_covariates", past_covariates),
            ("future_covariates", future_covariates),
        ):
            if covariates is not None and idx < len(covariates):
                _check_one(
                    f"{prefix}{name}",
                    idx,
                    covariates[idx],
                    missing_allowed=name == "past_covariates",
                    span=span,
                )
        if use_static_covariates and target.static_covariates is not None:
            _check_static(f"{prefix}series", idx, target.static_covariates)


def check_weights(weights: Series, prefix: str = "") -> None:
    """Refuse sample weights that are missing or infinite.

    Parameters
    ----------
    weights
        A series of weights for each target.
    prefix
        What the name of the argument starts with: `"val_"` for validation data.

    Raises
    ------
    ValueError
        Naming the series index, the component and the time of the first such value.
    """
    for idx, weight in enumerate(weights):
        _check_one(f"{prefix}sample_weight", idx, weight, missing_allowed=False)


def check_windows(
    series: Series, length: int, ends: Sequence[np.ndarray], prefix: str = ""
) -> None:
    """Refuse windows in which a component has no value at all: there is nothing to bridge from.

    Parameters
    ----------
    series
        The targets.
    length
        Number of time steps of a window; those at the start of a series may be shorter.
    ends
        For each series, the positions after the last step of each of its windows.
    prefix
        What the name of the argument starts with: `"val_"` for validation data.

    Raises
    ------
    ValueError
        Naming the series index, the component and the first such window.
    """
    for idx, (target, window_ends) in enumerate(zip(series, ends, strict=True)):
        missing = np.isnan(target.all_values(copy=False))  # (steps, components, samples)
        if not len(window_ends) or not missing.any():
            continue
        known = np.pad(np.cumsum(~missing, axis=0), ((1, 0), (0, 0), (0, 0)))
        empty = known[window_ends] == known[np.maximum(window_ends - length, 0)]
        if empty.any():
            window, component, _ = np.argwhere(empty)[0]
            last = target.time_index[window_ends[window] - 1]
            raise_log(
                ValueError(
                    f"`{prefix}series` at index {idx} has no value of component "
                    f"{target.components[component]!r} in the input window of {length} steps that "
                    f"ends at {last}. Fill the gap, leave this part of the series out, or choose "
                    f"an `input_chunk_length` longer than the gap."
                )
            )


def check_lengths(series: Series, n_input: int, n_labels: int, repair: str) -> None:
    """Refuse series that are shorter than a training window.

    Parameters
    ----------
    series
        The targets.
    n_input, n_labels
        Number of steps of the shortest window before those that it forecasts, and of these.
    repair
        What the error says that can be done.

    Raises
    ------
    ValueError
        Naming the index of the first that is too short, its length and the length needed.
    """
    prefix = "val_" if isinstance(series, ValidationSeries) else ""
    needed = n_input + n_labels
    for index, one in enumerate(series):
        if len(one) < needed:
            raise_log(
                ValueError(
                    f"`{prefix}series` at index {index} is too short to be trained on: it has "
                    f"{len(one)} steps, and {needed} are needed ({n_input} of input, {n_labels} to "
                    f"forecast). {repair}"
                )
            )


def check_labels(series: Series, first: int, prefix: str = "") -> None:
    """Refuse series of which no value is known where forecasts are trained on: a loss of nothing.

    Parameters
    ----------
    series
        The targets.
    first
        Position of the first step that any window forecasts.
    prefix
        What the name of the argument starts with: `"val_"` for validation data.

    Raises
    ------
    ValueError
        Saying from when on all values are missing.
    """
    if all(bool(np.isnan(one.all_values(copy=False)[first:]).all()) for one in series):
        start = series[0].time_index[min(first, len(series[0]) - 1)]
        raise_log(
            ValueError(
                f"`{prefix}series` has no value to learn to forecast: from {start} on (series "
                f"index 0) all are missing (NaN). Leave the end out, or shorten "
                f"`input_chunk_length`."
            )
        )


def check_support(
    series: Series, likelihood: TorchLikelihood | None, first: int, prefix: str = ""
) -> None:
    """Refuse labels that the likelihood gives no probability, such as negative counts.

    Parameters
    ----------
    series
        The targets.
    likelihood
        The likelihood they are to be trained on.
    first
        Position of the first step that any window forecasts.
    prefix
        What the name of the argument starts with: `"val_"` for validation data.

    Raises
    ------
    ValueError
        Naming the series index, the component, the first such value and its time.
    """
    for idx, target in enumerate(series):
        values = target.all_values(copy=False)[first:]  # (steps, components, samples)
        values = values.astype(float, copy=False)
        wrong, words = unsupported(likelihood, values)
        for step, component, sample in _first(wrong):
            raise_log(
                ValueError(
                    f"`{prefix}series` at index {idx} has the value "
                    f"{values[step, component, sample]} in component "
                    f"{target.components[component]!r}, first at "
                    f"{target.time_index[first + step]}, but a {type(likelihood).__name__} "
                    f"describes {words}. Correct the value, mark it as missing (NaN), or choose "
                    f"another `likelihood`."
                )
            )


def has_missing(series: Series, past_covariates: Series | None) -> bool:
    """Tell whether the target or a past covariate misses a value anywhere."""
    return any(
        bool(np.isnan(one.all_values(copy=False)).any())
        for group in (series, past_covariates or [])
        for one in group
    )


def _check_one(
    name: str,
    idx: int,
    series: TimeSeries,
    *,
    missing_allowed: bool,
    span: tuple | None = None,
    last: int | None = None,
) -> None:
    values = series.all_values(copy=False)  # (steps, components, samples)
    if last is not None:
        values = values[-last:]
    if np.isfinite(values).all():
        return
    bad = np.isinf(values) if missing_allowed else ~np.isfinite(values)
    times = series.time_index[len(series) - len(values) :]
    if span is not None:  # covariates may hold anything outside the part that is used
        bad &= np.asarray((times >= span[0]) & (times <= span[1]))[:, None, None]
    for step, component, sample in _first(bad):
        value = values[step, component, sample]
        kind = "a missing value (NaN)" if np.isnan(value) else f"an infinite value ({value})"
        raise_log(
            ValueError(
                f"`{name}` at index {idx} has {kind} in component "
                f"{series.components[component]!r}, first at {times[step]}. Replace it (for "
                f"example with `darts.utils.missing_values.fill_missing_values` after turning "
                f"infinite values into NaN)."
            )
        )


def _check_static(name: str, idx: int, static: pd.DataFrame) -> None:
    numeric = static.select_dtypes("number")
    for row, column in _first(~np.isfinite(numeric.to_numpy(dtype=float))):
        raise_log(
            ValueError(
                f"`{name}` at index {idx} has the static covariate {numeric.columns[column]!r} = "
                f"{numeric.iloc[row, column]}. Replace it by a finite value."
            )
        )


def _first(bad: np.ndarray) -> Iterator[np.ndarray]:
    yield from np.argwhere(bad)[:1]
