"""The linear skip against a loop over forecast steps, and the season that is found."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from makers import random_tensor
from oracles import season_lag_by_lag, seasonal_forecast
from torch import Tensor

from darts_lstm_seq.nn.skip import SeasonalSkip, find_season

NAN = float("nan")


def _skip(
    length: int, steps: int, season: int, n_windows: int = 50, shift: int = 0
) -> SeasonalSkip:
    skip = SeasonalSkip(length, steps, shift).double()
    skip.initialize(season, n_windows)
    with torch.no_grad():
        skip.coefficients.copy_(random_tensor(6, seed=1))
        skip.weight.copy_(random_tensor(steps, length, seed=2))
    return skip


@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize(
    ("length", "steps", "season"),
    [(1, 1, 1), (1, 4, 1), (2, 3, 1), (4, 5, 2), (6, 7, 3), (8, 3, 4), (24, 12, 12), (26, 30, 12)],
)
def test_the_skip_equals_the_loop(length: int, steps: int, season: int, shift: int) -> None:
    skip = _skip(length, steps, season, shift=shift)
    windows = random_tensor(3, length, 2, seed=3)
    for window, forecast in zip(windows, skip(windows).detach(), strict=True):
        for component in range(2):
            expected = seasonal_forecast(
                window[:, component].tolist(),
                skip.coefficients.tolist(),
                skip.weight.tolist(),
                season,
                n_windows=50,
                shift=shift,
            )
            np.testing.assert_allclose(forecast[:, component], expected, rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 15), st.integers(1, 20), st.integers(0, 5), st.data())
def test_any_valid_size_equals_the_loop(
    length: int, steps: int, shift: int, data: st.DataObject
) -> None:
    season = data.draw(st.integers(1, length))
    skip = _skip(length, steps, season, shift=shift)
    window = random_tensor(1, length, 1, seed=3)
    expected = seasonal_forecast(
        window.flatten().tolist(),
        skip.coefficients.tolist(),
        skip.weight.tolist(),
        season,
        50,
        shift,
    )
    np.testing.assert_allclose(skip(window).detach().flatten(), expected, rtol=0, atol=1e-5)


def test_before_training_it_is_naive() -> None:
    window = torch.tensor([[[1.0], [2.0], [3.0], [5.0], [7.0], [9.0]]])
    skip = SeasonalSkip(6, 4)
    assert skip(window).flatten().tolist() == [9.0] * 4  # the last value
    skip.initialize(season=3, n_windows=0)
    assert skip(window).flatten().tolist() == [5.0, 7.0, 9.0, 5.0]  # the last season
    skip.initialize(season=3, n_windows=60)  # ten windows per step: the mean of both
    assert skip(window).flatten().tolist() == [7.0, 8.0, 9.0, 7.0]


def test_the_number_of_windows_decides_whether_coefficients_or_matrix_learn() -> None:
    for n_windows, trained in ((0, "coefficients"), (10**9, "weight")):
        skip = SeasonalSkip(8, 4)
        skip.initialize(season=4, n_windows=n_windows)
        skip(random_tensor(2, 8, 1).float()).square().sum().backward()
        size = {name: weight.grad.abs().max().item() for name, weight in skip.named_parameters()}
        frozen = "weight" if trained == "coefficients" else "coefficients"
        assert size[trained] > 1e3 * size[frozen]


def test_fitted_weights_replace_seasonal_naive_and_the_matrix() -> None:
    skip, windows, weights = _skip(8, 3, 4), random_tensor(2, 8, 3), random_tensor(3, 8, seed=4)
    with torch.no_grad():
        trained = skip(windows)
        skip.weight.zero_()
        skip.coefficients.zero_()
        learnt = trained - skip(windows)  # by coefficients and matrix
    skip.initialize(4, 50, weights)
    expected = torch.einsum("tl,blc->btc", weights, windows)
    torch.testing.assert_close(skip(windows), expected, rtol=0, atol=1e-6)
    with torch.no_grad():
        skip.weight.normal_()
    torch.testing.assert_close(skip(windows), expected, rtol=0, atol=1e-6)
    assert learnt.any()


def test_each_component_is_forecast_from_its_own_window() -> None:
    skip, windows = _skip(8, 3, 4), random_tensor(2, 8, 3)
    together = skip(windows)
    for component in range(3):
        alone = skip(windows[..., component : component + 1])
        torch.testing.assert_close(together[..., component : component + 1], alone)


def _wave(season: int, count: int, noise: float, trend: float = 0.0) -> Tensor:
    """A noisy random profile, repeated, `(count,)`."""
    profile = random_tensor(season, seed=season)
    series = profile.repeat(-(-count // season))[:count] + trend * torch.arange(count)
    return series + noise * random_tensor(count, seed=7)


def _windows(series: Tensor, length: int) -> Tensor:
    return series.unfold(0, length, 1).unsqueeze(-1)  # (N, L, 1)


@pytest.mark.parametrize("trend", [0.0, 5.0])
@pytest.mark.parametrize("season", [2, 4, 7, 12, 24])
@pytest.mark.parametrize("seasons", [2, 3])
def test_the_season_is_found(season: int, seasons: int, trend: float) -> None:
    windows = _windows(_wave(season, 10 * season + 30, 0.1, trend), seasons * season)
    assert find_season(windows, len(windows)) == season


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 60),
    st.integers(1, 3),
    st.floats(0.0, 3.0),
    st.sampled_from([1, 40, 10**6]),
    st.integers(0, 10**6),
)
@example(length=40, components=1, noise=0.0, n_windows=40, seed=0)
@example(length=4, components=2, noise=0.1, n_windows=1, seed=3)
def test_the_season_is_that_of_one_lag_after_another(
    length: int, components: int, noise: float, n_windows: int, seed: int
) -> None:
    steps = torch.arange(length + 50.0, dtype=torch.double)
    waves = torch.sin(2 * torch.pi * steps[:, None] / (2 + seed % 13 + torch.arange(components)))
    series = waves + noise * random_tensor(len(steps), components, seed=seed)
    windows = series.unfold(0, length, 1).transpose(1, 2)  # (N, L, C)
    if seed % 2:
        windows = torch.where(random_tensor(*windows.shape, seed=seed) > 1.5, NAN, windows)
    assert find_season(windows, n_windows) == season_lag_by_lag(windows.numpy(), n_windows)


def test_long_windows_are_searched_in_parts() -> None:
    # more values than are transformed at a time, and the season in the last ones alone
    noise, wave = random_tensor(64, 2000, 1), _windows(_wave(700, 4000, 0.1), 2000)[::30]
    windows = torch.cat([noise, wave])
    assert find_season(noise, 4000) == 1
    assert find_season(windows, 4000) == 700
    assert season_lag_by_lag(windows[::8].numpy(), 4000) == 700


def test_the_season_is_found_with_missing_values_scales_and_components() -> None:
    windows = _windows(_wave(6, 90, 0.1), 14)
    holes = windows.clone()
    holes[:, 3] = NAN
    holes[5] = NAN
    windows = torch.cat([1e9 * holes, 1e-6 * windows, torch.ones_like(windows)], dim=-1)
    assert find_season(windows, len(windows)) == 6


def test_a_weak_season_is_found_in_many_windows() -> None:
    series = _wave(24, 3000, 1.7)
    for count, season in ((3000, 24), (160, 1)):
        windows = _windows(series[:count], 96)
        assert find_season(windows, len(windows)) == season


def test_a_single_echo_is_no_season() -> None:
    noise = random_tensor(3000)
    windows = _windows(noise[5:] + 0.8 * noise[:-5], 96)  # correlated after five steps, not ten
    assert find_season(windows, len(windows)) == 1


@pytest.mark.parametrize(
    "series",
    [
        random_tensor(80),
        random_tensor(80).cumsum(0),
        torch.arange(80.0),
        torch.ones(80),
        torch.full((80,), NAN),
    ],
    ids=["noise", "random walk", "line", "constant", "nothing"],
)
def test_without_repetition_there_is_no_season(series: Tensor) -> None:
    windows = _windows(series, 24)
    assert find_season(windows, len(windows)) == 1


@pytest.mark.parametrize("length", [1, 2, 3])
def test_windows_too_short_to_repeat(length: int) -> None:
    windows = _windows(_wave(2, 40, 0.0), length)
    assert find_season(windows, len(windows)) == 1
