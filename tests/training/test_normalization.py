"""Normalised values are what numpy says, and forecasts come back as the distribution they were."""

import inspect
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from darts.utils.likelihood_models import torch as families
from darts.utils.likelihood_models.torch import TorchLikelihood
from torch import Tensor

from darts_lstm_seq.training.normalization import InstanceNorm, Standardizer

NAN = float("nan")

SHIFTED = [
    families.GaussianLikelihood(),
    families.LaplaceLikelihood(),
    families.CauchyLikelihood(),
    families.GumbelLikelihood(),
]
SCALED = [
    families.ExponentialLikelihood(),
    families.GammaLikelihood(),
    families.HalfNormalLikelihood(),
    families.LogNormalLikelihood(),
    families.WeibullLikelihood(),
]
COUNTS = [
    families.PoissonLikelihood(),
    families.NegativeBinomialLikelihood(),
    families.GeometricLikelihood(),
]
FIXED = [
    families.BernoulliLikelihood(),
    families.BetaLikelihood(),
    families.ContinuousBernoulliLikelihood(),
    families.DirichletLikelihood(),
]
QUANTILES = families.QuantileRegression([0.1, 0.5, 0.9])


def _name(value: object) -> str | None:
    return type(value).__name__ if isinstance(value, TorchLikelihood) else None


def _random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _distribution(likelihood: TorchLikelihood, output: Tensor) -> torch.distributions.Distribution:
    return likelihood._distr_from_params(likelihood._params_from_output(output))


def _windows(positive: bool = False) -> Tensor:
    """Windows `(4, 9, 2)` on four scales, with gaps."""
    x = _random(4, 9, 2) * torch.tensor([1e-3, 1.0, 40.0, 1e6])[:, None, None]
    x = x.abs() if positive else x + 3
    x[1, 2:5, 0] = NAN
    x[2, 0, 1] = NAN
    return x


def test_every_likelihood_of_darts_is_tested_here() -> None:
    known = {
        cls
        for _, cls in inspect.getmembers(families, inspect.isclass)
        if issubclass(cls, TorchLikelihood) and cls is not TorchLikelihood
    }
    tested = {type(one) for one in (*SHIFTED, *SCALED, *COUNTS, *FIXED, QUANTILES)}
    assert tested == known


@pytest.mark.parametrize("likelihood", [None, QUANTILES, *SHIFTED], ids=_name)
def test_windows_are_normalised_by_their_own_past(likelihood: TorchLikelihood | None) -> None:
    x = _windows()
    norm = InstanceNorm(2, likelihood)
    mean, spread = np.nanmean(x, axis=1, keepdims=True), np.nanstd(x, axis=1, keepdims=True)
    np.testing.assert_allclose(norm(x), (x.numpy() - mean) / spread, rtol=1e-9)
    # labels are measured by the past, not by themselves
    later = _random(4, 3, 2, seed=1)
    np.testing.assert_allclose(norm.transform(later), (later.numpy() - mean) / spread, rtol=1e-9)


@pytest.mark.parametrize("likelihood", [*SCALED, *COUNTS], ids=_name)
def test_positive_values_are_scaled_but_not_shifted(likelihood: TorchLikelihood) -> None:
    x = _windows(positive=True)
    x[0, 0] = 0.0
    scale = np.nanmean(x, axis=1, keepdims=True) + (likelihood in COUNTS)
    np.testing.assert_allclose(InstanceNorm(2, likelihood)(x), x.numpy() / scale, rtol=1e-9)


@pytest.mark.parametrize("likelihood", FIXED, ids=_name)
def test_values_of_a_fixed_interval_stay(likelihood: TorchLikelihood) -> None:
    norm = InstanceNorm(2, likelihood)
    x, output = torch.rand(4, 9, 2), _random(4, 5, 2, likelihood.num_parameters)
    assert norm(x) is x
    assert norm.transform(x) is x
    assert norm.inverse(output) is output


def test_plain_forecasts_come_back() -> None:
    norm = InstanceNorm(2)
    norm(_windows())
    later = _random(4, 5, 2, seed=1) * 100
    back = norm.inverse(norm.transform(later)[..., None])
    torch.testing.assert_close(back, later[..., None], rtol=1e-9, atol=1e-9)


def test_quantiles_come_back() -> None:
    norm = InstanceNorm(2, QUANTILES)
    norm(_windows())
    later = _random(4, 5, 2, 3, seed=1).sort(dim=-1).values
    normalised = torch.stack([norm.transform(one) for one in later.unbind(-1)], dim=-1)
    torch.testing.assert_close(norm.inverse(normalised), later, rtol=1e-9, atol=1e-9)
    # a quantile stays that quantile: the order survives
    assert (norm.inverse(_random(4, 5, 2, 3).sort(-1).values).diff(dim=-1) > 0).all()


