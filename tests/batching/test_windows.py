"""Gathers against windows cut by hand, and sample numbers against a list of all samples."""

import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracles import drawn_windows, window

from darts_lstm_seq.batching.windows import Samples, SeriesBuffer


def _series(*lengths: int, components: int = 1, dtype: type = np.float64) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(length, components)).astype(dtype) for length in lengths]


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    components=st.integers(1, 3),
    length=st.integers(1, 12),
    early=st.booleans(),
)
@example([1], 1, 1, False).via("the smallest series and window")
@example([5], 2, 5, False).via("one window")
@example([4, 4, 4], 1, 4, False).via("one window in each series")
@example([2], 1, 9, True).via("a window longer than all points")
@example([3, 1, 2], 2, 3, True).via("windows that reach into the series before")
@settings(deadline=None)
def test_gathers_are_windows_cut_by_hand(
    lengths: list[int], components: int, length: int, early: bool
) -> None:
    arrays = _series(*lengths, components=components)
    places = [
        (index, start)
        for index, array in enumerate(arrays)
        for start in range(1 - length if early else 0, len(array) - length + 1)
    ]
    series, start = np.array(places, dtype=int).reshape(-1, 2).T
    gathered = SeriesBuffer(arrays).windows(length, early_starts=early)(series, start)
    assert gathered.shape == (len(places), length, components)
    assert gathered.flags.c_contiguous
    for row, (index, first) in zip(gathered, places, strict=True):
        np.testing.assert_array_equal(row, window(arrays[index], first, length))


def test_each_series_may_have_a_lead_of_its_own() -> None:
    arrays = _series(9, 7)
    windows = SeriesBuffer(arrays).windows(3, ahead=np.array([4, 1]))
    gathered = windows(np.array([0, 1, 1]), np.array([-4, -1, 3]))
    expected = [window(arrays[0], 0, 3), window(arrays[1], 0, 3), window(arrays[1], 4, 3)]
    np.testing.assert_array_equal(gathered, expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("lengths", [(9,), (9, 4)])
@pytest.mark.parametrize("start", [1, -1])
def test_the_dtype_stays(dtype: type, lengths: tuple[int, ...], start: int) -> None:
    windows = SeriesBuffer(_series(*lengths, dtype=dtype)).windows(2, early_starts=True)
    assert windows(np.array([0]), np.array([start])).dtype == dtype


def test_one_contiguous_series_is_not_copied() -> None:
    (values,) = _series(100)
    values.flags.writeable = False  # as pandas hands them out
    buffer = SeriesBuffer([values])
    batch = buffer.windows(3)(np.array([0]), np.array([5]))
    assert np.shares_memory(buffer.points, values)
    assert batch.flags.writeable
    assert not np.shares_memory(batch, values)


@pytest.mark.parametrize(
    "view", [lambda x: x[::-1], lambda x: x[:, 1:], lambda x: np.asfortranarray(x)]
)
def test_any_layout_of_one_series_is_read_right(view: object) -> None:
    values = view(_series(20, components=2)[0])  # type: ignore[operator]
    gathered = SeriesBuffer([values]).windows(4)(np.array([0]), np.array([7]))
    np.testing.assert_array_equal(gathered[0], window(values, 7, 4))
    assert gathered.flags.c_contiguous


def test_an_array_that_stands_for_many_series_is_kept_once() -> None:
    shared, other = _series(10, 4)
    buffer = SeriesBuffer([shared, other, shared])
    assert buffer.first.tolist() == [0, 10, 0]
    assert len(buffer.points) == 14
    assert np.shares_memory(SeriesBuffer([shared] * 3).points, shared)


def test_series_that_do_not_match_are_named() -> None:
    arrays = [*_series(5, 5, components=2), *_series(5)]
    with pytest.raises(ValueError, match=r"`covs` at index 2 has 1 components.* has 2\. Give"):
        SeriesBuffer(arrays, "covs")
    arrays[1] = arrays[1].astype(np.float32)
    with pytest.raises(
        ValueError, match=r"`covs` at index 1 has the dtype float32.*float64.*astype\(np.float64\)"
    ):
        SeriesBuffer(arrays, "covs")


def test_windows_are_not_written_out_by_pickle() -> None:
    with pytest.raises(TypeError, match="pickle what its buffer was made from"):
        pickle.dumps(SeriesBuffer(_series(5)).windows(2))


@given(
    layout=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 6)), min_size=1, max_size=5),
    step=st.sampled_from([-3, -1, 1, 2]),
    per_series=st.none() | st.integers(1, 7),
)
@example([(0, 1)], -1, 1).via("one window")
@example([(9, 2), (3, 6)], -1, 6).via("a short series comes round again")
@example([(9, 6), (3, 1)], -1, 3).via("the oldest windows are left out")
@example([(5, 1), (2, 4)], 2, None).via("every window once, series of unequal length")
@settings(deadline=None)
def test_samples_are_numbered_series_by_series(
    layout: list[tuple[int, int]], step: int, per_series: int | None
) -> None:
    starts, counts = (list(column) for column in zip(*layout, strict=True))
    drawn = drawn_windows(starts, counts, step, per_series)
    samples = Samples(np.array(starts), np.array(counts), step, per_series)
    series, start = samples(np.arange(len(drawn)))
    assert list(zip(series.tolist(), start.tolist(), strict=True)) == drawn
    for index in range(len(layout)):
        own = [first for number, first in drawn if number == index]
        assert drawn[samples.oldest[index]] == (index, min(own))
        assert drawn[samples.newest[index]] == (index, max(own))


@pytest.mark.parametrize("per_series", [2, None])
def test_a_sample_that_does_not_exist_is_an_error(per_series: int | None) -> None:
    samples = Samples(np.array([3, 3]), np.array([2, 2]), -1, per_series)
    with pytest.raises(IndexError):
        samples(np.array([0, 4]))
