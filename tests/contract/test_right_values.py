"""Forecasts that are right to a tolerance, on kinds of series where the answer is known."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.metrics import rmse
from darts.utils.likelihood_models import torch as families

from darts_lstm_seq import LSTMSeqModel

QUIET = {
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "logger": False,
}
FAST = {"optimizer_kwargs": {"lr": 1e-2}, "random_state": 1, "pl_trainer_kwargs": QUIET}


def daily(values: np.ndarray) -> TimeSeries:
    times = pd.date_range("2020-01-01", periods=len(values), freq="D")
    return TimeSeries.from_times_and_values(times, values)


def largest_error(actual: TimeSeries, forecast: TimeSeries) -> float:
    return float(np.abs(actual.slice_intersect(forecast).values() - forecast.values()).max())


# --- distributions -------------------------------------------------------------------------------

SEASON, LENGTH, HORIZON = 12, 144, 12
DRAWS: dict[str, Any] = {
    # from a generator and the means
    "Gaussian": lambda rng, mean: rng.normal(mean, 10),
    "Laplace": lambda rng, mean: rng.laplace(mean, 8),
    "Cauchy": lambda rng, mean: mean + 4 * np.clip(rng.standard_cauchy(len(mean)), -10, 10),
    "Gumbel": lambda rng, mean: rng.gumbel(mean - 5, 8),
    "Poisson": lambda rng, mean: rng.poisson(mean),
    "NegativeBinomial": lambda rng, mean: rng.negative_binomial(20, 20 / (20 + mean)),
    "Geometric": lambda rng, mean: rng.geometric(1 / (1 + mean)) - 1,
    "Exponential": lambda rng, mean: rng.exponential(mean),
    "Gamma": lambda rng, mean: rng.gamma(30, mean / 30),
    "HalfNormal": lambda rng, mean: np.abs(rng.normal(0, mean * np.sqrt(np.pi / 2))),
    "LogNormal": lambda rng, mean: mean * rng.lognormal(0, 0.15, len(mean)),
    "Weibull": lambda rng, mean: mean / 0.928 * rng.weibull(6, len(mean)),
    "Beta": lambda rng, mean: rng.beta(40 * mean / 300, 40 * (1 - mean / 300)),
    "Bernoulli": lambda rng, mean: rng.random(len(mean)) < mean / 300,
    "ContinuousBernoulli": lambda rng, mean: rng.beta(4 * mean / 300, 4 * (1 - mean / 300)),
    "Dirichlet": lambda rng, mean: rng.beta(4 * mean / 300, 4 * (1 - mean / 300)),
}
WITH_SHAPE = ("Gaussian", "Poisson", "NegativeBinomial", "Gamma", "LogNormal", "Weibull", "Beta")


@cache
def drawn(family: str, seed: int) -> tuple[TimeSeries, np.ndarray]:
    """Return a series with trend and season of a family, and its means in the last year."""
    steps = np.arange(LENGTH)
    mean = 80 * (1 + steps / LENGTH) * (1 + 0.4 * np.sin(2 * np.pi * steps / SEASON))
    values = np.asarray(DRAWS[family](np.random.default_rng(seed), mean), dtype=float)[:, None]
    mean = mean[:, None]
    if family in ("Beta", "Bernoulli", "ContinuousBernoulli", "Dirichlet"):
        mean = mean / 300
    if family == "Dirichlet":
        values, mean = np.hstack([values, 1 - values]), np.hstack([mean, 1 - mean])
    times = pd.date_range("2010-01-01", periods=LENGTH, freq="MS")
    return TimeSeries.from_times_and_values(times, values), mean[-HORIZON:]


@cache
def forecast(family: str, fitted: str, seed: int) -> np.ndarray:
    """Return samples `(T, C, 200)` of the last year."""
    likelihood = getattr(families, f"{fitted}Likelihood")()
    model = LSTMSeqModel(
        36, HORIZON, likelihood=likelihood, random_state=1, pl_trainer_kwargs=QUIET
    )
    series, _ = drawn(family, seed)
    return model.fit(series[:-HORIZON]).predict(HORIZON, num_samples=200).all_values()


def error(family: str, fitted: str, seed: int) -> float:
    """Return the mean absolute error of the forecast means (or medians) in the last year."""
    samples = forecast(family, fitted, seed)
    center = np.median(samples, axis=2) if fitted == "Cauchy" else samples.mean(axis=2)
    return float(np.abs(center - drawn(family, seed)[1]).mean())


def naive_error(family: str, seed: int) -> float:
    """Return the mean absolute error of seasonal naive."""
    series, mean = drawn(family, seed)
    return float(np.abs(series.values()[-HORIZON - SEASON : -HORIZON] - mean).mean())


def interval(family: str, fitted: str, seed: int) -> tuple[float, float]:
    """Return the share of values in the 80 % interval, and its mean width."""
    low, high = np.quantile(forecast(family, fitted, seed), [0.1, 0.9], axis=2)
    actual = drawn(family, seed)[0].values()[-HORIZON:]
    return ((low <= actual) & (actual <= high)).mean(), (high - low).mean()


@pytest.mark.parametrize("family", DRAWS)
def test_a_distribution_is_no_worse_than_seasonal_naive_on_its_own_data(family: str) -> None:
    seeds = (0, 1)
    naive = np.mean([naive_error(family, seed) for seed in seeds])
    assert np.mean([error(family, family, seed) for seed in seeds]) < 1.05 * naive
    if family in WITH_SHAPE:
        assert 0.5 < np.mean([interval(family, family, seed)[0] for seed in seeds]) <= 1


@pytest.mark.parametrize("fitted", ["Poisson", "NegativeBinomial"])
def test_counts_are_forecast_as_well_as_by_a_gaussian(fitted: str) -> None:
    seeds = (0, 1)
    gaussian = np.mean([error("Poisson", "Gaussian", seed) for seed in seeds])
    assert np.mean([error("Poisson", fitted, seed) for seed in seeds]) < 1.3 * gaussian
    inside, width = np.mean([interval("Poisson", fitted, seed) for seed in seeds], axis=0)
    assert 0.65 < inside < 0.95
    noise = np.mean([2.56 * np.sqrt(drawn("Poisson", seed)[1]).mean() for seed in seeds])
    assert 0.9 * noise < width < 1.8 * noise  # forecasts are not quite the means


@pytest.mark.parametrize(
    ("rate", "fitted"), [(0.3, "Poisson"), (0.1, "NegativeBinomial"), (1.0, "NegativeBinomial")]
)
def test_the_rate_of_rare_counts_has_no_bias(rate: float, fitted: str) -> None:
    series = daily(np.random.default_rng(2).poisson(rate, 208).astype(float))
    likelihood = getattr(families, f"{fitted}Likelihood")()
    model = LSTMSeqModel(52, 4, likelihood=likelihood, random_state=1, pl_trainer_kwargs=QUIET)
    forecasts = model.fit(series).historical_forecasts(
        series, retrain=False, forecast_horizon=4, last_points_only=False, num_samples=200
    )
    found = np.mean([one.all_values().mean() for one in forecasts])
    actual = np.mean([series.slice_intersect(one).values().mean() for one in forecasts])
    assert found == pytest.approx(actual, rel=0.05)


# --- windows without a scale ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "level", "size"),
    [(12, 0, 1), (2, -300, 1e6), (4, 1e3, 1e-3), (18, 5, 1)],
)
def test_a_load_that_is_known_ahead(length: int, level: float, size: float) -> None:
    """The target is a future covariate, on or off for 20 steps at a time."""
    values = np.repeat(np.random.default_rng(0).integers(0, 2, 45), 20).astype(float)
    plan, load = daily(values), daily(level + size * values)
    model = LSTMSeqModel(length, 6, n_epochs=30, **FAST)
    model.fit(load[:700], future_covariates=plan)
    forecasts = model.historical_forecasts(
        load,
        future_covariates=plan,
        start=700,
        start_format="position",
        retrain=False,
        forecast_horizon=6,
        last_points_only=False,
    )
    errors = [largest_error(load, forecast) for forecast in forecasts]
    assert max(errors) < 0.03 * size


def test_solar_power_after_dark() -> None:
    """Windows of the night, all zero, tell nothing of the morning; irradiance does."""
    rng, hours = np.random.default_rng(0), np.arange(24 * 40)
    clear = np.clip(np.sin(2 * np.pi * (hours - 6) / 24), 0, None)
    irradiance = clear * np.repeat(rng.uniform(0.3, 1, 40), 24)
    power, known = daily(50 * irradiance), daily(irradiance)
    model = LSTMSeqModel(8, 6, **FAST).fit(power[:720], future_covariates=known)
    nights = [i for i in range(720, 940) if not irradiance[i - 8 : i].any()]
    forecasts = model.predict(
        6, series=[power[:i] for i in nights], future_covariates=[known] * len(nights)
    )
    errors = [largest_error(power, forecast) for forecast in forecasts]
    assert len(nights) > 20
    assert max(errors) < 0.1 * 50


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 / 3])
def test_a_constant_stays_to_the_last_digit(value: float, dtype: str) -> None:
    constant = np.full(60, value, dtype)
    moving = constant + np.sin(np.arange(60)).astype(dtype)
    model = LSTMSeqModel(6, 4, n_epochs=2, random_state=1, pl_trainer_kwargs=QUIET)
    for training in (constant, moving):
        forecast = model.fit(daily(training)).predict(9, series=daily(constant))
        assert (forecast.values() == constant[:1]).all()


# --- short windows -------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 3, 5, 12])
def test_a_covariate_beside_short_windows(length: int) -> None:
    """Without noise, y(t) = 5 + 3 x(t - 1), of which windows of y tell nothing."""
    x = np.random.default_rng(0).standard_normal(400)
    y, covariate = daily(5 + 3 * np.r_[0, x[:-1]]), daily(x)
    model = LSTMSeqModel(length, 1, **FAST).fit(y[:300], past_covariates=covariate)
    found = model.historical_forecasts(
        y, past_covariates=covariate, start=300, start_format="position", retrain=False
    )
    assert rmse(y, found) < 0.3  # the standard deviation of y is 2.8
