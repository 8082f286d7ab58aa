"""From the network's outputs on normalised windows to the parameters of each Darts likelihood.

The network's first output for a value is a location: the distance of the forecast from the mean of
its window, in units of the window's spread. For families with a location parameter it is just that;
for counts, positive values and shares it is the mean of the distribution, limited smoothly to its
range (like a link function in a generalised linear model), so that the linear skip, which forecasts
locations, serves every family. Further outputs are the family's shape parameters. Statistics of
windows are computed in `normalization.py`.

Source: the parametrisations in `darts.utils.likelihood_models.torch`; counts with a mean that is
linear in past counts as in Ferland et al., "Integer-Valued GARCH Process" (2006).
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from darts.utils.likelihood_models import torch as families
from torch import Tensor

# B batch, T output steps, C components, P likelihood parameters

# parameters (location, scale)
_LOCATION_SCALE = (
    families.GaussianLikelihood,
    families.LaplaceLikelihood,
    families.CauchyLikelihood,
    families.GumbelLikelihood,
)
_COUNTS = (
    families.PoissonLikelihood,
    families.NegativeBinomialLikelihood,
    families.GeometricLikelihood,
)
_POSITIVE = (
    families.ExponentialLikelihood,
    families.GammaLikelihood,
    families.HalfNormalLikelihood,
    families.LogNormalLikelihood,
    families.WeibullLikelihood,
)
_SHARES = (
    families.BernoulliLikelihood,
    families.BetaLikelihood,
    families.ContinuousBernoulliLikelihood,
    families.DirichletLikelihood,
)
# a mean is limited smoothly within this share of the window's spread from the end of its range
_BEND = 0.3
# windows of positive values or shares spread at least by this share of their mean
_LEAST_SPREAD = 0.05
_LOWEST = -30.0  # softplus is exp(-30) there, far from underflow
_SMALL = 0.03  # where two formulas for the inverse of softplus are equally exact
_SUM_ERROR = 1e-6  # that PyTorch allows shares to have
_LEAST_SHARE = 1e-4  # that a continuous Bernoulli distribution may have for its mean


# labels that have a finite likelihood, and how a message calls them
_SUPPORTS: tuple[tuple[tuple[type, ...], str, Callable[[np.ndarray], np.ndarray]], ...] = (
    (_COUNTS, "whole numbers from 0 on", lambda x: (x >= 0) & (x == np.round(x))),
    (
        (families.ExponentialLikelihood, families.HalfNormalLikelihood),
        "numbers from 0 on",
        lambda x: x >= 0,
    ),
    (_POSITIVE, "numbers above 0", lambda x: x > 0),
    ((families.BernoulliLikelihood,), "0 and 1", lambda x: (x == 0) | (x == 1)),
    (
        (families.ContinuousBernoulliLikelihood,),
        "numbers from 0 to 1",
        lambda x: (x >= 0) & (x <= 1),
    ),
    ((families.BetaLikelihood,), "numbers between 0 and 1", lambda x: (x > 0) & (x < 1)),
    (
        (families.DirichletLikelihood,),
        "shares above 0 of a sum of 1 over all components",
        lambda x: (x > 0) & (np.abs(x.sum(axis=1, keepdims=True) - 1) < _SUM_ERROR),
    ),
)


def has_location(likelihood: families.TorchLikelihood | None) -> bool:
    """Whether forecasts may be shifted: plain ones, quantiles, families with a location.

    Raises
    ------
    ValueError
        If the family is unknown.
    """
    if likelihood is None or isinstance(
        likelihood, (families.QuantileRegression, *_LOCATION_SCALE)
    ):
        return True
    if not isinstance(likelihood, (*_COUNTS, *_POSITIVE, *_SHARES)):
        raise ValueError(
            f"`likelihood` {type(likelihood).__name__} is not known to "
            f"`use_reversible_instance_norm`. Set that to `False`, or use a likelihood out of "
            f"`darts.utils.likelihood_models.torch`."
        )
    return False


def unsupported(
    likelihood: families.TorchLikelihood | None, values: np.ndarray
) -> tuple[np.ndarray, str]:
    """Tell which `values (steps, components, samples)` a likelihood cannot be trained on.

    Returns
    -------
    tuple[np.ndarray, str]
        True where a value has no finite likelihood, never where it is missing (NaN); and the
        values that have one, in words.

    Examples
    --------
    >>> import numpy as np
    >>> from darts.utils.likelihood_models.torch import PoissonLikelihood
    >>> from darts_lstm_seq.training.likelihoods import unsupported
    >>> wrong, words = unsupported(PoissonLikelihood(), np.array([[[3.0]], [[0.5]]]))
    >>> wrong.ravel().tolist(), words
    ([False, True], 'whole numbers from 0 on')
    """
    for kinds, words, supports in _SUPPORTS:
        if isinstance(likelihood, kinds):
            return ~(supports(values) | np.isnan(values)), words
    return np.zeros(values.shape, dtype=bool), "all numbers"


def least_spread(
    likelihood: families.TorchLikelihood | None, mean: Tensor, length: int
) -> Tensor | None:
    """Return the least spread that windows of `length` steps and this `mean` may have.

    That of the family's noise, where the mean tells it: no window of counts is too flat to scale
    by. `None` for families with a location.
    """
    match likelihood:
        case likelihood if isinstance(likelihood, _COUNTS):
            # a Poisson variable's, as if half a count more had been seen
            return (mean.clamp(min=0) + 0.5 / length).sqrt()
        case families.BernoulliLikelihood():
            share = (mean * length + 0.5) / (length + 1)
            return (share * (1 - share)).clamp(min=0).sqrt()
        case likelihood if isinstance(likelihood, _POSITIVE):
            return _LEAST_SPREAD * mean.abs()
        case likelihood if isinstance(likelihood, _SHARES):
            return _LEAST_SPREAD * (mean * (1 - mean)).abs()
    return None


def raw_parameters(
    likelihood: families.TorchLikelihood, location: Tensor, others: list[Tensor], spread: Tensor
) -> Tensor:
    """Return what the likelihood makes its parameters of, `(B, T, C, P)`, in units of the data.

    Parameters
    ----------
    likelihood
        The likelihood; not `QuantileRegression`.
    location
        Where the distribution lies, in units of the data `(B, T, C, 1)`.
    others
        The network's other outputs `(B, T, C, 1)` each.
    spread
        Of the windows, `(B, 1, C, 1)`.

    Raises
    ------
    ValueError
        If the family is unknown.
    """
    if has_location(likelihood):
        return torch.cat([location, softplus_inverse(spread * softplus(others[0]))], dim=-1)
    width = _BEND * spread
    mean = width * softplus((location / width).clamp(min=_LOWEST))  # above zero
    if not isinstance(likelihood, _SHARES) or isinstance(likelihood, families.DirichletLikelihood):
        return torch.cat(_of_positive_mean(likelihood, mean, others), dim=-1)
    rest = width * softplus(((1 - location) / width).clamp(min=_LOWEST))
    share = mean / (mean + rest)
    match likelihood:
        case families.BetaLikelihood():
            concentration = softplus(others[0])
            parts = [concentration * share, concentration * rest / (mean + rest)]
            return torch.cat([softplus_inverse(part) for part in parts], dim=-1)
        case families.ContinuousBernoulliLikelihood():
            # a logit x has the mean 1 / (1 - exp(-x)) - 1 / x; inverted, to 5 %
            share = share.clamp(min=_LEAST_SHARE, max=1 - _LEAST_SHARE)
            return 1 / (1 - share) - 1 / share + 4 * (share - 0.5)
        case families.BernoulliLikelihood():
            return mean.log() - rest.log()
    raise ValueError(f"`likelihood` {type(likelihood).__name__} is not known.")


def _of_positive_mean(
    likelihood: families.TorchLikelihood, mean: Tensor, others: list[Tensor]
) -> list[Tensor]:
    """Return the raw parameters `(B, T, C, 1)` each of families with a positive mean."""
    match likelihood:
        case families.PoissonLikelihood():
            return [softplus_inverse(mean)]
        case families.NegativeBinomialLikelihood():  # mean and dispersion
            return [softplus_inverse(mean), *others]
        case families.GeometricLikelihood() | families.DirichletLikelihood():
            # a logit x of mean exp(-x); shares of a sum that a softmax takes
            sign = -1 if isinstance(likelihood, families.GeometricLikelihood) else 1
            return [sign * mean.log()]
        case families.ExponentialLikelihood():  # a rate
            return [softplus_inverse(1 / mean)]
        case families.GammaLikelihood():  # shape and rate
            return [*others, softplus_inverse(softplus(others[0]) / mean)]
        case families.HalfNormalLikelihood():
            return [softplus_inverse(math.sqrt(math.pi / 2) * mean)]
        case families.LogNormalLikelihood():  # the mean's logarithm, above the median's
            return [mean.log(), *others]
        case families.WeibullLikelihood():  # scale and shape
            return [softplus_inverse(mean), *others]
    raise ValueError(f"`likelihood` {type(likelihood).__name__} is not known.")


def softplus(x: Tensor) -> Tensor:
    """Return `log(1 + exp(x))` by operations that ONNX runtimes have in double precision."""
    # not `x.clamp(min=0)`, whose gradient at zero depends on PyTorch's version: outputs start there
    return (x + x.abs()) / 2 + torch.log1p(torch.exp(-x.abs()))


def softplus_inverse(y: Tensor) -> Tensor:
    """Return `x` with `softplus(x) == y`, for positive `y`; see `softplus`."""
    y = y.clamp(min=torch.finfo(y.dtype).tiny)
    # log(1 - exp(-y)) loses its digits to the subtraction where y is small; a series has them
    low, high = y.clamp(max=_SMALL), y.clamp(min=_SMALL)
    series = low.log() - low / 2 + low.square() / 24
    return y + torch.where(y < _SMALL, series, torch.log(1 - torch.exp(-high)))
