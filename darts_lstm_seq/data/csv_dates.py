"""Cells of text -> dates: one format for a whole column, found by consistency over all its rows.

The first cell proposes formats (day first, month first, ...); those that all cells fit remain, and
pandas parses by them, never cell by cell. Where several remain and give different dates, the one
with the frequency that the caller names is right, else the one with a constant step, else the one
under which the rows are in order; where none of them decides, the caller is asked.
"""

import calendar
import locale
import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from functools import lru_cache
from itertools import product

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from darts_lstm_seq.data.csv_numbers import is_number
from darts_lstm_seq.data.csv_table import Table

_ZONE = r"\s?(?:Z\b|[+-][0-9]{2}:?[0-9]{2})"
_ISO = re.compile(
    rf"(?:[0-9]{{4}}-[0-9]{{1,2}}-[0-9]{{1,2}}|[0-9]{{8}}(?=[T ]))(?:[T ][0-9:.]+(?:{_ZONE})?)?"
)
_WEEK = re.compile(r"([0-9]{4})-?W([0-9]{2})(?:-?([1-7]))?", re.IGNORECASE)
_QUARTER = re.compile(r"([0-9]{4})[-/ ]?Q([1-4])|Q([1-4])[-/ ]?([0-9]{4})", re.IGNORECASE)
_TOKEN = re.compile(
    r"(?P<clock>(?=[0-9]+(?::|\s?[ap]m\b))[0-9]{1,2}(?P<minute>:[0-9]{2})?(?P<second>:[0-9]{2})?"
    rf"(?P<fraction>\.[0-9]+)?(?P<half>\s?[ap]m\b)?(?P<zone>{_ZONE}|\s?(?P<name>UTC|GMT))?)"
    r"|(?P<number>[0-9]+)|(?P<sign>T(?=[0-9]+:)|(?<=^[0-9]{4})M(?=[0-9]{2}$)|[\W_])|(?P<word>.\w*)",
    re.IGNORECASE | re.DOTALL,
)
# what the numbers beside the clock may be, by how many they are and whether a month has its name:
# day, month, year in two or four digits, year in four
_ORDERS = {
    (3, False): ("dmy", "mdy", "ymd"),
    (2, False): ("my", "ym"),
    (2, True): ("dy", "Yd"),
    (1, True): ("y",),
}
_DIGITS = {
    "d": {1: "%d", 2: "%d"},
    "m": {1: "%m", 2: "%m"},
    "y": {2: "%y", 4: "%Y"},
    "Y": {4: "%Y"},
}
# years of two digits up to 49 are after 2000, as in Excel; strptime takes 50 to 68 for 2050 to 2068
_LAST_YEAR = 2049


