"""Every likelihood of Darts trains, samples, and tells its parameters; Monte-Carlo dropout too."""

from typing import Any

import numpy as np
import pytest
from darts import TimeSeries
from darts.metrics import mql
from darts.utils.likelihood_models import torch as families
from makers import sine, with_value

from darts_lstm_seq import LSTMSeqModel

FAMILIES = {
    # and the kind of values that each can tell of
    **dict.fromkeys(["Gaussian", "Laplace", "Cauchy", "Gumbel"], "real"),
    **dict.fromkeys(["Exponential", "Gamma", "HalfNormal", "LogNormal", "Weibull"], "positive"),
    **dict.fromkeys(["Poisson", "NegativeBinomial", "Geometric"], "counts"),
    **dict.fromkeys(["Beta", "ContinuousBernoulli", "Dirichlet"], "share"),
    "Bernoulli": "binary",
}
QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95]


def of_kind(kind: str, length: int = 120) -> TimeSeries:
    base = sine(length, width=2)
    wave = base.values()
    match kind:
        case "real":
            values = 100 * wave - 20
        case "positive":
            values = 30 * np.exp(wave / 2)
        case "counts":
            values = np.random.default_rng(0).poisson(20 * np.exp(wave / 2))
        case "binary":
            values = wave > 0
        case _:  # two shares that sum to one
            first = 1 / (1 + np.exp(-wave[:, :1]))
            values = np.concatenate([first, 1 - first], axis=1)
    return base.with_values(np.asarray(values, dtype="float32"))


@pytest.mark.parametrize(("family", "kind"), FAMILIES.items())
def test_every_family(family: str, kind: str, tiny: dict[str, Any]) -> None:
    likelihood = getattr(families, f"{family}Likelihood")()
    series = of_kind(kind)
    model = LSTMSeqModel(12, 4, likelihood=likelihood, **tiny | {"n_epochs": 10})
    samples = model.fit(series).predict(6, num_samples=200).all_values()
    assert samples.shape == (6, 2, 200)
    assert np.isfinite(samples).all()
    low, high = {
        "real": (-np.inf, np.inf),
        "positive": (0, np.inf),
        "counts": (0, np.inf),
        "share": (0, 1),
        "binary": (0, 1),
    }[kind]
    assert ((low <= samples) & (samples <= high)).all()
    if kind in ("counts", "binary"):
        np.testing.assert_array_equal(samples, samples.round())
    # on the scale of the data
    medians, values = np.median(samples, axis=2), series.values()
    assert (np.abs(medians - values.mean(axis=0)) <= 1.5 * np.ptp(values, axis=0)).all()

    parameters = model.predict(4, predict_likelihood_parameters=True)
    names = likelihood.component_names(series)
    assert list(parameters.components) == names
    assert np.isfinite(parameters.values()).all()
    with pytest.raises(ValueError, match="predict_likelihood_parameters"):
        model.predict(6, predict_likelihood_parameters=True)


SUPPORTS = {
    "whole numbers from 0 on": (["Poisson", "NegativeBinomial", "Geometric"], [-1, 2.5]),
    "numbers from 0 on": (["Exponential", "HalfNormal"], [-0.5]),
    "numbers above 0": (["Gamma", "LogNormal", "Weibull"], [-0.5, 0]),
    "0 and 1": (["Bernoulli"], [-1, 0.5, 2]),
    "numbers from 0 to 1": (["ContinuousBernoulli"], [-0.5, 1.5]),
    "numbers between 0 and 1": (["Beta"], [-0.5, 0, 1]),
    "shares above 0": (["Dirichlet"], [0, 0.75]),
}
UNSUPPORTED = [
    (family, value, words)
    for words, (names, values) in SUPPORTS.items()
    for family in names
    for value in values
]


@pytest.mark.parametrize(("family", "value", "words"), UNSUPPORTED)
def test_labels_without_a_likelihood_are_refused(
    family: str, value: float, words: str, tiny: dict[str, Any]
) -> None:
    likelihood = getattr(families, f"{family}Likelihood")()
    good = of_kind(FAMILIES[family], 40)
    wrong = with_value(good, 30, value, component=0)
    model = LSTMSeqModel(12, 4, likelihood=likelihood, **tiny)
    expected = (
        rf"at index 1 has the value {float(value)} in component 'y0', first at "
        rf"{good.time_index[30]}.*{family}Likelihood describes {words}.*NaN"
    )
    with pytest.raises(ValueError, match=f"`series` {expected}"):
        model.fit([good, wrong])
    with pytest.raises(ValueError, match=f"`val_series` {expected}"):
        model.fit([good, good], val_series=[good, wrong])


def test_missing_labels_and_first_windows_may_have_any_value(tiny: dict[str, Any]) -> None:
    counts = of_kind("counts", 40)
    series = [with_value(counts, 30), with_value(counts, 3, -2.5)]
    model = LSTMSeqModel(12, 4, likelihood=families.PoissonLikelihood(), **tiny).fit(series)
    assert np.isfinite(model.predict(4, series=counts).values()).all()


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float16"])
def test_integers_are_counts(dtype: str, tiny: dict[str, Any]) -> None:
    counts = TimeSeries.from_values(of_kind("counts", 40).values().astype(dtype))
    model = LSTMSeqModel(12, 4, likelihood=families.PoissonLikelihood(), **tiny).fit(counts)
    assert np.isfinite(model.predict(4).values()).all()


