"""Whole batches against Darts' own datasets: every sample, field, dtype and error."""

import copy
import dataclasses
import pickle
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries
from darts.utils.data import SequentialTorchInferenceDataset, SequentialTorchTrainingDataset
from darts.utils.data.torch_datasets.utils import (
    TorchInferenceBatch,
    TorchTrainingBatch,
    TorchTrainingSample,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import white_noise
from torch.utils.data import DataLoader, Subset

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.batching.batches import collate, draw_batch
from darts_lstm_seq.batching.datasets import (
    BatchInferenceDataset,
    BatchTrainingDataset,
)

INDEXES: dict[str, Callable[[int, int], pd.Index]] = {
    "hours": lambda first, length: _dates(first, length, "h"),
    "business days": lambda first, length: _dates(first, length, "B"),
    "month starts": lambda first, length: _dates(first, length, "MS"),
    "integers": lambda first, length: pd.RangeIndex(first, first + length),
    "every third integer": lambda first, length: pd.RangeIndex(3 * first, 3 * (first + length), 3),
}


def _dates(first: int, length: int, freq: str) -> pd.DatetimeIndex:
    return pd.date_range("2000-01-03", periods=100 + first + length, freq=freq)[100 + first :]


@dataclass(frozen=True)
class Case:
    """Series and settings of a dataset; `past`, `future`: steps before and after the target."""

    lengths: tuple[int, ...] = (20,)
    input_chunk_length: int | tuple[int, int] = 4
    output_chunk_length: int = 3
    output_chunk_shift: int = 0
    stride: int = 1
    max_samples_per_ts: int | None = None
    n_components: int = 1
    dtype: str = "float64"
    index: str = "hours"
    past: tuple[int, int] | None = None
    future: tuple[int, int] | None = None
    shared_covariates: bool = False
    static: str | None = None
    weights: str | None = None
    horizon: int = 3
    bounds: bool = False

    @property
    def size(self) -> int:
        """The number of steps that a series must have."""
        return np.min(self.input_chunk_length) + self.output_chunk_shift + self.output_chunk_length

    def make(self, first: int, length: int, n_components: int) -> TimeSeries:
        rng = np.random.default_rng([first + 50, length, n_components])
        static = {"global": 1, "by component": n_components, None: 0}[self.static]
        return TimeSeries(
            INDEXES[self.index](first, length),
            rng.normal(size=(length, n_components)).astype(self.dtype),
            static_covariates=pd.DataFrame(rng.normal(size=(static, 2))) if static else None,
            metadata={"length": length},
        )

    def covariates(self, around: tuple[int, int] | None) -> list[TimeSeries] | None:
        if around is None:
            return None
        before, after = around
        if self.shared_covariates:
            reach = max(i + length for i, length in enumerate(self.lengths))
            return [self.make(-before, before + reach + after, 2)] * len(self.lengths)
        return [
            self.make(i - before, before + length + after, 2)
            for i, length in enumerate(self.lengths)
        ]

    def common(self) -> dict[str, Any]:
        return {
            "series": [self.make(i, n, self.n_components) for i, n in enumerate(self.lengths)],
            "past_covariates": self.covariates(self.past),
            "future_covariates": self.covariates(self.future),
            "input_chunk_length": self.input_chunk_length,
            "output_chunk_length": self.output_chunk_length,
            "output_chunk_shift": self.output_chunk_shift,
            "use_static_covariates": self.static is not None,
        }

    def training(self) -> dict[str, Any]:
        weights: Any = self.weights
        if weights in ("series", "one column"):
            width = self.n_components if weights == "series" else 1
            weights = [self.make(i - 2, n + 5, width) for i, n in enumerate(self.lengths)]
        return self.common() | {
            "stride": self.stride,
            "max_samples_per_ts": self.max_samples_per_ts,
            "sample_weight": weights,
        }

    def inference(self) -> dict[str, Any]:
        first = int(np.min(self.input_chunk_length))
        return self.common() | {
            "n": self.horizon,
            "stride": self.stride if self.bounds else 0,
            "bounds": np.array([(first, n) for n in self.lengths]) if self.bounds else None,
        }


CORNERS = {
    "one series": Case(),
    "smallest legal series": Case((2,), 1, 1, horizon=1),
    "one window in each series": Case((7, 7)),
    "ragged": Case((20, 7, 9, 40)),
    "stride": Case((20, 9), stride=3),
    "stride that leaves one window": Case((9, 8), stride=50),
    "few samples of each series": Case((20, 8), max_samples_per_ts=4),
    "more samples than there are": Case((20, 8), max_samples_per_ts=999),
    "shifted output": Case((20, 13), output_chunk_shift=5),
    "components": Case((20, 9), n_components=3),
    "single precision": Case((20, 9), dtype="float32", past=(0, 3), static="global"),
    "half precision": Case((20, 9), dtype="float16", past=(0, 3), input_chunk_length=(1, 9)),
    "covariates of the same times": Case((20, 9), past=(0, 0), future=(0, 3)),
    "covariates longer on both sides": Case((20, 9), past=(7, 5), future=(3, 9)),
    "one covariate for many series": Case(
        (20, 9), past=(7, 5), future=(3, 9), shared_covariates=True
    ),
    "covariates, shifted": Case((20, 13), output_chunk_shift=2, past=(1, 0), future=(2, 5)),
    "integers": Case((20, 9), index="integers", past=(7, 5), future=(3, 9)),
    "stepped integers": Case((20, 9), index="every third integer", past=(7, 5), future=(3, 9)),
    "month starts": Case((20, 9), index="month starts", past=(7, 5), future=(3, 9)),
    "business days": Case((20, 9), index="business days", past=(7, 5), future=(3, 9)),
    "static covariates": Case((20, 9), n_components=2, static="global"),
    "static covariates by component": Case((20, 9), n_components=2, static="by component"),
    "short inputs": Case((20, 5, 4), (1, 6)),
    "short inputs, all of them": Case((5, 4), (1, 60)),
    "short inputs and covariates": Case((20, 8, 6), (2, 6), past=(3, 3), future=(9, 3)),
    "short inputs and weights": Case((20, 8, 6), (2, 6), weights="series", stride=2),
    "weights": Case((20, 9), n_components=2, weights="series"),
    "weights of one column": Case((20, 9), n_components=2, weights="one column"),
    "linear weights": Case((20, 9), n_components=2, weights="linear"),
    "exponential weights": Case((20, 9), weights="exponential", dtype="float32"),
    "autoregression": Case((20, 9), horizon=8, past=(0, 5), future=(0, 8)),
    "horizon shorter than the output": Case((20, 9), horizon=1, future=(0, 3)),
    "bounds": Case((20, 9), bounds=True, past=(2, 0), future=(0, 3)),
    "bounds and stride": Case((20, 9, 7), bounds=True, stride=4, index="integers"),
    "bounds, autoregression": Case((20, 9), bounds=True, horizon=8, past=(0, 5), future=(3, 8)),
    "bounds, shift": Case((20, 12), bounds=True, output_chunk_shift=4, future=(0, 7)),
    "bounds, short inputs": Case((20, 9), (2, 6), bounds=True, past=(0, 0)),
}
corners = pytest.mark.parametrize("case", CORNERS.values(), ids=CORNERS.keys())


@st.composite
def cases(draw_from: st.DrawFn) -> Case:
    shortest, output, shift = draw_from(
        st.tuples(st.integers(1, 4), st.integers(1, 4), st.just(0) | st.integers(0, 3))
    )
    longest = draw_from(st.integers(shortest, shortest + 4))
    size = shortest + shift + output
    horizon = draw_from(st.integers(1, output if shift else output + 4))
    after = shift + max(horizon, output)
    around = st.none() | st.tuples(st.integers(0, 5), st.integers(after, after + 4))
    return Case(
        lengths=tuple(draw_from(st.lists(st.integers(size, size + 9), min_size=1, max_size=4))),
        input_chunk_length=(shortest, longest),
        output_chunk_length=output,
        output_chunk_shift=shift,
        stride=draw_from(st.integers(1, 4)),
        max_samples_per_ts=draw_from(st.none() | st.integers(1, 12)),
        n_components=draw_from(st.integers(1, 2)),
        dtype=draw_from(st.sampled_from(["float32", "float64"])),
        index=draw_from(st.sampled_from(list(INDEXES))),
        past=draw_from(around),
        future=draw_from(around),
        shared_covariates=draw_from(st.booleans()),
        static=draw_from(st.sampled_from([None, "global", "by component"])),
        weights=draw_from(st.sampled_from([None, "series", "one column", "linear"])),
        horizon=horizon,
        bounds=draw_from(st.booleans()),
    )


def tensors(batch: Any) -> dict[str, torch.Tensor]:
    fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return {name: value for name, value in fields.items() if isinstance(value, torch.Tensor)}


def assert_same(ours: Any, theirs: Any) -> None:
    """Compare every sample of two datasets, ours in whole batches and one by one."""
    assert len(ours) == len(theirs)
    order = np.random.default_rng(0).permutation(len(theirs)).tolist()
    batch, expected = ours.__getitems__(order), collate([theirs[index] for index in order])
    assert type(batch) is type(expected)
    assert_same_batch(batch, expected)
    assert all(value.is_contiguous() for value in tensors(batch).values())
    assert_same_batch(collate([ours[index] for index in order]), expected)


def assert_same_batch(batch: Any, expected: Any) -> None:
    for field in dataclasses.fields(expected):
        ours, theirs = getattr(batch, field.name), getattr(expected, field.name)
        if field.name == "series_schema":
            for our, their in zip(ours, theirs, strict=True):
                assert our.keys() == their.keys()
                assert all(our[key] is their[key] for key in our.keys() - {"columns"})
                assert our["columns"].equals(their["columns"])
        elif isinstance(theirs, torch.Tensor):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)
        else:
            assert ours == theirs


