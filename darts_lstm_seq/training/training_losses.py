"""Losses of several training batches, where what needs no weights is computed for all at once.

Normalisation, features and the search for missing values take as long for one batch as for fifty,
and on a GPU each check of a value waits for it: here there is one check for all batches, and none
between two steps. Equal to `LSTMSeqModule.training_step`, batch by batch.

Source: our own.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from darts.utils.data.torch_datasets.utils import ModuleStage, PLModuleOutput, TorchTrainingBatch
from darts.utils.likelihood_models.torch import DirichletLikelihood
from torch import Tensor

from darts_lstm_seq.batching.batches import concatenate, move_batch
from darts_lstm_seq.nn.imputation import impute
from darts_lstm_seq.training.module import LSTMSeqModule, float_dtype

# B batch, L input steps, T output steps, C target components, P likelihood parameters,
# F past features, D future covariates, S static features, N known labels


class _Step(NamedTuple):
    """What the network reads in one step, and the labels on the scale of the loss."""

    past: Tensor  # (B, L, F)
    missing: Tensor  # (B, L, F)
    future: Tensor | None  # (B, T, D)
    static: Tensor | None  # (B, S)
    label: Tensor  # (B, T, C)
    weight: Tensor | None  # (B, T, C or 1)
    known: Tensor | None = None  # positions of the known labels (N,); `None` if all are known


def _step(parts: Iterable[Any]) -> _Step:
    return _Step(*parts)


def training_losses(
    module: LSTMSeqModule, batches: Sequence[TorchTrainingBatch]
) -> Iterator[Tensor]:
    """Yield the loss of each batch, with the weights of the moment it is asked for.

    Parameters
    ----------
    module
        The module in training; it keeps the last loss over known labels.
    batches
        The batches, on any device.
    """
    if not is_separable(module):
        for batch in (move_batch(batch, module.device) for batch in batches):
            loss, _, label = module.loss_of_batch(batch, ModuleStage.TRAIN, module.train_criterion)
            module.keep_loss(loss, n_known=int((~torch.isnan(label)).sum()))
            yield loss
        return
    sizes = [len(batch.past_target) for batch in batches]
    whole = _prepare(module, concatenate(batches))
    rows = [size * module.n_targets for size in sizes] if module.shared_weights else sizes
    columns: list[Sequence[Any]] = [
        [None] * len(sizes) if x is None else x.split(lengths)
        for x, lengths in zip(whole, (rows, rows, rows, rows, sizes, sizes), strict=False)
    ]
    known = _known_positions(whole.label, sizes)
    for *parts, positions in zip(*columns, known, strict=True):
        yield _loss(module, _step([*parts, positions]))


class PreparedWindows:
    """All training windows, normalised once for the whole training.

    Parameters
    ----------
    module
        The module in training, see `is_separable`.
    windows
        What `_prepare` makes of all windows, with no label missing.
    """

    def __init__(self, module: LSTMSeqModule, windows: _Step) -> None:
        self._module = module
        if module.shared_weights:  # rows of a window next to each other: (B, C, ...)
            n = module.n_targets
            rows = [None if x is None else x.unflatten(0, (-1, n)) for x in windows[:4]]
            windows = _step([*rows, *windows[4:]])
        self._windows = windows

    @classmethod
    def of(cls, module: LSTMSeqModule, windows: TorchTrainingBatch) -> "PreparedWindows | None":
        """Return windows that are prepared, or `None` if labels are missing.

        Parameters
        ----------
        module
            The module in training.
        windows
            All windows as one batch, on any device.
        """
        prepared = _prepare(module, windows)
        return None if torch.isnan(prepared.label).any() else cls(module, prepared)

    def losses(self, order: Tensor, batch_size: int) -> Iterator[Tensor]:
        """Yield the loss of each batch of an epoch, with the weights of the moment.

        Parameters
        ----------
        order
            Indices of the windows of the epoch.
        batch_size
            Number of windows in a batch.
        """
        for indices in order.to(self._windows.label.device).split(batch_size):
            step = _step(None if x is None else x[indices] for x in self._windows)
            if self._module.shared_weights:
                rows = [None if x is None else x.flatten(0, 1) for x in step[:4]]
                step = _step([*rows, *step[4:]])
            yield _loss(self._module, step)


def is_separable(module: LSTMSeqModule) -> bool:
    """Tell whether what is done to a batch before the network is the same with any weights."""
    if module.n_members > 1 or isinstance(module.likelihood, DirichletLikelihood):
        return False
    return module.rin is None or (module.loss_norm is not None and not module.rin.affine)


@torch.no_grad()
def _prepare(module: LSTMSeqModule, batch: TorchTrainingBatch) -> _Step:
    """Return what the network reads and its labels, without the positions of those known."""
    batch = move_batch(batch, module.device)
    x_in = batch.to_module_input(stage=ModuleStage.TRAIN)
    label = batch.future_target.to(float_dtype(x_in.past_target))
    if module.rin is not None:
        x_in = x_in.replace(past_target=module.rin(x_in.past_target))
        label = module.normalized_label(batch).to(module.dtype)
    past, future, static = module.features(x_in, module.dtype)
    return _Step(*impute(past), future, static, label, batch.sample_weight)


def _known_positions(label: Tensor, sizes: Sequence[int]) -> list[Tensor | None]:
    """Return where the labels `(_, T, C)` of each step are known, `None` where all are.

    Positions count within a step. A GPU is waited for twice, however many steps there are.
    """
    known = ~torch.isnan(label)
    if known.all():
        return [None] * len(sizes)
    positions = known.flatten().nonzero().squeeze(1)
    ends = torch.tensor(sizes).cumsum(0) * label[0].numel()
    last = torch.searchsorted(positions, ends.to(positions.device)).tolist()
    found: list[Tensor | None] = []
    for start, end, first, stop in zip(
        [0, *ends.tolist()], ends.tolist(), [0, *last], last, strict=False
    ):
        is_complete = stop - first == end - start
        found.append(None if is_complete else positions[first:stop] - start)
    return found


def _loss(module: LSTMSeqModule, step: _Step) -> Tensor:
    forecast = module.network.forward_imputed(step.past, step.missing, step.future, step.static)
    label, weight = step.label, step.weight
    prediction = module.by_component(forecast).to(label.dtype)  # (B, T, C, P)
    if step.known is not None:
        if not len(step.known):
            return (prediction * 0.0).sum()
        if weight is not None:
            weight = weight.expand_as(label).flatten()[step.known].view(-1, 1, 1)
        prediction = prediction.flatten(0, 2)[step.known][:, None, None]  # (N, 1, 1, P)
        label = label.flatten()[step.known].view(-1, 1, 1)
    output = PLModuleOutput(prediction=prediction)
    loss = module.loss_of_known(output, label, module.train_criterion, weight)
    module.keep_loss(loss, label.numel())
    return loss
