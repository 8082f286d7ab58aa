"""Dropout masks drawn from a random generator of their own.

`nn.Dropout` draws from PyTorch's global random state, so its masks depend on everything else that
is drawn in the process. With its own generator a network gets the same masks alone and in a stack.
When dropout is active, and its rate, are decided by the network.

Source: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", as
`torch.nn.Dropout` implements it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

# K networks, B batch, N patches, H hidden


class Masks:
    """Draws a new dropout mask for every call of one training.

    Parameters
    ----------
    rows
        Number of rows of a full batch. A smaller batch, such as the last one of an epoch, ignores
        the rest of its mask, so that the following masks do not depend on it.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.dropout import Masks
    >>> _ = torch.manual_seed(0)
    >>> masks = Masks(rows=8)
    >>> masks.apply(torch.ones(5, 3), p=0.5).shape
    torch.Size([5, 3])
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._seed = int(torch.empty((), dtype=torch.int64).random_().item())
        self._generator: torch.Generator | None = None

    def fill(self, noise: Tensor) -> None:
        """Fill a tensor `(rows, ...)` with the next uniform random numbers in [0, 1)."""
        if self._generator is None:
            self._generator = torch.Generator(noise.device).manual_seed(self._seed)
        torch.rand(noise.shape, generator=self._generator, out=noise)

    def apply(self, x: Tensor, p: float) -> Tensor:
        """Drop a fraction `p` of the units and scale up the others.

        Parameters
        ----------
        x
            Units `(B, ...)` of one network.
        p
            Dropout rate.
        """
        noise = torch.empty(max(self.rows, len(x)), *x.shape[1:], device=x.device)
        self.fill(noise)
        return x * (noise[: len(x)] >= p).to(x.dtype).div_(1 - p)


def apply_stacked(
    masks: Sequence[Masks], x: Tensor, rates: Sequence[float], hidden_dims: Sequence[int]
) -> Tensor:
    """Apply dropout to stacked networks, each with its own masks and rate.

    Parameters
    ----------
    masks
        The masks of the K networks.
    x
        Their units `(K, H, B)`, or `(N, K, H, B)`.
    rates
        Their dropout rates.
    hidden_dims
        Their numbers of units, of which smaller networks have less than H.
    """
    count, hidden, batch = x.shape[-3:]
    # drawn in the order of a network alone; rows beyond the batch of a network stay zero
    rows = max([batch, *(network_masks.rows for network_masks in masks)])
    noise = torch.zeros(count, rows, *x.shape[:-3], hidden, device=x.device)  # (K, rows, N, H)
    for network_masks, rate, own, network_noise in zip(
        masks, rates, hidden_dims, noise, strict=False
    ):
        if rate:  # a network without dropout draws nothing
            part = network_noise[: network_masks.rows, ..., :own]
            drawn = part.contiguous()  # itself, unless some units are padding
            network_masks.fill(drawn)
            if drawn is not part:
                part.copy_(drawn)
    noise = noise[:, :batch]  # (K, B, N, H)
    # (K, H, B) or (N, K, H, B)
    noise = noise.transpose(-1, 1) if x.dim() == 3 else noise.permute(2, 0, 3, 1)
    limits = torch.tensor(rates, device=x.device).view(-1, 1, 1)  # (K, 1, 1)
    kept = torch.tensor([1 - rate for rate in rates], dtype=x.dtype, device=x.device)
    return x * (noise >= limits).to(x.dtype).div_(kept.view(-1, 1, 1))