@corners
def test_training_samples_are_darts_samples(case: Case) -> None:
    kwargs = case.training()
    assert_same(BatchTrainingDataset(**kwargs), SequentialTorchTrainingDataset(**kwargs))


@corners
def test_inference_samples_are_darts_samples(case: Case) -> None:
    kwargs = case.inference()
    assert_same(BatchInferenceDataset(**kwargs), SequentialTorchInferenceDataset(**kwargs))


@given(cases())
@settings(deadline=None, max_examples=100)
def test_any_samples_are_darts_samples(case: Case) -> None:
    kwargs = case.training()
    assert_same(BatchTrainingDataset(**kwargs), SequentialTorchTrainingDataset(**kwargs))
    kwargs = case.inference()
    assert_same(BatchInferenceDataset(**kwargs), SequentialTorchInferenceDataset(**kwargs))


def test_prediction_times_are_of_one_kind() -> None:
    for times, kind in (
        (pd.date_range("2000", periods=9, freq="D").as_unit("s"), pd.Timestamp),
        (pd.RangeIndex(0, 90, 10), int),  # where Darts mixes `int` and `np.int64`
    ):
        dataset = BatchInferenceDataset(
            TimeSeries(times, np.arange(9.0)), bounds=[[3, 9]], stride=3, input_chunk_length=3
        )
        inside, _, after = dataset.__getitems__([0, 1, 2]).pred_time
        assert (type(inside), type(after)) == (kind, kind)
        assert (inside, after) == (times[3], times[-1] + (times[1] - times[0]))
        assert getattr(inside, "unit", None) == getattr(after, "unit", None)


