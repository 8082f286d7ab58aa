"""The errors of all configurations against each parameter of the space."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from darts_lstm_seq.tuning.evaluation import Trial
from darts_lstm_seq.tuning.space import Space

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 4
_AUTOMATIC = "auto"


def plot_trials(trials: Sequence[Trial], chosen: Trial, space: Space, metric: str) -> "Figure":
    """Return a figure with a panel per parameter.

    Parameters
    ----------
    trials
        The default and others; those without a score are left out.
    chosen
        The one to be marked beside the default.
    space
        The space that they are from.
    metric
        What the error is called.
    """
    from matplotlib import pyplot as plt

    names = list(space.entries)
    columns = min(_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3 * columns, 2.6 * rows), sharey=True, squeeze=False
    )
    scored = [trial for trial in trials if trial.is_scored]
    marks: list[tuple[list[Trial], dict[str, Any]]] = [
        (scored, {"color": "0.6", "s": 14, "label": "configuration"}),
        ([trials[0]], {"color": "C0", "marker": "s", "s": 45, "label": "default"}),
        ([chosen], {"color": "C1", "marker": "*", "s": 110, "label": "chosen"}),
    ]
    for axis, name in zip(axes.flat, names, strict=False):
        place = _places([trial.configuration[name] for trial in scored], axis)
        for some, style in marks:
            axis.scatter(
                [place(trial.configuration[name]) for trial in some],
                [trial.mean for trial in some],
                **style,
            )
        axis.set_xlabel(name)
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for row in axes:
        row[0].set_ylabel(metric)
    axes[0, 0].legend(fontsize="small")
    figure.tight_layout()
    return figure


def _places(values: Sequence[Any], axis: Any) -> Any:
    """Return a function from a value to its place on an axis, which is labelled by values."""
    distinct = {repr(value): value for value in values}
    numbers = [v for v in distinct.values() if isinstance(v, int | float) and v is not None]
    if len(numbers) == len(distinct) > 8:
        return float
    ordered = sorted(numbers) + [v for v in distinct.values() if v not in numbers]
    axis.set_xticks(
        np.arange(len(ordered)),
        [
            _AUTOMATIC
            if value is None
            else f"{value:.20}"
            if isinstance(value, str)
            else str(value)
            for value in ordered
        ],
    )
    positions = {repr(value): index for index, value in enumerate(ordered)}
    return lambda value: positions[repr(value)]
