"""Results of other data are named before they are replaced; those of grown data are not."""

from pathlib import Path
from typing import Any

import pytest

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
