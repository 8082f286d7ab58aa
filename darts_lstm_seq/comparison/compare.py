"""A leaderboard of forecasters, on one series or on many: numbers only.

One series is run and scored by `scoring.py`; here many of them are cut into chunks, sent to workers
(`parallel.py`), kept on disk (`results.py`) and summed up. Pictures are in `plotting.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from darts import TimeSeries
from tqdm.auto import tqdm

from darts_lstm_seq import __version__
from darts_lstm_seq.checks import check_positive_integer
from darts_lstm_seq.comparison.baselines import MODELS, Models, check_models, make_models
from darts_lstm_seq.comparison.evaluation import FORECASTS, Evaluation
from darts_lstm_seq.comparison.results_folder import ResultsFolder, fingerprint
from darts_lstm_seq.parallel import chunk_ranges, count_workers, run_chunks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MODELS", "Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    scores
        A row per model, the best MASE first: `model`, `folds`, `horizon`, `seasonality` (time
        steps), `MASE`, `sMAPE` (percent), `RMSE` (units of the series), each the mean over folds
        and components, `fit_seconds` and `predict_seconds` (wall clock, all folds; what is not
        spent in ``predict`` counts as fit), `error` (why a model has no scores), and the versions
        of the packages at work. Of several series: means over those that every model scored which
        scored any, their number `series`, and the number `failed` of those that have no MASE of
        this model; `RMSE` and `seasonality`, which differ from series to series, are left out.
    per_series
        A row per series, in their order, and model, the best MASE first: as `scores` of one series,
        with a column `series` for its name or number.
    series
        The series that were forecast, by name or number.
    """

    scores: pd.DataFrame
    per_series: pd.DataFrame
    series: Mapping[Any, TimeSeries]
    _load_forecasts: Callable[[], pd.DataFrame]

    @cached_property
    def forecasts(self) -> pd.DataFrame:
        """A row per model, fold, time and component: `forecast` and the `actual` value.

        Of several series there is a column `series` in front. Read from disk when first asked for,
        if ``out`` was given.
        """
        return self._load_forecasts()

    def plot(self, component: str | None = None, series: Any = None) -> "Figure":
        """Draw the end of a series and every model's forecasts (see `plot_comparison`).

        Parameters
        ----------
        component
            Which component to draw; all by default.
        series
            Name or number of the series; by default the first that any model could forecast.

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
        scores, forecasts = self.per_series, self.forecasts
        scores = scores[scores["series"] == name]
        if "series" in forecasts:
            forecasts = forecasts[forecasts["series"] == name]
        return plot_comparison(self.series[name], forecasts, scores, component)


def compare(
    series: TimeSeries | Sequence[TimeSeries] | Mapping[Any, TimeSeries],
    horizon: int,
    models: Models = None,
    folds: int = 3,
    seasonality: int | None = None,
    show_progress: bool = True,
    n_jobs: int | None = None,
    out: str | Path | None = None,
) -> Comparison:
    """Backtest several models on the same folds of a series and rank them; or of many series.

    Parameters
    ----------
    series
        The series to forecast, of one or more components; or a sequence of them, or a mapping with
        names for them, each of which is forecast on its own.
    horizon
        Number of time steps to forecast in each fold.
    models
        Names out of `MODELS`, or Darts models by the names they shall have; all of `MODELS` by
        default. Models of single components are fitted component by component; of models with a
        likelihood the median is scored.
    folds
        Number of folds. Fold k trains on all that precedes the last ``folds - k`` horizons.
    seasonality
        Number of time steps of a season. By default a year of steps longer than days (12 months, 4
        quarters, 52 weeks), a week of days (7, or 5 business days), or a day of shorter steps (24
        hours); 1, which is none, for an index of integers, for steps that do not divide their
        cycle, and where the first fold trains on less than two seasons.
    show_progress
        Whether to show a progress bar over the models, or over the series.
    n_jobs
        Number of processes among which many series are divided, in chunks; -1 for one per core.
        Default: what ``joblib.parallel_config`` says, which also leads to a cluster
        (``joblib.parallel_config(backend="dask")``; of Ray's, name the workers: ``n_jobs=-1``), and
        one otherwise.
    out
        Folder for `scores.csv`, `per_series.csv` and `forecasts.csv` of many series. It is filled
        while they run, and a second start skips the series that are done.

    Returns
    -------
    Comparison
        Scores, forecasts, and `.plot()`. A model that fails has a row with its error. Of many
        series, one that no model can be run on, too short for instance, has a row with the error
        for each model; so have the series of a chunk whose worker died twice, which the next start
        from ``out`` tries again.

    Raises
    ------
    ValueError
        If a parameter is out of its range, a name is unknown, a single series is too short or
        constant, or ``out`` holds the results of other settings.

    Notes
    -----
    Missing values (NaN) are not scored. `LSTMSeqModel` learns around them; for other models those
    of the training part are interpolated.

    The models of `MODELS` get the seasonality; the LSTM's window takes three seasons and at least
    two horizons, as far as the series allows. ARIMA is the airline model (0, 1, 1)(0, 1, 1), or
    (1, 1, 1) if there is no season or one of more than 24 steps. They run on one thread; Darts
    models of your own run as you set them up, but on one thread where there are several workers.

    Examples
    --------
    >>> from darts_lstm_seq import compare
    >>> from darts_lstm_seq.data import nile
    >>> result = compare(
    ...     nile(), horizon=5, models=["NaiveSeasonal", "NaiveDrift"], show_progress=False
    ... )
    >>> sorted(result.scores["model"])
    ['NaiveDrift', 'NaiveSeasonal']
    >>> rivers = {"Nile": nile(), "its youth": nile()[:50], "its spring": nile()[:5]}
    >>> many = compare(rivers, horizon=5, models=["NaiveDrift"], show_progress=False)
    >>> many.scores[["series", "failed"]].values.tolist()
    [[2, 1]]
    """
    contest = Evaluation(
        check_positive_integer("horizon", horizon),
        check_positive_integer("folds", folds),
        models,
        None if seasonality is None else check_positive_integer("seasonality", seasonality),
    )
    check_models(models)
    count_workers(n_jobs)
    if not isinstance(series, TimeSeries):
        return _compare_many(_named(series), contest, show_progress, n_jobs, out)
    table, found = contest.run(series, partial(tqdm, desc="Comparing", disable=not show_progress))
    table = table.sort_values("MASE").reset_index(drop=True)
    scores, found = table.assign(**_versions()), found.reset_index(drop=True)
    if out is not None:
        ResultsFolder(out).finish({"scores.csv": scores, "forecasts.csv": found})
    return Comparison(scores, table.assign(series=0), {0: series}, found.copy)


def _compare_many(
    series: Mapping[Any, TimeSeries],
    contest: Evaluation,
    show_progress: bool,
    n_jobs: int | None,
    out: str | Path | None,
) -> Comparison:
    names = {fingerprint(name, one): name for name, one in series.items()}
    if len(names) < len(series):
        raise ValueError("`series` holds equal series with names that look the same; rename them.")
    folder = None if out is None else ResultsFolder(out)
    scores, forecasts, skipped = [], [], set()
    if folder is not None:
        # models of your own are part of the settings, ours are known by their names in any order
        is_own = isinstance(contest.models, Mapping)
        models = make_models(contest.models) if is_own else sorted(check_models(contest.models))
        folder.keep_to({**vars(contest), "models": models, **_versions()})
        scores.append(folder.scores(names))
        skipped = set(scores[0]["series"])
    left = [key for key in names if key not in skipped]
    chunks = [
        {left[number]: series[names[left[number]]] for number in part}
        for part in chunk_ranges(len(left), count_workers(n_jobs))
    ]
    bar = tqdm(desc="Comparing", total=len(names), unit="series", disable=not show_progress)
    with bar:
        bar.update(len(skipped))
        for number, result in run_chunks(contest.run_chunk, chunks, n_jobs):
            bar.update(len(chunks[number]))
            if isinstance(result, Exception):
                lost = contest.failed(f"the worker was lost: {type(result).__name__}: {result}")
                # not kept on disk: the next start tries again
                scores += [lost.assign(series=key) for key in chunks[number]]
                continue
            scores.append(result[0])
            if folder is None:
                forecasts.append(result[1])
            else:
                folder.add(*result)
    table = _rename(pd.concat(scores), names, "MASE")
    summary = _summarize(table)
    if folder is None:
        return Comparison(summary, table, series, partial(_tidy, forecasts, names))
    parts = (_rename(part, names) for part in folder.forecasts(names))
    folder.finish({"scores.csv": summary, "per_series.csv": table, "forecasts.csv": parts})
    return Comparison(summary, table, series, partial(_tidy_folder, folder, names, series))


def _rename(table: pd.DataFrame, names: Mapping[str, Any], *by: str) -> pd.DataFrame:
    """Give the series their names in the place of fingerprints, and their order."""
    place = {key: number for number, key in enumerate(names)}
    table = table.assign(place=table["series"].map(place))
    table = table.sort_values(["place", *by], kind="stable").drop(columns="place")
    others = [column for column in table.columns if column != "series"]
    table = table.assign(series=table["series"].map(names))
    return table[["series", *others]].reset_index(drop=True)


def _tidy(forecasts: list[pd.DataFrame], names: Mapping[str, Any]) -> pd.DataFrame:
    full = [one for one in forecasts if not one.empty]
    found = pd.concat(full) if full else pd.DataFrame(columns=["series", *FORECASTS])
    return _rename(found, names)


def _tidy_folder(
    folder: ResultsFolder, names: Mapping[str, Any], series: Mapping[Any, TimeSeries]
) -> pd.DataFrame:
    found = _tidy(list(folder.forecasts(names)), names)
    dated = found["series"].isin([k for k, one in series.items() if one.has_datetime_index])
    # hours of one series stand beside the days of another, and beside numbers
    dates = pd.to_datetime(found["time"][dated], format="ISO8601")
    numbers = pd.to_numeric(found["time"][~dated])
    parts = [part for part in (dates, numbers) if len(part)] or [dates]
    return found.assign(time=pd.concat(parts))


def _summarize(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per model over all series, the best MASE first."""
    scored = table[table["MASE"].notna()]
    counts = scored.groupby("series", dropna=False).size()
    common = counts.index[counts == scored["model"].nunique()]  # else an easy subset would win
    means = scored[scored["series"].isin(common)].groupby("model")
    rows = table.groupby("model", sort=False)
    summary = pd.DataFrame(
        {
            "folds": rows["folds"].first(),
            "horizon": rows["horizon"].first(),
            "series": len(common),
            "failed": rows.size() - rows["MASE"].count(),
        }
    ).join(means[["MASE", "sMAPE", "fit_seconds", "predict_seconds"]].mean())
    # of a model without scores, one error for all
    summary["error"] = rows["error"].first().where(summary["failed"] == rows.size())
    summary.loc[summary["failed"] == rows.size(), "series"] = 0
    ranked = summary.sort_values("MASE").reset_index()
    return ranked.assign(**_versions())


def _named(series: Any) -> dict[Any, TimeSeries]:
    if not isinstance(series, (Sequence, Mapping)) or isinstance(series, str):
        raise ValueError(
            f"`series` must be a Darts `TimeSeries`, received {type(series).__name__}. "
            f"`TimeSeries.from_dataframe` and its kin make one."
        )
    named = dict(series) if isinstance(series, Mapping) else dict(enumerate(series))
    if not named:
        raise ValueError("`series` is empty; it must hold at least one `TimeSeries`.")
    for name, one in named.items():
        if not isinstance(one, TimeSeries):
            raise ValueError(
                f"`series` must hold Darts `TimeSeries`, received {type(one).__name__} at {name!r}."
            )
    return named


def _versions() -> dict[str, str]:
    return {"darts_lstm_seq": __version__, "darts": version("darts"), "torch": version("torch")}
