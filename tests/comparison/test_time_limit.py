"""Time limits: a model that takes too long has a row that says so, and others go on."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.models import NaiveDrift, NaiveSeasonal
from darts.models.forecasting.forecasting_model import ForecastingModel

from darts_lstm_seq import compare
from darts_lstm_seq.comparison.baselines import MODELS
from darts_lstm_seq.comparison.inputs import default_horizon
from darts_lstm_seq.comparison.time_limit import time_limit


class Endless(NaiveDrift):
    """Never ends its fit, and takes no exception for an answer."""

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        while True:
            try:
                for _ in range(1000):
                    pass
            except Exception:
                pass


def walk(seed: int, length: int = 30) -> TimeSeries:
    return TimeSeries.from_values(np.random.default_rng(seed).normal(size=length).cumsum())


@pytest.mark.parametrize("series", [walk(0), [walk(0), walk(1)]], ids=["one", "many"])
def test_a_model_over_the_limit_has_a_row_that_says_so(series: Any, tmp_path: Path) -> None:
    models: dict[str, ForecastingModel] = {"endless": Endless(), "drift": NaiveDrift()}
    found = compare(series, 3, models, 2, show_progress=False, out=tmp_path, time_limit=0.2)
    errors = found.scores.set_index("model")["error"]
    assert "over the time limit" in errors["endless"]
    assert pd.isna(errors["drift"])
    assert found.best == "drift"
    # a repeated call tries again, and evaluates nothing else
    models["endless"] = NaiveSeasonal(1)
    with pytest.raises(ValueError, match=r"models\['endless'\]"):
        compare(series, 3, models, 2, show_progress=False, out=tmp_path)


def test_what_a_model_scored_before_the_limit_does_not_shrink_the_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slow = {"is_slow": True}

    class Slow(NaiveDrift):
        def fit(self, series: TimeSeries, *args: Any, **kwargs: Any) -> Any:
            if slow["is_slow"] and series.first_value() == walk(1).first_value():
                time.sleep(0.01)
                Endless().fit()
            return super().fit(series, *args, **kwargs)

    monkeypatch.setitem(MODELS, "NaiveDrift", lambda *_: Slow())
    series = [walk(seed) for seed in range(3)]
    arguments: dict[str, Any] = {"models": ["NaiveDrift", "NaiveSeasonal"], "folds": 2}
    arguments |= {"horizon": 3, "show_progress": False, "out": tmp_path}
    found = compare(series, **arguments, time_limit=0.3)
    scores = found.scores.set_index("model")
    assert scores.loc["NaiveDrift", "error"].endswith("over the time limit after 1 series")
    assert scores.loc["NaiveSeasonal", "series"] == 3
    slow["is_slow"] = False
    again = compare(series, **arguments)
    assert again.scores["failed"].tolist() == [0, 0]


def test_nothing_is_interrupted_within_the_limit() -> None:
    for seconds in (None, 0.05):
        with time_limit(seconds):
            pass
    time.sleep(0.1)
    with pytest.raises(TimeoutError), time_limit(0.01):
        Endless().fit()


def test_refuses_a_limit_that_is_none() -> None:
    with pytest.raises(ValueError, match="`time_limit` must be a number of seconds > 0"):
        compare(walk(0), 3, ["NaiveDrift"], time_limit=0)


def test_the_bar_names_models_and_counts_folds(capsys: pytest.CaptureFixture) -> None:
    compare(walk(0), 3, ["NaiveDrift", "NaiveSeasonal"], folds=2)
    shown = capsys.readouterr().err
    assert "NaiveDrift" in shown
    assert "NaiveSeasonal" in shown
    assert "4/4" in shown


@pytest.mark.parametrize(
    ("freq", "length", "steps"),
    [
        *[("YS", 60, 5), ("QS", 80, 4), ("MS", 100, 12), ("W", 200, 13), ("D", 400, 14)],
        *[("B", 400, 14), ("h", 900, 24), ("15min", 2000, 96), ("MS", 30, 6), ("MS", 3, 1)],
    ],
)
def test_the_horizon_follows_from_the_frequency(freq: str, length: int, steps: int) -> None:
    times = pd.date_range("2001-01-01", periods=length, freq=freq)
    series = TimeSeries.from_times_and_values(times, np.arange(float(length)))
    assert default_horizon([series], folds=3) == steps


def test_results_of_one_series_are_written_as_each_model_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(NaiveDrift):
        def fit(self, *args: Any, **kwargs: Any) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setitem(MODELS, "NaiveDrift", lambda *_: Interrupted())
    arguments: dict[str, Any] = {"horizon": 3, "show_progress": False, "out": tmp_path}
    models = ["NaiveSeasonal", "NaiveDrift"]
    with pytest.raises(KeyboardInterrupt):
        compare(walk(0), models=models, **arguments)
    (part,) = (tmp_path / "parts").glob("*.json")
    assert "NaiveSeasonal" in part.read_text()
    monkeypatch.undo()
    assert compare(walk(0), models=models, **arguments).scores["error"].isna().all()
    assert part.exists()
