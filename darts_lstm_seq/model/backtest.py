"""Retrained historical forecasts in one go: the networks of all folds are trained as one stack.

Darts' own loop runs twice. The first time, every `fit` does all but train and is recorded; then the
recorded folds are trained together by `stack_training.py`; the second time the loop is handed the
trained models in their order. Whatever the loop can do (schedules, callables, transformers, many
series) so holds by construction; data transformers are fitted in both rounds. What cannot be
stacked takes Darts' path, and a debug log says why. Many series are first divided among the workers
of `joblib.parallel_config`, if it names any.

Source: the loop of `darts.models.forecasting.ForecastingModel.historical_forecasts`.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial, wraps
from itertools import count, groupby
from operator import itemgetter
from typing import Any

import joblib
import numpy as np
import torch
from darts import TimeSeries
from darts.logging import get_logger
from darts.utils.likelihood_models.torch import DirichletLikelihood
from darts.utils.ts_utils import SeriesType, get_series_seq_type
from tqdm.auto import tqdm

from darts_lstm_seq.batching.datasets import BatchTrainingDataset
from darts_lstm_seq.compat import TorchDataModule, has_prior
from darts_lstm_seq.parallel import count_workers, cut, process_lock, run_chunks
from darts_lstm_seq.training.module import LSTMSeqModule
from darts_lstm_seq.training.stack import ELEMENTWISE, LOSSES, SCHEDULERS, Training, train

logger = get_logger(__name__)

# an `LSTMSeqModel`, whose file imports this one
Model = Any

# of the trainer: what a stack honours, and what is nothing to it
_HONOURED = {
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
_WATCHED = ("callbacks", "enable_checkpointing", "logger")
_PRECISIONS = (32, 64, "32", "64", "32-true", "64-true")
_FIT_ARGUMENTS = {"epochs", "max_samples_per_ts", "verbose"}
# bytes of the training windows of one stack: larger trainings keep a processor busy on their own
_MOST_BYTES = 2**28


class CannotStackError(Exception):
    """A fold turns out to need Darts' path; the message says why."""


class CannotDistributeError(Exception):
    """A series is refused by a worker, which does not know its index among all."""


@dataclass
class DeferredTraining:
    """Stands in for the trainer of a fold that is only recorded."""

    n_epochs: int


@dataclass
class _Fold:
    model: Model
    training: Training
    random_state: np.random.RandomState  # of the model, before it forecasts


@dataclass
class Recorder:
    """What a model does in the place of training while Darts' loop runs.

    Parameters
    ----------
    replays
        Whether the loop is handed the recorded models, instead of recording them.
    """

    replays: bool = False
    folds: list[_Fold] = field(default_factory=list)
    handed_out: int = 0

    def untrained(self, make: Callable[[], Model]) -> Model:
        """Return the model of the next fold."""
        if not self.replays:
            model = make()
            model._recorder = self
            return model
        fold = self.folds[self.handed_out]
        self.handed_out += 1
        fold.model._random_instance, fold.model._recorder = fold.random_state, self
        return fold.model

    def record(
        self,
        model: Model,
        module: LSTMSeqModule,
        datamodule: TorchDataModule,
        trainer: DeferredTraining,
    ) -> None:
        """Keep a model whose training was prepared."""
        dataset = datamodule.train_dataset
        if datamodule.val_dataset is not None:
            raise CannotStackError("there is a validation set")
        if not trainer.n_epochs:
            raise CannotStackError("there is no epoch")
        if not isinstance(dataset, BatchTrainingDataset) or not dataset.is_batched:
            raise CannotStackError("the training set draws no whole batches")
        training = Training(module, dataset, model.batch_size, trainer.n_epochs)
        if training.size > _MOST_BYTES:
            raise CannotStackError(f"the windows of one fold take {training.size} bytes")
        random_state = copy.deepcopy(model._random_instance)
        self.folds.append(_Fold(model, training, random_state))


def replay_decisions(retrain: Any, said: list[bool]) -> Any:
    """Let a callable `retrain` repeat what it said before it is asked anew: it may have a state.

    Parameters
    ----------
    retrain
        As for Darts' loop, which asks in the same order each time.
    said
        Its answers so far, to which new ones are added.
    """
    if not callable(retrain):
        return retrain
    numbers = count()

    @wraps(retrain)  # Darts looks at the signature
    def answer(*args: Any, **kwargs: Any) -> bool:
        number = next(numbers)
        if number == len(said):
            said.append(retrain(*args, **kwargs))
        return said[number]

    return answer


