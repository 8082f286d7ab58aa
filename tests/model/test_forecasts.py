"""Forecasts built together are those that Darts builds one by one, in everything they have."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression
from makers import sine, with_value

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.model.prediction import DirectPredictor

Tiny = dict[str, Any]
L, T = 6, 3


def many(freq: str | int = "MS", width: int = 2, **kwargs: Any) -> list[TimeSeries]:
    """Return series of several lengths, of which the first and the last end at the same time."""
    found = [sine(length, freq, width, seed=length, **kwargs) for length in (30, 12, 45, 30)]
    return [series.with_metadata({"row": row}) for row, series in enumerate(found)]


def described(series: TimeSeries, row: int) -> TimeSeries:
    static = pd.DataFrame({"size": [1.0 + row, 2.0], "kind": [0.0, row]})
    return series.with_static_covariates(static)


def named_index(series: TimeSeries) -> TimeSeries:
    times = series.time_index.rename("week")
    return TimeSeries(times=times, values=series.all_values(), components=series.components)


def ending_together() -> list[TimeSeries]:
    """Return series of which each differs from the first in one thing that decides times."""
    end, values = pd.Timestamp("2020-12-31"), many()[0].values()
    times = [
        pd.date_range(end=end, periods=30, freq="D", unit="us"),
        pd.date_range(end=end, periods=30, freq="D", unit="s"),
        pd.date_range(end=end, periods=30, freq="D", unit="us", name="day"),
        pd.date_range(end=end, periods=30, freq="2D", unit="us"),
        pd.date_range(end=end, periods=30, freq="ME", unit="us"),
        pd.date_range(end=end, periods=30, freq=pd.offsets.CustomBusinessDay()),
        pd.date_range(
            end=end, periods=30, freq=pd.offsets.CustomBusinessDay(holidays=["2021-01-04"])
        ),
        pd.RangeIndex(30),
        pd.RangeIndex(30, name="step"),
        pd.RangeIndex(1, 31),
        pd.RangeIndex(0, 60, 2),
        pd.RangeIndex(29, -1, -1),
    ]
    return [TimeSeries(index, values, components=["y0", "y1"]) for index in times]


PLAIN = many()
MEMBERS = [s.with_columns_renamed(["y0", "y1"], ["total", "part"]) for s in PLAIN]
RENAMED = [sine(30, width=2, name=name) for name in ("north", "south")]
CASES: dict[str, tuple[list[TimeSeries], Tiny, Tiny]] = {
    "plain": (PLAIN, {}, {}),
    "double": (many(dtype="float64"), {}, {}),
    "days": (many("D"), {}, {}),
    "business days": (many("B"), {}, {"n": 4}),
    "months, their ends": (many("ME"), {}, {"n": 7}),
    "every third step": (many(3), {}, {"n": 4}),
    "single step": (PLAIN, {}, {"n": 1}),
    "beyond the chunk": (PLAIN, {}, {"n": 8}),
    "rolled": (PLAIN, {}, {"n": 7, "roll_size": 2}),
    "shifted": (PLAIN, {"output_chunk_shift": 2}, {}),
    "ending together": (ending_together(), {}, {"n": 5}),
    "time name": ([named_index(s) for s in PLAIN], {}, {}),
    "static covariates": ([described(s, row) for row, s in enumerate(PLAIN)], {}, {"n": 5}),
    "shared weights": (
        [described(s, row) for row, s in enumerate(PLAIN)],
        {"shared_weights": True},
        {"n": 5},
    ),
    "hierarchy": ([s.with_hierarchy({"part": ["total"]}) for s in MEMBERS], {}, {}),
    "missing values": ([with_value(s, [0, -2, -3], component=0) for s in PLAIN], {}, {}),
    "constant": ([with_value(s, slice(-L, None), 3.0) for s in PLAIN], {}, {}),
    "short": ([*PLAIN, PLAIN[0][:4]], {"input_chunk_length": (3, L)}, {"n": 5}),
    "samples": (
        PLAIN,
        {"likelihood": GaussianLikelihood()},
        {"num_samples": 7, "random_state": 3, "n": 5},
    ),
    "quantiles": (
        PLAIN,
        {"likelihood": QuantileRegression([0.1, 0.5, 0.9])},
        {"predict_likelihood_parameters": True},
    ),
    "parameters": (
        [described(s, row) for row, s in enumerate(MEMBERS)],
        {"likelihood": GaussianLikelihood()},
        {"predict_likelihood_parameters": True},
    ),
    "names": (RENAMED, {}, {}),
    "names of parameters": (
        RENAMED,
        {"likelihood": GaussianLikelihood()},
        {"predict_likelihood_parameters": True},
    ),
    "members": (PLAIN, {"n_members": 2}, {"n": 5}),
    "members as samples": (PLAIN, {"n_members": 2}, {"num_samples": 4, "n": 5}),
    "dropout": (
        PLAIN,
        {"dropout": 0.4},
        {"num_samples": 5, "mc_dropout": True, "random_state": 3},
    ),
    "tutorial": (PLAIN, {"use_reversible_instance_norm": False}, {"n": 5}),
}


def fitted(series: list[TimeSeries], params: Tiny, tiny: Tiny, **covariates: Any) -> LSTMSeqModel:
    chunks = {"input_chunk_length": L, "output_chunk_length": T}
    return LSTMSeqModel(**chunks | dict(tiny) | params).fit(series, **covariates)


def by_darts(monkeypatch: pytest.MonkeyPatch, ask: Any) -> Any:
    """Ask again, where Darts builds each forecast and a `DataLoader` the batches."""
    with monkeypatch.context() as patch:
        patch.setattr(DirectPredictor, "gathers", lambda *_: False)
        return ask()


def assert_same(ours: TimeSeries, theirs: TimeSeries, exact: bool) -> None:
    assert type(ours) is TimeSeries
    assert vars(ours).keys() == vars(theirs).keys()
    assert ours.time_index.equals(theirs.time_index)
    assert ours.time_index.dtype == theirs.time_index.dtype
    assert type(ours.time_index) is type(theirs.time_index)
    assert ours.time_index.name == theirs.time_index.name
    assert ours.time_dim == theirs.time_dim
    assert (ours.freq, ours.freq_str) == (theirs.freq, theirs.freq_str)
    assert ours.has_datetime_index == theirs.has_datetime_index
    assert ours.components.equals(theirs.components)
    assert ours.components.dtype == theirs.components.dtype
    assert ours.hierarchy == theirs.hierarchy
    assert ours.metadata == theirs.metadata
    assert (ours.static_covariates is None) == (theirs.static_covariates is None)
    if theirs.static_covariates is not None:
        pd.testing.assert_frame_equal(ours.static_covariates, theirs.static_covariates)
    if theirs.has_hierarchy:
        assert ours.top_level_component == theirs.top_level_component
        assert ours.bottom_level_components == theirs.bottom_level_components
    assert ours.dtype == theirs.dtype
    if exact:
        np.testing.assert_array_equal(ours.all_values(), theirs.all_values())
    else:  # more windows in a batch may round matrix products in another way
        np.testing.assert_allclose(ours.all_values(), theirs.all_values(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch_size", [None, 3])
@pytest.mark.parametrize("case", CASES)
def test_a_forecast_is_darts(
    case: str, batch_size: int | None, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    series, params, ask = CASES[case]
    model = fitted(series[:4], params | {"batch_size": 2}, tiny)  # a fifth is too short for labels
    ask = {"n": T, "series": series, "batch_size": batch_size} | ask
    ours = model.predict(**ask)
    theirs = by_darts(monkeypatch, lambda: model.predict(**ask))
    assert isinstance(ours, list)
    for our, their in zip(ours, theirs, strict=True):
        assert_same(our, their, exact=batch_size is not None)


def test_with_covariates(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    covariates = {
        "past_covariates": [sine(70, seed=4, name="p")] * 4,
        "future_covariates": [sine(70, seed=seed, name="f") for seed in range(4)],
    }
    model = fitted(PLAIN, {}, tiny, **covariates)
    ask = {"n": 8, "series": PLAIN, **covariates}
    theirs = by_darts(monkeypatch, lambda: model.predict(**ask))
    for our, their in zip(model.predict(**ask), theirs, strict=True):
        assert_same(our, their, exact=False)


@pytest.mark.parametrize("last_points_only", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("overlap_end", [False, True])
@pytest.mark.parametrize(
    "case", ["plain", "days", "every third step", "static covariates", "quantiles", "time name"]
)
def test_an_unretrained_backtest_is_darts(
    case: str,
    overlap_end: bool,
    stride: int,
    last_points_only: bool,
    tiny: Tiny,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    series, params, predict = CASES[case]
    model = fitted(series, params, tiny)
    parameters = {k: v for k, v in predict.items() if k.startswith("predict")}
    ask = {
        "series": series,
        "forecast_horizon": 2,
        "stride": stride,
        "overlap_end": overlap_end,
        "last_points_only": last_points_only,
        "retrain": False,
        **parameters,
    }
    ours = model.historical_forecasts(**ask)
    theirs = by_darts(monkeypatch, lambda: model.historical_forecasts(**ask))
    for our, their in zip(ours, theirs, strict=True):
        pairs = [(our, their)] if last_points_only else list(zip(our, their, strict=True))
        assert pairs
        for one, other in pairs:
            assert_same(one, other, exact=False)


def test_a_forecast_goes_on_like_a_series_of_darts(tiny: Tiny) -> None:
    model = fitted(PLAIN, {}, tiny)
    first, *_, last = model.predict(T, PLAIN)
    assert first.time_index.equals(last.time_index)  # built once for both
    assert len(PLAIN[0].append(first)) == len(PLAIN[0]) + T
    doubled = first * 2
    np.testing.assert_array_equal(doubled.values(), first.values() * 2)
    assert doubled.metadata == {"row": 0}
    assert last.with_metadata({"row": 7}).metadata == {"row": 7}
    assert last.metadata == {"row": 3}
    assert first[1:].time_index.equals(last.time_index[1:])


# --- batches -------------------------------------------------------------------------------------


def sizes_of_batches(model: LSTMSeqModel, monkeypatch: pytest.MonkeyPatch, **ask: Any) -> list[int]:
    seen: list[int] = []
    network = type(model.model.network)
    original = network.forward

    def forward(self: Any, past: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        seen.append(len(past))
        return original(self, past, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(network, "forward", forward)
        model.predict(T, PLAIN, **ask)
    return seen


def test_small_batches_are_forecast_together_unless_someone_could_tell(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fitted(PLAIN, {"batch_size": 3}, tiny)
    assert sizes_of_batches(model, monkeypatch) == [4]
    assert sizes_of_batches(model, monkeypatch, batch_size=2) == [2, 2]
    assert sizes_of_batches(model, monkeypatch, dataloader_kwargs={"num_workers": 0}) == [3, 1]
    sampled = fitted(PLAIN, {"batch_size": 3, "likelihood": GaussianLikelihood()}, tiny)
    assert sizes_of_batches(sampled, monkeypatch) == [3, 1]
    assert sizes_of_batches(model, monkeypatch, n_jobs=2) == [4]


def test_windows_that_fill_the_memory_are_not_forecast_together(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darts_lstm_seq.model.prediction._MERGED_VALUES", 2 * L * 2)
    model = fitted(PLAIN, {"batch_size": 1}, tiny)
    assert sizes_of_batches(model, monkeypatch) == [2, 2]
    model.batch_size = 3
    assert sizes_of_batches(model, monkeypatch) == [3, 1]
