"""How values enter and leave the space in which the network works.

The target is normalised window by window, by the location and scale of its own past, and forecasts
travel back; what "back" means depends on the likelihood, so each family's way stands here.
Covariates are standardised once, by the training data. When this happens, and in which space the
loss lives, is decided in `module.py`.

Source: Darts' `RINorm` (Kim et al., "Reversible Instance Normalization", ICLR 2022), extended to
missing values, constant windows, any magnitude and every likelihood of Darts.
"""

import torch
from darts.models.components.layer_norm_variants import RINorm
from darts.utils.likelihood_models import torch as families
from torch import Tensor, nn
from torch.nn.functional import softplus

# B batch, L input steps, T output steps, C components, P likelihood parameters

# parameters (location, scale): normalise by mean and standard deviation
_LOCATION_SCALE = (
    families.GaussianLikelihood,
    families.LaplaceLikelihood,
    families.CauchyLikelihood,
    families.GumbelLikelihood,
)
# counts, whose natural unit is 1, must not be shifted: divide by 1 + mean, as DeepAR does
_COUNTS = (
    families.PoissonLikelihood,
    families.NegativeBinomialLikelihood,
    families.GeometricLikelihood,
)
# positive values must not be shifted either: divide by the mean
_POSITIVE = (
    families.ExponentialLikelihood,
    families.GammaLikelihood,
    families.HalfNormalLikelihood,
    families.LogNormalLikelihood,
    families.WeibullLikelihood,
)


def _at_least_single(x: Tensor) -> Tensor:
    # half precision overflows in sums and squares
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _softplus_inverse(y: Tensor) -> Tensor:
    # softplus(x) == x to float precision for large x; `clamp` keeps the logarithm finite
    y = y.clamp(min=torch.finfo(y.dtype).tiny)
    return y + torch.log(-torch.expm1(-y))


