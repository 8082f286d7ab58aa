"""Fit and predict on one and many series, of any length, scale, frequency and index."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries, concatenate
from darts.metrics import mae
from darts.utils.data import (
    HorizonBasedTorchTrainingDataset,
    SequentialTorchInferenceDataset,
    SequentialTorchTrainingDataset,
    ShiftedTorchTrainingDataset,
)
from darts.utils.likelihood_models.torch import QuantileRegression
from makers import assert_near, following, sine

from darts_lstm_seq import LSTMSeqModel

FREQUENCIES: list[str | int] = [
    *("YE", "QS", "QE-NOV", "ME", "MS", "W-WED", "B", "D", "h", "15min", "s"),
    *(1, 7),
]


@pytest.fixture(scope="module")
def fitted(tiny: dict[str, Any]) -> LSTMSeqModel:
    """A model that knows the season: trained on two series of different length."""
    model = LSTMSeqModel(18, 4, **tiny | {"n_epochs": 30})
    return model.fit([sine(120, seed=1), sine(90, seed=2)])


@pytest.mark.parametrize("freq", FREQUENCIES)
def test_any_frequency(freq: str | int, tiny: dict[str, Any], fitted: LSTMSeqModel) -> None:
    series = sine(40, freq)
    own = LSTMSeqModel(6, 4, **tiny).fit(series).predict(7)
    # a model trained on months knows nothing of time stamps
    foreign = fitted.predict(7, series)
    for forecast in (own, foreign):
        assert forecast.time_index.equals(following(series, 7))
        assert forecast.freq == series.freq
        assert list(forecast.components) == list(series.components)
        assert forecast.dtype == series.dtype
        assert_near(forecast, series)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [1, 3])
def test_one_series_is_learnt(width: int, dtype: str, tiny: dict[str, Any]) -> None:
    series = sine(132, width=width, level=50, scale=9, dtype=dtype)
    train, rest = series[:-12], series[-12:]
    # what a forecast of the window's mean would be off by
    flat = np.abs(rest.values() - train[-24:].values().mean(axis=0)).mean()
    model = LSTMSeqModel(24, 12, **tiny | {"n_epochs": 60, "hidden_dim": 16})
    forecast = model.fit(train).predict(12)
    assert forecast.dtype == dtype
    assert forecast.shape == rest.shape
    assert mae(rest, forecast) < 0.4 * flat


@pytest.mark.slow
def test_many_series_of_different_length_and_scale(tiny: dict[str, Any]) -> None:
    scales = [1e-3, 1.0, 1e6]
    many = [
        sine(length, level=3 * scale, scale=scale, seed=seed, dtype="float64")
        for seed, (length, scale) in enumerate(zip([60, 130, 90], scales, strict=True))
    ]
    model = LSTMSeqModel(18, 6, **tiny | {"n_epochs": 60, "hidden_dim": 16})
    history = [series[:-6] for series in many]
    forecasts = model.fit(history).predict(6, history)
    for scale, series, forecast in zip(scales, many, forecasts, strict=True):
        # whatever the scale of the others: to a fraction of its own amplitude
        assert mae(series[-6:], forecast) < 0.35 * scale


def test_prediction_of_new_series(fitted: LSTMSeqModel) -> None:
    new = [sine(40, "h", seed=5), sine(25, 3, seed=6), sine(60, "W", seed=7)]
    together = fitted.predict(4, new)
    for series, forecast in zip(new, together, strict=True):
        assert forecast.time_index.equals(following(series, 4))
        alone = fitted.predict(4, series)
        np.testing.assert_allclose(forecast.values(), alone.values(), rtol=1e-4, atol=1e-5)
    small_batches = fitted.predict(4, new, batch_size=1)
    for forecast, other in zip(together, small_batches, strict=True):
        np.testing.assert_allclose(forecast.values(), other.values(), rtol=1e-4, atol=1e-5)


def test_a_model_of_many_series_must_be_told_which(fitted: LSTMSeqModel) -> None:
    with pytest.raises(ValueError, match="`series` must be provided"):
        fitted.predict(4)


def test_n_beyond_the_chunk_feeds_forecasts_back(fitted: LSTMSeqModel) -> None:
    series = sine(40, seed=3)
    first = fitted.predict(4, series)
    # the last chunk ends where the forecast ends, so it starts after the third step
    second = fitted.predict(4, concatenate([series, first[:3]]))
    expected = np.concatenate([first.values()[:3], second.values()])
    np.testing.assert_allclose(fitted.predict(7, series).values(), expected, atol=1e-5)
    shorter = fitted.predict(2, series)
    np.testing.assert_allclose(shorter.values(), first.values()[:2], atol=1e-6)


@pytest.mark.parametrize("roll_size", [1, 3, 4])
def test_roll_size_is_the_number_of_forecasts_fed_back(
    roll_size: int, fitted: LSTMSeqModel
) -> None:
    series = sine(40, seed=3)
    first = fitted.predict(4, series)[:roll_size]
    second = fitted.predict(4, concatenate([series, first]))
    expected = np.concatenate([first.values(), second.values()])
    # no further: from the third chunk on Darts 0.48.1 rolls every model's window by `roll_size`
    # but counts a whole chunk (seen with `BlockRNNModel`)
    forecast = fitted.predict(roll_size + 4, series, roll_size=roll_size)
    np.testing.assert_allclose(forecast.values(), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("freq", ["MS", "B", 5])
def test_output_chunk_shift(freq: str | int, tiny: dict[str, Any]) -> None:
    series = sine(132, freq, noise=0.02)
    model = LSTMSeqModel(
        18, 4, output_chunk_shift=3, **tiny | {"n_epochs": 60, "hidden_dim": 16}
    ).fit(series[:-7])
    forecast = model.predict(4)
    assert forecast.time_index.equals(following(series[:-7], 4, gap=3))
    assert mae(series[-4:], forecast) < 0.3  # an unshifted forecast is off by 1.2 and more
    with pytest.raises(ValueError, match=r"\(output_chunk_shift > 0\)"):
        model.predict(5)


@pytest.mark.parametrize(
    "build",
    [
        lambda series: SequentialTorchTrainingDataset(
            series, input_chunk_length=8, output_chunk_length=4
        ),
        lambda series: ShiftedTorchTrainingDataset(
            series, input_chunk_length=8, output_chunk_length=4, shift=8
        ),
        lambda series: HorizonBasedTorchTrainingDataset(
            series, output_chunk_length=4, lh=(1, 3), lookback=2
        ),
        lambda series: SequentialTorchTrainingDataset(
            series, input_chunk_length=8, output_chunk_length=4, stride=2, max_samples_per_ts=9
        ),
    ],
    ids=["sequential", "shifted", "horizon", "strided"],
)
def test_darts_own_datasets(build: Callable[[list[TimeSeries]], Any], tiny: dict[str, Any]) -> None:
    series = [sine(40, seed=1), sine(60, seed=2)]
    model = LSTMSeqModel(8, 4, **tiny)
    model.fit_from_dataset(build(series), val_dataset=build(series))
    dataset = SequentialTorchInferenceDataset(
        series, n=5, input_chunk_length=8, output_chunk_length=4
    )
    forecasts = model.predict_from_dataset(5, dataset)
    assert len(forecasts) == 2
    for target, forecast in zip(series, forecasts, strict=True):
        assert forecast.time_index.equals(following(target, 5))
        np.testing.assert_allclose(forecast.values(), model.predict(5, target).values(), atol=1e-5)


@pytest.mark.slow
def test_a_dataset_is_learnt_from(tiny: dict[str, Any]) -> None:
    series = sine(132)
    dataset = SequentialTorchTrainingDataset(
        series[:-12], input_chunk_length=24, output_chunk_length=12
    )
    model = LSTMSeqModel(24, 12, **tiny | {"n_epochs": 60, "hidden_dim": 16})
    forecast = model.fit_from_dataset(dataset).predict(12, series[:-12])
    assert mae(series[-12:], forecast) < 0.25


def test_num_samples(tiny: dict[str, Any], fitted: LSTMSeqModel) -> None:
    series = sine(60, width=2)
    model = LSTMSeqModel(6, 4, likelihood=QuantileRegression([0.1, 0.5, 0.9]), **tiny)
    forecast = model.fit(series).predict(7, num_samples=30)
    assert forecast.shape == (7, 2, 30)
    assert (np.ptp(forecast.all_values(), axis=2) > 0).all()
    again = model.predict(7, num_samples=30, random_state=1)
    same = model.predict(7, num_samples=30, random_state=1)
    np.testing.assert_array_equal(again.all_values(), same.all_values())
    with pytest.raises(ValueError, match="`num_samples > 1` is only supported for probabilistic"):
        fitted.predict(4, sine(40), num_samples=2)


def test_encode_gives_one_state_per_series(fitted: LSTMSeqModel) -> None:
    series = [sine(40, seed=seed) for seed in range(3)]
    states = fitted.encode(series)
    assert states.shape == (3, 8)
    assert np.abs(states).max() < 1  # of an LSTM
    np.testing.assert_allclose(fitted.encode(series[1]), states[1:2], atol=1e-6)
    assert np.abs(states[0] - states[1]).max() > 1e-3
    # the whole window decides, what lies before it does not
    np.testing.assert_allclose(fitted.encode(series[0][-18:]), states[:1], atol=1e-6)


def test_index_types_agree(fitted: LSTMSeqModel) -> None:
    series = sine(40)
    integers = TimeSeries.from_values(series.values(), columns=series.components)
    naive = fitted.predict(6, series)
    by_integer = fitted.predict(6, integers)
    assert isinstance(by_integer.time_index, pd.RangeIndex)
    np.testing.assert_allclose(by_integer.values(), naive.values(), atol=1e-6)
