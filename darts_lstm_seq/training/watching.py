"""Who looks at single steps of a training: without anybody, hooks and losses of steps are skipped.

Source: the hooks of Lightning's `Callback` and `LightningModule`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar, TQDMProgressBar
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.strategies import SingleDeviceStrategy

from darts_lstm_seq.compat import saves_within_epochs

# called around each step
_STEP_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
# of modules, called in each step or able to look back at the last one
_MODULE_HOOKS = (
    *_STEP_HOOKS,
    "_compute_loss",
    "_train_val_step",
    "backward",
    "loss_of_batch",
    "loss_of_known",
    "lr_scheduler_step",
    "on_after_batch_transfer",
    "on_before_batch_transfer",
    "on_train_epoch_end",
    "on_train_epoch_start",
    "optimizer_step",
    "optimizer_zero_grad",
    "training_step",
    "transfer_batch_to_device",
)


# their hooks look at the number of the step, or at how much time has passed
_KNOWN_CALLBACKS = (ModelCheckpoint, TQDMProgressBar, RichProgressBar)


def has_hook(callback: pl.Callback, name: str) -> bool:
    """Tell whether a callback has a hook, of its class or, as in `LambdaCallback`, its own."""
    hook = getattr(callback, name)
    return getattr(hook, "__func__", hook) is not getattr(pl.Callback, name)


def has_visible_bar(trainer: Any) -> bool:
    """Tell whether the trainer shows a progress bar."""
    bar = trainer.progress_bar_callback
    return bar is not None and bar.is_enabled


def losses_are_watched(trainer: Any) -> bool:
    """Tell whether a logger, a progress bar, a callback or a scheduler could read a step's loss.

    Logging it takes a fifth of a small training step (`benchmarks/bench_fit.py`).
    """
    bar = trainer.progress_bar_callback
    return has_visible_bar(trainer) or _losses_are_read(
        trainer, [callback for callback in trainer.callbacks if callback is not bar]
    )


def step_hooks(module_cls: type[Any]) -> dict[str, Any]:
    """Return what the modules of a class do around and in each step, by name."""
    return {name: getattr(module_cls, name) for name in _MODULE_HOOKS}


def steps_are_watched(trainer: Any, own_hooks: Mapping[str, Any]) -> bool:
    """Tell whether anything but a progress bar could notice that a step takes a shorter way.

    Parameters
    ----------
    trainer
        A trainer in training.
    own_hooks
        The known `step_hooks`; any others are a user's, who may look at each step.
    """
    module: Any = trainer.lightning_module
    is_plain = (
        step_hooks(type(module)) == own_hooks
        and not own_hooks.keys() & vars(module).keys()  # replaced in this module alone
        and not len(module.train_metrics)
        and type(trainer.strategy) is SingleDeviceStrategy
        and trainer.strategy.model is module  # and not a compiled one
        and trainer.precision in ("32-true", "64-true")
        and trainer.accumulate_grad_batches == 1
        and isinstance(trainer.profiler, PassThroughProfiler)
        and _computes_loss_once(trainer.optimizers[0])
        and len(trainer.optimizers[0].param_groups) == 1
        and _validates_after_epochs(trainer)
        and trainer.num_training_batches < float("inf")  # of a stream nobody knows the last one
    )
    others = [callback for callback in trainer.callbacks if not _is_known(callback)]
    return not is_plain or _losses_are_read(trainer, others) or any(map(_has_step_hook, others))


def epochs_are_watched(trainer: Any) -> bool:
    """Tell whether anyone could look at the loss of the present epoch, the last one apart."""
    is_last = trainer.current_epoch + 1 == trainer.max_epochs
    # such as `ReduceLROnPlateau`
    has_reader = any(config.reduce_on_plateau for config in trainer.lr_scheduler_configs)
    is_last |= trainer.should_stop
    return bool(is_last or has_reader or _validates(trainer) or trainer.callbacks)


def _losses_are_read(trainer: Any, callbacks: Sequence[pl.Callback]) -> bool:
    return bool(
        trainer.loggers
        or any(
            has_hook(callback, "on_train_batch_end")
            for callback in callbacks
            if not isinstance(callback, ModelCheckpoint)
        )
        or any(map(saves_within_epochs, trainer.checkpoint_callbacks))
        # such as `ReduceLROnPlateau`
        or any(
            scheduler.reduce_on_plateau and scheduler.interval == "step"
            for scheduler in trainer.lr_scheduler_configs
        )
        or trainer.max_steps != -1  # an epoch may end with any step
    )


def _is_known(callback: pl.Callback) -> bool:
    is_replaced = vars(callback).keys() & {*_STEP_HOOKS}  # in this callback alone
    return type(callback) in _KNOWN_CALLBACKS and not is_replaced


def _has_step_hook(callback: pl.Callback) -> bool:
    return any(has_hook(callback, name) for name in _STEP_HOOKS)


def _computes_loss_once(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether a step needs the gradients of its start only; unknown classes might not."""
    is_known = type(optimizer).__module__.startswith("torch.optim.")
    return is_known and not isinstance(optimizer, torch.optim.LBFGS)


def _validates_after_epochs(trainer: Any) -> bool:
    is_last = trainer.check_val_every_n_epoch is not None and trainer.val_check_interval == 1.0
    return is_last or not _validates(trainer)


def _validates(trainer: Any) -> bool:
    return sum(trainer.num_val_batches) > 0  # Lightning enables it without data, too
