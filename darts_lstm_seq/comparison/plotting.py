"""Plots of a comparison and of training losses; scores are computed elsewhere.

Drawing is matplotlib's. Every function returns a figure that is open in `pyplot`: `plt.show()` and
a notebook display it, `figure.savefig` writes it to a file.
"""

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from darts import TimeSeries
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from darts_lstm_seq.checks import counted

# one colour per model, distinguishable for colour-blind readers; red is kept for the LSTM
_FIRST = "LSTMSeqModel"
_FIRST_COLOUR = "#d62728"
_COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8c564b", "#7f7f7f"]
# a picture of more would be too high to look at
_MOST_COMPONENTS = 6


class _Figure(Figure):
    """A figure that a notebook displays once, though it is open: as the value of a cell, too."""

    def _ipython_display_(self) -> None:
        """Close the figure before it is shown; open ones are shown (again) at the end of a cell."""
        if "inline" in mpl.get_backend():
            plt.close(self)
        raise NotImplementedError  # IPython then shows it as any other figure


def plot_comparison(
    series: TimeSeries,
    forecasts: pd.DataFrame,
    scores: pd.DataFrame,
    component: str | None = None,
) -> Figure:
    """Plot the end of a series with the forecasts of each model in a panel of its own.

    Parameters
    ----------
    series
        The series that was forecast.
    forecasts, scores
        Tables as in `Comparison`.
    component
        The component to plot; by default all, of more than six the first six.

    Returns
    -------
    Figure
        A panel per model, titled with its MASE, or RMSE if there is none, the best first; a row of
        panels per component if there are several. The forecast period is shaded, with a line at the
        start of each fold.

    Raises
    ------
    ValueError
        If the series has no such component, or if there is no forecast.

    Examples
    --------
    >>> from darts_lstm_seq import compare
    >>> from darts_lstm_seq.data import nile
    >>> result = compare(nile(), horizon=5, models=["NaiveDrift"], show_progress=False)
    >>> len(result.plot().axes)
    1
    """
    if component is not None and component not in series.components:
        raise ValueError(
            f"`component` must be one of {list(series.components)}, received {component!r}."
        )
    if forecasts.empty:
        raise ValueError("`forecasts` is empty: no model could be fitted; see `scores['error']`.")
    components = list(series.components) if component is None else [component]
    omitted = len(components) - _MOST_COMPONENTS
    components = components[:_MOST_COMPONENTS]
    scored = scores[scores["model"].isin(forecasts["model"])]
    others = (name for name in scored["model"] if name != _FIRST)
    colours = dict(zip(others, _COLOURS * len(scored), strict=False)) | {_FIRST: _FIRST_COLOUR}

    horizon, folds, season = scored[["horizon", "folds", "seasonality"]].iloc[0].astype(int)
    history = series[-folds * horizon - max(4 * horizon, 3 * season, 20) :]
    score = "MASE" if scored["MASE"].notna().any() else "RMSE"  # the one that ranks
    best_first = list(zip(scored["model"], scored[score], strict=True))
    panels = [(part, name, value) for part in components for name, value in best_first]
    columns = len(scored) if len(components) > 1 else min(3, len(scored))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(max(4.2 * columns, 5.5), 2.5 * rows + 0.4),
        sharex=True,
        sharey="row" if len(components) > 1 else "all",
        squeeze=False,
        layout="constrained",
        FigureClass=_Figure,
    )
    for axis, (part, name, value) in zip(axes.flat, panels, strict=False):
        drawn = forecasts[(forecasts["model"] == name) & (forecasts["component"] == part)]
        _draw(axis, history[part], drawn, colours[name])
        if part == components[0]:
            weight = "bold" if name == _FIRST else "normal"
            axis.set_title(
                f"{name}   {score} {value:.2f}", size=10, color=colours[name], weight=weight
            )
    for axis, (part, _, _) in zip(axes[:, 0], panels[::columns], strict=True):
        axis.set_ylabel(part, fontsize=9)
    for index in range(len(panels), axes.size):  # unused; the panels above show the dates
        axes.flat[index].remove()
        axes.flat[index - columns].tick_params(labelbottom=True)
    title = f"{counted(folds, 'fold')} of horizon {horizon}, each model refitted for every fold"
    if omitted > 0:
        title += f"\n{_MOST_COMPONENTS} of {omitted + _MOST_COMPONENTS} components"
    figure.suptitle(title, fontsize=11)
    lines, labels = axes[0, 0].get_legend_handles_labels()
    _legend_below(figure, lines, labels)
    return figure


def plot_losses(metrics: pd.DataFrame) -> Figure:
    """Plot training and validation losses against the training step.

    Parameters
    ----------
    metrics
        The table that Lightning's ``CSVLogger`` writes to ``metrics.csv``: a column `step`, and
        one for each loss, such as `train_loss` and `val_loss`.

    Returns
    -------
    Figure
        A line per loss.

    Raises
    ------
    ValueError
        If there is no column `step` or no loss.

    Examples
    --------
    >>> import pandas as pd
    >>> from darts_lstm_seq.comparison.plotting import plot_losses
    >>> metrics = pd.DataFrame(
    ...     {"step": [9, 9, 19], "train_loss": [1.0, None, 0.5], "val_loss": [None, 1.2, None]}
    ... )
    >>> len(plot_losses(metrics).axes[0].lines)
    2
    """
    losses = [name for name in metrics.columns if name.endswith("loss")]
    if "step" not in metrics.columns or not losses:
        raise ValueError(
            f"`metrics` must have a column 'step' and one that ends with 'loss', received "
            f"{list(metrics.columns)}. With "
            f"`pl_trainer_kwargs={{'logger': CSVLogger('logs')}}` Lightning writes such a table."
        )
    figure, axis = plt.subplots(figsize=(7, 3.5), layout="constrained", FigureClass=_Figure)
    for name, colour in zip(losses, [_FIRST_COLOUR, *_COLOURS * len(losses)], strict=False):
        logged = metrics.dropna(subset=[name])  # rows hold the metrics logged at one time
        axis.plot(logged["step"], logged[name], color=colour, label=name)
    axis.set(xlabel="training step", ylabel="loss")
    axis.spines[["top", "right"]].set_visible(False)
    _legend_below(figure, *axis.get_legend_handles_labels())
    return figure


def _legend_below(figure: Figure, lines: list[Any], labels: list[str]) -> None:
    """Name the lines outside the axes, where they cover no data."""
    figure.legend(lines, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)


def _draw(axis: Axes, history: TimeSeries, forecasts: pd.DataFrame, colour: str) -> None:
    times = history.time_index
    axis.plot(times, history.values().ravel(), color="0.25", linewidth=1.2, label="actual")
    for fold, part in forecasts.groupby("fold"):
        label = "forecast, in the colour of its model" if fold == 1 else None
        style = "-" if len(part) > 1 else "."  # a single point has no line
        axis.plot(part["time"], part["forecast"], style, color=colour, lw=1.8, label=label)
        axis.axvline(part["time"].iloc[0], color="0.75", linewidth=0.8, zorder=0)
    axis.axvspan(forecasts["time"].min(), times[-1], color="0.95", zorder=-1)
    if history.has_datetime_index:
        locator = AutoDateLocator(minticks=2, maxticks=7)
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
