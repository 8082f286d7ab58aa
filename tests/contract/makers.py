"""The series that the contract is proven on: seasonal, of any frequency, length and width."""

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from darts import TimeSeries

from darts_lstm_seq import LSTMSeqModel

SEASON = 12


def seasonal(
    length: int = 96,
    freq: str | int = "MS",
    width: int = 1,
    noise: float = 0.1,
    seed: int = 0,
    level: float = 0.0,
    scale: float = 1.0,
    dtype: str = "float32",
    name: str = "y",
) -> TimeSeries:
    """Return a sine of period `SEASON` per component, each with a phase of its own.

    `freq` is a pandas alias, or the step of an integer index; `scale` is the amplitude.
    """
    steps = np.arange(length)[:, None]
    phases = 2 * np.pi * np.arange(width) / max(width, 3)
    values = np.sin(2 * np.pi * steps / SEASON + phases)
    values = values + noise * np.random.default_rng(seed).standard_normal(values.shape)
    index: pd.Index
    if isinstance(freq, int):
        index = pd.RangeIndex(start=10, stop=10 + length * freq, step=freq)
    else:
        index = pd.date_range("2001-03-01", periods=length, freq=freq)
    columns = [f"{name}{i}" for i in range(width)]
    values = (level + scale * values).astype(dtype)
    return TimeSeries(times=index, values=values, components=columns)


def following(series: TimeSeries, n: int, gap: int = 0) -> pd.Index:
    """Return the `n` time stamps after a series and a gap, without Darts' arithmetic."""
    index = series.time_index
    if isinstance(index, pd.RangeIndex):
        first = index[-1] + index.step * (1 + gap)
        return pd.RangeIndex(first, first + n * index.step, index.step)
    return pd.date_range(index[-1], periods=n + gap + 1, freq=index.freq)[1 + gap :]


def trainer_of(model: LSTMSeqModel) -> pl.Trainer:
    """Return the trainer that a model was fitted by."""
    assert model.trainer is not None
    return model.trainer


def straight(values: np.ndarray, like: TimeSeries) -> TimeSeries:
    """Return `values` on the time axis and with the names of `like`."""
    return TimeSeries(times=like.time_index, values=values, components=like.components)
