"""Several networks from several seeds in the place of one: trained as a stack, averaged.

`EnsembleNetwork` is made and called like `LSTMSeqNetwork`, from which its members differ in nothing
but their first weights and their dropout. Which rows go to which member is the caller's choice:
`module.py`.

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

# K members, B batch, L input steps, T output steps, F past features, O outputs per forecast step


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
        self.stack = StackedNetwork([self._make() for _ in range(n_members)])
        # the member that each row of a batch asks, `(B,)`; `None`: all of them
        self.member_of_row: Tensor | None = None

    @property
    def dropouts(self) -> nn.ModuleList:
        """The dropout layers of all members."""
        return self.stack.dropouts

    @property
    def has_skip(self) -> bool:
        """Whether a linear skip leads beside the LSTM."""
        return self.stack.has_skip

    def initialize_skip(self, season: int, n_windows: int, weights: Tensor | None = None) -> None:
        """Set what the skips know before training, see `SeasonalSkip`."""
        members = self.members()
        for member in members:
            member.initialize_skip(season, n_windows, weights)
        self.stack.load_skips(members)

    def add_to_output_bias(self, shift: Tensor) -> None:
        """Add to all forecasts of the members from now on `(T * O,)`."""
        self.stack.weights["head/bias"].data += shift

    def reduced_lr_parameters(self) -> list[nn.Parameter]:
        """Return the stacked weights that learn more slowly, see `LSTMSeqNetwork`."""
        return self.stack.reduced_lr_parameters()

    def reset_dropout_masks(self, rows: int) -> None:
        """Let each member drop by masks of its own, see `Masks`."""
        self.stack.masks = [Masks(rows) for _ in range(self.n_members)]

    def members(self) -> list[LSTMSeqNetwork]:
        """Return ordinary networks with the weights of the members."""
        members = []
        for index in range(self.n_members):
            member = self._make().to(next(self.parameters()))
            self.stack.unstack(index, member)
            members.append(member.train(self.training))
        return members

    def _make(self) -> LSTMSeqNetwork:
        return LSTMSeqNetwork(**copy.deepcopy(self._kwargs))

    def encode(self, past: Tensor, static: Tensor | None = None) -> Tensor:
        """Return the last hidden states of all members side by side, `(B, K * H)`."""
        return torch.cat([member.encode(past, static) for member in self.members()], dim=-1)

    def forward_per_member(
        self, past: Tensor, future: Tensor | None, static: Tensor | None
    ) -> Tensor:
        """Return the forecasts `(KB, T, O)` of rows that belong to the members in turn."""
        return self.stack.run_rows(self.n_members, past, future, static)

    def forward(
        self, past: Tensor, future: Tensor | None = None, static: Tensor | None = None
    ) -> Tensor:
        """Return the mean forecasts `(B, T, O)`, or those of the members chosen."""
        all_rows = [
            None if x is None else x.expand(self.n_members, *x.shape)
            for x in (past, future, static)
        ]
        assert all_rows[0] is not None
        forecasts = self.stack(all_rows[0], all_rows[1], all_rows[2])  # (K, B, T, O)
        if self.member_of_row is None:
            return forecasts.mean(dim=0)
        return forecasts[self.member_of_row, torch.arange(len(past), device=past.device)]
