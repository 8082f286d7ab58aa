"""Copies, rollback of failed fits, saving and loading of fitted models.

File formats and safe loading are Darts'. Darts leaves the network out when a model is pickled or
deep-copied (it has its own file next to the saved model), so copies cannot predict; it saves no
weights after loading; a save that is killed between its two files leaves the parameters of one
model with the network of another; and a fit that fails leaves a half-trained network. This file
repairs these.

Source: `TorchForecastingModel.__getstate__`, `save` and `load` of Darts 0.48.
"""

import copy
import io
import logging
import os
import pickle
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, TypeVar

import pytorch_lightning as pl
import torch
from darts.logging import get_logger, raise_log
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.models.forecasting.torch_forecasting_model import (
    DEFAULT_DARTS_FOLDER,
    INIT_MODEL_NAME,
    TorchForecastingModel,
)
from darts.utils.serialization.base import UnpicklingError
from torch import Tensor
from typing_extensions import override

from darts_lstm_seq.compat import (
    checkpoint_folder,
    checkpoint_name,
    random_state,
    runs_folder,
    set_random_state,
)
from darts_lstm_seq.files import atomic_write, check_archive, remove_leftovers
from darts_lstm_seq.parallel import process_lock

Model = TypeVar("Model", bound=TorchForecastingModel)

logger = get_logger(__name__)
_is_saving = ContextVar("model_is_being_saved", default=False)


@contextmanager
def saving(model: TorchForecastingModel) -> Iterator[None]:
    """Within, `model` can be saved by Darts, and its pickle is the model file.

    Darts writes the network through the model's trainer. That of a copy, of a model that was
    loaded, or of the best model of a training would write another network, if there is one; a
    trainer of several processes would wait for the others.
    """
    trainer, checkpoint = model.trainer, model.load_ckpt_path
    token = _is_saving.set(True)
    try:
        if model.model is None:
            model.trainer = model.load_ckpt_path = None  # of a network from before `reset_model`
        elif not (trainer is None and checkpoint is not None and os.path.isfile(checkpoint)):
            # else Darts copies that file, with the state of the optimiser
            model.trainer = _trainer_of(model)
        yield
    finally:
        _is_saving.reset(token)
        model.trainer, model.load_ckpt_path = trainer, checkpoint


def _trainer_of(model: TorchForecastingModel) -> pl.Trainer:
    trainer = model.trainer
    if trainer is not None and trainer.world_size == 1 and trainer.lightning_module is model.model:
        return trainer
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.strategy.connect(model.model)
    return trainer


@contextmanager
def isolated_random_state() -> Iterator[None]:
    """Within, random numbers do not move PyTorch's random state, nor that of other threads."""
    with process_lock, torch.random.fork_rng(devices=[]):
        yield


class PicklableModel(TorchForecastingModel):
    """A torch model that `pickle`, `copy.deepcopy` and joblib copy with its network.

    The weights are pickled as plain bytes, which Darts' safe loading accepts inside ensembles too.
    They are in the model file as well: the network's own file, which Darts writes beside it, may be
    that of another save. The model file alone decides; a process that is killed while it saves
    leaves the old model or the new one.
    """

    # checksum of the weights, and what `torch.save` writes of them, as a tensor: it would write a
    # bytes object as text, half again as large. Set from unpickling a model file until the network
    # is loaded; the model file of a training's folder has none.
    _saved_weights: tuple[int, Tensor] | None = None

    @override
    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("_saved_weights", None)  # `load_weights` saves the model file of its training
        if self.model is not None:
            weights = self.model.state_dict()
            buffer = io.BytesIO()
            torch.save(weights, buffer)
            if _is_saving.get():
                content = torch.frombuffer(buffer.getbuffer(), dtype=torch.uint8)
                state["_saved_weights"] = _checksum(weights), content
            else:
                state["_network_bytes"] = buffer.getvalue()
        return state

    @override
    def __setstate__(self, state: dict[str, Any]) -> None:
        content = state.pop("_network_bytes", None)
        super().__setstate__(state)
        if content is not None:
            self.model = self._network_of(content)

    def _network_of(self, content: bytes) -> PLForecastingModule:
        """Return a network with the weights that `torch.save` wrote."""
        check_archive(io.BytesIO(content), "The pickled network")
        weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        with isolated_random_state():  # initial weights are drawn, to be replaced at once
            network = self._create_model(self.train_sample)
        dtypes = {w.dtype for w in weights.values() if w.dtype.is_floating_point}
        network.to_dtype(dtypes.pop() if len(dtypes) == 1 else torch.float32)
        network.load_state_dict(weights)
        return network

    @override
    def _load_from_checkpoint(
        self, file_path: str, trusted: bool = False, **kwargs: Any
    ) -> PLForecastingModule:
        for path in (file_path, str(file_path).removesuffix(".ckpt")):
            if os.path.isfile(path):  # ensembles read the model file without our `load`
                check_archive(path)
        with isolated_random_state():
            network = super()._load_from_checkpoint(file_path, trusted, **kwargs)
        # `fit` with `load_best` asks for the checkpoint of a network that is there
        return self.of_this_save(network) if self.model is None else network

    def of_this_save(self, network: PLForecastingModule | None) -> PLForecastingModule | None:
        """Return `network` if its weights are those saved with this model, or one that has them."""
        saved, self._saved_weights = self._saved_weights, None
        if saved is None or (network is not None and _checksum(network.state_dict()) == saved[0]):
            return network
        logger.warning(
            "The network's file (`.ckpt`) is missing or belongs to another save, as after one that "
            "was interrupted; the network comes from the model file, which has it too. Save the "
            "model again to have both files agree."
        )
        return self._network_of(saved[1].cpu().numpy().tobytes())


