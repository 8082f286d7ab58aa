"""Data frames become the series that a CSV file with the same cells gives."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from darts import TimeSeries

from darts_lstm_seq.data import series_from_frame

MONTHS = pd.date_range("2020-01-01", periods=24, freq="MS")
VALUES = np.random.default_rng(0).normal(size=24)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"v": VALUES}, index=MONTHS),
        pd.DataFrame({"v": VALUES}, index=MONTHS.tz_localize("Europe/Berlin")),
        pd.DataFrame({"v": VALUES}, index=MONTHS.to_period("M")),
        pd.Series(VALUES, index=MONTHS, name="v"),
        pd.DataFrame({"v": VALUES, "t": MONTHS}),
        pd.DataFrame({"t": MONTHS, "v": VALUES}, index=range(100, 124)),
        pd.DataFrame({"t": MONTHS, "v": VALUES}, index=np.arange(24) ** 2),
        pd.DataFrame({"t": MONTHS, "v": VALUES}, index=[*range(12), *range(12)]),
        pd.DataFrame({"t": MONTHS.strftime("%d/%m/%Y"), "v": VALUES, "note": "x", "flag": True}),
        pa.table({"t": MONTHS.to_pydatetime(), "v": VALUES}),
        pa.table({"t": MONTHS.date, "v": VALUES}),
    ],
)
def test_dates_are_found_among_index_and_columns(frame: Any) -> None:
    series = series_from_frame(frame)
    assert isinstance(series, TimeSeries)
    assert list(series.components) == ["v"]
    assert series.time_index.equals(MONTHS)
    np.testing.assert_array_equal(series.values().ravel(), VALUES)


def test_without_dates_rows_are_steps() -> None:
    series = series_from_frame(pd.DataFrame({"a": VALUES, "b": VALUES}))
    assert isinstance(series, TimeSeries)
    assert list(series.components) == ["a", "b"]
    assert series.time_index.equals(pd.RangeIndex(24))


@pytest.mark.parametrize("dtype", ["float64", "Float64", "int64", "Int64", "object", "float32"])
def test_numbers_of_any_type_are_exact(dtype: str) -> None:
    values = pd.Series([1018, 984, 2**40], index=MONTHS[:3], name="v").astype(dtype)
    series = series_from_frame(values)
    np.testing.assert_array_equal(series.values().ravel(), [1018, 984, 2**40])
    thousandths = pd.Series([1.018, 2.164], index=MONTHS[:2], name="v")  # no thousands points
    three = series_from_frame(pd.concat([thousandths, pd.Series([None], index=MONTHS[2:3])]))
    np.testing.assert_array_equal(three.values().ravel(), [1.018, 2.164, np.nan])


def test_series_one_below_the_other_are_told_apart_or_asked_about() -> None:
    long = pd.DataFrame({"t": [*MONTHS, *MONTHS], "v": np.tile(VALUES, 2)})
    found = series_from_frame(long.assign(shop=["b"] * 24 + ["a"] * 24, note="x"))
    assert isinstance(found, dict)
    assert list(found) == ["b", "a"]
    for series in found.values():
        np.testing.assert_array_equal(series.values().ravel(), VALUES)
    several = long.assign(shop=["b"] * 24 + ["a"] * 24, town=["c"] * 24 + ["d"] * 24)
    with pytest.raises(
        ValueError, match=r"\['shop', 'town'\]. .*from_group_dataframe\(frame, grou"
    ):
        series_from_frame(several)
    with pytest.raises(ValueError, match=r"no column of text that may name .* time_col='t'"):
        series_from_frame(long.assign(shop=[1] * 24 + [2] * 24))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame(), "has no rows"),
        (pd.DataFrame({"t": []}), "has no rows"),
        (pd.DataFrame([[1, 2]] * 3, columns=["a", "a"]), "several columns of one name"),
        (pd.DataFrame({"t": MONTHS, "v": ["x", *VALUES[1:]]}), "row 0: 'x' in column 'v'"),
        (pd.DataFrame({"t": MONTHS, "v": [*VALUES[1:], np.inf]}), "row 23: 'inf' .* not finite"),
    ],
)
def test_bad_frames_are_refused_by_row_and_column(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=f"the data frame.*{message}"):
        series_from_frame(frame)