def historical_forecasts(
    model: Model, loop: Callable[..., Any], arguments: dict[str, Any], reason: str | None
) -> Any:
    """Return what Darts' `loop` returns, sooner if the folds can be trained together.

    Parameters
    ----------
    model
        The model that the loop retrains.
    loop
        Darts' `historical_forecasts` of this model.
    arguments
        All of its arguments.
    reason
        Why the folds cannot be trained together, if the model knows that.
    """
    reason = reason or unsupported_reason(model, arguments)
    if _is_local(arguments) and count_workers(None) > 1:
        try:
            return _distribute(model, arguments)
        except CannotDistributeError:
            logger.debug("A series is refused: the loop in this process says which.")
    if reason is None:
        own = copy.deepcopy(getattr(model, "_random_instance", None))
        shared = np.random.get_state()  # noqa: NPY002
        said: list[bool] = []
        try:
            return _stacked(model, loop, arguments, said)
        except CannotStackError as error:
            reason = str(error)
            model._random_instance = own
            np.random.set_state(shared)  # noqa: NPY002
            arguments = {**arguments, "retrain": replay_decisions(arguments["retrain"], said)}
    logger.debug("The folds are trained one by one: %s.", reason)
    return loop(**arguments)


def unsupported_reason(model: Model, arguments: dict[str, Any]) -> str | None:
    """Say why the folds cannot be trained together, or `None` if they can."""
    if not arguments["enable_optimization"]:
        return "`enable_optimization` is `False`"
    if not arguments["retrain"]:
        return "nothing is retrained"
    if arguments["val_length"]:
        return "there is a validation set"
    others = (arguments["fit_kwargs"] or {}).keys() - _FIT_ARGUMENTS
    if others:
        return f"`fit_kwargs` has {sorted(others)}"
    if model.n_members > 1:
        return "each of them is a stack already"
    params, module_params = model.trainer_params, model.pl_module_params or {}
    others = {name for name in params.keys() - _HONOURED if name not in _WATCHED or params[name]}
    if others:
        return f"the trainer has {sorted(others)}"
    if params.get("devices", "auto") not in ("auto", 1):
        return "of the devices of the trainer"
    if params.get("precision") not in _PRECISIONS:
        return "of the precision of the trainer"
    if module_params.get("optimizer_cls", torch.optim.Adam) not in ELEMENTWISE:
        return "the optimiser may mix networks"
    scheduler = module_params.get("lr_scheduler_cls")
    settings = module_params.get("lr_scheduler_kwargs") or {}
    if scheduler is not None and (
        scheduler not in SCHEDULERS or {"interval", "frequency"} & settings.keys()
    ):
        return "of the scheduler of the learning rate"
    norm = module_params.get("use_reversible_instance_norm")
    if isinstance(norm, dict) and norm.get("affine"):
        return "the normalisation learns"
    if module_params.get("torch_metrics") is not None:
        return "there are metrics of the training"
    likelihood = module_params.get("likelihood")
    if has_prior(likelihood):
        return "the likelihood has a prior"
    if isinstance(likelihood, DirichletLikelihood):
        return "the likelihood takes no weights"
    loss: Any = module_params.get("loss_fn")
    if likelihood is None and (type(loss) not in LOSSES or loss.reduction != "mean"):
        return "the loss may be more than a mean over labels"
    return None


def _stacked(
    model: Model, loop: Callable[..., Any], arguments: dict[str, Any], said: list[bool]
) -> Any:
    jobs = _jobs(arguments)
    results: list[Any] = []
    waiting: list[tuple[dict[str, Any], Recorder]] = []
    for index, job in enumerate(jobs):
        recorder = Recorder()
        run = {**job, "retrain": replay_decisions(job["retrain"], said), "verbose": False}
        try:
            with _attached(model, recorder):
                loop(**run)
        except ValueError as error:
            if index == 0:
                raise
            # Darts' own message has the right index of the series
            raise CannotStackError(f"series {index} is refused") from error
        waiting.append((job, recorder))
        folds = [fold for _, other in waiting for fold in other.folds]
        if len(folds) < model.folds_per_stack and index + 1 < len(jobs):
            continue
        _train_together(model, folds)
        for waiting_job, recorded in waiting:
            recorded.replays = True
            retrain = replay_decisions(waiting_job["retrain"], said)
            with _attached(model, recorded):
                results.append(loop(**{**waiting_job, "retrain": retrain, "show_warnings": False}))
        waiting.clear()
    is_one = len(jobs) == 1 and jobs[0] is arguments
    return results[0] if is_one else results


