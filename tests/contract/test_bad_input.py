"""Whatever goes in: a finite forecast in the right place, or an error that says what to do.

Missing and infinite values have `test_missing.py`, broken and hostile files `test_files.py`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries, concatenate
from darts.metrics import mae
from darts.utils.likelihood_models.torch import (
    GaussianLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    QuantileRegression,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from makers import assert_near, following, sine, with_gaps

from darts_lstm_seq import LSTMSeqModel


def monthly(values: np.ndarray) -> TimeSeries:
    times = pd.date_range("2020-01-01", periods=len(values), freq="MS")
    return TimeSeries.from_times_and_values(times, values)


# --- the rows of the design's table --------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 5, 9])
def test_too_short_to_train_on(length: int, tiny: dict[str, Any]) -> None:
    short = sine(20)[:length]
    with pytest.raises(ValueError, match=rf"too short .*has {length} steps, and 10 are needed"):
        LSTMSeqModel(6, 4, **tiny).fit(short)
    with pytest.raises(ValueError, match=rf"index 1 is too short .*has {length} steps, and 10 are"):
        LSTMSeqModel(6, 4, **tiny).fit([sine(20), short])


def test_too_short_to_predict_from(tiny: dict[str, Any]) -> None:
    model = LSTMSeqModel(6, 4, **tiny).fit(sine(20))
    with pytest.raises(ValueError, match=r"(?s)series.*index.* 1\b.*length"):
        model.predict(4, [sine(20), sine(5)])


def test_shortest_possible(tiny: dict[str, Any]) -> None:
    model = LSTMSeqModel(6, 4, **tiny).fit(sine(10))
    assert_near(model.predict(4, sine(6)), sine(10))


@pytest.mark.parametrize("level", [0.0, 1.0, -3.5, 1e-12, 1e12])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_constant_is_forecast_as_the_constant(
    level: float, dtype: str, tiny: dict[str, Any]
) -> None:
    constant = sine(40, level=level, scale=0, dtype=dtype)
    # to rounding; a level of zero is exact
    tolerance: Any = {"rtol": 1e-6 if dtype == "float32" else 1e-14, "atol": 1e-30}
    for training in (constant, sine(60, dtype=dtype)):
        model = LSTMSeqModel(6, 4, **tiny).fit(training)
        np.testing.assert_allclose(model.predict(7, constant).values(), level, **tolerance)
    # a constant component among others, and a constant window in a series that moves
    moving = sine(40, dtype=dtype, name="z")
    forecast = LSTMSeqModel(6, 4, **tiny).fit(concatenate([moving, constant], axis=1)).predict(7)
    assert_near(forecast["z0"], moving)
    np.testing.assert_allclose(forecast["y0"].values(), level, **tolerance)
    still = concatenate([sine(40, dtype=dtype), constant.shift(40)], ignore_time_axis=True)
    assert_near(LSTMSeqModel(6, 4, **tiny).fit(still).predict(7), still)


@pytest.mark.parametrize(
    "likelihood",
    [
        GaussianLikelihood(),
        QuantileRegression([0.1, 0.5, 0.9]),
        PoissonLikelihood(),
        NegativeBinomialLikelihood(),
    ],
    ids=["gaussian", "quantile", "poisson", "negative binomial"],
)
def test_constants_and_zeros_with_a_likelihood(likelihood: Any, tiny: dict[str, Any]) -> None:
    for level in (0.0, 7.0):
        constant = sine(40, level=level, scale=0)
        model = LSTMSeqModel(6, 4, likelihood=likelihood, **tiny).fit(constant)
        samples = model.predict(7, num_samples=50).all_values()
        assert np.isfinite(samples).all()
        # one epoch brings counts near the level, and the rest upon it
        assert np.abs(np.median(samples, axis=2) - level).max() <= max(level, 1)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float16", "bool"])
def test_other_dtypes_work(dtype: str, tiny: dict[str, Any]) -> None:
    values = (50 + 20 * sine(60, noise=0).values()).astype(dtype)
    series = TimeSeries.from_values(values)
    forecast = LSTMSeqModel(12, 4, **tiny | {"n_epochs": 10}).fit(series).predict(6)
    assert np.isfinite(forecast.values()).all()
    assert np.abs(forecast.values() - values.mean()).max() < 60
    if np.issubdtype(series.dtype, np.floating):
        assert forecast.dtype == series.dtype


@pytest.mark.parametrize("magnitude", [1e-12, 1e-6, 1.0, 1e6, 1e12])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_magnitude(magnitude: float, dtype: str, tiny: dict[str, Any]) -> None:
    base = sine(96, dtype=dtype, level=2)
    forecasts = [
        LSTMSeqModel(12, 4, **tiny | {"n_epochs": 10}).fit(series).predict(6).values() / scale
        for series, scale in [(base, 1.0), (base * magnitude, magnitude)]
    ]
    # accurate to single precision relative to the spread, which is about 1
    np.testing.assert_allclose(forecasts[1], forecasts[0], atol=2e-3)


def test_a_small_movement_on_a_high_level(tiny: dict[str, Any]) -> None:
    """Where single precision would see a constant, the data's own double precision counts."""
    base = sine(96, dtype="float64")
    kwargs = tiny | {"n_epochs": 10}
    moving = LSTMSeqModel(12, 4, use_reversible_instance_norm=True, **kwargs).fit(base + 1e9)
    reference = LSTMSeqModel(12, 4, use_reversible_instance_norm=True, **kwargs).fit(base)
    np.testing.assert_allclose(
        moving.predict(6).values() - 1e9, reference.predict(6).values(), atol=1e-3
    )


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"n_rnn_layers": 0}, "n_rnn_layers"),
        ({"hidden_dim": 0}, "hidden_dim"),
        ({"hidden_dim": 8.5}, "hidden_dim"),
        ({"dropout": 1.5}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"patch_length": 13}, "patch_length"),
        ({"patch_length": 0}, "patch_length"),
        ({"input_chunk_length": 0}, "input_chunk_length"),
        ({"input_chunk_length": (13, 12)}, "input_chunk_length"),
        ({"input_chunk_length": "12"}, "input_chunk_length"),
        ({"output_chunk_length": 0}, "output_chunk_length"),
        ({"output_chunk_shift": -1}, "output_chunk_shift"),
        ({"batch_size": 0}, "batch_size"),
        ({"n_epochs": -1}, "n_epochs"),
        ({"use_reversible_instance_norm": "yes"}, "use_reversible_instance_norm"),
        ({"hidden_size": 8}, "hidden_size"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_wrong_parameters_are_refused_at_construction(
    wrong: dict[str, Any], named: str, tiny: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=named):
        LSTMSeqModel(**{"input_chunk_length": 12, "output_chunk_length": 4, **tiny, **wrong})


@pytest.mark.parametrize("power", [0, 3, 6, 9])
def test_the_unit_of_a_covariate_hardly_matters(power: int, tiny: dict[str, Any]) -> None:
    series = monthly(np.sin(np.arange(60.0)))
    clock = monthly((1.6e9 + np.arange(80.0)) * 10.0**power)  # seconds, milliseconds, ...
    model = LSTMSeqModel(12, 4, **tiny).fit(series, future_covariates=clock)
    forecast = model.predict(12, future_covariates=clock).values()
    assert np.abs(forecast).max() < 5


@pytest.mark.parametrize(
    ("size", "dtype", "extent"),
    [(1e35, "float32", "large"), (1e305, "float64", "large"), (1e-36, "float32", "small")],
)
def test_values_that_leave_no_room_in_their_dtype(
    size: float, dtype: str, extent: str, tiny: dict[str, Any]
) -> None:
    values = (size * (2 + np.sin(np.arange(60.0)))).astype(dtype)
    with pytest.raises(ValueError, match=rf"too {extent} to be forecast as .* Divide"):
        LSTMSeqModel(12, 4, **tiny).fit(monthly(values))


@pytest.mark.parametrize(
    ("size", "dtype"),
    [*((size, "float32") for size in (1e-30, 1e20, 1e30)), (1e-250, "float64"), (1e280, "float64")],
)
def test_values_whose_squares_have_no_room(size: float, dtype: str, tiny: dict[str, Any]) -> None:
    settings = {**tiny, "use_reversible_instance_norm": True}  # exactly in proportion
    values = (2 + np.sin(np.arange(60.0))).astype(dtype)
    plain = LSTMSeqModel(12, 4, **settings).fit(monthly(values))
    expected = plain.predict(9).values()
    scaled = monthly((size * values.astype("float64")).astype(dtype))
    for model in (plain, LSTMSeqModel(12, 4, **settings).fit(scaled)):
        forecast = model.predict(9, series=scaled).values().astype("float64") / size
        np.testing.assert_allclose(forecast, expected, rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 1e-15, 1e-3, 1e15])