def test_each_sample_has_a_schema_of_its_own() -> None:
    # Darts' historical forecasts multiply `time_freq` by their stride, in place
    dataset = BatchInferenceDataset(**Case((20,), bounds=True).inference())
    for _ in range(2):
        first, second = dataset.__getitems__([0, 1]).series_schema
        first["time_freq"] *= 2
        assert second["time_freq"] == pd.offsets.Hour()


COVERED = Case((20, 9), past=(2, 5), future=(2, 5))
REFUSED: dict[str, tuple[Case, str, Callable[[TimeSeries], TimeSeries]]] = {
    "short series": (Case((20, 9, 20)), "series", lambda series: series[:3]),
    "short series, short inputs": (Case((20, 9), (2, 9)), "series", lambda series: series[:1]),
    "past covariates start late": (COVERED, "past_covariates", lambda series: series[3:]),
    "past covariates end early": (COVERED, "past_covariates", lambda series: series[:-9]),
    "future covariates start late": (COVERED, "future_covariates", lambda series: series[3:]),
    "future covariates end early": (COVERED, "future_covariates", lambda series: series[:-6]),
    "other frequency": (
        COVERED,
        "past_covariates",
        # whose days begin where the target does
        lambda series: TimeSeries(
            pd.date_range(series.time_index[2], periods=len(series), freq="D"), series.values()
        ),
    ),
    "between the steps": (
        COVERED,
        "future_covariates",
        lambda series: TimeSeries(series.time_index + pd.Timedelta("1min"), series.values()),
    ),
    "between the integers": (
        dataclasses.replace(COVERED, index="every third integer"),
        "past_covariates",
        lambda series: TimeSeries(series.time_index + 1, series.values()),
    ),
}


