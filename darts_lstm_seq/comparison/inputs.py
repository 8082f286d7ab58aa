"""What is forecast: a series and the covariates that belong to it, by the names of the series."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from darts import TimeSeries, concatenate
from darts.utils.timeseries_generation import holidays_timeseries

from darts_lstm_seq.checks import steps_needed

# folds of a comparison of series that are long enough
DEFAULT_FOLDS = 3
_SHARE_WITH_FOLDS = 0.9

Series = TimeSeries | Sequence[TimeSeries] | Mapping[Any, TimeSeries]


class Inputs(NamedTuple):
    """A series and its covariates; parameters as for `fit` of Darts' models."""

    series: TimeSeries
    past_covariates: TimeSeries | None = None
    future_covariates: TimeSeries | None = None

    @property
    def covariates(self) -> dict[str, TimeSeries]:
        """The covariates that there are, by the names of the parameters."""
        given = {
            "past_covariates": self.past_covariates,
            "future_covariates": self.future_covariates,
        }
        return {name: value for name, value in given.items() if value is not None}


def inputs_by_name(
    series: Any, past_covariates: Any = None, future_covariates: Any = None
) -> dict[Any, Inputs]:
    """Return series with their covariates, by name or index.

    Parameters
    ----------
    series
        A series (named 0), a sequence of series, or a mapping of names to series.
    past_covariates, future_covariates
        Likewise, with the same names; a single `TimeSeries` belongs to every series.

    Raises
    ------
    ValueError
        If there is no series, something is no `TimeSeries`, or names differ.
    """
    named = {0: series} if isinstance(series, TimeSeries) else _by_name("series", series)
    if not named:
        raise ValueError("`series` is empty; it must hold at least one `TimeSeries`.")
    given = {}
    for parameter, covariates in (
        ("past_covariates", past_covariates),
        ("future_covariates", future_covariates),
    ):
        if covariates is None or isinstance(covariates, TimeSeries):
            given[parameter] = dict.fromkeys(named, covariates)
            continue
        given[parameter] = _by_name(parameter, covariates)
        differing = given[parameter].keys() ^ named.keys()
        if differing:
            raise ValueError(
                f"`{parameter}` must be one `TimeSeries`, or have the names of `series`; "
                f"{next(iter(differing))!r} is in one of them only."
            )
    return {
        name: Inputs(target, given["past_covariates"][name], given["future_covariates"][name])
        for name, target in named.items()
    }


def with_holidays(series: Any, future_covariates: Any, country: str, steps: int) -> Any:
    """Return future covariates with the holidays of a country as another component.

    Parameters
    ----------
    series
        One series or several.
    future_covariates
        Those of the series, or `None`.
    country
        ISO code of the country, as for Darts' `holidays_timeseries`.
    steps
        Number of time steps after a series that the holidays are needed for.

    Raises
    ------
    ValueError
        If the country is unknown, or a series has no dates.

    Examples
    --------
    >>> import pandas as pd
    >>> from darts.utils.timeseries_generation import constant_timeseries
    >>> from darts_lstm_seq.comparison.inputs import with_holidays
    >>> days = constant_timeseries(start=pd.Timestamp("2024-06-30"), length=3, freq="D")
    >>> with_holidays(days, None, "US", steps=2).values().ravel().tolist()
    [0.0, 0.0, 0.0, 0.0, 1.0]
    """
    found = {}
    for name, given in inputs_by_name(series, None, future_covariates).items():
        target, future = given.series, given.future_covariates
        if not target.has_datetime_index:
            raise ValueError("holidays need series with dates, not with an integer index.")
        times = pd.date_range(target.start_time(), periods=len(target) + steps, freq=target.freq)
        try:
            holidays = holidays_timeseries(times if future is None else future, country)
        except (NotImplementedError, KeyError, AttributeError) as error:
            raise ValueError(f"no holidays of {country!r} are known: {error}") from error
        found[name] = (
            holidays
            if future is None
            else concatenate([future, holidays.astype(future.dtype)], axis="component")
        )
    return found[0] if isinstance(series, TimeSeries) else found


def calendar_encoders(series: TimeSeries) -> dict[str, Any]:
    """Return Darts' encoders of the calendar that suit the frequency of a series.

    Raises
    ------
    ValueError
        If it has no dates.
    """
    if not series.has_datetime_index:
        raise ValueError("the calendar needs series with dates, not with an integer index.")
    days = _days_per_step(series)
    attributes = (
        ["quarter"]
        if days > 80
        else ["month"]
        if days > 27
        else ["weekofyear"]
        if days > 5
        else ["dayofweek", "month"]
        if days >= 1
        else ["hour", "dayofweek", "month"]
    )
    return {"cyclic": {"future": attributes}}


def _days_per_step(series: TimeSeries) -> float:
    return (series.duration / max(1, len(series) - 1)).total_seconds() / 86400


def default_folds(series: Sequence[TimeSeries], horizon: int) -> int:
    """Return how many folds nine of ten series are long enough for, up to three.

    Series that are too short for one do not count.

    Examples
    --------
    >>> from darts.utils.timeseries_generation import sine_timeseries
    >>> from darts_lstm_seq.comparison.inputs import default_folds
    >>> [default_folds([sine_timeseries(length=length)], 12) for length in (60, 48, 36, 24)]
    [3, 2, 1, 1]
    """
    lengths = [len(one) for one in series]
    usable = [length for length in lengths if length >= steps_needed(horizon, 1)]
    for folds in range(DEFAULT_FOLDS, 1, -1):
        fitting = sum(length >= steps_needed(horizon, folds) for length in usable)
        if usable and fitting >= _SHARE_WITH_FOLDS * len(usable):
            return folds
    return 1


def default_horizon(series: Sequence[TimeSeries], folds: int) -> int:
    """Return the horizon that suits the frequency of most series, in time steps.

    Five years, a year of quarters or months, a quarter of weeks, two weeks of days, a day of
    shorter steps; 12 steps of an integer index; and never more than leaves the training part of a
    series of median length two horizons.
    """
    dated = [one for one in series if one.has_datetime_index and len(one) > 1]
    steps = 12
    if dated:
        days = min(map(_days_per_step, dated))
        for shortest, count in ((300, 5), (80, 4), (27, 12), (5, 13), (1, 14)):
            if days >= shortest:
                steps = count
                break
        else:
            steps = round(1 / days)
    length = int(np.median([len(one) for one in series]))
    return max(1, min(steps, length // (folds + 2)))


def _by_name(parameter: str, series: Any) -> dict[Any, TimeSeries]:
    if not isinstance(series, (Sequence, Mapping)) or isinstance(series, str):
        raise ValueError(
            f"`{parameter}` must be a Darts `TimeSeries`, received {type(series).__name__}. Create "
            f"one with `TimeSeries.from_dataframe` or another `TimeSeries.from_...` method."
        )
    named = dict(series) if isinstance(series, Mapping) else dict(enumerate(series))
    for name, value in named.items():
        if not isinstance(value, TimeSeries):
            raise ValueError(
                f"`{parameter}` must hold Darts `TimeSeries`, received {type(value).__name__} at "
                f"{name!r}."
            )
    return named
