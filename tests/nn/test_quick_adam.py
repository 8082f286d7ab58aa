"""Adam without checks: step for step that of PyTorch."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, NAdam

from darts_lstm_seq.nn.optim import QuickAdam


def weights() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape)) for shape in ((), (1,), (3, 2), (4, 3, 2))]


def set_gradients(parameters: list[nn.Parameter], step: int) -> None:
    torch.manual_seed(step)
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)


@pytest.mark.parametrize("optimizer_cls", [Adam, AdamW])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("n_reduced", [0, 1, 4])
def test_steps_are_pytorchs(
    optimizer_cls: type[Any], decay: float, maximize: bool, n_reduced: int
) -> None:
    kwargs = {"lr": 0.1, "weight_decay": decay, "maximize": maximize, "fused": True}
    ours, pytorchs = weights(), weights()
    optimizer = optimizer_cls(ours, **kwargs)
    groups = [
        {"params": group, "lr": rate}
        for group, rate in ((pytorchs[n_reduced:], 0.1), (pytorchs[:n_reduced], 0.1 * 0.25))
        if group
    ]
    reference = optimizer_cls(groups, **kwargs)
    for parameter in ours:  # without a state yet
        assert not optimizer.state[parameter]
    set_gradients(ours, 0), set_gradients(pytorchs, 0)
    for group in reference.param_groups:
        group["lr"] = 0.0
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step(), reference.step()
    quick = QuickAdam(optimizer, ours[:n_reduced], 0.25)
    for step in range(1, 6):
        rate = 0.1 / step  # a schedule
        optimizer.param_groups[0]["lr"] = rate
        for group in reference.param_groups:
            is_reduced = n_reduced and group["params"][0] is pytorchs[0]
            group["lr"] = rate / 4 if is_reduced else rate
        set_gradients(ours, step), set_gradients(pytorchs, step)
        quick.step(), reference.step()
        torch.testing.assert_close(ours, pytorchs, rtol=1e-6, atol=1e-7)
    states: list[list[dict[str, Tensor]]] = [
        [used.state[p] for p in parameters]
        for used, parameters in ((optimizer, ours), (reference, pytorchs))
    ]
    torch.testing.assert_close(*states)


@pytest.mark.parametrize(
    ("optimizer_cls", "kwargs"),
    [
        (Adam, {"fused": False}),
        (Adam, {"fused": True, "amsgrad": True}),
        (SGD, {}),
        (NAdam, {}),
        (type("Own", (Adam,), {}), {"fused": True}),
    ],
)
def test_others_are_left_to_pytorch(optimizer_cls: type[Any], kwargs: dict[str, Any]) -> None:
    parameters = weights()
    optimizer = optimizer_cls(parameters, lr=0.1, **kwargs)
    set_gradients(parameters, 0)
    optimizer.step()
    assert not QuickAdam.supports(optimizer)


def test_the_first_step_is_left_to_pytorch() -> None:
    parameters = weights()
    optimizer = Adam(parameters, fused=True)
    assert not QuickAdam.supports(optimizer)
    set_gradients(parameters[1:], 0)
    optimizer.step()
    assert not QuickAdam.supports(optimizer)  # one parameter had no gradient
    set_gradients(parameters, 0)
    optimizer.step()
    assert QuickAdam.supports(optimizer)
