"""Optimisation of stacked networks: a learning rate and a gradient norm for each of them.

PyTorch's optimisers and `clip_grad_norm_` treat a stacked tensor `(K, ...)` as one network. Which
rate a network gets, and when, is decided in `training`.

Source: our own; exact for optimisers that treat each number on its own.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

# K stacked networks


class PerNetworkLearningRate:
    """A learning rate for each network of a stack: shortens the optimiser's step afterwards.

    Exact for optimisers that treat each number on its own and step in proportion to their learning
    rate: SGD, Adam, AdamW, RMSprop and most others.

    Parameters
    ----------
    parameters
        The stacked parameters, `(K, ...)` each.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.optim import PerNetworkLearningRate
    >>> weights = torch.nn.Parameter(torch.zeros(3, 1))
    >>> optimizer = torch.optim.SGD([weights], lr=1.0)
    >>> weights.grad = torch.full_like(weights, -8.0)
    >>> shares = PerNetworkLearningRate([weights])
    >>> shares.remember()
    >>> optimizer.step()
    >>> shares.apply(torch.tensor([1.0, 0.5, 0.0]))  # the last network is done
    >>> weights.detach().flatten()
    tensor([8., 4., 0.])
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._now = [parameter.detach() for parameter in parameters]
        self._before = [torch.empty_like(parameter) for parameter in self._now]

    def remember(self) -> None:
        """Keep the parameters as they are; call it before the optimiser's step."""
        torch._foreach_copy_(self._before, self._now)

    def apply(self, shares: Tensor) -> None:
        """Take back all but a share of each network's step; call it after the optimiser's step.

        Parameters
        ----------
        shares
            From 0 (the network stays as it was) to 1 (the whole step), `(K,)`.
        """
        for before, now in zip(self._before, self._now, strict=True):
            share = shares.view(-1, *[1] * (now.dim() - 1)).to(now)
            torch.lerp(before, now, share, out=now)  # exact at both ends


def clip_grad_norm_per_network(parameters: Iterable[nn.Parameter], most: float) -> None:
    """Shorten the gradient of each network of a stack to a norm, as for one network alone.

    Parameters
    ----------
    parameters
        The stacked parameters, `(K, ...)` each.
    most
        The largest norm that is left as it is.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.optim import clip_grad_norm_per_network
    >>> weights = torch.nn.Parameter(torch.zeros(2, 1))
    >>> weights.grad = torch.tensor([[8.0], [0.5]])
    >>> clip_grad_norm_per_network([weights], most=1.0)
    >>> weights.grad.flatten()
    tensor([1.0000, 0.5000])
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    squares = torch.stack([gradient.flatten(1).square().sum(dim=1) for gradient in gradients])
    norms = squares.sum(dim=0).sqrt()  # (K,)
    factors = (most / (norms + 1e-6)).clamp(max=1)  # as PyTorch does
    for gradient in gradients:
        gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))
