"""A stack against its networks one by one: forecasts, gradients, training."""

import copy
import math
from typing import Any

import pytest
import torch
from darts.utils.torch import MonteCarloDropout
from oracles import train_one_by_one
from torch import Tensor, nn

from darts_lstm_seq.nn.network import LSTMSeqNetwork
from darts_lstm_seq.nn.optim import PerNetworkLearningRate
from darts_lstm_seq.nn.skip import SeasonalSkip
from darts_lstm_seq.nn.stacked import StackedNetwork
from darts_lstm_seq.nn.stacked_lstm import StackedLSTM

TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-4}


def _close(stacked: Tensor, single: Tensor) -> None:
    """Compare relative to the largest value: single elements may be sums near zero."""
    tolerance = TOLERANCE[single.dtype] * (single.abs().max().item() + 1e-6)
    torch.testing.assert_close(stacked, single, rtol=0, atol=tolerance)


def _networks(count: int, length: int = 7, with_skip: bool = False, **kwargs: Any) -> list[Any]:
    torch.manual_seed(0)
    networks = []
    for index in range(count):
        skip = None
        if with_skip:
            skip = SeasonalSkip(length, kwargs["output_chunk_length"], output_chunk_shift=1)
            skip.initialize(season=min(index + 1, length), n_windows=30 * index)
        networks.append(LSTMSeqNetwork(skip=skip, **kwargs))
        for weight in networks[-1].parameters():  # those of skips and their output layers are zero
            nn.init.uniform_(weight, -0.5, 0.5)
    return networks


def _compare(
    networks: list[Any], stack: Any, past: Tensor, future: Tensor | None, static: Tensor | None
) -> None:
    forecasts = stack(past, future, static)
    grad = torch.randn_like(forecasts)
    (forecasts * grad).sum().backward()
    for k, network in enumerate(networks):
        if k >= len(past):
            for weight in stack.weights.values():
                assert not weight.grad[k].any()
            continue
        expected = network(
            past[k], None if future is None else future[k], None if static is None else static[k]
        )
        _close(forecasts[k], expected)
        (expected * grad[k]).sum().backward()
        for name, weight in network.named_parameters():
            _close(stack.weights[name.replace(".", "/")].grad[k], weight.grad)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("mask_inputs", [False, True])
