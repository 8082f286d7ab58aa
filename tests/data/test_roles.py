"""Which column is the time, which are to be forecast, and what an error says of a table."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from darts_lstm_seq.data import read_csv, read_many_csv

MONTHS = pd.date_range("2020-01-01", periods=48, freq="MS")
SALES = np.random.default_rng(0).integers(900, 1100, 48)


def write(folder: Path, columns: dict[str, Sequence], **kwargs: str) -> Path:
    path = folder / "table.csv"
    pd.DataFrame(columns).to_csv(path, index=False, **kwargs)
    return path


def test_what_the_date_says_is_no_target(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    known = {
        "year": MONTHS.year,
        "month": MONTHS.month,
        "quarter": MONTHS.quarter,
        "weekday": MONTHS.dayofweek,
        "from Sunday": (MONTHS.dayofweek + 1) % 7 + 1,
        "week": MONTHS.isocalendar()["week"].to_numpy(),
        "store": [7] * 48,
        "id": range(100, 148),
    }
    holiday = (MONTHS.month == 12).astype(int)
    path = write(tmp_path, {**known, "date": MONTHS, "holiday": holiday, "sales": SALES})
    assert list(read_csv(path).components) == ["holiday", "sales"]
    for told in ("'month' (holds the month of the date)", "'store' (holds 7 everywhere)"):
        assert told in caplog.text
    assert "'id' (holds row numbers)" in caplog.text
    assert list(read_csv(path, values=["month"]).components) == ["month"]
    # a series that happens to count is forecast where there is nothing else
    path = write(tmp_path, {"date": MONTHS, "month": MONTHS.month})
    assert list(read_csv(path).components) == ["month"]


@pytest.mark.parametrize("first", [0, 1])
def test_steps_are_an_index_where_there_are_no_dates(tmp_path: Path, first: int) -> None:
    path = write(tmp_path, {"sales": SALES, "step": range(first, first + 48)})
    series = read_csv(path)
    assert list(series.components) == ["sales"]
    assert series.time_index.equals(pd.RangeIndex(first, first + 48))
    path = write(tmp_path, {"step": range(first, first + 48), "sales": SALES, "date": MONTHS})
    assert list(read_csv(path).components) == ["sales"]
    assert read_csv(path).has_datetime_index
    assert read_csv(path, time="step", values=["sales"]).has_range_index
    path = write(tmp_path, {"step": [*range(20), *range(28)], "sales": SALES, "k": [*"ab"] * 24})
    with pytest.raises(ValueError, match="counts steps must start at 0 or 1, without gaps"):
        read_csv(path)
    shop = ["a"] * 20 + ["b"] * 28
    path = write(tmp_path, {"shop": shop, "step": [*range(20), *range(28)], "sales": SALES})
    found = read_many_csv(path, "shop")
    assert [len(found[name].time_index) for name in "ab"] == [20, 28]


def test_dates_are_found_behind_other_columns(tmp_path: Path) -> None:
    path = write(tmp_path, {"shop": ["a"] * 48, "price": [12.24] * 48, "v": SALES, "t": MONTHS})
    assert read_csv(path).time_index.equals(MONTHS)
    path = write(tmp_path, {"price": SALES / 100, "t": MONTHS.strftime("%m.%Y")})
    assert read_csv(path).time_index.equals(MONTHS)


def test_errors_describe_the_table(tmp_path: Path) -> None:
    columns = {"Tag": MONTHS.strftime("%d.%m.%Y"), "Laden": ["x"] * 48, "Wert": ["1.018"] * 48}
    path = write(tmp_path, columns, sep=";")
    with pytest.raises(ValueError, match=r"no cell decides. Pass decimal=") as error:
        read_csv(path)
    assert str(error.value).endswith(
        "The table (separated by ';') has the columns 'Tag' (dates: '01.01.2020'), 'Laden' (text: "
        "'x'), 'Wert' (numbers: '1.018')."
    )
    wide = {"shop": ["a", "b"], **{str(month.date()): [1, 2] for month in MONTHS}}
    with pytest.raises(ValueError, match=r"Transpose the table. .* '2020-07-01' .* and 41 more\.$"):
        read_csv(write(tmp_path, wide))
    long = {"date": [*MONTHS, *MONTHS], "shop": ["a"] * 48 + ["b"] * 48, "v": [*SALES, *SALES]}
    with pytest.raises(ValueError, match="--series: 'shop' does"):
        read_csv(write(tmp_path, long))


@pytest.mark.parametrize("day", [2, 15, 28])
@pytest.mark.parametrize(("freq", "expected"), [("MS", "MS"), ("QS", "QS-OCT"), ("YS", "YS-JAN")])
def test_dates_on_one_day_of_their_months_are_months(
    tmp_path: Path, day: int, freq: str, expected: str
) -> None:
    starts = pd.date_range("2019-01-01", periods=24, freq=freq)
    dates = starts + pd.Timedelta(days=day - 1, hours=6)
    path = write(tmp_path, {"date": dates, "sales": SALES[:24]})
    series = read_csv(path)
    assert series.time_index.equals(starts)
    assert series.freq_str == expected
    path = write(tmp_path, {"date": np.delete(dates, 5), "sales": SALES[:23]})
    with pytest.raises(ValueError, match=f"freq='{expected[:2]}.*' fits"):
        read_csv(path)
    assert read_csv(path, freq=freq).time_index.equals(starts)


def test_days_stay_days(tmp_path: Path) -> None:
    for freq in ("D", "W-WED", "ME", "B", "12h"):
        dates = pd.date_range("2019-01-15", periods=48, freq=freq)
        path = write(tmp_path, {"date": dates, "sales": SALES})
        assert read_csv(path).time_index.equals(dates)
