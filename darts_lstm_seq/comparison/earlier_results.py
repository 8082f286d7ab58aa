"""Whether a folder holds the results of other data, which a comparison would replace.

Told by the table of forecasts, which holds the actual values; how results are stored and resumed is
up to `results_folder.py`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.logging import get_logger

from darts_lstm_seq.comparison.results_folder import to_cell

logger = get_logger(__name__)


def warn_of_other_results(out: str | Path, series: Mapping[Any, TimeSeries]) -> None:
    """Name in the log what a folder holds results of, if that is not in these series.

    Parameters
    ----------
    out
        The folder, which need not exist.
    series
        The series of a comparison, by their names.
    """
    try:
        table = pd.read_csv(Path(out) / "forecasts.csv", dtype=str, keep_default_na=False)
        owners = ["series", "component"] if "series" in table else ["component"]
        firsts = table.groupby(owners, sort=False).first()[["time", "actual"]]
    except (OSError, ValueError, KeyError):  # no such table
        return
    named: dict[str, list[TimeSeries]] = {}  # 1 and "1" have the same cell
    for name, one in series.items():
        named.setdefault(to_cell(str(name)), []).append(one)
    for owner, row in firsts.iterrows():
        cell, component = owner if isinstance(owner, tuple) else (None, owner)
        ones = series.values() if cell is None else named.get(cell, [])
        if not any(_holds(one, component, row["time"], row["actual"]) for one in ones):
            logger.warning(
                "`out` (%s) held results of other data, %r for instance, which are replaced.",
                out,
                cell or component,
            )
            return


def _holds(series: TimeSeries, component: str, time: str, actual: str) -> bool:
    """Return whether a series has a value at a time, all three as a table has them."""
    try:
        row = series.time_index.get_loc(
            pd.Timestamp(time) if series.has_datetime_index else int(time)
        )
        column = [to_cell(name) for name in series.components].index(component)
        expected = float(actual or "nan")
    except (ValueError, KeyError, TypeError, OverflowError):  # no such time, component or number
        return False
    value = series.all_values(copy=False)[row, column, 0]
    return bool(np.isclose(value, expected, rtol=1e-6, atol=0, equal_nan=True))
