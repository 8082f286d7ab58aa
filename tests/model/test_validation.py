"""Every refusal names the series, the component, the time and a repair; nothing else is refused."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from hypothesis import given, settings
from hypothesis import strategies as st

from darts_lstm_seq.model import validation

NAN, INF = float("nan"), float("inf")


def series(
    length: int = 10,
    width: int = 2,
    name: str = "y",
    start: str | int = "2001-01-01",
    at: dict[tuple[int, int], float] | None = None,
) -> TimeSeries:
    """Zeros at monthly time stamps, or integers; `at={(step, column): value}` makes holes."""
    values = np.zeros((length, width))
    for place, value in (at or {}).items():
        values[place] = value
    index: pd.Index
    if isinstance(start, int):
        index = pd.RangeIndex(start, start + 2 * length, 2)
    else:
        index = pd.date_range(start, periods=length, freq="MS")
    return TimeSeries(times=index, values=values, components=[f"{name}{i}" for i in range(width)])


def check(target: list[TimeSeries], past: Any = None, future: Any = None, **kwargs: Any) -> None:
    validation.check_values(target, past, future, use_static_covariates=True, **kwargs)


# --- parameters ----------------------------------------------------------------------------------

GOOD = {"hidden_dim": 4, "dropout": 0.1}


@pytest.mark.parametrize("value", [0, -3, 2.5, 3.0, "4", True, [4], NAN, None])
def test_integers_out_of_range(value: Any) -> None:
    message = f"`hidden_dim` must be an integer >= 1, received {value!r}."
    with pytest.raises(ValueError, match=re.escape(message)):
        validation.check_parameters(GOOD | {"hidden_dim": value}, at_least={"hidden_dim": 1})


@pytest.mark.parametrize("value", [1, 1.5, -0.1, NAN, INF, "0.1", None, True])
def test_fractions_out_of_range(value: Any) -> None:
    message = f"`dropout` must be a number in [0, 1), received {value!r}."
    with pytest.raises(ValueError, match=re.escape(message)):
        validation.check_parameters(GOOD | {"dropout": value}, at_least={})


@pytest.mark.parametrize(
    "params",
    [
        GOOD,
        {"hidden_dim": 1, "dropout": 0},
        {"hidden_dim": np.int64(3), "dropout": np.float32(0.5)},
        {"dropout": 0.999},
    ],
)
def test_parameters_in_range_pass(params: dict[str, Any]) -> None:
    validation.check_parameters(params, at_least={"hidden_dim": 1})


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "time"), [("2001-01-01", "2001-04-01 00:00:00"), (100, "106")], ids=["date", "int"]
)
@pytest.mark.parametrize("value", [INF, -INF])
def test_infinite_targets(start: str | int, time: str, value: float) -> None:
    bad = series(start=start, at={(3, 1): value, (5, 0): INF, (1, 0): NAN})
    message = (
        f"`series` at index 1 has an infinite value ({value}) in component 'y1', first at {time}."
    )
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        check([series(start=start), bad])
    assert "Replace it" in str(error.value)


def test_missing_targets_and_past_covariates_pass() -> None:
    holes = series(at={(3, 1): NAN, (0, 0): NAN, (9, 1): NAN})
    check([holes], past=[series(name="x", at={(4, 0): NAN})])


@pytest.mark.parametrize("group", ["past", "future"])
def test_infinite_covariates(group: str) -> None:
    covariates = [series(name="x"), series(name="x", at={(4, 0): INF})]
    message = (
        f"`{group}_covariates` at index 1 has an infinite value (inf) in component 'x0', "
        f"first at 2001-05-01 00:00:00."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        check([series(), series()], **{group: covariates})


def test_missing_future_covariates() -> None:
    covariates = [series(name="x", at={(4, 1): NAN, (6, 0): NAN})]
    message = (
        "`future_covariates` at index 0 has a missing value (NaN) in component 'x1', "
        "first at 2001-05-01 00:00:00."
    )
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        check([series()], future=covariates)
    assert "fill_missing_values" in str(error.value)


def test_only_what_is_used_of_covariates_is_looked_at() -> None:
    target = series(5, start="2001-04-01")  # April to August
    for month, used in [(2, False), (3, True), (7, True), (9, True), (10, False)]:
        covariates = series(12, name="x", at={(month, 0): INF})  # of January to December
        for group in ("past", "future"):
            if used:
                with pytest.raises(ValueError, match=f"`{group}_covariates` at index 0"):
                    check([target], **{group: [covariates]}, steps_after=2)
            else:
                check([target], **{group: [covariates]}, steps_after=2)


@pytest.mark.parametrize("start", ["2001-01-01", 7])
def test_only_the_last_steps_of_the_target_are_looked_at(start: str | int) -> None:
    target = series(10, start=start, at={(4, 0): INF})
    covariates = [series(10, name="x", start=start, at={(4, 0): INF})]
    check([target], steps_before=5)
    check([series(start=start)], past=covariates, steps_before=5)
    for past in (None, covariates):
        with pytest.raises(ValueError, match="has an infinite value"):
            check([target if past is None else series(start=start)], past=past, steps_before=6)
    check([series(3)], steps_before=5)  # shorter than that


@settings(max_examples=50, deadline=None)
@given(
    step=st.integers(0, 9),
    component=st.integers(0, 2),
    index=st.integers(0, 2),
    value=st.sampled_from([INF, -INF]),
    group=st.sampled_from(["series", "past_covariates", "future_covariates", "sample_weight"]),
)
def test_whatever_is_infinite_is_found_and_named(
    step: int, component: int, index: int, value: float, group: str
) -> None:
    good = [series(width=3) for _ in range(3)]
    many = list(good)
    many[index] = series(width=3, at={(step, component): value})
    looks: dict[str, Callable[[], None]] = {
        "series": lambda: check(many),
        "past_covariates": lambda: check(good, past=many),
        "future_covariates": lambda: check(good, future=many),
        "sample_weight": lambda: validation.check_weights(many),
    }
    with pytest.raises(ValueError, match=f"`{group}` at index {index} ") as error:
        looks[group]()
    assert f"'y{component}'" in str(error.value)
    assert str(many[index].time_index[step]) in str(error.value)


@pytest.mark.parametrize("sample", [0, 3])
def test_every_sample_of_a_step_is_looked_at(sample: int) -> None:
    values = np.zeros((10, 1, 4))
    values[6, 0, sample] = INF
    with pytest.raises(ValueError, match=r"an infinite value \(inf\) .* first at 6\."):
        check([TimeSeries.from_values(values)])
    values[4:7, 0, sample] = NAN
    assert validation.has_missing([TimeSeries.from_values(values)], None)
    with pytest.raises(ValueError, match=r"window of 3 steps that ends at 6\."):
        validation.check_windows([TimeSeries.from_values(values)], 3, [np.arange(1, 11)])


def test_looking_draws_no_random_numbers() -> None:
    state: Any = np.random.get_state()  # noqa: NPY002
    before = state[1].copy()
    check([series()], past=[series()], future=[series()])
    after: Any = np.random.get_state()  # noqa: NPY002
    np.testing.assert_array_equal(after[1], before)


def test_missing_sample_weights() -> None:
    message = "`sample_weight` at index 0 has a missing value (NaN) in component 'y1'"
    with pytest.raises(ValueError, match=re.escape(message)):
        validation.check_weights([series(at={(2, 1): NAN})])
    validation.check_weights([series()])


@pytest.mark.parametrize("value", [NAN, INF])
def test_static_covariates(value: float) -> None:
    static = pd.DataFrame({"city": ["a", "b"], "size": [1.0, value], "flag": [True, False]})
    bad = series().with_static_covariates(static)
    message = f"`series` at index 1 has the static covariate 'size' = {value}. Replace it"
    with pytest.raises(ValueError, match=re.escape(message)):
        check([series(), bad])
    validation.check_values([series(), bad], None, None, use_static_covariates=False)


# --- windows -------------------------------------------------------------------------------------


def _ends(target: TimeSeries) -> np.ndarray:
    return np.arange(1, len(target) + 1)


def test_windows_without_a_value() -> None:
    holes = series(12, at={(step, 1): NAN for step in range(4, 8)})
    validation.check_windows([series(), holes], 5, [_ends(series()), _ends(holes)])
    message = (
        "`series` at index 1 has no value of component 'y1' in the input window of 4 steps that "
        "ends at 2001-08-01 00:00:00."
    )
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        validation.check_windows([series(), holes], 4, [_ends(series()), _ends(holes)])
    assert "Fill the gap" in str(error.value)
    # windows that are not used do not matter
    validation.check_windows([holes], 4, [np.array([7, 9, 12])])
    validation.check_windows([holes], 4, [np.array([], dtype=int)])


def test_windows_at_the_start_may_be_shorter() -> None:
    holes = series(6, at={(0, 0): NAN, (1, 0): NAN})
    validation.check_windows([holes], 5, [np.array([3, 4, 5])])
    with pytest.raises(ValueError, match=r"component 'y0' .* ends at 2001-02-01"):
        validation.check_windows([holes], 5, [np.array([2, 3])])


@settings(max_examples=60, deadline=None)
@given(
    known=st.lists(st.booleans(), min_size=1, max_size=20),
    length=st.integers(1, 8),
    first=st.integers(1, 20),
)
def test_windows_like_a_loop(known: list[bool], length: int, first: int) -> None:
    target = TimeSeries.from_values(np.where(known, 1.0, NAN))
    ends = np.arange(first, len(known) + 1)
    empty = [end for end in ends if not any(known[max(int(end) - length, 0) : int(end)])]
    if empty:
        with pytest.raises(ValueError, match=f"ends at {empty[0] - 1}\\."):
            validation.check_windows([target], length, [ends])
    else:
        validation.check_windows([target], length, [ends])


def test_has_missing() -> None:
    holes, whole = series(at={(2, 1): NAN}), series()
    assert validation.has_missing([whole, holes], None)
    assert validation.has_missing([whole], [whole, holes])
    assert not validation.has_missing([whole], [whole])
    assert not validation.has_missing([series(at={(2, 1): INF})], None)
