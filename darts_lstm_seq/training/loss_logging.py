"""Losses of a training and its validation: logged for callbacks, checked when an epoch ends.

How a loss is computed is decided in `module.py`. Here is which losses Lightning logs (each call
costs time), and which end the training with an error.

Source: the hooks of Lightning's `LightningModule`.
"""

import torch
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.utils.data.torch_datasets.utils import ModuleStage
from torch import Tensor
from typing_extensions import override

from darts_lstm_seq.training.optimization import check_finite
from darts_lstm_seq.training.watching import losses_are_watched

# B batch, T output steps, C target components


class LossLogging(PLForecastingModule):
    """Lightning module that logs the loss over known labels."""

    _last_loss: Tensor | None = None  # of the last training batch with a known label
    _n_val_labels = 0  # number of known labels in the current validation
    _losses_are_watched = True

    def log_loss(self, stage: ModuleStage, loss: Tensor, label: Tensor) -> None:
        """Log the loss of a batch as `train_loss` or `val_loss`, weighted by its known labels.

        A batch without known labels has no loss: it adds nothing to the validation loss, and in
        training the last loss is logged again.

        Parameters
        ----------
        stage
            Training or validation.
        loss
            The loss of the batch.
        label
            Its labels `(B, T, C)`; NaN marks missing values.
        """
        known = ~torch.isnan(label)  # (B, T, C)
        n_known = label.numel() if known.all() else int(known.sum())
        if stage is not ModuleStage.TRAIN:
            self._n_val_labels += n_known
        else:
            self.keep_loss(loss, n_known)
            # callbacks read the loss at the end of the epoch, before this module's own hook
            if not self._losses_are_watched and not self.trainer.is_last_batch:
                return
            loss = loss * torch.nan if self._last_loss is None else self._last_loss
        name = f"{stage.value}_loss"
        self.log(name, loss, batch_size=n_known, prog_bar=True, sync_dist=True)

    def keep_loss(self, loss: Tensor, n_known: int) -> None:
        """Keep the loss of a training batch, if it has known labels."""
        if n_known:
            self._last_loss = loss.detach()

    @override
    def on_train_start(self) -> None:
        """Find out whether the loss of each step has to be logged."""
        # only the first process has a progress bar, but logged values are averaged over all
        self._losses_are_watched = self.trainer.strategy.reduce_boolean_decision(
            losses_are_watched(self.trainer), all=False
        )
        self._last_loss = None

    @override
    def on_train_epoch_end(self) -> None:
        """Stop a training that has diverged, see `check_finite`."""
        loss = self._last_loss if self._last_loss is not None else torch.zeros(())
        check_finite(loss, self.parameters(), self.current_epoch)
        super().on_train_epoch_end()

    @override
    def on_validation_epoch_start(self) -> None:
        """Start counting the labels of the validation loss."""
        self._n_val_labels = 0

    @override
    def on_validation_epoch_end(self) -> None:
        """Check that there is a validation loss.

        Raises
        ------
        ValueError
            If no label is known: early stopping would never see a loss.
        """
        super().on_validation_epoch_end()
        # a sanity check runs a few batches only
        if not self.trainer.sanity_checking and self.trainer.strategy.reduce_boolean_decision(
            self._n_val_labels == 0
        ):
            raise ValueError(
                "`val_series` has no label to measure a loss by, from index 0 to the last series: "
                "each value to forecast is missing (NaN) or follows an input window of constant "
                "values, which has no scale. Pass series that vary, or leave `val_series` out."
            )