def errors_of(dataset: Any) -> set[str]:
    """Return what Darts says to each sample, if it were the first to be drawn."""
    errors = set()
    for index in range(len(dataset)):
        dataset._index_memory.clear()
        try:
            dataset[index]
        except ValueError as error:
            errors.add(str(error))
    return errors


@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize(("case", "name", "change"), REFUSED.values(), ids=REFUSED.keys())
def test_what_darts_refuses_is_refused_at_once(
    case: Case, name: str, change: Callable[[TimeSeries], TimeSeries], training: bool
) -> None:
    if training:
        kwargs, ours, theirs = case.training(), BatchTrainingDataset, SequentialTorchTrainingDataset
    else:
        # where covariates come in, from all places of the series
        case = dataclasses.replace(case, bounds=name != "series")
        kwargs = case.inference()
        ours, theirs = BatchInferenceDataset, SequentialTorchInferenceDataset
    kwargs[name][1] = change(kwargs[name][1])
    with pytest.raises(ValueError, match=f"^`{name}` at index 1: ") as refused:
        ours(**kwargs)
    message = str(refused.value).removeprefix(f"`{name}` at index 1: ")
    assert message in errors_of(theirs(**kwargs))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda kwargs: (
                kwargs | {"sample_weight": Case((20, 9), n_components=3).common()["series"]}
            ),
            "`sample_weight` at index 0: The number of components",
        ),
        (
            lambda kwargs: kwargs | {"sample_weight": [series[:-1] for series in kwargs["series"]]},
            "`sample_weight` at index 0: Invalid `sample_weight`",
        ),
        (
            lambda kwargs: (
                kwargs | {"series": [kwargs["series"][0], kwargs["series"][1].astype("float32")]}
            ),
            "`series` at index 1 has the dtype float32",
        ),
        (
            lambda kwargs: kwargs | {"series": [kwargs["series"][0], kwargs["series"][1]["0"]]},
            "`series` at index 1 has 1 components",
        ),
        (
            lambda kwargs: (
                kwargs
                | {
                    "series": [
                        kwargs["series"][0],
                        kwargs["series"][1].with_static_covariates(None),
                    ]
                }
            ),
            "`series` at index 1 has static covariates of shape None",
        ),
        (
            lambda kwargs: (
                kwargs
                | {
                    "series": [
                        series.with_static_covariates(pd.DataFrame({"a": ["x"]}))
                        for series in kwargs["series"]
                    ]
                }
            ),
            "`series` at index 0 has static covariates that are not numeric. Encode",
        ),
    ],
    ids=["weights", "short weights", "dtypes", "components", "no static", "text"],
)
def test_what_darts_finds_in_a_batch_is_refused_at_once(change: Callable, message: str) -> None:
    kwargs = change(Case((20, 9), n_components=2, static="global").training())
    with pytest.raises(ValueError, match=message):
        BatchTrainingDataset(**kwargs)


@pytest.mark.parametrize("bounds", [[-1, 9], [4, 10], [7, 4]])
def test_bounds_outside_a_series_are_refused(bounds: list[int]) -> None:
    kwargs = Case((20, 9), bounds=True).inference() | {"bounds": [[4, 20], bounds]}
    with pytest.raises(
        ValueError, match=r"`bounds` at index 1 are \[.*between 0 and 9, the length"
    ):
        BatchInferenceDataset(**kwargs)


def test_windows_that_are_not_drawn_need_no_covariates() -> None:
    case = Case((20, 9), max_samples_per_ts=2, past=(0, 0))
    kwargs = case.training()
    kwargs["past_covariates"] = [series[-9:-3] for series in kwargs["past_covariates"]]
    kwargs["past_covariates"][0] = kwargs["past_covariates"][0][1:]
    assert_same(BatchTrainingDataset(**kwargs), SequentialTorchTrainingDataset(**kwargs))


