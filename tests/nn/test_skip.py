"""The linear skip against a loop that knows seasons by their calendar, and the season it finds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import seasonal_forecast
from torch import Tensor

from darts_lstm_seq.nn.skip import SeasonalSkip, find_season

NAN = float("nan")


def _random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _skip(
    length: int, steps: int, season: int, n_windows: int = 50, shift: int = 0
) -> SeasonalSkip:
    skip = SeasonalSkip(length, steps, shift).double()
    skip.initialize(season, n_windows)
    with torch.no_grad():
        skip.coefficients.copy_(_random(6, seed=1))
        skip.weight.copy_(_random(steps, length, seed=2))
    return skip


@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize(
    ("length", "steps", "season"),
    [(1, 1, 1), (1, 4, 1), (2, 3, 1), (4, 5, 2), (6, 7, 3), (8, 3, 4), (24, 12, 12), (26, 30, 12)],
)
def test_it_is_the_loop(length: int, steps: int, season: int, shift: int) -> None:
    skip = _skip(length, steps, season, shift=shift)
    windows = _random(3, length, 2, seed=3)
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
def test_any_legal_size_is_the_loop(
    length: int, steps: int, shift: int, data: st.DataObject
) -> None:
    season = data.draw(st.integers(1, length))
    skip = _skip(length, steps, season, shift=shift)
    window = _random(1, length, 1, seed=3)
    expected = seasonal_forecast(
        window.flatten().tolist(),
        skip.coefficients.tolist(),
        skip.weight.tolist(),
        season,
        50,
        shift,
    )
    np.testing.assert_allclose(skip(window).detach().flatten(), expected, rtol=0, atol=1e-5)


def test_untrained_it_is_naive() -> None:
    window = torch.tensor([[[1.0], [2.0], [3.0], [5.0], [7.0], [9.0]]])
    skip = SeasonalSkip(6, 4)
    assert skip(window).flatten().tolist() == [9.0] * 4  # the last value
    skip.initialize(season=3, n_windows=0)
    assert skip(window).flatten().tolist() == [5.0, 7.0, 9.0, 5.0]  # the last season
    skip.initialize(season=3, n_windows=60)  # as many windows as make the two count alike
    assert skip(window).flatten().tolist() == [7.0, 8.0, 9.0, 7.0]


def test_with_many_windows_only_the_matrix_learns() -> None:
    for n_windows, leader in ((0, "coefficients"), (10**9, "weight")):
        skip = SeasonalSkip(8, 4)
        skip.initialize(season=4, n_windows=n_windows)
        skip(_random(2, 8, 1).float()).square().sum().backward()
        size = {name: weight.grad.abs().max().item() for name, weight in skip.named_parameters()}
        other = "weight" if leader == "coefficients" else "coefficients"
        assert size[leader] > 1e3 * size[other]


def test_what_was_fitted_takes_the_place_of_season_and_matrix() -> None:
    skip, windows, weights = _skip(8, 3, 4), _random(2, 8, 3), _random(3, 8, seed=4)
    with torch.no_grad():
        whole = skip(windows)
        skip.weight.zero_()
        skip.coefficients.zero_()
        gained = whole - skip(windows)  # and by the matrix
    skip.initialize(4, 50, weights)
    expected = torch.einsum("tl,blc->btc", weights, windows)
    torch.testing.assert_close(skip(windows), expected, rtol=0, atol=1e-6)
    with torch.no_grad():
        skip.weight.normal_()
    torch.testing.assert_close(skip(windows), expected, rtol=0, atol=1e-6)
    assert gained.any()


def test_all_components_are_treated_alike_and_apart() -> None:
    skip, windows = _skip(8, 3, 4), _random(2, 8, 3)
    whole = skip(windows)
    for component in range(3):
        alone = skip(windows[..., component : component + 1])
        torch.testing.assert_close(whole[..., component : component + 1], alone)


def _wave(season: int, count: int, noise: float, trend: float = 0.0) -> Tensor:
    """A profile that repeats, `(count,)`."""
    profile = _random(season, seed=season)
    series = profile.repeat(-(-count // season))[:count] + trend * torch.arange(count)
    return series + noise * _random(count, seed=7)


def _windows(series: Tensor, length: int) -> Tensor:
    return series.unfold(0, length, 1).unsqueeze(-1)  # (N, L, 1)


@pytest.mark.parametrize("trend", [0.0, 5.0])
@pytest.mark.parametrize("season", [2, 4, 7, 12, 24])
@pytest.mark.parametrize("seasons", [2, 3])
def test_the_season_is_found(season: int, seasons: int, trend: float) -> None:
    windows = _windows(_wave(season, 10 * season + 30, 0.1, trend), seasons * season)
    assert find_season(windows, len(windows)) == season


def test_the_season_is_found_over_gaps_scales_and_components() -> None:
    windows = _windows(_wave(6, 90, 0.1), 14)
    holes = windows.clone()
    holes[:, 3] = NAN
    holes[5] = NAN
    both = torch.cat([1e9 * holes, 1e-6 * windows, torch.ones_like(windows)], dim=-1)
    assert find_season(both, len(both)) == 6


def test_a_weak_season_is_found_in_many_windows() -> None:
    series = _wave(24, 3000, 1.7)
    for count, season in ((3000, 24), (160, 1)):
        windows = _windows(series[:count], 96)
        assert find_season(windows, len(windows)) == season


def test_what_returns_only_once_is_no_season() -> None:
    noise = _random(3000)
    windows = _windows(noise[5:] + 0.8 * noise[:-5], 96)  # correlated after five steps, not ten
    assert find_season(windows, len(windows)) == 1


@pytest.mark.parametrize(
    "series",
    [
        _random(80),
        _random(80).cumsum(0),
        torch.arange(80.0),
        torch.ones(80),
        torch.full((80,), NAN),
    ],
    ids=["noise", "random walk", "line", "constant", "nothing"],
)
def test_where_nothing_repeats_there_is_no_season(series: Tensor) -> None:
    windows = _windows(series, 24)
    assert find_season(windows, len(windows)) == 1


@pytest.mark.parametrize("length", [1, 2, 3])
def test_windows_too_short_to_repeat(length: int) -> None:
    windows = _windows(_wave(2, 40, 0.0), length)
    assert find_season(windows, len(windows)) == 1
