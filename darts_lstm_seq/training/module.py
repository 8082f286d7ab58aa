"""The Lightning module around the network: normalise, run, invert, loss.

It turns Darts' named batches into the network's tensors and back. Training loops, devices and
checkpoints are Lightning's; auto-regression and sampling are inherited from Darts'
`PLForecastingModule`. No defaults live here: they belong to `LSTMSeqModel`.

Source: the module interface of Darts 0.48 (`PLModuleInput` in, `PLModuleOutput` out).
"""

import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule, io_processor
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

from darts_lstm_seq.batching.datasets import tensors_of
from darts_lstm_seq.compat import has_prior, saves_within_epochs
from darts_lstm_seq.nn.ensemble import EnsembleNetwork
from darts_lstm_seq.nn.imputation import impute
from darts_lstm_seq.nn.network import LSTMSeqNetwork
from darts_lstm_seq.nn.optim import PerNetworkLearningRate
from darts_lstm_seq.nn.ridge import fit_ridge
from darts_lstm_seq.nn.skip import SeasonalSkip, find_season
from darts_lstm_seq.training.normalization import InstanceNorm, Standardizer
from darts_lstm_seq.training.optimization import PerNetworkClipping

# B batch, L input steps, T output steps, C target components, P likelihood parameters,
# F past features, D future covariates, S static features per window

# a label further than this many spreads from its past counts as this far: squares stay finite
_MAX_NORMALIZED_LABEL = 1e3
# where training windows are few, longer ones than this slow the LSTM down
_FULL_LR_WINDOW = 12
_FUSABLE = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)


