"""A training that is prepared but not run: network, windows in their order, number of steps.

`stack.py` runs several of them together; which ones may share a stack follows from their
`structure`.

Source: our own; the order of batches is that of PyTorch's `DataLoader` and `RandomSampler`.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import torch
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from torch import Tensor, nn

from darts_lstm_seq.batching.batches import draw_batch, tensors_of
from darts_lstm_seq.batching.datasets import BatchTrainingDataset
from darts_lstm_seq.batching.sampler import CompactRandomSampler
from darts_lstm_seq.nn.network import LSTMSeqNetwork
from darts_lstm_seq.nn.stacked import structure
from darts_lstm_seq.training.module import LSTMSeqModule
from darts_lstm_seq.training.optimization import cosine_factor

# B rows of a batch

# arguments of the optimiser that each network of a stack may have for itself
_PER_NETWORK = ("lr", "weight_decay")


@dataclass
class Training:
    """A network and everything that its training needs.

    Parameters
    ----------
    module
        The initialised module; `train` changes the weights of its network.
    dataset
        Its training windows.
    batch_size
        Batch size; the last batch of an epoch may be smaller.
    n_epochs
        Number of epochs.

    Attributes
    ----------
    error
        Why the training failed, once it was run; `None` if it did not.
    """

    module: LSTMSeqModule
    dataset: BatchTrainingDataset
    batch_size: int
    n_epochs: int
    error: Exception | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.batch_size = min(self.batch_size, len(self.dataset))
        # drawn here, in the random state in which `Trainer.fit` would start
        self.orders = torch.stack([self._draw_order() for _ in range(self.n_epochs)])

    def _draw_order(self) -> Tensor:
        torch.empty((), dtype=torch.int64).random_()  # the seed of a `DataLoader`
        return CompactRandomSampler(self.dataset).draw_order().to(torch.int32)

    @cached_property
    def structure(self) -> str:
        """Everything that must be equal in a stack, as a string to sort by."""
        module, windows = self.module, tensors_of(draw_batch(self.dataset, [0]))
        parts = {
            **structure(cast(LSTMSeqNetwork, module.network)),
            "windows": {name: (tuple(x.shape[1:]), x.dtype) for name, x in windows.items()},
            "shared_weights": module.shared_weights,
            "normalization": None if module.rin is None else module.rin.eps,
            "likelihood": settings_of(module.likelihood),
            "loss": None if module.likelihood else settings_of(module.train_criterion),
            "optimizer": (module.optimizer_cls, self._shared_optimizer_kwargs),
        }
        return str(parts)

    @property
    def _shared_optimizer_kwargs(self) -> dict[str, Any]:
        kwargs = self.module.optimizer_kwargs
        # the sign of a weight decay would depend on `maximize`
        own = ("lr",) if kwargs.get("maximize") else _PER_NETWORK
        return {name: value for name, value in sorted(kwargs.items()) if name not in own}

    @cached_property
    def optimizer_defaults(self) -> dict[str, float]:
        """All arguments of the optimiser, those that the user left out, too.

        Raises
        ------
        ValueError
            If the optimiser or the scheduler cannot be created.
        """
        configured = PLForecastingModule.configure_optimizers(self.module)
        optimizer = configured[0][0] if isinstance(configured, tuple) else configured
        return optimizer.defaults

    @property
    def hidden_dim(self) -> int:
        """Number of hidden units."""
        return cast(LSTMSeqNetwork, self.module.network).hidden_dim

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimiser steps per epoch."""
        return -(-len(self.dataset) // self.batch_size)

    @property
    def n_steps(self) -> int:
        """Number of optimiser steps of the whole training."""
        return self.n_epochs * self.steps_per_epoch

    @cached_property
    def size(self) -> int:
        """Number of bytes of its materialised windows and of their order."""
        window = sum(x.nbytes for x in tensors_of(draw_batch(self.dataset, [0])).values())
        return window * len(self.dataset) + 8 * self.n_steps * self.batch_size

    def batches(self) -> Tensor:
        """Return the indices of the windows of each step `(steps, B)`; -1 is padding."""
        padding = self.steps_per_epoch * self.batch_size - len(self.dataset)
        padded = nn.functional.pad(self.orders, (0, padding), value=-1)
        return padded.view(self.n_steps, self.batch_size).long()

    @cached_property
    def lr_factors(self) -> Tensor:
        """Return the learning rate of each step, relative to the optimiser's, `(steps,)`."""
        module, n_steps = self.module, self.n_steps
        if module.lr_scheduler_cls is None:
            steps = range(n_steps)
            factors = [cosine_factor(step, n_steps) if module.anneal_lr else 1.0 for step in steps]
            return torch.tensor(factors, dtype=torch.double)
        (optimizer,), settings = PLForecastingModule.configure_optimizers(module)
        rates = []
        for _ in range(self.n_epochs):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()  # changes no weight, as there are no gradients
            settings["scheduler"].step()
        first = float(self.optimizer_defaults["lr"]) or 1.0
        of_epochs = torch.tensor(rates, dtype=torch.double) / first  # (epochs,)
        return of_epochs.repeat_interleave(self.steps_per_epoch)


def settings_of(value: Any) -> tuple[str, list[tuple[str, Any]]]:
    """Return the class and the plain attributes of a loss or a likelihood, to compare it by."""
    plain = (bool, int, float, str, list, tuple, type(None))
    values = getattr(value, "__dict__", {})
    kept = {k: v for k, v in values.items() if isinstance(v, plain) and k != "training"}
    return type(value).__qualname__, sorted(kept.items(), key=lambda item: item[0])
