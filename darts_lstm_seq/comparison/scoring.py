"""Scores of the forecasts of one model for one series, and what cannot be scored.

Metrics are Darts'; the forecasts come from `evaluation.py` and `global_fit.py`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.metrics import mase, rmse, smape

from darts_lstm_seq.checks import check_length
from darts_lstm_seq.comparison.quantiles import Forecast

# of the interval of 80 %, and of the deciles
INTERVAL_SCORES = ["coverage", "interval_score", "wQL"]
SCORES = ["MASE", "sMAPE", "RMSE", *INTERVAL_SCORES, "fit_seconds", "predict_seconds"]
SCORES += ["covariates", "note", "error"]
FORECASTS = ["model", "fold", "time", "component", "forecast", "lower", "upper", "actual"]
# deciles; the outermost are the interval of 80 %
LEVELS = tuple(level / 10 for level in range(1, 10))

# scores of a series, or its error, and its forecasts
Result = tuple[dict[str, Any], pd.DataFrame | None]

PARTLY_SCORED = "some values are missing; scored are"

# differences over a season that are smaller than this share of the values are rounding errors
_ROUNDING = 1e-12


def check_series(series: TimeSeries, horizon: int, folds: int) -> None:
    """Check that a series can be evaluated.

    Raises
    ------
    ValueError
        If it is too short, constant, entirely missing or infinite somewhere.
    """
    check_length("`series`", len(series), horizon, folds)
    values = series.values(copy=False)
    if np.isnan(values).all():
        raise ValueError("`series` holds nothing but missing values (NaN).")
    infinite = np.isinf(values).any(axis=1)
    if infinite.any():
        time = series.time_index[int(np.argmax(infinite))]
        raise ValueError(f"`series` is infinite at {time}. Correct it, or make it missing (NaN).")
    if not (np.nanmax(values) > np.nanmin(values)):
        raise ValueError(
            f"`series` is constant ({np.nanmin(values)}), so errors have no scale to be compared "
            f"with. Leave it out."
        )


def fold_ends(series: TimeSeries, horizon: int, folds: int) -> list[int]:
    """Return the number of time steps before each fold."""
    return [len(series) - fold * horizon for fold in range(folds, 0, -1)]


def score(
    series: TimeSeries, forecasts: Sequence[Forecast], season: int
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the scores of a model and its forecasts, a row for each predicted value.

    Parameters
    ----------
    series
        The actual values, and those before them.
    forecasts
        The forecast of each fold.
    season
        Number of time steps of a season, for MASE.

    Raises
    ------
    ValueError
        If forecasts start elsewhere than they should, or nothing can be scored.
    """
    horizon, folds = len(forecasts[0].point), len(forecasts)
    ends = fold_ends(series, horizon, folds)
    points = [forecast.point for forecast in forecasts]
    for point, end in zip(points, ends, strict=True):
        if point.start_time() != series.time_index[end]:
            raise ValueError(
                f"the forecast starts at {point.start_time()}, not right after the training "
                f"part at {series.time_index[end]}. Use a model without `output_chunk_shift`."
            )
    parts = [series[:end] for end in ends]
    scaled, note = _components_with_scale(series, ends, season)
    actual = [series[end : end + horizon] for end in ends]
    scores: dict[str, Any] = {
        "MASE": _mean(
            mase,
            [part[scaled] for part in actual],
            [point[scaled] for point in points],
            insample=[part[scaled] for part in parts],
            m=season,
        )
        if scaled
        else np.nan,
        "sMAPE": _mean(smape, actual, points),
        "RMSE": _mean(rmse, actual, points),
    }
    if np.isnan(scores["RMSE"]):
        raise ValueError("nothing to score: forecasts or actual values are missing in all folds.")
    if np.isinf(scores["RMSE"]):
        raise ValueError("errors are too large to be squared. Scale the series down.")
    if all(forecast.quantiles is not None for forecast in forecasts):
        scores |= _score_quantiles(series, forecasts, ends, season, bool(scaled))
    notes = [text for text in (note, _missing(actual)) if text]
    if notes:
        scores["note"] = "; ".join(notes)
    frames = [
        to_frame(forecast).assign(fold=fold, actual=part.values().ravel(order="F"))
        for fold, (forecast, part) in enumerate(zip(forecasts, actual, strict=True), 1)
    ]
    return scores, pd.concat(frames)


