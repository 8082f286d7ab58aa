"""Files of any kind: compressed, Excel, Parquet, standard input; what cannot be read is named."""

import bz2
import gzip
import io
import lzma
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from darts_lstm_seq.data import read_csv, read_many_csv

FRAME = pd.DataFrame(
    {
        "shop": ["NA", "b"] * 12,  # no missing name
        "day": pd.date_range("2024-01-01", periods=12).repeat(2),
        "sales": (np.random.default_rng(0).normal(size=24) * np.tile([1, 1e6], 12)).round(6),
        "note": ["x", None] * 12,
    }
)
TEXT = FRAME.to_csv(index=False).encode()


def check(path: Path | str) -> None:
    found = read_many_csv(path, "shop")
    assert list(found) == ["NA", "b"]
    values = np.concatenate([found["NA"].values(), found["b"].values()], axis=1).ravel()
    np.testing.assert_array_equal(values, FRAME["sales"])
    assert found["b"].freq_str == "D"


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, TEXT)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [gzip.compress(TEXT), bz2.compress(TEXT), lzma.compress(TEXT), zipped("a", "__MACOSX/a")],
    ids=["gzip", "bzip2", "xz", "zip"],
)
def test_compressed_files_are_read_whatever_their_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    check(tmp_path / "table.csv")


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(TEXT)))
    check("-")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"")))
    with pytest.raises(ValueError, match="standard input is empty"):
        read_csv("-")


def test_excel_and_parquet_are_read_to_the_last_digit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    FRAME.to_parquet(tmp_path / "table.parquet")
    FRAME.set_index("day").to_parquet(tmp_path / "index.parquet")
    with pd.ExcelWriter(tmp_path / "table.xlsx") as book:
        FRAME.to_excel(book, sheet_name="first", startrow=2, index=False)
        FRAME.to_excel(book, sheet_name="second")
    for name in ("table.parquet", "index.parquet", "table.xlsx"):
        check(tmp_path / name)
    assert "['first', 'second'] the first sheet is read" in caplog.text
    (tmp_path / "gz").write_bytes(gzip.compress((tmp_path / "table.parquet").read_bytes()))
    check(tmp_path / "gz")


def test_numbers_of_excel_need_no_decimal_sign(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=3)
    frame = pd.DataFrame({"day": days, "v": [984, 1.018, "n/a"], "text": ["1,5", "2,5", "3,5"]})
    frame.to_excel(tmp_path / "table.xlsx", index=False)
    series = read_csv(tmp_path / "table.xlsx")
    np.testing.assert_array_equal(series.values(), [[984, 1.5], [1.018, 2.5], [np.nan, 3.5]])
    frame.loc[1, "v"] = "x"
    frame.to_excel(tmp_path / "table.xlsx", index=False, startrow=1)
    with pytest.raises(ValueError, match=r"line 4: 'x' in column 'v' .*The table \(sheet 'Sheet1'"):
        read_csv(tmp_path / "table.xlsx", values=["v"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x1f\x8b\x08", "a damaged gzip archive"),
        (bz2.compress(TEXT)[:-9], "a damaged bzip2 archive"),
        (lzma.compress(TEXT)[:-9], "a damaged xz archive"),
        (b"PK\x03\x04\xff\xfe", "a damaged or encrypted ZIP archive"),
        (zipped("a.csv", "b.csv"), r"a ZIP archive of 2 files, \['a.csv', 'b.csv'\]. Unpack"),
        (zipped("mimetype", "content.xml"), "an OpenDocument file. Save it as .xlsx or CSV"),
        (zipped("xl/workbook.xml", "b"), "no readable Excel workbook"),
        (b"PAR1\x15", "no readable Parquet file"),
        (b"\xd0\xcf\x11\xe0", "Excel 2003 or older. Save it as .xlsx"),
        (b"%PDF-1.4", "a PDF document"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "table").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_csv(tmp_path / "table")


@pytest.mark.parametrize(
    ("module", "write", "extra"),
    [("pyarrow", FRAME.to_parquet, "parquet"), ("openpyxl", FRAME.to_excel, "excel")],
)
def test_a_missing_engine_is_named_by_its_extra(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    write: Callable[[Path], None],
    extra: str,
) -> None:
    path = tmp_path / "table.xlsx"
    write(path)
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)  # importing it fails
    with pytest.raises(ValueError, match=rf"needs the extra '{extra}': .*seq\[{extra}\]"):
        read_csv(path)