def _checksum(weights: dict[str, Tensor]) -> int:
    checksum = 0
    for name, weight in weights.items():
        content = weight.detach().cpu().contiguous().flatten().view(torch.uint8)
        checksum = zlib.crc32(content.numpy().data, zlib.crc32(name.encode(), checksum))
    return checksum


@contextmanager
def rollback_on_error(model: TorchForecastingModel) -> Iterator[None]:
    """Restore a model, its weights included, if what happens within fails or is interrupted."""
    before = {k: dict(v) if isinstance(v, dict) else v for k, v in vars(model).items()}
    state = copy.deepcopy(random_state(model))
    network = model.model
    if network is not None:
        weights = {name: weight.clone() for name, weight in network.state_dict().items()}
        attributes = dict(vars(network))
    try:
        yield
    except BaseException:
        for name in vars(model).keys() - before.keys():
            delattr(model, name)
        vars(model).update(before)
        if state is not None:
            set_random_state(model, state)
        if network is not None:
            network.on_fit_end()  # sample weights kept the loss functions from reducing
            for metrics in (network.train_metrics, network.val_metrics):
                metrics.reset()
            vars(network).update(attributes)
            network.load_state_dict(weights)
        raise


@contextmanager
def writing(path: str, companions: Sequence[str] = ()) -> Iterator[str]:
    """Yield a temporary path; its files replace those at `path`, as in `atomic_write`.

    Raises
    ------
    ValueError
        If there is a folder in the place of a file, or if the folder of `path` is missing. Nothing
        is written.
    """
    for name in (path, *(f"{path}{suffix}" for suffix in companions)):
        if os.path.isdir(name):
            raise_log(ValueError(f"`path` must name a file, but there is a folder at `{name}`."))
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise_log(
            ValueError(
                f"`path` must lie in a folder that exists, received `{path}`. Create it with "
                f"`os.makedirs({folder!r})`."
            )
        )
    remove_leftovers(folder)
    with atomic_write(path, companions) as temporary:
        yield str(temporary)


def check_training_folder(model_name: str, work_dir: str | None) -> None:
    """Check the model file of a training with ``save_checkpoints=True``, if there is one."""
    path = os.path.join(runs_folder(work_dir or DEFAULT_DARTS_FOLDER, model_name), INIT_MODEL_NAME)
    if os.path.exists(path):
        check_archive(path)


def check_checkpoint(
    model_name: str, work_dir: str | None, file_name: str | None, best: bool
) -> str:
    """Check the files that Darts' `load_weights_from_checkpoint` reads; return its `file_name`."""
    folder = work_dir or DEFAULT_DARTS_FOLDER
    file_name = file_name or checkpoint_name(folder, model_name, best=best)
    if file_name.startswith(("best-", "last-")):
        check_training_folder(model_name, work_dir)
        check_archive(os.path.join(checkpoint_folder(folder, model_name), file_name))
    else:
        for path in (file_name, file_name.removesuffix(".ckpt")):
            if os.path.exists(path):
                check_archive(path)
    return file_name


@contextmanager
def holding_back_warnings() -> Iterator[list[logging.LogRecord]]:
    """Hold back Darts' warning that a loaded model has no weights; log what is left in the end."""
    held: list[logging.LogRecord] = []
    thread = threading.get_ident()

    def is_shown(record: logging.LogRecord) -> bool:
        if record.thread != thread or "loaded without weights" not in record.getMessage():
            return True
        held.append(record)
        return False

    source = logging.getLogger(TorchForecastingModel.__module__)
    source.addFilter(is_shown)
    try:
        yield held
    finally:
        source.removeFilter(is_shown)
        for record in held:
            source.handle(record)


@contextmanager
def clear_load_errors() -> Iterator[None]:
    """Turn what a truncated or foreign file raises into a `ValueError` that says so."""
    try:
        yield
    except (FileNotFoundError, MemoryError):
        raise
    except (pickle.UnpicklingError, UnpicklingError) as error:
        raise_log(ValueError(f"The model file was refused; nothing was loaded. Reason: {error}"))
    except ValueError as error:
        if "torch.save" not in str(error):  # what Darts raises is clear
            raise
        _raise_damaged(error)
    except Exception as error:  # a foreign file may raise anything
        _raise_damaged(error)


def _raise_damaged(error: Exception) -> NoReturn:
    raise_log(
        ValueError(
            f"The model file is damaged, incomplete or not one of ours; nothing was loaded. "
            f"Save the model again, or check the path. Reason: {error}"
        )
    )
    raise AssertionError  # `raise_log` always raises


def of_class(model: TorchForecastingModel, expected: type[Model]) -> Model:
    """Return `model` if it is of the expected class.

    Raises
    ------
    ValueError
        Naming both classes.
    """
    if not isinstance(model, expected):
        raise_log(
            ValueError(
                f"The file holds a `{type(model).__name__}`, not a `{expected.__name__}`. Load it "
                f"with `{type(model).__name__}.load()`."
            )
        )
    return model
