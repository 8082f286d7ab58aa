"""Train prepared models as one stack, in Lightning's `Trainer`.

Each model keeps its own windows, order of batches, number of steps and learning rate; `stacked.py`
computes them together. The `LSTMSeqModule` of the first model serves all: its network and what it
learnt from training windows are replaced by stacks, so normalisation, likelihoods and losses are
the ordinary ones. Who is trained together, and why, is the caller's: `backtest.py`.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import pytorch_lightning as pl
import torch
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.utils.data.torch_datasets.utils import ModuleStage, TorchTrainingBatch
from torch import Tensor, nn
from tqdm.auto import tqdm

from darts_lstm_seq.batching.datasets import BatchTrainingDataset, draw_batch, tensors_of
from darts_lstm_seq.batching.sampler import CompactRandomSampler
from darts_lstm_seq.nn.network import LSTMSeqNetwork
from darts_lstm_seq.nn.optim import PerNetworkLearningRate
from darts_lstm_seq.nn.stacked import StackedNetwork, structure
from darts_lstm_seq.training.module import LSTMSeqModule, check_finite, cosine_factor
from darts_lstm_seq.training.optimization import PerNetworkClipping

# K stacked networks, B batch, W windows of all networks, T output steps, C target components

# treat each weight on its own, with steps in proportion to the learning rate
ELEMENTWISE = (
    torch.optim.Adagrad,
    torch.optim.Adam,
    torch.optim.Adamax,
    torch.optim.AdamW,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.SGD,
)
# the mean over the losses of single labels
LOSSES = (nn.HuberLoss, nn.L1Loss, nn.MSELoss, nn.SmoothL1Loss)
# change nothing but the learning rate, and by nothing but the epoch
SCHEDULERS = (
    torch.optim.lr_scheduler.ConstantLR,
    torch.optim.lr_scheduler.CosineAnnealingLR,
    torch.optim.lr_scheduler.CosineAnnealingWarmRestarts,
    torch.optim.lr_scheduler.ExponentialLR,
    torch.optim.lr_scheduler.LambdaLR,
    torch.optim.lr_scheduler.LinearLR,
    torch.optim.lr_scheduler.MultiplicativeLR,
    torch.optim.lr_scheduler.MultiStepLR,
    torch.optim.lr_scheduler.PolynomialLR,
    torch.optim.lr_scheduler.StepLR,
)


@dataclass
class Training:
    """One network, and all that its training needs.

    Parameters
    ----------
    module
        The module, prepared for training; `train` changes its network's weights.
    dataset
        Its training windows.
    batch_size
        Number of windows per step; the last step of an epoch takes what is left.
    n_epochs
        Number of epochs.
    """

    module: LSTMSeqModule
    dataset: BatchTrainingDataset
    batch_size: int
    n_epochs: int

    def __post_init__(self) -> None:
        # drawn here, in the random state in which the training alone would begin
        self.orders = torch.stack([self._draw_order() for _ in range(self.n_epochs)])

    def _draw_order(self) -> Tensor:
        torch.empty((), dtype=torch.int64).random_()  # as a `DataLoader` does for each epoch
        return CompactRandomSampler(self.dataset).draw_order().to(torch.int32)

    @cached_property
    def structure(self) -> str:
        """What must be equal in a stack, as a text to sort by."""
        return str(structure(cast(LSTMSeqNetwork, self.module.network)))

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
        """Number of bytes of all its windows side by side, and of their order."""
        window = sum(x.nbytes for x in tensors_of(draw_batch(self.dataset, [0])).values())
        return window * len(self.dataset) + 8 * self.n_steps * self.batch_size

    def batches(self) -> Tensor:
        """Return the numbers of the windows of each step `(steps, B)`; -1 where there is none."""
        spare = self.steps_per_epoch * self.batch_size - len(self.dataset)
        padded = nn.functional.pad(self.orders, (0, spare), value=-1)
        return padded.view(self.n_steps, self.batch_size).long()

    def rates(self) -> Tensor:
        """Return the learning rate of each step as a share of the optimiser's, `(steps,)`.

        Raises
        ------
        ValueError
            If the optimiser or the scheduler cannot be made.
        """
        module, n_steps = self.module, self.n_steps
        configured = PLForecastingModule.configure_optimizers(module)  # as the user has chosen
        if module.lr_scheduler_cls is None:
            shares = [cosine_factor(i, n_steps) if module.anneal_lr else 1 for i in range(n_steps)]
            return torch.tensor(shares, dtype=torch.double)
        (optimizer,), settings = configured
        rates = []
        for _ in range(self.n_epochs):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()  # without gradients no weight changes
            settings["scheduler"].step()
        first = float(optimizer.defaults["lr"]) or 1.0
        epochs = torch.tensor(rates, dtype=torch.double) / first
        return epochs.repeat_interleave(self.steps_per_epoch)


def train(
    trainings: Sequence[Training], trainer_params: dict[str, Any], show_progress: bool
) -> None:
    """Train networks together and write the weights back into their modules.

    Parameters
    ----------
    trainings
        What to train: networks of one structure, with equal settings.
    trainer_params
        Parameters of Lightning's `Trainer`.
    show_progress
        Whether to show a bar that counts the epochs of all networks.

    Raises
    ------
    ValueError
        If the networks differ in structure, or if a training diverges.
    """
    # those with the fewest steps drop out first, from the end
    trainings = sorted(trainings, key=lambda one: one.n_steps, reverse=True)
    batches = _StackBatches(trainings)
    own = {
        "logger": False,
        "callbacks": None,
        "max_epochs": 1,  # all steps of all networks
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "enable_progress_bar": False,
    }
    trainer = pl.Trainer(**trainer_params | own)
    for one in trainings:
        # before they are stacked: a network that is rounded twice forecasts something else
        trainer.precision_plugin.convert_module(one.module)
    total = sum(one.n_epochs for one in trainings)
    with tqdm(total=total, desc="Training", unit="epoch", disable=not show_progress) as bar:
        stack = _StackModule(trainings, bar)
        trainer.fit(stack, batches)
    stack.unstack()


class _StackBatches:
    """The batch of each step: the windows of all networks that still train, one after another."""

    def __init__(self, trainings: Sequence[Training]) -> None:
        counts = torch.tensor([len(one.dataset) for one in trainings])  # (K,)
        whole = [
            tensors_of(draw_batch(one.dataset, list(range(len(one.dataset))))) for one in trainings
        ]
        self._windows = {
            name: torch.cat([tensors[name] for tensors in whole]) for name in whole[0]
        }  # (W, ...) each
        first = counts.cumsum(0) - counts  # (K,)
        self._batches = [
            torch.where(numbers < 0, -1, numbers + start)  # (steps, B)
            for numbers, start in zip((one.batches() for one in trainings), first, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._batches[0])

    def __iter__(self) -> Iterator[TorchTrainingBatch]:
        for step in range(len(self)):
            numbers = [one[step] for one in self._batches if step < len(one)]
            rows = torch.cat(numbers)  # (KB,)
            batch = {name: x[rows] for name, x in self._windows.items()}
            # what fills up a batch has no labels
            batch["future_target"][rows < 0] = torch.nan
            yield TorchTrainingBatch(**batch)


class _StackModule(PerNetworkClipping, pl.LightningModule):
    """The Lightning module around a stack."""

    def __init__(self, trainings: Sequence[Training], bar: tqdm) -> None:
        super().__init__()
        self._trainings, self._bar = trainings, bar
        modules = [one.module for one in trainings]
        self.stack = StackedNetwork([cast(LSTMSeqNetwork, module.network) for module in modules])
        self._rows = _StackAsNetwork(self.stack)
        self.lead = _shared_module(modules[0], self._rows)
        # what was learnt from each network's training windows: (K, features) by owner and name
        self._learnt = {
            (part, name): torch.stack([getattr(module, part)._buffers[name] for module in modules])
            for part in ("rin", "past_scaler", "future_scaler", "static_scaler")
            if getattr(self.lead, part) is not None
            for name in getattr(self.lead, part)._buffers
        }
        self._count = 0
        ends = torch.tensor([one.n_steps for one in trainings])
        self._rates = torch.zeros(len(trainings), int(ends.max()), dtype=torch.double)  # (K, steps)
        for row, one in zip(self._rates, trainings, strict=True):
            row[: one.n_steps] = one.rates()
        self._batch_size = trainings[0].batch_size

    def transfer_batch_to_device(self, *args: Any) -> Any:
        return self.lead.transfer_batch_to_device(*args)

    def training_step(self, batch: TorchTrainingBatch, _: int) -> Tensor:
        count = len(batch.past_target) // self._batch_size
        self._select_networks(count)
        output, label = self.lead.forecast_and_label(batch, ModuleStage.TRAIN)
        # the mean of each network over its own known labels, summed over the networks
        known = ~torch.isnan(label)  # (KB, T, C)
        counts = known.unflatten(0, (count, -1)).flatten(1).sum(dim=1)  # (K,)
        counts = counts.to(output.prediction)  # whole numbers would be divided in single precision
        shares = counts.sum() / counts.clamp(min=1)
        weight = shares.repeat_interleave(self._batch_size)[:, None, None]  # (KB, 1, 1)
        if batch.sample_weight is not None:
            weight = weight * batch.sample_weight
        loss = self.lead._compute_loss(
            output, label, self.lead.train_criterion, weight.expand_as(label)
        )
        self._last_loss = loss.detach()
        return loss

    def _select_networks(self, count: int) -> None:
        """Prepare for batches of the first `count` networks."""
        if count == self._count:
            return
        self._count = self._rows.count = count
        for (part, name), values in self._learnt.items():
            rows = values[:count].repeat_interleave(self._batch_size, dim=0)  # (KB, _)
            getattr(self.lead, part)._buffers[name] = rows.unsqueeze(1).to(self.device)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        kwargs = self.lead.choose_optimizer_kwargs(self.trainer.precision)
        optimizer = self.lead.optimizer_cls(self.stack.parameters(), **kwargs)
        slow = self.stack.reduced_lr_parameters()
        known = {id(one) for one in slow}
        others = [one for one in self.stack.parameters() if id(one) not in known]
        rates = self._rates.to(self.device)
        shares = [[one.module.lr_multiplier] for one in self._trainings]  # (K, 1)
        slow_rates = rates * torch.tensor(shares, device=self.device)
        self._shares = [
            (PerNetworkLearningRate(others), rates),
            (PerNetworkLearningRate(slow), slow_rates),
        ]
        return optimizer

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, closure: Any = None
    ) -> None:
        for shares, _ in self._shares:
            shares.remember()
        optimizer.step(closure=closure)
        for shares, rates in self._shares:
            shares.apply(rates[:, batch_idx])

    def stacked_parameters(self) -> Iterable[nn.Parameter]:
        return self.stack.parameters()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        ended = [
            one
            for one in self._trainings
            if batch_idx < one.n_steps and (batch_idx + 1) % one.steps_per_epoch == 0
        ]
        if ended:
            self._bar.update(len(ended))
        if batch_idx + 1 == self._trainings[0].n_steps:
            check_finite(self._last_loss, self.stack.parameters(), ended[0].n_epochs - 1)

    def unstack(self) -> None:
        """Write the trained weights into the modules they came from."""
        for index, one in enumerate(self._trainings):
            self.stack.unstack(index, cast(LSTMSeqNetwork, one.module.network))


class _StackAsNetwork(nn.Module):
    """Stands in for an `LSTMSeqNetwork`: the rows of a batch belong to the networks in turn."""

    def __init__(self, stack: StackedNetwork) -> None:
        super().__init__()
        self.stack = stack
        self.count = 0  # of the networks in a batch

    def forward(self, past: Tensor, future: Tensor | None, static: Tensor | None) -> Tensor:
        return self.stack.run_rows(self.count, past, future, static)


def _shared_module(module: LSTMSeqModule, network: _StackAsNetwork) -> LSTMSeqModule:
    """Copy a module with another network in it."""
    lead = copy.deepcopy(module, {id(module.network): network})
    if lead.likelihood is None:
        lead.train_criterion.reduction = "none"  # for the weights of each row
    return lead
