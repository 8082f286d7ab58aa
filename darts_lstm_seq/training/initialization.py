"""Initial values of weights that are computed from the training data, before any training step.

Base weights of the skip by ridge regression, and biases of quantiles. The computations work on
normalised windows, which `module.py` prepares.

Source: `nn/ridge.py`; for the quantiles our own.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from darts_lstm_seq.nn.imputation import impute
from darts_lstm_seq.nn.ridge import fit_ridge
from darts_lstm_seq.training.features import split_by_component

# N windows, L input steps, T output steps, C target components, P quantiles

# of the search for a few numbers; a share of .95 to begin with
_MAX_ITERATIONS, _FIRST_LOGIT = 30, 3.0


def ridge_skip_weights(
    past: Tensor, label: Tensor, season: int, n_windows: int, shift: int
) -> Tensor:
    """Return base weights `(T, L)` of the skip, the same for all components.

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
    return fit_ridge(past, label, season, n_windows, shift)


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
    loss: Callable[[Tensor, Tensor], Tensor], shape: Sequence[int]
) -> tuple[float, Tensor]:
    """Return the share of the skip and the output biases with the least loss.

    They give a distribution its dispersion from the start, and the skip the less weight, the
    noisier its forecasts are; the few training steps of a small data set would not reach that.

    Parameters
    ----------
    loss
        The loss of a share in [0, 1] and of biases, differentiable.
    shape
        Shape of the biases: components (or one for all) and likelihood parameters.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.training.initialization import fit_share_and_biases
    >>> def loss(share, biases):
    ...     return (share - 0.5).square() + (biases - 2).square().sum()
    >>> share, biases = fit_share_and_biases(loss, (1, 2))
    >>> round(share, 3), biases
    (0.5, tensor([[2., 2.]]))
    """
    logit = torch.tensor(_FIRST_LOGIT, requires_grad=True)
    biases = torch.zeros(*shape, requires_grad=True)
    with torch.enable_grad():
        first = loss(logit.sigmoid(), biases).item()
        # under a dispersion far off, no share but zero would look good
        for parameters in ([biases], [logit, biases]):
            _minimize(lambda: loss(logit.sigmoid(), biases), parameters)
        last = loss(logit.sigmoid(), biases).item()
    if not last <= first:  # or NaN
        return 1.0, torch.zeros_like(biases)
    return logit.sigmoid().item(), biases.detach()


def _minimize(loss: Callable[[], Tensor], parameters: list[Tensor]) -> None:
    """Minimise a loss; leave the parameters as they are where that ends in NaN."""
    before = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=_MAX_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    # distributions refuse NaN by a `ValueError`
    with suppress(ValueError):
        optimizer.step(closure)
        if all(parameter.isfinite().all() for parameter in parameters):
            return
    for parameter, value in zip(parameters, before, strict=True):
        parameter.data.copy_(value)