def test_constants_are_not_too_small(value: float, tiny: dict[str, Any]) -> None:
    series = monthly(np.full(60, value, np.float32))
    forecast = LSTMSeqModel(12, 4, **tiny).fit(series).predict(4)
    np.testing.assert_allclose(forecast.values(), value, rtol=1e-6)


def test_values_that_can_be_squared_but_not_summed(tiny: dict[str, Any]) -> None:
    """No window overflows, all windows together would: the forecast only changes its unit."""
    values = np.random.default_rng(0).normal(2, 0.1, 60)
    values[[15, 30, 45]] += 8
    small, large = (
        LSTMSeqModel(12, 4, **tiny).fit(monthly((size * values).astype(np.float32))).predict(4)
        for size in (1.0, 1e18)
    )
    np.testing.assert_allclose(large.values() / 1e18, small.values(), rtol=1e-4)


def test_data_without_a_label(tiny: dict[str, Any]) -> None:
    values = np.sin(np.arange(26.0))
    values[12:] = np.nan
    known, unknown = monthly(np.sin(np.arange(26.0))), monthly(values)
    model = LSTMSeqModel(12, 4, **tiny)
    for fit in (
        lambda: model.fit(unknown),
        lambda: model.fit(known, val_series=unknown),
    ):
        with pytest.raises(ValueError, match=r"no value to learn to forecast: from 2\d{3}-01-01"):
            fit()