@pytest.mark.parametrize("likelihood", [*SHIFTED, *SCALED], ids=_name)
def test_a_density_is_shifted_and_scaled(likelihood: TorchLikelihood) -> None:
    """If `Y = m + s Z` then `log p_Y(m + s z) = log p_Z(z) - log s`, whatever the family."""
    norm = InstanceNorm(2, likelihood)
    norm(_windows(positive=likelihood in SCALED))
    output = 2 * _random(4, 5, 2, likelihood.num_parameters, seed=1)
    before, after = (
        _distribution(likelihood, output),
        _distribution(likelihood, norm.inverse(output)),
    )
    for z in (0.03, 0.8, 2.5):
        point = torch.full((4, 5, 2), z, dtype=torch.float64)
        torch.testing.assert_close(
            after.log_prob(norm.mean + norm.stdev * point),
            before.log_prob(point) - norm.stdev.log(),
            rtol=1e-5,
            atol=1e-6,
        )


@pytest.mark.parametrize("likelihood", COUNTS, ids=_name)
def test_the_mean_of_counts_is_scaled(likelihood: TorchLikelihood) -> None:
    norm = InstanceNorm(2, likelihood)
    norm(_windows(positive=True))
    output = _random(4, 5, 2, likelihood.num_parameters, seed=1)
    before, after = (
        _distribution(likelihood, output),
        _distribution(likelihood, norm.inverse(output)),
    )
    torch.testing.assert_close(after.mean, norm.stdev * before.mean, rtol=1e-6, atol=0)


def test_the_dispersion_of_a_negative_binomial_stays() -> None:
    likelihood = families.NegativeBinomialLikelihood()
    norm = InstanceNorm(2, likelihood)
    norm(_windows(positive=True))
    output = _random(4, 5, 2, 2, seed=1)
    torch.testing.assert_close(norm.inverse(output)[..., 1], output[..., 1])