def parse_dates(
    table: Table,
    name: str,
    series: np.ndarray,
    date_format: str | None = None,
    freq: str | None = None,
) -> pd.DatetimeIndex:
    """Read a column of dates.

    Parameters
    ----------
    table
        The cells.
    name
        The column.
    series
        The number of the series that each row belongs to.
    date_format
        A format of `strptime`, or "ISO8601"; by default the one that fits all cells.
    freq
        The pandas frequency that the dates are known to have.

    Returns
    -------
    pandas.DatetimeIndex
        The dates, in the order of the rows; those with a time zone as its clocks show them.

    Raises
    ------
    ValueError
        If a cell is no date, the dates are in several time zones, or several formats fit all cells
        and give different dates.
    """
    cells = [cell.strip() for cell in table.columns[name]]
    # pandas takes these for the present
    cells = ["" if cell.lower() in ("now", "today") else cell for cell in cells]
    if date_format is None:
        cells, formats = _propose(table, name, cells)
    else:
        formats = [date_format]
        try:
            pd.to_datetime(["-"], format=date_format, errors="coerce")
        except ValueError as error:
            raise ValueError(
                f"`date_format` must be a format of strptime, '%d.%m.%Y' for instance, or "
                f"'ISO8601'; received {date_format!r}: {error}"
            ) from None
    if may_be_date(name) or (date_format and not _parse(table, name, [name], date_format).hasnans):
        raise ValueError(
            f"{table.path} has no header line: {name!r} stands where the name of the column of the "
            f"dates belongs. Put names there."
        )
    # most formats that do not fit need not be tried on all cells
    sample = cells[:: 1 + len(cells) // 1000]
    likely = [form for form in formats if not _parse(table, name, sample, form).hasnans]
    readings = {form: _parse(table, name, cells, form) for form in likely or formats}
    for known, times in list(readings.items()):
        late = times.year > _LAST_YEAR
        if date_format is None and "%y" in known and late.any():
            readings[f"{known} of 19.."] = times.where(~late, times - pd.DateOffset(years=100))
    fitting = {known: times for known, times in readings.items() if not times.hasnans}
    if not fitting:
        failures = [np.flatnonzero(times.isna()) for times in readings.values()]
        row = int(min(failures, key=len)[0])
        like = f" like {table.columns[name][0]!r}" if row else ""
        like = f" in the format {date_format!r}" if date_format else like
        raise table.refusal(
            name,
            row,
            f"is no date{like}. Correct the cell, or name the format "
            f"of all (date_format=, --date-format).",
        )
    return _choose(table, name, fitting, series, freq)


def _propose(table: Table, name: str, cells: list[str]) -> tuple[list[str], list[str]]:
    """Return the cells as pandas can parse them, and formats that the first one fits."""
    first = cells[0]
    for rewrite, known in _REWRITTEN:
        if rewrite(first):
            return list(map(rewrite, cells)), [known]
    formats = _formats(first)
    # the decimals of 2024.10 may be written 2024.1
    if is_number(first) and formats != ["%m.%Y"]:
        guess = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d"}.get(len(first), "a format of strptime")
        raise ValueError(
            f"{table.path}: column {name!r} holds numbers ({first}, ...), not dates. Name the "
            f"column of the dates (time=, --time) or, where these are dates, their format "
            f"(date_format=, --date-format: {(*formats, guess)[0]}). A column that counts steps "
            f"must start at 0 or 1, without gaps."
        )
    if not formats:
        raise table.refusal(
            name,
            0,
            "is no date; 2024-12-31 is one. Name the column of the dates (time=, --time), or their "
            "format (date_format=, --date-format).",
        )
    return cells, formats


def may_be_date(text: str) -> bool:
    """Return whether a text has a format of dates that is known."""
    return any(rewrite(text) for rewrite, _ in _REWRITTEN) or bool(_formats(text))


def fits_format(text: str, date_format: str) -> bool:
    """Return whether a text has a format of `strptime`, or is ISO 8601."""
    with suppress(ValueError):  # no format, which the caller will see
        return not pd.isna(pd.to_datetime(text, format=date_format, errors="coerce"))
    return False


def _iso(cell: str) -> str:
    return cell if _ISO.fullmatch(cell) else ""


def _week(cell: str) -> str:
    match = _WEEK.fullmatch(cell)
    if match is None:
        return ""
    year, week, day = match[1], match[2], match[3] or "1"
    with suppress(ValueError):  # pandas 2 takes week 53 of any year
        date.fromisocalendar(int(year), int(week), int(day))
        return f"{year}-{week}-{day}"
    return ""


def _quarter(cell: str) -> str:
    match = _QUARTER.fullmatch(cell)
    return f"{match[1] or match[4]}-{3 * int(match[2] or match[3]) - 2}" if match else ""


# formats that do not come from the first cell, and functions that return "" for what is none
_REWRITTEN = [(_iso, "ISO8601"), (_week, "%G-%V-%u"), (_quarter, "%Y-%m")]


def _formats(cell: str) -> list[str]:
    """Return the formats that a text may have: `%d/%m/%Y` and `%m/%d/%Y` of "01/02/2020"."""
    tokens = [(str(match.lastgroup), match) for match in _TOKEN.finditer(cell)]
    kinds = [kind for kind, _ in tokens]
    words = {match[0]: _word(match[0]) for kind, match in tokens if kind == "word"}
    named = any(form in ("%b", "%B") for forms in words.values() for form in forms)
    formats: list[str] = []
    for order in _ORDERS.get((kinds.count("number"), named), ()):
        roles = iter(order)
        parts: list[Sequence[str]] = []
        for kind, match in tokens:
            if kind == "number":
                form = _DIGITS[next(roles)].get(len(match[0]))
                parts.append([form] if form else [])
            elif kind == "word":
                parts.append(words[match[0]])
            else:
                parts.append([_clock(match) if kind == "clock" else match[0].replace("%", "%%")])
        formats += map("".join, product(*parts))
    return formats


def _word(word: str) -> list[str]:
    """Return the directives for a name of a month or a day; "May" is both long and short."""
    names = _names(locale.setlocale(locale.LC_TIME))
    return [form for form, known in names.items() if word.capitalize() in known]


@lru_cache
def _names(_: str) -> dict[str, list[str]]:
    """Return the names of months and days in a locale; making them takes longer than a look-up."""
    return {
        "%b": list(calendar.month_abbr),
        "%B": list(calendar.month_name),
        "%a": list(calendar.day_abbr),
        "%A": list(calendar.day_name),
    }


def _clock(match: re.Match[str]) -> str:
    half = match["half"]
    return "".join(
        [
            "%I" if half else "%H",
            ":%M" if match["minute"] else "",
            ":%S" if match["second"] else "",
            ".%f" if match["fraction"] else "",
            half[:-2] + "%p" if half else "",
            re.sub(r"[^\s]+", "%Z" if match["name"] else "%z", match["zone"] or ""),
        ]
    )


def _parse(table: Table, name: str, cells: list[str], date_format: str) -> pd.DatetimeIndex:
    """Return the dates, NaT where a cell has not the format."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of several time zones, before pandas 3
            times = pd.to_datetime(cells, format=date_format, errors="coerce")
    except ValueError:
        times = None
    if not isinstance(times, pd.DatetimeIndex):
        raise ValueError(
            f"{table.path}: the dates in {name!r} are in several time zones, of summer and winter "
            f"perhaps. Write all in one, UTC for instance."
        )
    return times.tz_localize(None)


def _choose(
    table: Table,
    name: str,
    readings: dict[str, pd.DatetimeIndex],
    series: np.ndarray,
    freq: str | None,
) -> pd.DatetimeIndex:
    """Return the reading that has the frequency, is regular or in order, where others do not."""
    different: dict[str, pd.DatetimeIndex] = {}
    for known, times in readings.items():
        if not any(times.equals(other) for other in different.values()):
            different[known] = times
    if len(different) == 1:
        return next(iter(different.values()))
    for plausible in (
        lambda times: _has_frequency(times, freq),
        _is_regular,
        lambda times: _is_in_order(times, series),
    ):
        likely = [times for times in different.values() if plausible(times)]
        if len(likely) == 1:
            return likely[0]
    rows = zip(*different.values(), strict=True)
    row = next(row for row, dates in enumerate(rows) if len(set(dates)) > 1)
    forms = " or ".join(f"{times[row].date()} ({form})" for form, times in different.items())
    raise table.refusal(
        name,
        row,
        f"may be {forms}, and no other cell decides. Name the format of all (date_format=, "
        f"--date-format){', or write years with four digits' if '%y' in forms else ''}.",
    )


def _has_frequency(times: pd.DatetimeIndex, freq: str | None) -> bool:
    """Return whether dates, among which some may be missing, have a frequency."""
    with suppress(ValueError):  # no frequency of pandas, which the caller will see
        return freq is not None and all(map(to_offset(freq).is_on_offset, times.unique()))
    return False


def _is_regular(times: pd.DatetimeIndex) -> bool:
    """Return whether dates have a constant step: a frequency of pandas, or months on one day."""
    times = times.unique().sort_values()
    if len(times) < 3:
        return False
    months = np.diff(12 * times.year + times.month)
    in_month = times - times.to_period("M").start_time
    monthly = (in_month == in_month[0]).all() and (months == months[0]).all()
    return bool(monthly) or pd.infer_freq(times) is not None


def _is_in_order(times: pd.DatetimeIndex, series: np.ndarray) -> bool:
    """Return whether each series runs in one direction, of three dates at least."""
    steps = pd.Series(times).groupby(series).diff().dropna()
    forwards = steps.to_numpy() > np.timedelta64(0)
    return len(steps) > 1 and bool(forwards.all() or not forwards.any())