def test_every_series_is_forecast_whatever_the_loader_drops(tiny: dict[str, Any]) -> None:
    series = [monthly(np.sin(np.arange(40.0)) + k) for k in range(5)]
    model = LSTMSeqModel(12, 4, **tiny).fit(series)
    loader = {"dataloader_kwargs": {"drop_last": True}, "batch_size": 2}
    assert len(model.predict(4, series, **loader)) == 5


def test_an_interrupted_or_failed_fit_leaves_the_model_as_it_was(tiny: dict[str, Any]) -> None:
    series = sine(60)
    model = LSTMSeqModel(12, 4, **tiny).fit(series)
    before = model.predict(4).values()
    infinite = series.with_values(np.full((60, 1), np.inf, dtype="float32"))
    with pytest.raises(ValueError, match="infinite"):
        model.fit(infinite)
    with pytest.raises(ValueError, match=r"(?i)width|component|dimension"):
        model.fit(sine(60, width=2))
    np.testing.assert_array_equal(model.predict(4).values(), before)


# --- inputs that do not fit each other -----------------------------------------------------------


def in_the_past(tiny: dict[str, Any]) -> LSTMSeqModel:
    return LSTMSeqModel(6, 4, **tiny).fit(sine(40), past_covariates=sine(40, name="p"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda kw: LSTMSeqModel(6, 4, **kw).predict(4), "fit"),
        (lambda kw: LSTMSeqModel(6, 4, **kw).fit(sine(40)).predict(-3), "`n` .* -3"),
        (lambda kw: LSTMSeqModel(6, 4, **kw).fit(sine(40)).predict(True), "`n` .* True"),
        (lambda kw: LSTMSeqModel(6, 4, **kw).fit(sine(40)).predict(4, []), r"`series` .*\[\]"),
        (lambda kw: LSTMSeqModel(6, 4, **kw).fit([]), r"`series` .*\[\]"),
        (lambda kw: LSTMSeqModel(6, 4, **kw).fit(None), "`series` .*None"),
        (
            lambda kw: LSTMSeqModel(6, 4, add_encoders={"cyclical": {}}, **kw).fit(sine(40)),
            "cyclical",
        ),
        (lambda kw: LSTMSeqModel(6, 4, **kw).fit(sine(40).values()), "TimeSeries"),
        (
            lambda kw: LSTMSeqModel(6, 4, **kw).fit([sine(40), sine(40, width=2)]),
            "component|dimension|width",
        ),
        (
            lambda kw: LSTMSeqModel(6, 4, **kw).fit(sine(40)).predict(4, sine(40, width=2)),
            "component|dimension|width",
        ),
        (
            lambda kw: LSTMSeqModel(6, 4, **kw).fit(sine(40), past_covariates=[sine(40), sine(40)]),
            "past_covariates",
        ),
        (
            lambda kw: LSTMSeqModel(6, 4, **kw).fit(sine(40), past_covariates=sine(20)),
            "past_covariates",
        ),
        (
            lambda kw: LSTMSeqModel(6, 4, **kw).fit(sine(40), future_covariates=sine(40, "D")),
            "future_covariates|freq",
        ),
        (lambda kw: in_the_past(kw).predict(5), "past_covariates"),
        (
            lambda kw: in_the_past(kw).predict(4, future_covariates=sine(60)),
            "future_covariates|covariates",
        ),
        (
            lambda kw: LSTMSeqModel(6, 4, **kw).fit(sine(40), val_series=sine(40, width=2)),
            "val|component|dimension|width",
        ),
        (
            lambda kw: LSTMSeqModel(6, 4, **kw).fit(sine(40), sample_weight="quadratic"),
            "quadratic",
        ),
        (
            lambda kw: LSTMSeqModel(6, 4, **kw).historical_forecasts(
                sine(40), retrain=False, forecast_horizon=4
            ),
            "fit",
        ),
    ],
)
def test_inputs_that_do_not_fit(
    call: Callable[[dict[str, Any]], Any], message: str, tiny: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=message):
        call(tiny)


