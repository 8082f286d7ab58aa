"""An epoch without Lightning's forty hooks around each step, where nobody listens to them.

All batches of an epoch but the last are trained on in a loop of our own, in Lightning's order:
loss, backward, clipping, step, schedule. The last one takes Lightning's way with all hooks, and so
do all if a callback, a logger or a user's own hook looks at single steps. Progress bars are shown
ten times a second. Epochs, validation, checkpoints and stopping are Lightning's throughout; its
counters end up as if it had made every step.

Source: `_TrainingEpochLoop` of Lightning 2.6.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
from darts.utils.data.torch_datasets.utils import TorchTrainingBatch
from torch import Tensor
from typing_extensions import override

from darts_lstm_seq.batching.batches import collate, draw_batch, tensors_of
from darts_lstm_seq.batching.datasets import BatchTrainingDataset
from darts_lstm_seq.batching.sampler import CompactRandomSampler
from darts_lstm_seq.compat import TrainingEpochLoop
from darts_lstm_seq.training.module import LSTMSeqModule
from darts_lstm_seq.training.training_losses import (
    PreparedWindows,
    is_separable,
    loss_of_step,
    training_losses,
)
from darts_lstm_seq.training.watching import (
    epochs_are_watched,
    has_visible_bar,
    step_hooks,
    steps_are_watched,
)

# batches prepared together: more would hardly save time, and larger ones would take memory. If all
# windows are no larger, they are prepared once for the whole training
_MAX_BATCHES, _MAX_BYTES = 64, 2**23
# between two updates of a progress bar
_BAR_SECONDS = 0.1
_OWN_HOOKS = step_hooks(LSTMSeqModule)


class EpochLoop(TrainingEpochLoop):
    """Lightning's loop over the batches of an epoch, with short steps (`benchmarks/bench_fit.py`).

    Examples
    --------
    >>> import pytorch_lightning as pl
    >>> from darts_lstm_seq.training.epoch_loop import EpochLoop
    >>> trainer = pl.Trainer(logger=False, enable_checkpointing=False)
    >>> EpochLoop.install(trainer)
    """

    _step_seconds = _BAR_SECONDS  # of a short step; at first a guess
    _has_looked = False
    _windows: PreparedWindows | None = None

    @classmethod
    def install(cls, trainer: pl.Trainer) -> None:
        """Let a new trainer use this loop."""
        lightning = trainer.fit_loop.epoch_loop
        trainer.fit_loop.epoch_loop = cls(trainer, lightning.min_steps, lightning.max_steps)

    @override
    def advance(self, data_fetcher: Any) -> None:
        """Make short steps, and then one with all of Lightning's hooks where the loss is looked at.

        Parameters
        ----------
        data_fetcher
            Lightning's iterator over the batches of an epoch.
        """
        # after a restart, Lightning first finds out what was done before
        if self.restarting or not self._is_ours() or steps_are_watched(self.trainer, _OWN_HOOKS):
            super().advance(data_fetcher)
            return
        if epochs_are_watched(self.trainer):
            self._step_on_batches(data_fetcher, self._n_before_last())
            if not self._is_stopped():
                super().advance(data_fetcher)
                return
        elif (order := self._draw_order()) is None:
            self._step_on_batches(data_fetcher, self._n_before_last() + 1)
        else:
            self._step(self._losses(order))
        if self._num_ready_batches_reached():
            self.batch_progress.is_last_batch = True
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        self._batches_that_stepped -= 1  # counted once more when this returns

    @override
    def teardown(self) -> None:
        """Let go of the windows; models keep their trainer."""
        self._has_looked, self._windows = False, None
        super().teardown()

    def _is_ours(self) -> bool:
        """Tell whether module and batches are not of a user's class or function."""
        loader: Any = self.trainer.train_dataloader
        is_module = type(self.trainer.lightning_module) is LSTMSeqModule
        return is_module and getattr(loader, "collate_fn", None) is collate

    def _is_stopped(self) -> bool:
        """Tell whether training is to stop before the end of this epoch."""
        trainer = self.trainer
        return trainer.received_sigterm or bool(trainer.should_stop and self.done)

    def _n_before_last(self) -> int:
        """Return how many short steps to make at a time, at most all but the last of the epoch."""
        left = int(self.trainer.num_training_batches) - self.batch_progress.current.ready - 1
        if has_visible_bar(self.trainer):
            return min(left, int(_BAR_SECONDS / self._step_seconds))
        return left

    def _step_on_batches(self, data_fetcher: Any, count: int) -> None:
        module: Any = self.trainer.lightning_module
        convert = self.trainer.precision_plugin.convert_input
        has_ended = False
        while count > 0 and not self._is_stopped():
            batches: list[TorchTrainingBatch] = []
            n_bytes = 0
            while len(batches) < min(count, _MAX_BATCHES) and n_bytes < _MAX_BYTES:
                try:
                    batch, _, _ = next(data_fetcher)
                except StopIteration:  # a user's sampler promised more than there are
                    has_ended = True
                    break
                batches.append(convert(batch))
                n_bytes += _n_bytes(batch)
            count -= len(batches)
            start = time.perf_counter()
            if batches:
                self._step(training_losses(module, batches))
                self._step_seconds = (time.perf_counter() - start) / len(batches)
            if has_ended:
                raise StopIteration

    def _step(self, losses: Iterator[Tensor]) -> None:
        """Make a step with each loss, in Lightning's order, until training is stopped."""
        trainer = self.trainer
        module: Any = trainer.lightning_module
        optimizer = trainer.optimizers[0]
        parameters = optimizer.param_groups[0]["params"]
        steps = module.quick_steps(optimizer)
        value, algorithm = trainer.gradient_clip_val, trainer.gradient_clip_algorithm
        with trainer.precision_plugin.train_step_context():
            for loss in losses:
                for parameter in parameters:
                    parameter.grad = None
                loss.backward()
                if value:
                    module.configure_gradient_clipping(optimizer, value, algorithm)
                next(steps)
                self._count_step()
                if self._is_stopped():  # by a signal or another thread
                    break

    def _count_step(self) -> None:
        """Count a step and set the next learning rates, as Lightning does."""
        self.batch_progress.increment_by(1)
        progress = self.automatic_optimization.optim_progress.optimizer
        progress.step.increment_by(1)
        progress.zero_grad.increment_by(1)
        for config in self.trainer.lr_scheduler_configs:
            if config.interval == "step" and (self.batch_idx + 1) % config.frequency == 0:
                config.scheduler.step()  # type: ignore[call-arg]
                self.scheduler_progress.increment_by(1)
        self._batches_that_stepped += 1

    def _draw_order(self) -> Tensor | None:
        """Return the order of all windows in this epoch, if they are few and were prepared."""
        loader: Any = self.trainer.train_dataloader
        if not self._has_looked:
            self._has_looked = True
            self._windows = self._prepare_all(loader)
        if self._windows is None or self.batch_progress.current.ready:
            return None
        return loader.sampler.draw_order()  # as the loader would have

    def _prepare_all(self, loader: Any) -> PreparedWindows | None:
        module: Any = self.trainer.lightning_module
        data: Any = getattr(loader, "dataset", None)
        is_ours = (
            type(data) is BatchTrainingDataset
            and data.is_batched
            and type(loader.sampler) is CompactRandomSampler
            and not (loader.drop_last or loader.num_workers)
            and self.trainer.num_training_batches == len(loader)
            and is_separable(module)
        )
        if not is_ours or _n_bytes(draw_batch(data, [0])) * len(data) > _MAX_BYTES:
            return None
        windows = draw_batch(data, list(range(len(data))))
        convert = self.trainer.precision_plugin.convert_input
        prepared = PreparedWindows(module, convert(windows))
        return prepared if prepared.is_complete() else None

    def _losses(self, order: Tensor) -> Iterator[Tensor]:
        """Yield the loss of each batch of prepared windows, in this order."""
        module: Any = self.trainer.lightning_module
        loader: Any = self.trainer.train_dataloader
        assert self._windows is not None
        for indices in order.to(module.device).split(loader.batch_size):
            yield loss_of_step(module, self._windows.select(indices))


def _n_bytes(batch: TorchTrainingBatch) -> int:
    return sum(x.nbytes for x in tensors_of(batch).values())
