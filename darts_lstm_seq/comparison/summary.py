"""The tables of a comparison: rows in the order of the series, and a summary over all of them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from darts_lstm_seq import __version__
from darts_lstm_seq.comparison.local_fit import OVER_LIMIT
from darts_lstm_seq.comparison.scoring import FORECASTS, INTERVAL_SCORES, PARTLY_SCORED
from darts_lstm_seq.comparison.skill import BASELINE, skill_columns

_POSITION = "model_position"
_MEANS = ["MASE", "sMAPE", *INTERVAL_SCORES, "fit_seconds", "predict_seconds"]
_MOST_REASONS = 3
# models that score fewer of the series that any model scores are not ranked
_LEAST_SHARE = 0.5


def versions() -> dict[str, str]:
    """Return the versions that results depend on."""
    return {"darts_lstm_seq": __version__, "darts": version("darts"), "torch": version("torch")}


def sort_scores(
    table: pd.DataFrame, names: Mapping[str, Any], models: Sequence[str]
) -> pd.DataFrame:
    """Sort rows by their series, whose fingerprints are in the user's order, and the best first."""
    return _sort(table, names, models, "MASE", "RMSE", _POSITION)


def join_forecasts(
    forecasts: Iterable[pd.DataFrame], names: Mapping[str, Any], models: Sequence[str]
) -> pd.DataFrame:
    """Return one table of all forecasts, in the order of series and models."""
    tables = [table for table in forecasts if not table.empty]
    joined = pd.concat(tables) if tables else pd.DataFrame(columns=["series", *FORECASTS])
    return restore_names(_sort(joined, names, models, _POSITION), names)


def _sort(
    table: pd.DataFrame, names: Mapping[str, Any], models: Sequence[str], *by: str
) -> pd.DataFrame:
    # series have several keys: one for rows of their own, one for those of all series together
    series = {key: position for position, key in enumerate(dict.fromkeys(map(own_key, names)))}
    order = {name: position for position, name in enumerate(models)}
    positions = {
        "series_position": [series[own_key(key)] for key in table["series"]],
        _POSITION: [order[name] for name in table["model"]],
    }
    table = table.assign(**positions).sort_values(["series_position", *by], kind="stable")
    return table.drop(columns=list(positions)).reset_index(drop=True)


def own_key(key: str) -> str:
    """Return the fingerprint of a series, without that of the series trained on with it."""
    return key.partition("@")[0]


def restore_names(table: pd.DataFrame, names: Mapping[str, Any]) -> pd.DataFrame:
    """Replace fingerprints by the names of the series, in the first column."""
    # pandas would read 1 beside `None` as 1.0, and tuples as rows
    is_plain = {type(name) for name in names.values()} in ({int}, {str})
    given = pd.Series(
        [names[key] for key in table["series"]],
        index=table.index,
        dtype=None if is_plain else object,
    )
    others = [column for column in table.columns if column != "series"]
    return table.assign(series=given)[["series", *others]]


def parse_times(table: pd.DataFrame) -> pd.DataFrame:
    """Return stored forecasts with dates in the place of texts."""
    # series with dates of different resolution, and with an integer index, share the column
    dated = table["time"].map(lambda time: isinstance(time, str)).astype(bool)
    dates = pd.to_datetime(table["time"][dated], format="ISO8601")
    numbers = pd.to_numeric(table["time"][~dated])
    parts = [part for part in (dates, numbers) if len(part)] or [dates]
    return table.assign(time=pd.concat(parts))


def _is_partly_scored(table: pd.DataFrame) -> pd.Series:
    texts = [isinstance(note, str) and PARTLY_SCORED in note for note in table["note"]]
    return pd.Series(texts, index=table.index, dtype=bool)


