"""Fine-tuning that cannot do harm: the weights it starts from are restored if it ends worse.

Worse are weights whose forecasts of the newest horizon of the training series have a larger loss.
Which weights it starts from, and for how long it goes on, is decided in the package `model`.
"""

import torch
from darts.logging import get_logger
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.utils.data.torch_datasets.utils import (
    ModuleStage,
    PLModuleOutput,
    TorchTrainingBatch,
)
from torch import Tensor, nn
from typing_extensions import override

from darts_lstm_seq.batching.batches import map_tensors

# B batch, T output steps, C target components

logger = get_logger(__name__)


class FineTuning(PLForecastingModule):
    """Lightning module that may start from pre-trained weights."""

    network: nn.Module
    _newest: TorchTrainingBatch | None = None
    _weights: dict[str, Tensor]

    def guard_fine_tuning(self, batch: TorchTrainingBatch) -> None:
        """Keep the present weights if the next training makes the forecasts of a batch worse.

        Parameters
        ----------
        batch
            The training windows that forecast steps of the last output chunk of each series: a
            single window of each would decide by chance.
        """
        self._newest = batch
        self._weights = {name: w.clone() for name, w in self.network.state_dict().items()}

    @override
    def on_fit_end(self) -> None:
        super().on_fit_end()
        if self._newest is not None:
            after, trained = self._newest_loss(), self.network.state_dict()
            trained = {name: weight.clone() for name, weight in trained.items()}
            self.network.load_state_dict(self._weights)
            before = self._newest_loss()
            if after <= before:
                self.network.load_state_dict(trained)
            else:
                logger.info(
                    f"Training raised the loss of the last horizon of the training series from "
                    f"{before:.4f} to {after:.4f}; the pre-trained weights are kept."
                )
            self._newest, self._weights = None, {}

    @torch.no_grad()
    def _newest_loss(self) -> Tensor:
        assert self._newest is not None
        was_training = self.training
        self.eval()
        batch = map_tensors(self._newest, lambda x: x.to(self.device))
        output, label = self.forecast_and_label(batch, ModuleStage.VALIDATE)
        self.train(was_training)
        return self._compute_loss(output, label, self.val_criterion, None)

    def forecast_and_label(
        self, batch: TorchTrainingBatch, stage: ModuleStage
    ) -> tuple[PLModuleOutput, Tensor]:
        """Return forecasts and labels `(B, T, C)` on the scale of the loss."""
        raise NotImplementedError
