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

from darts_lstm_seq.training.likelihoods import raw_parameters, softplus, softplus_inverse
from darts_lstm_seq.training.normalization import (
    InstanceNorm,
    mean_and_spread,
    rounding_error,
)
from darts_lstm_seq.training.standardizer import Standardizer

NAN = float("nan")

SHIFTED = [
    families.GaussianLikelihood(),
    families.LaplaceLikelihood(),
    families.CauchyLikelihood(),
    families.GumbelLikelihood(),
]
POSITIVE = [
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
SHARES = [
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
    tested = {type(one) for one in (*SHIFTED, *POSITIVE, *COUNTS, *SHARES, QUANTILES)}
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


@pytest.mark.parametrize(
    ("likelihood", "least"),
    [
        *((one, lambda mean, length: np.sqrt(mean + 0.5 / length)) for one in COUNTS),
        *((one, lambda mean, length: 0.05 * mean) for one in POSITIVE),
        *((one, lambda mean, length: 0.05 * mean * (1 - mean)) for one in SHARES[1:]),
        (
            SHARES[0],
            lambda mean, length: np.sqrt(
                (mean * length + 0.5) / (length + 1) * ((1 - mean) * length + 0.5) / (length + 1)
            ),
        ),
    ],
    ids=_name,
)
def test_spreads_are_at_least_that_of_the_familys_noise(
    likelihood: TorchLikelihood, least: Callable[..., np.ndarray]
) -> None:
    # without a seed nine values would now and then all be rounded to zero, whose noise is none
    uniform = torch.rand(3, 9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = uniform * (1 if likelihood in SHARES else 20)
    x[1] = x[1, :1]  # constant
    x[2] = x[2].round()
    mean = x.numpy().mean(axis=1, keepdims=True)
    spread = np.maximum(x.numpy().std(axis=1, keepdims=True), least(mean, 9))
    norm = InstanceNorm(2, likelihood)
    np.testing.assert_allclose(norm(x), (x.numpy() - mean) / spread, rtol=1e-9, atol=1e-12)
    assert not norm.constant.any()


def test_an_unknown_likelihood_is_refused() -> None:
    class Unknown(TorchLikelihood):
        """A family with a scale of its own."""

        def sample(self, model_output: Tensor) -> Tensor:
            return self._distr_from_params(self._params_from_output(model_output)).sample()

        def _distr_from_params(self, params: tuple[Tensor, ...]) -> torch.distributions.Normal:
            return torch.distributions.Normal(*params)

        def _params_from_output(self, model_output: Tensor) -> tuple[Tensor, ...]:
            return model_output[..., 0], model_output[..., 1].exp()

        @property
        def num_parameters(self) -> int:
            return 2

    likelihood = Unknown.__new__(Unknown)
    with pytest.raises(ValueError, match=r"Unknown.*use_reversible_instance_norm.*False"):
        InstanceNorm(1, likelihood)
    with pytest.raises(ValueError, match="Unknown"):
        raw_parameters(likelihood, torch.ones(1, 1, 1, 1), [], torch.ones(1, 1, 1, 1))


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


@pytest.mark.parametrize("likelihood", SHIFTED, ids=_name)
def test_a_density_is_shifted_and_scaled(likelihood: TorchLikelihood) -> None:
    """If `Y = m + s Z` then `log p_Y(m + s z) = log p_Z(z) - log s`, whatever the family."""
    norm = InstanceNorm(2, likelihood)
    norm(_windows())
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


def _center(likelihood: TorchLikelihood, raw: Tensor) -> Tensor:
    """Return what of the distribution the network's location is."""
    match likelihood:
        case families.LogNormalLikelihood():  # the median
            return raw[..., 0].exp()
        case families.WeibullLikelihood():  # the scale
            return likelihood._params_from_output(raw)[0]
        case families.HalfNormalLikelihood():
            return likelihood._params_from_output(raw)[0] * math.sqrt(2 / math.pi)
        case families.DirichletLikelihood():  # shares that sum to one
            return raw[..., 0].softmax(dim=-1)
    return _distribution(likelihood, raw).mean


@pytest.mark.parametrize("likelihood", [*POSITIVE, *COUNTS, *SHARES], ids=_name)
def test_a_location_is_the_mean_of_the_distribution(likelihood: TorchLikelihood) -> None:
    norm = InstanceNorm(2, likelihood)
    is_share = likelihood in SHARES
    scale = torch.tensor([0.3, 0.7]) if is_share else torch.tensor([7.0, 4e5])
    x = scale * (1 + 0.1 * _random(4, 9, 2).clamp(-2, 2))
    if is_share:
        x[..., 1] = 1 - x[..., 0]
    norm(x)
    output = _random(4, 5, 2, likelihood.num_parameters, seed=1).clamp(-1.5, 1.5)
    if is_share:
        output[..., 1, 0] = -output[..., 0, 0]
    expected = norm.mean + norm.stdev * output[..., 0]
    inside = (expected > norm.stdev) & (expected < (1 - norm.stdev if is_share else torch.inf))
    found = _center(likelihood, norm.inverse(output))
    # the noise of 0 and 1 spans the range; the mean of a continuous Bernoulli is approximate
    is_rough = "Bernoulli" in type(likelihood).__name__
    assert is_rough or inside.float().mean() > 0.5
    assert ((found - expected) / norm.stdev).abs()[inside].max() < (0.2 if is_rough else 0.05)


@pytest.mark.parametrize("likelihood", [*POSITIVE, *COUNTS, *SHARES], ids=_name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_location_out_of_range_keeps_a_distribution_and_a_gradient(
    likelihood: TorchLikelihood, dtype: torch.dtype
) -> None:
    norm = InstanceNorm(2, likelihood)
    x = torch.rand(6, 9, 2).to(dtype)
    x[4:] = torch.tensor([0.0, 1.0])
    norm(x)
    output = torch.linspace(-12, 12, 25, dtype=dtype)[None, :, None, None]
    output = output.repeat(6, 1, 2, likelihood.num_parameters).requires_grad_()
    raw = norm.inverse(output)
    center = _center(likelihood, raw)
    assert raw.isfinite().all()
    assert center.isfinite().all()
    assert (center >= 0).all()
    assert (center <= (1 if likelihood in SHARES else torch.inf)).all()
    (gradient,) = torch.autograd.grad(raw.sum(), output)
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    "likelihood",
    [
        families.NegativeBinomialLikelihood(),
        families.WeibullLikelihood(),
        families.LogNormalLikelihood(),
        families.GammaLikelihood(),
    ],
    ids=_name,
)
def test_the_shape_of_a_distribution_has_no_scale(likelihood: TorchLikelihood) -> None:
    norm = InstanceNorm(2, likelihood)
    norm(_windows(positive=True))
    output = _random(4, 5, 2, 2, seed=1)
    shape = 0 if isinstance(likelihood, families.GammaLikelihood) else 1
    torch.testing.assert_close(norm.inverse(output)[..., shape], output[..., 1])


@pytest.mark.parametrize("x", [1e-30, 1e-6, 0.02, 0.0999, 0.1001, 3.0, 40.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softplus_is_torchs_and_its_inverse_undoes_it(x: float, dtype: torch.dtype) -> None:
    value = torch.tensor([x, -x], dtype=dtype)
    torch.testing.assert_close(softplus(value), torch.nn.functional.softplus(value))
    positive = value[:1]
    back = softplus(softplus_inverse(positive))
    torch.testing.assert_close(
        back, positive, rtol=1e-5 if dtype == torch.float32 else 1e-9, atol=0
    )


@pytest.mark.parametrize("x", [-40.0, -1.0, 0.0, 1e-9, 3.0])
def test_the_gradient_of_softplus_is_the_sigmoid(x: float) -> None:
    value = torch.tensor(x, requires_grad=True)
    softplus(value).backward()
    torch.testing.assert_close(value.grad, torch.sigmoid(value.detach()))


@pytest.mark.parametrize("likelihood", [None, QUANTILES, *SHIFTED, *POSITIVE, *COUNTS], ids=_name)
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
    assert half.constant_spread.item() == pytest.approx(1400, rel=0.2)
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


def _noise(n: int, seed: int = 0, length: int = 6) -> tuple[Tensor, Tensor]:
    """Windows `(n, L, 1)` of noise around 50, spread 2, and what follows them `(n, 3, 1)`."""
    both = 50 + 2 * _random(n, length + 3, 1, seed=seed)
    return both[:, :length], both[:, length:]


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
    norm.fit(*_noise(400, length=24), use_training_level=True)
    x = change(_noise(20, seed=1, length=24)[0])
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
    both = torch.stack([values[i : i + 27] for i in range(380)])
    norm.fit(both[:, :24], both[:, 24:], use_training_level=True)
    torch.testing.assert_close(norm(both[:, :24]), own(both[:, :24]))


def test_a_level_is_not_used_unasked() -> None:
    norm, own = InstanceNorm(1), InstanceNorm(1)
    past, future = _noise(400, length=24)
    norm.fit(past, future, use_training_level=False)
    torch.testing.assert_close(norm(past), own(past))


@pytest.mark.parametrize("length", [2, 3, 4, 5])
def test_short_windows_of_one_level_share_one_scale(length: int) -> None:
    norm = InstanceNorm(1)
    norm.fit(*_noise(400, length=length), use_training_level=True)
    x, _ = _noise(200, seed=1, length=length)
    norm(x)
    assert (norm.mean == norm.level).float().mean() > 0.95
    assert norm.stdev.median().item() == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize("length", [2, 3])
def test_short_windows_of_a_wandering_level_share_a_spread(length: int) -> None:
    norm, unused, exact = InstanceNorm(1), InstanceNorm(1), InstanceNorm(1)
    walk = _random(409, 1).cumsum(0)
    both = torch.stack([walk[i : i + length + 2] for i in range(400)])
    past, future = both[:, :length], both[:, length:]
    norm.fit(past, future, use_training_level=True)
    norm(past)
    np.testing.assert_allclose(norm.mean[:, 0], past.mean(dim=1))
    size = (future - past.mean(dim=1, keepdim=True)).square().mean().sqrt().item()
    np.testing.assert_allclose(norm.stdev, size, rtol=1e-5)
    # a series on another scale, or a model that is to have none, keeps its own
    norm(1e3 * past)
    unused(1e3 * past)
    assert (norm.stdev / unused.stdev).median().item() == pytest.approx(0.25, rel=0.05)
    exact.fit(past, future, use_training_level=False)
    torch.testing.assert_close(exact(past), unused(past))


def test_series_on_several_scales_keep_the_spreads_of_their_short_windows() -> None:
    norm, own = InstanceNorm(1), InstanceNorm(1)
    scale = torch.tensor([1e-3, 1.0, 1e3, 1e6]).repeat(100)[:, None, None]
    # spreads of two steps that tell what follows
    past = scale * torch.tensor([-1.0, 1.0])[None, :, None] * (1 + 0.1 * _random(400, 1, 1))
    norm.fit(past, scale * _random(400, 3, 1, seed=1), use_training_level=True)
    torch.testing.assert_close(norm(past), own(past))


def _switches(length: int = 6) -> tuple[Tensor, Tensor]:
    """Windows `(N, L, 1)` of a load that is on and off for 20 steps, and 3 steps after them."""
    load = (_random(60, 1).sign() + 1).repeat_interleave(20, dim=0) * 2 + 5  # 5 and 9
    both = load.unfold(0, length + 3, 1).transpose(1, 2)
    return both[:, :length], both[:, length:]


@pytest.mark.parametrize("use_training_level", [True, False])
def test_constant_windows_take_a_scale_of_the_training_data(use_training_level: bool) -> None:
    norm = InstanceNorm(1, moves_constants=True)
    past, future = _switches()
    norm.fit(past, future, use_training_level)
    norm(past)
    is_constant = (past == past[:, :1]).all(dim=1)
    assert is_constant.any()
    assert not is_constant.all()
    assert not norm.constant.any()
    # one level and one spread for all of them, of which the windows tell on and off
    assert len(norm.mean[is_constant].unique()) == len(norm.stdev[is_constant].unique()) == 1
    assert norm.mean[is_constant][0].item() == pytest.approx(past.mean().item(), rel=1e-5)
    assert 1 < norm.stdev[is_constant][0].item() < 5
    back = norm.inverse(norm.transform(future)[..., None])[..., 0]
    torch.testing.assert_close(back, future)


def test_constant_windows_that_nothing_can_move_stay() -> None:
    norm = InstanceNorm(1)
    past, future = _switches()
    norm.fit(past, future, use_training_level=True)
    x = torch.full((1, 6, 1), 0.1, dtype=torch.float64)
    assert (norm(x) == 0).all()
    assert (norm.inverse(7 * _random(1, 3, 1, 1)) == 0.1).all()  # to the last digit


def test_constant_windows_that_never_moved_stay() -> None:
    norm = InstanceNorm(2, moves_constants=True)
    past, future = _random(50, 6, 2), _random(50, 3, 2, seed=1)
    past[..., 1] = future[..., 1] = 0.3  # a component that is constant among one that is not
    norm.fit(past, future, use_training_level=False)
    norm(past)
    assert norm.constant[..., 1].all()
    assert (norm.inverse(_random(50, 3, 2, 1))[..., 1, :] == 0.3).all()


def test_constant_windows_of_series_on_several_scales_stay() -> None:
    norm = InstanceNorm(1, moves_constants=True)
    scale = torch.tensor([1.0, 1e6]).repeat_interleave(50)[:, None, None]
    past = scale.expand(-1, 6, -1)
    norm.fit(past, scale * (1 + _random(100, 3, 1)), use_training_level=True)
    norm(past)
    assert norm.constant.all()


@pytest.mark.parametrize("power", [-30, -20, 20, 30, 37])
@pytest.mark.parametrize("with_gap", [True, False])
def test_any_magnitude_of_single_precision(power: int, with_gap: bool) -> None:
    exact = 10 + _random(3, 14, 1)
    if with_gap:
        exact[0, 3] = NAN
    plain, norm = InstanceNorm(1), InstanceNorm(1)
    expected = plain(exact.float())
    torch.testing.assert_close(
        norm((exact * 10.0**power).float()), expected, rtol=0, atol=2e-5, equal_nan=True
    )
    torch.testing.assert_close(norm.stdev / 10.0**power, plain.stdev, rtol=1e-5, atol=0)


@pytest.mark.parametrize("size", [1e39, 1e100, 1e-50])
def test_spreads_beyond_single_precision_are_refused_where_needed(size: float) -> None:
    norm = InstanceNorm(1)
    past, future = size * _random(50, 1, 1), size * _random(50, 2, 1, seed=1)
    with pytest.raises(ValueError, match=r"`series` .* window of one step .* Divide the series"):
        norm.fit(past, future, use_training_level=True)
    # and go unused where a window has its own
    past, own = size * _random(50, 9, 1), InstanceNorm(1)
    norm.fit(past, future, use_training_level=True)
    torch.testing.assert_close(norm(past), own(past))


@pytest.mark.parametrize("size", [1e35, 3e38])
def test_values_near_the_end_of_their_dtype_are_refused(size: float) -> None:
    past = (size * torch.rand(50, 9, 1)).float()
    with pytest.raises(ValueError, match=r"too large to be forecast as torch\.float32"):
        InstanceNorm(1).fit(past, past, use_training_level=True)


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


@pytest.mark.parametrize("power", [-30, -25, 20, 30])
def test_standardizer_of_any_magnitude(power: int) -> None:
    x = 3 + _random(50, 1)
    scaler, plain = Standardizer(1), Standardizer(1)
    plain.fit(x)
    scaler.fit((x * 10.0**power).float())
    torch.testing.assert_close(
        scaler((x * 10.0**power).float()).double(), plain(x), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("size", [1e39, 1e100, 2e300, 1e-60])
def test_covariates_beyond_single_precision_are_refused(size: float) -> None:
    with pytest.raises(ValueError, match=r"`past_covariates` has values around .* Scale them"):
        Standardizer(1, "past_covariates").fit(size * (3 + _random(50, 1)))


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("level", [0.0, 1.0, 1e3, 1e6])
def test_mean_and_spread_are_numpys(level: float, dtype: torch.dtype) -> None:
    x = (
        level + _random(40, 24, 2) * torch.logspace(-2, 3, 40, dtype=torch.double)[:, None, None]
    ).to(dtype)
    mean, spread = (value[:, 0].numpy() for value in mean_and_spread(x))
    exact = x.double().numpy()
    eps = torch.finfo(dtype).eps
    np.testing.assert_allclose(mean, exact.mean(axis=1), rtol=4 * eps, atol=1e3 * eps)
    spread_error = 8 * eps * (exact.std(axis=1) + level)
    assert (np.abs(spread - exact.std(axis=1)) <= spread_error).all()


@pytest.mark.parametrize("value", [0.1, 3.3, 1e7, -1e-3])
def test_a_constant_beside_others_has_its_own_mean_and_no_spread(value: float) -> None:
    x = torch.cat([torch.full((1, 23, 1), value), _random(5, 23, 1).float()])
    mean, spread = mean_and_spread(x)
    assert mean[0].item() == x[0, 0].item()
    assert spread[0] <= rounding_error(mean[0])
