"""Normalisation of target windows, and the way from normalised outputs to forecasts.

The target is normalised window by window, by the mean and the spread (standard deviation) of its
own past. Windows whose own spread cannot be a scale (constant, a step or few long) take one that
was estimated from the training windows. Covariates are scaled in `standardizer.py`; what each
likelihood makes of the network's outputs is in `likelihoods.py`; `module.py` decides when windows
are normalised, and whether the loss is.

Source: Darts' `RINorm` (Kim et al., "Reversible Instance Normalization", ICLR 2022), extended to
missing values, windows without a scale, any magnitude and every likelihood of Darts.
"""

import math

import torch
from darts.models.components.layer_norm_variants import RINorm
from darts.utils.likelihood_models.torch import QuantileRegression, TorchLikelihood
from torch import Tensor
from typing_extensions import override

from darts_lstm_seq.training.likelihoods import has_location, least_spread, raw_parameters

# B batch, N training windows, L input steps, T output steps, C components, P likelihood parameters

# spreads below so many roundings of the mean are none
_ROUNDINGS = 8
# standard errors within which the mean of a window agrees with the level of the training data;
# standard normal deviates within which its spread does, as it does between these two factors
_LEVEL_ERRORS, _SPREAD_DEVIATES, _SPREAD_FACTORS = 4.0, 3.1, (0.5, 2.0)
# the flattest share of the windows is too flat if labels, in spreads, are so many times as large
# after them as after others: of short windows, whose spread is noisy, or with covariates; and of
# other windows
_FLATTEST, _TOO_LARGE_SHORT, _TOO_LARGE = 0.05, 2.5, 10.0
_SHORT = 7
# a window's own spread counts again where it is so many times the training data's
_FAR_LARGER = 4.0
# there is no one spread for windows after which values differ in size by more than this factor
_MOST_SCALES = 1e4
_STATISTICS = (
    "level",
    "level_spread",
    "level_reach",
    "least_spread",
    "constant_level",
    "constant_spread",
)


def _to_float(x: Tensor) -> Tensor:
    # half precision overflows in sums and squares
    return x.to(torch.promote_types(x.dtype, torch.float32))


