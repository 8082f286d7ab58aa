"""The values that each parameter may take: a default space, and points of the unit cube as values.

A space maps names to lists, as Darts' `gridsearch`, or to distributions of Optuna. Names are
parameters of `LSTMSeqModel`, or one of three shorthands: `lr` and `weight_decay` of
`optimizer_kwargs`, and `n_steps`, the number of optimiser steps, for `n_epochs`.
"""

import inspect
import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
from darts import TimeSeries
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.models.forecasting.torch_forecasting_model import TorchForecastingModel
from scipy.stats import qmc

from darts_lstm_seq.model import defaults
from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel

# shorthands for entries of `optimizer_kwargs`, with PyTorch's own values
_OPTIMIZER = {"lr": 1e-3, "weight_decay": 0.0}
_N_STEPS = "n_steps"
_BATCH_SIZE = 32  # Darts' own

Configuration = dict[str, Any]


def default_space(season: int, horizon: int, length: int) -> dict[str, list[Any]]:
    """Return the default space of a series; `None` stands for the automatic choice.

    Parameters
    ----------
    season, horizon, length
        Of the series, in time steps: its season (1 for none), the steps to forecast, those of the
        first training part.

    Examples
    --------
    >>> from darts_lstm_seq.tuning.space import default_space
    >>> default_space(season=12, horizon=12, length=108)["input_chunk_length"]
    [12, 24, 36, 48]
    """
    unit = season if season > 1 else horizon
    # as for the default window, half of the training part is left for windows
    longest = max(1, (length - horizon) // 2)
    windows = sorted({min(count * unit, longest) for count in (1, 2, 3, 4)})
    n_windows = length - horizon - windows[0] + 1
    steps = min(max(n_windows, defaults.MIN_STEPS), defaults.MAX_STEPS)
    space: dict[str, list[Any]] = {
        # how many seasons, or horizons, the past tells something about the future
        "input_chunk_length": windows,
        # noisier gradients may find flatter minima; larger batches are faster, equally often better
        "batch_size": [size for size in (16, 32, 64) if size <= n_windows] or [n_windows],
        # capacity: few windows are soon overfitted
        "hidden_dim": [32, 64, 128] if n_windows > 1000 else [16, 32, 64],
        # regularisation, between none and the choice for low data
        "dropout": [None, 0.0, 0.3, 0.6],
        # around Adam's usual one; the cosine decay allows larger ones
        "lr": [3e-4, 1e-3, 3e-3, 1e-2],
        # stopping earlier regularises, training longer fits better
        _N_STEPS: [None, steps // 2, 2 * steps],
    }
    quarter = round(unit / 4)
    if 1 < quarter < windows[0]:
        # patches of a quarter season: more LSTM steps than the automatic choice has
        space["patch_length"] = [None, quarter]
    return space


class Space:
    """A checked space, around a default model.

    Parameters
    ----------
    entries
        Lists or distributions by name.
    base
        Parameters of the default model.

    Raises
    ------
    ValueError
        If there is no entry, an entry is empty, or a name is unknown.
    """

    def __init__(self, entries: Mapping[str, Any], base: Mapping[str, Any]) -> None:
        if not isinstance(entries, Mapping) or not entries:
            raise ValueError(
                f"`space` must map parameters to lists of values, such as "
                f"{{'hidden_dim': [32, 64]}}, received {entries!r}."
            )
        for name, values in entries.items():
            if name not in _known_names():
                raise ValueError(
                    f"`space` names {name!r}, which is no parameter of `LSTMSeqModel`; tune one of "
                    f"its parameters, or 'lr', 'weight_decay' or 'n_steps'."
                )
            is_list = isinstance(values, list | tuple | np.ndarray) and len(values) > 0
            if not is_list and not _is_distribution(values):
                raise ValueError(
                    f"`space[{name!r}]` must be a list of at least one value, or a distribution of "
                    f"Optuna, received {values!r}."
                )
        self.entries = {
            name: values if _is_distribution(values) else [_python(value) for value in values]
            for name, values in entries.items()
        }
        self.base = dict(base)
        self.default: Configuration = {name: self._default_value(name) for name in entries}

    def _default_value(self, name: str) -> Any:
        if name in _OPTIMIZER:
            return (self.base.get("optimizer_kwargs") or {}).get(name, _OPTIMIZER[name])
        if name in self.base or name == _N_STEPS:
            return self.base.get(name)
        if name == "batch_size":
            return _BATCH_SIZE
        parameter = inspect.signature(LSTMSeqModel.__init__).parameters.get(name)
        return None if parameter is None else parameter.default

    def grid_size(self) -> float:
        """Return the number of configurations; infinite with distributions."""
        if any(_is_distribution(values) for values in self.entries.values()):
            return math.inf
        return math.prod(len(values) for values in self.entries.values())

    def grid(self) -> Iterator[Configuration]:
        """Yield all configurations of lists."""
        for values in product(*self.entries.values()):
            yield dict(zip(self.entries, values, strict=True))

    def design(self, seed: int) -> Iterator[Configuration]:
        """Yield configurations of a scrambled Sobol sequence, without end."""
        sequence = qmc.Sobol(len(self.entries), seed=seed)
        while True:
            for point in sequence.random(64):
                yield {
                    name: _value(values, float(share))
                    for (name, values), share in zip(self.entries.items(), point, strict=True)
                }

    def parameters(self, configuration: Configuration, series: list[TimeSeries]) -> dict[str, Any]:
        """Return the parameters of `LSTMSeqModel` for a configuration.

        Parameters
        ----------
        configuration
            Values by the names of the space.
        series
            What the model will be trained on, which turns steps into epochs.
        """
        if configuration == self.default:
            return dict(self.base)
        own = {name: value for name, value in configuration.items() if name in _OPTIMIZER}
        given = {n: v for n, v in configuration.items() if n not in (*_OPTIMIZER, _N_STEPS)}
        parameters = {**self.base, **given}
        if own:
            parameters["optimizer_kwargs"] = {**(parameters.get("optimizer_kwargs") or {}), **own}
        steps = configuration.get(_N_STEPS)
        if steps is not None:
            parameters["n_epochs"] = _epochs(parameters, int(steps), series)
        return parameters


def _epochs(parameters: Mapping[str, Any], steps: int, series: list[TimeSeries]) -> int:
    length = parameters["input_chunk_length"]
    shortest = length[0] if isinstance(length, tuple) else length
    chunks = shortest + parameters.get("output_chunk_shift", 0) + parameters["output_chunk_length"]
    n_windows = len(series) * max(len(one) - chunks + 1 for one in series)
    batch_size = parameters.get("batch_size") or _BATCH_SIZE
    return max(1, round(steps / max(1, -(-n_windows // batch_size))))


def _known_names() -> set[str]:
    classes: tuple[Any, ...] = (LSTMSeqModel, TorchForecastingModel, PLForecastingModule)
    names = {name for cls in classes for name in inspect.signature(cls.__init__).parameters}
    return (names | {*_OPTIMIZER, _N_STEPS}) - {"self", "kwargs", "train_sample_shape"}


def _is_distribution(values: Any) -> bool:
    """Tell whether a space's entry is a distribution of Optuna, which need not be installed."""
    return hasattr(values, "to_internal_repr")


def _python(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _value(values: Any, share: float) -> Any:
    """Return the value at a share of a list or a distribution, from 0 to below 1."""
    choices = getattr(values, "choices", values)
    if isinstance(choices, list | tuple):
        return choices[int(share * len(choices))]
    low, high = values.low, values.high
    is_integer = isinstance(low, int)
    if is_integer:
        high += values.step or 1
    if values.log:
        value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        return int(value) if is_integer else value
    if values.step is None:
        return low + share * (high - low)
    count = int((high - low) / values.step + (0 if is_integer else 1 + 1e-9))
    return low + int(share * count) * values.step
