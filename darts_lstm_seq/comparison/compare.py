"""Compare forecasting models on one series or on many: scores and forecasts as tables.

This file checks what is given, and stores results as they arrive (`results_folder.py`). `work.py`
divides the work and sends it to workers, `summary.py` makes tables over all series.
"""

from collections.abc import Mapping
from functools import partial
from numbers import Number
from pathlib import Path
from typing import Any

import pandas as pd
from darts import TimeSeries
from darts.logging import get_logger

from darts_lstm_seq.checks import check_positive_integer, steps_needed
from darts_lstm_seq.comparison.baselines import (
    MODELS,
    Models,
    check_models,
    default_models,
    make_model,
)
from darts_lstm_seq.comparison.earlier_results import warn_of_other_results
from darts_lstm_seq.comparison.evaluation import Evaluation
from darts_lstm_seq.comparison.identity import check_name, describe_parameters
from darts_lstm_seq.comparison.inputs import (
    DEFAULT_FOLDS,
    Series,
    calendar_encoders,
    default_folds,
    default_horizon,
    inputs_by_name,
)
from darts_lstm_seq.comparison.result import Comparison
from darts_lstm_seq.comparison.results_folder import ResultsFolder
from darts_lstm_seq.comparison.scoring import check_series
from darts_lstm_seq.comparison.summary import (
    parse_times,
    restore_names,
    summarize,
    versions,
)
from darts_lstm_seq.comparison.work import Work
from darts_lstm_seq.data import series_from_frame
from darts_lstm_seq.data.frame_table import is_frame
from darts_lstm_seq.parallel import count_workers

__all__ = ["MODELS", "Comparison", "compare"]

logger = get_logger(__name__)


