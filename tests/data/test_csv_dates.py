"""Formats of dates: one for a whole column, or an error that asks for it; never another date."""

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from darts_lstm_seq.data import read_csv
from darts_lstm_seq.data.csv_dates import parse_dates
from darts_lstm_seq.data.csv_table import Table

# every format that is found without being named
DATES = [
    *("%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%d. %m. %Y", "%d %m %Y"),
    *("%m/%d/%Y", "%m-%d-%Y", "%m.%d.%Y"),
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%y-%m-%d", "%y/%m/%d"),
    *("%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%Y %b %d"),
    *("%a, %d %b %Y", "%A %d %B %Y"),
]
CLOCKS = [
    "",
    " %H:%M",
    " %H:%M:%S",
    "T%H:%M",
    ", %H:%M",
    " %I:%M %p",
    " %I:%M:%S%p",
    " %H:%M:%S.%f",
]
MONTHS = [
    *("%Y-%m", "%Y/%m", "%m/%Y", "%m.%Y", "%m-%Y", "%YM%m"),
    *("%b %Y", "%B %Y", "%b-%y", "%b-%Y", "%Y-%b", "%m/%y"),
]


def parse(
    cells: list[str],
    date_format: str | None = None,
    series: list[int] | None = None,
    freq: str | None = None,
) -> pd.DatetimeIndex:
    table = Table("table.csv", {"day": cells}, list(range(2, 2 + len(cells))))
    return parse_dates(table, "day", np.array(series or [0] * len(cells)), date_format, freq)


def readings(cells: list[str], form: str) -> set[tuple[datetime, ...]]:
    """Parse cell by cell, in each order of day, month and year that fits all cells."""
    year = "%Y" if "%Y" in form else "%y"
    orders = [("%d", "%m", year), ("%m", "%d", year), (year, "%m", "%d")]
    found = set()
    for order in orders:
        other = form[2].join(order) + form[8:]
        with suppress(ValueError):
            found.add(tuple(datetime.strptime(cell, other) for cell in cells))
    if year == "%y":
        found |= {
            tuple(
                time if time.year < 2050 else time.replace(year=time.year - 100) for time in times
            )
            for times in found
        }
    return found


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("form", DATES)
def test_formats_are_found_where_a_day_is_above_twelve(form: str, clock: str) -> None:
    times = pd.date_range("2023-01-01 00:30" if clock else "2023-01-01", periods=400, freq="D")
    assert parse(list(times.strftime(form + clock))).equals(times)


@pytest.mark.parametrize("form", MONTHS)
def test_months_are_found(form: str) -> None:
    times = pd.date_range("2019-11-01", periods=40, freq="MS")
    assert parse(list(times.strftime(form))).equals(times)


@pytest.mark.parametrize(
    "form", ["{y}Q{q}", "{y}-Q{q}", "{y} Q{q}", "Q{q} {y}", "Q{q}/{y}", "{y}q{q}"]
)
def test_quarters_are_found(form: str) -> None:
    times = pd.date_range("2019-10-01", periods=9, freq="QS")
    assert parse([form.format(y=time.year, q=time.quarter) for time in times]).equals(times)


@pytest.mark.parametrize("form", ["{0}-W{1:02}", "{0}W{1:02}", "{0}-W{1:02}-{2}", "{0}W{1:02}{2}"])
def test_iso_weeks_are_found(form: str) -> None:
    times = pd.date_range("2020-11-30", periods=60, freq="W-MON")  # 2020 has a week 53
    assert parse([form.format(*time.isocalendar()) for time in times]).equals(times)
    with pytest.raises(ValueError, match=r"line 3: '2021-W53' .* is no date"):
        parse(["2021-W52", "2021-W53"])


