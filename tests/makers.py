"""The series and tensors that tests share, and what they read off series and models.

`conftest.py` has the fixtures, `oracles.py` the slow versions of what the package does fast.
"""

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from darts import TimeSeries
from torch import Tensor

from darts_lstm_seq import LSTMSeqModel

SEASON = 12


def sine(
    length: int = 96,
    freq: str | int = "MS",
    width: int = 1,
    *,
    season: float = SEASON,
    level: float = 0.0,
    scale: float = 1.0,
    noise: float = 0.1,
    trend: float = 0.0,
    seed: int = 0,
    dtype: str = "float32",
    name: str = "y",
    start: str = "2001-03-01",
) -> TimeSeries:
    """Return a noisy sine of period `season`, each of `width` components with a phase of its own.

    `freq` is a pandas alias (from `start` on) or the step of an integer index (from 10 on). `scale`
    is the amplitude; `noise` (a standard deviation) and `trend` (per step) are multiples of it.
    Components are `y0`, `y1`, ...
    """
    steps = np.arange(length)[:, None]
    phases = 2 * np.pi * np.arange(width) / max(width, 3)
    values = np.sin(2 * np.pi * steps / season + phases)
    values = values + trend * steps
    values = values + noise * np.random.default_rng(seed).standard_normal(values.shape)
    index: pd.Index
    if isinstance(freq, int):
        index = pd.RangeIndex(10, 10 + length * freq, freq)
    else:
        index = pd.date_range(start, periods=length, freq=freq)
    return TimeSeries(
        times=index,
        values=(level + scale * values).astype(dtype),
        components=[f"{name}{component}" for component in range(width)],
    )


def white_noise(length: int, width: int = 1, seed: int = 0) -> TimeSeries:
    """Return standard normal values, of which no step tells another; integer index, float32."""
    values = np.random.default_rng(seed).standard_normal((length, width))
    return TimeSeries.from_values(values.astype("float32"))


def with_value(
    series: TimeSeries, steps: Any, value: Any = np.nan, component: int | slice = slice(None)
) -> TimeSeries:
    """Return `series` with `value` (default: missing) at some steps, as numpy indexes them."""
    values = series.values().copy()
    values[steps, component] = value
    return series.with_values(values)


def with_gaps(series: TimeSeries, share: float, seed: int = 0) -> TimeSeries:
    """Return `series` without a random share of its values."""
    values = series.values().copy()
    values[np.random.default_rng(seed).random(values.shape) < share] = np.nan
    return series.with_values(values)


def following(series: TimeSeries, n: int, gap: int = 0) -> pd.Index:
    """Return the `n` time stamps after a series and a gap, without Darts' arithmetic."""
    index = series.time_index
    if isinstance(index, pd.RangeIndex):
        first = index[-1] + index.step * (1 + gap)
        return pd.RangeIndex(first, first + n * index.step, index.step)
    return pd.date_range(index[-1], periods=n + gap + 1, freq=index.freq)[1 + gap :]


def assert_near(forecast: TimeSeries, history: TimeSeries, ranges: float = 1.0) -> None:
    """Assert finite values, at most `ranges` times its range beyond what a component has been."""
    values = history.values()
    lowest, highest = np.nanmin(values, axis=0)[:, None], np.nanmax(values, axis=0)[:, None]
    margin = ranges * (highest - lowest)
    found = forecast.all_values()
    assert np.isfinite(found).all()
    assert (lowest - margin <= found).all()
    assert (found <= highest + margin).all()


def random_tensor(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return standard normal values that depend on `seed` alone."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def damage(path: Path) -> None:
    """Flip a bit in the largest entry of an archive; doing it twice undoes it."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    content = bytearray(path.read_bytes())
    header = largest.header_offset
    # the lengths of its name and of its extra field are at the end of a local header of 30 bytes
    name, extra = struct.unpack("<HH", content[header + 26 : header + 30])
    content[header + 30 + name + extra + largest.file_size // 2] ^= 1
    path.write_bytes(content)


def trainer_of(model: LSTMSeqModel) -> pl.Trainer:
    """Return the trainer that a model was fitted by."""
    assert model.trainer is not None
    return model.trainer
