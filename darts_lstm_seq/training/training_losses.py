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
from torch.nn.modules.module import _has_any_global_hook

from darts_lstm_seq.batching.batches import concatenate, move_batch
from darts_lstm_seq.nn.imputation import impute
from darts_lstm_seq.nn.network import LSTMSeqNetwork
from darts_lstm_seq.training.module import LSTMSeqModule, float_dtype

# B batch, L input steps, T output steps, C target components, P likelihood parameters,
# F past features, D future covariates, S static features, N known labels


class Inputs(NamedTuple):
    """What the network reads in one step or in several, and the labels on the scale of the loss."""

    past: Tensor  # (B, L, F)
    missing: Tensor  # (B, L, F)
    future: Tensor | None  # (B, T, D)
    static: Tensor | None  # (B, S)
    label: Tensor  # (B, T, C)
    weight: Tensor | None  # (B, T, C or 1)
    known: Tensor | None = None  # positions of the known labels (N,); `None` if all are known


# of an `nn.Module`, what acts when it is called
_CALL_ATTRIBUTES = (
    "_backward_hooks",
    "_backward_pre_hooks",
    "_compiled_call_impl",
    "_forward_hooks",
    "_forward_pre_hooks",
)
# rows of these are windows of a component where components share the weights
_N_FEATURES = 4


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
    for parts in zip(*columns, known, strict=True):
        yield loss_of_step(module, _inputs(parts))


class PreparedWindows:
    """Training windows that are normalised once for the whole training.

    Parameters
    ----------
    module
        A module in training, see `is_separable`.
    windows
        Its windows as one batch, on any device.
    """

    def __init__(self, module: LSTMSeqModule, windows: TorchTrainingBatch) -> None:
        prepared = _prepare(module, windows)
        self._is_split = module.shared_weights
        if self._is_split:  # rows of a window next to each other: (B, C, ...)
            n = module.n_targets
            rows = [None if x is None else x.unflatten(0, (-1, n)) for x in prepared[:_N_FEATURES]]
            prepared = _inputs([*rows, *prepared[_N_FEATURES:]])
        self._windows = prepared

    def is_complete(self) -> bool:
        """Tell whether all labels are known."""
        return not torch.isnan(self._windows.label).any()

    def join(self, others: Sequence["PreparedWindows"]) -> None:
        """Append the windows of other modules of the same structure."""
        columns: Any = zip(self._windows, *(other._windows for other in others), strict=True)
        self._windows = _inputs(None if xs[0] is None else torch.cat(xs) for xs in columns)

    def to(self, device: torch.device) -> None:
        """Move all windows."""
        self._windows = _inputs(None if x is None else x.to(device) for x in self._windows)

    def select(self, indices: Tensor) -> Inputs:
        """Return the windows of a batch, by their indices `(B,)`."""
        step = _inputs(None if x is None else x[indices] for x in self._windows)
        if not self._is_split:
            return step
        rows = [None if x is None else x.flatten(0, 1) for x in step[:_N_FEATURES]]
        return _inputs([*rows, *step[_N_FEATURES:]])


def _inputs(parts: Iterable[Any]) -> Inputs:
    return Inputs(*parts)


def is_separable(module: LSTMSeqModule) -> bool:
    """Tell whether what is done to a batch before the network is the same with any weights."""
    if module.n_members > 1 or isinstance(module.likelihood, DirichletLikelihood):
        return False
    if type(module.network) is not LSTMSeqNetwork or _calls_are_watched(module):
        return False
    return module.rin is None or (module.loss_norm is not None and not module.rin.affine)


def _calls_are_watched(module: LSTMSeqModule) -> bool:
    """Tell whether hooks of PyTorch, or a compiler, wait for a call that is left out here."""
    parts = (module, module.network, module.rin, module.features)
    called = [part for part in parts if part is not None]
    has_own = any(bool(getattr(part, name)) for part in called for name in _CALL_ATTRIBUTES)
    return has_own or _has_any_global_hook()


@torch.no_grad()
def _prepare(module: LSTMSeqModule, batch: TorchTrainingBatch) -> Inputs:
    """Return what the network reads and its labels, without the positions of those known."""
    batch = move_batch(batch, module.device)
    x_in = batch.to_module_input(stage=ModuleStage.TRAIN)
    label = batch.future_target.to(float_dtype(x_in.past_target))
    if module.rin is not None:
        x_in = x_in.replace(past_target=module.rin(x_in.past_target))
        label = module.normalized_label(batch).to(module.dtype)
    past, future, static = module.features(x_in, module.dtype)
    return Inputs(*impute(past), future, static, label, batch.sample_weight)


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


def loss_of_step(module: LSTMSeqModule, step: Inputs) -> Tensor:
    """Return the loss of a step, which the module keeps."""
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