# PyArrow's strings, which pandas 3 takes where it finds PyArrow, hold no lone surrogates
@pd.option_context("mode.string_storage", "python")
def compare(
    series: Series | Any,
    horizon: int | None = None,
    models: Models = None,
    folds: int | None = None,
    seasonality: int | None = None,
    show_progress: bool = True,
    n_jobs: int | None = None,
    out: str | Path | None = None,
    random_state: int = 42,
    time_limit: float | None = None,
    past_covariates: Series | None = None,
    future_covariates: Series | None = None,
    calendar: bool = False,
) -> Comparison:
    """Backtest several models on the same folds of one or many series, and rank them.

    Parameters
    ----------
    series
        The series to forecast, of one or more components; or a sequence, or a mapping of names to
        series, each of which is forecast independently. A data frame of pandas, or of any library
        that narwhals reads, is taken for one series, or for several where dates are there twice and
        a column of text tells them apart (see `data.series_from_frame`).
    horizon
        Number of time steps to forecast in each fold. By default it follows from the frequency: 5
        years, 4 quarters, 12 months, 13 weeks, 14 days, a day of shorter steps, or 12 steps of an
        integer index, and less for short series.
    models
        Names out of `MODELS`, or a mapping of names to Darts models. By default all of `MODELS` but
        "LSTMSeqModel (tuned)". If there are at least 10 series, one network for each
        ("LSTMSeqModel") makes room for two for all of them: one trained from nothing
        ("LSTMSeqModel (global)"), and a pre-trained one ("LSTMSeqModel (fine-tuned)").
        `baseline_models` creates those of `MODELS`, to be changed or to stand beside your own.
        Univariate models are fitted to each component separately. Models with a likelihood are
        scored by the median of their forecast.
    folds
        Number of folds. Fold k = 1, 2, ... trains on all but the last ``folds - k + 1`` horizons of
        the series. By default 3, or as many as fit: the first training part has two horizons, so
        that three folds of 12 months need 60. Of many series, nine of ten must be long enough.
    seasonality
        Number of time steps of a season, for MASE and the models of `MODELS`. By default it follows
        from the frequency: a year for steps longer than days (12 months, 4 quarters, 52 weeks), a
        week for days (7, or 5 business days), a day for shorter steps (24 hours). It is 1 (no
        season) for an integer index, for steps that do not divide their season, and if the first
        training part is shorter than two seasons.
    show_progress
        Whether to show a progress bar, which names the model at work and counts its folds.
    n_jobs
        Number of processes for many series, which are divided into chunks; -1 for one per core. By
        default ``joblib.parallel_config`` decides, which also selects a cluster
        (``joblib.parallel_config(backend="dask")``; Ray needs ``n_jobs=-1`` too), and otherwise
        there is one process.
    out
        Folder for `scores.csv`, `forecasts.csv` and, for many series, `per_series.csv`. Results are
        stored as each model ends, for a few series at a time, and a repeated call evaluates only
        what is missing or damaged. In these files, for people, an apostrophe precedes texts that
        start with ``= + - @``, a tab or a line break, which a spreadsheet may run. A log message
        names other data whose results they replace.
    random_state
        Seed of the `LSTMSeqModel` of `MODELS`.
    time_limit
        Seconds that a model may take for all folds, of all series together. A model that takes
        longer is not ranked, and its row says so; a repeated call with the same ``out`` goes on.
    past_covariates, future_covariates
        As for `fit` of Darts' models: one `TimeSeries` for all series, or with the names of
        `series`. Models that cannot use them run without, as the column `covariates` says. For
        `Comparison.predict`, future covariates must reach a horizon beyond the series.
    calendar
        Whether the networks "LSTMSeqModel" and "LSTMSeqModel (global)" encode the calendar, by
        Darts' encoders: the quarter, month or week; for days and shorter steps the day of the week
        and the month, and the hour.

    Returns
    -------
    Comparison
        Scores, forecasts, the future (`.predict()`), and `.plot()`. A model that fails has a row
        with its error. If there are many series, those that cannot be evaluated, because they are
        too short for instance, have a row with the error for each model. So have the series of a
        chunk whose worker died three times; a repeated call with the same ``out`` evaluates these
        again.

    Raises
    ------
    ValueError
        If a parameter is out of its range, a name is unknown, or a single series is too short or
        constant. If ``out`` is used by another process or holds the results of other settings, or
        if a parameter of a model (a lambda) or the name of a series cannot be compared between
        processes.

    Notes
    -----
    Missing values (NaN) are not scored. `LSTMSeqModel` masks them; for other models those of the
    training part are interpolated.

    The input window of the default `LSTMSeqModel` covers three seasons and at least two horizons,
    as far as the length of the series allows; it is trained on quantiles. One network for all
    series is trained on series of the season and the number of components that most have; others
    have a row with the error, and so have those that it cannot be trained on. The pre-trained
    networks use no covariates. ARIMA is the airline model (0, 1, 1)(0, 1, 1), fitted to the last
    500 steps, or (1, 1, 1) without a season or with one of more than 24 steps. The models of
    `MODELS` run on one thread. Darts models that you pass run with your settings, on one thread if
    there are several workers.

    The parameters of "LSTMSeqModel (tuned)" are those that `tune` finds on the training part of the
    first fold, so that no scored value takes part in the choice; `fit_seconds` holds the search.

    All folds of an `LSTMSeqModel` are trained together. A `ConformalModel` of Darts is not
    refitted: it calibrates the fitted model that it holds.

    Examples
    --------
    >>> from darts_lstm_seq import compare
    >>> from darts_lstm_seq.data import nile
    >>> result = compare(
    ...     nile(), horizon=5, models=["NaiveSeasonal", "NaiveDrift"], show_progress=False
    ... )
    >>> sorted(result.scores["model"])
    ['NaiveDrift', 'NaiveSeasonal']
    >>> series = {"all years": nile(), "50 years": nile()[:50], "5 years": nile()[:5]}
    >>> result = compare(series, horizon=5, models=["NaiveDrift"], show_progress=False)
    >>> result.scores[["series", "failed"]].values.tolist()
    [[2, 1]]
    """
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"`time_limit` must be a number of seconds > 0, received {time_limit!r}.")
    count_workers(n_jobs)
    if is_frame(series):
        series = series_from_frame(series)
    inputs = inputs_by_name(series, past_covariates, future_covariates)
    every = [given.series for given in inputs.values()]
    if folds is not None:
        check_positive_integer("folds", folds)
    if horizon is None:
        horizon = default_horizon(every, folds or DEFAULT_FOLDS)
    check_positive_integer("horizon", horizon)
    if folds is None:
        folds = default_folds(every, horizon)
        if folds < DEFAULT_FOLDS:
            needed = steps_needed(horizon, DEFAULT_FOLDS)
            logger.warning(
                f"`folds` is {folds}, as {DEFAULT_FOLDS} of horizon {horizon} need {needed} steps."
            )
    names = check_models(default_models(len(inputs)) if models is None else models)
    evaluation = Evaluation(
        horizon,
        folds,
        models if isinstance(models, Mapping) else names,
        None if seasonality is None else check_positive_integer("seasonality", seasonality),
        check_positive_integer("random_state", random_state, 0),
        calendar,
    )
    if calendar:
        for given in inputs.values():
            calendar_encoders(given.series)
    is_single = isinstance(series, TimeSeries)
    if is_single:
        check_series(inputs[0].series, horizon, folds)
    work = Work(inputs, evaluation, None if is_single else n_jobs, time_limit, show_progress)
    if out is None:
        results = list(work.run(work.pending(set())))
        table = pd.concat([scores for scores, _ in results])
        forecasts = [found for _, found in results if found is not None and not found.empty]
        table = work.with_ensembles(table, [pd.concat(forecasts)] if forecasts else [])
        load = partial(work.join, forecasts, work.names)
        return _finish(work, table, load, is_single)
    for name in inputs:
        check_name(name)
    folder = ResultsFolder(out)
    with folder.in_use():
        return _compare_in_folder(folder, Path(out), work, is_single)


