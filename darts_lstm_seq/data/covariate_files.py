"""A file with targets and covariates -> series of each kind; static covariates as numbers.

How the file is read is up to `csv_files.py`; here its columns are told apart, and future rows,
whose targets are empty, become the future part of the covariates.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.logging import get_logger

from darts_lstm_seq.data.csv_files import CSVFormat, read_all_series, read_columns
from darts_lstm_seq.data.csv_numbers import (
    filled_cells,
    is_number,
    parse_numbers,
    without_unit,
)
from darts_lstm_seq.data.csv_table import Table

logger = get_logger(__name__)


class CovariateData(NamedTuple):
    """Series by name, or one, with their covariates, and the categories of static texts."""

    series: Any
    past_covariates: Any
    future_covariates: Any
    categories: dict[str, list[str]]


def read_with_covariates(
    path: str | Path,
    series: str | None = None,
    time: str | None = None,
    values: Sequence[str] | None = None,
    freq: str | None = None,
    past: Sequence[str] = (),
    future: Sequence[str] = (),
    static: Sequence[str] = (),
    categories: Mapping[str, Sequence[str]] | None = None,
    **csv_format: Unpack[CSVFormat],
) -> CovariateData:
    r"""Read targets and covariates from one file.

    Parameters
    ----------
    path, time, values, freq, **csv_format
        As for `read_csv`; covariates are no values by default.
    series
        Column that names the series of each line, if there are several.
    past
        Columns that are known up to the end of the targets.
    future
        Columns that are known beyond it: rows at the end, with empty targets, hold their future.
    static
        Columns with one value per series: numbers, written like the others of the file, or texts,
        which become a column of zeros and ones per category.
    categories
        The categories of static texts, if a model knows them already; others are zeros throughout.

    Returns
    -------
    CovariateData
        Covariates are `None` where no columns are named.

    Raises
    ------
    ValueError
        If there is no such column, or a static covariate changes within a series or is missing.

    Examples
    --------
    >>> import tempfile
    >>> from darts_lstm_seq.data.covariate_files import read_with_covariates
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("day,sales,promo\n2024-01-01,3,0\n2024-01-02,5,1\n")
    ...     _ = file.write("2024-01-03,4,0\n2024-01-04,,1\n")
    ...     file.flush()
    ...     data = read_with_covariates(file.name, future=["promo"])
    >>> len(data.series), data.future_covariates.values().ravel().tolist()
    (3, [0.0, 1.0, 0.0, 1.0])
    """
    table = read_columns(path, csv_format)
    for name in (*past, *future, *static):
        if name not in table.columns:
            raise ValueError(
                f"{path} has no column {name!r} for a covariate, only {list(table.columns)}."
            )
    others = [*past, *future]
    options = series, time, freq, csv_format
    if values is None:
        kept = {n: cells for n, cells in table.columns.items() if n not in {*others, *static}}
        plain = read_all_series(dataclasses.replace(table, columns=kept), None, *options)
        first = next(iter(plain.values())) if isinstance(plain, dict) else plain
        values = list(first.components)
    whole = read_all_series(table, [*values, *others], *options)
    named = whole if isinstance(whole, dict) else {None: whole}
    targets = {
        name: _until_the_last(one[list(values)]) if future else one[list(values)]
        for name, one in named.items()
    }
    numeric = [*values, *others]
    known, found = _static(table, series, static, categories, numeric, csv_format.get("decimal"))
    if static:
        targets = {
            name: one.with_static_covariates(known.loc[[name]].reset_index(drop=True))
            for name, one in targets.items()
        }
    past_parts = {
        name: one[list(past)].slice_intersect(targets[name]) for name, one in named.items() if past
    }
    future_parts = {name: one[list(future)] for name, one in named.items() if future}
    if isinstance(whole, dict):
        return CovariateData(targets, past_parts or None, future_parts or None, found)
    return CovariateData(targets[None], past_parts.get(None), future_parts.get(None), found)


def _until_the_last(series: TimeSeries) -> TimeSeries:
    """Return a series without the rows at its end that have no value."""
    known = np.flatnonzero(~np.isnan(series.values(copy=False)).all(axis=1))
    return series[: known[-1] + 1] if len(known) else series


def _static(
    table: Table,
    series: str | None,
    columns: Sequence[str],
    categories: Mapping[str, Sequence[str]] | None,
    numeric: Sequence[str],
    decimal: str | None,
) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Return a row of numbers per series, and the categories of columns of text.

    Other `numeric` columns tell the decimal sign, too.
    """
    if not columns:
        return pd.DataFrame(), {}
    if series is None:
        raise ValueError(
            "static covariates tell series apart, and there is only one. Name the column that "
            "names the series (--series), or leave --static out."
        )
    whose = pd.Series(table.columns[series])
    cells = pd.DataFrame({name: table.columns[name] for name in columns})
    for name in columns:
        changing = cells[name].groupby(whose, sort=False).nunique()
        if (changing > 1).any():
            raise ValueError(
                f"{table.path}: the static covariate {name!r} changes within series "
                f"{changing.idxmax()!r}. Name it as a past or future covariate."
            )
    texts = _filled(table, columns)
    of_numbers = [
        name
        for name in columns
        if name not in (categories or {}) and all(map(is_number, texts[name].values()))
    ]
    for name in of_numbers:
        for row in sorted(set(range(len(table.lines))) - texts[name].keys())[:1]:
            raise table.refusal(name, row, "is missing: each series needs a number. Fill it in.")
    parsed = parse_numbers(
        table, _filled(table, numeric) | {name: texts[name] for name in of_numbers}, decimal
    )
    numbers, found = {}, {}
    for name in columns:
        if name in of_numbers:
            numbers[name] = pd.Series(parsed[name]).groupby(whose, sort=False).first()
            continue
        if len(numerals := [text for text in texts[name].values() if is_number(text)]):
            logger.warning(
                f"{table.path}: the static covariate {name!r} holds texts beside numbers such as "
                f"{numerals[0]!r}: each is a category."
            )
        of_series = cells[name].groupby(whose, sort=False).first()
        found[name] = list((categories or {}).get(name, sorted(set(of_series))))
        for category in found[name]:
            numbers[f"{name}={category}"] = (of_series == category).astype(float)
    return pd.DataFrame(numbers), found


def _filled(table: Table, names: Sequence[str]) -> dict[str, dict[int, str]]:
    """Return the cells of columns that are not missing, without their units."""
    return {name: without_unit(table, name, filled_cells(table, name))[0] for name in names}
