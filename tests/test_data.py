"""The data sets' shapes and ranges; CSV files good and bad."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries

from darts_lstm_seq import data


def test_noisy_sine_is_the_signal_plus_uniform_noise() -> None:
    noisy, signal = data.noisy_sine(seed=3), data.noisy_sine(noise=0)
    noise = (noisy - signal).values()
    assert np.abs(noise).max() <= 0.5
    assert noise.var() == pytest.approx(0.5**2 / 3, rel=0.1)
    np.testing.assert_allclose(signal.values().ravel(), np.sin(0.1 * np.arange(800)))
    assert data.noisy_sine(seed=3) == noisy
    assert data.noisy_sine(seed=4) != noisy


@pytest.mark.parametrize(
    ("load", "length", "freq", "low", "high"),
    [
        (data.co2_weekly, 2284, "W-SAT", 313, 374),
        (data.co2_monthly, 526, "MS", 313, 374),
        (data.sunspots, 309, "YS-JAN", 0, 191),
        (data.nile, 100, "YS-JAN", 456, 1370),
        (data.sea_surface_temperature, 732, "MS", 18, 30),
    ],
)
def test_real_series(load: Callable, length: int, freq: str, low: float, high: float) -> None:
    series = load()
    assert (len(series), series.freq_str) == (length, freq)
    values = series.values()
    assert low <= np.nanmin(values) < np.nanmax(values) <= high


def test_only_the_weekly_co2_has_gaps() -> None:
    assert np.isnan(data.co2_weekly().values()).sum() == 59
    for load in (data.co2_monthly, data.sunspots, data.nile, data.us_macro):
        assert np.isfinite(load().values()).all()


def test_macro_has_three_components_in_quarters() -> None:
    series = data.us_macro()
    assert (series.n_components, series.freq_str, len(series)) == (3, "QS-JAN", 203)


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
        (b"\xff\xfe\x00\x81", {}, "no CSV table in UTF-8"),
        ('day,a\n"2024-01-01,1\n', {}, "no CSV table"),
        ("day,a\n2024-01-01,1\n", {"time": "when"}, "no column 'when'; it has"),
        ("day,a\n2024-01-01,1\n", {"values": ["c"]}, "no column 'c'; it has"),
        ("day,a\n2024-01-01,x\n", {}, "no column of numbers"),
        ("day,a\n2024-01-01,1\nsoon,2\n", {}, "line 3: 'soon' in column 'day' is no date"),
        ("day,a\n2024-01-01,1\n2024-01-01,2\n", {}, "line 3: '2024-01-01' .* is there twice"),
        ("day,a\n2024-01-01,1\n2024-01-02,x\n", {"values": ["a"]}, "line 3: 'x' .* is no number"),
        ("a,b\n1871,2\n1872,4\n", {}, r"holds numbers \(1871, ...\), not dates"),
        ("day,a\n2024-01-01,1\n\n2024-01-02,inf\n", {}, "line 4: 'inf' .* is not finite"),
        ("day,a\n2024-01-01,1\n,2\n", {}, "line 3: 'nan' .* is no date"),
        ("day,a\nsoon,1\n2024-01-01,2\n", {}, "line 2: 'soon' .* is no date"),
        ("day,a,b\n2024-01-01,1,\n2024-01-02,2,\n", {"values": ["b"]}, "column 'b' is empty"),
        ("day,a\n2024-01-01,1,5\n2024-01-02,2,5\n", {}, "more fields than the header"),
        ("day;a\n2024-01-01;1\n", {}, "no column of numbers .* Commas separate columns"),
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
        data.read_csv(_write(tmp_path, "day,a\nsoon,1\nlater,2\n"))
    assert not recwarn.list


def test_read_csv_reads_local_files_only(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", "http://localhost:9/table.csv"):
        with pytest.raises(FileNotFoundError):
            data.read_csv(path)
    archive = tmp_path / "table.zip"
    archive.write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(ValueError, match="no CSV table"):
        data.read_csv(archive)


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