@pytest.mark.slow
def test_quantiles_are_ordered_and_cover(tiny: dict[str, Any]) -> None:
    series = sine(400, noise=0.3, level=500, scale=20)
    model = LSTMSeqModel(
        24,
        6,
        likelihood=families.QuantileRegression(QUANTILES),
        **tiny | {"n_epochs": 25, "hidden_dim": 16},
    ).fit(series[:300])
    arguments = {
        "series": series,
        "start": series.time_index[300],
        "forecast_horizon": 6,
        "retrain": False,
        "last_points_only": True,
    }
    told = model.historical_forecasts(predict_likelihood_parameters=True, **arguments)
    values = told.values()
    assert list(told.components) == [f"y0_q{q:.3f}" for q in QUANTILES]
    assert (np.diff(values, axis=1) > 0).mean() > 0.95
    truth = series.slice_intersect(told).values()
    covered = ((values[:, :1] <= truth) & (truth <= values[:, -1:])).mean()
    assert 0.75 < covered < 0.995  # of the 90 % asked for, in 95 windows
    sampled = model.historical_forecasts(num_samples=200, **arguments)
    assert mql(series, sampled, q=0.5) < 6
    np.testing.assert_allclose(np.median(sampled.all_values(), axis=2)[:, 0], values[:, 2], atol=8)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["Gaussian", "Laplace", "Gumbel", "Cauchy"])
def test_the_level_and_the_spread_of_noise_are_found(family: str, tiny: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    draw = {
        "Gaussian": rng.standard_normal(400),
        "Laplace": rng.laplace(size=400),
        "Gumbel": rng.gumbel(size=400),
        "Cauchy": np.clip(rng.standard_cauchy(400), -20, 20),
    }[family]
    series = TimeSeries.from_values((7e4 + 3e3 * draw).astype("float32"))
    model = LSTMSeqModel(
        32, 2, likelihood=getattr(families, f"{family}Likelihood")(), **tiny | {"n_epochs": 30}
    ).fit(series)
    location, scale = (
        model.historical_forecasts(
            series,
            start=300,
            retrain=False,
            forecast_horizon=2,
            predict_likelihood_parameters=True,
        )
        .values()
        .mean(axis=0)
    )
    assert abs(location - 7e4) < 2e3
    assert 1.5e3 < scale < 6e3


@pytest.mark.slow
@pytest.mark.parametrize("family", ["Poisson", "NegativeBinomial", "Geometric"])
def test_the_rate_of_counts_is_found(family: str, tiny: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    draw = {
        "Poisson": lambda: rng.poisson(40, 400),
        "NegativeBinomial": lambda: rng.negative_binomial(8, 8 / 48, 400),
        "Geometric": lambda: rng.geometric(1 / 41, 400) - 1,
    }[family]()
    series = TimeSeries.from_values(draw.astype("float32"))
    model = LSTMSeqModel(
        32, 2, likelihood=getattr(families, f"{family}Likelihood")(), **tiny | {"n_epochs": 30}
    ).fit(series)
    samples = model.historical_forecasts(
        series, start=300, retrain=False, forecast_horizon=2, num_samples=100
    )
    mean = samples.all_values().mean()
    assert 30 < mean < 50
    spread = np.median(samples.all_values().std(axis=2))
    assert 0.6 * draw.std() < spread < 1.6 * draw.std()


@pytest.mark.parametrize("n_rnn_layers", [1, 2])
def test_monte_carlo_dropout(n_rnn_layers: int, tiny: dict[str, Any]) -> None:
    series = sine(60)
    model = LSTMSeqModel(6, 4, n_rnn_layers=n_rnn_layers, **tiny | {"dropout": 0.4}).fit(series)
    still = model.predict(6).values()
    np.testing.assert_array_equal(model.predict(6).values(), still)
    moving = model.predict(6, num_samples=20, mc_dropout=True).all_values()
    assert np.ptp(moving, axis=2).min() > 0
    # it is off again afterwards
    np.testing.assert_allclose(model.predict(6).values(), still, atol=1e-6)


def test_monte_carlo_dropout_adds_to_a_likelihood(tiny: dict[str, Any]) -> None:
    series = sine(60)
    model = LSTMSeqModel(
        6, 4, likelihood=families.GaussianLikelihood(), **tiny | {"dropout": 0.4}
    ).fit(series)
    arguments = {"n": 4, "predict_likelihood_parameters": True}
    still = [model.predict(**arguments).values() for _ in range(2)]
    np.testing.assert_array_equal(still[0], still[1])
    moving = [model.predict(mc_dropout=True, **arguments).values() for _ in range(2)]
    assert np.abs(moving[0] - moving[1]).min() > 0


@pytest.mark.slow
def test_a_prior_is_in_the_units_of_the_data(tiny: dict[str, Any]) -> None:
    series = sine(120, level=300, scale=10)
    errors = []
    for strength in (0.0, 500.0):
        likelihood = families.GaussianLikelihood(
            prior_mu=320.0, prior_sigma=2.0, prior_strength=strength
        )
        model = LSTMSeqModel(
            12,
            4,
            likelihood=likelihood,
            **tiny | {"n_epochs": 60, "optimizer_kwargs": {"lr": 1e-2}},
        )
        told = model.fit(series).predict(4, predict_likelihood_parameters=True)
        errors.append(np.abs(told.values()[:, 0] - 320).mean())
    assert errors[1] < 0.7 * errors[0]
