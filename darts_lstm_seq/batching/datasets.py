"""Darts' sequential datasets, which also return whole batches instead of single samples.

A PyTorch `DataLoader` asks a dataset that has `__getitems__` for all samples of a batch at once;
these datasets return a collated batch, gathered by `windows.py`. Every sample equals the one that
Darts' dataset returns for its index, and `__getitem__` is Darts' own.

Source: `darts.utils.data.SequentialTorchTrainingDataset`, `SequentialTorchInferenceDataset`.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from darts.typing import TimeSeriesLike
from darts.utils.data import SequentialTorchInferenceDataset, SequentialTorchTrainingDataset
from darts.utils.data.torch_datasets.dataset import TorchDataset
from darts.utils.data.torch_datasets.utils import (
    TorchInferenceBatch,
    TorchInferenceSample,
    TorchTrainingBatch,
    TorchTrainingSample,
)
from torch import Tensor
from typing_extensions import override

from darts_lstm_seq.batching.windows import Samples, SeriesBuffer, Windows
from darts_lstm_seq.compat import time_index

# S series, B samples of a batch, L input steps, T output steps, C components, K static covariates

# for each field of a batch: which series it is read from, how many steps after the start of the
# input, and how many steps
Parts = dict[str, tuple[str, int, int]]

_FEATURES = ("series", "past_covariates", "future_covariates", "sample_weight")


class ValidationSeries(list[TimeSeries]):
    """Targets given as `val_series`: errors about them and their covariates name that argument."""


class _BatchedDataset(TorchDataset):
    """Buffers, the checks that make gathers safe, and pickling, for both datasets.

    Stochastic series (several samples per time step) and sequences that load series lazily are not
    copied into buffers: a batch is then a list of Darts' samples.
    """

    _buffers: dict[str, SeriesBuffer]
    _samples: Samples
    _windows: dict[str, Windows]
    _static: np.ndarray | None  # (S, C or 1, K)

    def __init__(self, series: TimeSeriesLike, *args: Any, **kwargs: Any) -> None:
        try:
            super().__init__(series, *args, **kwargs)
        except ValueError as error:
            if isinstance(series, ValidationSeries):
                raise ValueError(f"In `val_series` and what belongs to it: {error}") from error
            raise
        self._prepare()

    @property
    def _reads_ends(self) -> bool:
        """Whether only the ends of the target are read, and need to be copied."""
        return False

    @abstractmethod
    def _lay_out(self, lengths: np.ndarray) -> tuple[Samples, Parts, int]:
        """Return the windows of the samples, their parts, and the minimal length of a series.

        Parameters
        ----------
        lengths
            Lengths of the series, `(S,)`.
        """

    def _prepare(self) -> None:
        groups: dict[str, Sequence[TimeSeries]] = {
            name: group for name in _FEATURES if (group := getattr(self, name, None)) is not None
        }
        self._buffers, self._windows, self._static = {}, {}, None
        if not all(isinstance(group, (list, tuple)) for group in groups.values()):
            return
        values = {
            name: [series.all_values(copy=False) for series in group]  # (length, C, 1) each
            for name, group in groups.items()
        }
        if any(array.shape[2] > 1 for group in values.values() for array in group):
            return
        lengths = np.array([len(array) for array in values["series"]])  # (S,)
        self._samples, parts, needed = self._lay_out(lengths)
        for index in np.flatnonzero(lengths < needed).tolist():
            self._refuse("series", index, self._samples.newest[index])
        _, earliest = self._samples(self._samples.oldest)  # starts of the input, (S,)
        _, latest = self._samples(self._samples.newest)
        for name, group in groups.items():
            own = {field: part for field, (source, *part) in parts.items() if source == name}
            first = np.maximum(earliest + min(offset for offset, _ in own.values()), 0)
            end = latest + max(offset + length for offset, length in own.values())
            if name == "series" and self._reads_ends:
                ahead = -first
                arrays = [
                    array[start:, :, 0]
                    for array, start in zip(values[name], first.tolist(), strict=True)
                ]
            else:
                ahead = 0 if name == "series" else self._align(name, group, first, end)
                arrays = _without_samples(values[name])
            buffer = self._buffers[name] = SeriesBuffer(arrays, name)
            for field, (offset, length) in own.items():
                # the first steps of an input may be missing, `input_chunk_length=(min, max)`
                early = offset == 0 and earliest.min() < 0
                self._windows[field] = buffer.windows(length, ahead + offset, early)
        if self.uses_static_covariates_covariates:
            self._static = _static_values(self.series)

    def _align(
        self, name: str, group: Sequence[TimeSeries], first: np.ndarray, end: np.ndarray
    ) -> np.ndarray:
        """Return the number of steps of a feature before step 0 of its target, `(S,)`.

        The feature must cover the steps of its target from `first` to before `end`.
        """
        ahead = np.empty_like(first)
        pairs = zip(self.series, group, first.tolist(), end.tolist(), strict=True)
        for index, (target, feature, first_step, end_step) in enumerate(pairs):
            place = _find(target, first_step, feature)
            if place is None:
                self._refuse(name, index, self._samples.oldest[index])
            ahead[index] = place - first_step
            if ahead[index] + end_step > len(feature):
                self._refuse(name, index, self._samples.newest[index])
        return ahead

    def _refuse(self, name: str, index: int, sample: int) -> NoReturn:
        """Raise the error that Darts has for this sample, with the index of the series."""
        prefix = "val_" if isinstance(self.series, ValidationSeries) else ""
        try:
            self[int(sample)]
        except ValueError as error:
            raise ValueError(f"`{prefix}{name}` at index {index}: {error}") from error
        raise ValueError(
            f"`{prefix}{name}` at index {index} does not cover the windows of `{prefix}series` at "
            f"this index. Extend it, or shorten the series."
        )

    def _gather(self, series: np.ndarray, start: np.ndarray) -> dict[str, Tensor]:
        """Return the tensors of a batch for series `(B,)` and starts of the input `(B,)`."""
        fields = {
            field: torch.from_numpy(windows(series, start))
            for field, windows in self._windows.items()
        }
        if self._static is not None:
            fields["static_covariates"] = torch.from_numpy(self._static[series])
        return fields

    @property
    def is_batched(self) -> bool:
        """Whether batches are gathered from buffers; otherwise they are lists of samples."""
        return bool(self._buffers)

    @property
    def is_finite(self) -> bool:
        """Whether all series, static covariates included, are known to be free of NaN and infinity.

        Also `False` without buffers; each series has to be checked then.
        """
        values = [buffer.points for buffer in self._buffers.values()]
        if self._static is not None:
            values.append(self._static)
        return bool(values) and all(bool(np.isfinite(array).all()) for array in values)

    def __getstate__(self) -> dict[str, Any]:
        # buffers repeat the series and are rebuilt
        return {
            name: value
            for name, value in vars(self).items()
            if name not in _BatchedDataset.__annotations__
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()


class BatchTrainingDataset(_BatchedDataset, SequentialTorchTrainingDataset):
    """Darts' `SequentialTorchTrainingDataset`, which also returns whole batches.

    Parameters, samples and their order are Darts'. Bad series are refused at once, not when a
    sample happens to be drawn from them. Memory: one series is not copied, several are copied once.

    Parameters
    ----------
    *args, **kwargs
        As for `darts.utils.data.SequentialTorchTrainingDataset`.

    Raises
    ------
    ValueError
        If a series is too short for one window, if covariates or sample weights do not cover all
        windows, or if series differ in their components or dtype. The message has the index of the
        series.

    Examples
    --------
    >>> from darts.utils.timeseries_generation import sine_timeseries
    >>> from darts_lstm_seq.batching.datasets import BatchTrainingDataset
    >>> series = [sine_timeseries(length=length) for length in (50, 40)]
    >>> dataset = BatchTrainingDataset(series, input_chunk_length=24, output_chunk_length=12)
    >>> len(dataset)
    30
    >>> dataset.__getitems__([0, 29]).future_target.shape
    torch.Size([2, 12, 1])
    """

    # steps at the end of each series that are not part of it, without values
    n_unknown = 0

    def _lay_out(self, lengths: np.ndarray) -> tuple[Samples, Parts, int]:
        weights = self.sample_weight
        if weights and weights[0].n_components not in (1, self.series[0].n_components):
            self._refuse("sample_weight", 0, 0)
        counts = -(-(lengths - self.size_of_both_chunks + 1) // self.stride)
        before, after = self.input_chunk_length, self.output_chunk_length
        samples = Samples(
            lengths - after - self.shift, counts, -self.stride, self.max_samples_per_ts
        )
        parts = {
            "past_target": ("series", 0, before),
            "past_covariates": ("past_covariates", 0, before),
            "historic_future_covariates": ("future_covariates", 0, before),
            "future_covariates": ("future_covariates", self.shift, after),
            "future_target": ("series", self.shift, after),
            "sample_weight": ("sample_weight", self.shift, after),
        }
        return samples, parts, self.size_of_both_chunks

    def of_last_horizon(self) -> list[int]:
        """Return the samples that forecast steps of the last output chunk of each series."""
        if not self._buffers:
            return [0]
        oldest = self._samples.oldest
        newest = np.minimum(self._samples.newest + self.n_unknown // self.stride, oldest)
        ends = np.minimum(oldest, newest + (self.output_chunk_length - 1) // self.stride)
        return np.concatenate(
            [np.arange(a, b + 1) for a, b in zip(newest, ends, strict=True)]
        ).tolist()

    def __getitems__(
        self, indices: Sequence[int]
    ) -> TorchTrainingBatch | list[TorchTrainingSample]:
        """Return the samples of these indices, each as `self[index]`, in one batch."""
        if not self._buffers:
            return [self[index] for index in indices]
        return TorchTrainingBatch(**self._gather(*self._samples(np.asarray(indices))))


class BatchInferenceDataset(_BatchedDataset, SequentialTorchInferenceDataset):
    """Darts' `SequentialTorchInferenceDataset`, which also returns whole batches.

    Parameters, samples and their order are Darts'. Bad series are refused at once, not when a
    sample happens to be drawn from them. Memory: one series is not copied, several are copied once.

    Parameters
    ----------
    *args, **kwargs
        As for `darts.utils.data.SequentialTorchInferenceDataset`.

    Raises
    ------
    ValueError
        If a series is too short, if covariates or bounds do not fit the series, or if series differ
        in their components or dtype. The message has the index of the series.

    Examples
    --------
    >>> from darts.utils.timeseries_generation import sine_timeseries
    >>> from darts_lstm_seq.batching.datasets import BatchInferenceDataset
    >>> series = [sine_timeseries(length=length) for length in (50, 40)]
    >>> dataset = BatchInferenceDataset(series, input_chunk_length=24, output_chunk_length=12)
    >>> batch = dataset.__getitems__([0, 1])
    >>> batch.past_target.shape, batch.pred_time[1]
    (torch.Size([2, 24, 1]), Timestamp('2000-02-10 00:00:00'))
    """

    @property
    @override
    def _reads_ends(self) -> bool:
        return self.bounds is None

    def _lay_out(self, lengths: np.ndarray) -> tuple[Samples, Parts, int]:
        before, after = self.input_chunk_length, max(self.n, self.output_chunk_length)
        if self.bounds is None:
            samples = Samples(lengths - before, np.ones_like(lengths), 1, per_series=1)
        else:
            low, high = self.bounds.T
            for index in np.flatnonzero((low < 0) | (low > high) | (high > lengths)).tolist():
                raise ValueError(
                    f"`bounds` at index {index} are {self.bounds[index].tolist()}, but must be two "
                    f"ascending steps between 0 and {lengths[index]}, the length of `series`."
                )
            samples = Samples(low - before, (high - low) // self.stride + 1, self.stride)
        shift = before + self.output_chunk_shift
        parts = {
            "past_target": ("series", 0, before),
            "past_covariates": ("past_covariates", 0, before),
            "historic_future_covariates": ("future_covariates", 0, before),
            "future_covariates": ("future_covariates", shift, after),
        }
        if self.n > self.output_chunk_length:
            known_ahead = self.n - self.output_chunk_length
            parts["future_past_covariates"] = ("past_covariates", before, known_ahead)
        return samples, parts, self.min_input_chunk_length

    def __getitems__(
        self, indices: Sequence[int]
    ) -> TorchInferenceBatch | list[TorchInferenceSample]:
        """Return the samples of these indices, each as `self[index]`, in one batch."""
        if not self._buffers:
            return [self[index] for index in indices]
        samples = np.asarray(indices)
        series, steps = self.first_steps(samples)
        targets = [self.series[index] for index in series.tolist()]
        batch = self.inputs(samples)
        # Darts writes into them, so each sample needs its own
        batch.series_schema += [target.schema(copy=False) for target in targets]
        batch.pred_time += [
            time_at(target, step) for target, step in zip(targets, steps.tolist(), strict=True)
        ]
        return batch

    def inputs(self, samples: np.ndarray) -> TorchInferenceBatch:
        """Return the tensors of samples `(B,)` in a batch without schemas and times."""
        fields = self._gather(*self._samples(samples))
        return TorchInferenceBatch(**fields, series_schema=[], pred_time=[])

    def first_steps(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return series `(B,)` and first forecast step `(B,)`, counted from each series' start."""
        series, start = self._samples(samples)
        return series, start + self.input_chunk_length + self.output_chunk_shift