def _score_quantiles(
    series: TimeSeries,
    forecasts: Sequence[Forecast],
    ends: Sequence[int],
    season: int,
    has_scale: bool,
) -> dict[str, float]:
    """Return coverage and score of the interval of 80 %, and the weighted quantile loss.

    Source: the mean scaled interval score of the M4 competition, with the scale of MASE, and the
    weighted quantile loss of `gluonts` and `fev`.
    """
    values = series.values(copy=False)  # (time steps, C)
    quantiles = np.stack([np.asarray(one.quantiles) for one in forecasts])  # (folds, H, C, Q)
    actual = np.stack([values[end : end + quantiles.shape[1]] for end in ends])  # (folds, H, C)
    lower, upper = quantiles[..., 0], quantiles[..., -1]
    missed = np.maximum(lower - actual, 0) + np.maximum(actual - upper, 0)
    widths = upper - lower + 2 / (2 * LEVELS[0]) * missed  # (folds, H, C)
    known = ~np.isnan(actual)
    errors = actual[..., None] - quantiles  # (folds, H, C, Q)
    levels = np.array(LEVELS)
    losses = np.nansum(2 * np.maximum(levels * errors, (levels - 1) * errors), axis=(0, 1, 2))
    size = np.nansum(np.abs(actual))
    found = {
        "coverage": float((missed[known] == 0).mean()),
        "wQL": float(losses.mean() / size) if size else np.nan,
    }
    if has_scale:
        with np.errstate(divide="ignore", invalid="ignore"):
            scales = [np.nanmean(np.abs(values[season:e] - values[: e - season]), 0) for e in ends]
            scaled = widths / np.stack(scales)[:, None, :]
        found["interval_score"] = float(np.nanmean(scaled[np.isfinite(scaled)]))
    return found


def to_frame(forecast: Forecast) -> pd.DataFrame:
    """Return a row per component and time; the outermost quantiles are `lower` and `upper`."""
    point = forecast.point
    limits = np.full((2, len(point), point.n_components), np.nan)
    if forecast.quantiles is not None:
        limits[:] = forecast.quantiles[:, :, 0], forecast.quantiles[:, :, -1]
    return pd.DataFrame(
        {
            "time": np.tile(point.time_index, point.n_components),
            "component": np.repeat(point.components, len(point)),
            "forecast": point.values().ravel(order="F"),
            "lower": limits[0].ravel(order="F"),
            "upper": limits[1].ravel(order="F"),
        }
    )


def _mean(
    metric: Callable[..., Any],
    actual: list[TimeSeries],
    forecasts: list[TimeSeries],
    **kwargs: Any,
) -> float:
    """Return the mean over folds; all actual values of a fold may be missing."""
    values = metric(actual, forecasts, **kwargs)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float(np.max(values))


def _missing(actual: Sequence[TimeSeries]) -> str | None:
    """Say which folds are scored in part only."""
    values = np.stack([part.values() for part in actual])  # (folds, H, C)
    known = (~np.isnan(values)).sum(axis=(1, 2))  # (folds,)
    total = values[0].size
    texts = [f"fold {k} by {count} of {total}" for k, count in enumerate(known, 1) if count < total]
    return f"{PARTLY_SCORED}: {', '.join(texts)}" if texts else None


def _components_with_scale(
    series: TimeSeries, ends: Sequence[int], season: int
) -> tuple[list[str], str | None]:
    """Return the components that MASE can score, and why it leaves out others.

    MASE divides by the mean absolute change over a season in the training part of each fold. Folds
    without a change must not be left out of the mean: a model may fail in just these.
    """
    values = series.values(copy=False)  # (time steps, C)
    components = list(series.components)
    varies = np.nanmax(values, axis=0) > np.nanmin(values, axis=0)  # (C,)
    for fold, end in enumerate(ends, start=1):
        part = np.abs(np.nan_to_num(values[:end]))
        change = np.abs(values[season:end] - values[: end - season])
        has_scale = np.nan_to_num(change).sum(axis=0) > _ROUNDING * part.sum(axis=0)  # (C,)
        for index in np.flatnonzero(varies & ~has_scale):
            steps = "one step" if season == 1 else f"{season} steps"
            return [], (
                f"no MASE: before fold {fold}, {components[index]!r} does not change over {steps}, "
                f"so errors have no scale; ranked by RMSE"
            )
    constant = [name for name, is_scored in zip(components, varies, strict=True) if not is_scored]
    note = f"MASE leaves out constant components: {', '.join(constant)}" if constant else None
    return [name for name in components if name not in constant], note
