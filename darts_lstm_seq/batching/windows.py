"""Windows over many series as gathers from one array, and which window each sample is.

Nothing here copies a window before a batch asks for it: a feature of all series lies in one
contiguous array, its windows are overlapping views of that array, and a batch is one indexed read.
Time axes, covariates and Darts' names are in `datasets.py`.

Letters: S series, P points of all series together, C components, L steps of a window, B samples.
"""

from collections.abc import Sequence
from typing import NoReturn

import numpy as np


class SeriesBuffer:
    """The values of many series, one after another in one contiguous array.

    A single contiguous series is not copied, and an array that stands for several series (a
    covariate they share) is kept once.

    Parameters
    ----------
    arrays
        Values of each series, each `(length, C)`.
    name
        What error messages call them.

    Attributes
    ----------
    points
        The values of all series, `(P, C)`.
    first
        Row of `points` that holds the first step of each series, `(S,)`.

    Raises
    ------
    ValueError
        If the series differ in their number of components or in their dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_lstm_seq.batching.windows import SeriesBuffer
    >>> buffer = SeriesBuffer([np.array([[1.0], [2.0], [3.0]]), np.array([[7.0], [8.0]])])
    >>> windows = buffer.windows(2)
    >>> windows(np.array([0, 1]), np.array([1, 0]))[:, :, 0]
    array([[2., 3.],
           [7., 8.]])
    """

    def __init__(self, arrays: Sequence[np.ndarray], name: str = "series") -> None:
        components, dtype = arrays[0].shape[1], arrays[0].dtype
        # a set of a few thousand is fast, the search for the one that differs need not be
        if len({(array.shape[1], array.dtype) for array in arrays}) > 1:
            _refuse_difference(arrays, name)
        unique = {id(array): array for array in arrays}
        lengths = np.array([len(array) for array in unique.values()])
        self.first = np.cumsum(lengths) - lengths  # (S,)
        if len(unique) < len(arrays):
            places = dict(zip(unique, self.first.tolist(), strict=True))
            self.first = np.array([places[id(array)] for array in arrays])
        if len(unique) == 1:
            self.points = np.ascontiguousarray(arrays[0])
        else:
            self.points = np.empty((lengths.sum(), components), dtype)
            np.concatenate(list(unique.values()), out=self.points)

    def windows(
        self, length: int, ahead: np.ndarray | int = 0, early_starts: bool = False
    ) -> "Windows":
        """Return the windows of one length.

        Parameters
        ----------
        length
            Number of steps, L.
        ahead
            Number of steps to add to every start: one number, or one for each series `(S,)`.
        early_starts
            Whether windows may start before their series: steps that it has not are NaN.
        """
        return Windows(self.points, self.first + ahead, length, early_starts)


def _refuse_difference(arrays: Sequence[np.ndarray], name: str) -> NoReturn:
    """Raise the error about the first array that differs from that of index 0."""
    components, dtype = arrays[0].shape[1], arrays[0].dtype
    for index, array in enumerate(arrays):
        if array.shape[1] != components:
            raise ValueError(
                f"`{name}` at index {index} has {array.shape[1]} components, the one at index "
                f"0 has {components}. Give all of them the same components."
            )
        if array.dtype != dtype:
            raise ValueError(
                f"`{name}` at index {index} has the dtype {array.dtype}, the one at index 0 "
                f"has {dtype}. Cast it, for example with `.astype(np.{dtype})`."
            )
    raise AssertionError("the arrays do not differ")


class Windows:
    """All windows of one length over the series of a buffer; `SeriesBuffer.windows` makes them.

    With `early_starts`, windows may start before their series: the steps before 0 are NaN,
    whatever the buffer holds there.
    """

    def __init__(
        self, points: np.ndarray, origin: np.ndarray, length: int, early_starts: bool
    ) -> None:
        self._points = points
        self._origin = origin
        self._early_starts = early_starts
        self._steps = np.arange(length)
        count, components = max(len(points) - length + 1, 0), points.shape[1]
        step = components * points.itemsize
        # `sliding_window_view` puts the steps last, and takes 60 times as long
        self._views = np.ndarray(
            (count, length, components), points.dtype, points, strides=(step, step, points.itemsize)
        )  # (P - L + 1, L, C)

    def __call__(self, series: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Return the windows `(B, L, C)` of these series `(B,)` at these starts `(B,)`."""
        rows = self._origin[series] + start
        if not self._early_starts or (start >= 0).all():
            # read-only arrays (pandas 3) and negative strides are no trouble for numpy
            return self._views[rows]
        windows = self._points[np.maximum(rows[:, None] + self._steps, 0)]
        windows[self._steps < -start[:, None]] = np.nan
        return windows

    def __reduce__(self) -> NoReturn:
        # a pickle would write every overlapping view out
        raise TypeError("`Windows` cannot be pickled; pickle what its buffer was made from.")


class Samples:
    """Which window of which series each sample of a dataset is.

    Parameters
    ----------
    start
        First step of the first window of each series, `(S,)`.
    counts
        Number of windows of each series, `(S,)`, at least 1.
    step
        Number of steps from one window of a series to the next; negative runs back in time.
    per_series
        Number of samples of every series: windows beyond it are left out, and those of series
        that have fewer come round again. `None` draws every window once.

    Attributes
    ----------
    oldest, newest
        Samples that hold the earliest and the latest window of each series, `(S,)`.

    Examples
    --------
    Two series whose newest windows start at 5 and 1, with six and two windows:

    >>> import numpy as np
    >>> from darts_lstm_seq.batching.windows import Samples
    >>> samples = Samples(np.array([5, 1]), np.array([6, 2]), step=-1, per_series=3)
    >>> series, start = samples(np.arange(6))
    >>> series.tolist(), start.tolist()
    ([0, 0, 0, 1, 1, 1], [5, 4, 3, 1, 0, 1])
    """

    def __init__(
        self, start: np.ndarray, counts: np.ndarray, step: int, per_series: int | None = None
    ) -> None:
        self._start = start
        self._counts = counts
        self._step = step
        self._per_series = per_series
        if per_series is None:
            self._ends = np.cumsum(counts)
            self._first = self._ends - counts
            last = self._ends - 1
        else:
            self._first = np.arange(len(counts)) * per_series
            last = self._first + np.minimum(counts, per_series) - 1
        self.oldest: np.ndarray = last if step < 0 else self._first
        self.newest: np.ndarray = self._first if step < 0 else last

    def __call__(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the series `(B,)` and the start `(B,)` of samples `(B,)`."""
        if self._per_series is None:
            series = self._ends.searchsorted(samples, side="right")
        else:
            series = samples // self._per_series
        place = (samples - self._first[series]) % self._counts[series]
        return series, self._start[series] + place * self._step