def test_samples_in_the_target(tiny: dict[str, Any]) -> None:
    """Darts' datasets draw a sample of a probabilistic series for each window; so do ours."""
    low, high = sine(40), sine(40, seed=1, level=90)
    values = np.concatenate([low.all_values(), high.all_values()], axis=2)
    samples = TimeSeries(times=low.time_index, values=values, components=low.components)
    model = LSTMSeqModel(6, 4, **tiny).fit(samples)
    means = [model.predict(4).values().mean() for _ in range(10)]
    assert {round(float(mean) / 90) for mean in means} == {0, 1}


# --- anything ------------------------------------------------------------------------------------


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    length=st.integers(1, 40),
    input_length=st.integers(1, 12),
    minimum=st.none() | st.integers(1, 12),
    output_length=st.integers(1, 6),
    shift=st.sampled_from([0, 0, 2]),
    patch=st.integers(1, 4),
    width=st.integers(1, 3),
    freq=st.sampled_from(["D", "W", "MS", "QE", "B", "h", "YE", 1, 3]),
    dtype=st.sampled_from(["float16", "float32", "float64", "int64", "int16"]),
    norm=st.sampled_from([None, True, False]),
    shared=st.booleans(),
    missing=st.sampled_from([0.0, 0.0, 0.1]),
    level=st.sampled_from([0.0, 100.0]),
    n=st.integers(1, 9),
)
@example(  # the smallest of everything
    length=2, input_length=1, minimum=None, output_length=1, shift=0, patch=1, width=1, freq=1,
    dtype="float32", norm=None, shared=False, missing=0.0, level=0.0, n=1,
)  # fmt: skip
@example(  # a leap year, months of unequal length
    length=40, input_length=12, minimum=2, output_length=3, shift=0, patch=4, width=3, freq="ME",
    dtype="float64", norm=None, shared=True, missing=0.1, level=100.0, n=9,
)  # fmt: skip
def test_a_forecast_or_an_error_that_helps(
    length: int,
    input_length: int,
    minimum: int | None,
    output_length: int,
    shift: int,
    patch: int,
    width: int,
    freq: str | int,
    dtype: str,
    norm: bool | None,
    shared: bool,
    missing: float,
    level: float,
    n: int,
    tiny: dict[str, Any],
) -> None:
    series = sine(length, freq, width, level=level, scale=10, dtype=dtype)
    if missing and np.issubdtype(series.dtype, np.floating):
        series = with_gaps(series, missing)
    try:
        model = LSTMSeqModel(
            input_length if minimum is None else (minimum, input_length),
            output_length,
            output_chunk_shift=shift,
            patch_length=patch,
            shared_weights=shared,
            use_reversible_instance_norm=norm,
            **tiny,
        )
        forecast = model.fit(series).predict(n)
    except ValueError as refusal:
        refused_for_a_reason(str(refusal), series, locals())
        return
    assert forecast.time_index.equals(following(series, n, gap=shift))
    assert list(forecast.components) == list(series.components)
    assert np.isfinite(forecast.values()).all()
    if norm is not False:  # the untrained tutorial forecasts zero, whatever the level
        assert_near(forecast, series, ranges=2)
    if np.issubdtype(series.dtype, np.floating):
        assert forecast.dtype == series.dtype


