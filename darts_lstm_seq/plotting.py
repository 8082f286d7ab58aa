"""Pictures of a comparison; computes no scores.

Drawing is matplotlib's. Every function returns a figure, which a notebook shows and
`figure.savefig` writes.
"""

import matplotlib.pyplot as plt
import pandas as pd
from darts import TimeSeries
from matplotlib.figure import Figure

# the LSTM stands out; the others keep one hue each, distinct also for colour-blind readers
_FIRST = "LSTMSeqModel"
_FIRST_COLOUR = "#d62728"
_COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8c564b", "#7f7f7f"]


def plot_comparison(
    series: TimeSeries,
    forecasts: pd.DataFrame,
    scores: pd.DataFrame,
    component: str | None = None,
) -> Figure:
    """Draw the end of a series, and every model's forecasts in a panel with its MASE.

    Parameters
    ----------
    series
        The series that was forecast.
    forecasts, scores
        As in `Comparison`.
    component
        Which component to draw; the first by default.

    Returns
    -------
    Figure
        A panel per model, the best first.

    Raises
    ------
    ValueError
        If the series has no such component, or there is no forecast to draw.

    Examples
    --------
    >>> from darts_lstm_seq import compare
    >>> from darts_lstm_seq.data import nile
    >>> result = compare(nile(), horizon=5, models=["NaiveDrift"], show_progress=False)
    >>> len(result.plot().axes)
    1
    """
    component = series.components[0] if component is None else component
    if component not in series.components:
        raise ValueError(
            f"`component` must be one of {list(series.components)}, received {component!r}."
        )
    shown = forecasts[forecasts["component"] == component]
    if shown.empty:
        raise ValueError("`forecasts` is empty: no model could be fitted; see `scores['error']`.")
    names = [name for name in scores["model"] if name in set(shown["model"])]
    others = (name for name in names if name != _FIRST)
    colours = dict(zip(others, _COLOURS * len(names), strict=False)) | {_FIRST: _FIRST_COLOUR}

    horizon, folds = int(scores["horizon"].iloc[0]), int(scores["folds"].iloc[0])
    history = series[component][-(folds + 4) * horizon :]
    values = history.values().ravel()
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(4.2 * columns, 2.7 * rows),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, name in zip(axes.flat, names, strict=False):
        axis.plot(history.time_index, values, color="0.25", linewidth=1.2, label="actual")
        for fold, part in shown[shown["model"] == name].groupby("fold"):
            label = "forecast" if fold == 1 else None
            axis.plot(part["time"], part["forecast"], color=colours[name], lw=1.8, label=label)
            axis.axvline(part["time"].iloc[0], color="0.8", linewidth=0.8, zorder=0)
        mase = scores.loc[scores["model"] == name, "MASE"].iloc[0]
        axis.set_title(f"{name}   MASE {mase:.2f}", fontsize=10, color=colours[name])
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=8, frameon=False, loc="upper left")
    for axis in list(axes.flat)[len(names) :]:
        axis.remove()
    figure.autofmt_xdate()
    figure.supylabel(component, fontsize=9)
    figure.suptitle(
        f"{folds} forecasts of {horizon} steps, each model refitted before every one", fontsize=11
    )
    return figure
