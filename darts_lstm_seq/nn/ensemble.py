"""An ensemble of networks with different initial weights, trained as a stack and averaged.

`EnsembleNetwork` is created and called like `LSTMSeqNetwork`. Its members differ in nothing but
their initial weights and dropout masks. Which rows of a batch belong to which member is decided by
the caller, the Lightning module in the package `training`.

Source: Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep
Ensembles", https://arxiv.org/abs/1612.01474.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from darts_lstm_seq.nn.dropout import Masks
from darts_lstm_seq.nn.network import LSTMSeqNetwork
from darts_lstm_seq.nn.stacked import StackedNetwork

# K members, B batch, L input steps, T output steps, O outputs per forecast step, H hidden


class EnsembleNetwork(nn.Module):
    """The mean forecast of K networks.

    Parameters
    ----------
    n_members
        Number of networks K.
    **kwargs
        See `LSTMSeqNetwork`.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.ensemble import EnsembleNetwork
    >>> network = EnsembleNetwork(5, past_dim=1, output_chunk_length=3, output_dim=1)
    >>> network(torch.zeros(2, 24, 1)).shape
    torch.Size([2, 3, 1])
    """

    def __init__(self, n_members: int, **kwargs: Any) -> None:
        super().__init__()
        self.n_members = n_members
        self._kwargs = kwargs
        self.stack = StackedNetwork([self._make_member() for _ in range(n_members)])
        # the member that forecasts each row of a batch, `(B,)`; `None` for the mean of all members
        self.member_of_row: Tensor | None = None

    @property
    def dropouts(self) -> nn.ModuleList:
        """The dropout layers, shared by all members."""
        return self.stack.dropouts

    @property
    def has_skip(self) -> bool:
        """Whether there is a linear skip connection."""
        return self.stack.has_skip

    def initialize_skip(
        self, season: int, n_windows: int, weights: Tensor | None = None, share: float = 1.0
    ) -> None:
        """Initialise the skips of all members, see `SeasonalSkip.initialize`."""
        members = self.members()
        for member in members:
            member.initialize_skip(season, n_windows, weights, share)
        self.stack.load_skips(members)

    def add_to_output_bias(self, shift: Tensor) -> None:
        """Add `shift` `(T * O,)` to the output bias of each member."""
        self.stack.weights["head/bias"].data += shift

    def reduced_lr_parameters(self) -> list[nn.Parameter]:
        """Return the stacked parameters with a lower learning rate, see `LSTMSeqNetwork`."""
        return self.stack.reduced_lr_parameters()

    def reset_dropout_masks(self, rows: int) -> None:
        """Give each member its own dropout masks for a new training, see `Masks`."""
        self.stack.masks = [Masks(rows) for _ in range(self.n_members)]

    def members(self) -> list[LSTMSeqNetwork]:
        """Return the members as ordinary networks, with copies of their weights."""
        members = []
        for index in range(self.n_members):
            member = self._make_member().to(next(self.parameters()))
            self.stack.unstack(index, member)
            members.append(member.train(self.training))
        return members

    def _make_member(self) -> LSTMSeqNetwork:
        return LSTMSeqNetwork(**copy.deepcopy(self._kwargs))

    def encode(self, past: Tensor, static: Tensor | None = None) -> Tensor:
        """Return the last hidden states of all members concatenated, `(B, K * H)`."""
        return torch.cat([member.encode(past, static) for member in self.members()], dim=-1)

    def forward_per_member(
        self, past: Tensor, future: Tensor | None, static: Tensor | None
    ) -> Tensor:
        """Return the forecasts `(KB, T, O)` of rows grouped by member, B rows for each."""
        return self.stack.forward_flat(self.n_members, past, future, static)

    def forward(
        self, past: Tensor, future: Tensor | None = None, static: Tensor | None = None
    ) -> Tensor:
        """Return the mean forecasts `(B, T, O)`, or those of `member_of_row` if it is set."""
        past_k, future_k, static_k = (
            None if x is None else x.expand(self.n_members, *x.shape)
            for x in (past, future, static)
        )
        assert past_k is not None
        forecasts = self.stack(past_k, future_k, static_k)  # (K, B, T, O)
        if self.member_of_row is None:
            return forecasts.mean(dim=0)  # (B, T, O)
        return forecasts[self.member_of_row, torch.arange(len(past), device=past.device)]
