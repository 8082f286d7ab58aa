"""Train several prepared networks as one stack, in Lightning's `Trainer`.

Each network keeps its own windows, batches, number of steps, dropout rate, learning rates and
weight decay; `nn/stacked.py` computes them together. Normalisation, likelihood and loss are those
of an ordinary `LSTMSeqModule`: a copy of the first module, the shared module, whose network and
buffers are replaced by stacks. Which networks are trained together is decided by the caller.

Source: our own.
"""

import copy
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytorch_lightning as pl
import torch
from darts.utils.data.torch_datasets.utils import (
    ModuleStage,
    PLModuleOutput,
    TorchTrainingBatch,
)
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm.auto import tqdm
from typing_extensions import override

from darts_lstm_seq.batching.batches import concatenate, draw_batch, tensors_of
from darts_lstm_seq.nn.network import LSTMSeqNetwork
from darts_lstm_seq.nn.optim import (
    PerNetworkLearningRate,
    clip_grad_norm_per_network,
    decay_weights_per_network,
)
from darts_lstm_seq.nn.stacked import StackedNetwork
from darts_lstm_seq.training.masked_loss import per_network_weights
from darts_lstm_seq.training.module import LSTMSeqModule
from darts_lstm_seq.training.optimization import check_finite, quick_steps, with_fused_kernels
from darts_lstm_seq.training.prepared import Training
from darts_lstm_seq.training.training_losses import PreparedWindows, is_separable

# batched products of small matrices take longer with rows in between, up to three times
# (`benchmarks/bench_stacks.py`)
_MIN_ROWS, _ROW_MULTIPLE = 16, 8

# K stacked networks, B batch, W windows of all networks, T output steps, C target components


def train(
    trainings: Sequence[Training], trainer_params: dict[str, Any], show_progress: bool
) -> None:
    """Train networks as one stack and write the weights back into their modules.

    Parameters
    ----------
    trainings
        Networks of equal `structure`, with their training data. Those that diverge have an `error`.
    trainer_params
        Parameters of Lightning's `Trainer`.
    show_progress
        Whether to show a progress bar of the epochs of all networks.

    Raises
    ------
    ValueError
        If the networks differ in structure, or an optimiser or scheduler cannot be created.
    """
    # networks with fewer steps come last, so that those still in training are the first ones
    trainings = sorted(trainings, key=lambda training: training.n_steps, reverse=True)
    overrides = {
        "logger": False,
        "callbacks": None,
        "max_epochs": 1,  # with all steps of all networks
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "enable_progress_bar": False,
    }
    trainer = pl.Trainer(**trainer_params | overrides)
    clipping = trainer.gradient_clip_val, trainer.gradient_clip_algorithm
    trainer.gradient_clip_val = trainer.gradient_clip_algorithm = None  # done here
    for training in trainings:
        # before stacking, as a network rounded twice would have other weights
        trainer.precision_plugin.convert_module(training.module)
    batches = _StackBatches(trainings, trainer.precision_plugin.convert_input)
    total = sum(training.n_epochs for training in trainings)
    with tqdm(total=total, desc="Training", unit="epoch", disable=not show_progress) as bar:
        stack = _StackModule(trainings, batches, clipping, bar)
        with _keyboard_interrupt():
            trainer.fit(stack, [0])  # one batch for Lightning, whose hooks take a ms each time
    stack.unstack()


@contextmanager
def _keyboard_interrupt() -> Iterator[None]:
    """Let an interrupt be one: Lightning ignores further ones and ends the process."""
    try:
        yield
    except SystemExit as end:
        if not isinstance(end.__context__, KeyboardInterrupt):
            raise
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt from None