def _compare_in_folder(
    folder: ResultsFolder, path: Path, work: Work, is_single: bool
) -> Comparison:
    """Run what a folder does not hold yet, add it, and write the tables."""
    evaluation = work.evaluation
    settings = {**vars(evaluation), "models": ", ".join(sorted(evaluation.names))}
    if isinstance(evaluation.models, Mapping):  # Darts models, of any parameters
        for name in evaluation.names:
            model = make_model(evaluation.models, name)
            settings |= describe_parameters(f"models[{name!r}]", model)
    folder.open(settings | versions())
    if not folder.is_read_only:  # otherwise nothing is replaced
        warn_of_other_results(path, work.series)
    tasks = work.pending(folder.finished())
    if tasks and folder.is_read_only:
        missing = {key: None for task in tasks for key in task.inputs}
        raise ValueError(
            f"`out` is read-only and lacks the results of {len(missing)} series, "
            f"{work.names[next(iter(missing))]!r} being the first. Name another folder."
        )
    lost = []
    for scores, forecasts in work.run(tasks):
        if forecasts is None:  # a repeated call evaluates these series again
            lost.append(scores)
        else:
            folder.add(scores, forecasts)
    table = pd.concat([folder.scores(work.names), *lost])
    table = work.with_ensembles(table, folder.forecasts(work.names))
    result = _finish(work, table, partial(_read, work, folder), is_single)
    if not folder.is_read_only:
        texts = {
            key: name if isinstance(name, Number) else str(name) for key, name in work.names.items()
        }
        parts = (work.join([part], texts) for part in folder.forecasts(work.names))
        if is_single:
            parts = (part.drop(columns="series") for part in parts)
            folder.write_tables({"scores.csv": result.scores, "forecasts.csv": parts})
        else:
            per_series = restore_names(work.sort_scores(table), texts)
            folder.write_tables(
                {"scores.csv": result.scores, "per_series.csv": per_series, "forecasts.csv": parts}
            )
    return result


def _finish(work: Work, table: pd.DataFrame, load: Any, is_single: bool) -> Comparison:
    table = work.sort_scores(table)
    per_series = restore_names(table, work.names)
    if is_single:
        scores = per_series.drop(columns="series").assign(**versions())
        load = partial(_drop_series, load)
    else:
        scores = summarize(table)
    return Comparison(
        scores, per_series, work.series, load, work.inputs, work.evaluation, is_single, work.n_jobs
    )


def _read(work: Work, folder: ResultsFolder) -> pd.DataFrame:
    return parse_times(work.join(list(folder.forecasts(work.names)), work.names))


def _drop_series(load: Any) -> pd.DataFrame:
    return load().drop(columns="series")
