"""Lightning callbacks that any user can pass to any Darts torch model.

Progress bars, checkpoints and early stopping are Lightning's own.
"""

import pytorch_lightning as pl
from darts.utils.serialization import add_safe_globals
from typing_extensions import override

from darts_lstm_seq.checks import check_positive_integer


class PrintLoss(pl.Callback):
    """Print the training loss every few epochs, in the tutorial's form.

    As in the tutorial, it is the loss of the epoch's last training step. No progress bar and no
    logger is needed. In distributed training, the process of rank 0 prints.

    Parameters
    ----------
    every
        Number of epochs between two lines.

    Raises
    ------
    ValueError
        If `every` is not an integer of at least 1.

    Examples
    --------
    >>> from darts.utils.timeseries_generation import sine_timeseries
    >>> from darts_lstm_seq import LSTMSeqModel, PrintLoss
    >>> model = LSTMSeqModel(
    ...     input_chunk_length=12,
    ...     output_chunk_length=1,
    ...     n_epochs=4,
    ...     pl_trainer_kwargs={"callbacks": [PrintLoss(every=2)], "enable_progress_bar": False},
    ... )
    >>> _ = model.fit(sine_timeseries(length=50))  # doctest: +ELLIPSIS
    Epoch [2/4], Loss: ...
    Epoch [4/4], Loss: ...
    """

    def __init__(self, every: int = 10) -> None:
        self.every = check_positive_integer("every", every)

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the last logged training loss, every `every` epochs."""
        epoch = trainer.current_epoch + 1
        if epoch % self.every == 0 and trainer.is_global_zero:
            loss = trainer.callback_metrics["train_loss"].item()
            print(f"Epoch [{epoch}/{trainer.max_epochs}], Loss: {loss:.4f}", flush=True)


# models are saved with their callbacks, and Darts loads registered classes only
add_safe_globals([PrintLoss])
