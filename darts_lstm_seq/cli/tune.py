"""`darts-lstm-seq tune`: find parameters of the LSTM for the series of a file."""

import argparse
import sys
from pathlib import Path
from typing import Any

from darts_lstm_seq.checks import check_positive_integer, counted
from darts_lstm_seq.cli.inputs import read_inputs
from darts_lstm_seq.cli.saved_model import save_model
from darts_lstm_seq.files import atomic_write

_BUDGET = 60.0


def run_tune(parsed: argparse.Namespace) -> int:
    """Search, write the table, the picture and the fitted model; return the exit code."""
    series, past, future = read_inputs(parsed)
    import matplotlib as mpl

    from darts_lstm_seq.comparison.inputs import (
        DEFAULT_FOLDS,
        default_folds,
        default_horizon,
        with_holidays,
    )
    from darts_lstm_seq.comparison.results_folder import ResultsFolder
    from darts_lstm_seq.tuning.tune import tune

    mpl.use("Agg")
    parsed.out.mkdir(parents=True, exist_ok=True)
    every = list(series.values()) if isinstance(series, dict) else [series]
    horizon = parsed.horizon
    if horizon is None:
        horizon = default_horizon(every, max(parsed.folds or DEFAULT_FOLDS, 2))
    check_positive_integer("horizon", horizon)
    folds = max(default_folds(every, horizon), 2) if parsed.folds is None else parsed.folds
    if parsed.holidays:
        future = with_holidays(series, future, parsed.holidays, horizon)
    no_limit = parsed.budget is None and parsed.trials is None
    print(f"to forecast: {counted(horizon, 'step')}; {counted(folds, 'fold')}", flush=True)
    found = tune(
        series,
        horizon,
        budget=_BUDGET if no_limit else parsed.budget,
        n_trials=parsed.trials,
        folds=folds,
        past_covariates=past,
        future_covariates=future,
        study=None if parsed.study is None else _open_study(parsed.study, parsed.seed),
        random_state=parsed.seed,
    )
    print(found.table.drop(columns="error").to_string(index=False, float_format="%.4g", na_rep=""))
    errors = found.table["error"].dropna()
    for error, count in errors.value_counts().items():
        print(f"{counted(count, 'configuration')} failed: {error}", file=sys.stderr)
    print(found)
    ResultsFolder(parsed.out).write_tables({"tuning.csv": found.table})
    with atomic_write(parsed.out / "tuning.png") as temporary:
        found.plot().savefig(temporary, dpi=150)
    save_model(parsed, found.model, every[0], horizon)
    print(f"written to {parsed.out}: tuning.csv, tuning.png, model.pt, model.json")
    return 0


def _open_study(path: Path, seed: int) -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ValueError(
            "--study needs Optuna: python -m pip install 'darts-lstm-seq[tune]'."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name="darts-lstm-seq tune",
        storage=f"sqlite:///{path}",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=seed),
    )
