"""Optimisation of a training: learning-rate schedule, lower rates, fused kernels, clipping.

For the module of one model (`module.py`) and for a stack of trainings (`stack.py`). Per-network
learning rates and clipping of stacked tensors are computed in `nn/optim.py`; which optimiser and
scheduler are used is the user's choice and made by Darts.

Source: the hooks of Lightning's `LightningModule`; the cosine schedule of Loshchilov and Hutter,
"SGDR: Stochastic Gradient Descent with Warm Restarts", https://arxiv.org/abs/1608.03983.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from typing_extensions import override

from darts_lstm_seq.compat import has_step_hooks
from darts_lstm_seq.nn.optim import QuickAdam, clip_grad_norm_per_network

# optimisers that PyTorch can run as one fused kernel
_FUSABLE = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)


def cosine_factor(step: int, n_steps: float) -> float:
    """Return the learning rate of a step, relative to the first: from 1 to 0 along a cosine."""
    return 0.5 * (1 + math.cos(math.pi * min(step / max(n_steps, 1), 1.0)))


def cosine_schedule(optimizer: Optimizer, n_steps: float) -> dict[str, Any]:
    """Return Lightning's configuration of a learning rate that falls to zero along a cosine.

    A `LambdaLR`, as PyTorch's `CosineAnnealingLR` restores `T_max` from a checkpoint and computes
    each rate from the last one: a finished training that is resumed for more epochs would start
    from a rate of zero and end at the full rate.

    Parameters
    ----------
    optimizer
        The optimiser whose learning rate is scheduled.
    n_steps
        Number of steps of the whole training; with infinity the rate is constant.
    """
    scheduler = LambdaLR(optimizer, partial(cosine_factor, n_steps=n_steps))
    return {"scheduler": scheduler, "interval": "step"}


@contextmanager
def reduced_learning_rate(
    optimizer: Any, parameters: Iterable[nn.Parameter], multiplier: float
) -> Iterator[None]:
    """Step some parameters with a lower learning rate, in a second parameter group.

    The group exists for one step, so that its rate is always a multiple of the rate that the user's
    scheduler has set (`OneCycleLR` or `lr_find` set one rate for all groups), and schedulers,
    callbacks and checkpoints see the one group that Darts has made.

    Parameters
    ----------
    optimizer
        An optimiser with one parameter group, or Lightning's wrapper around it.
    parameters
        Its parameters with a lower learning rate.
    multiplier
        Their learning rate, relative to the optimiser's.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.training.optimization import reduced_learning_rate
    >>> weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    >>> optimizer = torch.optim.SGD(weights, lr=1.0)
    >>> for weight in weights:
    ...     weight.grad = torch.full_like(weight, -8.0)
    >>> with reduced_learning_rate(optimizer, weights[1:], multiplier=0.5):
    ...     optimizer.step()
    >>> torch.cat(weights).detach()
    tensor([8., 4.])
    """
    groups = getattr(optimizer, "optimizer", optimizer).param_groups
    (group,) = groups
    all_parameters = group["params"]
    reduced = {id(parameter) for parameter in parameters}
    group["params"] = [p for p in all_parameters if id(p) not in reduced]
    reduced_parameters = [p for p in all_parameters if id(p) in reduced]
    groups.append({**group, "params": reduced_parameters, "lr": group["lr"] * multiplier})
    try:
        yield
    finally:
        groups.pop()
        group["params"] = all_parameters


def _rates_of_step(
    optimizer: Any, reduced: Sequence[nn.Parameter], multiplier: float
) -> AbstractContextManager[None]:
    return reduced_learning_rate(optimizer, reduced, multiplier) if reduced else nullcontext()


def quick_steps(
    optimizer: Optimizer, reduced: Sequence[nn.Parameter] = (), multiplier: float = 1.0
) -> Iterator[None]:
    """Make a step of an optimiser each time it is advanced, by the shortest way there is.

    Parameters
    ----------
    optimizer
        The optimiser, with one parameter group.
    reduced, multiplier
        Parameters with a lower learning rate, see `reduced_learning_rate`.
    """
    while has_step_hooks(optimizer) or not QuickAdam.supports(optimizer):
        with _rates_of_step(optimizer, reduced, multiplier):
            optimizer.step()
        yield
    quick = QuickAdam(optimizer, reduced, multiplier)
    while True:
        quick.step()
        yield


def with_fused_kernels(
    optimizer_cls: type[Optimizer], optimizer_kwargs: dict[str, Any], precision: str
) -> dict[str, Any]:
    """Add `fused=True` to the arguments of an optimiser, unless the user chose an implementation.

    The update of so small a network then takes a third of the time (`benchmarks/bench_fit.py`).

    Parameters
    ----------
    optimizer_cls, optimizer_kwargs
        Class and arguments of the optimiser.
    precision
        Lightning's precision. Mixed precision is left alone: Lightning cannot clip the gradients of
        fused optimisers there.
    """
    is_chosen = {"foreach", "fused", "differentiable"} & optimizer_kwargs.keys()
    if optimizer_cls in _FUSABLE and not is_chosen and precision in ("32-true", "64-true"):
        return {**optimizer_kwargs, "fused": True}
    return optimizer_kwargs


class Optimization(PLForecastingModule):
    """Lightning module with the optimiser, schedule and learning rates of one training."""

    network: Any
    n_members: int
    anneal_lr: bool
    lr_multiplier: float
    optimizer_kwargs: dict[str, Any]

    @override
    def configure_optimizers(self) -> Any:
        """Configure what the user chose, with fused kernels and, by default, a cosine schedule."""
        self.optimizer_kwargs = with_fused_kernels(
            self.optimizer_cls, self.optimizer_kwargs, self.trainer.precision
        )
        configured = super().configure_optimizers()
        if not self.anneal_lr or self.lr_scheduler_cls is not None:
            return configured
        schedule = cosine_schedule(configured, self.trainer.estimated_stepping_batches)
        return [configured], [schedule]

    @override
    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        """Take a step of the optimiser, in the low-data regime with a lower rate of the LSTM."""
        with _rates_of_step(optimizer, self._reduced_lr_parameters(), self.lr_multiplier):
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def _reduced_lr_parameters(self) -> list[nn.Parameter]:
        # LBFGS has one step size for all parameters
        if self.lr_multiplier == 1 or self.optimizer_cls is torch.optim.LBFGS:
            return []
        return self.network.reduced_lr_parameters()

    def quick_steps(self, optimizer: Optimizer) -> Iterator[None]:
        """Make a step as `optimizer_step` does each time it is advanced, from present gradients."""
        return quick_steps(optimizer, self._reduced_lr_parameters(), self.lr_multiplier)

    @override
    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient norm of each member of an ensemble, and of all other parameters."""
        if self.n_members == 1 or not gradient_clip_val or gradient_clip_algorithm == "value":
            super().configure_gradient_clipping(
                optimizer, gradient_clip_val, gradient_clip_algorithm
            )
            return
        members = list(self.network.parameters())
        clip_grad_norm_per_network(members, gradient_clip_val)
        ids = {id(parameter) for parameter in members}
        others = [parameter for parameter in self.parameters() if id(parameter) not in ids]
        nn.utils.clip_grad_norm_(others, gradient_clip_val)


def check_finite(loss: Tensor, weights: Iterable[Tensor], epoch: int) -> None:
    """Check that a training has not diverged.

    Raises
    ------
    ValueError
        If the loss or any weight is NaN or infinite.
    """
    if not all(torch.isfinite(tensor).all() for tensor in (loss, *weights)):
        raise ValueError(
            f"Training failed: weights are lost in epoch {epoch}, where "
            f"`train_loss` is {loss.item()}. Lower the learning rate "
            f"(`optimizer_kwargs={{'lr': ...}}`), set "
            f"`pl_trainer_kwargs={{'gradient_clip_val': 1.0}}`, or, if you train from your own "
            f"dataset, look for NaN or infinite values in it."
        )
