"""Data frames, Parquet files and Excel workbooks -> the table of cells that a CSV file gives.

So they go through the same choice of columns, and the same errors, as text. Frames are read by
narwhals, files by pandas and its engines, which are extras of this package.
"""

import datetime as dt
import io
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
from darts.logging import get_logger

from darts_lstm_seq.data.csv_dates import may_be_date
from darts_lstm_seq.data.csv_table import Table, make_table

logger = get_logger(__name__)


def is_frame(value: object) -> bool:
    """Return whether a value is a data frame that narwhals reads, or a pandas Series."""
    return isinstance(value, pd.Series) or nw.dependencies.is_into_dataframe(value)


def frame_table(frame: Any, name: str = "the data frame") -> Table:
    """Return the table of a data frame.

    Parameters
    ----------
    frame
        A pandas data frame or Series, or any frame that narwhals reads. The index of pandas is a
        column, unless it has no name and numbers the rows of a table with dates.
    name
        What an error calls it.

    Raises
    ------
    ValueError
        If there are no rows or columns, or several columns have one name.
    """
    if isinstance(frame, pd.Series):
        frame = frame.to_frame("value" if frame.name is None else frame.name)
    if isinstance(frame, pd.DataFrame) and len(frame):
        frame = _with_index(frame)
        columns = {str(key): frame.iloc[:, at].tolist() for at, key in enumerate(frame.columns)}
        names = [str(key) for key in frame.columns]
    else:
        frame = nw.from_native(frame, eager_only=True)  # also an empty one of pandas
        columns = {key: frame[key].to_list() for key in frame.columns}
        names = frame.columns
    if len(columns) < len(names):
        raise ValueError(f"{name} has several columns of one name: {names}. Rename them.")
    if not len(frame) or not columns:
        raise ValueError(f"{name} has no rows.")
    cells = {key: _texts(values) for key, values in columns.items()}
    numeric = frozenset(key for key, values in columns.items() if _has_number(values))
    return Table(name, cells, list(range(len(frame))), "", numeric, "row")


def _with_index(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with its index among the columns, unless it is a number of the row alone."""
    # a frame of which rows were chosen, sorted or joined has their old numbers
    is_number = pd.api.types.is_integer_dtype(frame.index) and frame.index.name is None
    if is_number and any(
        pd.api.types.is_datetime64_any_dtype(column) or may_be_date(str(column.iloc[0]))
        for _, column in frame.iloc[:1].items()
    ):
        return frame
    return frame.reset_index()


def parquet_table(path: str, raw: bytes) -> Table:
    """Return the table of a Parquet file.

    Raises
    ------
    ValueError
        If the engine is missing, or the file is damaged.
    """
    return frame_table(_read(path, "Parquet file", "parquet", _parquet, raw), path)


def excel_table(path: str, raw: bytes) -> Table:
    """Return the table of the first sheet of an Excel workbook; blank rows are skipped.

    Raises
    ------
    ValueError
        If the engine is missing, the workbook is damaged, or its first sheet holds no table.
    """
    sheets, frame = _read(path, "Excel workbook", "excel", _excel, raw)
    if len(sheets) > 1:
        logger.warning("%s: of %s the first sheet is read.", path, sheets)
    rows, lines = [], []
    for line, values in enumerate(frame.itertuples(index=False), start=1):
        cells = list(map(_text, values))
        if any(cells):
            rows.append(cells)
            lines.append(line)
    if not rows:
        raise ValueError(f"{path} is empty: its first sheet {sheets[0]!r} holds nothing.")
    values = frame.iloc[lines[0] :]
    numeric = [at for at in range(frame.shape[1]) if _has_number(values.iloc[:, at])]
    return make_table(path, rows, lines, f"sheet {sheets[0]!r}", numeric)


def _read(path: str, kind: str, extra: str, read: Callable[[io.BytesIO], Any], raw: bytes) -> Any:
    try:
        return read(io.BytesIO(raw))
    except ImportError as error:
        raise ValueError(
            f"{path} is a{'n' * (kind[0] == 'E')} {kind}, which needs the extra {extra!r}: install "
            f"darts-lstm-seq[{extra}], or export it as CSV. ({error})"
        ) from error
    except Exception as error:  # of any class: the engines meet what they did not expect
        raise ValueError(f"{path} is no readable {kind}: {error}") from error


def _parquet(file: io.BytesIO) -> pd.DataFrame:
    return pd.read_parquet(file, engine="pyarrow")


def _excel(file: io.BytesIO) -> tuple[list[str], pd.DataFrame]:
    with pd.ExcelFile(file, engine="openpyxl") as book:
        sheets = list(map(str, book.sheet_names))
        return sheets, book.parse(0, header=None, dtype=object, na_filter=False)


def _texts(values: list[Any]) -> list[str]:
    plain: dict[type, Callable[[Any], str]] = {float: repr, int: str, str: str}  # for speed
    types = set(map(type, values))
    return list(map(plain.get(types.pop(), _text) if len(types) == 1 else _text, values))


def _text(value: Any) -> str:
    """Return a cell as a CSV file would have it, all digits of numbers included."""
    if isinstance(value, str):
        return value
    if value is None or value is pd.NaT or value is pd.NA:
        return ""
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None).isoformat()  # as its clock shows it, summer and winter
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, bool | np.bool_):
        return str(value)
    if isinstance(value, Integral):
        return str(int(value))
    return repr(float(value)) if isinstance(value, Real) else str(value)


def _has_number(values: Iterable[Any]) -> bool:
    """Return whether a column holds numbers, with texts for missing ones perhaps."""
    return any(isinstance(value, Real) and not isinstance(value, bool) for value in values)
