"""Output biases by the likelihood of the training windows: before training, and after it.

Before, they give quantiles and distributions a spread that the few steps of a small data set would
not reach. In training, dropout makes forecasts noisier than they are in prediction, so that a
distribution learns too wide a dispersion; afterwards it is fitted once more, without dropout.
`initialization.py` computes; `module.py` provides forecasts and losses.

Source: our own; calibration after training as in Guo et al., "On Calibration of Modern Neural
Networks", https://arxiv.org/abs/1706.04599.
"""

from collections.abc import Callable
from typing import Any

import torch
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.utils.data.torch_datasets.utils import (
    ModuleStage,
    PLModuleInput,
    PLModuleOutput,
    TorchTrainingBatch,
)
from darts.utils.likelihood_models.torch import QuantileRegression
from torch import Tensor
from typing_extensions import override

from darts_lstm_seq.batching.batches import map_tensors
from darts_lstm_seq.training.features import split_by_component
from darts_lstm_seq.training.initialization import (
    fit_share_and_biases,
    minimize,
    quantile_biases,
)
from darts_lstm_seq.training.normalization import InstanceNorm

# B batch, T output steps, C target components, P likelihood parameters

# by which a dispersion may change after the training; without a limit, one that grows more likely
# for ever, as that of counts that spread no more than a Poisson variable's, ends anywhere
_LARGEST_SHIFT = 2.0


class OutputBiases(PLForecastingModule):
    """Lightning module that fits output biases to training windows."""

    network: Any
    rin: InstanceNorm | None
    shared_weights: bool
    dropout: float
    _dispersion_batch: TorchTrainingBatch | None = None

    def initialize_quantiles(self, batch: TorchTrainingBatch) -> None:
        """Initialise quantile biases from the skip's residuals."""
        was_training = self.training
        output, label = self.eval().forecast_and_label(batch, ModuleStage.VALIDATE)
        self.train(was_training)
        quantiles = self.likelihood.quantiles
        errors = label - output.prediction[..., quantiles.index(0.5)]  # (B, T, C)
        errors = errors.to(torch.promote_types(errors.dtype, torch.float32))
        if self.shared_weights:
            errors = split_by_component(errors)  # (BC, T, 1)
        self.network.add_to_output_bias(quantile_biases(errors, quantiles))

    def initialize_likelihood(
        self, batch: TorchTrainingBatch, initialize_skip: Callable[[float], None]
    ) -> None:
        """Initialise output biases and the share of the skip by the likelihood of the labels.

        Parameters
        ----------
        batch
            A sample of the training windows.
        initialize_skip
            Initialises the skip with a share of its base weights.
        """
        initialize_skip(0.0)
        without, loss_of = self._outputs_and_loss(batch)  # (B, T, C, P)
        initialize_skip(1.0)
        skip = self._outputs_and_loss(batch)[0] - without

        def loss(share: float, biases: Tensor) -> Tensor:
            return loss_of(without + share * skip + biases)

        share, biases = fit_share_and_biases(loss, (self._n_rows, self._nr_params))
        initialize_skip(share)
        self._add_biases(biases)

    @property
    def has_noisy_dispersion(self) -> bool:
        """Whether a distribution learns its dispersion from forecasts with dropout."""
        has_dispersion = self.likelihood is not None and self._nr_params > 1
        is_quantiles = isinstance(self.likelihood, QuantileRegression)
        return bool(self.rin and self.dropout and has_dispersion and not is_quantiles)

    def refit_dispersion(self, batch: TorchTrainingBatch) -> None:
        """Fit the dispersion of a distribution to a batch when the next training has ended."""
        if self.has_noisy_dispersion:
            self._dispersion_batch = batch

    @override
    def on_fit_end(self) -> None:
        super().on_fit_end()
        if self._dispersion_batch is not None:
            batch = map_tensors(self._dispersion_batch, lambda x: x.to(self.device))
            self._dispersion_batch = None
            with torch.no_grad():
                outputs, loss_of = self._outputs_and_loss(batch)
            location = torch.zeros(self._n_rows, 1, device=self.device)

            def biases(dispersion: Tensor) -> Tensor:
                return torch.cat([location, dispersion], dim=-1)

            start = torch.zeros(self._n_rows, self._nr_params - 1, device=self.device)
            found = minimize(lambda x: loss_of(outputs + biases(x)), start)
            self._add_biases(biases(found.clamp(-_LARGEST_SHIFT, _LARGEST_SHIFT)))

    @property
    def _n_rows(self) -> int:
        return 1 if self.shared_weights else self.n_targets

    def _add_biases(self, biases: Tensor) -> None:
        self.network.add_to_output_bias(biases.flatten().repeat(self.output_chunk_length))

    def _outputs_and_loss(
        self, batch: TorchTrainingBatch
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return the outputs `(B, T, C, P)` without dropout, and the loss of such outputs."""
        assert self.rin is not None  # there is no skip without it
        norm, rin = self.loss_norm, self.rin
        x_in = batch.to_module_input(stage=ModuleStage.VALIDATE)
        x_in = x_in.replace(past_target=rin(x_in.past_target))
        was_training = self.training
        self.eval()
        outputs = self._predict_normalized(x_in)
        self.train(was_training)
        label = batch.future_target if norm is None else self.normalized_label(batch)

        def loss(outputs: Tensor) -> Tensor:
            output = PLModuleOutput(rin.inverse(outputs) if norm is None else outputs)
            return self._compute_loss(output, label, self.train_criterion, None)

        return outputs, loss

    def forecast_and_label(
        self, batch: TorchTrainingBatch, stage: ModuleStage
    ) -> tuple[PLModuleOutput, Tensor]:
        """Return forecasts and labels `(B, T, C)` on the scale of the loss."""
        raise NotImplementedError

    @property
    def _nr_params(self) -> int:
        raise NotImplementedError

    @property
    def loss_norm(self) -> InstanceNorm | None:
        """The normalisation of the loss."""
        raise NotImplementedError

    def _predict_normalized(self, x_in: PLModuleInput) -> Tensor:
        raise NotImplementedError

    def normalized_label(self, batch: TorchTrainingBatch) -> Tensor:
        """Return the normalised labels `(B, T, C)`."""
        raise NotImplementedError