@pytest.mark.parametrize(
    ("cells", "date_format", "expected"),
    [
        (["20240131", "20240201"], "%Y%m%d", ["2024-01-31", "2024-02-01"]),
        (["1871", "1872"], "%Y", ["1871-01-01", "1872-01-01"]),
        (["2024.01", "2024.10"], "%Y.%m", ["2024-01-01", "2024-10-01"]),
        (["01/02/2024", "02/02/2024"], "%d/%m/%Y", ["2024-02-01", "2024-02-02"]),
        (["01/02/2024", "02/02/2024"], "%m/%d/%Y", ["2024-01-02", "2024-02-02"]),
        (["2024-01-31T10", "20240201"], "ISO8601", ["2024-01-31T10", "2024-02-01"]),
        (["01.02.60"], "%d.%m.%y", ["2060-02-01"]),  # as strptime
    ],
)
def test_a_format_that_is_named_is_used(cells: list, date_format: str, expected: list) -> None:
    assert parse(cells, date_format).equals(pd.DatetimeIndex(expected))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["28/02/2024", "29/02/2024", "01/03/2024"], ["2024-02-28", "2024-02-29", "2024-03-01"]),
        (["1/31/2024", "2/1/2024"], ["2024-01-31", "2024-02-01"]),
        # noon and midnight
        (
            ["13/01/2024 12:00 AM", "13/01/2024 1:05 am", "13/01/2024 12:00 PM"],
            ["2024-01-13", "2024-01-13 01:05", "2024-01-13 12:00"],
        ),
        (["13 Jan 2024 12 AM", "13 Jan 2024 12 PM"], ["2024-01-13", "2024-01-13 12:00"]),
        # "May" may be short or long
        (["May 2024", "Jun 2024"], ["2024-05-01", "2024-06-01"]),
        (["May 2024", "June 2024"], ["2024-05-01", "2024-06-01"]),
        # a day below 13 everywhere: the order that gives a constant step
        (["01/01/2024", "01/04/2024", "01/07/2024", "01/10/2024", "01/01/2025"], "QS"),
        (["01/01/2024 00:00", "01/01/2024 12:00", "02/01/2024 00:00"], "12h"),
        # steps vary: the order of the rows
        (["05/02/2024", "07/02/2024", "03/03/2024"], ["2024-02-05", "2024-02-07", "2024-03-03"]),
        (["03/03/2024", "07/02/2024", "05/02/2024"], ["2024-03-03", "2024-02-07", "2024-02-05"]),
        # both orders give the same
        (["05/05/2024"], ["2024-05-05"]),
        # years of two digits: 69 is 1969 for strptime, 68 is 2068
        (["01.01.68", "02.01.68", "31.12.67"], None),
        (["31/12/68", "01/01/69", "02/01/69"], ["1968-12-31", "1969-01-01", "1969-01-02"]),
        (["31/12/99", "01/01/00", "02/01/00"], ["1999-12-31", "2000-01-01", "2000-01-02"]),
        # local times of one zone
        (["2024-01-31T00:00+01:00", "2024-02-01T00:00+01:00"], ["2024-01-31", "2024-02-01"]),
        (["31.01.2024 00:00 +0100", "01.02.2024 00:00 +0100"], ["2024-01-31", "2024-02-01"]),
        (["31.01.2024 00:00Z", "01.02.2024 00:00Z"], ["2024-01-31", "2024-02-01"]),
        (["2024-01-31 00:00:00 UTC", "2024-02-01 00:00:00 UTC"], ["2024-01-31", "2024-02-01"]),
        # ISO 8601 in other lengths
        (["2024-1-5", "2024-1-31 10:00"], ["2024-01-05", "2024-01-31 10:00"]),
        (["20240131T1000", "20240201T1000"], ["2024-01-31 10:00", "2024-02-01 10:00"]),
        (["  2024-01-31 ", "2024-02-01"], ["2024-01-31", "2024-02-01"]),
        (["100% 31.01.2024"], None),
    ],
)
def test_corners(cells: list[str], expected: list[str] | str | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="date"):
            parse(cells)
    else:
        if isinstance(expected, str):
            expected = list(pd.date_range("2024", periods=len(cells), freq=expected).astype(str))
        assert parse(cells).equals(pd.DatetimeIndex(pd.to_datetime(expected, format="ISO8601")))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["45292", "45293"], r"holds numbers .*--date-format: a format of strptime"),
        (["soon", "2024-01-01"], "line 2: 'soon' in column 'day' is no date"),
        (["2024-01-01", "soon"], "line 3: 'soon' in column 'day' is no date like '2024-01-01'"),
        (["2024-01-01", ""], "line 3: '' .* is no date"),
        # the present, for pandas
        (["2024-01-01", "today"], "line 3: 'today' .* is no date"),
        (["31.01.2024", "now"], "line 3: 'now' .* is no date"),
        # another format, or a shorter one
        (["31.01.2024", "01/02/2024"], "line 3: '01/02/2024' .* is no date like '31.01.2024'"),
        (["2024-01-30", "2024-01-31", "2024-02"], "line 4: '2024-02' .* is no date"),
        (["2024-01-30", "20240131", "2024-02-01"], "line 3: '20240131' .* is no date"),
        (["31.01.2024", "31.02.2024"], "line 3: '31.02.2024' .* is no date"),
        (["29.02.2023", "01.03.2023"], "line 2: '29.02.2023' .* is no date"),
        (["13/01/2024", "14/01/2024", "01/15/2024"], "line 4: '01/15/2024' .* is no date"),
        (["2024-H1", "2024-H2"], "line 2: '2024-H1' .* is no date"),
        (["2024T1", "2024T2"], "line 2: '2024T1' .* is no date"),
        (["KW 5 2024", "KW 6 2024"], "line 2: 'KW 5 2024' .* is no date"),
        (["1st May 2024", "2nd May 2024"], "line 2: '1st May 2024' .* is no date"),
        (["1871", "1872"], r"holds numbers \(1871, ...\), not dates.*--date-format: %Y"),
        (["20240131", "20240201"], r"holds numbers .*--date-format: %Y%m%d"),
        (["2024.01", "2024.02"], r"holds numbers .*--date-format: %Y.%m"),
        (["45292.5", "45293.5"], r"holds numbers"),
        (["20240131120000", "20240131130000"], r"--date-format: %Y%m%d%H%M%S"),
        (["1577836800", "1577840400"], r"since 1970, convert them: .*frame\['day'\], unit='s'"),
        (["1577836800000", "1577840400000"], r"unit='ms'"),
        (["2024-03-30T00:00+01:00", "2024-04-01T00:00+02:00"], "in several time zones"),
        (["31.03.2024 00:00 +0100", "01.04.2024 00:00 +0200"], "in several time zones"),
        # both orders fit and both have a constant step, or no row decides
        (
            [f"01/{month:02}/2024" for month in range(1, 13)],
            r"line 3: '01/02/2024' .* may be 2024-02-01 \(%d/%m/%Y\) or 2024-01-02 \(%m/%d/%Y\)",
        ),
        (["01/02/2024", "02/02/2024"], "may be 2024-02-01 .* --date-format"),
        (["01/02/24", "03/02/24", "04/03/24"], "may be .* or 2001-02-24"),
        (["01.01.68", "02.01.68", "03.01.68"], "may be 2068-01-01 .* or 1968.* four digits"),
    ],
)
def test_what_has_no_single_meaning_is_refused(cells: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(cells)


@pytest.mark.parametrize("date_format", ["%Q", "%G-W%V"])
def test_a_format_that_is_none_is_refused(date_format: str) -> None:
    with pytest.raises(ValueError, match=f"`date_format` must be .* received '{date_format}'"):
        parse(["2024-01-01"], date_format)


def test_a_cell_that_does_not_have_the_named_format_is_refused() -> None:
    with pytest.raises(ValueError, match=r"line 3: '2\.1\.24' .* in the format '%d/%m/%y'"):
        parse(["1/1/24", "2.1.24"], "%d/%m/%y")


@pytest.mark.parametrize(
    ("form", "freq"), [("%d/%m/%Y", "MS"), ("%m/%d/%Y", "MS"), ("%d.%m.%y", "QS")]
)
def test_a_frequency_that_is_named_decides(form: str, freq: str) -> None:
    times = pd.date_range("2020-01-01", periods=30, freq=freq).delete([3, 17])
    cells = list(times.strftime(form))
    assert parse(cells, freq=freq).equals(times)
    for unhelpful in (None, "D", "soon"):
        with pytest.raises(ValueError, match="may be"):
            parse(cells, freq=unhelpful)


def test_the_order_of_rows_is_that_within_each_series() -> None:
    cells = ["05/02/2024", "07/02/2024", "03/03/2024"] * 2
    expected = pd.DatetimeIndex(["2024-02-05", "2024-02-07", "2024-03-03"] * 2)
    assert parse(cells, series=[0, 0, 0, 1, 1, 1]).equals(expected)
    with pytest.raises(ValueError, match="may be"):
        parse(cells[:3] + cells[1:3] + cells[:1])


def test_clocks_put_back_in_autumn_are_refused_with_the_line() -> None:
    """Local times without a zone hold an hour twice."""
    times = pd.date_range("2024-10-26", periods=48, freq="h", tz="Europe/Berlin")
    lines = ["time,v", *(f"{time:%d.%m.%Y %H:%M},{row}" for row, time in enumerate(times))]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "hours.csv"
        path.write_text("\n".join(lines))
        with pytest.raises(ValueError, match=r"line 29: '27.10.2024 02:00' .* is there twice"):
            read_csv(path)
        path.write_text("\n".join(line for number, line in enumerate(lines, 1) if number != 29))
        assert len(read_csv(path)) == 47


@settings(max_examples=300)
@example("%d.%m.%y", "D", datetime(2023, 1, 1), 200, [], False)
@example("%d.%m.%y", "D", datetime(2023, 1, 1), 365, [100], False)
@example("%d.%m.%y", "D", datetime(2023, 1, 1), 12, [], False)
@example("%d/%m/%Y %I:%M %p", "D", datetime(2023, 1, 1), 200, [], False)
@example("%m/%d/%Y", "MS", datetime(2020, 1, 1), 12, [], False)
@example("%y-%m-%d", "YS", datetime(2001, 1, 1), 30, [], False)
@example("%d.%m.%y", "D", datetime(1968, 12, 1), 60, [], True)
@given(
    form=st.builds(
        lambda order, sign, clock: sign.join(order) + clock,
        st.permutations(["%d", "%m"]).map(lambda parts: [*parts, "%y"])
        | st.permutations(["%d", "%m"]).map(lambda parts: [*parts, "%Y"])
        | st.just(["%y", "%m", "%d"])
        | st.just(["%Y", "%m", "%d"]),
        st.sampled_from("./-"),
        st.sampled_from([" %H:%M", " %I:%M %p", ""]),
    ),
    freq=st.sampled_from(["D", "B", "W-TUE", "MS", "ME", "QS", "YS", "12h", "h"]),
    start=st.datetimes(datetime(1955, 1, 1), datetime(2040, 1, 1)),
    length=st.integers(3, 100),
    dropped=st.lists(st.integers(0, 99), max_size=2),
    backwards=st.booleans(),
)
def test_a_regular_series_comes_back_or_its_format_is_asked_for(
    form: str, freq: str, start: datetime, length: int, dropped: list[int], backwards: bool
) -> None:
    clock = form[8:]
    assume(clock or not freq.endswith("h"))
    times = pd.date_range(start.replace(second=0, microsecond=0), periods=length, freq=freq)
    if not clock:
        times = times.normalize()
    times = times.delete([place for place in set(dropped) if length > 20 and place < length])
    assume("%y" not in form or times[-1].year < 2050)
    times = times[::-1] if backwards else times
    cells = list(times.strftime(form))
    possible = readings(cells, form)
    truth = tuple(times.to_pydatetime())
    assert truth in possible
    error = ""
    try:
        found = parse(cells)
    except ValueError as refusal:
        error = str(refusal)
    if error:
        assert "may be" in error
        assert len(possible) > 1
    else:
        assert tuple(found.to_pydatetime()) == truth
