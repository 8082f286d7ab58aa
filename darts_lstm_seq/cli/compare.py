"""`darts-lstm-seq compare`: rank models on the series of a file.

Modules that take seconds to import are imported after the arguments and the file were read.
"""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from darts_lstm_seq.checks import check_positive_integer, counted, steps_needed
from darts_lstm_seq.cli.inputs import read_inputs
from darts_lstm_seq.files import atomic_write

if TYPE_CHECKING:
    from darts_lstm_seq.comparison.compare import Comparison

_PRINTED = ["model", "series", "failed", "MASE", "sMAPE", "RMSE"]
_PRINTED += ["fit_seconds", "predict_seconds", "covariates"]


def run_compare(parsed: argparse.Namespace) -> int:
    """Compare, write the tables and the picture; return the exit code."""
    result = run_comparison(parsed, *read_inputs(parsed))
    written = "scores.csv, forecasts.csv"
    if len(result.series) > 1 or "failed" in result.scores:
        written += ", per_series.csv"
    elif not result.forecasts.empty:
        with atomic_write(parsed.out / "forecasts.png") as temporary:
            result.plot().savefig(temporary, dpi=150)
        written += ", forecasts.png"
    print(f"written to {parsed.out}: {written}")
    return 0 if result.scores["error"].isna().any() else 1


def run_comparison(
    parsed: argparse.Namespace, series: Any, past: Any = None, future: Any = None
) -> "Comparison":
    """Compare the models and print the scores."""
    import matplotlib as mpl

    from darts_lstm_seq.comparison.compare import compare
    from darts_lstm_seq.comparison.inputs import (
        DEFAULT_FOLDS,
        default_folds,
        default_horizon,
        with_holidays,
    )
    from darts_lstm_seq.parallel import backend

    mpl.use("Agg")
    parsed.out.mkdir(parents=True, exist_ok=True)
    every = list(series.values()) if isinstance(series, dict) else [series]
    for name in ("horizon", "folds"):
        if getattr(parsed, name) is not None:
            check_positive_integer(name, getattr(parsed, name))
    horizon = parsed.horizon or default_horizon(every, parsed.folds or DEFAULT_FOLDS)
    n_folds = parsed.folds or default_folds(every, horizon)
    folds = f"{counted(n_folds, 'fold')} of {counted(horizon, 'step')}"
    if parsed.folds is None and n_folds < DEFAULT_FOLDS:
        folds += f", as {DEFAULT_FOLDS} need {steps_needed(horizon, DEFAULT_FOLDS)} steps"
    targets = ", ".join(dict.fromkeys(name for one in every for name in one.components))
    if isinstance(series, dict):
        print(f"to forecast: {targets}; {len(series)} series; {folds}", flush=True)
    else:
        print(
            f"to forecast: {targets}; {len(series)} steps from {series.start_time()} to "
            f"{series.end_time()}; {folds}",
            flush=True,
        )
    if parsed.holidays:
        future = with_holidays(series, future, parsed.holidays, horizon)
    with backend(parsed.backend):
        result = compare(
            series,
            horizon,
            parsed.models,
            n_folds,
            parsed.seasonality,
            random_state=parsed.seed,
            n_jobs=parsed.n_jobs,
            out=parsed.out,
            time_limit=parsed.time_limit,
            past_covariates=past,
            future_covariates=future,
            calendar=parsed.calendar,
        )
    columns = [name for name in _PRINTED if name in result.scores]
    print(result.scores[columns].to_string(index=False, float_format="%.3f"))
    for note in result.scores["note"].dropna().unique():
        print(note, file=sys.stderr)
    if "failures" in result.scores:
        partly = result.scores[result.scores["error"].isna()]
        for failures, rows in partly.groupby("failures", sort=False):
            print(f"{', '.join(rows['model'])}: no scores for {failures}", file=sys.stderr)
    for _, row in result.scores.dropna(subset=["error"]).iterrows():
        is_partly = row.get("failed", len(result.series)) < len(result.series)
        what = "is not ranked" if is_partly else "has no scores"
        print(f"{row['model']} {what}: {row['error']}", file=sys.stderr)
    return result
