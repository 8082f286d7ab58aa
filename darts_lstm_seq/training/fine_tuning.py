"""Fine-tuning from pre-trained weights: they stay if training made the newest horizon worse.

Which weights a training starts from, and for how long it goes on, is decided in the package
`model`; the steps themselves are those of any training.
"""

from typing import TYPE_CHECKING

import torch
from darts.logging import get_logger
from darts.utils.data.torch_datasets.utils import ModuleStage, TorchTrainingBatch
from torch import Tensor

from darts_lstm_seq.batching.batches import map_tensors

if TYPE_CHECKING:
    from darts_lstm_seq.training.module import LSTMSeqModule

logger = get_logger(__name__)


class FineTuningGuard:
    """Restores the weights a training started from if its end is no better.

    Parameters
    ----------
    module
        The module before training.
    batch
        The training windows that forecast steps of the last output chunk of each series: a single
        window of each would decide by chance.
    """

    def __init__(self, module: "LSTMSeqModule", batch: TorchTrainingBatch) -> None:
        self.batch = batch
        self.weights = {name: w.clone() for name, w in module.network.state_dict().items()}
        self.loss = self._loss_of(module)

    def settle(self, module: "LSTMSeqModule") -> None:
        """Keep the weights of the trained module, or restore those it started from."""
        loss = self._loss_of(module)
        if loss <= self.loss:
            return
        logger.info(
            f"Fine-tuning raised the loss of the last horizon of the training series from "
            f"{self.loss:.4f} to {loss:.4f}; the pre-trained weights are kept."
        )
        module.network.load_state_dict(self.weights)

    @torch.no_grad()
    def _loss_of(self, module: "LSTMSeqModule") -> Tensor:
        was_training = module.training
        module.eval()
        batch = map_tensors(self.batch, lambda x: x.to(module.device))
        output, label = module.forecast_and_label(batch, ModuleStage.VALIDATE)
        loss = module._compute_loss(output, label, module.val_criterion, None)
        module.train(was_training)
        return loss.cpu()
