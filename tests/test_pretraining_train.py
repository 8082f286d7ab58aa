from dataclasses import replace

import numpy as np
import pytest
from darts import TimeSeries

from darts_lstm_seq import LSTMSeqModel
from pretraining.real_series import Task
from pretraining.train import QUANTILES, SETTINGS, make_series, train, widen_quantiles
from pretraining.validate import coverage, quantile_forecasts, score, seasonal_naive

TINY = replace(
    SETTINGS[4], n_series=200, n_epochs=1, hidden_dim=8, batch_size=64, n_members=2, widening=1.0
)


def test_histories_are_as_long_as_asked_for() -> None:
    lengths = np.array([len(row) for row in make_series(4, TINY, seed=0)]) - TINY.horizon
    assert lengths.min() >= TINY.shortest
    assert lengths.max() == TINY.longest
    assert 0.5 < (lengths == TINY.longest).mean() < 0.75


def test_nothing_follows_that_is_far_off_its_history() -> None:
    for row in make_series(1, replace(SETTINGS[1], n_series=1000), seed=0):
        history, future = row[: -SETTINGS[1].horizon], row[-SETTINGS[1].horizon :]
        distance = np.nanmax(np.abs(future - np.nanmean(history)), initial=0)
        assert distance <= 60.01 * np.nanstd(history)


def test_training_repeats_itself() -> None:
    (first, log), (again, _) = train(4, TINY, seed=0), train(4, TINY, seed=0)
    series = TimeSeries.from_values(np.arange(12.0))
    forecasts = [
        model.predict(8, series, predict_likelihood_parameters=True).values()
        for model in (first, again)
    ]
    np.testing.assert_array_equal(*forecasts)
    assert log["series"] <= 200
    assert log["losses"][0] > 0


def quantiles(model: LSTMSeqModel, values: np.ndarray) -> np.ndarray:
    series = TimeSeries.from_values(values)
    return model.predict(8, series, predict_likelihood_parameters=True).values()


def test_average_is_the_mean_of_its_members() -> None:
    one = replace(TINY, n_members=1)
    members = [train(4, one, seed)[0] for seed in (0, 1)]
    average, log = train(4, TINY, seed=0)
    assert average.hidden_dim == 16
    assert len(log["losses"]) == 2
    for length in (7, 20, 30):
        values = np.sin(np.arange(float(length))) * 100 + 500
        expected = np.mean([quantiles(member, values) for member in members], axis=0)
        np.testing.assert_allclose(quantiles(average, values), expected, rtol=1e-5)


def test_wider_quantiles_are_further_from_the_same_median() -> None:
    model, _ = train(4, TINY, seed=0)
    values = np.sin(np.arange(20.0))
    before = quantiles(model, values)
    widen_quantiles(model, 1.5)
    after = quantiles(model, values)
    median = before[:, [QUANTILES.index(0.5)]]
    np.testing.assert_allclose(after, median + 1.5 * (before - median), atol=1e-5)


def test_quantiles_of_histories_of_any_length() -> None:
    model, _ = train(4, TINY, seed=0)
    low, median, high = quantile_forecasts(model, [np.arange(5.0), np.arange(50.0) ** 1.1], 8)
    assert low.shape == median.shape == high.shape == (2, 8)


def test_scores_of_a_perfect_forecast_and_of_seasonal_naive() -> None:
    values = np.sin(np.arange(40.0)) + np.arange(40.0)
    task = Task("sine", values[:32], values[32:])
    perfect = score([task], values[None, 32:], season=4)
    naive = score([task], seasonal_naive(task.past, 4, 8)[None], season=4)
    assert perfect["MASE"].item() == 0
    assert naive["log"].item() == pytest.approx(0)
    assert coverage([task], values[None, 32:] - 1, values[None, 32:] + 1) == 1
    assert coverage([task], values[None, 32:] + 1, values[None, 32:] + 2) == 0
