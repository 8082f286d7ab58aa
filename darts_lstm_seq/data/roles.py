"""What each column of a table is: time, name of the series, values to forecast, or not read.

Values are all columns of numbers, except those that count the rows or repeat the date. What a cell
means is up to `csv_dates` and `csv_numbers`, the frequency to `time_axis`.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
from darts.logging import get_logger

from darts_lstm_seq.data.csv_dates import fits_format, may_be_date, parse_dates
from darts_lstm_seq.data.csv_numbers import (
    are_row_numbers,
    filled_cells,
    holds_numbers,
    is_number,
    parse_numbers,
    without_unit,
)
from darts_lstm_seq.data.csv_table import Table

logger = get_logger(__name__)

# in fewer rows, values may count or repeat the date by chance
_FEWEST_ROWS = 12
# columns that a description names
_MOST_NAMES = 8
_MONTH = re.compile(r"(0?[1-9]|1[0-2])\.[12][0-9]{3}")  # dates that are numbers, too
_INTEGER = re.compile("[+-]?[0-9]{1,15}")


def values_by_time(
    table: Table,
    series: str | None = None,
    time: str | None = None,
    values: Sequence[str] | None = None,
    freq: str | None = None,
    date_format: str | None = None,
    decimal: str | None = None,
) -> pd.DataFrame:
    """Return the values of a table by time, or by series and time; parameters as in `read_csv`.

    Raises
    ------
    ValueError
        If there are no such columns, or a cell is at fault. The message ends with a description of
        the table.
    """
    with _described(table):
        keys = [] if series is None else [series]
        for name in (*keys, *([time] if time else []), *(values or ())):
            if name not in table.columns:
                raise ValueError(f"{table.path} has no column {name!r}.")
        if len(table.columns) == 1:
            raise ValueError(
                f"{table.path} has a single column: dates and numbers are needed. Name the "
                f"separator (separator=, --separator), if there are more."
            )
        _check_layout(table)
        whose, names = _series_of_rows(table, series)
        time = time or find_time(table, series, values, date_format)
        steps = None if date_format else _parse_steps(table.columns[time], whose)
        if steps is not None:
            times: pd.Index = pd.Index(steps)
        else:
            times = parse_dates(table, time, whose, date_format, freq)
        _check_unique(table, series, time, whose, times)
        if values:
            found = parse_numbers(table, _cells_of(table, values), decimal)
        else:
            others = [name for name in table.columns if name not in (time, *keys)]
            found = _find_values(table, others, times, whose, decimal)
        if not found:
            raise ValueError(
                f"{table.path} has no column of numbers beside {time!r}. Name the columns (time=, "
                f"values=; --time, --value), or the separator (separator=, --separator)."
            )
        frame = pd.DataFrame(found, index=times.rename(time))
        if keys:
            frame.index = pd.MultiIndex.from_arrays([names[whose], times.rename(time)])
        return frame.iloc[np.lexsort((times, whose))]  # series in the order of their first lines


@contextmanager
def _described(table: Table) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{error} {describe(table)}") from error.__cause__


def describe(table: Table) -> str:
    """Return in a sentence what a table looks like: its columns with their types and first cells.

    Examples
    --------
    >>> from darts_lstm_seq.data.csv_table import Table
    >>> from darts_lstm_seq.data.roles import describe
    >>> describe(Table("a.csv", {"day": ["1.2.2024"], "v": ["1,5"]}, [2], "separated by ';'"))
    "The table (separated by ';') has the columns 'day' (dates: '1.2.2024'), 'v' (numbers: '1,5')."
    """
    parts = []
    for name in list(table.columns)[:_MOST_NAMES]:
        cell = next(iter(filled_cells(table, name).values()), None)
        if cell is None:
            parts.append(f"{name!r} (empty)")
            continue
        is_date = may_be_date(cell) and not is_number(cell)
        kind = "dates" if is_date else "numbers" if is_number(cell) else "text"
        parts.append(f"{name!r} ({kind}: {cell[:30]!r})")
    further = len(table.columns) - len(parts)
    looks = f" ({table.looks})" if table.looks else ""
    columns = ", ".join(parts) + (f" and {further} more" if further else "")
    return f"The table{looks} has the columns {columns}."


def find_series(table: Table, time: str) -> list[str]:
    """Return which columns of text tell series apart that share dates, if they stand in rows."""
    times = table.columns[time]
    return [
        name
        for name, cells in table.columns.items()
        if name != time
        and not holds_numbers(filled_cells(table, name).values())
        and "" not in cells
        and not pd.DataFrame({"series": cells, "time": times}).duplicated().any()
    ]


def _series_of_rows(table: Table, series: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the series of each row, and the names by number."""
    if series is None:
        return np.zeros(len(table.lines), dtype=int), np.array([""], dtype=object)
    cells = table.columns[series]
    if "" in cells:
        raise table.refusal(series, cells.index(""), "names no series.")
    return pd.factorize(np.asarray(cells, dtype=object))


def find_time(
    table: Table,
    series: str | None = None,
    values: Sequence[str] | None = None,
    date_format: str | None = None,
) -> str:
    """Return the first column of dates, or else of steps, or else the first."""
    others = [name for name in table.columns if name not in (series, *(values or ()))]
    whose, _ = _series_of_rows(table, series)

    def is_dated(name: str) -> bool:
        cell = _first(table, name)
        return fits_format(cell, date_format) if date_format else _is_date(cell)

    def is_number_and_date(name: str) -> bool:
        return all(map(_MONTH.fullmatch, map(str.strip, table.columns[name])))

    def is_step(name: str) -> bool:
        return _parse_steps(table.columns[name], whose) is not None

    tests = [is_dated, is_number_and_date]
    if not any(_is_date(cell) for name in others for cell in set(table.columns[name])):
        tests.append(is_step)
    for test in tests:
        for name in others:
            if test(name):
                return name
    return others[0] if others else next(iter(table.columns))


