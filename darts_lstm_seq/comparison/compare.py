"""Compare forecasting models on one series or on many: scores and forecasts as tables.

`evaluation.py` evaluates a single series. This file divides many series into chunks, sends them to
workers (`parallel.py`), stores the results (`results_folder.py`) and summarises them. Plots are in
`plotting.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from itertools import chain
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from tqdm.auto import tqdm

from darts_lstm_seq import __version__
from darts_lstm_seq.checks import check_positive_integer
from darts_lstm_seq.comparison.baselines import MODELS, Models, check_models, make_models
from darts_lstm_seq.comparison.earlier_results import warn_of_other_results
from darts_lstm_seq.comparison.evaluation import FORECASTS, Evaluation
from darts_lstm_seq.comparison.identity import check_name, describe_parameters, fingerprint
from darts_lstm_seq.comparison.results_folder import ResultsFolder
from darts_lstm_seq.data import series_from_frame
from darts_lstm_seq.data.frame_table import is_frame
from darts_lstm_seq.parallel import chunk_ranges, count_workers, run_chunks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MODELS", "Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`.

    Attributes
    ----------
    scores
        A row per model, the best MASE first: `model`, `folds`, `horizon`, `seasonality` (time
        steps), `MASE`, `sMAPE` (percent), `RMSE` (units of the series), each averaged over folds
        and components, `fit_seconds` and `predict_seconds` (wall clock, summed over folds), `note`
        (why MASE is missing or leaves out a component; where it is missing, RMSE ranks), `error`
        (why a model has no scores), and package versions. For many series: means over the series
        that all successful models scored, the number `series` of these, and the number `failed` of
        series without scores of this model; `RMSE` and `seasonality`, which are not comparable
        between series, are left out.
    per_series
        A row per series, in their order, and model, the best MASE first: the columns of `scores`
        for one series, and `series`, its name or index.
    series
        The series by name or index.
    """

    scores: pd.DataFrame
    per_series: pd.DataFrame
    series: Mapping[Any, TimeSeries]
    _load_forecasts: Callable[[], pd.DataFrame]

    @cached_property
    def forecasts(self) -> pd.DataFrame:
        """A row per model, fold, time and component: `forecast` and the `actual` value.

        For many series the first column is `series`. With ``out``, the table is read from disk on
        first access.
        """
        return self._load_forecasts()

    def plot(self, component: str | None = None, series: Any = None) -> "Figure":
        """Plot the end of a series and the forecasts of every model (see `plot_comparison`).

        Parameters
        ----------
        component
            The component to plot; all by default.
        series
            Name or index of the series; by default the first with a forecast.

        Raises
        ------
        ValueError
            If there is no such series.
        """
        from darts_lstm_seq.comparison.plotting import plot_comparison

        scored = self.per_series["series"][self.per_series["error"].isna()]
        name = next(chain(scored, self.series)) if series is None else series
        if name not in self.series:
            raise ValueError(
                f"`series` must be one of {list(self.series)[:10]}, received {name!r}."
            )
        scores, forecasts = (
            # pandas would compare a tuple element by element, and `None` with nothing
            table[[given == name for given in table["series"]]] if "series" in table else table
            for table in (self.per_series, self.forecasts)
        )
        return plot_comparison(self.series[name], forecasts, scores, component)


