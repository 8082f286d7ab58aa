"""Results of other data are named before they are replaced; those of grown data are not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from darts import TimeSeries

from darts_lstm_seq import compare

ARGUMENTS: Any = {"horizon": 6, "folds": 2, "models": ["NaiveDrift"], "show_progress": False}


@pytest.mark.parametrize("many", [False, True])
def test_other_data_are_named(
    seasonal: Any, many: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def run(series: Any) -> str:
        caplog.clear()
        compare({"=a": series} if many else series, out=tmp_path, **ARGUMENTS)
        return caplog.text

    assert not run(seasonal[:-2])
    assert not run(seasonal[:-2])
    assert not run(seasonal)  # two months later
    assert "held results of other data" in run(seasonal + 1)
    assert "held results of other data" in run(seasonal.with_columns_renamed("sales", "other"))
    assert "held results of other data" in run(seasonal[:60])


def test_results_that_are_kept_are_not_said_to_be_replaced(
    seasonal: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    compare(seasonal, out=tmp_path, **ARGUMENTS)
    before = (tmp_path / "forecasts.csv").read_bytes()
    with pytest.raises(ValueError, match="comparison with folds = 2, not 3"):
        compare(seasonal + 1, out=tmp_path, **ARGUMENTS | {"folds": 3})
    assert not caplog.text
    assert (tmp_path / "forecasts.csv").read_bytes() == before


def test_other_tables_are_left_alone(
    seasonal: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for text in ("", "a,b\n1,2\n", "\0"):
        (tmp_path / "forecasts.csv").write_text(text)
        compare(seasonal, out=tmp_path, **ARGUMENTS)
        assert not caplog.text


def test_series_that_are_left_out_are_named(
    seasonal: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    compare({"a": seasonal, "b": seasonal + 1}, out=tmp_path, **ARGUMENTS)
    compare({"a": seasonal, "b": seasonal + 1, "c": seasonal + 2}, out=tmp_path, **ARGUMENTS)
    assert not caplog.text
    compare({"a": seasonal, "c": seasonal + 2}, out=tmp_path, **ARGUMENTS)
    assert "other data, 'b' for instance" in caplog.text


@pytest.mark.parametrize(
    "name", ["plain", "'quoted", "=1+1", "a\rb", "a\r\nb", "n\0l", "\ud800", "NA"]
)
def test_own_results_are_not_called_other_data(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    component = name if name.isascii() else "c"  # PyArrow refuses surrogates
    one = TimeSeries.from_values(np.arange(40.0) ** 2, columns=[component])  # an integer index
    for series in (one, one[:-2], one):
        compare({name: series, 1: one + 1, "1": one + 2}, out=tmp_path, **ARGUMENTS)
    assert not caplog.text
    compare({name: one + 1, 1: one + 1}, out=tmp_path, **ARGUMENTS)
    assert "held results of other data" in caplog.text


ROWS = [
    b"series,component,time,actual\na,sales,2020-01-01 00:00:00+02:00,1\n",
    b"series,component,time,actual\na,sales,99999999999999999999999,1\n",
    b"series,component,time,actual\na,sales,NaT,1\n",
    b"series,component,component,time,actual\na,sales,sales,5,1\n",
    b"series,component,time,actual\na,sales,%s,1.0.0\n",
]


@pytest.mark.parametrize("rows", ROWS)
def test_a_damaged_table_does_not_stop_a_comparison(
    rows: bytes, seasonal: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = str(seasonal.start_time()).encode()
    (tmp_path / "forecasts.csv").write_bytes(rows.replace(b"%s", first))
    whole = TimeSeries.from_values(seasonal.values(), columns=seasonal.components)
    for series in ({"a": seasonal}, {"a": whole}):
        found = compare(series, out=tmp_path, **ARGUMENTS)
        assert found.scores["error"].isna().all()
        (tmp_path / "forecasts.csv").write_bytes(rows.replace(b"%s", b"0"))
