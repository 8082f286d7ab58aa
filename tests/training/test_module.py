"""The Lightning module: what a forecast depends on, and the scale of the loss."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.utils.data.torch_datasets.utils import (
    ModuleStage,
    PLModuleInput,
    TorchInferenceBatch,
    TorchTrainingBatch,
)
from darts.utils.likelihood_models.torch import (
    DirichletLikelihood,
    GaussianLikelihood,
    PoissonLikelihood,
    QuantileRegression,
    TorchLikelihood,
)
from makers import random_tensor
from oracles import Tutorial
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError

from darts_lstm_seq.batching.batches import move_batch
from darts_lstm_seq.training.module import LSTMSeqModule

pytestmark = pytest.mark.filterwarnings("ignore:.*self.log.*")

B, L, T, C = 3, 8, 4, 2
NAN = float("nan")
WIDTHS = {
    "past_target": (L, C),
    "past_covariates": (L, 2),
    "historic_future_covariates": (L, 3),
    "future_covariates": (T, 3),
    "static_covariates": (C, 2),
}
INPUTS = list(WIDTHS)


def make_module(
    inputs: list[str] | None = None,
    widths: dict[str, tuple[int, int]] | None = None,
    **changes: Any,
) -> Any:
    """Return the same `LSTMSeqModule` each time, for the named inputs (default: the target)."""
    shapes: dict[str, tuple | None] = dict.fromkeys([*WIDTHS, "future_target"])
    shapes |= {name: (WIDTHS | (widths or {}))[name] for name in inputs or ["past_target"]}
    params: dict[str, Any] = {
        "hidden_dim": 6,
        "n_rnn_layers": 1,
        "patch_length": 1,
        "dropout": 0.0,
        "shared_weights": False,
        "mask_inputs": False,
        "use_training_level": False,
        "anneal_lr": False,
        "low_data": False,
        "predict_median": False,
        "lr_multiplier": 1.0,
        "n_members": 1,
        "input_chunk_length": L,
        "output_chunk_length": T,
        "train_sample_shape": shapes,
        "use_reversible_instance_norm": True,
    }
    torch.manual_seed(0)
    module = LSTMSeqModule(**params | changes).eval()
    module.network.head.reset_parameters()  # with a skip it is initialised to zero
    return module


def make_batch(inputs: list[str] | None = None, seed: int = 0) -> TorchTrainingBatch:
    arrays = {
        name: random_tensor(B, *WIDTHS[name], seed=seed + i)
        for i, name in enumerate(INPUTS)
        if name in (inputs or ["past_target"])
    }
    return TorchTrainingBatch(**arrays, future_target=2 * random_tensor(B, T, C, seed=seed + 9))


def forecast(module: LSTMSeqModule, batch: TorchTrainingBatch) -> Tensor:
    return module(batch.to_module_input(stage=ModuleStage.PREDICT)).prediction.detach()


def loss_of(module: LSTMSeqModule, batch: TorchTrainingBatch) -> Tensor:
    return module.validation_step(batch, 0)


# --- the tutorial --------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rnn_layers", [1, 2])
def test_without_normalisation_it_is_the_tutorial(n_rnn_layers: int) -> None:
    module = make_module(n_rnn_layers=n_rnn_layers, use_reversible_instance_norm=False)
    x = make_batch().past_target.float()
    expected = Tutorial(module.network)(x).view(B, T, C, 1)
    torch.testing.assert_close(module(PLModuleInput(x)).prediction, expected, rtol=0, atol=1e-6)


def test_with_normalisation_it_is_the_tutorial_and_a_skip_on_normalised_windows() -> None:
    module, x = make_module(), 500 + 30 * make_batch().past_target
    mean, spread = x.mean(dim=1, keepdim=True), x.std(dim=1, keepdim=True, correction=0)
    window = ((x - mean) / spread).float()
    inner = Tutorial(module.network)(window).view(B, T, C) + module.network.skip(window)
    expected = mean + spread * inner.double()
    torch.testing.assert_close(
        module(PLModuleInput(x)).prediction[..., 0], expected, rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_forecasts_and_labels_of_the_loss_have_one_dtype(dtype: torch.dtype, norm: bool) -> None:
    batch = make_batch()
    batch = batch.replace(
        past_target=batch.past_target.to(dtype), future_target=batch.future_target.to(dtype)
    )
    module = make_module(use_reversible_instance_norm=norm)
    output, label = module.forecast_and_label(batch, ModuleStage.TRAIN)
    assert label.dtype is output.prediction.dtype
    assert label.dtype is not torch.float16
    assert torch.isfinite(label).all()


# --- what the forecast depends on ----------------------------------------------------------------


@pytest.mark.parametrize("likelihood", [None, QuantileRegression([0.1, 0.5, 0.9])])
@pytest.mark.parametrize("norm", [True, {"affine": True}])
@pytest.mark.parametrize("shared_weights", [False, True])
def test_a_shift_shifts_and_a_scale_scales_the_forecast(
    likelihood: TorchLikelihood | None, norm: bool | dict[str, bool], shared_weights: bool
) -> None:
    module = make_module(
        likelihood=likelihood, use_reversible_instance_norm=norm, shared_weights=shared_weights
    )
    if isinstance(norm, dict):
        torch.nn.init.uniform_(module.rin.affine_weight, 0.5, 2.0)
        torch.nn.init.uniform_(module.rin.affine_bias, -1.0, 1.0)
    batch = make_batch()
    before = forecast(module, batch)
    shift = torch.tensor([1e4, -7.0], dtype=torch.float64)
    scale = torch.tensor([1e-6, 1e6], dtype=torch.float64)
    shifted = forecast(module, batch.replace(past_target=batch.past_target + shift))
    scaled = forecast(module, batch.replace(past_target=batch.past_target * scale))
    torch.testing.assert_close(shifted, before + shift[:, None], rtol=0, atol=1e-5)
    torch.testing.assert_close(scaled, before * scale[:, None], rtol=1e-4, atol=0)
    # not so without normalisation
    plain = make_module(likelihood=likelihood, use_reversible_instance_norm=False)
    shifted = forecast(plain, batch.replace(past_target=batch.past_target + shift))
    assert not torch.allclose(shifted, forecast(plain, batch) + shift[:, None], atol=1e-2)


@pytest.mark.parametrize("shared_weights", [False, True])
@pytest.mark.parametrize("norm", [False, True])
def test_the_forecast_depends_on_each_value_of_each_input(shared_weights: bool, norm: bool) -> None:
    module = make_module(INPUTS, shared_weights=shared_weights, use_reversible_instance_norm=norm)
    batch = {name: getattr(make_batch(INPUTS), name).requires_grad_() for name in INPUTS}
    output = module(PLModuleInput(**batch)).prediction  # (B, T, C, 1)
    weights = random_tensor(*output.shape, seed=5)
    gradients = torch.autograd.grad((output * weights).sum(), list(batch.values()))
    for name, gradient in zip(batch, gradients, strict=True):
        assert (gradient != 0).all(), name
    # but not on other rows of the batch
    (gradient,) = torch.autograd.grad(
        module(PLModuleInput(**batch)).prediction[0].sum(), batch["past_target"]
    )
    assert (gradient[1:] == 0).all()


def test_the_forecast_depends_on_nothing_else() -> None:
    module, batch = make_module(INPUTS), make_batch(INPUTS)
    expected = forecast(module, batch)
    torch.testing.assert_close(forecast(module, batch.replace(future_target=None)), expected)
    weighted = batch.replace(sample_weight=torch.zeros(B, T, 1))
    torch.testing.assert_close(forecast(module, weighted), expected)
    x_in = batch.to_module_input(stage=ModuleStage.TRAIN).replace(state="anything")
    torch.testing.assert_close(module(x_in).prediction.detach(), expected)
    # nor on earlier batches
    forecast(module, make_batch(INPUTS, seed=77))
    torch.testing.assert_close(forecast(module, batch), expected)


@pytest.mark.parametrize("missing", ["past_covariates", "future", "static_covariates"])
def test_inputs_may_be_absent(missing: str) -> None:
    present = [name for name in INPUTS if not name.startswith(missing) and missing not in name]
    module, batch = make_module(present), make_batch(present)
    assert forecast(module, batch).shape == (B, T, C, 1)
    assert len(present) < len(INPUTS)


def test_future_covariates_of_a_step_change_only_that_step() -> None:
    module, batch = make_module(INPUTS), make_batch(INPUTS)
    future = batch.future_covariates.clone()
    future[:, 2] += 1
    change = forecast(module, batch.replace(future_covariates=future)) - forecast(module, batch)
    assert (change.abs().amax(dim=(0, 2, 3)) > 1e-6).tolist() == [False, False, True, False]


def test_inputs_are_not_changed() -> None:
    module, batch = make_module(INPUTS), make_batch(INPUTS)
    before = {name: getattr(batch, name).clone() for name in INPUTS}
    loss_of(module, batch)
    forecast(module, batch)
    for name, value in before.items():
        assert torch.equal(getattr(batch, name), value)


# --- shared weights ------------------------------------------------------------------------------


def test_shared_weights_are_one_network_for_all_components() -> None:
    inputs, batch = INPUTS, make_batch(INPUTS)
    module = make_module(inputs, shared_weights=True)
    single = make_module(inputs, {"past_target": (L, 1), "static_covariates": (1, 2)})
    single.load_state_dict(
        {k: v if "rin" not in k else v[:1] for k, v in module.state_dict().items()}
    )
    together = forecast(module, batch)
    for c in range(C):
        component = batch.replace(
            past_target=batch.past_target[..., c : c + 1],
            static_covariates=batch.static_covariates[:, c : c + 1],
        )
        torch.testing.assert_close(together[:, :, c : c + 1], forecast(single, component))


@pytest.mark.parametrize("shared_weights", [False, True])
def test_only_with_shared_weights_permuted_components_permute_the_forecast(
    shared_weights: bool,
) -> None:
    module, batch = make_module(INPUTS, shared_weights=shared_weights), make_batch(INPUTS)
    permuted = batch.replace(
        past_target=batch.past_target.flip(-1), static_covariates=batch.static_covariates.flip(1)
    )
    same = torch.allclose(forecast(module, permuted), forecast(module, batch).flip(2), atol=1e-5)
    assert same == shared_weights


def test_shared_weights_with_static_covariates_of_the_whole_series() -> None:
    module = make_module(INPUTS, {"static_covariates": (1, 2)}, shared_weights=True)
    batch = make_batch(INPUTS)
    batch = batch.replace(static_covariates=batch.static_covariates[:, :1])
    of_components = make_module(INPUTS, shared_weights=True)
    repeated = batch.replace(static_covariates=batch.static_covariates.expand(-1, C, -1))
    torch.testing.assert_close(forecast(module, batch), forecast(of_components, repeated))


@pytest.mark.parametrize("shared_weights", [False, True])
def test_encode_returns_the_state_that_the_forecast_is_computed_from(shared_weights: bool) -> None:
    module, batch = make_module(shared_weights=shared_weights), make_batch()
    state = module.encode(batch.to_module_input())
    networks = C if shared_weights else 1
    assert state.shape == (B, networks * 6)
    inner = module.network.head(state.view(B, networks, 6)).view(B, networks, T, -1)
    inner = inner.transpose(1, 2).reshape(B, T, C)
    x = batch.past_target
    mean, spread = x.mean(1, keepdim=True), x.std(1, keepdim=True, correction=0)
    inner = inner + module.network.skip(((x - mean) / spread).float())
    expected = mean + spread * inner
    torch.testing.assert_close(forecast(module, batch)[..., 0], expected, rtol=0, atol=1e-5)


# --- the loss ------------------------------------------------------------------------------------


def _stds(batch: TorchTrainingBatch) -> Tensor:
    """Standard deviation of each input window, `(B, 1, C)`."""
    return batch.past_target.std(dim=1, keepdim=True, correction=0)


def _squares(module: LSTMSeqModule, batch: TorchTrainingBatch) -> Tensor:
    return (forecast(module, batch)[..., 0] - batch.future_target).square() / _stds(batch) ** 2


def _absolutes(module: LSTMSeqModule, batch: TorchTrainingBatch) -> Tensor:
    return (forecast(module, batch)[..., 0] - batch.future_target).abs() / _stds(batch)


def _gaussian(module: LSTMSeqModule, batch: TorchTrainingBatch) -> Tensor:
    mean, sigma = GaussianLikelihood()._params_from_output(forecast(module, batch))
    density = torch.distributions.Normal(mean, sigma).log_prob(batch.future_target)
    return -(density + _stds(batch).log())


def _pinball(module: LSTMSeqModule, batch: TorchTrainingBatch) -> Tensor:
    total = torch.zeros_like(batch.future_target)
    for i, quantile in enumerate((0.1, 0.5, 0.9)):
        error = batch.future_target - forecast(module, batch)[..., i]
        total += torch.where(error > 0, quantile * error, (quantile - 1) * error)
    return total / _stds(batch)


LOSSES = [
    pytest.param({"loss_fn": torch.nn.MSELoss()}, _squares, id="mse"),
    pytest.param({"loss_fn": torch.nn.L1Loss()}, _absolutes, id="mae"),
    pytest.param({"likelihood": GaussianLikelihood()}, _gaussian, id="gaussian"),
    pytest.param({"likelihood": QuantileRegression([0.1, 0.5, 0.9])}, _pinball, id="quantiles"),
]
Loss = Callable[[LSTMSeqModule, TorchTrainingBatch], Tensor]


@pytest.mark.parametrize(("params", "expected_loss"), LOSSES)
@pytest.mark.parametrize("shared_weights", [False, True])
def test_the_loss_is_relative_to_the_standard_deviation_of_the_window(
    params: dict[str, Any], expected_loss: Loss, shared_weights: bool
) -> None:
    module, batch = make_module(shared_weights=shared_weights, **params), make_batch()
    expected = expected_loss(module, batch).mean()
    torch.testing.assert_close(loss_of(module, batch).double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("params", "expected_loss"), LOSSES)
@pytest.mark.parametrize("weight_width", [None, 1, C])
def test_the_loss_ignores_missing_labels_and_their_weights(
    params: dict[str, Any], expected_loss: Loss, weight_width: int | None
) -> None:
    module, batch = make_module(**params), make_batch()
    batch.future_target[0, 1, 0] += 50  # large, so that it would change the loss
    label = batch.future_target.clone()
    label[0, 1, 0] = label[2, :, 1] = NAN
    each = expected_loss(module, batch)
    if weight_width is not None:
        weight = random_tensor(B, T, weight_width, seed=3).abs()
        batch = batch.replace(sample_weight=weight)
        module.val_criterion.reduction = "none"  # as Darts does for weights
        each = each * weight
    expected = each[~label.isnan()].mean()
    loss = loss_of(module, batch.replace(future_target=label))
    torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=1e-6)
    assert not torch.isclose(each.mean(), expected, rtol=1e-3)


@pytest.mark.parametrize(("params", "expected_loss"), LOSSES)
def test_a_batch_without_labels_has_zero_loss_and_gradients(
    params: dict[str, Any], expected_loss: Loss
) -> None:
    module, batch = make_module(**params), make_batch()
    missing = torch.full_like(batch.future_target, NAN)
    loss = loss_of(module, batch.replace(future_target=missing))
    assert loss.item() == 0
    loss.backward()
    for weight in module.parameters():
        assert weight.grad is None or (weight.grad == 0).all()


def test_a_joint_distribution_ignores_incomplete_steps() -> None:
    likelihood = DirichletLikelihood()
    module, batch = make_module(likelihood=likelihood), make_batch()
    batch = batch.replace(future_target=batch.future_target.softmax(dim=-1))
    label = batch.future_target.clone()
    label[0, 1, 0] = label[2] = NAN
    complete = ~label.isnan().any(dim=-1)  # (B, T)
    output = forecast(module, batch)[complete][:, None]
    expected = likelihood.compute_loss(output, label[complete][:, None], None)
    loss = loss_of(module, batch.replace(future_target=label))
    torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("params", "expected_loss"), LOSSES)
def test_the_loss_does_not_depend_on_the_scale_of_a_series(
    params: dict[str, Any], expected_loss: Loss
) -> None:
    module, batch = make_module(**params), make_batch()
    millions = batch.replace(
        past_target=3e6 + 1e6 * batch.past_target, future_target=3e6 + 1e6 * batch.future_target
    )
    torch.testing.assert_close(loss_of(module, millions), loss_of(module, batch), rtol=1e-4, atol=0)


def test_without_normalisation_the_loss_is_in_units_of_the_data() -> None:
    module, batch = make_module(use_reversible_instance_norm=False), make_batch()
    expected = (forecast(module, batch)[..., 0] - batch.future_target).square().mean()
    torch.testing.assert_close(loss_of(module, batch), expected)


def test_the_loss_of_counts_and_priors_is_in_units_of_the_data() -> None:
    batch = make_batch()
    batch = batch.replace(
        past_target=(10 * batch.past_target).round().abs(),
        future_target=(10 * batch.future_target).round().abs(),
    )
    for likelihood in (PoissonLikelihood(), GaussianLikelihood(prior_mu=5.0)):
        module = make_module(likelihood=likelihood)
        output = forecast(module, batch)
        expected = likelihood.compute_loss(output, batch.future_target, None)
        torch.testing.assert_close(loss_of(module, batch).double(), expected, rtol=1e-4, atol=1e-4)


def test_the_loss_ignores_labels_after_constant_windows() -> None:
    module, batch = make_module(), make_batch()
    past = batch.past_target.clone()
    past[1] = 7.0
    others = [0, 2]
    expected = _squares(module, batch)[others].mean()
    loss = loss_of(module, batch.replace(past_target=past))
    torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=1e-6)
    output = forecast(module, batch.replace(past_target=past))
    torch.testing.assert_close(output[1], torch.full((T, C, 1), 7.0).double(), rtol=1e-6, atol=0)
    assert output.isfinite().all()


def test_an_extreme_label_is_clipped() -> None:
    module, batch = make_module(), make_batch()
    label = batch.future_target.clone()
    label[0, 0, 0] = 1e300
    loss = loss_of(module, batch.replace(future_target=label))
    assert 1e4 < loss.item() < 1e6
    loss.backward()
    assert all(weight.grad.isfinite().all() for weight in module.parameters())


def test_affine_weights_cannot_shrink_the_loss() -> None:
    module, batch = make_module(use_reversible_instance_norm={"affine": True}), make_batch()
    expected = _squares(module, batch).mean()
    torch.testing.assert_close(loss_of(module, batch).double(), expected, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        module.rin.affine_weight.mul_(0.1)
        module.rin.affine_bias.add_(3.0)
    # the forecasts change, and the loss is still that of the forecasts
    changed = _squares(module, batch).mean()
    assert changed > expected
    torch.testing.assert_close(loss_of(module, batch).double(), changed, rtol=1e-4, atol=1e-6)


def test_metrics_are_in_units_of_the_data_and_ignore_missing_labels() -> None:
    metrics = [MeanAbsoluteError(), MeanSquaredError()]
    module, batch = make_module(torch_metrics=metrics), make_batch()
    label = batch.future_target.clone()
    label[0, 1, 0] = label[2, :, 1] = NAN
    error = forecast(module, batch)[..., 0] - label
    complete = error[~error.isnan().any(dim=-1)]  # metrics need all components of a step
    loss_of(module, batch.replace(future_target=label))
    loss_of(module, batch.replace(future_target=torch.full_like(label, NAN)))
    computed = module.val_metrics.compute()
    assert computed["val_MeanAbsoluteError"].item() == pytest.approx(
        complete.abs().mean().item(), rel=1e-5
    )
    assert computed["val_MeanSquaredError"].item() == pytest.approx(
        complete.square().mean().item(), rel=1e-5
    )


# --- precision, scales, batches ------------------------------------------------------------------


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_the_network_computes_in_single_precision_and_returns_the_dtype_of_the_data(
    norm: bool, dtype: torch.dtype
) -> None:
    module, batch = make_module(INPUTS, use_reversible_instance_norm=norm), make_batch(INPUTS)
    assert module.dtype == torch.float32
    dtypes: list[torch.dtype] = []
    module.network.register_forward_pre_hook(
        lambda _, inputs: dtypes.extend(x.dtype for x in inputs)
    )
    cast = {name: getattr(batch, name).to(dtype) for name in INPUTS}
    exact = forecast(module, batch)
    output = module(PLModuleInput(**cast)).prediction
    assert set(dtypes) == {torch.float32}
    assert output.dtype == torch.promote_types(dtype, torch.float32)
    tolerance = 1e-2 if dtype == torch.float16 else 1e-5
    torch.testing.assert_close(output.double(), exact, rtol=0, atol=tolerance)
    module.set_predict_parameters(T, 1, T, B, False, False)
    predicted, *_ = module.predict_step(
        TorchInferenceBatch(**cast, series_schema=[], pred_time=[]), 0
    )
    assert predicted.dtype == dtype
    torch.testing.assert_close(predicted[0].double(), exact[..., 0], rtol=0, atol=tolerance)


def test_a_large_level_with_a_small_standard_deviation_loses_no_precision() -> None:
    module, batch = make_module(), make_batch()
    far = batch.replace(past_target=batch.past_target + 1e9)
    torch.testing.assert_close(
        forecast(module, far) - 1e9, forecast(module, batch), rtol=0, atol=1e-5
    )


def _training_batch() -> TorchTrainingBatch:
    rng = np.random.default_rng(0)
    scales = {"past_covariates": 1e6, "static_covariates": 1e-3}
    arrays = {
        name: scales.get(name, 5.0) * (2 + rng.normal(size=(20, *shape)))
        for name, shape in WIDTHS.items()
    }
    arrays["future_target"] = rng.normal(size=(20, T, C))
    return TorchTrainingBatch(**{name: torch.tensor(array) for name, array in arrays.items()})


def test_covariates_are_standardised_by_the_training_windows() -> None:
    module, training = make_module(INPUTS), _training_batch()
    module.initialize(training, 40)
    fields = {
        module.features.past_scaler: ["past_covariates"],
        module.features.future_scaler: ["historic_future_covariates", "future_covariates"],
        module.features.static_scaler: ["static_covariates"],
    }
    for scaler, names in fields.items():
        rows = np.concatenate([getattr(training, name).flatten(0, 1) for name in names])
        np.testing.assert_allclose(scaler.mean, rows.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(scaler.stdev, rows.std(axis=0), rtol=1e-4)
    # so the unit does not matter
    batch, other = make_batch(INPUTS), make_module(INPUTS)
    other.initialize(training.replace(past_covariates=training.past_covariates * 1e-9), 40)
    small = batch.replace(past_covariates=batch.past_covariates * 1e-9)
    torch.testing.assert_close(forecast(other, small), forecast(module, batch), rtol=0, atol=1e-5)


def test_without_normalisation_covariates_are_not_scaled() -> None:
    module, batch = make_module(INPUTS, use_reversible_instance_norm=False), make_batch(INPUTS)
    before = forecast(module, batch)
    module.initialize(_training_batch(), 40)
    assert torch.equal(forecast(module, batch), before)


def test_the_level_of_the_training_data_is_used_on_demand() -> None:
    past, future = 50 + random_tensor(60, L, C), 50 + random_tensor(60, T, C, seed=1)
    for use_training_level in (False, True):
        module = make_module(use_training_level=use_training_level)
        module.initialize(TorchTrainingBatch(past_target=past, future_target=future), 60)
        module.rin(past[:1])
        own = past[:1].mean(dim=1, keepdim=True)
        assert torch.allclose(module.rin.mean, own) != use_training_level


def test_all_tensors_of_a_batch_are_moved() -> None:
    meta = torch.device("meta")
    batch = TorchInferenceBatch(
        **{name: getattr(make_batch(INPUTS), name) for name in INPUTS},
        series_schema=[{"name": "a"}],
        pred_time=[3],
    )
    moved = move_batch(batch, meta)
    assert type(moved) is type(batch)
    for field in dataclasses.fields(batch):
        value, there = getattr(batch, field.name), getattr(moved, field.name)
        if isinstance(value, Tensor):
            assert there.device == meta
            assert there.shape == value.shape
        else:
            assert there is value
    assert batch.past_target.device.type == "cpu"
    assert move_batch(batch, torch.device("cpu")) is batch


def test_any_floating_type_can_be_cast_to() -> None:
    module = make_module()
    for dtype in (torch.bfloat16, torch.float16, torch.float64, torch.float32):
        module.to_dtype(dtype)
        assert module.dtype == dtype
        assert all(weight.dtype == dtype for weight in module.network.parameters())


def test_it_is_the_module_darts_expects() -> None:
    assert issubclass(LSTMSeqModule, PLForecastingModule)
    assert make_module(dropout=0.3).supports_probabilistic_prediction
    assert not make_module().supports_probabilistic_prediction
