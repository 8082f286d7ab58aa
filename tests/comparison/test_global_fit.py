"""One network for all series: the folds of Darts' global backtest, and series it leaves out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression
from makers import sine, with_value

from darts_lstm_seq import LSTMSeqModel, compare
from darts_lstm_seq.comparison.baselines import GLOBAL, MODELS, default_models

HORIZON, FOLDS = 3, 2


@pytest.fixture(autouse=True)
def _tiny_network(monkeypatch: pytest.MonkeyPatch, tiny: dict) -> None:
    monkeypatch.setitem(
        MODELS,
        GLOBAL,
        lambda season, horizon, *_: LSTMSeqModel(
            6, horizon, likelihood=QuantileRegression([0.1, 0.5, 0.9]), **tiny
        ),
    )


def shops(count: int = 4) -> list[TimeSeries]:
    return [
        sine(40 + 7 * index, level=10 * index, seed=index, dtype="float64")
        for index in range(count)
    ]


def run(series: Any, models: Any = (GLOBAL,), **kwargs: Any) -> Any:
    return compare(series, HORIZON, models, FOLDS, show_progress=False, **kwargs)


def test_forecasts_are_those_of_darts_global_backtest() -> None:
    series = [one[-30:] + index for index, one in enumerate([shops()[0]] * 4)]
    found = run(series)
    assert found.per_series["error"].isna().all(), found.per_series["error"].tolist()
    expected = MODELS[GLOBAL](12, HORIZON, 30, 0).historical_forecasts(
        series,
        start=-FOLDS * HORIZON,
        start_format="position",
        forecast_horizon=HORIZON,
        stride=HORIZON,
        last_points_only=False,
        apply_globally=True,
        enable_optimization=False,
        num_samples=1,
        predict_likelihood_parameters=True,
    )
    for index, of_series in enumerate(expected):
        rows = found.forecasts[found.forecasts["series"] == index]
        quantiles = np.concatenate([forecast.values() for forecast in of_series])
        np.testing.assert_allclose(
            rows[["lower", "forecast", "upper"]], np.sort(quantiles, axis=1), rtol=1e-5
        )


def test_series_that_cannot_be_trained_on_do_not_stop_others() -> None:
    good = shops()
    bad = {
        "short": sine(8),
        "constant": sine(40) * 0,
        "missing": sine(40) * np.nan,
        "gap": with_value(sine(40, dtype="float64"), slice(10, 20)),
        "wide": sine(40, width=2),
    }
    found = run(dict(enumerate(good)) | bad)
    errors = found.per_series.set_index("series")["error"]
    assert errors[[0, 1, 2, 3]].isna().all()
    for name, message in (
        ("short", "too few"),
        ("constant", "is constant"),
        ("missing", "nothing but missing"),
        ("gap", "in the input window of 6 steps"),
        ("wide", "number of components is 2, that of most series 1"),
    ):
        assert message in errors[name]
    assert found.scores[["series", "failed"]].to_numpy().tolist() == [[4, 5]]
    alone = run(good)
    assert found.scores["MASE"].tolist() == alone.scores["MASE"].tolist()
    future = found.predict()
    failed = future[future["error"].notna()].set_index("series")["error"]
    assert set(failed.index) == {"short", "missing", "gap", "wide"}  # a constant can be forecast
    assert future.groupby("series", sort=False).size().tolist() == [3, 3, 3, 3, 1, 3, 1, 1, 1]


def test_another_series_means_another_network(tmp_path: Path) -> None:
    series = shops()
    models = [GLOBAL, "NaiveDrift"]
    run(series[:3], models, out=tmp_path)
    resumed = run(series, models, out=tmp_path)
    whole = run(series, models)
    np.testing.assert_array_equal(
        resumed.forecasts["forecast"].to_numpy(), whole.forecasts["forecast"].to_numpy()
    )
    assert len(resumed.per_series) == 8
    # nothing is left to do
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}
    run(series, models, out=tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}


def test_ten_series_get_one_network_by_default() -> None:
    assert GLOBAL in default_models(10)
    assert "LSTMSeqModel" not in default_models(10)
    assert GLOBAL not in default_models(9)
