import numpy as np
import pytest

from pretraining.generator import MIXTURES, generate
from pretraining.processes import FAMILIES, draw_profiles


def autocorrelation(series: np.ndarray, lag: int) -> np.ndarray:
    changes = np.diff(series, axis=1)
    changes = changes - changes.mean(1, keepdims=True)
    product = (changes[:, lag:] * changes[:, :-lag]).mean(1)
    return product / ((changes**2).mean(1) + 1e-12)  # rounding may leave a constant


def test_a_seed_makes_the_same_series_and_another_seed_other_ones() -> None:
    first, again, other = (generate(12, 20, 60, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other, equal_nan=True)


@pytest.mark.parametrize("season", [1, 4, 12, 7, 24, 52])
@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_draws_finite_series_that_vary(family: str, season: int) -> None:
    series = generate(season, 40, 2 * season + 20, 0, {family: 1.0}, gaps=0.0)
    assert series.shape == (40, 2 * season + 20)
    assert np.isfinite(series).all()
    assert (np.ptp(series, axis=1) > 0).mean() > 0.9
    assert len(np.unique(series[:, -1])) > 20


@pytest.mark.parametrize("season", MIXTURES)
def test_mixtures_name_families(season: int) -> None:
    assert MIXTURES[season].keys() <= FAMILIES.keys()


@pytest.mark.parametrize("family", ["smooth", "responsive", "structural", "arima", "stationary"])
def test_seasons_repeat_and_years_have_none(family: str) -> None:
    series = generate(12, 300, 120, 0, {family: 1.0}, gaps=0.0)
    at_season, between = autocorrelation(series, 12), autocorrelation(series, 9)
    assert np.median(at_season) > np.median(between) + 0.1
    yearly = generate(1, 300, 120, 0, {family: 1.0}, gaps=0.0)
    assert abs(np.median(autocorrelation(yearly, 12))) < 0.1


def test_more_series_rise_than_fall() -> None:
    series = generate(1, 2000, 40, 0, gaps=0.0)
    rises = series[:, 20:].mean(1) > series[:, :20].mean(1)
    assert 0.6 < rises.mean() < 0.8


def test_gaps_are_as_frequent_as_asked_for() -> None:
    assert not np.isnan(generate(4, 500, 40, 0, gaps=0.0)).any()
    has_gap = np.isnan(generate(4, 2000, 40, 0, gaps=0.3)).any(axis=1)
    assert 0.2 < has_gap.mean() < 0.32


def test_counts_are_whole_multiples_of_one_unit() -> None:
    counts = FAMILIES["counts"](np.random.default_rng(0), 50, 40, 12)
    np.testing.assert_array_equal(counts, np.round(counts))
    assert (counts >= 0).all()
    assert (counts == 0).any()


def test_profiles_have_no_level_and_unit_size() -> None:
    profiles = draw_profiles(np.random.default_rng(0), 50, 12)
    np.testing.assert_allclose(profiles.mean(1), 0, atol=1e-9)
    np.testing.assert_allclose(profiles.std(1), 1, atol=1e-6)
