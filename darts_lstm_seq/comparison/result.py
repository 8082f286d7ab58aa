"""The result of a comparison: its tables, its plot, and the future by any of its models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import pandas as pd
from darts import TimeSeries

from darts_lstm_seq.checks import counted
from darts_lstm_seq.comparison.ensemble import ENSEMBLES, MEAN
from darts_lstm_seq.comparison.evaluation import Evaluation
from darts_lstm_seq.comparison.future import (
    Fitted,
    check_interval,
    fit_models,
    forecast_future,
    of_one_series,
)
from darts_lstm_seq.comparison.inputs import Inputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# the columns of a short `repr`
_SHOWN = ["model", "series", "failed", "MASE", "sMAPE", "RMSE", "coverage", "win_rate"]


@dataclass(frozen=True, repr=False)
class Comparison:
    """The result of `compare`.

    Attributes
    ----------
    scores
        A row per model, the best MASE first: `model`, `folds`, `horizon`, `seasonality` (time
        steps), `MASE`, `sMAPE` (percent), `RMSE` (units of the series), each averaged over folds
        and components, `fit_seconds` and `predict_seconds` (wall clock, summed over folds),
        `coverage`, `interval_score` and `wQL` (the share of values within the interval of 80 %, its
        score in units of the scale of MASE, and the weighted quantile loss of the deciles, of
        models that give intervals), `covariates` (those that a model used, if there are any),
        `note` (why MASE is missing or leaves out a component, where it is missing, RMSE ranks;
        which folds are scored in part only), `error` (why a model has no scores), and package
        versions. For many series: means over the series that all ranked models scored, the number
        `series` of these, and the number `failed` of series without scores of this model; a model
        that scored fewer than half of those that any model scored is not ranked, and has an
        `error`; `RMSE` and `seasonality`, which are not comparable between series, are left out;
        `win_rate` and `skill_score` against seasonal naive with limits (see `skill.py`) if it is
        among the models; `failures`, why series failed. One network for all series has the seconds
        of its fit divided by their number. With three models or more, there are rows for the mean
        of their forecasts, and for the mean of the better half by earlier folds.
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
    _inputs: Mapping[Any, Inputs]
    _evaluation: Evaluation
    _is_single: bool
    _n_jobs: int | None = None
    _fitted: dict[str, Fitted] = field(default_factory=dict)

    @cached_property
    @pd.option_context("mode.string_storage", "python")  # as in `compare`
    def forecasts(self) -> pd.DataFrame:
        """A row per model, fold, time and component: `forecast` and the `actual` value.

        `lower` and `upper` are the limits of the interval of 80 % of models that give one. For many
        series the first column is `series`. With ``out``, the table is read from disk on first
        access.
        """
        return self._load_forecasts()

    @property
    def best(self) -> str:
        """The name of the model with the lowest MASE; with the lowest RMSE if there is no MASE.

        Raises
        ------
        ValueError
            If no model has scores.
        """
        scored = self.scores["model"][self.scores["error"].isna()]
        if scored.empty:
            raise ValueError("no model has scores; `scores['error']` says why.")
        return str(scored.iloc[0])

    def __repr__(self) -> str:
        return f"{self._title()}\n{self._short_scores().to_string(index=False)}"

    def _repr_html_(self) -> str:
        return f"<p>{self._title()}</p>{self._short_scores().to_html(index=False)}"

    def _title(self) -> str:
        count, settings = len(self.series), self._evaluation
        series = "1 series" if count == 1 else f"{count} series"
        folds = counted(settings.folds, "fold")
        return f"Comparison on {series}: {folds} of horizon {settings.horizon}"

    def _short_scores(self) -> pd.DataFrame:
        names = [name for name in _SHOWN if name in self.scores]
        table = self.scores[names].round(3)
        errors = self.scores["error"]
        if errors.isna().all():
            return table
        return table.assign(error=[e[:60] if isinstance(e, str) else "" for e in errors])

    def fit(self, model: str | None = None) -> Any:
        """Fit a model to whole series, to the end, where `compare` leaves folds out.

        Parameters
        ----------
        model
            The name of a model of this comparison; `best` by default.

        Returns
        -------
        ForecastingModel or dict
            The fitted model of one series, or of all: `LSTMSeqModel (global)` and `LSTMSeqModel
            (fine-tuned)` are one network each. Other models of many series are fitted to each, and
            returned by the names of the series; those that cannot be fitted are left out, and have
            their error in `predict`. An `LSTMSeqModel` forecasts quantiles.

        Raises
        ------
        ValueError
            If there is no such model, or it cannot be fitted.

        Examples
        --------
        >>> from darts_lstm_seq import compare
        >>> from darts_lstm_seq.data import nile
        >>> result = compare(nile(), horizon=5, models=["NaiveDrift"], show_progress=False)
        >>> result.fit().predict(1).time_index[0].year
        1971
        """
        name = self._check_model(model)
        if name in ENSEMBLES:
            return {member: self.fit(member) for member in self._members(name)}
        fitted = self._fit(name)
        if not fitted.models:
            raise ValueError(f"{name} cannot be fitted. {next(iter(fitted.errors.values()))}")
        if self._is_single or fitted.is_global:
            return next(iter(fitted.models.values()))
        return dict(fitted.models)

    def predict(self, model: str | None = None, interval: float = 0.8) -> pd.DataFrame:
        """Forecast the horizon that follows each series, by a model fitted to all of it.

        Parameters
        ----------
        model
            The name of a model of this comparison; `best` by default.
        interval
            The share of values that the limits shall hold, in (0, 1). They are quantiles of an
            `LSTMSeqModel` and of models with a likelihood of their own. The limits of other models
            are their forecast plus and minus a quantile of their errors when refitted at earlier
            times of the series (global models: `ConformalNaiveModel`).

        Returns
        -------
        pd.DataFrame
            A row per time and component: `time`, `component`, `forecast`, `lower`, `upper`. For
            many series the first column is `series`, and a series that cannot be forecast has one
            row with its `error`. `TimeSeries.from_group_dataframe` makes series of it.

        Raises
        ------
        ValueError
            If there is no such model, it cannot be fitted to any series, `interval` is no share, or
            a single series cannot be forecast.

        Examples
        --------
        >>> from darts_lstm_seq import compare
        >>> from darts_lstm_seq.data import nile
        >>> result = compare(nile(), horizon=5, models=["NaiveDrift"], show_progress=False)
        >>> future = result.predict(interval=0.9)
        >>> len(future), bool((future["lower"] < future["forecast"]).all())
        (5, True)
        """
        check_interval(interval)
        name = self._check_model(model)
        if name in ENSEMBLES:
            return self._predict_by_ensemble(name, interval)
        fitted = self._fit(name)
        if not fitted.models:
            raise ValueError(f"{name} cannot be fitted. {next(iter(fitted.errors.values()))}")
        future = forecast_future(fitted, self._inputs, self._evaluation.horizon, interval)
        return of_one_series(future) if self._is_single else future

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

    def _check_model(self, model: str | None) -> str:
        names = list(self.scores["model"])
        if model is not None and model not in names:
            raise ValueError(f"`model` must be one of {names}, received {model!r}.")
        return self.best if model is None else model

    def _members(self, ensemble: str) -> list[str]:
        """Return the models of an ensemble; the better half is that of all series."""
        scored = self.scores[self.scores["error"].isna() & ~self.scores["model"].isin(ENSEMBLES)]
        count = len(scored) if ensemble == MEAN else -(-len(scored) // 2)
        return [str(name) for name in scored["model"][:count]]

    def _predict_by_ensemble(self, name: str, interval: float) -> pd.DataFrame:
        """Return the means of forecasts and limits; one model that fails does not stop others."""
        futures = [self.predict(member, interval) for member in self._members(name)]
        known = [one[one["forecast"].notna()] for one in futures]
        keys = [column for column in ("series", "time", "component") if column in futures[0]]
        values = ["forecast", "lower", "upper"]
        rows = pd.concat(known)
        mean = rows.groupby(keys, sort=False, dropna=False)[values].mean().reset_index()
        if "error" not in futures[0]:
            return mean
        # series that no model forecasts have the error of the first
        errors = futures[0][futures[0]["error"].notna()]
        lacking = [key not in set(mean["series"]) for key in errors["series"]]
        return pd.concat([mean, errors[lacking]]).reindex(columns=futures[0].columns)

    def _fit(self, name: str) -> Fitted:
        if name not in self._fitted:
            self._fitted[name] = fit_models(self._evaluation, name, self._inputs, self._n_jobs)
        return self._fitted[name]
