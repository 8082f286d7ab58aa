"""Series from CSV files, good and bad: time axis, columns, and what the errors say."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries

from darts_lstm_seq import data


def _write(folder: Path, text: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_read_csv_takes_dates_and_all_numbers(tmp_path: Path) -> None:
    path = _write(tmp_path, "day,a,note,b\n2024-01-02,2,x,20\n2024-01-01,1,y,10\n2024-01-03,3,z,\n")
    series = data.read_csv(path)
    assert list(series.components) == ["a", "b"]
    np.testing.assert_array_equal(series.values()[:, 0], [1, 2, 3])
    assert np.isnan(series.values()[2, 1])
    assert series.freq_str == "D"
    assert data.read_csv(path, time="day", values=["b"]).n_components == 1


def test_read_csv_fills_missing_dates_with_nan_when_told_the_frequency(tmp_path: Path) -> None:
    path = _write(tmp_path, "day,a\n2024-01-01,1\n2024-01-03,3\n2024-01-04,4\n2024-01-05,5\n")
    series = data.read_csv(path, freq="D")
    np.testing.assert_array_equal(series.values().ravel(), [1, np.nan, 3, 4, 5])
    assert isinstance(series, TimeSeries)


@pytest.mark.parametrize(
    ("text", "kwargs", "message"),
    [
        ("", {}, "is empty"),
        ("day,a\n", {}, "no data"),
        ('day,a\n"2024-01-01,1\n', {}, "no CSV table"),
        ("day,a\n2024-01-01,1\n", {"time": "when"}, "no column 'when'.*columns 'day'"),
        ("day,a\n2024-01-01,1\n", {"values": ["c"]}, "no column 'c'.*columns 'day'"),
        ("day,a\n2024-01-01,x\n", {}, "no column of numbers"),
        ("day,a\n2024-01-01,1\nsoon,2\n", {}, "line 3: 'soon' in column 'day' is no date"),
        ("day,a\n2024-01-01,1\n2024-01-01,2\n", {}, "line 3: '2024-01-01' .* is there twice"),
        ("day,a\n2024-01-01,1\n2024-01-02,x\n", {"values": ["a"]}, "line 3: 'x' .* is no number"),
        ("year,month,v\n2020,12,5\n2021,1,6\n", {}, r"Join \['year', 'month'\] into one column"),
        ("a,b\n1871,2\n1872,4\n", {}, r"holds numbers \(1871, ...\), not dates"),
        ("day,a\n2024-01-01,1\n\n2024-01-02,inf\n", {}, "line 4: 'inf' .* is not finite"),
        ("day,a\n2024-01-01,1\n,2\n", {}, "line 3: '' .* is no date"),
        ("day,a\nsoon,1\n2024-01-01,2\n", {}, "line 2: 'soon' .* is no date"),
        ("day,a,b\n2024-01-01,1,\n2024-01-02,2,\n", {"values": ["b"]}, "column 'b' is empty"),
        ("day,a\n2024-01-01,1,5\n2024-01-02,2,5\n", {}, "more fields than the header"),
        ("day a\n2024-01-01 1\n", {}, "has a single column.*Name the separator"),
        (
            "day,a\n2024-01-01T00:00+01:00,1\n2024-01-02T00:00+02:00,2\n",
            {},
            "in several time zones",
        ),
        (
            "day,a\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n",
            {"freq": "s"},
            "steps of 's' leave 172798 of 172801 without a value",
        ),
        ("day,a\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n", {"freq": "-1D"}, "step of '-1D'"),
        (
            "day,a\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n2024-01-07,4\n",
            {},
            "no constant step, or some are missing",
        ),
        ("day,a\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n", {"freq": "MS"}, "step of 'MS'"),
        ("day,a\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n", {"freq": "soon"}, "frequency"),
        ("day,a\n2024-01-01,1\n2024-01-02,2\n", {}, "frequency"),
    ],
)
def test_read_csv_says_what_is_wrong(
    tmp_path: Path, text: str | bytes, kwargs: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        data.read_csv(_write(tmp_path, text), **kwargs)


def test_read_csv_says_it_in_one_line_without_warnings(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    with pytest.raises(ValueError, match="is no date"):
        data.read_csv(_write(tmp_path, "day,a\nsoon,1\nlater,3\n"))
    assert not recwarn.list


def test_read_csv_reads_local_files_only(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", "http://localhost:9/table.csv"):
        with pytest.raises(FileNotFoundError):
            data.read_csv(path)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffday,a\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n",
        "day,a\n2024-01-03,3\n2024-01-01,1\n\n2024-01-02,2\n\n",
        "day,a\r\n2024-01-01,1\r\n2024-01-02,2\r\n2024-01-03,3\r\n",
        "day,a\n2024-01-01T00:00+01:00,1\n2024-01-02T00:00+01:00,2\n2024-01-03T00:00+01:00,3\n",
        "day,a,b\n2024-01-01,1,\n2024-01-02,2,\n2024-01-03,3,\n",
    ],
    ids=["byte order mark", "unsorted, blank lines", "Windows", "time zone", "an empty column"],
)
def test_read_csv_takes_what_programs_write(tmp_path: Path, text: str) -> None:
    series = data.read_csv(_write(tmp_path, text))
    np.testing.assert_array_equal(series.values(), [[1], [2], [3]])
    assert series.start_time() == pd.Timestamp("2024-01-01")


def test_read_csv_agrees_with_pandas(tmp_path: Path) -> None:
    times = pd.date_range("2020-01-31", periods=30, freq="ME")
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=30)}, index=times)
    frame.to_csv(tmp_path / "months.csv", index_label="month")
    series = data.read_csv(tmp_path / "months.csv")
    np.testing.assert_allclose(series.values().ravel(), frame["x"])
    assert list(series.time_index) == list(times)


def test_read_many_csv_keeps_names_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "shops.csv"
    lines = [
        f"{time},{day},{value}"
        for value, time in enumerate(("001", "NA", "1"))
        for day in ("2024-01-01", "2024-01-02", "2024-01-03")
    ]
    # the column of the names may be called `time`
    path.write_text("\n".join(["time,day,sales", *lines, ""]))
    found = data.read_many_csv(path, "time", "day")
    assert {name: one.values().ravel().tolist() for name, one in found.items()} == {
        "001": [0.0] * 3,
        "NA": [1.0] * 3,
        "1": [2.0] * 3,
    }


def test_read_csv_takes_dates_some_of_which_lack_hours(tmp_path: Path) -> None:
    path = tmp_path / "mixed.csv"
    path.write_text("t,y\n2024-01-01 00:00:00,1\n2024-01-02,2\n2024-01-03T00:00,3\n")
    assert data.read_csv(path).time_index.equals(pd.date_range("2024-01-01", periods=3))


MONTHS = [str(time.date()) for time in pd.date_range("2020-01-01", periods=60, freq="MS")]


def _table(header: str, *columns: Sequence[object]) -> str:
    lines = (",".join(map(str, cells)) for cells in zip(*columns, strict=True))
    return "\n".join([header, *lines])


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize(
    "date_format", ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d.%m.%y", "%d %b %Y"]
)
def test_what_pandas_writes_is_read(
    tmp_path: Path, separator: str, decimal: str, date_format: str
) -> None:
    times = pd.date_range("2023-01-01", periods=100)
    numbers = np.random.default_rng(0).normal(size=(100, 2)).round(2) * [1, 1e4]
    frame = pd.DataFrame(numbers, index=times, columns=["a", "b"])
    frame.to_csv(
        tmp_path / "table.csv",
        sep=separator,
        decimal=decimal,
        date_format=date_format,
        index_label="day",
    )
    series = data.read_csv(tmp_path / "table.csv")
    assert series.time_index.equals(times)
    np.testing.assert_array_equal(series.values(), numbers)


def test_one_cell_that_is_no_number_does_not_drop_its_column(tmp_path: Path) -> None:
    cells: list[object] = list(range(60))
    cells[9] = "12O"
    path = _write(tmp_path, _table("date,sales,price", MONTHS, cells, range(60)))
    with pytest.raises(ValueError, match="line 11: '12O' in column 'sales' is no number"):
        data.read_csv(path)
    assert list(data.read_csv(path, values=["price"]).components) == ["price"]


def test_columns_that_are_not_read_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = _write(
        tmp_path,
        _table(",date,note,sales,empty", range(60), MONTHS, ["x"] * 60, range(60), [""] * 60),
    )
    for time in (None, "date"):
        caplog.clear()
        assert list(data.read_csv(path, time=time).components) == ["sales"]
        (record,) = caplog.records
        said = record.getMessage()
        assert "'Unnamed: 0' (holds row numbers)" in said
        assert "'note' (holds 'x')" in said
        assert "'empty' (holds nothing)" in said
    caplog.clear()
    assert data.read_csv(path, values=["Unnamed: 0", "sales"]).n_components == 2
    assert not caplog.records


def test_row_numbers_are_skipped_in_front(tmp_path: Path) -> None:
    frame = pd.DataFrame({"date": MONTHS, "sales": range(60)})
    path = tmp_path / "table.csv"
    frame.to_csv(path)
    for written in (frame, frame[20:], frame.sort_values("sales", ascending=False)):
        written.to_csv(path)
        assert list(data.read_csv(path).components) == ["sales"]
        pd.read_csv(path).to_csv(path)
        assert list(data.read_csv(path).components) == ["sales"]
    path = _write(tmp_path, _table("date,count", MONTHS, range(60)))
    assert list(data.read_csv(path).components) == ["count"]
    path = _write(tmp_path, _table("date,", MONTHS, range(60)))
    assert list(data.read_csv(path).components) == ["Unnamed: 1"]
    path = _write(tmp_path, _table(",sales", range(1871, 1971), range(100)))
    assert len(data.read_csv(path, date_format="%Y")) == 100


@pytest.mark.parametrize("name", ["2024-01-01", "01.02.2024", "2024Q1"])
def test_a_file_without_a_header_is_refused(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path, f"{name},5\n2024-01-02,6\n2024-01-03,7\n2024-01-04,8\n")
    with pytest.raises(ValueError, match=f"has no header line: '{name}' stands where the name"):
        data.read_csv(path)
    path = _write(tmp_path, "1871,5\n1872,6\n1873,7\n1874,8\n")
    with pytest.raises(ValueError, match="has no header line: '1871'"):
        data.read_csv(path, date_format="%Y")


@pytest.mark.parametrize(
    "freq", ["W-MON", "W-THU", "MS", "ME", "QS-FEB", "QE-MAR", "YS-APR", "YE-JUN", "B", "D", "h"]
)
def test_the_frequency_that_fits_is_suggested(tmp_path: Path, freq: str) -> None:
    times = pd.date_range("2023-01-01", periods=60, freq=freq).delete(7)
    path = _write(tmp_path, _table("day,v", times, range(59)))
    suffix = "(?=' fits)"  # of the quarters of a year, each has three names
    suggestion = rf"freq='{freq}{suffix}.*--freq {freq}\), with 1 of 60 dates missing"
    if not freq.startswith("Q"):
        with pytest.raises(ValueError, match="some are missing. " + suggestion):
            data.read_csv(path)
    other = "W" if freq.startswith("W") else "W-SAT"
    with pytest.raises(ValueError, match=r"freq='.*' fits \(--freq"):
        data.read_csv(path, freq=other if freq not in "Dh" else "YS")
    assert len(data.read_csv(path, freq=freq)) == 60


def test_options_reach_the_reader_of_many_series(tmp_path: Path) -> None:
    lines = [f"{shop}:0{day}/02/2024:{day}.00{day}" for shop in "ab" for day in (1, 2, 3)]
    path = _write(tmp_path, "\n".join(["größe:day:v", *lines]).encode("cp1252"))
    found = data.read_many_csv(
        path,
        "größe",
        date_format="%d/%m/%Y",
        separator=":",
        decimal=",",
        encoding="cp1252",
    )
    for series in found.values():
        assert series.start_time() == pd.Timestamp("2024-02-01")
        assert series.values().ravel().tolist() == [1001, 2002, 3003]


@pytest.mark.parametrize("first", [0, 1])
def test_a_first_column_that_counts_the_rows_is_no_target(first: int, tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=30)
    frame = pd.DataFrame({"day": days, "sales": np.arange(30) ** 2})
    counted = range(first, first + 30)
    path = tmp_path / "counted.csv"
    frame.set_index(pd.Index(counted, name="index")).reset_index().to_csv(path, index=False)
    assert list(data.read_csv(path).components) == ["sales"]
    assert list(data.read_csv(path, values=["index"]).components) == ["index"]
    frame.assign(row=counted).to_csv(path, index=False)
    assert list(data.read_csv(path).components) == ["sales"]
    # unless nothing else is left to be forecast
    frame[["day"]].assign(customers=counted).to_csv(path, index=False)
    assert list(data.read_csv(path).components) == ["customers"]


def test_a_day_that_is_there_twice_is_refused_with_the_repair(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("day,shop,sales\n2024-01-01,a,1\n2024-01-02,a,2\n2024-01-01,b,3\n")
    with pytest.raises(ValueError, match=r"line 4: .* is there twice\. .*--series"):
        data.read_csv(path)
    path.write_text("day,shop,item,sales\n2024-01-01,a,x,1\n2024-01-01,a,y,2\n")
    with pytest.raises(ValueError, match="'shop' does not tell all series apart"):
        data.read_many_csv(path, "shop")
