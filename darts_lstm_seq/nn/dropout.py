"""The masks of dropout for one training, drawn from a generator of its own.

`nn.Dropout` draws from PyTorch's one global state, so that what a network drops depends on what
else is computed beside it. With masks of its own a network learns the same alone and in a stack.
When dropout acts, and how much it drops, is up to the network.
"""

import torch
from torch import Tensor

# K networks, B batch, N patches, H hidden


class Masks:
    """Draws which units are kept, step after step.

    Parameters
    ----------
    rows
        Number of rows of a whole batch. A smaller batch, such as the last one of an epoch, leaves
        the rest of its mask unused, so that the next mask does not depend on it.

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
        """Fill a tensor `(rows, ...)` with the next numbers between 0 and 1."""
        if self._generator is None:
            self._generator = torch.Generator(noise.device).manual_seed(self._seed)
        torch.rand(noise.shape, generator=self._generator, out=noise)

    def apply(self, x: Tensor, p: float) -> Tensor:
        """Drop a share `p` of the units, and scale the others up.

        Parameters
        ----------
        x
            Units `(B, ...)` of one network.
        p
            Share of the units that are dropped.
        """
        noise = torch.empty(max(self.rows, len(x)), *x.shape[1:], device=x.device)
        self.fill(noise)
        return _keep(x, noise[: len(x)], p)


def apply_stacked(masks: list[Masks], x: Tensor, p: float) -> Tensor:
    """Drop from each of several networks what its own masks say.

    Parameters
    ----------
    masks
        Of the K networks.
    x
        Their units `(K, H, B)`, or `(N, K, H, B)`.
    p
        Share of the units that are dropped.
    """
    hidden, batch = x.shape[-2:]
    # in the order in which a network alone draws; rows beyond a network's own stay as they are
    noise = torch.zeros(len(masks), batch, *x.shape[:-3], hidden, device=x.device)  # (K, B, N, H)
    for one, own in zip(masks, noise, strict=True):
        one.fill(own[: one.rows])
    swapped = noise.transpose(-1, 1) if x.dim() == 3 else noise.permute(2, 0, 3, 1)
    return _keep(x, swapped, p)


def _keep(x: Tensor, noise: Tensor, p: float) -> Tensor:
    return x * (noise >= p).to(x.dtype).div_(1 - p)
