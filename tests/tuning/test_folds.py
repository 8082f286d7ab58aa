"""Folds and their scores against Darts' metrics, and which data are refused."""

from typing import Any

import numpy as np
import pytest
from darts.metrics import mase, mql
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression
from makers import sine, with_value

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.tuning.folds import Folds


def test_a_fold_ends_a_horizon_before_the_next() -> None:
    series = [sine(48), sine(60)]
    folds = Folds(series, 6, 3, None, None)
    assert [[len(part) for part in folds.parts(fold)] for fold in range(3)] == [
        [30, 42],
        [36, 48],
        [42, 54],
    ]
    assert folds.parts(None) == series
    assert (folds.season, folds.train_length) == (12, 30)


def test_without_a_likelihood_the_score_is_mase(tiny: dict[str, Any]) -> None:
    series = [sine(48, width=2), with_value(sine(60, width=2, seed=1), -3, component=0)]
    folds = Folds(series, 6, 2, None, None)
    model = LSTMSeqModel(6, 6, **tiny).fit(folds.parts(1))
    forecasts = model.predict(6, folds.parts(1))
    expected = mase(series, forecasts, insample=folds.parts(1), m=12, component_reduction=None)
    # the missing value is left out, each other value has the same weight
    weights = [np.array([6, 6]), np.array([5, 6])]
    means = [np.average(e, weights=w) for e, w in zip(expected, weights, strict=True)]
    assert folds.score(model, 1) == pytest.approx(np.mean(means), rel=1e-5)


def test_with_quantiles_it_is_the_scaled_quantile_loss(tiny: dict[str, Any]) -> None:
    levels = [0.1, 0.5, 0.9]
    series = sine(48, dtype="float64")
    folds = Folds(series, 6, 2, None, None)
    model = LSTMSeqModel(6, 6, likelihood=QuantileRegression(levels), **tiny)
    (part,) = folds.parts(0)
    forecast = model.fit([part]).predict(6, part, predict_likelihood_parameters=True)
    values = forecast.values().reshape(6, 3)
    errors = series.values()[36:42] - values
    losses = np.maximum(np.array(levels) * errors, (np.array(levels) - 1) * errors)
    changes = np.abs(part.values()[12:] - part.values()[:-12])
    assert folds.score(model, 0) == pytest.approx(2 * losses.mean() / changes.mean())


def test_other_likelihoods_are_sampled(tiny: dict[str, Any]) -> None:
    series = sine(48, dtype="float64")
    folds = Folds(series, 6, 2, None, None)
    model = LSTMSeqModel(6, 3, likelihood=GaussianLikelihood(), **tiny)  # two chunks
    (part,) = folds.parts(0)
    sampled = model.fit([part]).predict(6, part, num_samples=200, random_state=0)
    changes = np.abs(part.values()[12:] - part.values()[:-12])
    expected = (
        np.mean([mql(series, sampled, q=level / 10) for level in range(1, 10)]) / changes.mean()
    )
    assert folds.score(model, 0) == pytest.approx(expected)


def test_series_and_covariates_by_name() -> None:
    named = {"a": sine(30), "b": sine(40)}
    covariates = {"b": sine(50, seed=1), "a": sine(50, seed=2)}
    folds = Folds(named, 3, 2, covariates, None)
    assert folds.fit_arguments(None) == {
        "series": [named["a"], named["b"]],
        "past_covariates": [covariates["a"], covariates["b"]],
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"series": [sine(48), sine(9)]}, "index 1 has 9 time steps.*need 15.*Set `horizon` to 1"),
        ({"series": sine(48, scale=0.0)}, "constant"),
        ({"series": []}, "`series` must be"),
        ({"series": "sales.csv"}, "received 'sales.csv'"),
        ({"series": [sine(48), 1]}, "int at index 1"),
        ({"horizon": 0}, "`horizon`"),
        ({"count": 1}, "`folds` must be an integer >= 2"),
        ({"past_covariates": [sine(48)] * 2}, "has 2 series, `series` 1"),
        ({"series": {"a": sine(48)}, "past_covariates": {"b": sine(48)}}, "names of `series`"),
    ],
)
def test_errors(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "series": sine(48),
        "horizon": 3,
        "count": 3,
        "past_covariates": None,
        "future_covariates": None,
    }
    with pytest.raises(ValueError, match=message):
        Folds(**arguments | changes)