class _StackBatches:
    """The windows of each step: of all networks still in training, grouped by network."""

    def __init__(self, trainings: Sequence[Training], convert: Callable[[Any], Any]) -> None:
        datasets = [training.dataset for training in trainings]
        windows = [convert(draw_batch(data, list(range(len(data))))) for data in datasets]
        modules = [training.module for training in trainings]
        self.prepared: PreparedWindows | None = None
        self._windows: dict[str, Tensor] = {}
        if all(map(is_separable, modules)):
            first, *others = map(PreparedWindows, modules, windows)
            first.join(others)
            self.prepared = first
        else:
            self._windows = tensors_of(concatenate(windows))
        counts = torch.tensor([len(data) for data in datasets])  # (K,)
        first_rows = counts.cumsum(0) - counts  # (K,)
        size = max(training.batch_size for training in trainings)
        self._indices = []  # (steps, B) for each network
        for training, start in zip(trainings, first_rows, strict=True):
            indices = nn.functional.pad(
                training.batches(), (0, size - training.batch_size), value=-1
            )
            self._indices.append(torch.where(indices < 0, -1, indices + start))

    def __len__(self) -> int:
        return len(self._indices[0])

    def to(self, device: torch.device) -> None:
        """Move all windows."""
        self._windows = {name: x.to(device) for name, x in self._windows.items()}
        if self.prepared is not None:
            self.prepared.to(device)

    def rows(self) -> Iterator[Tensor]:
        """Yield the windows of each step, `(K, B)`; -1 is padding.

        B is the size of the largest batch of the step, rounded up.
        """
        for step in range(len(self)):
            rows = torch.stack([of[step] for of in self._indices if step < len(of)])
            largest = int((rows >= 0).sum(dim=1).max())  # padding is at the end
            size = max(_MIN_ROWS, -(-largest // _ROW_MULTIPLE) * _ROW_MULTIPLE)
            yield nn.functional.pad(rows[:, :largest], (0, size - largest), value=-1)

    def select(self, rows: Tensor) -> TorchTrainingBatch:
        """Return the windows of a step as a batch."""
        batch = {name: x[rows] for name, x in self._windows.items()}
        batch["future_target"][rows < 0] = torch.nan  # padding has no labels
        return TorchTrainingBatch(**batch)


class _StackModule(pl.LightningModule):
    """The Lightning module around a stack, which runs all steps itself."""

    def __init__(
        self,
        trainings: Sequence[Training],
        batches: _StackBatches,
        clipping: tuple[float | None, str | None],
        bar: tqdm,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self._trainings, self._batches, self._bar = trainings, batches, bar
        self._clip_val, self._clip_algorithm = clipping
        modules = [training.module for training in trainings]
        self.stack = StackedNetwork([cast(LSTMSeqNetwork, module.network) for module in modules])
        self._flat_network = _FlatNetwork(self.stack)
        self.shared_module = _shared_module(modules[0], self._flat_network)
        # scales computed from the training windows of each network: (K, features) by name
        self._scales = {
            name: torch.stack([module.get_buffer(name) for module in modules])
            for name, _ in modules[0].named_buffers()
            if not name.startswith("network.")
        }
        self._selected = 0, 0
        prepared = batches.prepared
        self._is_complete = prepared is not None and prepared.is_complete()
        # 0 after the last step of a network
        self._lr_factors = torch.zeros(
            len(trainings), trainings[0].n_steps, dtype=torch.double
        )  # (K, steps)
        for row, training in zip(self._lr_factors, trainings, strict=True):
            row[: training.n_steps] = training.lr_factors
        rates = [float(training.optimizer_defaults["lr"]) for training in trainings]
        # the optimiser's, of whose steps each network takes a part; one that is too large to be
        # trained with must not make those of the others overflow
        self._lr = min(max(rates), 1.0)
        self._lr_factors *= torch.tensor(
            [[rate / (self._lr or 1.0)] for rate in rates], dtype=torch.double
        )
        decays = [float(t.optimizer_defaults.get("weight_decay", 0.0)) for t in trainings]
        # the optimiser's own weight decay is the same for all networks
        self._decays = torch.tensor(decays) if len(set(decays)) > 1 else None  # (K,)

    @override
    def training_step(self, _: Any, batch_idx: int) -> None:
        """Run the whole training."""
        optimizer = cast(Optimizer, self.optimizers(use_pl_optimizer=False))
        parameters = list(self.stack.parameters())
        make_steps = quick_steps(optimizer)
        self._batches.to(self.device)
        for step, rows in enumerate(self._batches.rows()):
            for parameter in parameters:
                parameter.grad = None
            self._loss(rows).backward()
            for learning_rate, _ in self._learning_rates:
                learning_rate.snapshot()
            self._clip_and_decay(optimizer)
            next(make_steps)
            for learning_rate, factors in self._learning_rates:
                learning_rate.apply(factors[:, step])
            self._count_epochs(step)

    def _loss(self, rows: Tensor) -> Tensor:
        """Return the mean loss of each network over its own known labels, summed over networks.

        Parameters
        ----------
        rows
            The windows of each network `(K, B)`; -1 is padding.
        """
        n_running, size = rows.shape
        shared, windows = self.shared_module, self._batches.prepared
        if windows is None:
            self._select_networks(n_running, size)
            batch = self._batches.select(rows.flatten().to(self.device))
            output, label = shared.forecast_and_label(batch, ModuleStage.TRAIN)
            sample_weight = batch.sample_weight
        else:
            is_padding = (rows < 0).flatten()  # (KB,), on the CPU
            inputs = windows.select(rows.flatten().to(self.device, non_blocking=True))
            forecast = self.stack.forward_imputed(n_running, *inputs[:4])
            label, sample_weight = inputs.label, inputs.weight
            output = PLModuleOutput(prediction=shared.by_component(forecast).to(label.dtype))
            if self._is_complete:
                weight = _weights_of_rows(rows).to(label, non_blocking=True)  # (KB, 1, 1)
                weight = weight if sample_weight is None else weight * sample_weight
                weight = weight.expand_as(label)
                return shared.loss_of_known(output, label, shared.train_criterion, weight)
            label[is_padding.to(self.device)] = torch.nan
        weight = per_network_weights(label, n_running, output.prediction.dtype)  # (KB, 1, 1)
        if sample_weight is not None:
            weight = weight * sample_weight  # (KB, T, C or 1)
        return shared._compute_loss(output, label, shared.train_criterion, weight.expand_as(label))

    def _select_networks(self, n_running: int, size: int) -> None:
        """Prepare for batches of the first `n_running` networks, of `size` windows each."""
        if (n_running, size) == self._selected:
            return
        self._selected = n_running, size
        self._flat_network.n_running = n_running
        for name, scales in self._scales.items():
            rows = scales[:n_running].repeat_interleave(size, dim=0)  # (KB, _)
            owner, _, buffer = name.rpartition(".")
            parent = self.shared_module.get_submodule(owner)
            setattr(parent, buffer, rows.unsqueeze(1).to(self.device))  # (KB, 1, _)

    @override
    def configure_optimizers(self) -> Optimizer:
        shared = self.shared_module
        chosen = {**shared.optimizer_kwargs, "lr": self._lr}
        if self._decays is not None:
            chosen["weight_decay"] = 0.0
        kwargs = with_fused_kernels(shared.optimizer_cls, chosen, self.trainer.precision)
        parameters = list(self.stack.parameters())
        reduced = self.stack.reduced_lr_parameters()
        ids = {id(parameter) for parameter in reduced}
        others = [parameter for parameter in parameters if id(parameter) not in ids]
        multipliers = [[training.module.lr_multiplier] for training in self._trainings]  # (K, 1)
        factors = self._lr_factors.to(self.device)
        reduced_factors = factors * torch.tensor(multipliers, device=self.device)
        self._learning_rates = [
            (PerNetworkLearningRate(others), factors),
            (PerNetworkLearningRate(reduced), reduced_factors),
        ]
        return shared.optimizer_cls(parameters, **kwargs)

    def _clip_and_decay(self, optimizer: Optimizer) -> None:
        """Clip the gradients of each network, and decay its weights if they differ in that."""
        parameters = list(self.stack.parameters())
        if self._clip_val and self._clip_algorithm == "value":
            nn.utils.clip_grad_value_(parameters, self._clip_val)  # elementwise
        elif self._clip_val:
            clip_grad_norm_per_network(parameters, self._clip_val)
        if self._decays is not None:
            is_decoupled = isinstance(optimizer, torch.optim.AdamW) or optimizer.defaults.get(
                "decoupled_weight_decay"
            )
            decay_weights_per_network(parameters, self._decays, self._lr if is_decoupled else None)

    def _count_epochs(self, step: int) -> None:
        ended = [
            training
            for training in self._trainings
            if step < training.n_steps and (step + 1) % training.steps_per_epoch == 0
        ]
        if ended:
            self._bar.update(len(ended))

    def unstack(self) -> None:
        """Write the trained weights into the modules that they came from; note which are lost."""
        for index, training in enumerate(self._trainings):
            weights = [weight[index] for weight in self.stack.parameters()]
            # not the loss of the stack, which is NaN if any network has diverged
            loss = torch.stack([weight.sum() for weight in weights]).sum()
            try:
                check_finite(loss, weights, training.n_epochs - 1)
            except ValueError as error:
                training.error = error
            self.stack.unstack(index, cast(LSTMSeqNetwork, training.module.network))


def _weights_of_rows(rows: Tensor) -> Tensor:
    """Return weights that turn the mean over all rows into a sum of the means of each network.

    Parameters
    ----------
    rows
        The windows of each network `(K, B)`, all labels of which are known; -1 is padding.

    Returns
    -------
    Tensor
        `(KB, 1, 1)`, zero for padding.
    """
    is_window = rows >= 0
    weights = is_window * (rows.numel() / is_window.sum(dim=1, keepdim=True))  # (K, B)
    return weights.view(-1, 1, 1)


class _FlatNetwork(nn.Module):
    """A stack with the interface of `LSTMSeqNetwork`: rows of a batch are grouped by network."""

    def __init__(self, stack: StackedNetwork) -> None:
        super().__init__()
        self.stack = stack
        self.n_running = 0  # number of networks in a batch

    def forward(self, past: Tensor, future: Tensor | None, static: Tensor | None) -> Tensor:
        return self.stack.forward_flat(self.n_running, past, future, static)


def _shared_module(module: LSTMSeqModule, network: _FlatNetwork) -> LSTMSeqModule:
    """Copy a module, with another network."""
    shared = copy.deepcopy(module, {id(module.network): network})
    if shared.likelihood is None:
        shared.train_criterion.reduction = "none"  # so that each row can be weighted
    return shared
