"""Initial values of weights that are computed from the training data, before any training step.

Base weights of the skip by ridge regression, and biases of quantiles. The computations work on
normalised windows, which `module.py` prepares.

Source: `nn/ridge.py`; for the quantiles our own.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import torch
from torch import Tensor

from darts_lstm_seq.nn.imputation import impute
from darts_lstm_seq.nn.long_skip import MAX_DENSE_WINDOW
from darts_lstm_seq.nn.ridge import fit_ridge, fit_season_weights
from darts_lstm_seq.training.features import split_by_component

# N windows, L input steps, T output steps, C target components, P quantiles

# shares of the skip to choose from, each with the biases that suit it
_SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
_MAX_ITERATIONS = 20
# softplus of less is nothing beside other parameters, but has no bound where a likelihood grows
# towards a limit, such as that of a negative binomial towards a Poisson distribution
_MIN_BIAS = -8.0


def ridge_skip_weights(
    past: Tensor, label: Tensor, season: int, n_windows: int, shift: int
) -> Tensor:
    """Return base weights of the skip, the same for all components.

    `(T, L)`, and for a `LongSkip` those of its features.

    Parameters
    ----------
    past
        Normalised input windows `(N, L, C)`; NaN marks missing values.
    label
        Normalised labels `(N, T, C)`; NaN marks missing values.
    season, n_windows, shift
        See `fit_ridge`; windows are counted over all components.
    """
    past = split_by_component(impute(past)[0]).squeeze(-1)  # (NC, L)
    label = split_by_component(label).squeeze(-1)  # (NC, T)
    fit = fit_ridge if past.shape[1] <= MAX_DENSE_WINDOW else fit_season_weights
    return fit(past, label, season, n_windows, shift)


def quantile_biases(errors: Tensor, quantiles: Sequence[float]) -> Tensor:
    """Return the quantiles of forecast errors relative to their median, `(T * C * P,)`.

    As output biases they give the quantiles a realistic spread from the start; the few training
    steps of a small data set would not widen it from zero.

    Parameters
    ----------
    errors
        Errors of the median forecasts `(N, T, C)`; NaN marks missing labels.
    quantiles
        The P quantile levels, 0.5 among them.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.training.initialization import quantile_biases
    >>> quantile_biases(torch.arange(11.0).view(11, 1, 1), [0.1, 0.5, 0.9])
    tensor([-4.,  0.,  4.])
    """
    levels = torch.tensor(quantiles).to(errors)  # (P,)
    # one forecast step at a time: PyTorch's quantiles are limited to 16 million values
    of_steps = torch.stack([step.nanquantile(levels, dim=0) for step in errors.unbind(1)])
    median = list(quantiles).index(0.5)
    biases = of_steps - of_steps[:, [median]]  # (T, P, C)
    return biases.nan_to_num().transpose(1, 2).flatten()  # (T * C * P,)


def fit_share_and_biases(
    loss: Callable[[float, Tensor], Tensor], shape: Sequence[int]
) -> tuple[float, Tensor]:
    """Return the share of the skip and the output biases with the least loss.

    They give a distribution its dispersion from the start, and the skip the less weight, the
    noisier its forecasts are; the few training steps of a small data set would not reach that.

    Parameters
    ----------
    loss
        The loss of a share and of biases, differentiable by the biases.
    shape
        Shape of the biases: components (or one for all) and likelihood parameters.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.training.initialization import fit_share_and_biases
    >>> def loss(share, biases):
    ...     return (share - 0.5) ** 2 + (biases - 2).square().sum()
    >>> fit_share_and_biases(loss, (1, 2))
    (0.5, tensor([[2., 2.]]))
    """
    biases = torch.zeros(*shape)
    found = []
    for share in _SHARES:
        biases = minimize(partial(loss, share), biases)
        found.append((share, biases, loss(share, biases).item()))
    share, biases, _ = min(found, key=lambda fit: (math.isnan(fit[2]), fit[2]))
    return share, biases


def minimize(loss: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """Return the argument with the least loss, or `start` where the search ends in NaN."""
    argument = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [argument], max_iter=_MAX_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(argument)
        value.backward()
        return value

    # distributions refuse NaN by a `ValueError`
    with suppress(ValueError), torch.enable_grad():
        optimizer.step(closure)
        if argument.isfinite().all():
            return argument.detach().clamp(min=_MIN_BIAS)
    return start
