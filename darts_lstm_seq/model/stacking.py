"""Which trainings may share a stack, and fitting models together in as few stacks as possible.

The training of a stack is `training/stack.py`. Here models are prepared for it: `DeferredTrainer`
takes the place of Lightning's `Trainer` in Darts' `fit`, which so does everything but train. What
cannot be stacked is fitted one by one; the reason is logged (level DEBUG).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from darts.logging import get_logger
from darts.utils.likelihood_models.torch import DirichletLikelihood
from torch import nn

from darts_lstm_seq.batching.datasets import BatchTrainingDataset
from darts_lstm_seq.compat import TorchDataModule, has_prior
from darts_lstm_seq.training.module import LSTMSeqModule
from darts_lstm_seq.training.prepared import Training
from darts_lstm_seq.training.stack import train

if TYPE_CHECKING:
    from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel

logger = get_logger(__name__)

# optimisers that are elementwise, with steps proportional to the learning rate
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
# losses that are a mean over labels
LOSSES = (nn.HuberLoss, nn.L1Loss, nn.MSELoss, nn.SmoothL1Loss)
# schedulers that set only the learning rate, by nothing but the epoch
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

# trainer parameters that neither add hooks nor ask for more than one device
SINGLE_DEVICE_TRAINER_PARAMS = {
    "accelerator",
    "check_val_every_n_epoch",
    "deterministic",
    "devices",
    "enable_model_summary",
    "enable_progress_bar",
    "gradient_clip_algorithm",
    "gradient_clip_val",
    "log_every_n_steps",
    "max_epochs",
    "precision",
}
# these may be given, but ask for nothing
_FALSY_TRAINER_PARAMS = ("callbacks", "enable_checkpointing", "logger")
_PRECISIONS = (32, 64, "32", "64", "32-true", "64-true")
_FIT_ARGUMENTS = {
    "series",
    "past_covariates",
    "future_covariates",
    "sample_weight",
    "epochs",
    "max_samples_per_ts",
    "verbose",
}
# bytes of the training windows of one stack: larger trainings keep a processor busy on their own
_MAX_BYTES = 2**28
# what a step takes however small the networks are, 1.6 ms, in units of `_work` for windows of four
# patches (`benchmarks/bench_tune.py`)
_OVERHEAD = 500_000
# trainer parameters that do not matter to a stack
_NO_INFLUENCE = ("enable_model_summary", "enable_progress_bar", "log_every_n_steps", "max_epochs")


class CannotStackError(Exception):
    """A training cannot be part of a stack; the message says why."""


class DeferredTrainer:
    """Takes the place of Lightning's `Trainer` in `fit`: prepares the training, and stops there.

    Parameters
    ----------
    precision
        As for a `Trainer`.
    batch_size
        Number of windows per optimiser step.
    n_epochs
        Called with the number of training windows, returns the number of epochs.

    Attributes
    ----------
    training
        What was prepared, once `fit` was called.
    """

    world_size = 1

    def __init__(self, precision: Any, batch_size: int, n_epochs: Callable[[int], int]) -> None:
        self.precision = precision
        self.training: Training | None = None
        self._batch_size = batch_size
        self._n_epochs = n_epochs

    def fit(
        self, model: LSTMSeqModule, datamodule: TorchDataModule, ckpt_path: str | None = None
    ) -> None:
        """Keep what `Trainer.fit` would train on; called in the random state of the training.

        Raises
        ------
        CannotStackError
            If this training cannot be part of a stack.
        """
        dataset = datamodule.train_dataset
        if datamodule.val_dataset is not None:
            raise CannotStackError("there is a validation set")
        if ckpt_path is not None:
            raise CannotStackError("training resumes from a checkpoint")
        if not isinstance(dataset, BatchTrainingDataset) or not dataset.is_batched:
            raise CannotStackError("the training set draws no whole batches")
        n_epochs = self._n_epochs(len(dataset))
        if not n_epochs:
            raise CannotStackError("there is no epoch")
        self.training = Training(model, dataset, self._batch_size, n_epochs)
        if self.training.size > _MAX_BYTES:
            raise CannotStackError(f"the windows of one fold take {self.training.size} bytes")


def unsupported_reason(
    model: "LSTMSeqModel", fit_arguments: dict[str, Any] | None = None
) -> str | None:
    """Return why a model's trainings cannot be part of a stack, or `None` if they can.

    Parameters
    ----------
    model
        The model.
    fit_arguments
        Arguments of `fit`; those that are `None` do not count.
    """
    overridden = model.overridden_training_methods()
    if overridden:
        return f"the subclass has its own {overridden}"
    given = {name for name, value in (fit_arguments or {}).items() if value is not None}
    unknown = given - _FIT_ARGUMENTS
    if unknown:
        return f"`fit` is given {sorted(unknown)}"
    if model.n_members > 1:
        return "`n_members > 1` already trains a stack"
    params, module_params = model.trainer_params, model.pl_module_params or {}
    unknown = {
        name
        for name in params.keys() - SINGLE_DEVICE_TRAINER_PARAMS
        if name not in _FALSY_TRAINER_PARAMS or params[name]
    }
    if unknown:
        return f"the trainer has {sorted(unknown)}"
    if params.get("devices", "auto") not in ("auto", 1):
        return "the trainer asks for other `devices` than one"
    if params.get("precision") not in _PRECISIONS:
        return "the trainer asks for another `precision` than 32 or 64"
    if module_params.get("optimizer_cls", torch.optim.Adam) not in ELEMENTWISE:
        return "the optimiser is not known to be elementwise"
    scheduler = module_params.get("lr_scheduler_cls")
    settings = module_params.get("lr_scheduler_kwargs") or {}
    if scheduler is not None and (
        scheduler not in SCHEDULERS or {"interval", "frequency"} & settings.keys()
    ):
        return "the learning-rate scheduler may depend on more than the epoch"
    norm = module_params.get("use_reversible_instance_norm")
    if isinstance(norm, dict) and norm.get("affine"):
        return "the affine normalisation has trainable parameters"
    if module_params.get("torch_metrics") is not None:
        return "there are metrics of the training"
    likelihood = module_params.get("likelihood")
    if has_prior(likelihood):
        return "the likelihood has a prior"
    if isinstance(likelihood, DirichletLikelihood):
        return "the likelihood does not support sample weights"
    loss: Any = module_params.get("loss_fn")
    if likelihood is None and (type(loss) not in LOSSES or loss.reduction != "mean"):
        return "the loss is not known to be a mean over labels"
    return None


def fit_together(
    models: Sequence["LSTMSeqModel"],
    fit_arguments: Sequence[dict[str, Any]],
    show_progress: bool = False,
) -> None:
    """Fit each model on its own arguments of `fit`; equal to one by one, up to rounding.

    Trainings are stacked where possible; the others take Darts' `fit`.

    Parameters
    ----------
    models
        The models, which may differ in any parameter.
    fit_arguments
        For each model, the arguments of its `fit`, by name.
    show_progress
        Whether to show a bar that counts the epochs of all stacked networks.

    Raises
    ------
    ValueError
        If a model cannot be fitted.

    Examples
    --------
    >>> from darts.utils.timeseries_generation import sine_timeseries
    >>> from darts_lstm_seq import LSTMSeqModel
    >>> from darts_lstm_seq.model.stacking import fit_together
    >>> series = sine_timeseries(length=60, value_frequency=1 / 12)
    >>> model = LSTMSeqModel(12, 3, n_epochs=2, pl_trainer_kwargs={"enable_progress_bar": False})
    >>> models = [model.untrained_model() for _ in range(3)]
    >>> fit_together(models, [{"series": series[:end]} for end in (40, 50, 60)])
    >>> [len(fitted.predict(3)) for fitted in models]
    [3, 3, 3]
    """
    for stack in fit_in_stacks(models, fit_arguments, show_progress):
        for error in stack.values():
            if error is not None:
                raise error


def fit_in_stacks(
    models: Sequence["LSTMSeqModel"],
    fit_arguments: Sequence[dict[str, Any]],
    show_progress: bool = False,
) -> Iterator[dict[int, Exception | None]]:
    """Yield the indices of the models of each stack once it is trained, with their errors if any.

    Models that take Darts' `fit`, or cannot be trained, come first, as stacks of one; see
    `fit_together`.
    """
    prepared: list[tuple[LSTMSeqModel, Training]] = []
    indices = []
    for index, (model, arguments) in enumerate(zip(models, fit_arguments, strict=True)):
        try:
            training = _prepare(model, arguments)
            if training is not None:
                prepared.append((model, training))
                indices.append(index)
                continue
            model.fit(**arguments)
        except Exception as error:
            yield {index: error}
        else:
            yield {index: None}
    max_networks = max((model.folds_per_stack for model in models), default=1)
    for places in _train_each(prepared, max_networks, show_progress):
        yield {indices[place]: prepared[place][1].error for place in places}


def _prepare(model: "LSTMSeqModel", arguments: dict[str, Any]) -> Training | None:
    """Return a training that can be part of a stack, or `None` if the model needs its own `fit`."""
    reason = unsupported_reason(model, arguments)
    if reason is None:
        try:
            training = model.prepare_training(**arguments)
            # an optimiser or scheduler that cannot be created is the error of this model alone
            _ = training.optimizer_defaults, training.lr_factors
            return training
        except CannotStackError as error:
            reason = str(error)
    logger.debug("A model is fitted alone: %s.", reason)
    return None


def train_stacks(
    prepared: Sequence[tuple["LSTMSeqModel", Training]], max_networks: int, show_progress: bool
) -> None:
    """Train what was prepared in stacks, and make the models fitted ones.

    Parameters
    ----------
    prepared
        Models, each with its training.
    max_networks
        Largest number of networks in a stack.
    show_progress
        Whether to show a bar that counts the epochs of all networks.

    Raises
    ------
    ValueError
        If a training diverges.
    """
    for places in _train_each(prepared, max_networks, show_progress):
        for place in places:
            error = prepared[place][1].error
            if error is not None:
                raise error


def _train_each(
    prepared: Sequence[tuple["LSTMSeqModel", Training]], max_networks: int, show_progress: bool
) -> Iterator[list[int]]:
    """Train stack by stack; yield the places of what was trained, those with an `error`, too."""
    places = {id(training): place for place, (_, training) in enumerate(prepared)}
    by_trainer: dict[str, list[tuple[LSTMSeqModel, Training]]] = {}
    for model, training in prepared:
        params = {k: v for k, v in _trainer_params(model).items() if k not in _NO_INFLUENCE}
        by_trainer.setdefault(str(sorted(params.items())), []).append((model, training))
    for pairs in by_trainer.values():
        trainings = [training for _, training in pairs]
        for stack in split_into_stacks(trainings, max_networks):
            try:
                train(stack, _trainer_params(pairs[0][0]), show_progress)
            except Exception as error:  # such as too little memory
                for training in stack:
                    training.error = error
            trained = [places[id(training)] for training in stack]
            for place in trained:
                fitted, training = prepared[place]
                if training.error is None:
                    fitted.finish_training(training)
            yield trained


def _trainer_params(model: "LSTMSeqModel") -> dict[str, Any]:
    params = model.trainer_params
    return {k: v for k, v in params.items() if k in SINGLE_DEVICE_TRAINER_PARAMS}


def split_into_stacks(trainings: Sequence[Training], max_networks: int) -> Iterator[list[Training]]:
    """Yield trainings of one structure and similar size, in stacks that are not too large."""
    # trainings with gaps in their past have inputs for a mask, others have none
    ordered = sorted(trainings, key=lambda t: (t.structure, t.hidden_dim, t.batch_size))
    groups: list[list[Training]] = []
    for training in ordered:
        last = groups[-1] if groups else []
        if not last or training.structure != last[0].structure or _is_waste(last, training):
            groups.append([])
        groups[-1].append(training)
    for alike in groups:
        # networks whose epochs end together need no padding in the last batches
        alike.sort(key=lambda training: (training.n_steps, len(training.dataset)))
        n_bytes = sum(training.size for training in alike)
        n_stacks = max(-(-len(alike) // max_networks), -(-n_bytes // _MAX_BYTES))
        size = -(-len(alike) // n_stacks)  # equal sizes: a network alone gains nothing
        yield from (alike[first : first + size] for first in range(0, len(alike), size))


def _is_waste(stack: Sequence[Training], training: Training) -> bool:
    """Tell whether padding all to the largest takes longer than another stack would."""
    together = [*stack, training]
    largest = _work(
        max(one.hidden_dim for one in together), max(one.batch_size for one in together)
    )
    own = sum(_work(one.hidden_dim, one.batch_size) for one in together)
    return len(together) * largest - own > _OVERHEAD


def _work(hidden_dim: int, batch_size: int) -> int:
    """Return how much a network computes in a step, relative to `_OVERHEAD`."""
    return batch_size * hidden_dim * (hidden_dim + 50)
