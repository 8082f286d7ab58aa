"""Private names of Darts, Lightning and PyTorch that are imported, or read from their objects.

Each stands here once, with its reason, as checked with Darts 0.48.1 and Lightning 2.6.6; a release
of theirs may change it without notice. Hooks that our classes override or call through `self` are
not listed: `tests/test_compat.py` compares their signatures with Darts' own.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from darts import TimeSeries
from darts.models.forecasting.forecasting_model import ForecastingModel
from darts.models.forecasting.multivariate_model import MultivariateModel
from darts.models.forecasting.torch_forecasting_model import (
    TorchForecastingModel,
    _get_checkpoint_fname,
    _get_checkpoint_folder,
    _get_runs_folder,
)
from darts.utils.data.torch_datasets._data_module import TorchDataModule
from darts.utils.data.torch_datasets.utils import (
    _batch_collate_fn_predict,
    _batch_collate_fn_train,
    _parse_input_chunk_length,
)
from darts.utils.likelihood_models.torch import TorchLikelihood
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

__all__ = [
    "TorchDataModule",
    "TrainingEpochLoop",
    "checkpoint_folder",
    "checkpoint_name",
    "collate_inference_samples",
    "collate_training_samples",
    "component_models",
    "copy_modules",
    "fitted_state",
    "forecast_like",
    "has_prior",
    "has_step_hooks",
    "parse_input_chunk_length",
    "random_state",
    "runs_folder",
    "saves_within_epochs",
    "set_random_state",
    "time_index",
    "without_seeding",
]

Method = TypeVar("Method", bound=Callable[..., Any])

# Darts: how samples of its datasets become a batch
collate_inference_samples: Callable[[Any], Any] = _batch_collate_fn_predict
collate_training_samples: Callable[[Any], Any] = _batch_collate_fn_train
# Darts: an `input_chunk_length` may be `(min, max)`, with Darts' own errors
parse_input_chunk_length: Callable[[Any], tuple[int, int]] = _parse_input_chunk_length
# Darts: where a training's model file and checkpoints are, and which is its best or last one
checkpoint_folder: Callable[[str, str], str] = _get_checkpoint_folder
checkpoint_name: Callable[..., str] = _get_checkpoint_fname
runs_folder: Callable[[str, str], str] = _get_runs_folder
# Lightning: the batches of an epoch, with all hooks around each step
TrainingEpochLoop = _TrainingEpochLoop


def time_index(series: TimeSeries) -> Any:
    """Return the pandas index itself; Darts' property copies it, too slow for 100,000 series."""
    return series._time_index


def forecast_like(
    template: TimeSeries, values: np.ndarray, source: TimeSeries | None = None, times: Any = None
) -> TimeSeries:
    """Return a forecast with the times and components of another one.

    Darts' constructor checks names and time axis of each series anew, which for thousands takes
    several times as long as the network; here `template` went through it, and so did `source`.

    Parameters
    ----------
    template
        A series out of Darts' constructor.
    values
        Values in the template's dtype, `(n, C, S)`; not copied.
    source
        The series that was forecast, in the same dtype: components, static covariates, hierarchy
        and metadata become those of the forecast, as in Darts' own; by default the template's.
    times
        The time index, with the template's frequency; by default the template's.
    """
    origin = template if source is None else source
    series = object.__new__(TimeSeries)
    # one by one, in the order of the constructor: without a dictionary of its own an object takes
    # a third of the time
    series._time_dim = template._time_dim
    series._time_index = template._time_index if times is None else times
    series._freq = template._freq
    series._freq_str = template._freq_str
    series._has_datetime_index = template._has_datetime_index
    series._values = values
    series._components = origin._components
    series._top_level_component = origin._top_level_component
    series._bottom_level_components = origin._bottom_level_components
    series._attrs = origin._attrs  # Darts never writes into it
    return series


def without_seeding(method: Method) -> Method:
    """Return a method of Darts without the seeding that `random_method` puts around it."""
    return method.__wrapped__  # type: ignore[attr-defined]


def random_state(model: TorchForecastingModel) -> np.random.RandomState | None:
    """Return the random state from which `random_method` seeds the methods of a model."""
    return getattr(model, "_random_instance", None)


def set_random_state(model: TorchForecastingModel, state: np.random.RandomState) -> None:
    """Set what `random_state` returns."""
    model._random_instance = state


def copy_modules(module: nn.Module) -> nn.Module:
    """Return a copy of a module and of all modules in it, which shares parameters and buffers."""
    twin = object.__new__(type(module))
    vars(twin).update(vars(module))
    # after a training over several processes, Lightning leaves the bound method on the module
    if getattr(vars(twin).get("forward"), "__self__", None) is module:
        del vars(twin)["forward"]
    children = module._modules.items()  # `named_children` leaves out those that are `None`
    vars(twin)["_modules"] = {
        name: None if child is None else copy_modules(child) for name, child in children
    }
    return twin


def fitted_state(model: ForecastingModel) -> Any:
    """Return what a fit changed in a model, or `None` if it was not fitted."""
    if not model._fit_called:
        return None
    if isinstance(model, TorchForecastingModel):
        return model.model.state_dict(), model.encoders
    # drawn from the global random state
    return {name: value for name, value in vars(model).items() if name != "_random_instance"}


def component_models(model: MultivariateModel) -> list[ForecastingModel]:
    """Return the models of the single components; one, if it takes all of them."""
    return model._models


def has_prior(likelihood: TorchLikelihood | None) -> bool:
    """Tell whether a likelihood has a prior, given in the units of the data."""
    values = getattr(likelihood, "_prior_params", None) or ()
    return any(value is not None for value in values)


def saves_within_epochs(checkpoint: ModelCheckpoint) -> bool:
    """Tell whether a checkpoint callback looks at single training steps."""
    return bool(checkpoint._every_n_train_steps) or checkpoint._train_time_interval is not None


def has_step_hooks(optimizer: Optimizer) -> bool:
    """Tell whether a hook waits for a call of `optimizer.step()`, or the method was replaced."""
    own_step = vars(optimizer).get("step")
    return bool(
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or _global_optimizer_pre_hooks
        or _global_optimizer_post_hooks
        # replaced in this optimiser alone, and not by a scheduler, which counts the calls
        or not getattr(own_step, "_wrapped_by_lr_sched", own_step is None)
    )
