"""Means of the forecasts of several models, as rows of a comparison that need no further fit.

Which models are the better half of a fold is told by their errors in earlier folds alone; in the
first fold, these are all models.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries

from darts_lstm_seq.comparison.quantiles import Forecast
from darts_lstm_seq.comparison.scoring import score

MEAN, BETTER_HALF = "mean of all models", "mean of the better half"
ENSEMBLES = (MEAN, BETTER_HALF)
# the mean of two tells little
MIN_MODELS = 3

# M models, N forecast values of all folds


def ensemble_forecasts(forecasts: pd.DataFrame) -> pd.DataFrame:
    """Return the forecasts of the ensembles, as rows like those of the models.

    Parameters
    ----------
    forecasts
        Forecasts of all models for several series, as in `Comparison` with a column `series`.

    Returns
    -------
    pd.DataFrame
        None for series with fewer than three models; the better half only of several folds.
    """
    frames = [frame for _, part in forecasts.groupby("series", sort=False) for frame in _of(part)]
    return pd.concat(frames) if frames else forecasts[:0]


def _of(forecasts: pd.DataFrame) -> Iterator[pd.DataFrame]:
    models = forecasts["model"].tolist()
    # not in the order in which workers ended: it would decide the last bit of a mean, and ties
    by_model = [forecasts[[name == model for name in models]] for model in sorted(set(models))]
    if len(by_model) < MIN_MODELS:
        return
    # rows of all models are in the same order
    values = np.stack([part["forecast"].to_numpy(float) for part in by_model])  # (M, N)
    first = by_model[0].assign(lower=np.nan, upper=np.nan)
    yield first.assign(model=MEAN, forecast=_mean(values, np.ones_like(values, dtype=bool)))
    folds = first["fold"].to_numpy()
    if folds.max() > 1:
        errors = np.abs(values - first["actual"].to_numpy(float))  # (M, N)
        chosen = np.ones_like(values, dtype=bool)
        for fold in range(2, folds.max() + 1):
            chosen[:, folds == fold] = better_half(errors[:, folds < fold])[:, None]
        yield first.assign(model=BETTER_HALF, forecast=_mean(values, chosen))


def _mean(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    known = chosen & ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=0)
    counts = known.sum(axis=0)
    return np.divide(total, counts, out=np.full(len(total), np.nan), where=counts > 0)


def better_half(errors: np.ndarray) -> np.ndarray:
    """Return which models, the rows, have the smaller mean errors.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_lstm_seq.comparison.ensemble import better_half
    >>> better_half(np.array([[3.0], [1.0], [2.0]])).tolist()
    [False, True, True]
    """
    known = ~np.isnan(errors)
    counts = known.sum(axis=1)
    means = np.divide(
        np.where(known, errors, 0).sum(axis=1),
        counts,
        out=np.full(len(errors), np.inf),
        where=counts > 0,
    )
    ranks = means.argsort(kind="stable").argsort(kind="stable")
    return ranks < -(-len(errors) // 2)


def score_ensembles(
    forecasts: pd.DataFrame, series: Mapping[Any, TimeSeries], scores: pd.DataFrame
) -> pd.DataFrame:
    """Return the score rows of the ensembles.

    Parameters
    ----------
    forecasts
        What `ensemble_forecasts` returned.
    series
        The series by the values of the column `series`.
    scores
        The rows of the models, from which settings are taken.
    """
    columns = ["series", "folds", "horizon", "seasonality"]
    settings = scores[scores["seasonality"].notna()].drop_duplicates("series")[columns]
    by_series = {row["series"]: row for row in settings.to_dict("records")}
    rows = []
    for key, of_series in forecasts.groupby("series", sort=False):
        for model, part in of_series.groupby("model", sort=False):
            row = {**by_series[key], "model": model}
            folds = _by_fold(part, series[key], row["folds"], row["horizon"])
            try:
                found, _ = score(series[key], folds, int(row["seasonality"]))
                rows.append(row | found)
            except ValueError as error:
                rows.append(row | {"error": f"ValueError: {error}"})
    return pd.DataFrame(rows).reindex(columns=scores.columns)


def _by_fold(table: pd.DataFrame, series: TimeSeries, folds: int, horizon: int) -> list[Forecast]:
    values = table["forecast"].to_numpy().reshape(folds, series.n_components, horizon)
    start = len(series) - folds * horizon
    parts = [series[start + fold * horizon :][:horizon] for fold in range(folds)]
    return [
        Forecast(part.with_values(of_fold.T), None)
        for part, of_fold in zip(parts, values, strict=True)
    ]