@pytest.mark.parametrize("likelihood", [None, QUANTILES, *SHIFTED, *SCALED, *COUNTS], ids=_name)
@pytest.mark.parametrize("value", [0.0, 1e-12, 7.3, 1e12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_windows_are_finite(
    likelihood: TorchLikelihood | None, value: float, dtype: torch.dtype
) -> None:
    norm = InstanceNorm(1, likelihood)
    x = torch.full((1, 25, 1), value, dtype=dtype)
    x[0, 3] = NAN
    seen = norm(x)
    assert seen[0, 3].isnan().all()
    assert seen.nan_to_num().isfinite().all()
    parameters = 1 if likelihood is None else likelihood.num_parameters
    output = 3 * _random(1, 4, 1, parameters).to(dtype)
    assert norm.inverse(output).isfinite().all()
    if norm.shifts:
        # nothing is known but the constant: whatever the network says, that is the forecast
        assert norm.constant.all()
        assert (seen.nan_to_num() == 0).all()
        middle = norm.inverse(output)[..., 0]
        torch.testing.assert_close(middle, torch.full_like(middle, value), rtol=2e-5, atol=1e-30)


@pytest.mark.parametrize("power", [-12, -6, 0, 6, 12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("level", [0.0, 100.0])
def test_any_magnitude(power: int, dtype: torch.dtype, level: float) -> None:
    exact = (level + _random(2, 50, 1)) * 10.0**power
    x = exact.to(dtype)
    norm = InstanceNorm(1)
    seen = norm(x)
    assert not norm.constant.any()
    assert seen.mean(dim=1).abs().max() < 1e-4
    torch.testing.assert_close(seen.std(dim=1, correction=0), torch.ones(2, 1, dtype=dtype))
    # relative to the spread, no more is lost than the dtype has lost already
    error = (norm.inverse(seen[..., None])[..., 0] - x).abs().max() / 10.0**power
    assert error < 20 * torch.finfo(dtype).eps * max(level, 1.0)


@pytest.mark.parametrize("power", [-12, 0, 12])
@pytest.mark.parametrize("likelihood", SHIFTED, ids=_name)
def test_any_magnitude_of_a_distribution_in_single_precision(
    likelihood: TorchLikelihood, power: int
) -> None:
    norm = InstanceNorm(1, likelihood)
    norm((_random(1, 50, 1) * 10.0**power).float())
    output = _random(1, 5, 1, 2, seed=1).float()
    location, spread = likelihood._params_from_output(output)
    there, spread_there = likelihood._params_from_output(norm.inverse(output))
    torch.testing.assert_close(there, norm.mean + norm.stdev * location, rtol=1e-5, atol=0)
    torch.testing.assert_close(spread_there, norm.stdev * spread, rtol=1e-4, atol=0)


def test_large_level_with_small_spread_loses_nothing_in_double_precision() -> None:
    small = _random(1, 50, 1)
    x = 1e9 + small
    norm = InstanceNorm(1)
    seen = norm(x)
    expected = (small - small.mean()) / small.std(correction=0)
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-6)
    # the network works in single precision: what passes through it is exact to 1e-6 spreads
    back = norm.inverse(seen.float()[..., None])
    assert back.dtype == torch.float64
    torch.testing.assert_close(back[..., 0], x, rtol=0, atol=1e-6)


def test_half_precision_neither_overflows_nor_stays_half() -> None:
    x = (300 + 100 * _random(1, 50, 1)).half()  # whose squares are beyond 65504
    norm = InstanceNorm(1)
    seen = norm(x)
    assert seen.dtype == torch.float32
    torch.testing.assert_close(seen.std(dim=1, correction=0), torch.ones(1, 1))
    torch.testing.assert_close(norm.inverse(seen[..., None])[..., 0], x.float())


def test_what_is_learnt_from_half_precision_does_not_overflow() -> None:
    past = (3000 + 1000 * _random(60, 1, 1)).half()
    future = (3000 + 1000 * _random(60, 2, 1, seed=1)).half()
    half, single = InstanceNorm(1), InstanceNorm(1)
    half.fit(past, future, use_training_level=True)
    single.fit(past.float(), future.float(), use_training_level=True)
    assert half.step.item() == pytest.approx(1400, rel=0.2)
    for name, value in half.state_dict().items():
        torch.testing.assert_close(value, single.state_dict()[name])
    scaler = Standardizer(1)
    scaler.fit(past[:, 0])
    assert scaler.mean.item() == pytest.approx(3000, rel=0.1)
    assert scaler.stdev.item() == pytest.approx(1000, rel=0.2)


def test_rounding_of_a_constant_is_no_signal() -> None:
    x = torch.full((1, 7, 1), 0.1) * torch.ones(1, 7, 1)
    x[0, 3] = torch.nextafter(x[0, 3], torch.ones(1))
    norm = InstanceNorm(1)
    assert (norm(x) == 0).all()
    assert norm.constant.all()


def test_one_step_windows_are_constant_unless_training_says_more() -> None:
    norm = InstanceNorm(1)
    assert norm(torch.tensor([[[5.0]]])).item() == 0
    assert norm.inverse(torch.tensor([[[[2.0]]]])).item() == pytest.approx(5, rel=1e-5)


def test_eps_is_added_to_the_variance() -> None:
    x = _windows()
    spread = np.sqrt(np.nanvar(x, axis=1, keepdims=True) + 0.5)
    norm = InstanceNorm(2, eps=0.5)
    norm(x)
    np.testing.assert_allclose(norm.stdev, spread, rtol=1e-9)


def test_affine_is_learnt_and_undone() -> None:
    norm, plain = InstanceNorm(2, affine=True), InstanceNorm(2)
    assert {name for name, _ in norm.named_parameters()} == {"affine_weight", "affine_bias"}
    assert not list(plain.parameters())
    with torch.no_grad():
        norm.affine_weight.copy_(torch.tensor([2.0, 0.5]))
        norm.affine_bias.copy_(torch.tensor([1.0, -3.0]))
    x = _windows()
    seen, expected = norm(x), plain(x) * norm.affine_weight + norm.affine_bias
    torch.testing.assert_close(seen, expected, equal_nan=True)
    back = norm.inverse(norm.undo_affine(seen[..., None]))[..., 0]
    torch.testing.assert_close(back, x, rtol=1e-6, atol=1e-6, equal_nan=True)
    # labels are free of it: shrinking them would be the easiest way to a small loss
    torch.testing.assert_close(norm.transform(x), plain.transform(x), equal_nan=True)


def _noise(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Windows `(n, 6, 1)` of noise around 50, spread 2, and what follows them `(n, 3, 1)`."""
    both = 50 + 2 * _random(n, 9, 1, seed=seed)
    return both[:, :6], both[:, 6:]


def test_a_level_that_the_training_data_kept_measures_windows_that_agree() -> None:
    norm = InstanceNorm(1)
    norm.fit(*_noise(400), use_training_level=True)
    x, _ = _noise(200, seed=1)
    norm(x)
    shared = norm.mean == norm.level
    assert shared.float().mean() > 0.8  # a few windows are too flat or too wild to tell
    assert norm.level.item() == pytest.approx(50, abs=0.2)
    # the spread of what is to be forecast, not that of single short windows
    assert norm.stdev[shared].unique().item() == pytest.approx(2, rel=0.1)
    later = _random(200, 3, 1)
    back = norm.inverse(norm.transform(later)[..., None])[..., 0]
    torch.testing.assert_close(back, later, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "change", [lambda x: x + 20, lambda x: 5 * (x - 50) + 50, lambda x: (x - 50) / 5 + 50]
)
def test_windows_off_the_level_are_measured_by_their_own(
    change: Callable[[Tensor], Tensor],
) -> None:
    norm, own = InstanceNorm(1), InstanceNorm(1)
    norm.fit(*_noise(400), use_training_level=True)
    x = change(_noise(20, seed=1)[0])
    torch.testing.assert_close(norm(x), own(x))


@pytest.mark.parametrize(
    "values",
    [
        _random(409, 1).cumsum(0),
        # a slow swing, half as wide again as the noise around it
        2 * _random(409, 1) + 3 * torch.sin(torch.arange(409)[:, None] / 30),
    ],
    ids=["random walk", "swing"],
)
def test_a_wandering_level_is_none(values: Tensor) -> None:
    norm, own = InstanceNorm(1), InstanceNorm(1)
    both = torch.stack([values[i : i + 9] for i in range(400)])
    norm.fit(both[:, :6], both[:, 6:], use_training_level=True)
    torch.testing.assert_close(norm(both[:, :6]), own(both[:, :6]))


def test_a_level_is_not_used_unasked() -> None:
    norm, own = InstanceNorm(1), InstanceNorm(1)
    past, future = _noise(400)
    norm.fit(past, future, use_training_level=False)
    torch.testing.assert_close(norm(past), own(past))


def test_windows_of_one_step_are_measured_by_the_steps_of_the_training_data() -> None:
    norm = InstanceNorm(2)
    scale = torch.tensor([1.0, 300.0])
    past, future = 1e4 + scale * _random(50, 1, 2), 1e4 + scale * _random(50, 3, 2, seed=1)
    norm.fit(past, future, use_training_level=False)
    x = torch.tensor([[[5.0, 7.0]]], dtype=torch.float64)
    assert (norm(x) == 0).all()
    expected = (future - past).square().mean(dim=(0, 1)).sqrt()
    torch.testing.assert_close(norm.stdev[0, 0], expected, rtol=1e-6, atol=0)
    assert not norm.constant.any()


def test_standardizer_is_numpys_z_score() -> None:
    x = _random(200, 3) * torch.tensor([1e-9, 2.0, 1e9]) + torch.tensor([0.0, -5.0, 1e10])
    x[5:20, 1] = NAN
    scaler = Standardizer(3)
    untouched = _random(2, 4, 3)
    torch.testing.assert_close(scaler(untouched), untouched)
    scaler.fit(x)
    expected = (x.numpy() - np.nanmean(x, axis=0)) / np.nanstd(x, axis=0)
    np.testing.assert_allclose(scaler(x), expected, atol=1e-5)
    assert scaler(x.float()).dtype == torch.float32


@pytest.mark.parametrize("value", [0.0, 3.0, 1e9, NAN])
def test_standardizer_keeps_constants_finite(value: float) -> None:
    scaler = Standardizer(1)
    scaler.fit(torch.full((7, 1), value))
    assert scaler.stdev.item() == 1.0 or value > 1e6  # where rounding is larger
    expected = 1.0 if math.isnan(value) else 0.0
    assert scaler(torch.tensor([[1.0 if math.isnan(value) else value]])).item() == expected
    # a later value is at its distance from the constant
    assert scaler(scaler.mean + 2).item() == pytest.approx(2, abs=0.01 if value < 1e8 else 70)


def test_standardizer_travels_with_the_weights() -> None:
    scaler, other = Standardizer(2), Standardizer(2)
    scaler.fit(_random(20, 2) * 5 + 3)
    other.load_state_dict(scaler.state_dict())
    x = _random(3, 2)
    torch.testing.assert_close(other(x), scaler(x))
    assert not list(scaler.parameters())


def test_standardizer_of_nothing() -> None:
    assert Standardizer(0)(torch.zeros(2, 3, 0)).shape == (2, 3, 0)
