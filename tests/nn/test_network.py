"""The network against the tutorial, slow loops and its own gradients."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from darts.utils.torch import MonteCarloDropout
from makers import random_tensor
from oracles import Tutorial, patches
from torch import Tensor

from darts_lstm_seq.nn.network import LSTMSeqNetwork

NAN = float("nan")


_randn = partial(random_tensor, dtype=torch.float32)


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("n_rnn_layers", [1, 2, 3])
@pytest.mark.parametrize("hidden_dim", [1, 7])
@pytest.mark.parametrize("past_dim", [1, 3])
@pytest.mark.parametrize("length", [1, 2, 24])
@pytest.mark.parametrize("steps", [1, 5])
def test_the_tutorial_is_reproduced_exactly(
    n_rnn_layers: int, hidden_dim: int, past_dim: int, length: int, steps: int
) -> None:
    network: Any = LSTMSeqNetwork(
        past_dim, steps, output_dim=2, hidden_dim=hidden_dim, n_rnn_layers=n_rnn_layers
    )
    x = _randn(4, length, past_dim)
    expected = Tutorial(network)(x).view(4, steps, 2)
    torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-6)
    # so do the gradients, in the first layer's weights too
    gradient = torch.autograd.grad(network(x).square().sum(), network.layers[0].weight_hh_l0)[0]
    tutorial: Any = Tutorial(network)
    expected_gradient = torch.autograd.grad(tutorial(x).square().sum(), tutorial.lstm.weight_hh_l0)[
        0
    ]
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-6)


def test_there_are_no_weights_but_the_tutorials() -> None:
    network = LSTMSeqNetwork(2, 5, output_dim=3, hidden_dim=7, n_rnn_layers=2)
    count = sum(weight.numel() for weight in network.parameters())
    assert count == sum(weight.numel() for weight in Tutorial(network).parameters())


@pytest.mark.parametrize("patch_length", [1, 4, 5])
@pytest.mark.parametrize("n_rnn_layers", [1, 2])
def test_the_newest_observation_reaches_every_forecast_step(
    patch_length: int, n_rnn_layers: int
) -> None:
    network = LSTMSeqNetwork(
        1, 6, 1, hidden_dim=8, n_rnn_layers=n_rnn_layers, patch_length=patch_length
    )
    x = _randn(1, 12, 1).requires_grad_()
    forecast = network(x)
    for step in range(6):
        (gradient,) = torch.autograd.grad(forecast[0, step, 0], x, retain_graph=True)
        assert (gradient[0, -1] != 0).all()
        assert (gradient != 0).all()  # and so does every other observation


@pytest.mark.parametrize(
    ("length", "patch_length"),
    [(length, p) for length in (1, 2, 3, 7, 12) for p in (1, 2, 3, 5, 7, 12) if p <= length],
)
@pytest.mark.parametrize("past_dim", [1, 2])
def test_patches_equal_those_of_a_loop(length: int, patch_length: int, past_dim: int) -> None:
    network = LSTMSeqNetwork(past_dim, 2, 1, hidden_dim=4, patch_length=patch_length)
    x = _randn(3, length, past_dim)
    cut = torch.tensor(np.stack([patches(window, patch_length) for window in x.numpy()]))
    assert cut.shape == (3, -(-length // patch_length), patch_length * past_dim)
    expected = Tutorial(network)(cut).view(3, 2, 1)
    torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-6)


def test_the_loop_over_patches_repeats_the_oldest_step() -> None:
    window = np.arange(10.0).reshape(5, 2)
    np.testing.assert_array_equal(patches(window, 3), [[0, 1, 0, 1, 2, 3], [4, 5, 6, 7, 8, 9]])


def test_smallest_network() -> None:
    network = LSTMSeqNetwork(past_dim=1, output_chunk_length=1, output_dim=1, hidden_dim=1)
    assert network(torch.zeros(1, 1, 1)).shape == (1, 1, 1)


@pytest.mark.parametrize("n_rnn_layers", [1, 3])
@pytest.mark.parametrize("dropout_cls", [torch.nn.Dropout, MonteCarloDropout])
def test_dropout_acts_between_layers_and_before_the_head(
    n_rnn_layers: int, dropout_cls: type[torch.nn.Module]
) -> None:
    network = LSTMSeqNetwork(
        1, 3, 1, hidden_dim=8, n_rnn_layers=n_rnn_layers, dropout=0.5, dropout_cls=dropout_cls
    )
    x = _randn(2, 6, 1)
    torch.manual_seed(0)
    network.train()
    assert not torch.equal(network(x), network(x))
    # between the layers: a single layer's state is not touched, a deeper one's is
    assert torch.equal(network.encode(x), network.encode(x)) == (n_rnn_layers == 1)
    network.eval()
    torch.testing.assert_close(network(x), Tutorial(network)(x).view(2, 3, 1), rtol=0, atol=1e-6)


def test_dropout_drops_its_fraction_of_hidden_units() -> None:
    network = LSTMSeqNetwork(1, 1, 1, hidden_dim=600, dropout=0.25).train()
    with torch.no_grad():
        network.head.weight.fill_(1.0)
        network.head.bias.zero_()
    state = network.encode(_randn(1, 3, 1))
    kept: list[Tensor] = []
    network.head.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
    torch.manual_seed(0)
    network(_randn(1, 3, 1))
    share = (kept[0] == 0).float().mean().item()
    assert share == pytest.approx(0.25, abs=0.08)
    survivors = kept[0] != 0
    torch.testing.assert_close(kept[0][survivors], state[survivors] / 0.75)


def test_the_mask_adds_a_channel_per_feature() -> None:
    network = LSTMSeqNetwork(2, 2, 1, hidden_dim=4, mask_inputs=True)
    assert network.layers[0].input_size == 4
    x = _randn(1, 4, 2)
    x[0, 1, 0] = NAN
    imputed = x.clone()
    imputed[0, 1, 0] = (x[0, 0, 0] + x[0, 2, 0]) / 2
    mask = torch.zeros_like(x)
    mask[0, 1, 0] = 1.0
    expected = Tutorial(network)(torch.cat([imputed, mask], dim=-1)).view(1, 2, 1)
    torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-6)
    # an imputed value and the same observed value give different forecasts
    assert not torch.allclose(network(imputed), expected, atol=1e-4)


def test_without_the_mask_missing_values_are_only_imputed() -> None:
    network = LSTMSeqNetwork(1, 2, 1, hidden_dim=4)
    x = torch.tensor([[[1.0], [NAN], [3.0]]])
    torch.testing.assert_close(network(x), network(torch.tensor([[[1.0], [2.0], [3.0]]])))


def test_the_mask_is_part_of_the_patches() -> None:
    network = LSTMSeqNetwork(1, 2, 1, hidden_dim=4, patch_length=2, mask_inputs=True)
    x = torch.tensor([[[NAN], [2.0], [5.0]]])
    filled = np.array([[2.0, 1.0], [2.0, 0.0], [5.0, 0.0]], dtype=np.float32)
    cut = torch.tensor(patches(filled, 2), dtype=torch.float32)[None]
    torch.testing.assert_close(network(x), Tutorial(network)(cut).view(1, 2, 1))


def test_future_features_of_a_step_reach_that_step_alone() -> None:
    network: Any = LSTMSeqNetwork(1, 4, 3, future_dim=2, hidden_dim=5)
    past, future = _randn(2, 6, 1), _randn(2, 4, 2, seed=1).requires_grad_()
    forecast = network(past, future)
    for step in range(4):
        (gradient,) = torch.autograd.grad(forecast[:, step].sum(), future, retain_graph=True)
        reached = gradient.abs().sum(dim=(0, 2)) > 0
        assert reached.tolist() == [other == step for other in range(4)]
    # a two-layer network, added to the forecast from the past
    from_past = Tutorial(network)(past).view(2, 4, 3)
    first, _, second = network.future_head
    hidden = (torch.einsum("btd,hd->bth", future, first.weight) + first.bias).clamp(min=0)
    expected = from_past + torch.einsum("bth,oh->bto", hidden, second.weight) + second.bias
    torch.testing.assert_close(forecast, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("patch_length", [1, 3])
def test_static_features_are_part_of_each_patch(patch_length: int) -> None:
    network = LSTMSeqNetwork(2, 4, 1, static_dim=3, hidden_dim=5, patch_length=patch_length)
    past, static = _randn(2, 7, 2), _randn(2, 3, seed=1)
    rows = []
    for window, features in zip(past.numpy(), static.numpy(), strict=True):
        cut = patches(window, patch_length)
        rows.append([[*patch, *features] for patch in cut])
    expected = Tutorial(network)(torch.tensor(rows)).view(2, 4, 1)
    torch.testing.assert_close(network(past, static=static), expected, rtol=0, atol=1e-6)


def test_encode_returns_the_input_of_the_output_layer() -> None:
    network = LSTMSeqNetwork(1, 4, 2, hidden_dim=5, n_rnn_layers=2)
    x = _randn(3, 7, 1)
    state = network.encode(x)
    assert state.shape == (3, 5)
    torch.testing.assert_close(network.head(state).view(3, 4, 2), network(x))