def _variance_and_mean(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return both over time, `(B, 1, C)` each, of what is known of `x (B, L, C)`."""
    # the branch is for speed alone (`benchmarks/bench_fit.py`): a graph takes the general way
    if not torch.compiler.is_compiling() and not torch.isnan(x).any():
        return torch.var_mean(x, dim=1, keepdim=True, correction=0)
    mean = x.nanmean(dim=1, keepdim=True)
    return (x - mean).square().nanmean(dim=1, keepdim=True), mean


class InstanceNorm(RINorm):
    """Reversible normalisation of each window by its own past, for every likelihood of Darts.

    Deterministic and quantile forecasts, and families with a location and a scale, are normalised
    by mean and standard deviation. Families of positive values or counts are divided by their mean
    alone. Families that live in a fixed interval (beta, Bernoulli, ...) pass unchanged. Missing
    values (NaN) are left out of the statistics and stay NaN.

    Parameters
    ----------
    input_dim
        Number of target components C.
    likelihood
        The likelihood whose parameters the network predicts; `None` for plain forecasts.
    eps
        Added to the variance.
    affine
        Whether a learnt scale and offset per component follow the normalisation.

    Notes
    -----
    A short window of noise knows its level badly. Where the training data kept one level (`fit`),
    windows that agree with it are measured by that level; all others by their own.
    """

    level: Tensor
    level_spread: Tensor
    level_reach: Tensor
    step: Tensor

    def __init__(
        self,
        input_dim: int,
        likelihood: families.TorchLikelihood | None = None,
        eps: float = 0.0,
        affine: bool = False,
    ) -> None:
        super().__init__(input_dim=input_dim, eps=eps, affine=affine)
        self.likelihood = likelihood
        self.shifts = likelihood is None or isinstance(
            likelihood, (*_LOCATION_SCALE, families.QuantileRegression)
        )
        self.scales = self.shifts or isinstance(likelihood, (*_COUNTS, *_POSITIVE))
        for name in ("level", "level_spread", "level_reach", "step"):  # zero: unknown
            self.register_buffer(name, torch.zeros(input_dim))

    def fit(self, past: Tensor, future: Tensor, use_training_level: bool) -> None:
        """Learn from training windows what single windows cannot tell.

        Parameters
        ----------
        past, future
            Input windows `(N, L, C)` and what followed them `(N, T, C)`.
        use_training_level
            Whether to look for one level that the whole training data kept.

        Raises
        ------
        ValueError
            If values are too large or too small to be squared.
        """
        past, future = _at_least_single(past), _at_least_single(future)
        variance, mean = _variance_and_mean(past)  # (N, 1, C) each
        deviation = (past - mean).nan_to_num().abs()  # (N, L, C)
        is_spread = (deviation > 8 * torch.finfo(past.dtype).eps * mean.nan_to_num().abs()).any()
        extent = "large" if torch.isinf(variance).any() else "small"
        if extent == "large" or (is_spread and not variance.nan_to_num().any()):
            largest = past.nan_to_num().abs().max().item()
            raise ValueError(
                f"`series` has values of up to {largest:.1e}, too {extent} to be squared as "
                f"{past.dtype}. Divide the series by its size."
            )
        # squares of all windows add up to far more than those of one
        past, future = past.double(), future.double()
        step = (future - past[:, -1:]).square().nanmean((0, 1)).sqrt()
        self.step.copy_(step.nan_to_num())
        if not use_training_level:
            return
        means = past.nanmean(dim=1)  # (N, C)
        whole = torch.cat([past, future], dim=1)  # (N, L + T, C)
        within = (whole - whole.nanmean(dim=1, keepdim=True)).square().nanmean((0, 1))  # (C,)
        between = (means - means.nanmean(dim=0)).square().nanmean(dim=0)  # (C,)
        # the means of windows of noise differ by its variance / L; a wandering level by far more
        keeps = between <= 4 * within / past.shape[1]
        self.level.copy_(means.nanmean(dim=0))
        self.level_spread.copy_(torch.sqrt(within + between))
        self.level_reach.copy_(torch.where(keeps, 4 * between.sqrt(), 0.0))

    def forward(self, x: Tensor) -> Tensor:
        """Remember location and scale of the windows `x (B, L, C)` and return them normalised."""
        if not self.scales:
            return x
        x = _at_least_single(x)
        variance, mean = _variance_and_mean(x)  # (B, 1, C) each
        limits = torch.finfo(x.dtype)
        if self.shifts:
            # what rounding leaves of a constant counts as nothing
            spread = torch.sqrt(variance + self.eps)
            if x.shape[1] == 1:  # a single step has no spread of its own
                spread = self.step.to(x.dtype).expand_as(mean)
            if torch.compiler.is_compiling() or self.level_reach.any():
                mean, spread = self._use_level(mean, spread)
            floor = 8 * limits.eps * mean.abs()
            self.constant = spread <= floor
            self.mean, self.stdev = mean, spread.clamp(min=floor.clamp(min=limits.tiny))
        else:
            scale = mean.abs() + (1.0 if isinstance(self.likelihood, _COUNTS) else 0.0)
            self.constant = scale <= limits.tiny
            # zeros have no scale of their own
            self.mean, self.stdev = torch.zeros_like(mean), torch.where(self.constant, 1.0, scale)
        # nothing is left of a constant, and NaN stays NaN
        x = (x - self.mean) * torch.where(self.constant, 0.0, 1 / self.stdev)
        if not self.affine:
            return x
        # NaN in a product would make the gradient of the other factor NaN
        known = x.nan_to_num() * self.affine_weight + self.affine_bias
        return torch.where(torch.isnan(x), torch.nan, known)

    def _use_level(self, mean: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """Replace the mean and spread of windows that agree with the level of the training data."""
        agrees = (
            ((mean - self.level).abs() < self.level_reach)
            & (spread > self.level_spread / 2)
            & (spread < self.level_spread * 2)
        )
        return (
            torch.where(agrees, self.level.to(mean.dtype), mean),
            torch.where(agrees, self.level_spread.to(mean.dtype), spread),
        )

    def transform(self, x: Tensor) -> Tensor:
        """Normalise `x (B, _, C)` by the location and scale that `forward` remembered."""
        return (x - self.mean) / self.stdev if self.scales else x

    def undo_affine(self, prediction: Tensor) -> Tensor:
        """Undo the learnt scale and offset in the network's `prediction (B, T, C, P)`.

        Not in `inverse`: the loss, too, must be free of them, or shrinking it is all they learn.
        """
        if not (self.affine and self.scales):
            return prediction
        return (prediction - self.affine_bias[:, None]) / self.affine_weight[:, None]

    def inverse(self, prediction: Tensor) -> Tensor:
        """Return `prediction (B, T, C, P)` to the scale of the windows, in their dtype."""
        if not self.scales:
            return prediction
        prediction = prediction.to(self.stdev.dtype)
        location, scale = self.mean[..., None], self.stdev[..., None]  # (B, 1, C, 1)
        if self.likelihood is None or isinstance(self.likelihood, families.QuantileRegression):
            return location + scale * prediction

        first, *rest = prediction.split(1, dim=-1)
        match self.likelihood:
            case likelihood if isinstance(likelihood, _LOCATION_SCALE):
                (spread,) = rest
                first = location + scale * first
                rest = [_softplus_inverse(scale * softplus(spread))]
            case families.LogNormalLikelihood():
                first = first + torch.log(scale)
            case families.GeometricLikelihood():  # a logit x, of mean exp(-x)
                first = first - torch.log(scale)
            case families.ExponentialLikelihood():  # a rate
                first = _softplus_inverse(softplus(first) / scale)
            case families.GammaLikelihood():  # shape and rate
                rest = [_softplus_inverse(softplus(rest[0]) / scale)]
            case _:  # Poisson, negative binomial, half-normal and Weibull open with a scale
                first = _softplus_inverse(scale * softplus(first))
        return torch.cat([first, *rest], dim=-1)


class Standardizer(nn.Module):
    """Standardise features by mean and standard deviation of the training data.

    Parameters
    ----------
    dim
        Number of features.
    """

    mean: Tensor
    stdev: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("stdev", torch.ones(dim))

    def fit(self, x: Tensor) -> None:
        """Learn from `x (N, dim)`; NaN is left out, constants keep their size."""
        x = _at_least_single(x)
        self.mean.copy_(x.nanmean(dim=0).nan_to_num())
        stdev = (x - self.mean).square().nanmean(dim=0).nan_to_num().sqrt()
        # what is lost in the rounding of a mean as large as a time stamp must not come out as large
        rounding = 8 * torch.finfo(self.mean.dtype).eps * self.mean.abs()
        self.stdev.copy_(torch.where(stdev <= rounding, rounding.clamp(min=1.0), stdev))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x (..., dim)` standardised."""
        return (x - self.mean.to(x.dtype)) / self.stdev.to(x.dtype)
