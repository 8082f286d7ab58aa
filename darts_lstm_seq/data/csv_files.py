"""A user's own CSV file -> series, or a `ValueError` that names the line, the column and the cell.

Cells are found by `csv_table`, dates and numbers by `csv_dates` and `csv_numbers`; the time axis is
made regular here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.logging import get_logger
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import BaseOffset

from darts_lstm_seq.data.csv_dates import may_be_date, parse_dates
from darts_lstm_seq.data.csv_numbers import (
    are_row_numbers,
    count_the_rows,
    filled_cells,
    holds_numbers,
    is_number,
    parse_numbers,
)
from darts_lstm_seq.data.csv_table import read_table

logger = get_logger(__name__)

# a file with fewer values than one in so many steps is taken for one of another frequency
_SPARSEST = 10
_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
# frequencies to suggest, from long to short steps
_FREQUENCIES = [
    *(f"{step}-{month}" for step in ("YS", "YE") for month in _MONTHS),
    *(f"{step}-{month}" for step in ("QS", "QE") for month in ("JAN", "FEB", "MAR")),
    *("MS", "ME", "BMS", "BME"),
    *(f"W-{day}" for day in _DAYS),
    *("B", "D", "h", "30min", "15min", "5min", "min", "s"),
]


class CSVFormat(TypedDict, total=False):
    """Options for what cannot be detected in a file, see `read_csv`."""

    date_format: str | None
    separator: str | None
    decimal: str | None
    encoding: str | None


def read_csv(
    path: str | Path,
    time: str | None = None,
    values: Sequence[str] | None = None,
    freq: str | None = None,
    **csv_format: Unpack[CSVFormat],
) -> TimeSeries:
    r"""Read a series from a CSV file with a header line.

    How the file is written is found by consistency over all rows. A file that can be read in two
    ways with different results is refused, with the option that decides.

    Parameters
    ----------
    path
        The file.
    time
        Column of the dates; the first by default.
    values
        Columns of the values; by default all whose cells are numbers. A log message names those
        that are not read. A first column of row numbers without a name, as pandas writes
        it, is skipped.
    freq
        Pandas frequency of the dates. Needed where dates are missing in between: those steps become
        missing values (NaN).
    date_format
        Format of the dates as for `strptime`, or "ISO8601". By default the one that all dates have:
        ISO 8601, its weeks included, and quarters; day, month and year in any order that ends or
        starts with the year, of two or four digits, with or without names of months, a day, a time
        and AM or PM. Years of two digits up to 49 are after 2000. Where several orders fit all rows
        and give different dates, that one is taken which alone has the frequency `freq`, else a
        constant step, else leaves the rows in order; if none does, the file is refused. Dates that
        are numbers (1871, 20240131) need it.
    separator
        Column separator. By default a tab, semicolon, bar or comma, whichever divides all lines
        like the header.
    decimal
        Decimal sign, "." or ","; by default the one that all numbers agree with. Thousands may be
        divided by the other sign, a blank or an apostrophe. A file whose only signs may divide
        thousands (984, 1.018, 1.164) needs it.
    encoding
        Encoding as for `open`; UTF-8 by default.

    Returns
    -------
    TimeSeries
        One component per value column, in the units of the file. Blank cells and signs for missing
        values (".", "-", "?", NA, NULL, ...) are NaN.

    Raises
    ------
    ValueError
        If the file is not such a table, or is ambiguous. The message names line, column and cell,
        and what to do.
    OSError
        If there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> from darts_lstm_seq.data import read_csv
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("Tag;Absatz\n30.01.2024;3,5\n31.01.2024;1.005\n01.02.2024;4\n")
    ...     file.flush()
    ...     read_csv(file.name).values().ravel().tolist()
    [3.5, 1005.0, 4.0]
    """
    frame = _read_frame(path, None, time, values, freq, **csv_format)
    return TimeSeries.from_dataframe(_regular(frame, freq, path))


def read_many_csv(
    path: str | Path,
    series: str,
    time: str | None = None,
    values: Sequence[str] | None = None,
    freq: str | None = None,
    **csv_format: Unpack[CSVFormat],
) -> dict[Any, TimeSeries]:
    r"""Read series that stand one below the other in a CSV file with a header line.

    Parameters
    ----------
    path
        The file.
    series
        Column that names the series of each line.
    time
        Column of the dates; the first other one by default.
    values, freq
        As for `read_csv`. By default the frequency is that of the longest series.
    **csv_format
        `date_format`, `separator`, `decimal` and `encoding` as for `read_csv`.

    Returns
    -------
    dict[Any, TimeSeries]
        The series by their names, in the order of their first lines.

    Raises
    ------
    ValueError, OSError
        As for `read_csv`.

    Examples
    --------
    >>> import tempfile
    >>> from darts_lstm_seq.data import read_many_csv
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("shop,day,sales\n")
    ...     for line in ("b,2024-01-01,3", "b,2024-01-02,5", "b,2024-01-03,4", "a,2024-01-02,7"):
    ...         _ = file.write(line + "\n")
    ...     file.flush()
    ...     {name: len(shop) for name, shop in read_many_csv(file.name, "shop").items()}
    {'b': 3, 'a': 1}
    """
    frame = _read_frame(path, series, time, values, freq, **csv_format)
    groups = {name: group.droplevel(0) for name, group in frame.groupby(level=0, sort=False)}
    if freq is None:
        longest = max(groups, key=lambda name: len(groups[name]))
        regular = _regular(groups[longest], None, f"{path}, series {longest!r}")
        freq = pd.DatetimeIndex(regular.index).freqstr
    return {
        name: TimeSeries.from_dataframe(_regular(group, freq, f"{path}, series {name!r}"))
        for name, group in groups.items()
    }


def _read_frame(
    path: str | Path,
    series: str | None,
    time: str | None,
    values: Sequence[str] | None,
    freq: str | None,
    *,
    date_format: str | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
) -> pd.DataFrame:
    """Return the values by time, or by series and time."""
    table = read_table(path, separator, encoding)
    keys = [] if series is None else [series]
    named = list(dict.fromkeys([*keys, *([time] if time else []), *(values or ())]))
    for name in named:
        if name not in table.columns:
            raise ValueError(f"{path} has no column {name!r}; it has {list(table.columns)}.")
    owners = [""] * len(table.lines) if series is None else table.columns[series]
    if series is not None and "" in owners:
        raise table.refusal(series, owners.index(""), "names no series.")
    whose, names_of_series = pd.factorize(np.asarray(owners, dtype=object))
    dated = any(may_be_date(cells[0].strip()) for cells in table.columns.values())
    first = next(iter(table.columns))
    counters = [
        name
        for name, cells in table.columns.items()
        if dated and name not in named
        if (name.startswith("Unnamed: 0") and are_row_numbers(cells))
        or (name == first and len(table.columns) > 2 and count_the_rows(cells))
    ]
    others = [name for name in table.columns if name not in (*keys, *counters, *(values or ()))]
    time = time or next(iter(others), series)
    targets = values or [name for name in others if name != time]
    columns = {name: filled_cells(table, name) for name in targets}
    skipped = dict.fromkeys(counters, "row numbers")
    for name, texts in columns.items() if not values else ():
        if not holds_numbers(texts.values()):
            skipped[name] = next(
                (repr(text) for text in texts.values() if not is_number(text)), "nothing"
            )
    columns = {name: texts for name, texts in columns.items() if name not in skipped}
    told = ", ".join(f"{name!r} (holds {held})" for name, held in skipped.items())
    if time is None or not columns:
        raise ValueError(
            f"{path} has no column of numbers beside {time!r}: {told or 'no other column'}. Name "
            f"the columns (time=, values=; --time, --value), or the separator (separator=, "
            f"--separator)."
        )
    times = parse_dates(table, time, whose, date_format, freq).rename(time)
    twice = pd.DataFrame({"series": whose, "time": times}).duplicated()
    if twice.any():
        repair = (
            "If the file holds several series one below the other, name the column that tells them "
            "apart (read_many_csv, --series)."
            if series is None
            else f"Column {series!r} does not tell all series apart; join the columns that do."
        )
        raise table.refusal(time, int(np.flatnonzero(twice)[0]), f"is there twice. {repair}")
    frame = pd.DataFrame(parse_numbers(table, columns, decimal), index=times)
    if told:
        logger.warning("%s: columns that are not read: %s.", path, told)
    if keys:
        frame.index = pd.MultiIndex.from_arrays([names_of_series[whose], times])
    return frame.iloc[np.lexsort((times, whose))]  # series in the order of their first lines


def _regular(frame: pd.DataFrame, freq: str | None, path: str | Path) -> pd.DataFrame:
    """Return the table with a row for every step; those that the file lacks hold NaN."""
    times = pd.DatetimeIndex(frame.index)
    try:
        step = to_offset(freq or pd.infer_freq(times))
    except ValueError as error:  # fewer than three dates, or no frequency of pandas
        raise ValueError(f"{path}: {error}. {_advice(times)}") from None
    steps = _count_steps(times, step)
    if steps > _SPARSEST * len(times):
        raise ValueError(
            f"{path}: steps of {freq!r} leave {steps - len(times):.0f} of {steps:.0f} without a "
            f"value. {_advice(times)}"
        )
    if (
        step is None
        or not steps
        or not times.isin(pd.date_range(times[0], times[-1], freq=step)).all()
    ):
        missing = f" of {freq!r}" if freq else ", or some are missing"
        raise ValueError(
            f"{path}: the dates in {times.name!r} have no constant step{missing}. {_advice(times)}"
        )
    return frame.asfreq(step)


def _count_steps(times: pd.DatetimeIndex, step: BaseOffset | None) -> float:
    """Estimate how many steps the dates span, before a range is made; 0 where they do not fit.

    Seconds for months are 2.6 million times more.
    """
    if step is None or step.n <= 0 or not step.is_on_offset(times[0]):
        return 0
    return (times[-1] - times[0]) / (times[0] + step - times[0]) + 1


def _advice(times: pd.DatetimeIndex) -> str:
    """Return which frequency fits the dates."""
    for freq in _FREQUENCIES if len(times) > 1 else []:
        if 0 < _count_steps(times, to_offset(freq)) <= _SPARSEST * len(times):
            regular = pd.date_range(times[0], times[-1], freq=freq)
            if times.isin(regular).all():
                missing = f"{len(regular) - len(times)} of {len(regular)}"
                return f"freq={freq!r} fits (--freq {freq}), with {missing} dates missing."
    return "Name the frequency that they have (freq=, --freq: MS, W-MON, D, h, ...)."
