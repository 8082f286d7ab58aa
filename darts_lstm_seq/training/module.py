"""The Lightning module around the network: normalise, forecast, invert, compute the loss.

It turns Darts' named batches into the network's tensors and back. Features, normalisation, known
labels, logging, initial weights, ensembles and the optimiser have files of their own in this
folder. Training loops, devices and checkpoints are Lightning's; auto-regression and sampling are
inherited from Darts' `PLForecastingModule`. Default values belong to `LSTMSeqModel`.

Source: the module interface of Darts 0.48 (`PLModuleInput` in, `PLModuleOutput` out).
"""

from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from darts.models.forecasting.pl_forecasting_module import io_processor
from darts.utils.data.torch_datasets.utils import (
    ModuleStage,
    PLModuleInput,
    PLModuleOutput,
    TorchInferenceBatch,
    TorchTrainingBatch,
)
from darts.utils.likelihood_models.torch import DirichletLikelihood, QuantileRegression
from darts.utils.torch import MonteCarloDropout
from torch import Tensor, nn
from typing_extensions import override

from darts_lstm_seq.batching.batches import map_tensors
from darts_lstm_seq.compat import has_prior
from darts_lstm_seq.nn.ensemble import EnsembleNetwork
from darts_lstm_seq.nn.long_skip import make_skip
from darts_lstm_seq.nn.network import LSTMSeqNetwork
from darts_lstm_seq.nn.skip import find_season
from darts_lstm_seq.training.ensemble_sampling import EnsembleSampling
from darts_lstm_seq.training.features import Features
from darts_lstm_seq.training.fine_tuning import FineTuning
from darts_lstm_seq.training.initialization import ridge_skip_weights
from darts_lstm_seq.training.loss_logging import LossLogging
from darts_lstm_seq.training.masked_loss import select_complete_steps, select_known
from darts_lstm_seq.training.normalization import InstanceNorm
from darts_lstm_seq.training.optimization import Optimization
from darts_lstm_seq.training.output_biases import OutputBiases
from darts_lstm_seq.training.predicted_values import PredictedValues

# B batch, L input steps, T output steps, C target components, P likelihood parameters,
# D future covariates, H hidden, K members of an ensemble

# normalised labels are clipped to plus or minus this value, so that squared errors stay finite
_MAX_NORMALIZED_LABEL = 1e3