@pytest.mark.parametrize(
    "copy_of", [copy.deepcopy, lambda dataset: pickle.loads(pickle.dumps(dataset))]
)
def test_copies_draw_the_same_and_carry_the_series_once(copy_of: Callable) -> None:
    case = Case((20, 9), past=(2, 5), static="global", weights="linear", bounds=True)
    for ours, theirs in (
        (
            BatchTrainingDataset(**case.training()),
            SequentialTorchTrainingDataset(**case.training()),
        ),
        (
            BatchInferenceDataset(**case.inference()),
            SequentialTorchInferenceDataset(**case.inference()),
        ),
    ):
        drawn = tensors(ours.__getitems__([3, 0, 5]))
        for name, tensor in tensors(copy_of(ours).__getitems__([3, 0, 5])).items():
            assert torch.equal(tensor, drawn[name])
        assert len(pickle.dumps(ours)) < len(pickle.dumps(theirs)) + 100


@pytest.mark.parametrize("num_workers", [0, 1])
def test_loaders_draw_whole_batches(num_workers: int) -> None:
    kwargs = Case((20, 9), past=(2, 5)).training()
    options: dict[str, Any] = {"batch_size": 5, "collate_fn": collate, "num_workers": num_workers}
    ours = DataLoader(BatchTrainingDataset(**kwargs), **options)
    theirs = DataLoader(SequentialTorchTrainingDataset(**kwargs), **options)
    assert len(ours) == len(theirs) == 6
    for batch, expected in zip(ours, theirs, strict=True):
        assert_same_batch(batch, expected)
    part = DataLoader(Subset(ours.dataset, [3, 1]), **options)
    assert_same_batch(next(iter(part)), ours.dataset.__getitems__([3, 1]))


def test_one_batch_is_drawn_from_any_dataset() -> None:
    kwargs = Case((20,)).training()
    ours, theirs = BatchTrainingDataset(**kwargs), SequentialTorchTrainingDataset(**kwargs)
    assert_same_batch(draw_batch(ours, [2, 0]), draw_batch(theirs, [2, 0]))


class Lazy(Sequence):
    """Loads a series when it is asked for."""

    def __init__(self, series: list[TimeSeries]) -> None:
        self.series = series

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, index: int) -> TimeSeries:  # type: ignore[override]
        return self.series[index].copy()


def test_series_that_are_loaded_when_asked_for_are_not_kept() -> None:
    kwargs = Case((20, 9)).training()
    theirs = SequentialTorchTrainingDataset(**kwargs)
    ours = BatchTrainingDataset(**kwargs | {"series": Lazy(kwargs["series"])})
    samples = ours.__getitems__([0, 20])
    assert isinstance(samples[0], TorchTrainingSample)
    assert_same_batch(collate(samples), collate([theirs[0], theirs[20]]))


def test_samples_of_stochastic_series_are_drawn_by_darts() -> None:
    values = np.random.default_rng(0).normal(size=(20, 1, 50))
    series = TimeSeries(pd.RangeIndex(20), values)
    ours = BatchTrainingDataset(series, input_chunk_length=4)
    firsts = {float(collate(ours.__getitems__([0])).past_target[0, 0, 0]) for _ in range(20)}
    assert firsts < set(values[15, 0])
    assert len(firsts) > 1
    forecast = BatchInferenceDataset(series, input_chunk_length=4)
    assert isinstance(collate(forecast.__getitems__([0])), TorchInferenceBatch)


def test_a_batch_passes_through_collate() -> None:
    batch = TorchTrainingBatch(past_target=torch.zeros(1))
    assert collate(batch) is batch


def with_value(series: TimeSeries, value: float) -> TimeSeries:
    values = series.all_values()
    values[2] = value
    return series.with_values(values)


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        (None, 0.0),
        ("series", np.nan),
        ("series", np.inf),
        ("past_covariates", np.nan),
        ("past_covariates", -np.inf),
        ("future_covariates", np.nan),
        ("sample_weight", np.nan),
    ],
)
def test_bad_values_are_found_without_a_look_at_batches(
    name: str | None, value: float, stochastic: bool
) -> None:
    kwargs = Case((20, 9), past=(2, 5), future=(2, 5), weights="series").training()
    if name is not None:
        kwargs[name] = [kwargs[name][0], with_value(kwargs[name][1], value)]
    if stochastic:
        kwargs["series"] = [
            series.with_values(series.all_values().repeat(3, axis=2)) for series in kwargs["series"]
        ]
    dataset = BatchTrainingDataset(**kwargs)
    assert dataset.is_finite is (name is None and not stochastic)


