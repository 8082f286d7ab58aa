"""Optimisation: Adam's steps without checks; rate, decay and norm of each network of a stack.

PyTorch's optimisers and `clip_grad_norm_` treat a stacked tensor `(K, ...)` as one network. The
learning-rate schedules themselves are computed in the package `training`.

Source: our own; exact for elementwise optimisers.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

# K stacked networks


class PerNetworkLearningRate:
    """A learning-rate factor for each network of a stack, applied after the optimiser's step.

    Exact for elementwise optimisers whose step is proportional to the learning rate: SGD, Adam,
    AdamW, RMSprop and most others.

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
    >>> rates = PerNetworkLearningRate([weights])
    >>> rates.snapshot()
    >>> optimizer.step()
    >>> rates.apply(torch.tensor([1.0, 0.5, 0.0]))  # the last network has finished
    >>> weights.detach().flatten()
    tensor([8., 4., 0.])
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._current = [parameter.detach() for parameter in parameters]
        self._before = [torch.empty_like(parameter) for parameter in self._current]

    def snapshot(self) -> None:
        """Copy the parameters; call it before the optimiser's step."""
        torch._foreach_copy_(self._before, self._current)

    def apply(self, factors: Tensor) -> None:
        """Scale the step that each network has just taken; call it after the optimiser's step.

        Parameters
        ----------
        factors
            From 0 (undo the step) to 1 (keep the whole step), `(K,)`.
        """
        for before, current in zip(self._before, self._current, strict=True):
            factor = factors.view(-1, *[1] * (current.dim() - 1)).to(current)  # (K, 1, ...)
            torch.lerp(before, current, factor, out=current)  # exact for 0 and 1


def clip_grad_norm_per_network(parameters: Iterable[nn.Parameter], max_norm: float) -> None:
    """Clip the gradient norm of each network of a stack, as `clip_grad_norm_` does for one network.

    Parameters
    ----------
    parameters
        The stacked parameters, `(K, ...)` each.
    max_norm
        Largest norm of the gradient of one network.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.optim import clip_grad_norm_per_network
    >>> weights = torch.nn.Parameter(torch.zeros(2, 1))
    >>> weights.grad = torch.tensor([[8.0], [0.5]])
    >>> clip_grad_norm_per_network([weights], max_norm=1.0)
    >>> weights.grad.flatten()
    tensor([1.0000, 0.5000])
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    squares = torch.stack([gradient.flatten(1).square().sum(dim=1) for gradient in gradients])
    norms = squares.sum(dim=0).sqrt()  # (K,)
    factors = (max_norm / (norms + 1e-6)).clamp(max=1)  # the epsilon of `clip_grad_norm_`
    for gradient in gradients:
        gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))


def decay_weights_per_network(
    parameters: Iterable[nn.Parameter], decays: Tensor, lr: float | None
) -> None:
    """Decay the weights of each network; call it after the gradients, before the optimiser's step.

    The optimiser's own weight decay must be zero.

    Parameters
    ----------
    parameters
        The stacked parameters, `(K, ...)` each.
    decays
        Weight decay of each network, `(K,)`.
    lr
        Learning rate of an optimiser with decoupled weight decay, such as AdamW; `None` adds the
        decay to the gradients, as other optimisers do.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.optim import decay_weights_per_network
    >>> weights = torch.nn.Parameter(torch.full((2, 1), 8.0))
    >>> weights.grad = torch.zeros_like(weights)
    >>> decay_weights_per_network([weights], torch.tensor([0.0, 0.5]), lr=None)
    >>> weights.grad.flatten()
    tensor([0., 4.])
    """
    for parameter in parameters:
        if parameter.grad is not None:
            decay = decays.view(-1, *[1] * (parameter.dim() - 1)).to(parameter)  # (K, 1, ...)
            if lr is None:
                parameter.grad.addcmul_(decay, parameter.detach())
            else:
                parameter.data.mul_(1 - lr * decay)


class QuickAdam:
    """Steps of a fused Adam or AdamW equal to `optimizer.step()`, in a third of the time.

    PyTorch's method asks before each step whether a GPU records graphs, which takes longer than the
    step of a small network (`benchmarks/bench_fit.py`), and collects its lists anew.

    Parameters
    ----------
    optimizer
        The optimiser, with one parameter group.
    reduced, multiplier
        Parameters with a lower learning rate, and that rate relative to the optimiser's.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.optim import QuickAdam
    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = torch.optim.Adam([weight], lr=0.5, fused=True)
    >>> weight.grad = torch.ones(1)
    >>> optimizer.step()  # the first one makes the optimiser's state
    >>> QuickAdam(optimizer).step()
    >>> round(weight.item(), 4)
    -1.0
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        reduced: Iterable[nn.Parameter] = (),
        multiplier: float = 1.0,
    ) -> None:
        (self._group,) = optimizer.param_groups
        self._state = optimizer.state
        ids = {id(parameter) for parameter in reduced}
        parameters = self._group["params"]
        full = [parameter for parameter in parameters if id(parameter) not in ids]
        lower = [parameter for parameter in parameters if id(parameter) in ids]
        self._parts = [
            (part, self._lists(part), rate)
            for part, rate in ((full, 1.0), (lower, multiplier))
            if part
        ]

    def _lists(self, parameters: list[nn.Parameter]) -> list[list[Tensor]]:
        names = "exp_avg", "exp_avg_sq", "step"
        return [[self._state[parameter][name] for parameter in parameters] for name in names]

    @staticmethod
    def supports(optimizer: torch.optim.Optimizer) -> bool:
        """Tell whether an optimiser is a fused Adam that has made a step with all parameters.

        Each parameter has a gradient, too. Hooks of `optimizer.step()` are not looked for here.
        """
        if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW):
            return False
        (group,) = optimizer.param_groups
        is_plain = group["fused"] and not (group["amsgrad"] or group["capturable"])
        if not is_plain:
            return False
        return all(optimizer.state.get(p) and p.grad is not None for p in group["params"])

    @torch.no_grad()
    def step(self) -> None:
        """Make a step; all parameters have gradients."""
        group = self._group
        beta1, beta2 = group["betas"]
        kernel = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
        for parameters, (averages, squares, steps), rate in self._parts:
            torch._foreach_add_(steps, 1)
            kernel(
                parameters,
                [parameter.grad for parameter in parameters],
                averages,
                squares,
                [],
                steps,
                amsgrad=False,
                lr=group["lr"] * rate,
                beta1=beta1,
                beta2=beta2,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                maximize=group["maximize"],
            )
