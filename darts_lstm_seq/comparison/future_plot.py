"""The picture of a forecast of the future: the end of each series, what follows, its interval."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from darts import TimeSeries
from matplotlib.figure import Figure

# more panels than these are not read
_MAX_PANELS = 6
_COLOUR = "#d62728"


def plot_future(series: Mapping[Any, TimeSeries], future: pd.DataFrame) -> Figure:
    """Plot the forecasts of the first series, a panel for each component.

    Parameters
    ----------
    series
        The series by their names.
    future
        The table that `Comparison.predict` returns.

    Returns
    -------
    Figure
        At most six panels.

    Raises
    ------
    ValueError
        If no series has a forecast.

    Examples
    --------
    >>> from darts_lstm_seq import compare
    >>> from darts_lstm_seq.comparison.future_plot import plot_future
    >>> from darts_lstm_seq.data import nile
    >>> result = compare(nile(), horizon=5, models=["NaiveDrift"], show_progress=False)
    >>> len(plot_future(result.series, result.predict()).axes)
    1
    """
    known = future[future["forecast"].notna()]
    if "series" not in known:
        known = known.assign(series=pd.Series([next(iter(series))] * len(known), dtype=object))
    panels: dict[tuple[Any, str], list[int]] = {}
    for row, key in enumerate(zip(known["series"], known["component"], strict=True)):
        panels.setdefault(key, []).append(row)
    if not panels:
        raise ValueError("`future` holds no forecast; its column `error` says why.")
    shown = list(panels.items())[:_MAX_PANELS]
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(5.5 * columns, 2.8 * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(shown) :]:
        axis.remove()
    for axis, ((name, component), positions) in zip(axes.flat, shown, strict=False):
        part = known.iloc[positions]
        history = series[name][component][-4 * len(part) :]
        times = pd.Index(part["time"].tolist())
        axis.plot(history.time_index, history.values().ravel(), color="0.25", label="actual")
        style = "-" if len(part) > 1 else "."
        axis.plot(times, part["forecast"], style, color=_COLOUR, label="forecast")
        limits = part["lower"], part["upper"]
        axis.fill_between(times, *limits, color=_COLOUR, alpha=0.2, linewidth=0, label="interval")
        axis.set_title(component if len(series) == 1 else f"{name}: {component}", size=10)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend(fontsize=8, frameon=False)
    plt.close(figure)  # otherwise a notebook displays it twice
    return figure
