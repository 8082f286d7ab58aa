"""Average the forecasts of several trained networks by one network: its LSTM holds theirs.

The hidden states of the members lie side by side, and no weight leads from one member to another,
so that the forecasts of the wide network are the means of the members' forecasts. It is an ordinary
`LSTMSeqModel` of one layer, which is saved, exported and fine-tuned like any other.

Source: Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep
Ensembles", https://arxiv.org/abs/1612.01474; averaged quantiles as in Lichtendahl et al., "Is It
Better to Average Probabilities or Quantiles?", Management Science 59 (2013).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from darts_lstm_seq.nn.network import LSTMSeqNetwork
from darts_lstm_seq.nn.skip import skip_matrix

# K members, H hidden, I inputs of the LSTM, T output steps, L input steps, O outputs per step


def skip_of(network: LSTMSeqNetwork) -> Tensor:
    """Return the skip of a network as a single matrix, `(T, L)`."""
    skip = network.skip
    assert skip is not None
    return skip_matrix(
        skip.base_weight, skip.basis, skip.lr_scale, skip.coefficients, skip.weight
    ).detach()


@torch.no_grad()
def load_average(network: LSTMSeqNetwork, members: Sequence[LSTMSeqNetwork]) -> None:
    """Give a network weights with which it forecasts the mean of its members' forecasts.

    Parameters
    ----------
    network
        A network of one layer of K * H units.
    members
        K networks of one layer of H units, equal to `network` in everything else.
    """
    states = [member.state_dict() for member in members]

    def stacked(name: str) -> Tensor:  # the gates stay in front: (4, K, H, ...)
        return torch.stack([s[name].unflatten(0, (4, -1)) for s in states], dim=1)

    recurrent = torch.stack(
        [
            torch.block_diag(*gate)  # (KH, KH)
            for gate in stacked("layers.0.weight_hh_l0")
        ]
    )  # (4, KH, KH)
    network.load_state_dict(
        {
            **network.state_dict(),
            "layers.0.weight_ih_l0": stacked("layers.0.weight_ih_l0").flatten(0, 2),  # (4KH, I)
            "layers.0.weight_hh_l0": recurrent.flatten(0, 1),  # (4KH, KH)
            "layers.0.bias_ih_l0": stacked("layers.0.bias_ih_l0").flatten(),
            "layers.0.bias_hh_l0": stacked("layers.0.bias_hh_l0").flatten(),
            "head.weight": torch.cat([s["head.weight"] for s in states], dim=1) / len(states),
            "head.bias": torch.stack([s["head.bias"] for s in states]).mean(0),  # (TO,)
        }
    )
    skip = network.skip
    assert skip is not None
    skip.coefficients.zero_()
    skip.weight.zero_()
    # the prior is all of the skip
    matrix = torch.stack([skip_of(member) for member in members]).mean(0)  # (T, L)
    network.initialize_skip(season=1, n_windows=0, weights=matrix)
