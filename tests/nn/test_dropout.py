"""Dropout masks are the same alone and in a stack, whatever else is drawn in the process."""

import copy

import pytest
import torch
from torch import nn

from darts_lstm_seq.nn.dropout import Masks
from darts_lstm_seq.nn.network import LSTMSeqNetwork
from darts_lstm_seq.nn.stacked import StackedNetwork


def seeded(seed: int, rows: int) -> Masks:
    torch.manual_seed(seed)
    return Masks(rows)


def test_a_fraction_is_dropped_and_the_rest_scaled_up() -> None:
    dropped = seeded(0, 400).apply(torch.ones(400, 300), 0.3)
    assert dropped.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
    assert (dropped == 0).float().mean() == pytest.approx(0.3, abs=0.01)
    assert dropped.mean() == pytest.approx(1, abs=0.01)


def test_a_small_batch_does_not_change_the_next_mask() -> None:
    short, whole = seeded(1, 8), seeded(1, 8)
    first = short.apply(torch.ones(3, 5), 0.5)
    assert torch.equal(first, whole.apply(torch.ones(8, 5), 0.5)[:3])
    assert torch.equal(short.apply(torch.ones(8, 5), 0.5), whole.apply(torch.ones(8, 5), 0.5))


def test_masks_do_not_depend_on_other_random_numbers() -> None:
    alone, beside = seeded(2, 4), seeded(2, 4)
    before = alone.apply(torch.ones(4, 9), 0.5)
    torch.rand(5)
    assert torch.equal(beside.apply(torch.ones(4, 9), 0.5), before)
    assert not torch.equal(seeded(3, 4).apply(torch.ones(4, 9), 0.5), before)


@pytest.mark.parametrize("n_rnn_layers", [1, 3])
@pytest.mark.parametrize("rows", [(4, 4), (4, 1), (2, 4)])  # of full batches
@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.5, 0.2), (0.0, 0.3), (0.7, 0.0), (0.0, 0.0)])
def test_a_stack_has_the_masks_of_its_networks(
    rates: tuple[float, float], rows: tuple[int, int], n_rnn_layers: int
) -> None:
    networks = [
        LSTMSeqNetwork(
            *(1, 2, 1),
            hidden_dim=5,
            n_rnn_layers=n_rnn_layers,
            dropout=rate,
            dropout_cls=nn.Dropout if rate else nn.Identity,  # as in `LSTMSeqModule`
        ).double()
        for rate in rates
    ]
    for seed, (network, n_rows) in enumerate(zip(networks, rows, strict=True)):
        network.masks = seeded(seed, n_rows)
    stack = StackedNetwork(copy.deepcopy(networks))
    past = torch.randn(2, 4, 6, 1, dtype=torch.double)
    for _ in range(3):
        together = stack(past)
        for network, n_rows, windows, forecasts in zip(networks, rows, past, together, strict=True):
            torch.testing.assert_close(network(windows[:n_rows]), forecasts[:n_rows])
    # the last network has finished
    torch.testing.assert_close(stack(past[:1])[0][: rows[0]], networks[0](past[0][: rows[0]]))


def test_dropout_is_active_in_training_only() -> None:
    network = LSTMSeqNetwork(1, 2, 1, hidden_dim=5, dropout=0.5, dropout_cls=nn.Dropout).eval()
    past = torch.randn(4, 6, 1)
    expected = network(past)
    network.reset_dropout_masks(4)
    assert torch.equal(network(past), expected)
    network.train()
    assert not torch.equal(network(past), network(past))