def mean_and_spread(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation over time, `(B, 1, C)` each, of `x (B, L, C)` without NaN.

    Exact at any magnitude; the mean of a constant is that constant.
    """
    limits = torch.finfo(x.dtype)
    # the branch is for speed alone (`benchmarks/bench_predict.py`): a graph takes the general way
    if not torch.compiler.is_compiling():
        # `torch.var_mean` takes ten times as long
        mean = x.mean(dim=1, keepdim=True)
        variance = (x - mean).square().mean(dim=1, keepdim=True)
        least = rounding_error(mean).square().clamp(min=limits.tiny / limits.eps)
        # neither missing values, nor constants, nor squares out of range
        if ((variance > least) & (variance < torch.inf)).all():
            return mean, variance.sqrt()
    highest = x.nan_to_num(nan=-torch.inf).amax(dim=1, keepdim=True)  # (B, 1, C)
    lowest = x.nan_to_num(nan=torch.inf).amin(dim=1, keepdim=True)
    size = torch.maximum(highest.abs(), lowest.abs()).clamp(min=limits.tiny, max=limits.max)
    size = torch.exp2(torch.floor(torch.log2(size)))  # a power of two changes no digit
    scaled = x / size
    mean = scaled.nanmean(dim=1, keepdim=True)
    spread = (scaled - mean).square().nanmean(dim=1, keepdim=True).sqrt()
    return torch.where(highest == lowest, highest, mean * size), spread * size


def rounding_error(mean: Tensor) -> Tensor:
    """Return the largest spread that rounding may give to a constant."""
    return _ROUNDINGS * torch.finfo(mean.dtype).eps * mean.abs()


class InstanceNorm(RINorm):
    """Reversible normalisation of each window by its own past, for every likelihood of Darts.

    Windows `(B, L, C)` are normalised by mean and standard deviation. Missing values (NaN) are left
    out of both and stay NaN.

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
    moves_constants
        Whether forecasts may leave the value of a constant window: something else than the window,
        such as covariates, tells when. Otherwise they repeat it.

    Raises
    ------
    ValueError
        If the likelihood is none of Darts'.

    Notes
    -----
    What `fit` estimates from training windows, if anything:

    - their common level and spread, which are less noisy than a short window's: they replace mean
      and spread of windows that agree with them;
    - a least spread, if the windows' own spreads predict the size of what follows worse than one
      spread for all does, as those of two or three steps do;
    - a spread for constant windows, by which their labels are measured.
    """

    level: Tensor
    level_spread: Tensor
    level_reach: Tensor
    least_spread: Tensor
    constant_level: Tensor
    constant_spread: Tensor
    has_statistics: Tensor

    def __init__(
        self,
        input_dim: int,
        likelihood: TorchLikelihood | None = None,
        eps: float = 0.0,
        affine: bool = False,
        moves_constants: bool = False,
    ) -> None:
        super().__init__(input_dim=input_dim, eps=eps, affine=affine)
        self.likelihood = likelihood
        self.shifts = has_location(likelihood)
        self.moves_constants = moves_constants
        for name in _STATISTICS:  # zero: none
            self.register_buffer(name, torch.zeros(input_dim))
        self.register_buffer("has_statistics", torch.zeros(1))

    def fit(self, past: Tensor, future: Tensor, use_training_level: bool) -> None:
        """Estimate statistics that single windows have not, from training windows.

        Parameters
        ----------
        past, future
            Input windows `(N, L, C)` and what followed them `(N, T, C)`.
        use_training_level
            Whether windows may be normalised by what the training windows have in common, where
            that is less noisy; otherwise only those that have no scale of their own.

        Raises
        ------
        ValueError
            If values are too large or too small to be computed with.
        """
        unit = _check_magnitude(past, future)
        past, future = past.double() / unit, future.double() / unit
        mean, spread = mean_and_spread(past)  # (N, 1, C) each
        flat = (spread <= rounding_error(mean))[:, 0]  # (N, C)
        size = (future - mean).square().nanmean(dim=1).sqrt()  # (N, C), NaN without a label
        typical = size.square().nanmean(dim=0).sqrt().nan_to_num()  # (C,)
        shared = torch.zeros_like(typical)
        if use_training_level:
            self._fit_level(past, future, unit)
            # covariates move values by as much after flat windows as after others
            is_strict = past.shape[1] <= _SHORT or self.moves_constants
            limit = _TOO_LARGE_SHORT if is_strict else _TOO_LARGE
            ratio = _size_after_flattest(spread[:, 0], size, flat)
            shared = torch.where(ratio > limit, typical, 0.0)
            _store(self.least_spread, shared * unit)
        if past.shape[1] == 1:  # a single step has no spread of its own
            _store(self.constant_spread, typical * unit, "a window of one step")
        elif self.moves_constants:
            level = torch.where(self.level_reach > 0, self.level_spread.double() / unit, 0.0)
            own = _spread_after_constants(size, flat)
            shared = torch.where(level > 0, level, torch.where(shared > 0, shared, own))
            _store(self.constant_spread, shared * unit, "a constant window")
            _store(self.constant_level, past.nanmean((0, 1)) * unit, "a constant window")
        self.has_statistics.fill_(any(getattr(self, name).any() for name in _STATISTICS))

    def _fit_level(self, past: Tensor, future: Tensor, unit: float) -> None:
        """Estimate the level that all training windows share, if they do."""
        means = past.nanmean(dim=1)  # (N, C)
        whole = torch.cat([past, future], dim=1)  # (N, L + T, C)
        within = (whole - whole.nanmean(dim=1, keepdim=True)).square().nanmean((0, 1))  # (C,)
        between = (means - means.nanmean(dim=0)).square().nanmean(dim=0)  # (C,)
        # the means of windows of noise differ by its variance / L; a wandering level by far more
        keeps = between <= 4 * within / past.shape[1]
        reach = torch.where(keeps, _LEVEL_ERRORS * between.sqrt(), 0.0)
        is_stored = _store(self.level, means.nanmean(dim=0) * unit)
        is_stored &= _store(self.level_spread, torch.sqrt(within + between) * unit)
        _store(self.level_reach, torch.where(is_stored, reach * unit, 0.0))

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Store mean and spread of the windows `x (B, L, C)` and return them normalised."""
        x = _to_float(x)
        mean, spread = mean_and_spread(x)  # (B, 1, C) each
        if self.eps:
            spread = (spread.square() + self.eps).sqrt()
        smallest = least_spread(self.likelihood, mean, x.shape[1])
        if smallest is not None:
            spread = torch.maximum(spread, smallest)
        rounding = rounding_error(mean)
        if torch.compiler.is_compiling() or self.has_statistics.any():
            mean, spread = self._use_training_data(mean, spread, spread <= rounding, x.shape[1])
        self.constant = spread <= rounding
        if not self.shifts:  # a distribution around a constant is not constant
            spread = torch.where(self.constant, 1.0, spread)
            self.constant = torch.zeros_like(self.constant)
        tiny = torch.finfo(x.dtype).tiny
        self.mean, self.stdev = mean, spread.clamp(min=rounding.clamp(min=tiny))
        # nothing is left of a constant, and NaN stays NaN
        x = (x - self.mean) * torch.where(self.constant, 0.0, 1 / self.stdev)
        if not self.affine:
            return x
        # NaN in a product would make the gradient of the other factor NaN
        known = x.nan_to_num() * self.affine_weight + self.affine_bias
        return torch.where(torch.isnan(x), torch.nan, known)

    def _use_training_data(
        self, mean: Tensor, spread: Tensor, is_constant: Tensor, length: int
    ) -> tuple[Tensor, Tensor]:
        """Replace mean and spread `(B, 1, C)` of windows that the training data estimate better."""
        level, level_spread, level_reach, least, constant_level, constant_spread = (
            getattr(self, name).to(mean.dtype) for name in _STATISTICS
        )
        spread = torch.where(is_constant, constant_spread, spread)
        if length > 1:  # the level, too, is all that tells constant windows from each other
            mean = torch.where(is_constant & (constant_spread > 0), constant_level, mean)
        low, high = _spread_bounds(length)
        agrees = (
            ((mean - level).abs() < level_reach)
            & (spread > level_spread * low)
            & (spread < level_spread * high)
        )
        raised = torch.where(is_constant, spread, torch.maximum(least, spread / _FAR_LARGER))
        spread = torch.where(least > 0, raised, spread)
        return torch.where(agrees, level, mean), torch.where(agrees, level_spread, spread)

    @override
    def transform(self, x: Tensor) -> Tensor:
        """Normalise `x (B, _, C)` by the mean and spread that `forward` stored."""
        return (x - self.mean) / self.stdev

    def undo_affine(self, prediction: Tensor) -> Tensor:
        """Undo the learnt scale and offset in the network's `prediction (B, T, C, P)`.

        Not in `inverse`: a loss in normalised space must not depend on them, or training would
        shrink the scale to lower the loss.
        """
        if not self.affine:
            return prediction
        return (prediction - self.affine_bias[:, None]) / self.affine_weight[:, None]

    @override
    def inverse(self, x: Tensor) -> Tensor:
        """Return normalised outputs `x (B, T, C, P)` in units and dtype of the windows."""
        x = x.to(self.stdev.dtype)
        # forecasts of a constant repeat it to the last digit
        scale = torch.where(self.constant, 0.0, self.stdev)[..., None]  # (B, 1, C, 1)
        if self.likelihood is None or isinstance(self.likelihood, QuantileRegression):
            return self.mean[..., None] + scale * x
        first, *others = x.split(1, dim=-1)
        location = self.mean[..., None] + scale * first  # (B, T, C, 1)
        return raw_parameters(self.likelihood, location, others, self.stdev[..., None])

    def repeat_constants(self, forecast: Tensor) -> Tensor:
        """Replace forecasts `(B, T, C)` of constant windows by the constant.

        Samples of a distribution need it, whose scale is never zero: those of zeros would be
        numbers like 1e-310.
        """
        return torch.where(self.constant, self.mean.to(forecast.dtype), forecast)


def _check_magnitude(past: Tensor, future: Tensor) -> float:
    """Return the power of two below the largest value, `(N, _, C)` both.

    Raises
    ------
    ValueError
        If it leaves forecasts no room in the values' dtype.
    """
    largest = max(x.nan_to_num().abs().max().item() for x in (past, future))
    limits = torch.finfo(_to_float(past).dtype)
    extent = "large" if largest > limits.max * limits.eps else "small"
    if extent == "large" or 0 < largest < limits.tiny / limits.eps:
        raise ValueError(
            f"`series` has values of up to {largest:.1e}, too {extent} to be forecast as "
            f"{past.dtype}. Divide the series by its size."
        )
    return 2.0 ** math.floor(math.log2(largest)) if largest else 1.0


def _store(buffer: Tensor, value: Tensor, needed_by: str | None = None) -> Tensor:
    """Store statistics `(C,)` in the buffer's dtype; return which it can hold, others become zero.

    Raises
    ------
    ValueError
        If there are others, and something needs them.
    """
    stored = value.to(buffer.dtype)
    holds = stored.isfinite() & ((stored != 0) | (value == 0))  # (C,)
    if needed_by is not None and not holds.all():
        raise ValueError(
            f"`series` has values that differ by {value[~holds][0].item():.1e}: {needed_by} cannot "
            f"be scaled by that in {buffer.dtype}. Divide the series by its size, or choose a "
            f"longer `input_chunk_length`."
        )
    buffer.copy_(torch.where(holds, stored, 0.0))
    return holds


def _size_after_flattest(spread: Tensor, size: Tensor, is_constant: Tensor) -> Tensor:
    """Return how large labels are, in spreads, after flat windows, relative to all, `(C,)`.

    Parameters
    ----------
    spread, size
        Spread of each window and root mean square of what followed, less its mean, `(N, C)` each.
    is_constant
        Windows that do not count, `(N, C)`.
    """
    spread = torch.where(is_constant | size.isnan(), torch.nan, spread)
    ratio = size / spread  # (N, C)
    share = min(max(_FLATTEST, 8 / len(spread)), 1.0)  # fewer windows would say nothing
    is_flat = spread <= spread.nanquantile(share, dim=0)
    flattest = torch.where(is_flat, ratio, torch.nan).nanmedian(dim=0).values
    return flattest / ratio.nanmedian(dim=0).values


def _spread_after_constants(size: Tensor, is_constant: Tensor) -> Tensor:
    """Return the typical size of what follows constant windows `(C,)`, zero if there is none.

    Where no window was constant, of what follows any.

    Parameters
    ----------
    size
        Root mean square of what followed each window, less its mean, `(N, C)`.
    is_constant
        Which windows were constant, `(N, C)`.
    """
    counts = torch.where(is_constant.any(dim=0), is_constant, True) & (size > 0)
    size = torch.where(counts, size, torch.nan)
    low, high = size.nanquantile(torch.tensor([0.05, 0.95]).to(size), dim=0)
    is_one = high < _MOST_SCALES * low
    return torch.where(is_one, size.nanmedian(dim=0).values, 0.0)


def _spread_bounds(length: int) -> tuple[float, float]:
    """Return between which multiples of the true spread that of a window of noise lies.

    By the normal approximation of Wilson and Hilferty (1931) to the chi-squared distribution.
    """
    low, high = _SPREAD_FACTORS
    freedom = length - 1
    if freedom == 0:
        return 0.0, high
    error = 2 / (9 * freedom)
    bounds = [
        (max(1 - error + sign * _SPREAD_DEVIATES * error**0.5, 0.0) ** 3 * freedom / length) ** 0.5
        for sign in (-1, 1)
    ]
    return min(low, bounds[0]), max(high, bounds[1])
