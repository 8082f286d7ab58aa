"""Samples without a likelihood: of an ensemble, each is the forecast of one member.

Darts draws samples by repeating each series in the batch of `predict_step`; here each repetition is
assigned to the next member. The forecasts are computed by `nn/ensemble.py`. A single network has
one forecast, which is computed once.

Source: Darts' `PLForecastingModule.predict_step`, whose order of rows this relies on.
"""

from typing import Any

import torch
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.utils.data.torch_datasets.utils import TorchInferenceBatch
from torch import Tensor
from typing_extensions import override

# B rows of a batch: samples times series; C target components


class EnsembleSampling(PLForecastingModule):
    """Lightning module whose ensemble members are its samples, if `n_members` is above 1."""

    n_members: int
    shared_weights: bool
    network: Any
    pred_num_samples: int
    # of the batch that is sampled: number of series, and of samples drawn so far
    _n_series = 0
    _n_sampled = 0

    @property
    @override
    def supports_probabilistic_prediction(self) -> bool:
        """Whether forecasts can be sampled."""
        return self.n_members > 1 or super().supports_probabilistic_prediction

    @override
    def predict_step(
        self, batch: TorchInferenceBatch, batch_idx: int, dataloader_idx: int | None = None
    ) -> Any:
        """Forecast a batch; each sample of an ensemble is the forecast of the next member."""
        if self.pred_num_samples == 1:
            return super().predict_step(batch, batch_idx, dataloader_idx)
        if self.n_members == 1:
            is_random = self.likelihood is not None or self.pred_mc_dropout
            predict = super().predict_step if is_random else self._predict_equal_samples
            return predict(batch, batch_idx, dataloader_idx)
        self._n_series, self._n_sampled = batch.past_target.shape[0], 0
        try:
            return super().predict_step(batch, batch_idx, dataloader_idx)
        finally:
            self._n_series, self.network.member_of_row = 0, None

    def _predict_equal_samples(self, *arguments: Any) -> Any:
        # conformal models ask for 500
        n_samples, self.pred_num_samples = self.pred_num_samples, 1
        try:
            prediction, *rest = super().predict_step(*arguments)  # (1, series, n, C)
        finally:
            self.pred_num_samples = n_samples
        return prediction.repeat(n_samples, 1, 1, 1), *rest

    @override
    def _get_batch_prediction(
        self, n: int, input_batch: TorchInferenceBatch, roll_size: int
    ) -> Tensor:
        if self._n_series:
            self._assign_members(len(input_batch.past_target))
        return super()._get_batch_prediction(n, input_batch, roll_size)

    def _assign_members(self, n_rows: int) -> None:
        samples = torch.arange(n_rows // self._n_series, device=self.device) + self._n_sampled
        self._n_sampled += len(samples)
        members = (samples % self.n_members).repeat_interleave(self._n_series)  # (B,)
        if self.shared_weights:
            members = members.repeat_interleave(self.n_targets)  # (BC,)
        self.network.member_of_row = members
