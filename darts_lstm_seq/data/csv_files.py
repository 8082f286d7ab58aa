"""A user's own table -> series, or a `ValueError` that names the line, the column and the cell.

Files are read by `table_files`, data frames by `frame_table`; columns are chosen by `roles`, dates
made regular by `time_axis`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import pandas as pd
from darts import TimeSeries
from darts.logging import get_logger

from darts_lstm_seq.data.csv_table import Table
from darts_lstm_seq.data.frame_table import frame_table
from darts_lstm_seq.data.roles import find_series, find_time, values_by_time
from darts_lstm_seq.data.table_files import read_table
from darts_lstm_seq.data.time_axis import regular

logger = get_logger(__name__)


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
    r"""Read a series from a CSV, Excel or Parquet file with a header line, compressed or not.

    How the file is written is found by consistency over all rows. A file that can be read in two
    ways with different results is refused, with the option that decides.

    Parameters
    ----------
    path
        The file; "-" for standard input. CSV may be compressed by gzip, bzip2, xz, or as the only
        file of a ZIP archive. Of a workbook (.xlsx) the first sheet is read, by the extra
        ``excel``; Parquet is read by the extra ``parquet``.
    time
        Column of the dates; by default the first one that holds some. It may also count steps from
        0 or 1, which is the default where nothing is a date.
    values
        Columns of the values; by default all whose cells are numbers, except those that count the
        rows or repeat a part of the date, such as its month, unless nothing else is left. A log
        message names those that are not read.
    freq
        Pandas frequency of the dates. Needed where dates are missing in between: those steps become
        missing values (NaN). Dates on one day of their months become the first of the month.
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
        thousands (984, 1.018, 1.164) needs it. A currency or percent sign that all cells of a
        column have is left out, and logged.
    encoding
        Encoding as for `open`; by default UTF-8, or UTF-16 or UTF-32 where the bytes tell it.

    Returns
    -------
    TimeSeries
        One component per value column, in the units of the file. Blank cells and signs for missing
        values (".", "-", "?", NA, NULL, ...) are NaN.

    Raises
    ------
    ValueError
        If the file is not such a table, or is ambiguous. The message names line, column and cell,
        and what to do, and describes the table.
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
    return _one(read_columns(path, csv_format), time, values, freq, csv_format)


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
    return _many(read_columns(path, csv_format), series, time, values, freq, csv_format)


def series_from_frame(frame: Any) -> TimeSeries | dict[Any, TimeSeries]:
    """Return the series of a data frame; several that stand one below the other by their names.

    Parameters
    ----------
    frame
        A pandas data frame or Series, or any frame that narwhals reads (Polars, PyArrow, ...). The
        dates are the first column that holds some, or the index; the values are chosen as by
        `read_csv`. Where dates are there twice, the one column of text that tells the rows apart
        names the series.

    Raises
    ------
    ValueError
        If the frame is not such a table, or is ambiguous.

    Examples
    --------
    >>> import pandas as pd
    >>> from darts_lstm_seq.data import series_from_frame
    >>> days = pd.date_range("2024-01-01", periods=3)
    >>> frame = pd.DataFrame({"shop": ["a"] * 3 + ["b"] * 3, "day": [*days, *days], "sales": 1.5})
    >>> {name: len(series) for name, series in series_from_frame(frame).items()}
    {'a': 3, 'b': 3}
    """
    table = frame_table(frame)
    time = find_time(table)
    if len(set(table.columns[time])) == len(table.lines):
        return _one(table, time)
    names = find_series(table, time)
    if len(names) != 1:
        raise ValueError(
            f"{table.path} has dates that are there twice in {time!r}, and "
            f"{'several columns' if names else 'no column of text'} that may name the series"
            f"{f': {names}' if names else ''}. Make series of it by "
            f"`TimeSeries.from_group_dataframe(frame, group_cols=..., time_col={time!r})`."
        )
    return _many(table, names[0], time)


def read_all_series(
    table: Table,
    values: Sequence[str] | None,
    series: str | None,
    time: str | None,
    freq: str | None,
    csv_format: CSVFormat,
) -> TimeSeries | dict[Any, TimeSeries]:
    """Return the series of a table, or those that a column names; parameters as for `read_csv`."""
    if series is None:
        return _one(table, time, values, freq, csv_format)
    return _many(table, series, time, values, freq, csv_format)


def read_columns(path: str | Path, csv_format: CSVFormat) -> Table:
    """Return the cells of a file."""
    return read_table(path, csv_format.get("separator"), csv_format.get("encoding"))


def _one(
    table: Table,
    time: str | None = None,
    values: Sequence[str] | None = None,
    freq: str | None = None,
    csv_format: CSVFormat | None = None,
) -> TimeSeries:
    frame = _values(table, None, time, values, freq, csv_format)
    return TimeSeries.from_dataframe(regular(frame, freq, table.path))


def _many(
    table: Table,
    series: str,
    time: str | None = None,
    values: Sequence[str] | None = None,
    freq: str | None = None,
    csv_format: CSVFormat | None = None,
) -> dict[Any, TimeSeries]:
    frame = _values(table, series, time, values, freq, csv_format)
    groups = {name: group.droplevel(0) for name, group in frame.groupby(level=0, sort=False)}
    if freq is None:
        longest = max(groups, key=lambda name: len(groups[name]))
        times = regular(groups[longest], None, f"{table.path}, series {longest!r}").index
        freq = times.freqstr if isinstance(times, pd.DatetimeIndex) else None
    return {
        name: TimeSeries.from_dataframe(regular(group, freq, f"{table.path}, series {name!r}"))
        for name, group in groups.items()
    }


def _values(
    table: Table,
    series: str | None,
    time: str | None,
    values: Sequence[str] | None,
    freq: str | None,
    csv_format: CSVFormat | None,
) -> pd.DataFrame:
    options = csv_format or {}
    return values_by_time(
        table,
        series,
        time,
        values,
        freq,
        date_format=options.get("date_format"),
        decimal=options.get("decimal"),
    )