@pytest.mark.parametrize("patch_length", [1, 4, 5])
@pytest.mark.parametrize("n_rnn_layers", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_stack_equals_its_networks(
    count: int, n_rnn_layers: int, patch_length: int, mask_inputs: bool, dtype: torch.dtype
) -> None:
    # in single precision one combination of all options is enough
    options = [(0, 0, 0), (1, 0, 1), (0, 1, 3)]
    for has_static, has_future, skip_outputs in options if dtype == torch.float64 else [(1, 1, 1)]:
        networks = _networks(
            count,
            length=8,
            with_skip=skip_outputs > 0,
            past_dim=3,
            output_chunk_length=4,
            output_dim=6,
            static_dim=2 * has_static,
            future_dim=3 * has_future,
            hidden_dim=5,
            n_rnn_layers=n_rnn_layers,
            patch_length=patch_length,
            mask_inputs=mask_inputs,
            target_dim=2,
            skip_outputs=max(skip_outputs, 1),
        )
        networks = [network.to(dtype) for network in networks]
        past = torch.randn(count, 3, 8, 3, dtype=dtype)  # 8 steps: patches of 5 leave a remainder
        past[torch.rand_like(past) < 0.2] = torch.nan
        future = torch.randn(count, 3, 4, 3, dtype=dtype) if has_future else None
        static = torch.randn(count, 3, 2, dtype=dtype) if has_static else None
        _compare(networks, StackedNetwork(networks), past, future, static)


@pytest.mark.parametrize("with_skip", [False, True])
@pytest.mark.parametrize("n_rnn_layers", [1, 2])
@pytest.mark.parametrize("count", [1, 3])
def test_the_smallest_sizes(count: int, n_rnn_layers: int, with_skip: bool) -> None:
    sizes: Any = {"past_dim": 1, "output_chunk_length": 1, "output_dim": 1, "hidden_dim": 1}
    networks = _networks(count, 1, with_skip, n_rnn_layers=n_rnn_layers, **sizes)
    networks = [network.double() for network in networks]
    past = torch.randn(count, 1, 1, 1, dtype=torch.double)
    _compare(networks, StackedNetwork(networks), past, None, None)


@pytest.mark.parametrize("n_rnn_layers", [1, 2, 3])
def test_networks_of_different_sizes(n_rnn_layers: int) -> None:
    sizes: Any = {"past_dim": 2, "output_chunk_length": 4, "output_dim": 1, "patch_length": 2}
    sizes |= {"n_rnn_layers": n_rnn_layers, "future_dim": 2, "static_dim": 1}
    networks = [_networks(1, 7, True, hidden_dim=size, **sizes)[0].double() for size in (3, 6, 1)]
    past, future, static = (
        torch.randn(3, 5, *shape, dtype=torch.double) for shape in ((7, 2), (4, 2), (1,))
    )
    stack = StackedNetwork(networks)
    optimizer = torch.optim.Adam(stack.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        stack(past, future, static).square().mean((1, 2, 3)).sum().backward()
        optimizer.step()
    for k, network in enumerate(networks):
        alone = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=0.1)
        for _ in range(3):
            alone.zero_grad()
            network(past[k], future[k], static[k]).square().mean().backward()
            alone.step()
        trained = copy.deepcopy(network)
        stack.unstack(k, trained)
        for (name, found), single in zip(
            trained.named_parameters(), network.parameters(), strict=True
        ):
            _close(found.detach(), single.detach())
            # padding is exactly zero: nothing is left but the network's own weights
            stacked = stack.weights[name.replace(".", "/")][k]
            assert stacked.abs().sum().item() == pytest.approx(found.abs().sum().item())
            assert (stacked != 0).sum() == (found != 0).sum()


@pytest.mark.parametrize("running", [1, 2, 3])
def test_the_last_networks_may_have_finished(running: int) -> None:
    sizes: Any = {"past_dim": 1, "output_chunk_length": 4, "output_dim": 1, "hidden_dim": 6}
    networks = _networks(3, 7, True, n_rnn_layers=2, future_dim=2, static_dim=1, **sizes)
    networks = [network.double() for network in networks]
    past, future, static = (
        torch.randn(running, 5, *shape, dtype=torch.double) for shape in ((7, 1), (4, 2), (1,))
    )
    _compare(networks, StackedNetwork(networks), past, future, static)


@pytest.mark.parametrize("return_sequence", [False, True])
def test_gradients_of_the_stacked_lstm(return_sequence: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 2, 3, 2, dtype=torch.double, requires_grad=True)
    weights = torch.randn(2, 8, 3 + 1 + 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *inputs: StackedLSTM.apply(*inputs, return_sequence), (x, weights)
    )


OPTIMIZERS: dict[str, Any] = {
    "Adam": lambda weights: torch.optim.Adam(weights, lr=0.01),
    "AdamW": lambda weights: torch.optim.AdamW(weights, lr=0.01, weight_decay=0.1),
    "momentum": lambda weights: torch.optim.SGD(weights, lr=0.05, momentum=0.9, weight_decay=0.01),
    "RMSprop": lambda weights: torch.optim.RMSprop(weights, lr=0.003, momentum=0.5),
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
def test_training_equals_training_one_by_one(optimizer_name: str, dtype: torch.dtype) -> None:
    sizes: Any = {"past_dim": 1, "output_chunk_length": 4, "output_dim": 1, "hidden_dim": 6}
    networks = _networks(4, 7, True, n_rnn_layers=2, **sizes)
    networks = [network.to(dtype) for network in networks]
    counts = [30, 21, 21, 8]
    batches: list[Any] = [
        [(torch.randn(5, 7, 1, dtype=dtype), torch.randn(5, 4, 1, dtype=dtype)) for _ in range(n)]
        for n in counts
    ]
    stack = StackedNetwork(networks)
    weights = list(stack.parameters())
    optimizer = OPTIMIZERS[optimizer_name](weights)
    rates = PerNetworkLearningRate(weights)
    losses: list[list[float]] = [[] for _ in networks]
    for step in range(max(counts)):
        running = sum(step < count for count in counts)
        past, target = (
            torch.stack([of_network[step][part] for of_network in batches[:running]])
            for part in (0, 1)
        )
        loss = (stack(past) - target).square().mean((1, 2, 3))
        optimizer.zero_grad()
        loss.sum().backward()
        rates.snapshot()
        optimizer.step()
        rates.apply(
            torch.tensor(
                [(1 + math.cos(math.pi * step / n)) / 2 if step < n else 0.0 for n in counts],
                dtype=torch.double,
            )
        )
        for k, value in enumerate(loss.tolist()):
            losses[k].append(value)

    expected = train_one_by_one(networks, OPTIMIZERS[optimizer_name], batches)
    for k, network in enumerate(networks):
        _close(torch.tensor(losses[k], dtype=dtype), torch.tensor(expected[k], dtype=dtype))
        trained = copy.deepcopy(network)
        stack.unstack(k, trained)
        for stacked, single in zip(trained.parameters(), network.parameters(), strict=True):
            _close(stacked.detach(), single.detach())


def test_rate_factors_zero_and_one_are_exact() -> None:
    weights = torch.randn(3, 1000)
    start, step = weights.clone(), torch.randn(3, 1000)
    rates = PerNetworkLearningRate([weights])
    rates.snapshot()
    weights += step
    rates.apply(torch.tensor([0.0, 0.5, 1.0]))
    assert torch.equal(weights[0], start[0])
    torch.testing.assert_close(weights[1], start[1] + step[1] / 2)
    assert torch.equal(weights[2], start[2] + step[2])


@pytest.mark.parametrize("with_skip", [False, True])
def test_unstacked_networks_are_those_that_were_stacked(with_skip: bool) -> None:
    sizes: Any = {"past_dim": 2, "output_chunk_length": 4, "output_dim": 1, "hidden_dim": 6}
    networks = _networks(3, 7, with_skip, n_rnn_layers=2, future_dim=1, **sizes)
    stack = StackedNetwork(networks)
    (other,) = _networks(1, 7, with_skip, n_rnn_layers=2, future_dim=1, **sizes)
    for k, network in enumerate(networks):
        stack.unstack(k, other)
        for name, value in network.state_dict().items():
            assert torch.equal(other.state_dict()[name], value), name
    # copies: neither changes with the other
    before = stack.weights["head/bias"].clone()
    with torch.no_grad():
        other.head.bias.add_(1)
        networks[0].head.bias.add_(1)
    assert torch.equal(stack.weights["head/bias"], before)


@pytest.mark.parametrize("dropout_cls", [nn.Dropout, MonteCarloDropout])
@pytest.mark.parametrize("n_rnn_layers", [1, 2])
def test_dropout_is_active_in_training_only(
    dropout_cls: type[nn.Module], n_rnn_layers: int
) -> None:
    network = LSTMSeqNetwork(
        1, 2, 1, hidden_dim=8, n_rnn_layers=n_rnn_layers, dropout=0.5, dropout_cls=dropout_cls
    )
    stack = StackedNetwork([network, network])
    past = torch.randn(1, 4, 6, 1).expand(2, -1, -1, -1)
    torch.manual_seed(0)
    stack.train()
    forecasts = stack(past)
    assert not torch.allclose(forecasts[0], forecasts[1])  # each network has its own mask
    assert not torch.allclose(forecasts, stack(past))
    stack.eval()
    network.eval()
    torch.testing.assert_close(stack(past)[1], network(past[1]))


@pytest.mark.parametrize("n_rnn_layers", [1, 2])
def test_a_fraction_is_dropped_and_the_rest_scaled_up(n_rnn_layers: int) -> None:
    networks = _networks(
        2,
        past_dim=1,
        output_chunk_length=1,
        output_dim=1,
        hidden_dim=400,
        n_rnn_layers=n_rnn_layers,
        dropout=0.25,
    )
    stack: Any = StackedNetwork(networks)
    seen: list[tuple[Tensor, Tensor]] = []
    for dropout in stack.dropouts:
        dropout.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    stack(torch.randn(2, 8, 3, 1))
    assert len(seen) == n_rnn_layers
    for before, after in seen:
        kept = after != 0
        assert (~kept).float().mean().item() == pytest.approx(0.25, abs=0.03)
        torch.testing.assert_close(after[kept], before[kept] / 0.75)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"patch_length": 2}, "patch_length: 2, not 1"),
        ({"mask_inputs": True}, "mask_inputs: True, not False"),
        ({"output_chunk_length": 5}, "output_chunk_length: 5, not 4"),
        ({"output_dim": 2}, "output_dim: 2, not 1"),
        ({"n_rnn_layers": 2}, "dropout"),
        ({"dropout": 0.5}, "dropout"),
        ({"future_dim": 1}, "future_head.0.weight: .* not None"),
        ({"static_dim": 1}, "layers.0.weight_ih_l0"),
        ({"with_skip": True}, "skip.coefficients"),
    ],
)
def test_the_error_names_the_difference(change: dict[str, Any], complaint: str) -> None:
    sizes: Any = {"past_dim": 1, "output_chunk_length": 4, "output_dim": 1, "hidden_dim": 6}
    networks = [*_networks(2, **sizes), *_networks(1, **sizes | change)]
    with pytest.raises(ValueError, match=rf"`networks\[2\]` differs .* in {complaint}"):
        StackedNetwork(networks)


def test_other_types_and_frozen_weights_cannot_be_stacked() -> None:
    sizes: Any = {"past_dim": 1, "output_chunk_length": 4, "output_dim": 1}
    networks = _networks(2, **sizes)
    networks[1].head.bias.requires_grad_(False)
    with pytest.raises(ValueError, match=r"head.bias.*not trained"):
        StackedNetwork(networks)
    with pytest.raises(ValueError, match="float64"):
        StackedNetwork([_networks(1, **sizes)[0], _networks(1, **sizes)[0].double()])
    with pytest.raises(ValueError, match="`networks` is empty"):
        StackedNetwork([])
