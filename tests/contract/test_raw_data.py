"""Raw values, as users have them: a trend, a shifted level or wild scales cost nothing."""

from typing import Any

import numpy as np
import pytest
from darts import TimeSeries
from darts.metrics import mae
from makers import sine

from darts_lstm_seq import LSTMSeqModel

LENGTH, SPLIT, HORIZON = 280, 200, 12


def _signal(seed: int = 0) -> np.ndarray:
    """A season, a slow wave and noise."""
    season = sine(LENGTH, noise=0.2, seed=seed, dtype="float64").values().ravel()
    return season + 0.5 * np.sin(np.arange(LENGTH) / 17)


def _series(values: np.ndarray) -> TimeSeries:
    return TimeSeries.from_values(values)


def _error(
    training: list[np.ndarray], evaluation: np.ndarray, trainer_kwargs: dict[str, Any]
) -> float:
    """Return the mean absolute error of all forecasts after the split."""
    model = LSTMSeqModel(24, HORIZON, random_state=0, pl_trainer_kwargs=dict(trainer_kwargs))
    model.fit([_series(values[:SPLIT]) for values in training])
    forecasts = model.historical_forecasts(
        _series(evaluation),
        start=SPLIT,
        forecast_horizon=HORIZON,
        retrain=False,
        last_points_only=False,
    )
    return float(np.mean([mae(_series(evaluation), forecast) for forecast in forecasts]))


@pytest.fixture(scope="module")
def plain(trainer_kwargs: dict[str, Any]) -> float:
    error = _error([_signal()], _signal(), trainer_kwargs)
    assert error < 0.5 * np.abs(_signal()[SPLIT:]).mean()  # there is something to lose
    return error


@pytest.mark.parametrize("slope", [0.05, -0.2])
def test_a_trend_beyond_the_training_values(
    slope: float, plain: float, trainer_kwargs: dict[str, Any]
) -> None:
    rising = _signal() + slope * np.arange(LENGTH)
    assert _error([rising], rising, trainer_kwargs) < 1.1 * plain


@pytest.mark.parametrize("size", [3.0, -1e4])
def test_a_level_that_shifts_after_training(
    size: float, plain: float, trainer_kwargs: dict[str, Any]
) -> None:
    shifted = _signal()
    shifted[SPLIT - 24 :] += size  # the window before the first forecast is on the new level
    assert _error([_signal()], shifted, trainer_kwargs) < 1.1 * plain


def test_series_of_wildly_different_scales(trainer_kwargs: dict[str, Any]) -> None:
    small, large = _signal() + 10, _signal(seed=1) + 10
    for scaled, alike in ((1e-6, small), (1e9, large)):
        together = _error([1e-6 * small, 1e9 * large], scaled * alike, trainer_kwargs) / scaled
        assert together < 1.1 * _error([small, large], alike, trainer_kwargs)


def test_outliers_in_the_training_part(plain: float, trainer_kwargs: dict[str, Any]) -> None:
    dirty = _signal()
    dirty[[40, 101, 150]] += 20
    assert _error([dirty], _signal(), trainer_kwargs) < 1.5 * plain