def compare(
    series: TimeSeries | Sequence[TimeSeries] | Mapping[Any, TimeSeries] | Any,
    horizon: int,
    models: Models = None,
    folds: int = 3,
    seasonality: int | None = None,
    show_progress: bool = True,
    n_jobs: int | None = None,
    out: str | Path | None = None,
    random_state: int = 42,
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
        Number of time steps to forecast in each fold.
    models
        Names out of `MODELS`, or a mapping of names to Darts models; all of `MODELS` by default.
        `baseline_models` creates those of `MODELS`, to be changed or to stand beside your own.
        Univariate models are fitted to each component separately. Models with a likelihood are
        scored by the median of their forecast.
    folds
        Number of folds. Fold k = 1, 2, ... trains on all but the last ``folds - k + 1`` horizons of
        the series.
    seasonality
        Number of time steps of a season, for MASE and the models of `MODELS`. By default it follows
        from the frequency: a year for steps longer than days (12 months, 4 quarters, 52 weeks), a
        week for days (7, or 5 business days), a day for shorter steps (24 hours). It is 1 (no
        season) for an integer index, for steps that do not divide their season, and if the first
        training part is shorter than two seasons.
    show_progress
        Whether to show a progress bar over the models, or over the series if there are many.
    n_jobs
        Number of processes for many series, which are divided into chunks; -1 for one per core. By
        default ``joblib.parallel_config`` decides, which also selects a cluster
        (``joblib.parallel_config(backend="dask")``; Ray needs ``n_jobs=-1`` too), and otherwise
        there is one process.
    out
        Folder for `scores.csv`, `forecasts.csv` and, for many series, `per_series.csv`. The results
        of many series are stored as they arrive, and a repeated call evaluates only the series that
        are missing or whose results are damaged. In these files, for people, an apostrophe precedes
        texts that start with ``= + - @``, a tab or a line break, which a spreadsheet may run. A log
        message names other data whose results they replace.
    random_state
        Seed of the `LSTMSeqModel` of `MODELS`.

    Returns
    -------
    Comparison
        Scores, forecasts, and `.plot()`. A model that fails has a row with its error. If there are
        many series, those that cannot be evaluated, because they are too short for instance, have
        a row with the error for each model. So have the series of a chunk whose worker died twice;
        a repeated call with the same ``out`` evaluates these again.

    Raises
    ------
    ValueError
        If a parameter is out of its range, a name is unknown, or a single series is too short or
        constant. For many series, if ``out`` is used by another process or holds the results of
        other settings, or if a parameter of a model (a lambda) or the name of a series cannot be
        compared between processes.

    Notes
    -----
    Missing values (NaN) are not scored. `LSTMSeqModel` masks them; for other models those of the
    training part are interpolated.

    The input window of the default `LSTMSeqModel` covers three seasons and at least two horizons,
    as far as the length of the series allows. ARIMA is the airline model (0, 1, 1)(0, 1, 1), or
    (1, 1, 1) without a season or with one of more than 24 steps. The models of `MODELS` run on one
    thread. Darts models that you pass run with your settings, on one thread if there are several
    workers.

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
    evaluation = Evaluation(
        check_positive_integer("horizon", horizon),
        check_positive_integer("folds", folds),
        models,
        None if seasonality is None else check_positive_integer("seasonality", seasonality),
        check_positive_integer("random_state", random_state, 0),
    )
    if is_frame(series):
        series = series_from_frame(series)
    check_models(models)
    count_workers(n_jobs)
    if not isinstance(series, TimeSeries):
        return _compare_many(_by_name(series), evaluation, show_progress, n_jobs, out)
    if out is not None:
        warn_of_other_results(out, {0: series})
    progress = partial(tqdm, desc="Comparing", disable=not show_progress)
    table, forecasts = evaluation.run(series, progress)
    table = table.sort_values(["MASE", "RMSE"], kind="stable").reset_index(drop=True)
    scores, forecasts = table.assign(**_versions()), forecasts.reset_index(drop=True)
    if out is not None:
        ResultsFolder(out).write_tables({"scores.csv": scores, "forecasts.csv": forecasts})
    return Comparison(scores, table.assign(series=0), {0: series}, forecasts.copy)


def _compare_many(
    series: Mapping[Any, TimeSeries],
    evaluation: Evaluation,
    show_progress: bool,
    n_jobs: int | None,
    out: str | Path | None,
) -> Comparison:
    names = {fingerprint(name, target): name for name, target in series.items()}
    if len(names) < len(series):
        raise ValueError("`series` holds equal series with names that look the same; rename them.")
    if out is not None:
        for name in series:
            check_name(name)
        warn_of_other_results(out, series)
    run = partial(_run_chunks, series, names, evaluation, show_progress, n_jobs)
    if out is None:
        results = list(run(list(names)))
        table = _sort_series(pd.concat([scores for scores, _ in results]), names, "MASE", "RMSE")
        load = partial(_join_forecasts, [forecasts for _, forecasts in results], names)
        return Comparison(_summarize(table), _restore_names(table, names), series, load)
    folder = ResultsFolder(out)
    with folder.in_use():
        return _compare_in_folder(folder, series, names, evaluation, run)


def _compare_in_folder(
    folder: ResultsFolder,
    series: Mapping[Any, TimeSeries],
    names: Mapping[str, Any],
    evaluation: Evaluation,
    run: Callable[[Sequence[str]], Iterable[tuple[pd.DataFrame, pd.DataFrame | None]]],
) -> Comparison:
    """Run what a folder does not hold yet, add it, and write the tables."""
    settings = {**vars(evaluation), "models": ", ".join(sorted(check_models(evaluation.models)))}
    if isinstance(evaluation.models, Mapping):  # Darts models, of any parameters
        for name, model in make_models(evaluation.models).items():
            settings |= describe_parameters(f"models[{name!r}]", model)
    folder.open(settings | _versions())
    finished = set(folder.scores(names)["series"])
    pending = [key for key in names if key not in finished]
    if pending and folder.is_read_only:
        raise ValueError(
            f"`out` is read-only and lacks the results of {len(pending)} series, "
            f"{names[pending[0]]!r} being the first. Name another folder."
        )
    lost = []
    for scores, forecasts in run(pending):
        if forecasts is None:  # a repeated call evaluates these series again
            lost.append(scores)
        else:
            folder.add(scores, forecasts)
    table = _sort_series(pd.concat([folder.scores(names), *lost]), names, "MASE", "RMSE")
    summary = _summarize(table)
    if not folder.is_read_only:
        texts = {k: name if isinstance(name, Number) else str(name) for k, name in names.items()}
        parts = (_sort_series(part, names) for part in folder.forecasts(names))
        folder.write_tables(
            {
                "scores.csv": summary,
                "per_series.csv": _restore_names(table, texts),
                "forecasts.csv": (_restore_names(part, texts) for part in parts),
            }
        )
    load = partial(_read_forecasts, folder, names)
    return Comparison(summary, _restore_names(table, names), series, load)


def _run_chunks(
    series: Mapping[Any, TimeSeries],
    names: Mapping[str, Any],
    evaluation: Evaluation,
    show_progress: bool,
    n_jobs: int | None,
    pending: Sequence[str],
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame | None]]:
    """Yield the scores and the forecasts of chunks of series; no forecasts of a lost chunk."""
    chunks = [
        {pending[index]: series[names[pending[index]]] for index in indices}
        for indices in chunk_ranges(len(pending), count_workers(n_jobs))
    ]
    done = len(names) - len(pending)
    with tqdm(
        desc="Comparing", total=len(names), initial=done, unit="series", disable=not show_progress
    ) as bar:
        for number, result in run_chunks(evaluation.run_chunk, chunks, n_jobs):
            bar.update(len(chunks[number]))
            if isinstance(result, Exception):
                error = f"the worker was lost: {type(result).__name__}: {result}"
                failed = [evaluation.failed(error).assign(series=key) for key in chunks[number]]
                yield pd.concat(failed), None
            else:
                yield result


