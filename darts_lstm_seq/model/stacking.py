"""Which trainings may share a stack, and fitting models together in as few stacks as possible.

The training of a stack is `training/stack.py`. Here models are prepared for it: `DeferredTrainer`
takes the place of Lightning's `Trainer` in Darts' `fit`, which so does everything but train. What
cannot be stacked is fitted one by one; the reason is logged (level DEBUG).
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from darts.logging import get_logger
from darts.utils.likelihood_models.torch import DirichletLikelihood

from darts_lstm_seq.batching.datasets import BatchTrainingDataset
from darts_lstm_seq.compat import TorchDataModule, has_prior
from darts_lstm_seq.training.module import LSTMSeqModule
from darts_lstm_seq.training.stack import ELEMENTWISE, LOSSES, SCHEDULERS, Training, train

if TYPE_CHECKING:
    from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel

logger = get_logger(__name__)

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
        Copies of one model: they may differ in nothing but their random state and weights.
    fit_arguments
        For each model, the arguments of its `fit`, by name.
    show_progress
        Whether to show a bar that counts the epochs of all stacked networks.

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
    prepared: list[tuple[LSTMSeqModel, Training]] = []
    for model, arguments in zip(models, fit_arguments, strict=True):
        reason = unsupported_reason(model, arguments)
        if reason is None:
            try:
                prepared.append((model, model.prepare_training(**arguments)))
                continue
            except CannotStackError as error:
                reason = str(error)
        logger.debug("A model is fitted alone: %s.", reason)
        model.fit(**arguments)
    if prepared:
        train_stacks(prepared[0][0], prepared, show_progress)


def train_stacks(
    model: "LSTMSeqModel",
    prepared: Sequence[tuple["LSTMSeqModel", Training]],
    show_progress: bool,
) -> None:
    """Train what was prepared in stacks, and make the models fitted ones.

    Parameters
    ----------
    model
        Says how to train: parameters of the trainer, number of networks per stack.
    prepared
        Copies of `model`, each with its training.
    show_progress
        Whether to show a bar that counts the epochs of all networks.
    """
    params = {k: v for k, v in model.trainer_params.items() if k in SINGLE_DEVICE_TRAINER_PARAMS}
    for stack in split_into_stacks([training for _, training in prepared], model.folds_per_stack):
        train(stack, params, show_progress)
    for fitted, training in prepared:
        fitted.finish_training(training)


def split_into_stacks(trainings: Sequence[Training], max_networks: int) -> Iterator[list[Training]]:
    """Yield trainings of one structure and similar length, in stacks that are not too large."""
    # trainings with gaps in their past have inputs for a mask, others have none
    ordered = sorted(trainings, key=lambda training: (training.structure, training.n_steps))
    for _, group in groupby(ordered, key=lambda training: training.structure):
        alike = list(group)
        n_bytes = sum(training.size for training in alike)
        n_stacks = max(-(-len(alike) // max_networks), -(-n_bytes // _MAX_BYTES))
        size = -(-len(alike) // n_stacks)  # equal sizes: a network alone gains nothing
        yield from (alike[first : first + size] for first in range(0, len(alike), size))
