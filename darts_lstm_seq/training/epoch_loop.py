"""An epoch without Lightning's forty hooks around each step, where nobody listens to them.

All batches of an epoch but the last are trained on in a loop of our own, in Lightning's order:
loss, backward, clipping, step, schedule. The last one takes Lightning's way with all hooks, and so
do all if a callback, a logger or a user's own hook looks at single steps. Progress bars are shown
ten times a second. Epochs, validation, checkpoints and stopping are Lightning's throughout; its
counters end up as if it had made every step.

Source: `_TrainingEpochLoop` of Lightning 2.6.
"""

import time
from typing import Any

import pytorch_lightning as pl
from darts.utils.data.torch_datasets.utils import TorchTrainingBatch
from typing_extensions import override

from darts_lstm_seq.batching.batches import tensors_of
from darts_lstm_seq.compat import TrainingEpochLoop
from darts_lstm_seq.training.module import LSTMSeqModule
from darts_lstm_seq.training.training_losses import training_losses
from darts_lstm_seq.training.watching import (
    epochs_are_watched,
    has_visible_bar,
    steps_are_watched,
)

# batches prepared together: more would hardly save time, and larger ones would take memory
_MAX_BATCHES, _MAX_BYTES = 64, 2**23
# between two updates of a progress bar
_BAR_SECONDS = 0.1


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

    @classmethod
    def install(cls, trainer: pl.Trainer) -> None:
        """Let a new trainer use this loop."""
        lightning = trainer.fit_loop.epoch_loop
        trainer.fit_loop.epoch_loop = cls(trainer, lightning.min_steps, lightning.max_steps)

    @override
    def advance(self, data_fetcher: Any) -> None:
        """Make short steps, and then one with all of Lightning's hooks."""
        # after a restart, Lightning first finds out what was done before
        if not self.restarting and not steps_are_watched(self.trainer, LSTMSeqModule):
            self._make_short_steps(data_fetcher, self._n_short_steps())
            if self._num_ready_batches_reached():
                self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
                self._batches_that_stepped -= 1  # counted once more when this returns
                return
        super().advance(data_fetcher)

    def _n_short_steps(self) -> int:
        left = self.trainer.num_training_batches - self.batch_progress.current.ready
        if not isinstance(left, int):  # nobody knows which batch of a stream is the last
            return 0
        if not epochs_are_watched(self.trainer):
            return left
        if has_visible_bar(self.trainer):
            return min(left - 1, int(_BAR_SECONDS / self._step_seconds))
        return left - 1  # the last one logs the loss

    def _make_short_steps(self, data_fetcher: Any, count: int) -> None:
        trainer = self.trainer
        module: Any = trainer.lightning_module
        optimizer = trainer.optimizers[0]
        steps = module.quick_steps(optimizer)
        clipping = trainer.gradient_clip_val, trainer.gradient_clip_algorithm
        while count > 0 and not trainer.should_stop:
            batches = self._fetch(data_fetcher, count)
            count -= len(batches)
            start = time.perf_counter()
            with trainer.precision_plugin.train_step_context():
                for loss in training_losses(module, batches):
                    optimizer.zero_grad()
                    loss.backward()
                    module.configure_gradient_clipping(optimizer, *clipping)
                    next(steps)
                    self._count_step()
            self._step_seconds = (time.perf_counter() - start) / len(batches)

    def _fetch(self, data_fetcher: Any, count: int) -> list[TorchTrainingBatch]:
        convert = self.trainer.precision_plugin.convert_input
        batches: list[TorchTrainingBatch] = []
        n_bytes = 0
        while len(batches) < min(count, _MAX_BATCHES) and n_bytes < _MAX_BYTES:
            batch, _, _ = next(data_fetcher)
            batches.append(convert(batch))
            n_bytes += sum(x.nbytes for x in tensors_of(batch).values())
        return batches

    def _count_step(self) -> None:
        """Count a step and set the next learning rates, as Lightning does."""
        self.batch_progress.increment_by(1)
        if self._num_ready_batches_reached():
            self.batch_progress.is_last_batch = True
        progress = self.automatic_optimization.optim_progress.optimizer
        progress.step.increment_by(1)
        progress.zero_grad.increment_by(1)
        self.update_lr_schedulers("step", update_plateau_schedulers=False)
        self._batches_that_stepped += 1
