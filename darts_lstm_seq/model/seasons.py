"""The season of a series: what its frequency implies, or what its values show."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from darts import TimeSeries

# L steps of a series, C components

# a season shows if values one season apart differ by less than this share of what values half a
# season nearer or further apart do: that of 97 in 100 random walks, and of more noise, is larger
_MAX_RATIO = 0.75
# multiples of a season have about its share, some a little less
_TOLERANCE = 1.25
# newest steps that are looked at
_SEARCHED = 400


def find_seasonality(series: TimeSeries) -> int:
    """Return the season that the frequency of a series implies, in time steps; 1 for none."""
    if not series.has_datetime_index or len(series) < 2:
        return 1
    days_per_step = series.duration / (len(series) - 1) / pd.Timedelta(days=1)
    days_per_season = 365.25 if days_per_step > 5 else 7 if days_per_step >= 1 else 1
    steps = days_per_season / days_per_step
    # 52.2 weeks are a year, but 3.5 steps of two days are not a week
    return max(1, round(steps)) if abs(steps - round(steps)) < 0.3 else 1


def usable_seasonality(series: TimeSeries, length: int, seasonality: int | None) -> int:
    """Return the season of models that are fitted to so many steps of a series; 1 for none."""
    season = find_seasonality(series) if seasonality is None else seasonality
    return 1 if 2 * season > length else season  # less than two seasons tell nothing of it


def detect_season(series: TimeSeries, candidates: Iterable[int]) -> int:
    """Return the season that the newest steps of a series show, in time steps; 1 for none.

    Parameters
    ----------
    series
        Any series; NaN marks missing values.
    candidates
        Seasons to choose from; those that are not seen twice do not count.

    Examples
    --------
    >>> from darts.utils.timeseries_generation import sine_timeseries
    >>> from darts_lstm_seq.model.seasons import detect_season
    >>> detect_season(sine_timeseries(length=60, value_frequency=1 / 12, start=0), [4, 12, 24])
    12
    """
    values = series.all_values(copy=False)[-_SEARCHED:, :, 0].astype(float)  # (L, C)

    def difference(lag: int) -> float:
        changes = np.abs(values[lag:] - values[:-lag])  # (L - lag, C)
        return float(changes[np.isfinite(changes)].mean()) if np.isfinite(changes).any() else np.inf

    ratios = {1: _MAX_RATIO}
    for season in candidates:
        if season > 1 and len(values) > 2 * season:
            halves = {season // 2, season - season // 2}
            nearby = [difference(lag + k) for lag in halves for k in (0, season)]
            if sum(nearby) > 0:
                ratios[season] = difference(season) * len(nearby) / sum(nearby)
    smallest = min(ratios.values())
    return min(s for s, ratio in ratios.items() if ratio <= min(_TOLERANCE * smallest, _MAX_RATIO))