def _sort_series(table: pd.DataFrame, names: Mapping[str, Any], *by: str) -> pd.DataFrame:
    """Sort rows by their series, whose fingerprints are in the user's order in `names`."""
    positions = {key: position for position, key in enumerate(names)}
    table = table.assign(position=table["series"].map(positions))
    table = table.sort_values(["position", *by], kind="stable").drop(columns="position")
    return table.reset_index(drop=True)


def _restore_names(table: pd.DataFrame, names: Mapping[str, Any]) -> pd.DataFrame:
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


def _join_forecasts(
    forecasts: Iterable[pd.DataFrame | None], names: Mapping[str, Any]
) -> pd.DataFrame:
    tables = [table for table in forecasts if table is not None and not table.empty]
    joined = pd.concat(tables) if tables else pd.DataFrame(columns=["series", *FORECASTS])
    return _restore_names(_sort_series(joined, names), names)


def _read_forecasts(folder: ResultsFolder, names: Mapping[str, Any]) -> pd.DataFrame:
    table = _join_forecasts(folder.forecasts(names), names)
    # series with dates of different resolution, and with an integer index, share the column
    dated = table["time"].map(lambda time: isinstance(time, str)).astype(bool)
    dates = pd.to_datetime(table["time"][dated], format="ISO8601")
    numbers = pd.to_numeric(table["time"][~dated])
    parts = [part for part in (dates, numbers) if len(part)] or [dates]
    return table.assign(time=pd.concat(parts))


def _summarize(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per model over all series, the best MASE first."""
    # grouped by number: pandas takes texts that are equal up to a NUL for one
    models = list(dict.fromkeys(table["model"]))
    table = table.assign(model=list(map(models.index, table["model"])))
    scored = table[table["RMSE"].notna()]
    counts = scored.groupby("series", dropna=False).size()
    # a model that failed on the difficult series must not win by that
    common = counts.index[counts == scored["model"].nunique()]
    means = scored[scored["series"].isin(common)].groupby("model")
    rows = table.groupby("model", sort=False)
    summary = pd.DataFrame(
        {
            "folds": rows["folds"].first(),
            "horizon": rows["horizon"].first(),
            "series": len(common),
            "failed": rows.size() - rows["RMSE"].count(),
        }
    ).join(means[["MASE", "sMAPE", "fit_seconds", "predict_seconds"]].mean())
    # a matter of the series, not of the model: MASE is missing for all models alike
    n_missing = scored.loc[
        scored["MASE"].isna() & scored["series"].isin(common), "series"
    ].nunique()
    summary["note"] = f"no MASE for {n_missing} of {len(common)} series" if n_missing else np.nan
    # the first error of a model that failed on all series
    summary["error"] = rows["error"].first().where(summary["failed"] == rows.size())
    summary.loc[summary["failed"] == rows.size(), "series"] = 0
    ranked = summary.sort_values(["MASE", "sMAPE"], kind="stable").reset_index()
    return ranked.assign(model=[models[number] for number in ranked["model"]], **_versions())


def _by_name(series: Any) -> dict[Any, TimeSeries]:
    if not isinstance(series, (Sequence, Mapping)) or isinstance(series, str):
        raise ValueError(
            f"`series` must be a Darts `TimeSeries`, received {type(series).__name__}. Create one "
            f"with `TimeSeries.from_dataframe` or another `TimeSeries.from_...` method."
        )
    named = dict(series) if isinstance(series, Mapping) else dict(enumerate(series))
    if not named:
        raise ValueError("`series` is empty; it must hold at least one `TimeSeries`.")
    for name, value in named.items():
        if not isinstance(value, TimeSeries):
            raise ValueError(
                f"`series` must hold Darts `TimeSeries`, received {type(value).__name__} at "
                f"{name!r}."
            )
    return named


def _versions() -> dict[str, str]:
    return {"darts_lstm_seq": __version__, "darts": version("darts"), "torch": version("torch")}