def _is_local(arguments: dict[str, Any]) -> bool:
    """Tell whether Darts retrains on one series after another."""
    return (
        bool(arguments["retrain"])
        and not arguments["apply_globally"]
        and get_series_seq_type(arguments["series"]) is SeriesType.SEQ
        # a callable may be asked by Darts' checks, and leave a series to the last model of another
        and not callable(arguments["retrain"])
    )


def _jobs(arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """Split what Darts does series by series, so that not all folds are held at once."""
    if not _is_local(arguments):
        return [arguments]
    return [
        _choose(arguments, lambda group, index=index: group[index])  # type: ignore[misc]
        for index in range(len(arguments["series"]))
    ]


def _choose(arguments: dict[str, Any], choose: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the arguments with a part of each group of series."""
    groups = ("series", "past_covariates", "future_covariates", "sample_weight")
    whole = (str, TimeSeries, type(None))
    given = {n: arguments[n] for n in groups if not isinstance(arguments[n], whole)}
    return {**arguments, **{name: choose(group) for name, group in given.items()}}


def _distribute(model: Model, arguments: dict[str, Any]) -> list[Any]:
    """Divide the series among the workers that `joblib.parallel_config` names."""
    n_series = len(arguments["series"])
    parts = cut(n_series, count_workers(None))
    chunks = [
        {**_choose(arguments, itemgetter(slice(part.start, part.stop))), "verbose": False}
        for part in parts
    ]
    results: list[Any] = [None] * len(parts)
    shown = bool(arguments["verbose"])
    with tqdm(desc="Backtesting", total=n_series, unit="series", disable=not shown) as bar:
        for number, result in run_chunks(partial(_run_part, model), chunks):
            part = parts[number]
            if isinstance(result, ValueError):
                raise CannotDistributeError from result
            if isinstance(result, Exception):
                raise ValueError(
                    f"`series` {part.start} to {part.stop - 1} were lost twice with their worker; "
                    f"choose fewer workers if memory ran out. Reason: {result!r}"
                ) from result
            results[number] = result
            bar.update(len(part))
    return [one for result in results for one in result]


def _run_part(model: Model, arguments: dict[str, Any]) -> list[Any]:
    # a worker divides no further; the model and random numbers belong to all threads of a process
    with process_lock, joblib.parallel_config(backend="sequential"):
        return model.historical_forecasts(**arguments)


@contextmanager
def _attached(model: Model, recorder: Recorder) -> Iterator[None]:
    """Let the models of the loop that starts from `model` record or replay."""
    random_state = copy.deepcopy(getattr(model, "_random_instance", None))
    model._recorder = recorder
    try:
        yield
    finally:
        model._recorder = None
        for fold in recorder.folds:  # which someone may have kept
            fold.model._recorder = None
        if not recorder.replays and random_state is not None:
            model._random_instance = random_state


def _train_together(model: Model, folds: list[_Fold]) -> None:
    shown = model.trainer_params.get("enable_progress_bar", True)
    params = {k: v for k, v in model.trainer_params.items() if k in _HONOURED}
    for chunk in _chunks([fold.training for fold in folds], model.folds_per_stack):
        train(chunk, params, shown)


def _chunks(trainings: list[Training], most: int) -> Iterator[list[Training]]:
    """Yield trainings of one structure, of similar length, in stacks that are not too large."""
    # folds with gaps in their past have inputs for a mask, others have none
    trainings = sorted(trainings, key=lambda one: (one.structure, one.n_steps))
    for _, group in groupby(trainings, key=lambda one: one.structure):
        alike = list(group)
        stacks = max(-(-len(alike) // most), -(-sum(one.size for one in alike) // _MOST_BYTES))
        share = -(-len(alike) // stacks)  # of equal size: a network alone gains nothing
        yield from (alike[first : first + share] for first in range(0, len(alike), share))