def refused_for_a_reason(message: str, series: TimeSeries, case: dict[str, Any]) -> None:
    """Accept an error only if what it says is true of the case."""
    needed = (case["minimum"] or case["input_length"]) + case["output_length"] + case["shift"]
    reasons = {
        "too short": case["length"] < needed,
        "`patch_length` must not exceed": case["patch"] > case["input_length"],
        "input_chunk_length": (case["minimum"] or 0) > case["input_length"],
        "output_chunk_shift": case["shift"] > 0 and case["n"] > case["output_length"],
        "has no value of component": bool(np.isnan(series.values()).any()),
        "astype": case["dtype"] not in ("float32", "float64"),
    }
    assert any(text in message and holds for text, holds in reasons.items()), message


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(exponent=12, ratio=1e3, sign=-1, dtype="float32", spikes=2)
@given(
    exponent=st.integers(-12, 12),
    ratio=st.sampled_from([0.0, 1.0, 1e3]),
    sign=st.sampled_from([-1, 1]),
    dtype=st.sampled_from(["float32", "float64"]),
    spikes=st.integers(0, 3),
)
def test_any_level_any_spread_any_spikes(
    exponent: int, ratio: float, sign: int, dtype: str, spikes: int, tiny: dict[str, Any]
) -> None:
    scale = 10.0**exponent
    base = sine(48, dtype=dtype, level=sign * ratio)
    values = base.values().copy()
    values[10 : 10 + spikes] *= 1e4
    series = base.with_values((values * scale).astype(dtype))
    model = LSTMSeqModel(12, 4, **tiny | {"n_epochs": 3}).fit(series)
    forecast = model.predict(8)
    assert forecast.dtype == dtype
    assert mae(series[-8:], forecast.shift(-8)) < 100 * scale * (1 + ratio)


def test_time_zones_and_leap_years(tiny: dict[str, Any]) -> None:
    """Darts drops time zones at the door; what is left has to be forecast without a gap."""
    index = pd.date_range("2020-02-20", periods=40, freq="D")
    series = TimeSeries(times=index, values=sine(40).values(), components=["y"])
    forecast = LSTMSeqModel(6, 4, **tiny).fit(series[:8].append(series[8:12])).predict(6)
    assert forecast.time_index.equals(pd.date_range("2020-03-03", periods=6, freq="D"))


@pytest.mark.parametrize(
    "data",
    [
        sine().to_dataframe(),
        sine().to_series(),
        sine().values(),
        [1.0, 2.0],
        "sales",
    ],
    ids=["data frame", "pandas series", "array", "numbers", "text"],
)
def test_what_is_no_time_series_is_refused_with_what_makes_one(
    data: Any, tiny: dict[str, Any]
) -> None:
    model = LSTMSeqModel(12, 3, **tiny)
    with pytest.raises(ValueError, match=r"`series` must be a Darts `TimeSeries`.*from_dataframe"):
        model.fit(data)
    model.fit(sine())
    with pytest.raises(ValueError, match=type(data).__name__):
        model.predict(3, series=data)


def test_samples_that_are_equal_are_reported(
    tiny: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    model = LSTMSeqModel(12, 3, **tiny | {"dropout": 0.5}).fit(sine())
    samples = model.predict(3, num_samples=9).all_values()
    assert samples.shape == (3, 1, 9)
    assert (np.ptp(samples, axis=2) == 0).all()
    np.testing.assert_array_equal(samples[..., 0], model.predict(3).values())
    assert "All 9 samples are equal" in caplog.text
    caplog.clear()
    samples = model.predict(3, num_samples=9, mc_dropout=True).all_values()
    assert (np.ptp(samples, axis=2) > 0).all()
    assert not caplog.records
