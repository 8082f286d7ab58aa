"""The data sets' shapes and ranges."""

from collections.abc import Callable

import numpy as np
import pytest

from darts_lstm_seq import data


def test_noisy_sine_is_the_signal_plus_uniform_noise() -> None:
    noisy, signal = data.noisy_sine(seed=3), data.noisy_sine(noise=0)
    noise = (noisy - signal).values()
    assert np.abs(noise).max() <= 0.5
    assert noise.var() == pytest.approx(0.5**2 / 3, rel=0.1)
    np.testing.assert_allclose(signal.values().ravel(), np.sin(0.1 * np.arange(800)))
    assert data.noisy_sine(seed=3) == noisy
    assert data.noisy_sine(seed=4) != noisy


@pytest.mark.parametrize(
    ("load", "length", "freq", "low", "high"),
    [
        (data.co2_weekly, 2284, "W-SAT", 313, 374),
        (data.co2_monthly, 526, "MS", 313, 374),
        (data.sunspots, 309, "YS-JAN", 0, 191),
        (data.nile, 100, "YS-JAN", 456, 1370),
        (data.sea_surface_temperature, 732, "MS", 18, 30),
    ],
)
def test_real_series(load: Callable, length: int, freq: str, low: float, high: float) -> None:
    series = load()
    assert (len(series), series.freq_str) == (length, freq)
    values = series.values()
    assert low <= np.nanmin(values) < np.nanmax(values) <= high


def test_only_the_weekly_co2_has_gaps() -> None:
    assert np.isnan(data.co2_weekly().values()).sum() == 59
    for load in (data.co2_monthly, data.sunspots, data.nile, data.us_macro):
        assert np.isfinite(load().values()).all()


def test_macro_has_three_components_in_quarters() -> None:
    series = data.us_macro()
    assert (series.n_components, series.freq_str, len(series)) == (3, "QS-JAN", 203)
