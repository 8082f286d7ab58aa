"""Plots: the plotted values are those of the comparison or of the training."""

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries, concatenate
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from pytorch_lightning.loggers import CSVLogger

from darts_lstm_seq import Comparison, LSTMSeqModel, compare
from darts_lstm_seq.comparison.plotting import plot_comparison, plot_losses

mpl.use("Agg")


@pytest.fixture(scope="module")
def result(seasonal: Any) -> Comparison:
    names = ["NaiveSeasonal", "NaiveDrift", "Theta", "ExponentialSmoothing"]
    return compare(seasonal, horizon=6, models=names, folds=2, show_progress=False)


@pytest.fixture(scope="module")
def pair(seasonal: Any) -> Comparison:
    double = (seasonal * 2).with_columns_renamed("sales", "double")
    both = concatenate([seasonal, double], axis="component")
    return compare(both, 6, ["NaiveSeasonal", "NaiveDrift"], folds=2, show_progress=False)


def lines(axis: Any) -> list[np.ndarray]:
    return [line.get_ydata() for line in axis.lines if len(line.get_ydata()) > 2]


def test_there_is_a_panel_per_model_the_best_first(result: Comparison) -> None:
    titles = [axis.get_title() for axis in result.plot().axes]
    assert [title.split("   ")[0] for title in titles] == list(result.scores["model"])
    assert titles[0].endswith(f"MASE {result.scores['MASE'].iloc[0]:.2f}")


def test_plots_actual_values_and_forecasts(seasonal: TimeSeries, result: Comparison) -> None:
    for axis, name in zip(result.plot().axes, result.scores["model"], strict=True):
        expected = result.forecasts[result.forecasts["model"] == name]
        actual, *forecasts = lines(axis)
        # two folds of six steps, and three seasons before them
        np.testing.assert_allclose(actual, seasonal.values().ravel()[-48:])
        np.testing.assert_allclose(np.concatenate(forecasts), expected["forecast"])


def test_there_is_a_row_of_panels_per_component(pair: Comparison) -> None:
    axes = pair.plot().axes
    assert [axis.get_ylabel() for axis in axes] == ["sales", "", "double", ""]
    for above, below in zip(axes[:2], axes[2:], strict=True):
        for line, double in zip(lines(above), lines(below), strict=True):
            np.testing.assert_allclose(2 * line, double)
    assert [axis.get_ylabel() for axis in pair.plot("double").axes] == ["double", ""]


def test_single_steps_are_plotted_as_points(seasonal: TimeSeries) -> None:
    series = TimeSeries.from_values(seasonal.values())
    axis = compare(series, 1, ["NaiveDrift"], show_progress=False).plot().axes[0]
    points = [line for line in axis.lines if line.get_marker() == "."]
    assert [line.get_xdata().tolist() for line in points] == [[117], [118], [119]]


def test_failed_models_have_no_panel(result: Comparison, seasonal: TimeSeries) -> None:
    worked = result.forecasts[result.forecasts["model"] != "Theta"]
    figure = plot_comparison(seasonal, worked, result.scores)
    titles = {axis.get_title().split("   ")[0] for axis in figure.axes}
    assert titles == set(result.scores["model"]) - {"Theta"}


def test_plotted_losses_are_those_of_the_log(seasonal: TimeSeries, tiny: dict) -> None:
    logger = CSVLogger("logs")
    trainer = tiny["pl_trainer_kwargs"] | {"logger": logger, "log_every_n_steps": 1}
    model = LSTMSeqModel(12, 3, **(tiny | {"pl_trainer_kwargs": trainer}))
    model.fit(seasonal[:80], val_series=seasonal[80:])
    metrics = pd.read_csv(f"{logger.log_dir}/metrics.csv")
    (axis,) = plot_losses(metrics).axes
    plotted = {line.get_label(): line for line in axis.lines}
    assert set(plotted) == {"train_loss", "val_loss"}
    for name, line in plotted.items():
        assert len(line.get_ydata()) >= 2
        np.testing.assert_allclose(line.get_ydata(), metrics[name].dropna())


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


def test_show_shows_the_figure(result: Comparison) -> None:
    plt.close("all")  # examples in docstrings leave theirs open
    losses = pd.DataFrame({"step": [1, 2], "train_loss": [2.0, 1.0]})
    figures = [result.plot(), plot_losses(losses)]
    assert [plt.figure(number) for number in plt.get_fignums()] == figures


@pytest.mark.parametrize(
    "cell",
    [
        "plot_losses(losses); plt.show()",
        # what a notebook does with the value of a cell, and at its end
        "display(plot_losses(losses)); plt.show()",
        "figure = plot_losses(losses)\nplt.show()\nplt.show()",
    ],
)
def test_a_notebook_shows_a_figure_once(cell: str) -> None:
    shell = InteractiveShell.instance()
    shell.run_cell("%matplotlib inline")
    code = "import pandas as pd; import matplotlib.pyplot as plt\n"
    code += "from darts_lstm_seq.comparison.plotting import plot_losses\n"
    code += "losses = pd.DataFrame({'step': [1, 2], 'train_loss': [2.0, 1.0]})\n" + cell
    with capture_output() as captured:
        assert shell.run_cell(code).success
    shown = [output for output in captured.outputs if "image/png" in output.data]
    assert len(shown) == 1
    plt.switch_backend("Agg")


def test_the_legend_covers_no_panel(result: Comparison, pair: Comparison) -> None:
    losses = pd.DataFrame({"step": [1, 2], "train_loss": [2.0, 1.0], "val_loss": [2.0, 1.0]})
    for figure in (result.plot(), pair.plot(), plot_losses(losses)):
        figure.draw_without_rendering()
        (legend,) = figure.legends
        assert len(legend.get_texts()) == 2
        for axis in figure.axes:
            assert axis.get_legend() is None
            assert not legend.get_window_extent().overlaps(axis.get_window_extent())


def test_many_components_make_no_tower(seasonal: TimeSeries) -> None:
    products = concatenate([seasonal.with_columns_renamed("sales", f"p{i}") for i in range(30)], 1)
    found = compare(products, 6, ["NaiveSeasonal", "NaiveDrift"], folds=1, show_progress=False)
    figure = found.plot()
    assert figure.get_size_inches()[1] * 150 < 2500  # pixels of the command's picture
    assert [axis.get_ylabel() for axis in figure.axes[::2]] == [f"p{i}" for i in range(6)]
    assert "6 of 30 components" in figure.get_suptitle()
    assert [axis.get_ylabel() for axis in found.plot("p29").axes] == ["p29", ""]


def test_a_figure_can_be_saved(result: Comparison, tmp_path: Any) -> None:
    result.plot().savefig(tmp_path / "forecasts.png")
    assert (tmp_path / "forecasts.png").read_bytes().startswith(b"\x89PNG")


def test_refuses_what_it_cannot_plot(result: Comparison) -> None:
    with pytest.raises(ValueError, match=r"`component` must be one of .*'sales'.* 'profit'"):
        result.plot("profit")
    with pytest.raises(ValueError, match="no model could be fitted"):
        plot_comparison(result.series, result.forecasts[:0], result.scores)
    with pytest.raises(ValueError, match=r"a column 'step' and one that .* \['step', 'loss_x'\]"):
        plot_losses(pd.DataFrame({"step": [1], "loss_x": [1.0]}))
