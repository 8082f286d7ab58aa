"""From predicted values to forecast series, whose times are computed once if series end together.

Darts builds each forecast by itself: dates, components, checks. For thousands of short series this
takes many times as long as the network (`benchmarks/bench_predict.py`). Values are predicted in
`prediction.py`, windows are those of `batching/datasets.py`.

Source: `darts.utils.timeseries_generation._build_forecast_series_from_schema` of Darts 0.48.
"""

from collections.abc import Callable, Hashable, Iterator
from itertools import repeat
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.utils.utils import generate_index

from darts_lstm_seq.batching.datasets import BatchInferenceDataset, time_at
from darts_lstm_seq.compat import forecast_like, time_index

# N samples, n forecast steps, C components, S samples of a distribution

ParameterNames = Callable[..., list[str]]


def as_series(
    dataset: BatchInferenceDataset, values: np.ndarray, parameter_names: ParameterNames | None
) -> list[TimeSeries]:
    """Return a forecast for each sample of a dataset, as Darts builds it.

    Parameters
    ----------
    dataset
        The dataset whose windows were forecast.
    values
        Their forecasts in the dtype of the series, `(N, n, C, S)`.
    parameter_names
        Returns names of likelihood parameters for `components`, if the values are such.
    """
    templates = _Templates(values[0], parameter_names)
    if dataset.bounds is None:
        _, steps = dataset.first_steps(np.arange(len(dataset)))
        return [
            forecast_like(templates(series, step), row, series if parameter_names is None else None)
            for series, step, row in zip(dataset.series, steps.tolist(), values, strict=True)
        ]
    found: list[TimeSeries] = []
    rows = iter(values)
    horizon = values.shape[1]
    for series, first, count in _groups(dataset):
        template = templates(series, first)
        source = series if parameter_names is None else None
        known = time_index(series)
        for step in range(first, first + count * dataset.stride, dataset.stride):
            # a part of an index is far less work than a new one, and has its frequency
            is_known = step + horizon <= len(known)
            times = known[step : step + horizon] if is_known else templates.times(series, step)
            found.append(forecast_like(template, next(rows), source, times))
    return found


def with_schemas(
    dataset: BatchInferenceDataset, values: np.ndarray
) -> tuple[np.ndarray, list[dict[str, Any]], list[pd.Timestamp | int]]:
    """Return values `(N, n, C, S)`, the schema of each sample's series and its first time.

    Samples of a series share one schema; Darts writes into that of the first.
    """
    schemas: list[dict[str, Any]] = []
    starts: list[pd.Timestamp | int] = []
    for series, first, count in _groups(dataset):
        schemas.extend(repeat(series.schema(copy=False), count))
        stride = max(dataset.stride, 1)
        known = time_index(series)[first::stride][:count]
        starts += known.tolist()
        starts += [time_at(series, first + place * stride) for place in range(len(known), count)]
    return values, schemas, starts


def _groups(dataset: BatchInferenceDataset) -> Iterator[tuple[TimeSeries, int, int]]:
    """Yield each series of the samples, the first step of its first forecast, and their number."""
    ends = np.arange(1, len(dataset) + 1) if dataset.bounds is None else dataset.cum_lengths
    counts = np.diff(ends, prepend=0)
    _, steps = dataset.first_steps(ends - counts)
    return zip(dataset.series, steps.tolist(), counts.tolist(), strict=True)


class _Templates:
    """Forecasts out of Darts' constructor, one for all series that end at the same time.

    Parameters
    ----------
    values
        Values of any forecast, `(n, C, S)`.
    parameter_names
        See `as_series`.
    """

    def __init__(self, values: np.ndarray, parameter_names: ParameterNames | None) -> None:
        self._values = values
        self._parameter_names = parameter_names
        self._known: dict[Hashable, TimeSeries] = {}

    def __call__(self, series: TimeSeries, step: int) -> TimeSeries:
        """Return a forecast from this step on, counted from the start of the series."""
        times = time_index(series)
        key: tuple[Hashable, ...]
        if isinstance(times, pd.RangeIndex):
            key = times.start, times.step, step, times.name
        else:
            values = times.values  # noqa: PD011, `times[-1]` takes five times as long
            key = values.item(-1), times.unit, series.freq, step - len(values), times.name
        if self._parameter_names is not None:
            key = *key, *series.components, id(series.metadata)
        template = self._known.get(key)
        if template is None:
            template = self._known[key] = self._build(series, step)
        return template

    def _build(self, series: TimeSeries, step: int) -> TimeSeries:
        times, values = self.times(series, step), self._values
        if self._parameter_names is None:  # the components are taken from each series
            return TimeSeries(times=times, values=values, copy=False)
        names = self._parameter_names(components=series.components)
        metadata = series.metadata
        return TimeSeries(
            times=times, values=values, components=names, metadata=metadata, copy=False
        )

    def times(self, series: TimeSeries, step: int) -> pd.Index:
        """Return the times of a forecast from this step on."""
        start = time_at(series, step)
        name = time_index(series).name
        return generate_index(start, length=len(self._values), freq=series.freq, name=name)
