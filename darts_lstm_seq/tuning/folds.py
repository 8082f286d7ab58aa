"""The data that configurations are evaluated on: series, covariates, rolling origins, scores.

Fold k = 1, 2, ... trains on all but the last `folds - k + 1` horizons of each series and is scored
on the horizon that follows. Which configurations are evaluated is up to `evaluation.py`.

Source: MASE as in Hyndman and Koehler, "Another look at measures of forecast accuracy" (2006); the
scaled quantile loss as in `fev` is its counterpart for quantiles.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression

from darts_lstm_seq.checks import check_length, check_positive_integer
from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel
from darts_lstm_seq.model.seasons import usable_seasonality

# T time steps, C components, Q quantiles

_COVARIATES = ("past_covariates", "future_covariates")
# of likelihoods other than quantiles
_SAMPLES = 200
_DECILES = [level / 10 for level in range(1, 10)]


class Folds:
    """Series with their covariates, divided into folds.

    Parameters
    ----------
    series, past_covariates, future_covariates
        One series or several, as for `fit`.
    horizon
        Number of time steps that are forecast in each fold.
    count
        Number of folds.

    Raises
    ------
    ValueError
        If a series is too short for the folds, or no series has a scale to measure errors by.
    """

    def __init__(
        self, series: Any, horizon: int, count: int, past_covariates: Any, future_covariates: Any
    ) -> None:
        self.horizon = check_positive_integer("horizon", horizon)
        self.count = check_positive_integer("folds", count, 2)
        self.series = _as_list("series", series)
        given = {"past_covariates": past_covariates, "future_covariates": future_covariates}
        names = list(series) if isinstance(series, Mapping) else None
        self.covariates = {
            name: _as_list(name, value, names) for name, value in given.items() if value is not None
        }
        for name, covariates in self.covariates.items():
            if len(covariates) != len(self.series):
                raise ValueError(
                    f"`{name}` has {len(covariates)} series, `series` {len(self.series)}; give one "
                    f"for each."
                )
        for index, one in enumerate(self.series):
            try:
                check_length(f"`series` at index {index}", len(one), horizon, count, min_folds=2)
            except ValueError as error:
                more = " Or leave this series out." if len(self.series) > 1 else ""
                raise ValueError(f"{error}{more}") from None
        self.train_length = min(map(len, self.series)) - self.count * horizon
        self.season = usable_seasonality(self.series[0], self.train_length, None)
        # mean absolute change over a season of each series and component, by fold
        self._scales = [
            [_scale(part.values(copy=False), self.season) for part in self.parts(fold)]
            for fold in range(self.count)
        ]
        if not any(np.nansum(scales) > 0 for of_fold in self._scales for scales in of_fold):
            raise ValueError(
                "`series` is constant, so errors have no scale to be compared by, and nothing can "
                "be tuned. Give a series that varies."
            )

    def parts(self, fold: int | None) -> list[TimeSeries]:
        """Return what is trained on in a fold; all of each series for `None`."""
        cut = 0 if fold is None else (self.count - fold) * self.horizon
        return [one[: len(one) - cut] for one in self.series]

    def fit_arguments(self, fold: int | None) -> dict[str, Any]:
        """Return the arguments of `fit`."""
        return {"series": self.parts(fold), **self.covariates}

    def score(self, model: LSTMSeqModel, fold: int) -> float:
        """Return the error of a fitted model in a fold.

        Parameters
        ----------
        model
            The model.
        fold
            Index of the fold that it was fitted to.

        Returns
        -------
        float
            MASE; with a likelihood the scaled quantile loss: twice the quantile loss, averaged over
            quantiles, by the scale of MASE. Means over series, components and known values.

        Raises
        ------
        ValueError
            If forecasts are not finite or start late, or there are no known values.
        """
        parts = self.parts(fold)
        forecasts, levels = _predict_quantiles(
            model, self.horizon, {"series": parts, **self.covariates}
        )
        errors = []
        for one, part, forecast, scale in zip(
            self.series, parts, forecasts, self._scales[fold], strict=True
        ):
            if not np.isfinite(forecast).all():
                raise ValueError(f"forecasts of fold {fold + 1} are not finite.")
            actual = one.values(copy=False)[len(part) : len(part) + self.horizon]  # (T, C)
            missed = actual[..., None] - forecast  # (T, C, Q)
            losses = 2 * np.maximum(levels * missed, (levels - 1) * missed).mean(axis=2)  # (T, C)
            scaled = losses[:, scale > 0] / scale[scale > 0]
            if np.isfinite(scaled).any():
                errors.append(np.nanmean(scaled))
        if not errors:
            raise ValueError(f"all actual values of fold {fold + 1} are missing.")
        return float(np.mean(errors))


def _predict_quantiles(
    model: LSTMSeqModel, horizon: int, arguments: dict[str, Any]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return a forecast `(T, C, Q)` of each series and its Q quantile levels."""
    likelihood = model.likelihood
    if model.output_chunk_shift:
        raise ValueError(
            f"forecasts start {model.output_chunk_shift} steps late, and those right after the "
            f"training part are scored. Use a model without `output_chunk_shift`."
        )
    if likelihood is None:
        found = model.predict(horizon, **arguments)
        return [forecast.values()[..., None] for forecast in found], np.array([0.5])
    if isinstance(likelihood, QuantileRegression) and horizon <= model.output_chunk_length:
        found = model.predict(horizon, **arguments, predict_likelihood_parameters=True)
        levels = np.array(likelihood.quantiles)
        return [f.values().reshape(horizon, -1, len(levels)) for f in found], levels
    found = model.predict(horizon, **arguments, num_samples=_SAMPLES, random_state=0)
    quantiles = [np.quantile(forecast.all_values(), _DECILES, axis=2) for forecast in found]
    return [np.moveaxis(of_series, 0, 2) for of_series in quantiles], np.array(_DECILES)


def _scale(values: np.ndarray, season: int) -> np.ndarray:
    """Return the mean absolute change over a season `(C,)`, 0 where nothing is known."""
    changes = np.abs(values[season:] - values[:-season])  # (T, C)
    known = ~np.isnan(changes)
    return np.where(known, changes, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)


def _as_list(name: str, series: Any, names: list[Any] | None = None) -> list[TimeSeries]:
    """Return series as a list, in the order of `names` if they have names."""
    if isinstance(series, TimeSeries):
        return [series]
    if isinstance(series, Mapping):
        if names is not None and series.keys() != set(names):
            raise ValueError(f"`{name}` must have the names of `series`, received {list(series)}.")
        series = [series[key] for key in names or series]
    if not isinstance(series, Sequence) or isinstance(series, str) or not series:
        raise ValueError(
            f"`{name}` must be a Darts `TimeSeries` or a list of them, received {series!r:.80}."
        )
    for index, one in enumerate(series):
        if not isinstance(one, TimeSeries):
            raise ValueError(
                f"`{name}` must hold Darts `TimeSeries`, received {type(one).__name__} at index "
                f"{index}."
            )
    return list(series)
