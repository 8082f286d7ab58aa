from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from darts_lstm_seq import compare
from darts_lstm_seq.plotting import plot_comparison

mpl.use("Agg")


@pytest.fixture(scope="module")
def result(seasonal: Any) -> Any:
    names = ["NaiveSeasonal", "NaiveDrift", "Theta", "ExponentialSmoothing"]
    return compare(seasonal, horizon=6, models=names, folds=2, show_progress=False)


def test_a_panel_per_model_the_best_first(result: Any) -> None:
    axes = result.plot().axes
    titles = [axis.get_title() for axis in axes]
    assert [title.split()[0] for title in titles] == list(result.scores["model"])
    assert titles[0].endswith(f"MASE {result.scores['MASE'].iloc[0]:.2f}")


def test_draws_actual_values_and_forecasts(seasonal: Any, result: Any) -> None:
    axis = result.plot().axes[0]
    expected = result.forecasts[result.forecasts["model"] == result.scores["model"].iloc[0]]
    actual, *forecasts = [line for line in axis.lines if len(line.get_ydata()) > 2]
    np.testing.assert_allclose(actual.get_ydata(), seasonal.values().ravel()[-36:])
    drawn = np.concatenate([line.get_ydata() for line in forecasts])
    np.testing.assert_allclose(drawn, expected["forecast"])


def test_writes_a_picture(result: Any, tmp_path: Any) -> None:
    result.plot().savefig(tmp_path / "forecasts.png")
    assert (tmp_path / "forecasts.png").read_bytes().startswith(b"\x89PNG")


def test_refuses_what_it_cannot_draw(result: Any) -> None:
    with pytest.raises(ValueError, match=r"`component` must be one of .*'sales'.* 'profit'"):
        result.plot("profit")
    with pytest.raises(ValueError, match="no model could be fitted"):
        plot_comparison(result.series, result.forecasts[:0], result.scores)