class LSTMSeqModule(
    Optimization, LossLogging, EnsembleSampling, OutputBiases, FineTuning, PredictedValues
):
    """Everything between a Darts batch and `LSTMSeqNetwork`. Created by `LSTMSeqModel`.

    Parameters
    ----------
    hidden_dim, n_rnn_layers, patch_length, dropout, n_members, shared_weights
        See `LSTMSeqModel`.
    mask_inputs
        Whether the missing-value mask is an input of the network.
    use_training_level
        Whether windows may be normalised by the level of the training data, see `InstanceNorm`.
    anneal_lr
        Whether the learning rate falls to zero along a cosine if the user chose no scheduler.
    low_data
        Low-data regime: with a season, the skip starts from ridge regression.
    predict_median
        Whether a forecast of a single sample is the median quantile, and not a random sample.
    lr_multiplier
        Learning rate of `LSTMSeqNetwork.reduced_lr_parameters`, relative to the optimiser's.
    nonnegative
        Whether predictions below zero become zero.
    **kwargs
        See Darts' `PLForecastingModule`.
    """

    rin: InstanceNorm | None
    optimizer_kwargs: dict[str, Any]
    export_dtype = torch.float32  # of the inputs of an exported graph

    def __init__(
        self,
        hidden_dim: int,
        n_rnn_layers: int,
        patch_length: int,
        dropout: float,
        n_members: int,
        shared_weights: bool,
        mask_inputs: bool,
        use_training_level: bool,
        anneal_lr: bool,
        low_data: bool,
        predict_median: bool,
        lr_multiplier: float,
        nonnegative: bool = False,  # files of earlier versions have no such parameter
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.n_members = n_members
        self.dropout = dropout
        self.shared_weights = shared_weights
        self.use_training_level = use_training_level
        self.anneal_lr = anneal_lr
        self.low_data = low_data
        self.predict_median = predict_median
        self.lr_multiplier = lr_multiplier
        self.nonnegative = nonnegative
        assert self.train_sample_shape is not None  # `LSTMSeqModel` always passes it
        shapes = self.train_sample_shape
        dims = {name: 0 if shape is None else shape[-1] for name, shape in shapes.items()}
        n_past, n_future = dims["past_covariates"], dims["future_covariates"]
        static_shape = shapes["static_covariates"] or (0, 0)
        norm = self.use_reversible_instance_norm
        if norm:
            self.rin = InstanceNorm(
                self.n_targets,
                likelihood=self.likelihood,
                moves_constants=n_past + n_future > 0,
                **(norm if isinstance(norm, dict) else {}),
            )
        # with shared weights each component, with its static covariates, is a row of its own
        n_components, n_static_rows = (
            (1, 1) if shared_weights else (self.n_targets, static_shape[0])
        )
        self.past_dim = past_dim = n_components + n_past + dims["historic_future_covariates"]
        static_dim = n_static_rows * static_shape[1]
        # named as in the module of `BlockRNNModel`
        self.input_size, self.future_cov_dim = past_dim + static_dim, n_future
        chunks = self.input_chunk_length, self.output_chunk_length, self.output_chunk_shift
        skip = make_skip(*chunks)
        network_cls = LSTMSeqNetwork if n_members == 1 else partial(EnsembleNetwork, n_members)
        self.network = network_cls(
            past_dim=past_dim,
            output_chunk_length=self.output_chunk_length,
            output_dim=n_components * self._nr_params,
            static_dim=static_dim,
            future_dim=n_future,
            hidden_dim=hidden_dim,
            n_rnn_layers=n_rnn_layers,
            patch_length=patch_length,
            dropout=dropout,
            mask_inputs=mask_inputs,
            skip=skip if self.rin is not None else None,  # it forecasts normalised values
            target_dim=n_components,
            # all quantiles, but only the location of a distribution
            skip_outputs=self._nr_params if isinstance(self.likelihood, QuantileRegression) else 1,
            # Darts takes any Monte Carlo dropout layer, even with rate 0, for a source of samples
            dropout_cls=MonteCarloDropout if dropout > 0 else nn.Identity,
        )
        self.features = Features(
            n_past,
            n_future,
            n_static=static_shape[1],
            standardize=self.rin is not None,
            split_components=shared_weights,
        )

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the name of each hook that runs, 40 times a step, and `nn.Module` would
        # search its parameters for it each time: a fit with batches of 32 takes 6 to 7 % longer
        # without this branch (`benchmarks/bench_fit.py`)
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    @property
    def _nr_params(self) -> int:
        return 1 if self.likelihood is None else self.likelihood.num_parameters

    @override
    @io_processor
    def forward(self, x_in: PLModuleInput) -> PLModuleOutput:
        """Forecast one output chunk on the scale and in the dtype of the input.

        Parameters
        ----------
        x_in
            Darts' named input: `past_target (B, L, C)`, `past_covariates (B, L, _)`,
            `historic_future_covariates (B, L, D)`, `future_covariates (B, T, D)`,
            `static_covariates (B, C or 1, _)`. NaN in the first two marks missing values.

        Returns
        -------
        PLModuleOutput
            `prediction (B, T, C, P)`.
        """
        prediction = self._predict_normalized(x_in)
        return PLModuleOutput(prediction=prediction.to(float_dtype(x_in.past_target)))

    def _predict_normalized(self, x_in: PLModuleInput) -> Tensor:
        """Run the network on a normalised target; return `(B, T, C, P)`, normalised too."""
        past, future, static = self.features(x_in, self.dtype)
        # few CPUs have an LSTM in half precision, so mixed precision gains nothing there
        mixed = past.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        with torch.autocast("cpu", enabled=False) if mixed else nullcontext():
            if self._is_member_batch(x_in.stage):
                forecast = self.network.forward_per_member(past, future, static)
            else:
                forecast = self.network(past, future, static)
        return self.by_component(forecast)

    def by_component(self, forecast: Tensor) -> Tensor:
        """Return the network's forecasts by target component, `(B, T, C, P)`."""
        if self.shared_weights:  # (BC, T, P) -> (B, T, C, P)
            forecast = forecast.unflatten(0, (-1, self.n_targets)).transpose(1, 2)
        else:
            forecast = forecast.view(*forecast.shape[:2], self.n_targets, self._nr_params)
        return forecast if self.rin is None else self.rin.undo_affine(forecast)

    def _is_member_batch(self, stage: ModuleStage) -> bool:
        """Whether the rows of a batch are grouped by member: each trains on its own copy."""
        return stage is ModuleStage.TRAIN and self.n_members > 1

    def encode(self, x_in: PLModuleInput) -> Tensor:
        """Return the last hidden state, `(B, H)`; with shared weights `(B, C * H)`."""
        if self.rin is not None:
            x_in = x_in.replace(past_target=self.rin(x_in.past_target))
        past, _, static = self.features(x_in, self.dtype)
        state = self.network.encode(past, static)
        return state.unflatten(0, (-1, self.n_targets)).flatten(1) if self.shared_weights else state

    @torch.no_grad()
    def initialize(self, batch: TorchTrainingBatch, n_windows: int) -> None:
        """Compute scales, and the initial weights of the skip, from the training data.

        Parameters
        ----------
        batch
            A sample of the training windows.
        n_windows
            Number of windows that it was drawn from.
        """
        self.fit_scales(batch)
        if self.network.has_skip:
            self._initialize_skip(batch, n_windows * self.n_targets)

    @torch.no_grad()
    def fit_scales(self, batch: TorchTrainingBatch) -> None:
        """Compute the scales of covariates and windows from a sample of the training windows."""
        self.features.fit(batch)
        if self.rin is not None:
            self.rin.fit(
                batch.past_target, batch.future_target, use_training_level=self.use_training_level
            )

    def _initialize_skip(self, batch: TorchTrainingBatch, n_windows: int) -> None:
        assert self.rin is not None  # there is no skip without it
        past = self.rin(batch.past_target)
        season = find_season(past, n_windows // self.n_targets)
        weights = None
        if self.low_data and season > 1:
            label = self.normalized_label(batch)
            weights = ridge_skip_weights(past, label, season, n_windows, self.output_chunk_shift)
        self.network.initialize_skip(season, n_windows, weights)
        if isinstance(self.likelihood, QuantileRegression):
            self.initialize_quantiles(batch)
        elif self.likelihood is not None:
            self.initialize_likelihood(
                batch, lambda share: self.network.initialize_skip(season, n_windows, weights, share)
            )

    def reset_dropout_masks(self, n_windows: int) -> None:
        """Use separate dropout masks for the next training, see `nn/dropout.py`.

        Parameters
        ----------
        n_windows
            Number of windows in a full batch.
        """
        self.network.reset_dropout_masks(n_windows * (self.n_targets if self.shared_weights else 1))

    def forecast_and_label(
        self, batch: TorchTrainingBatch, stage: ModuleStage
    ) -> tuple[PLModuleOutput, Tensor]:
        """Return forecasts and labels `(B, T, C)` on the scale of the loss.

        A label that is missing, or follows a constant window and so has no scale, is NaN.
        """
        x_in = batch.to_module_input(stage=stage)
        norm = self.loss_norm
        if norm is None:
            output = self(x_in)
            # losses of PyTorch 2.8 have no gradient between half and single precision
            return output, batch.future_target.to(output.prediction.dtype)
        x_in = x_in.replace(past_target=norm(x_in.past_target))
        prediction = self._predict_normalized(x_in)
        label = self.normalized_label(batch).to(prediction.dtype)
        return PLModuleOutput(prediction=prediction), label

    def normalized_label(self, batch: TorchTrainingBatch) -> Tensor:
        """Return the labels `(B, T, C)` normalised like the windows that `rin` has seen last."""
        assert self.rin is not None
        label = self.rin.transform(batch.future_target)
        label = label.clamp(-_MAX_NORMALIZED_LABEL, _MAX_NORMALIZED_LABEL)
        return torch.where(self.rin.constant, torch.nan, label)

    @property
    def loss_norm(self) -> InstanceNorm | None:
        """The normalisation of the loss, so that series of a large scale do not dominate.

        Counts and positive values keep their scale, on which their likelihoods are defined. With a
        prior, which the user gave in the units of the data, everything does.
        """
        if self.rin is None or not self.rin.shifts or has_prior(self.likelihood):
            return None
        return self.rin

    def loss_of_batch(
        self, batch: TorchTrainingBatch, stage: ModuleStage, criterion: Any
    ) -> tuple[Tensor, PLModuleOutput, Tensor]:
        """Return the loss of a batch, its forecasts and its labels."""
        if self._is_member_batch(stage):
            batch = map_tensors(batch, lambda x: x.repeat(self.n_members, *[1] * (x.dim() - 1)))
        output, label = self.forecast_and_label(batch, stage)
        loss = self._compute_loss(output, label, criterion, batch.sample_weight)
        if self._is_member_batch(stage):
            loss = loss * self.n_members  # each member has the gradient of a single network
        return loss, output, label

    @override
    def _train_val_step(
        self, batch: TorchTrainingBatch, stage: ModuleStage, criterion: Any, metrics: Any
    ) -> Tensor:
        loss, output, label = self.loss_of_batch(batch, stage, criterion)
        self.log_loss(stage, loss, label)
        if len(metrics):
            if self.loss_norm is not None:
                output = output.replace(prediction=self.loss_norm.inverse(output.prediction))
            self._update_metrics(output, batch.future_target, metrics)
        return loss

    @override
    def _compute_loss(
        self, output: PLModuleOutput, target: Tensor, criterion: Any, sample_weight: Tensor | None
    ) -> Tensor:
        is_joint = isinstance(self.likelihood, DirichletLikelihood)
        known = select_known(output.prediction, target, sample_weight, is_joint)
        if known is None:
            return (output.prediction * 0.0).sum()
        prediction, target, sample_weight = known
        output = output.replace(prediction=prediction)
        return self.loss_of_known(output, target, criterion, sample_weight)

    def loss_of_known(
        self, output: PLModuleOutput, target: Tensor, criterion: Any, sample_weight: Tensor | None
    ) -> Tensor:
        """Return Darts' loss; all labels are known."""
        return super()._compute_loss(output, target, criterion, sample_weight)

    @override
    def _update_metrics(self, output: PLModuleOutput, target: Tensor, metrics: Any) -> None:
        complete = select_complete_steps(output.prediction, target)
        if complete is not None:
            super()._update_metrics(output.replace(prediction=complete[0]), complete[1], metrics)

    @override
    def _get_batch_prediction(
        self, n: int, input_batch: TorchInferenceBatch, roll_size: int
    ) -> Tensor:
        prediction = super()._get_batch_prediction(n, input_batch, roll_size)
        return prediction.to(input_batch.past_target.dtype)

    @override
    def _get_mc_dropout_modules(self) -> set[MonteCarloDropout]:
        # Darts searches all modules, several times a prediction (`benchmarks/bench_predict.py`)
        return {d for d in self.network.dropouts if isinstance(d, MonteCarloDropout)}

    @override
    def _onnx_wrapper(self, input_sample: PLModuleInput) -> Any:
        return super()._onnx_wrapper(map_tensors(input_sample, lambda x: x.to(self.export_dtype)))

    @override
    def to_dtype(self, dtype: torch.dtype) -> None:
        """Cast to any floating type; Darts' own method refuses `bfloat16`."""
        self.to(dtype)


def float_dtype(x: Tensor) -> torch.dtype:
    """Return the type of the forecasts of windows."""
    return torch.promote_types(x.dtype, torch.float32)
