"""Copies, rollback of failed fits, saving and loading of fitted models.

File formats and safe loading are Darts'. Darts leaves the network out when a model is pickled or
deep-copied (it has its own file next to the saved model), so copies cannot predict; it saves no
weights after loading; and a fit that fails leaves a half-trained network. This file repairs these.

Source: `TorchForecastingModel.__getstate__`, `save` and `load` of Darts 0.48.
"""

import copy
import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, TypeVar

import pytorch_lightning as pl
import torch
from darts.logging import raise_log
from darts.models.forecasting.torch_forecasting_model import TorchForecastingModel
from darts.utils.serialization.base import UnpicklingError
from typing_extensions import override

from darts_lstm_seq.compat import random_state, set_random_state

Model = TypeVar("Model", bound=TorchForecastingModel)

_excludes_network = ContextVar("pickle_excludes_network", default=False)


@contextmanager
def pickling_without_network() -> Iterator[None]:
    """Within, pickling a model leaves the network out: `save` writes it to a file of its own."""
    token = _excludes_network.set(True)
    try:
        yield
    finally:
        _excludes_network.reset(token)


class PicklableModel(TorchForecastingModel):
    """A torch model that `pickle`, `copy.deepcopy` and joblib copy with its network.

    The weights are pickled as plain bytes, which Darts' safe loading accepts inside ensembles too.
    """

    @override
    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if self.model is not None and not _excludes_network.get():
            buffer = io.BytesIO()
            torch.save(self.model.state_dict(), buffer)
            state["_network_bytes"] = buffer.getvalue()
        return state

    @override
    def __setstate__(self, state: dict[str, Any]) -> None:
        network = state.pop("_network_bytes", None)
        super().__setstate__(state)
        if network is not None:
            weights = torch.load(io.BytesIO(network), map_location="cpu", weights_only=True)
            model = self._create_model(self.train_sample)
            dtypes = {w.dtype for w in weights.values() if w.dtype.is_floating_point}
            model.to_dtype(dtypes.pop() if len(dtypes) == 1 else torch.float32)
            model.load_state_dict(weights)
            self.model = model


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


def attach_trainer(model: TorchForecastingModel) -> None:
    """Attach a trainer to a fitted model that has none through which Darts could save it.

    The trainer of a copy, of a model that was loaded, or of the best model of a training would
    write another module, if there is one; a trainer of several processes would wait for the others.
    """
    if model.model is None:
        return
    trainer = model.trainer
    if trainer is not None and trainer.world_size == 1 and trainer.lightning_module is model.model:
        return
    if trainer is None and model.load_ckpt_path is not None:
        return  # Darts copies that file, with the state of the optimiser
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.strategy.connect(model.model)
    model.trainer = trainer


@contextmanager
def clear_load_errors() -> Iterator[None]:
    """Turn what a truncated or foreign file raises into a `ValueError` that says so."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pickle.UnpicklingError, UnpicklingError) as error:
        raise_log(ValueError(f"The model file was refused; nothing was loaded. Reason: {error}"))
    except (EOFError, OSError, RuntimeError, KeyError, AttributeError, TypeError) as error:
        _raise_damaged(error)
    except ValueError as error:
        if "torch.save" not in str(error):  # what Darts raises is clear
            raise
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
