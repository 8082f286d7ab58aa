"""Raw values, as users have them: a trend, a shifted level or wild scales cost nothing."""

from typing import Any

import numpy as np
import pytest
from darts import TimeSeries
from darts.metrics import mae
from makers import sine

from darts_lstm_seq import LSTMSeqModel

LENGTH, SPLIT, HORIZON = 280, 200, 12
pytestmark = pytest.mark.slow


def _signal(seed: int = 0) -> np.ndarray:
    """A season, a slow wave and noise."""
    season = sine(LENGTH, noise=0.2, seed=seed, dtype="float64").values().ravel()
    return season + 0.5 * np.sin(np.arange(LENGTH) / 17)


def _fitted(trainer_kwargs: dict[str, Any], *training: np.ndarray) -> LSTMSeqModel:
    """Return a model as it comes, fitted to the part before the split."""
    model = LSTMSeqModel(24, HORIZON, random_state=0, pl_trainer_kwargs=trainer_kwargs)
    return model.fit([TimeSeries.from_values(values[:SPLIT]) for values in training])


def _error(model: LSTMSeqModel, values: np.ndarray) -> float:
    """Return the mean absolute error of all forecasts after the split."""
    series = TimeSeries.from_values(values)
    forecasts = model.historical_forecasts(
        series,
        start=SPLIT,
        forecast_horizon=HORIZON,
        retrain=False,
        last_points_only=False,
    )
    return float(np.mean([mae(series, forecast) for forecast in forecasts]))


@pytest.fixture(scope="module")
def plain(trainer_kwargs: dict[str, Any]) -> LSTMSeqModel:
    model = _fitted(trainer_kwargs, _signal())
    flat = np.abs(_signal()[SPLIT:]).mean()
    assert _error(model, _signal()) < 0.5 * flat  # there is something to lose
    return model


@pytest.mark.parametrize("slope", [0.05, -0.2])
def test_a_trend_beyond_the_training_values(
    slope: float, plain: LSTMSeqModel, trainer_kwargs: dict[str, Any]
) -> None:
    rising = _signal() + slope * np.arange(LENGTH)
    assert _error(_fitted(trainer_kwargs, rising), rising) < 1.1 * _error(plain, _signal())


@pytest.mark.parametrize("size", [3.0, -1e4])
def test_a_level_that_shifts_after_training(size: float, plain: LSTMSeqModel) -> None:
    shifted = _signal()
    shifted[SPLIT - 24 :] += size  # the window before the first forecast is on the new level
    assert _error(plain, shifted) < 1.1 * _error(plain, _signal())


def test_series_of_wildly_different_scales(trainer_kwargs: dict[str, Any]) -> None:
    small, large = _signal() + 10, _signal(seed=1) + 10
    alike = _fitted(trainer_kwargs, small, large)
    scaled = _fitted(trainer_kwargs, 1e-6 * small, 1e9 * large)
    for scale, values in ((1e-6, small), (1e9, large)):
        assert _error(scaled, scale * values) / scale < 1.1 * _error(alike, values)


def test_outliers_in_the_training_part(plain: LSTMSeqModel, trainer_kwargs: dict[str, Any]) -> None:
    dirty = _signal()
    dirty[[40, 101, 150]] += 20
    assert _error(_fitted(trainer_kwargs, dirty), _signal()) < 1.5 * _error(plain, _signal())