def _first(table: Table, name: str) -> str:
    return next(filter(None, map(str.strip, table.columns[name])), "")


def _is_date(cell: str) -> bool:
    return may_be_date(cell) and not is_number(cell)


def _parse_steps(cells: Sequence[str], whose: np.ndarray) -> np.ndarray | None:
    """Return a column that counts the steps of each series from 0 or 1; `None` if it does not."""
    if not all(map(_INTEGER.fullmatch, map(str.strip, cells))):
        return None
    steps = np.array(list(map(int, cells)))
    order = np.lexsort((steps, whose))
    within = np.diff(whose[order]) == 0
    starts = steps[order][np.concatenate([[True], ~within])]
    counts = set(starts) <= {0, 1} and (np.diff(steps[order])[within] == 1).all()
    return steps if counts and len(steps) > 1 else None


def _check_layout(table: Table) -> None:
    dates = list(filter(_is_date, table.columns))
    if len(dates) > 2:
        raise ValueError(
            f"{table.path} has dates in its header line ({dates[0]}, {dates[1]}, ...): one row for "
            f"each date is needed. Transpose the table."
        )


def _check_unique(
    table: Table, series: str | None, time: str, whose: np.ndarray, times: pd.Index
) -> None:
    twice = pd.DataFrame({"series": whose, "time": times}).duplicated()
    if not twice.any():
        return
    repair = f"Column {series!r} does not tell all series apart; join the columns that do."
    if series is None:
        found = find_series(table, time)
        repair = (
            f"If the file holds several series one below the other, name the column that tells "
            f"them apart (read_many_csv, --series{f': {found[0]!r} does' if found else ''})."
        )
    raise table.refusal(time, int(np.flatnonzero(twice)[0]), f"is there twice. {repair}")


def _cells_of(table: Table, names: Sequence[str]) -> dict[str, dict[int, str]]:
    """Return the filled cells of columns, without units, which a log message names."""
    columns, units = {}, {}
    for name in names:
        columns[name], unit = without_unit(table, name, filled_cells(table, name))
        if unit:
            units[name] = unit
    if units:
        told = ", ".join(f"{name!r} is in {unit}" for name, unit in units.items())
        logger.warning("%s: signs left out of the cells: %s.", table.path, told)
    return columns


def _find_values(
    table: Table, names: Sequence[str], times: pd.Index, whose: np.ndarray, decimal: str | None
) -> dict[str, np.ndarray]:
    """Return the columns to forecast; a log message names the others."""
    columns = _cells_of(table, names)
    skipped = {}
    for name, texts in columns.items():
        if name.startswith("Unnamed: 0") and are_row_numbers(table.columns[name]):
            skipped[name] = "row numbers"  # as pandas writes them
        elif not holds_numbers(texts.values()):
            skipped[name] = next(
                (repr(text) for text in texts.values() if not is_number(text)), "nothing"
            )
    kept = {name: texts for name, texts in columns.items() if name not in skipped}
    found = parse_numbers(table, kept, decimal) if kept else {}
    parts = list(_parts_of_dates(times)) if isinstance(times, pd.DatetimeIndex) else []
    first = next(iter(table.columns))
    said = {
        name: what
        for name, numbers in found.items()
        if (what := _what_is_known(numbers, parts, whose, name == first))
    }
    if len(said) < len(found):  # what is left is to be forecast, whatever it looks like
        skipped |= said
    if skipped:
        told = ", ".join(f"{name!r} (holds {held})" for name, held in skipped.items())
        logger.warning("%s: columns that are not read: %s.", table.path, told)
    return {name: numbers for name, numbers in found.items() if name not in skipped}


def _what_is_known(
    numbers: np.ndarray,
    parts: Sequence[tuple[str, np.ndarray]],
    whose: np.ndarray,
    is_first: bool,
) -> str | None:
    """Return what a column repeats that need not be forecast: one number, that of the row, a date.

    Parameters
    ----------
    numbers
        The column.
    parts
        Parts of the dates, such as the month, by their names.
    whose
        The series of each row.
    is_first
        Whether it is the first column of the table.
    """
    is_long = len(numbers) >= _FEWEST_ROWS
    if is_long and len(set(numbers)) == 1:
        return f"{numbers[0]:g} everywhere"
    order = np.argsort(whose, kind="stable")
    steps = np.diff(numbers[order])[np.diff(whose[order]) == 0]
    if (is_long or is_first) and (
        (len(numbers) > 1 and (np.diff(numbers) == 1).all())
        or (len(steps) and (steps == 1).all())  # those of each series
    ):
        return "row numbers"
    matching = (part for part, known in parts if is_long and np.array_equal(numbers, known))
    return next((f"the {part} of the date" for part in matching), None)


def _parts_of_dates(times: pd.DatetimeIndex) -> Iterator[tuple[str, np.ndarray]]:
    for part in ("year", "quarter", "month", "day", "hour", "minute", "dayofyear"):
        yield part, getattr(times, part).to_numpy()
    yield "week", times.isocalendar()["week"].to_numpy()
    # from Monday or Sunday on, counted from 0 or 1
    for first in (0, 1):
        for shift in (0, 1):
            yield "weekday", (times.dayofweek.to_numpy() + shift) % 7 + first