class LSTMSeqModule(PerNetworkClipping, PLForecastingModule):
    """Everything between a Darts batch and `LSTMSeqNetwork`. Made by `LSTMSeqModel`.

    Parameters
    ----------
    hidden_dim, n_rnn_layers, patch_length, dropout, n_members, shared_weights
        See `LSTMSeqModel`.
    mask_inputs
        Whether the network is told which inputs were missing.
    use_training_level
        Whether windows may be measured by the level that the training data kept.
    anneal_lr
        Whether the learning rate falls to zero along a cosine, where no scheduler was given.
    low_data
        Whether training windows are so few that the LSTM would know them by heart: it learns more
        slowly, and where there is a season the skip comes from a regression.
    **kwargs
        See Darts' `PLForecastingModule`.
    """

    rin: InstanceNorm | None
    optimizer_kwargs: dict[str, Any]
    _last_loss: Tensor | None = None  # of a batch with any label
    _n_val_labels = 0  # of the validation under way
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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.n_members = n_members
        self.shared_weights = shared_weights
        self.use_training_level = use_training_level
        self.anneal_lr = anneal_lr
        self.low_data = low_data
        # of what `reduced_lr_parameters` says, as a share of the optimiser's rate
        self.lr_multiplier = (
            min(_FULL_LR_WINDOW / self.input_chunk_length, 1.0) if low_data else 1.0
        )
        self._n_steps: float | None = None  # of the training under way
        norm = self.use_reversible_instance_norm
        if norm:
            norm_kwargs = norm if isinstance(norm, dict) else {}
            self.rin = InstanceNorm(self.n_targets, likelihood=self.likelihood, **norm_kwargs)

        dims = {name: 0 if shape is None else shape[-1] for name, shape in self._shapes.items()}
        n_past, n_future = dims["past_covariates"], dims["future_covariates"]
        static_shape = self._shapes["static_covariates"] or (0, 0)
        # with shared weights each component, and its row of static covariates, goes on its own
        targets, rows = (1, 1) if shared_weights else (self.n_targets, static_shape[0])
        past_dim = targets + n_past + dims["historic_future_covariates"]
        static_dim = rows * static_shape[1]
        # named as in the module of `BlockRNNModel`
        self.input_size, self.future_cov_dim = past_dim + static_dim, n_future
        network_cls = LSTMSeqNetwork if n_members == 1 else partial(EnsembleNetwork, n_members)
        self.network = network_cls(
            past_dim=past_dim,
            output_chunk_length=self.output_chunk_length,
            output_dim=targets * self._nr_params,
            static_dim=static_dim,
            future_dim=n_future,
            hidden_dim=hidden_dim,
            n_rnn_layers=n_rnn_layers,
            patch_length=patch_length,
            dropout=dropout,
            mask_inputs=mask_inputs,
            skip=self._make_skip(),
            target_dim=targets,
            # every quantile, but only the location of a family with a scale
            skip_outputs=self._nr_params if self._forecasts_values else 1,
            # Darts takes any Monte-Carlo dropout layer, a silent one too, for a source of samples
            dropout_cls=MonteCarloDropout if dropout > 0 else nn.Identity,
        )
        self._n_series = 0  # of a batch whose samples come from members in turn
        self._members_train = False  # whether the rows of the batch belong to them in turn
        self.standardize = self.rin is not None
        self.past_scaler = Standardizer(n_past)
        self.future_scaler = Standardizer(n_future)
        self.static_scaler = Standardizer(static_shape[1])

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes every hook that runs, 40 times a step; `nn.Module` would look each time
        # whether the name is a parameter's: a twentieth of a small step (`benchmarks/bench_fit.py`)
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    @property
    def _shapes(self) -> dict[str, tuple[int, ...] | None]:
        assert self.train_sample_shape is not None  # `LSTMSeqModel` always passes it
        return self.train_sample_shape

    def _make_skip(self) -> SeasonalSkip | None:
        # it adds to normalised values; positive values and counts are not shifted
        if self.rin is None or not self.rin.shifts:
            return None
        return SeasonalSkip(
            self.input_chunk_length, self.output_chunk_length, self.output_chunk_shift
        )

    @property
    def _forecasts_values(self) -> bool:
        return self.likelihood is None or isinstance(self.likelihood, QuantileRegression)

    @property
    def _nr_params(self) -> int:
        return 1 if self.likelihood is None else self.likelihood.num_parameters

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
        return PLModuleOutput(prediction=prediction.to(_at_least_single(x_in.past_target)))

    def _predict_normalized(self, x_in: PLModuleInput) -> Tensor:
        """Run the network; the target comes and goes in normalised space, `(B, T, C, P)`."""
        past, future, static = self._features(x_in)
        # few CPUs have an LSTM in half precision, and there mixed precision gains nothing
        mixed = past.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        with torch.autocast("cpu", enabled=False) if mixed else nullcontext():
            if self._members_train and isinstance(self.network, EnsembleNetwork):
                forecast = self.network.forward_per_member(past, future, static)
            else:
                forecast = self.network(past, future, static)
        if self.shared_weights:  # (BC, T, P) -> (B, T, C, P)
            forecast = forecast.unflatten(0, (-1, self.n_targets)).transpose(1, 2)
        else:
            forecast = forecast.view(*forecast.shape[:2], self.n_targets, self._nr_params)
        return forecast if self.rin is None else self.rin.undo_affine(forecast)

    def encode(self, x_in: PLModuleInput) -> Tensor:
        """Return the last hidden state, `(B, H)`; with shared weights `(B, C * H)`."""
        if self.rin is not None:
            x_in = x_in.replace(past_target=self.rin(x_in.past_target))
        past, _, static = self._features(x_in)
        state = self.network.encode(past, static)
        return state.unflatten(0, (-1, self.n_targets)).flatten(1) if self.shared_weights else state

    def _features(self, x_in: PLModuleInput) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the network's inputs `(B, L, F)`, `(B, T, D)` and `(B, S)` in its own dtype.

        With shared weights each component is a row of its own: `B` becomes `B * C`.
        """
        target = x_in.past_target
        covariates = [
            self._standardize(x_in.past_covariates, self.past_scaler),
            self._standardize(x_in.historic_future_covariates, self.future_scaler),
        ]
        future = self._standardize(x_in.future_covariates, self.future_scaler)
        static = self._standardize(x_in.static_covariates, self.static_scaler)
        if self.shared_weights:
            n = self.n_targets
            target = _rows_of_components(target)  # (BC, L, 1)
            covariates = [None if c is None else c.repeat_interleave(n, 0) for c in covariates]
            future = None if future is None else future.repeat_interleave(n, 0)
            if static is not None:  # (B, C or 1, _) -> (BC, S)
                static = static.expand(-1, n, -1).flatten(0, 1)
        elif static is not None:
            static = static.flatten(1)  # (B, S)

        features = [target, *(c for c in covariates if c is not None)]
        past = torch.cat([f.to(self.dtype) for f in features], dim=-1)  # (B, L, F)
        return (
            past,
            None if future is None else future.to(self.dtype),
            None if static is None else static.to(self.dtype),
        )

    def _standardize(self, x: Tensor | None, scaler: Standardizer) -> Tensor | None:
        return x if x is None or not self.standardize else scaler(x)

    @torch.no_grad()
    def initialize(self, batch: TorchTrainingBatch, n_windows: int) -> None:
        """Learn from training samples what does not depend on single windows.

        Parameters
        ----------
        batch
            A sample of the training windows.
        n_windows
            Number of windows that it was drawn from.
        """
        for scaler, tensors in (
            (self.past_scaler, [batch.past_covariates]),
            (self.future_scaler, [batch.historic_future_covariates, batch.future_covariates]),
            (self.static_scaler, [batch.static_covariates]),
        ):
            known = [tensor.flatten(0, 1) for tensor in tensors if tensor is not None]
            if known:
                scaler.fit(torch.cat(known))
        if self.rin is not None and self.rin.shifts:
            self.rin.fit(
                batch.past_target, batch.future_target, use_training_level=self.use_training_level
            )
        if self.network.has_skip:
            season = find_season(batch.past_target, n_windows)
            count = n_windows * self.n_targets
            is_regressed = self.low_data and season > 1
            fitted = self._fit_ridge(batch, season, count) if is_regressed else None
            self.network.initialize_skip(season, count, fitted)
            if isinstance(self.likelihood, QuantileRegression):
                self._initialize_quantiles(batch)

    def _fit_ridge(self, batch: TorchTrainingBatch, season: int, n_windows: int) -> Tensor:
        """Return the weights `(T, L)` of a skip that few windows suffice for."""
        assert self.rin is not None
        past = impute(self.rin(batch.past_target))[0]
        past, future = (_rows_of_components(x).squeeze(-1) for x in (past, self._label(batch)))
        return fit_ridge(past, future, season, n_windows, self.output_chunk_shift)

    def _initialize_quantiles(self, batch: TorchTrainingBatch) -> None:
        """Let quantiles start as far apart as the errors of the skip, which training narrows.

        From nothing they would not get there in the few steps that few windows are worth.
        """
        was_training = self.training
        output, label = self.eval().forecast_and_label(batch, ModuleStage.TRAIN)
        self.train(was_training)
        middle = self.likelihood.quantiles.index(0.5)
        errors = label - output.prediction[..., middle]  # (B, T, C)
        errors = errors.to(_at_least_single(errors))
        if self.shared_weights:
            errors = _rows_of_components(errors)  # (BC, T, 1)
        levels = torch.tensor(self.likelihood.quantiles).to(errors)  # (P,)
        # step by step, for PyTorch's quantiles are of 16 million values at most
        found = torch.stack([one.nanquantile(levels, dim=0) for one in errors.unbind(1)])
        spread = (found - found[:, [middle]]).nan_to_num().transpose(1, 2)  # (T, C, P)
        self.network.add_to_output_bias(spread.flatten())

    def reset_dropout_masks(self, n_windows: int) -> None:
        """Let the next training drop by masks of its own.

        Parameters
        ----------
        n_windows
            Number of windows in a whole batch.
        """
        self.network.reset_dropout_masks(n_windows * (self.n_targets if self.shared_weights else 1))

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Move the tensors of one of Darts' batches, which Lightning would search for recursively.

        See `benchmarks/bench_fit.py`.
        """
        if not isinstance(batch, (TorchTrainingBatch, TorchInferenceBatch)):
            return super().transfer_batch_to_device(batch, device, dataloader_idx)
        if batch.past_target.device == device:
            return batch
        return _map_tensors(batch, lambda x: x.to(device, non_blocking=True))

    def forecast_and_label(
        self, batch: TorchTrainingBatch, stage: ModuleStage
    ) -> tuple[PLModuleOutput, Tensor]:
        """Return forecasts and the labels `(B, T, C)` in the space in which the loss lives.

        A label that is missing, or has no unit there, is NaN.
        """
        x_in = batch.to_module_input(stage=stage)
        norm = self._loss_norm
        if norm is None:
            return self(x_in), batch.future_target
        x_in = x_in.replace(past_target=norm(x_in.past_target))
        prediction = self._predict_normalized(x_in)
        label = self._label(batch).to(prediction.dtype)
        return PLModuleOutput(prediction=prediction), label

    def _label(self, batch: TorchTrainingBatch) -> Tensor:
        """Return what came `(B, T, C)`, in spreads of the past that was normalised last."""
        assert self.rin is not None
        label = self.rin.transform(batch.future_target).clamp(
            -_MAX_NORMALIZED_LABEL, _MAX_NORMALIZED_LABEL
        )
        # a constant past has no scale to measure labels by
        return torch.where(self.rin.constant, torch.nan, label)

    def _train_val_step(
        self, batch: TorchTrainingBatch, stage: ModuleStage, criterion: Any, metrics: Any
    ) -> Tensor:
        self._members_train = stage is ModuleStage.TRAIN and self.n_members > 1
        if self._members_train:  # a copy of the batch for each
            batch = _map_tensors(batch, lambda x: x.repeat(self.n_members, *[1] * (x.dim() - 1)))
        output, label = self.forecast_and_label(batch, stage)
        loss = self._compute_loss(output, label, criterion, batch.sample_weight)
        if self._members_train:
            self._members_train = False
            loss = loss * self.n_members  # as large for each as for one alone
        known = ~torch.isnan(label)
        n_known = label.numel() if known.all() else int(known.sum())
        if stage is not ModuleStage.TRAIN:
            self._n_val_labels += n_known
        elif n_known:
            self._last_loss = loss.detach()
        # callbacks read the loss at the end of the epoch, before this module's own hook
        if stage is not ModuleStage.TRAIN or self._steps_are_watched or self.trainer.is_last_batch:
            # a batch without a label has no loss: it adds nothing to the validation loss, and in
            # training the last loss stands
            logged = loss
            if stage is ModuleStage.TRAIN:
                logged = loss * torch.nan if self._last_loss is None else self._last_loss
            name = f"{stage.value}_loss"
            self.log(name, logged, batch_size=n_known, prog_bar=True, sync_dist=True)
        if len(metrics):
            if self._loss_norm is not None:
                output = output.replace(prediction=self._loss_norm.inverse(output.prediction))
            self._update_metrics(output, batch.future_target, metrics)
        return loss

    def configure_optimizers(self) -> Any:
        """Build what the user asked for, with a learning rate that falls to zero in the end.

        Adam and its kin run fused, unless told otherwise: an update of so small a network then
        costs a third (`benchmarks/bench_fit.py`).
        """
        self.optimizer_kwargs = self.choose_optimizer_kwargs(self.trainer.precision)
        configured = super().configure_optimizers()
        if not self.anneal_lr or self.lr_scheduler_cls is not None:
            return configured
        decay = torch.optim.lr_scheduler.LambdaLR(configured, self._share_of_rate)
        return [configured], [{"scheduler": decay, "interval": "step"}]

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Let the optimiser take its step, of which what is to learn slowly keeps its share."""
        if self.lr_multiplier == 1:
            super().optimizer_step(*args, **kwargs)
            return
        shares = PerNetworkLearningRate(self.network.reduced_lr_parameters())
        shares.remember()
        super().optimizer_step(*args, **kwargs)
        shares.apply(torch.tensor([self.lr_multiplier], device=self.device))

    def stacked_parameters(self) -> Iterable[nn.Parameter]:
        """Return the parameters of the members, `(K, ...)` each; none of a single network."""
        return self.network.parameters() if self.n_members > 1 else []

    def choose_optimizer_kwargs(self, precision: str) -> dict[str, Any]:
        """Return the arguments of the optimiser, with fused kernels where they can be had."""
        if (
            self.optimizer_cls in _FUSABLE
            and not {"foreach", "fused", "differentiable"} & self.optimizer_kwargs.keys()
            and precision in ("32-true", "64-true")
        ):
            return {**self.optimizer_kwargs, "fused": True}
        return self.optimizer_kwargs

    def _share_of_rate(self, step: int) -> float:
        if step == 0:  # the number of steps is not known before training
            return 1.0
        if step == 1 or self._n_steps is None:
            self._n_steps = self.trainer.estimated_stepping_batches  # infinite if without an end
        return cosine_factor(step, self._n_steps)

    def on_train_start(self) -> None:
        """Find out whether anybody looks at the loss of single steps."""
        # only the first process has a progress bar, but what is logged is averaged over all
        self._steps_are_watched = self.trainer.strategy.reduce_boolean_decision(
            _steps_are_watched(self.trainer), all=False
        )
        self._last_loss = None

    @override
    def on_validation_epoch_start(self) -> None:
        """Start counting the labels that the validation loss is the mean of."""
        self._n_val_labels = 0

    @override
    def on_validation_epoch_end(self) -> None:
        """Refuse validation data that have no loss.

        Raises
        ------
        ValueError
            If no label is known: early stopping would watch nothing.
        """
        super().on_validation_epoch_end()
        # a sanity check sees a few batches only
        if not self.trainer.sanity_checking and self.trainer.strategy.reduce_boolean_decision(
            self._n_val_labels == 0
        ):
            raise ValueError(
                "`val_series` has no label to measure a loss by, from index 0 to the last series: "
                "each value to forecast is missing (NaN) or follows an input window of constant "
                "values, which has no scale. Pass series that vary, or leave `val_series` out."
            )

    def on_train_epoch_end(self) -> None:
        """Refuse to go on without a loss or weights.

        Raises
        ------
        ValueError
            If any is NaN or infinite: training would go on silently, or end.
        """
        loss = self._last_loss if self._last_loss is not None else torch.zeros(())
        check_finite(loss, self.parameters(), self.current_epoch)
        super().on_train_epoch_end()

    @property
    def _loss_norm(self) -> InstanceNorm | None:
        """What measures labels in spreads of their past, so that no series drowns another.

        Counts and positive values keep their scale: their likelihoods are defined on it. So does a
        prior, which the user gave in the units of the data.
        """
        if self.rin is None or not self.rin.shifts or has_prior(self.likelihood):
            return None
        return self.rin

    def _compute_loss(
        self, output: PLModuleOutput, target: Tensor, criterion: Any, sample_weight: Tensor | None
    ) -> Tensor:
        known = ~torch.isnan(target)  # (B, T, C)
        if not known.all():
            prediction, width = output.prediction, 1
            if isinstance(self.likelihood, DirichletLikelihood):  # one for all components
                known, width = known.all(dim=-1), self.n_targets  # (B, T)
            if not known.any():
                return (prediction * 0.0).sum()
            # each known label becomes a window of one step
            prediction = prediction[known].reshape(-1, 1, width, self._nr_params)
            output = output.replace(prediction=prediction)
            if sample_weight is not None:
                sample_weight = sample_weight.expand_as(target)[known].reshape(-1, 1, width)
            target = target[known].reshape(-1, 1, width)
        return super()._compute_loss(output, target, criterion, sample_weight)

    def _update_metrics(self, output: PLModuleOutput, target: Tensor, metrics: Any) -> None:
        known = ~torch.isnan(target).any(dim=-1)  # (B, T)
        if not known.any():
            return
        if not known.all():
            output = output.replace(prediction=output.prediction[known][:, None])
            target = target[known][:, None]
        super()._update_metrics(output, target, metrics)

    @property
    def supports_probabilistic_prediction(self) -> bool:
        """Whether there is anything to sample from; members of an ensemble are."""
        return self.n_members > 1 or super().supports_probabilistic_prediction

    def predict_step(
        self, batch: TorchInferenceBatch, batch_idx: int, dataloader_idx: int | None = None
    ) -> Any:
        """Forecast a batch; of an ensemble, each sample is the forecast of the next member."""
        if self.n_members == 1 or self.pred_num_samples == 1:
            return super().predict_step(batch, batch_idx, dataloader_idx)
        self._n_series, self._n_sampled = batch.past_target.shape[0], 0
        try:
            return super().predict_step(batch, batch_idx, dataloader_idx)
        finally:
            self._n_series, self.network.member_of_row = 0, None

    def _choose_members(self, n_rows: int) -> None:
        samples = torch.arange(n_rows // self._n_series, device=self.device) + self._n_sampled
        self._n_sampled += len(samples)
        chosen = (samples % self.n_members).repeat_interleave(self._n_series)
        if self.shared_weights:
            chosen = chosen.repeat_interleave(self.n_targets)
        self.network.member_of_row = chosen

    def _get_batch_prediction(
        self, n: int, input_batch: TorchInferenceBatch, roll_size: int
    ) -> Tensor:
        if self._n_series:
            self._choose_members(len(input_batch.past_target))
        prediction = super()._get_batch_prediction(n, input_batch, roll_size)
        return prediction.to(input_batch.past_target.dtype)

    def _get_mc_dropout_modules(self) -> set[MonteCarloDropout]:
        # Darts searches all modules, several times a prediction (`benchmarks/bench_predict.py`)
        return {one for one in self.network.dropouts if isinstance(one, MonteCarloDropout)}

    def _onnx_wrapper(self, input_sample: PLModuleInput) -> Any:
        return super()._onnx_wrapper(_map_tensors(input_sample, lambda x: x.to(self.export_dtype)))

    def to_dtype(self, dtype: torch.dtype) -> None:
        """Cast to `dtype`, which may be any floating type (Darts knows no `bfloat16` here)."""
        self.to(dtype)


def _steps_are_watched(trainer: Any) -> bool:
    """Tell whether a logger, a progress bar or a callback could see the loss of a single step.

    Logging it costs a fifth of a small training step (`benchmarks/bench_fit.py`).
    """
    bar = trainer.progress_bar_callback
    return bool(
        trainer.loggers
        or (bar is not None and bar.is_enabled)
        or any(
            type(callback).on_train_batch_end is not pl.Callback.on_train_batch_end
            for callback in trainer.callbacks
            if callback is not bar and not isinstance(callback, pl.callbacks.ModelCheckpoint)
        )
        or any(map(saves_within_epochs, trainer.checkpoint_callbacks))
        or trainer.max_steps != -1  # an epoch may end with any step
    )


def cosine_factor(step: int, n_steps: float) -> float:
    """Return the share of the learning rate at a step: from 1 to 0 along a cosine."""
    return 0.5 * (1 + math.cos(math.pi * min(step / n_steps, 1.0)))


def check_finite(loss: Tensor, weights: Iterable[Tensor], epoch: int) -> None:
    """Raise a `ValueError` if the loss or any weight is NaN or infinite."""
    if not all(torch.isfinite(tensor).all() for tensor in (loss, *weights)):
        raise ValueError(
            f"Training failed: weights are lost in epoch {epoch}, where "
            f"`train_loss` is {loss.item()}. Lower the learning rate "
            f"(`optimizer_kwargs={{'lr': ...}}`), set "
            f"`pl_trainer_kwargs={{'gradient_clip_val': 1.0}}`, or, if you train from your own "
            f"dataset, look for NaN or infinite values in it."
        )


def _map_tensors(batch: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to each tensor of one of Darts' named batches."""
    return batch.replace(**{name: function(x) for name, x in tensors_of(batch).items()})


def _rows_of_components(x: Tensor) -> Tensor:
    """Make each component of `x (B, _, C)` a row of its own, `(BC, _, 1)`."""
    return x.transpose(1, 2).flatten(0, 1).unsqueeze(-1)


def _at_least_single(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
