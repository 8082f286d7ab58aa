"""The result of a comparison: its tables, its plot, and the future by any of its models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import pandas as pd
from darts import TimeSeries

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


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`.

    Attributes
    ----------
    scores
        A row per model, the best MASE first: `model`, `folds`, `horizon`, `seasonality` (time
        steps), `MASE`, `sMAPE` (percent), `RMSE` (units of the series), each averaged over folds
        and components, `fit_seconds` and `predict_seconds` (wall clock, summed over folds),
        `covariates` (those that a model used, if there are any), `note` (why MASE is missing or
        leaves out a component, where it is missing, RMSE ranks; which folds are scored in part
        only), `error` (why a model has no scores), and package versions. For many series: means
        over the series that all successful models scored, the number `series` of these, and the
        number `failed` of series without scores of this model; `RMSE` and `seasonality`, which are
        not comparable between series, are left out. One network for all series has the seconds of
        its fit divided by their number.
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

    def fit(self, model: str | None = None) -> Any:
        """Fit a model to whole series, to the end, where `compare` leaves folds out.

        Parameters
        ----------
        model
            The name of a model of this comparison; `best` by default.

        Returns
        -------
        ForecastingModel or dict
            The fitted model of one series, or of all: `LSTMSeqModel (global)` is one network. Other
            models of many series are fitted to each, and returned by the names of the series; those
            that cannot be fitted are left out, and have their error in `predict`. An `LSTMSeqModel`
            forecasts quantiles.

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
        names = self._evaluation.names
        if model is not None and model not in names:
            raise ValueError(f"`model` must be one of {names}, received {model!r}.")
        return self.best if model is None else model

    def _fit(self, name: str) -> Fitted:
        if name not in self._fitted:
            self._fitted[name] = fit_models(self._evaluation, name, self._inputs, self._n_jobs)
        return self._fitted[name]