def _reasons(errors: pd.Series) -> Any:
    """Say why series failed: one error of each kind, and how many there are of it."""
    kinds: dict[str, list[str]] = {}
    for error in errors.dropna():
        # errors of one kind differ in numbers, names and dates, and in their repair
        cause = error.partition(". ")[0]
        kinds.setdefault(re.sub(r"'[^']*'|[\d.:-]+", "", cause), []).append(error)
    ranked = sorted(kinds.values(), key=len, reverse=True)[:_MOST_REASONS]
    return "; ".join(f"{len(alike)} series: {alike[0]}" for alike in ranked) or np.nan


def is_over_limit(table: pd.DataFrame) -> pd.Series:
    """Return which rows of scores are of a model that took too long."""
    texts = [isinstance(error, str) and error.startswith(OVER_LIMIT) for error in table["error"]]
    return pd.Series(texts, index=table.index, dtype=bool)


def summarize(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per model over all series, the best MASE first."""
    # grouped by number: pandas takes texts that are equal up to a NUL for one
    models = list(dict.fromkeys(table["model"]))
    table = table.assign(model=list(map(models.index, table["model"])))
    stopped = set(table["model"][is_over_limit(table)])
    scored = table[table["RMSE"].notna() & ~table["model"].isin(stopped)]
    # a model that failed on most series must not decide on which the others are ranked
    n_scored = scored["series"].nunique()
    of_models = scored.groupby("model").size()
    rare = of_models[of_models < _LEAST_SHARE * n_scored]
    scored = scored[~scored["model"].isin(rare.index)]
    counts = scored.groupby("series", dropna=False).size()
    # and one that failed on the difficult series must not win by that
    common = counts.index[counts == scored["model"].nunique()]
    means = scored[scored["series"].isin(common)].groupby("model")
    rows = table.groupby("model", sort=False)
    n_series = table["series"].nunique()
    summary = pd.DataFrame(
        {
            "folds": rows["folds"].first(),
            "horizon": rows["horizon"].first(),
            "series": len(common),
            "failed": n_series - rows["RMSE"].count(),
        }
    ).join(means[[name for name in _MEANS if name in table]].mean())
    if "covariates" in table:
        summary.insert(4, "covariates", rows["covariates"].first())
    names = dict(enumerate(models))
    if BASELINE in models and len(common):
        some = scored[scored["series"].isin(common)]
        # ratios of RMSE where MASE has no scale
        errors = some.assign(error=some["MASE"].fillna(some["RMSE"]))
        table_of_errors = errors.pivot_table("error", "series", "model")
        skill = skill_columns(table_of_errors.rename(columns=names)).rename(
            index={name: number for number, name in names.items()}
        )
        summary = summary.join(skill)
    # a matter of the series, not of the model: MASE is missing for all models alike
    n_missing = scored.loc[
        scored["MASE"].isna() & scored["series"].isin(common), "series"
    ].nunique()
    notes = []
    if len(common) < n_scored:
        notes.append(
            f"means are over the {len(common)} of {n_scored} series that all ranked models scored"
        )
    if n_missing:
        notes.append(f"no MASE for {n_missing} of {len(common)} series")
    n_partly = table.loc[table["note"].notna() & _is_partly_scored(table), "series"].nunique()
    if n_partly:
        notes.append(f"{n_partly} series with missing values are scored in part")
    summary["note"] = "; ".join(notes) or np.nan
    summary["failures"] = rows["error"].apply(_reasons)
    # the first error of a model that failed on all series
    summary["error"] = rows["error"].first().where(summary["failed"] == n_series)
    for model in stopped:
        summary.loc[model, "error"] = f"{OVER_LIMIT} after {rows['RMSE'].count()[model]} series"
    for model, count in rare.items():
        summary.loc[model, "error"] = f"no more than {count} of {n_scored} series have scores"
    summary.loc[summary["error"].notna(), "series"] = 0
    ranked = summary.sort_values(["MASE", "sMAPE"], kind="stable").reset_index()
    return ranked.assign(model=[models[number] for number in ranked["model"]], **versions())