def test_static_covariates_count_as_values() -> None:
    kwargs = Case((20,), static="global").training()
    static = kwargs["series"][0].static_covariates * np.nan
    kwargs["series"] = kwargs["series"][0].with_static_covariates(static)
    dataset = BatchTrainingDataset(**kwargs)
    assert not dataset.is_finite


def traced() -> Iterator[int]:
    """Yield the peak of memory since the last time, in bytes."""
    tracemalloc.start()
    before = 0
    try:
        while True:
            yield tracemalloc.get_traced_memory()[1] - before
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_one_long_series_is_not_copied_and_several_are_copied_once() -> None:
    length, window = 200_000, 336
    long = TimeSeries(pd.RangeIndex(length), np.zeros((length, 1)))
    parts = [long[: length // 2], long[length // 2 :]]
    size = length * 8
    peaks = traced()
    next(peaks)
    kept = BatchTrainingDataset(long, past_covariates=long, input_chunk_length=window)
    assert next(peaks) < 0.05 * size
    several = BatchTrainingDataset(parts, input_chunk_length=window)
    assert next(peaks) < 1.05 * size
    for dataset in (kept, several):
        dataset.__getitems__(list(range(32)))
        assert next(peaks) < 4 * 32 * window * 8
    peaks.close()  # type: ignore[attr-defined]


def test_a_fit_is_the_same_through_either_dataset(tiny: dict[str, Any]) -> None:
    kwargs = Case((20, 9), past=(2, 5), future=(2, 5), static="global").training()
    ours, theirs = (
        LSTMSeqModel(4, 3, **tiny).fit_from_dataset(dataset(**kwargs))
        for dataset in (BatchTrainingDataset, SequentialTorchTrainingDataset)
    )
    weights = theirs.model.state_dict()
    for name, weight in ours.model.state_dict().items():
        torch.testing.assert_close(weight, weights[name], rtol=0, atol=0)


def test_a_dataset_of_other_samples_meets_darts_error(tiny: dict[str, Any]) -> None:
    class Tuples(SequentialTorchTrainingDataset):
        def __getitem__(self, index: int) -> Any:
            return (super().__getitem__(index),)

    with pytest.raises(ValueError, match="must return a `TorchTrainingSample`"):
        LSTMSeqModel(4, 3, **tiny).fit_from_dataset(Tuples(**Case((20,)).training()))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("max_samples", [None, 2])
def test_samples_of_the_last_horizon(stride: int, max_samples: int | None) -> None:
    lengths, before, after = [30, 11, 10], 5, 4
    dataset = BatchTrainingDataset(
        [white_noise(length, seed=length) for length in lengths],
        input_chunk_length=before,
        output_chunk_length=after,
        stride=stride,
        max_samples_per_ts=max_samples,
    )
    chosen = dataset.of_last_horizon()
    assert len(set(chosen)) == len(chosen)
    for sample in range(len(dataset)):
        label = dataset[sample].future_target[0]
        places = [
            (length, int(np.flatnonzero((series.values() == label).all(axis=1))[0]))
            for length, series in zip(lengths, dataset.series, strict=True)
            if (series.values() == label).all(axis=1).any()
        ]
        (length, start), *_ = places
        is_last = start + after > length - after
        repeated = any(np.array_equal(dataset[s].future_target[0], label) for s in chosen)
        assert (sample in chosen or repeated) == is_last


def test_only_the_ends_of_long_series_are_copied_for_a_forecast() -> None:
    series = [TimeSeries.from_values(np.arange(5000.0) + row) for row in range(3)]
    series.append(series[0])
    dataset = BatchInferenceDataset(series, n=2, input_chunk_length=24, output_chunk_length=12)
    assert sum(buffer.points.nbytes for buffer in dataset._buffers.values()) <= 4 * 24 * 8
    batch = dataset.__getitems__([3, 1])
    np.testing.assert_array_equal(batch.past_target[:, -1, 0], [4999.0, 5000.0])