def _without_samples(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the single sample of arrays `(length, C, 1)`, one object for the same array."""
    # a covariate may be given to many series
    single = {id(array): array[:, :, 0] for array in arrays}
    return [single[id(array)] for array in arrays]


def _static_values(series: Sequence[TimeSeries]) -> np.ndarray:
    """Return the static covariates of all series, `(S, C or 1, K)`."""
    arrays = [target.static_covariates_values(copy=False) for target in series]
    for index, array in enumerate(arrays):
        if array is None or array.shape != arrays[0].shape:
            raise ValueError(
                f"`series` at index {index} has static covariates of shape "
                f"{None if array is None else array.shape}, the one at index 0 has "
                f"{arrays[0].shape}. Give all of them the same, or set "
                f"`use_static_covariates=False`."
            )
        if array.dtype == object:
            raise ValueError(
                f"`series` at index {index} has static covariates that are not numeric. Encode "
                f"them, for example with Darts' `StaticCovariatesTransformer`."
            )
    return np.ascontiguousarray(np.stack(arrays))


def _find(series: TimeSeries, step: int, other: TimeSeries) -> int | None:
    """Return the step of `other` at the time of a step of `series`; `None` if there is none."""
    if other.freq != series.freq:
        return None
    times, others = time_index(series), time_index(other)
    if isinstance(others, pd.RangeIndex):
        place, rest = divmod(times[step] - others.start, others.step)
        return place if rest == 0 and 0 <= place < len(others) else None
    # `get_loc` would leave a hash table behind, several times the size of the series, and
    # `to_numpy` takes 40 times as long as `values`
    wanted, known = times.values[step], others.values  # noqa: PD011
    place = int(known.searchsorted(wanted))
    return place if place < len(known) and known[place] == wanted else None


def time_at(series: TimeSeries, step: int) -> pd.Timestamp | int:
    """Return the time of a step of a series, also of one after its end."""
    times, beyond = time_index(series), step - (len(series) - 1)
    if isinstance(times, pd.RangeIndex):
        return times.start + step * times.step
    if beyond > 0:
        return time_at(series, len(series) - 1) + beyond * series.freq
    # `times[step]` takes five times as long
    return pd.Timestamp(times.values[step])  # noqa: PD011
