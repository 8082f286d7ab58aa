"""Win rates, skill scores and scores of intervals against plain arithmetic; what tables say."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.metrics import mic, miws, mql
from darts.models import ARIMA, LinearRegressionModel, NaiveDrift, NaiveSeasonal
from darts.utils.likelihood_models.base import quantile_names
from makers import with_value

from darts_lstm_seq import compare
from darts_lstm_seq.comparison.quantiles import predict_quantiles
from darts_lstm_seq.comparison.scoring import LEVELS
from darts_lstm_seq.comparison.skill import skill_columns


def walk(seed: int, length: int = 40) -> TimeSeries:
    return TimeSeries.from_values(np.random.default_rng(seed).normal(size=length).cumsum())


def test_skill_is_one_minus_the_geometric_mean_of_ratios() -> None:
    rng = np.random.default_rng(0)
    errors = pd.DataFrame({"NaiveSeasonal": rng.uniform(1, 2, 30)})
    errors["better"] = errors["NaiveSeasonal"] * rng.uniform(0.5, 1.2, 30)
    errors["same"] = errors["NaiveSeasonal"]
    errors["awful"] = errors["NaiveSeasonal"] * 1e9
    found = skill_columns(errors)
    ratios = (errors["better"] / errors["NaiveSeasonal"]).to_numpy()
    assert found.loc["better", "skill_score"] == pytest.approx(1 - np.exp(np.log(ratios).mean()))
    assert found.loc["better", "win_rate"] == pytest.approx((ratios < 1).mean())
    same = found.loc["same", ["win_rate", "win_rate_lower", "skill_score", "skill_score_upper"]]
    assert same.tolist() == [0.5, 0.5, 0, 0]
    assert found.loc["awful", "skill_score"] == pytest.approx(1 - 100)  # clipped
    low, high = found.loc["better", ["skill_score_lower", "skill_score_upper"]]
    # about two standard errors of the mean of logarithms to each side
    width = 2 * 1.96 * np.log(ratios).std() / 30**0.5 * ratios.mean()
    assert high - low == pytest.approx(width, rel=0.2)


def test_many_series_have_skill_and_reasons() -> None:
    series: dict[Any, TimeSeries] = {seed: walk(seed) for seed in range(4)}
    series |= {"short": walk(8)[:5], "shorter": walk(9)[:4], "flat": walk(0) * 0}
    found = compare(series, 3, ["NaiveSeasonal", "NaiveDrift"], show_progress=False)
    scores = found.scores.set_index("model")
    errors = found.per_series.pivot_table("MASE", "series", "model")
    wins = (errors["NaiveDrift"] < errors["NaiveSeasonal"]).mean()
    assert scores.loc["NaiveDrift", "win_rate"] == pytest.approx(wins)
    assert scores.loc["NaiveSeasonal", "skill_score"] == 0
    reasons = scores.loc["NaiveDrift", "failures"]
    assert reasons.startswith("2 series: ValueError: `series` has 5 time steps, too few")
    assert "1 series: ValueError: `series` is constant" in reasons


def test_scores_of_intervals_are_those_of_darts() -> None:
    series = walk(1, 60)
    found = compare(series, 5, {"arima": ARIMA(1, 1, 0)}, folds=2, show_progress=False).scores
    coverage, widths, losses, size = [], [], [], 0.0
    for end in (50, 55):
        model = ARIMA(1, 1, 0).fit(series[:end])
        (forecast,) = predict_quantiles(model, 5, LEVELS, [series[:end]])
        actual = series[end : end + 5]
        names = quantile_names(list(LEVELS), "0")
        quantiles = TimeSeries(
            times=actual.time_index, values=forecast.quantiles[:, 0], components=names
        )
        coverage.append(mic(actual, quantiles, q_interval=(0.1, 0.9)))
        scale = np.abs(np.diff(series.values()[:end, 0])).mean()
        widths.append(miws(actual, quantiles, q_interval=(0.1, 0.9)) / scale)
        losses.append(np.mean(mql(actual, quantiles, q=list(LEVELS))) * 5)
        size += np.abs(actual.values()).sum()
    assert found["coverage"].item() == pytest.approx(np.mean(coverage))
    assert found["interval_score"].item() == pytest.approx(np.mean(widths))
    assert found["wQL"].item() == pytest.approx(np.sum(losses) / size)


def test_models_without_intervals_have_no_such_columns() -> None:
    found = compare(walk(0), 3, ["NaiveDrift"], show_progress=False).scores
    assert "coverage" not in found


def test_folds_that_are_scored_in_part_are_named() -> None:
    gappy = with_value(walk(0), [36, 38, 39])
    one = compare(gappy, 3, {"drift": NaiveDrift()}, folds=2, show_progress=False).scores
    expected = "some values are missing; scored are: fold 1 by 2 of 3, fold 2 by 1 of 3"
    assert one["note"].tolist() == [expected]
    many = compare([gappy, walk(1)], 3, {"drift": NaiveDrift()}, folds=2, show_progress=False)
    assert many.scores["note"].tolist() == ["1 series with missing values are scored in part"]


def test_a_comparison_shows_its_leaderboard() -> None:
    models = {"drift": NaiveDrift(), "bad": LinearRegressionModel(lags=99), "n": NaiveSeasonal(1)}
    found = compare(walk(0), 3, models, folds=2, show_progress=False)
    text = repr(found)
    assert text.startswith("Comparison on 1 series: 2 folds of horizon 3\n")
    assert "Comparison on 1 series: 1 fold of horizon 3\n" in repr(
        compare(walk(0), 3, {"drift": NaiveDrift()}, folds=1, show_progress=False)
    )
    assert len(text) < 1000
    assert "drift" in text
    assert "ValueError" in text
    assert "<table" in found._repr_html_()
