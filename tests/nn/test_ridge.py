"""Ridge regression along a season against least squares row by row, and what it forecasts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import random_tensor
from oracles import seasonal_regression
from torch import Tensor

from darts_lstm_seq.nn.ridge import fit_ridge

NAN = float("nan")


def _check(length: int, steps: int, season: int, shift: int, count: int) -> None:
    past, future = random_tensor(count, length), 3 * random_tensor(count, steps, seed=1)
    future[0] *= 10  # a level shift, which gets less weight
    weights = fit_ridge(past, future, season, n_windows=99, shift=shift)
    expected = seasonal_regression(past.numpy(), future.numpy(), season, 99, shift)
    np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize(
    ("length", "steps", "season"),
    [(4, 1, 2), (5, 6, 2), (6, 7, 3), (8, 3, 4), (24, 12, 12), (27, 30, 12), (50, 24, 4)],
)
def test_it_equals_least_squares_row_by_row(
    length: int, steps: int, season: int, shift: int
) -> None:
    _check(length, steps, season, shift, count=40)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 6), st.integers(4, 20), st.integers(1, 12), st.integers(0, 7), st.data())
def test_any_valid_size_equals_least_squares(
    season: int, length: int, steps: int, shift: int, data: st.DataObject
) -> None:
    _check(max(length, 2 * season), steps, season, shift, count=data.draw(st.integers(1, 20)))


def _windows(series: Tensor, length: int, steps: int) -> tuple[Tensor, Tensor]:
    whole = series.unfold(0, length + steps, 1)
    whole = whole - whole[:, :length].mean(dim=1, keepdim=True)
    return whole[:, :length], whole[:, length:]


def _error(past: Tensor, future: Tensor, weights: Tensor) -> float:
    return (past @ weights.T - future).abs().mean().item()


def test_a_noisy_season_is_averaged_over_the_seasons_of_the_window() -> None:
    series = random_tensor(24, seed=3).repeat(60) + random_tensor(24 * 60)
    past, future = _windows(series, 168, 96)
    weights = fit_ridge(past[:800], future[:800], season=24, n_windows=10**6)
    seasonal_naive = torch.eye(168, dtype=torch.double)[144 + torch.arange(96) % 24]
    # the mean of seven seasons has a seventh of the noise variance: sqrt(1 + 1/7) for sqrt(2)
    assert _error(past[1064:], future[1064:], weights) < 0.8 * _error(
        past[1064:], future[1064:], seasonal_naive
    )


def test_a_random_walk_is_forecast_from_its_last_value() -> None:
    series = 3 * random_tensor(12, seed=3).repeat(40) + random_tensor(480).cumsum(0)
    past, future = _windows(series, 36, 12)
    weights = fit_ridge(past[:300], future[:300], season=12, n_windows=10**6)
    best = (
        torch.arange(1, 13).sqrt().mean() * (2 / np.pi) ** 0.5
    )  # of the last value of a random walk
    assert _error(past[348:], future[348:], weights) < 1.3 * best


def test_without_windows_it_is_seasonal_naive() -> None:
    past, future = _windows(random_tensor(60), 12, 6)
    weights = fit_ridge(past, future, season=4, n_windows=0)
    assert torch.equal(weights, torch.eye(12, dtype=torch.double)[8 + torch.arange(6) % 4])


def test_a_clear_signal_needs_fewer_windows() -> None:
    for noise, is_clear in ((0.1, True), (10.0, False)):
        series = (
            10 * random_tensor(12, seed=3).repeat(12)
            + torch.arange(144)
            + noise * random_tensor(144)
        )
        past, future = _windows(series, 24, 12)
        weights = fit_ridge(past, future, season=12, n_windows=len(past))
        many = fit_ridge(past, future, season=12, n_windows=10**9)
        assert ((weights - many).abs().max() < 0.05) == is_clear


def test_a_level_shift_hardly_changes_the_weights() -> None:
    past, future = _windows(random_tensor(6, seed=3).repeat(20) + 0.1 * random_tensor(120), 18, 6)
    weights = fit_ridge(past, future, season=6, n_windows=10**6)
    future = future.clone()
    future[50] = 1e3
    assert (fit_ridge(past, future, season=6, n_windows=10**6) - weights).abs().max() < 0.1


def test_missing_labels_count_as_zero_and_hardly_change_the_weights() -> None:
    past, future = _windows(random_tensor(6, seed=3).repeat(20) + 0.1 * random_tensor(120), 18, 6)
    weights = fit_ridge(past, future, season=6, n_windows=10**6)
    future = future.clone()
    future[50, 3:] = NAN
    assert (fit_ridge(past, future, season=6, n_windows=10**6) - weights).abs().max() < 0.1
    assert fit_ridge(past, NAN * future, season=6, n_windows=10**6).max() < 1e-3


def test_many_windows_are_subsampled() -> None:
    past, future = _windows(random_tensor(12, seed=3).repeat(1000) + random_tensor(12000), 36, 12)
    thinned = fit_ridge(past[::3], future[::3], season=12, n_windows=10**6)
    assert len(past) > 2 * 4096
    assert torch.equal(fit_ridge(past, future, season=12, n_windows=10**6), thinned)
