"""Between a batch and the network: what a forecast depends on, and what the loss measures."""

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
from oracles import Tutorial
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError

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


def make(
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
        "n_members": 1,
        "input_chunk_length": L,
        "output_chunk_length": T,
        "train_sample_shape": shapes,
        "use_reversible_instance_norm": True,
    }
    torch.manual_seed(0)
    module = LSTMSeqModule(**params | changes).eval()
    module.network.head.reset_parameters()  # beside the skip it starts at zero, which hides all
    return module


def _random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def batch(inputs: list[str] | None = None, seed: int = 0) -> TorchTrainingBatch:
    arrays = {
        name: _random(B, *WIDTHS[name], seed=seed + i)
        for i, name in enumerate(INPUTS)
        if name in (inputs or ["past_target"])
    }
    return TorchTrainingBatch(**arrays, future_target=2 * _random(B, T, C, seed=seed + 9))


def forecast(module: LSTMSeqModule, given: TorchTrainingBatch) -> Tensor:
    return module(given.to_module_input(stage=ModuleStage.PREDICT)).prediction.detach()


def loss_of(module: LSTMSeqModule, given: TorchTrainingBatch) -> Tensor:
    return module.validation_step(given, 0)


# --- the tutorial --------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rnn_layers", [1, 2])
def test_without_normalisation_it_is_the_tutorial(n_rnn_layers: int) -> None:
    module = make(n_rnn_layers=n_rnn_layers, use_reversible_instance_norm=False)
    x = batch().past_target.float()
    expected = Tutorial(module.network)(x).view(B, T, C, 1)
    torch.testing.assert_close(module(PLModuleInput(x)).prediction, expected, rtol=0, atol=1e-6)


def test_normalised_it_is_the_tutorial_and_a_path_on_normalised_windows() -> None:
    module, x = make(), 500 + 30 * batch().past_target
    mean, spread = x.mean(dim=1, keepdim=True), x.std(dim=1, keepdim=True, correction=0)
    window = ((x - mean) / spread).float()
    inner = Tutorial(module.network)(window).view(B, T, C) + module.network.skip(window)
    expected = mean + spread * inner.double()
    torch.testing.assert_close(
        module(PLModuleInput(x)).prediction[..., 0], expected, rtol=0, atol=1e-4
    )


# --- what the forecast depends on ----------------------------------------------------------------


@pytest.mark.parametrize("likelihood", [None, QuantileRegression([0.1, 0.5, 0.9])])
@pytest.mark.parametrize("norm", [True, {"affine": True}])
@pytest.mark.parametrize("shared_weights", [False, True])
def test_a_shift_shifts_and_a_scale_scales_the_forecast(
    likelihood: TorchLikelihood | None, norm: bool | dict[str, bool], shared_weights: bool
) -> None:
    module = make(
        likelihood=likelihood, use_reversible_instance_norm=norm, shared_weights=shared_weights
    )
    if isinstance(norm, dict):
        torch.nn.init.uniform_(module.rin.affine_weight, 0.5, 2.0)
        torch.nn.init.uniform_(module.rin.affine_bias, -1.0, 1.0)
    given = batch()
    before = forecast(module, given)
    shift = torch.tensor([1e4, -7.0], dtype=torch.float64)
    scale = torch.tensor([1e-6, 1e6], dtype=torch.float64)
    shifted = forecast(module, given.replace(past_target=given.past_target + shift))
    scaled = forecast(module, given.replace(past_target=given.past_target * scale))
    torch.testing.assert_close(shifted, before + shift[:, None], rtol=0, atol=1e-5)
    torch.testing.assert_close(scaled, before * scale[:, None], rtol=1e-4, atol=0)
    # without normalisation it is not so
    plain = make(likelihood=likelihood, use_reversible_instance_norm=False)
    moved = forecast(plain, given.replace(past_target=given.past_target + shift))
    assert not torch.allclose(moved, forecast(plain, given) + shift[:, None], atol=1e-2)


@pytest.mark.parametrize("shared_weights", [False, True])
@pytest.mark.parametrize("norm", [False, True])
def test_the_forecast_depends_on_each_value_of_each_input(shared_weights: bool, norm: bool) -> None:
    module = make(INPUTS, shared_weights=shared_weights, use_reversible_instance_norm=norm)
    given = {name: getattr(batch(INPUTS), name).requires_grad_() for name in INPUTS}
    output = module(PLModuleInput(**given)).prediction  # (B, T, C, 1)
    weights = _random(*output.shape, seed=5)
    gradients = torch.autograd.grad((output * weights).sum(), list(given.values()))
    for name, gradient in zip(given, gradients, strict=True):
        assert (gradient != 0).all(), name
    # of its own row of the batch, not of others
    (gradient,) = torch.autograd.grad(
        module(PLModuleInput(**given)).prediction[0].sum(), given["past_target"]
    )
    assert (gradient[1:] == 0).all()


def test_the_forecast_depends_on_nothing_else() -> None:
    module, given = make(INPUTS), batch(INPUTS)
    expected = forecast(module, given)
    torch.testing.assert_close(forecast(module, given.replace(future_target=None)), expected)
    weighted = given.replace(sample_weight=torch.zeros(B, T, 1))
    torch.testing.assert_close(forecast(module, weighted), expected)
    x_in = given.to_module_input(stage=ModuleStage.TRAIN).replace(state="anything")
    torch.testing.assert_close(module(x_in).prediction.detach(), expected)
    # nor on what was seen before
    forecast(module, batch(INPUTS, seed=77))
    torch.testing.assert_close(forecast(module, given), expected)


@pytest.mark.parametrize("missing", ["past_covariates", "future", "static_covariates"])
def test_inputs_may_be_absent(missing: str) -> None:
    present = [name for name in INPUTS if not name.startswith(missing) and missing not in name]
    module, given = make(present), batch(present)
    assert forecast(module, given).shape == (B, T, C, 1)
    assert len(present) < len(INPUTS)


def test_future_covariates_of_a_step_reach_that_step_alone() -> None:
    module, given = make(INPUTS), batch(INPUTS)
    future = given.future_covariates.clone()
    future[:, 2] += 1
    moved = forecast(module, given.replace(future_covariates=future)) - forecast(module, given)
    assert (moved.abs().amax(dim=(0, 2, 3)) > 1e-6).tolist() == [False, False, True, False]


def test_inputs_are_left_as_they_were() -> None:
    module, given = make(INPUTS), batch(INPUTS)
    before = {name: getattr(given, name).clone() for name in INPUTS}
    loss_of(module, given)
    forecast(module, given)
    for name, value in before.items():
        assert torch.equal(getattr(given, name), value)


# --- shared weights ------------------------------------------------------------------------------


def test_shared_weights_are_one_network_for_all_components() -> None:
    inputs, given = INPUTS, batch(INPUTS)
    module = make(inputs, shared_weights=True)
    single = make(inputs, {"past_target": (L, 1), "static_covariates": (1, 2)})
    single.load_state_dict(
        {k: v if "rin" not in k else v[:1] for k, v in module.state_dict().items()}
    )
    whole = forecast(module, given)
    for c in range(C):
        own = given.replace(
            past_target=given.past_target[..., c : c + 1],
            static_covariates=given.static_covariates[:, c : c + 1],
        )
        torch.testing.assert_close(whole[:, :, c : c + 1], forecast(single, own))


@pytest.mark.parametrize("shared_weights", [False, True])
def test_only_with_shared_weights_permuted_components_permute_the_forecast(
    shared_weights: bool,
) -> None:
    module, given = make(INPUTS, shared_weights=shared_weights), batch(INPUTS)
    permuted = given.replace(
        past_target=given.past_target.flip(-1), static_covariates=given.static_covariates.flip(1)
    )
    same = torch.allclose(forecast(module, permuted), forecast(module, given).flip(2), atol=1e-5)
    assert same == shared_weights


def test_shared_weights_with_static_covariates_of_the_whole_series() -> None:
    module = make(INPUTS, {"static_covariates": (1, 2)}, shared_weights=True)
    given = batch(INPUTS)
    given = given.replace(static_covariates=given.static_covariates[:, :1])
    both = make(INPUTS, shared_weights=True)
    repeated = given.replace(static_covariates=given.static_covariates.expand(-1, C, -1))
    torch.testing.assert_close(forecast(module, given), forecast(both, repeated))


@pytest.mark.parametrize("shared_weights", [False, True])
def test_encode_is_the_state_behind_the_forecast(shared_weights: bool) -> None:
    module, given = make(shared_weights=shared_weights), batch()
    state = module.encode(given.to_module_input())
    networks = C if shared_weights else 1
    assert state.shape == (B, networks * 6)
    inner = module.network.head(state.view(B, networks, 6)).view(B, networks, T, -1)
    inner = inner.transpose(1, 2).reshape(B, T, C)
    x = given.past_target
    mean, spread = x.mean(1, keepdim=True), x.std(1, keepdim=True, correction=0)
    inner = inner + module.network.skip(((x - mean) / spread).float())
    expected = mean + spread * inner
    torch.testing.assert_close(forecast(module, given)[..., 0], expected, rtol=0, atol=1e-5)


# --- the loss ------------------------------------------------------------------------------------


def _spreads(given: TorchTrainingBatch) -> Tensor:
    """Standard deviation of each past, `(B, 1, C)`."""
    return given.past_target.std(dim=1, keepdim=True, correction=0)


def _squares(module: LSTMSeqModule, given: TorchTrainingBatch) -> Tensor:
    return (forecast(module, given)[..., 0] - given.future_target).square() / _spreads(given) ** 2


def _absolutes(module: LSTMSeqModule, given: TorchTrainingBatch) -> Tensor:
    return (forecast(module, given)[..., 0] - given.future_target).abs() / _spreads(given)


def _gaussian(module: LSTMSeqModule, given: TorchTrainingBatch) -> Tensor:
    mean, sigma = GaussianLikelihood()._params_from_output(forecast(module, given))
    density = torch.distributions.Normal(mean, sigma).log_prob(given.future_target)
    return -(density + _spreads(given).log())


def _pinball(module: LSTMSeqModule, given: TorchTrainingBatch) -> Tensor:
    total = torch.zeros_like(given.future_target)
    for i, quantile in enumerate((0.1, 0.5, 0.9)):
        error = given.future_target - forecast(module, given)[..., i]
        total += torch.where(error > 0, quantile * error, (quantile - 1) * error)
    return total / _spreads(given)


LOSSES = [
    pytest.param({"loss_fn": torch.nn.MSELoss()}, _squares, id="mse"),
    pytest.param({"loss_fn": torch.nn.L1Loss()}, _absolutes, id="mae"),
    pytest.param({"likelihood": GaussianLikelihood()}, _gaussian, id="gaussian"),
    pytest.param({"likelihood": QuantileRegression([0.1, 0.5, 0.9])}, _pinball, id="quantiles"),
]
ByHand = Callable[[LSTMSeqModule, TorchTrainingBatch], Tensor]


@pytest.mark.parametrize(("params", "by_hand"), LOSSES)
@pytest.mark.parametrize("shared_weights", [False, True])
def test_the_loss_is_measured_in_spreads_of_the_past(
    params: dict[str, Any], by_hand: ByHand, shared_weights: bool
) -> None:
    module, given = make(shared_weights=shared_weights, **params), batch()
    expected = by_hand(module, given).mean()
    torch.testing.assert_close(loss_of(module, given).double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("params", "by_hand"), LOSSES)
@pytest.mark.parametrize("weight_width", [None, 1, C])
def test_missing_labels_and_their_weights_are_left_out_of_the_loss(
    params: dict[str, Any], by_hand: ByHand, weight_width: int | None
) -> None:
    module, given = make(**params), batch()
    given.future_target[0, 1, 0] += 50  # it would be noticed
    label = given.future_target.clone()
    label[0, 1, 0] = label[2, :, 1] = NAN
    each = by_hand(module, given)
    if weight_width is not None:
        weight = _random(B, T, weight_width, seed=3).abs()
        given = given.replace(sample_weight=weight)
        module.val_criterion.reduction = "none"  # as Darts does for weights
        each = each * weight
    expected = each[~label.isnan()].mean()
    loss = loss_of(module, given.replace(future_target=label))
    torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=1e-6)
    assert not torch.isclose(each.mean(), expected, rtol=1e-3)


@pytest.mark.parametrize(("params", "by_hand"), LOSSES)
def test_a_batch_without_labels_teaches_nothing(params: dict[str, Any], by_hand: ByHand) -> None:
    module, given = make(**params), batch()
    nothing = torch.full_like(given.future_target, NAN)
    loss = loss_of(module, given.replace(future_target=nothing))
    assert loss.item() == 0
    loss.backward()
    for weight in module.parameters():
        assert weight.grad is None or (weight.grad == 0).all()


def test_a_distribution_over_all_components_leaves_out_whole_steps() -> None:
    likelihood = DirichletLikelihood()
    module, given = make(likelihood=likelihood), batch()
    given = given.replace(future_target=given.future_target.softmax(dim=-1))
    label = given.future_target.clone()
    label[0, 1, 0] = label[2] = NAN
    complete = ~label.isnan().any(dim=-1)  # (B, T)
    output = forecast(module, given)[complete][:, None]
    expected = likelihood.compute_loss(output, label[complete][:, None], None)
    loss = loss_of(module, given.replace(future_target=label))
    torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("params", "by_hand"), LOSSES)
def test_a_series_in_millions_weighs_as_much_as_one_in_units(
    params: dict[str, Any], by_hand: ByHand
) -> None:
    module, given = make(**params), batch()
    millions = given.replace(
        past_target=3e6 + 1e6 * given.past_target, future_target=3e6 + 1e6 * given.future_target
    )
    torch.testing.assert_close(loss_of(module, millions), loss_of(module, given), rtol=1e-4, atol=0)


def test_without_normalisation_the_loss_is_in_units_of_the_data() -> None:
    module, given = make(use_reversible_instance_norm=False), batch()
    expected = (forecast(module, given)[..., 0] - given.future_target).square().mean()
    torch.testing.assert_close(loss_of(module, given), expected)


def test_counts_and_priors_keep_the_units_of_the_data() -> None:
    given = batch()
    given = given.replace(
        past_target=(10 * given.past_target).round().abs(),
        future_target=(10 * given.future_target).round().abs(),
    )
    for likelihood in (PoissonLikelihood(), GaussianLikelihood(prior_mu=5.0)):
        module = make(likelihood=likelihood)
        output = forecast(module, given)
        expected = likelihood.compute_loss(output, given.future_target, None)
        torch.testing.assert_close(loss_of(module, given).double(), expected, rtol=1e-4, atol=1e-4)


def test_labels_after_a_constant_are_left_out_as_they_have_no_unit() -> None:
    module, given = make(), batch()
    past = given.past_target.clone()
    past[1] = 7.0
    others = [0, 2]
    expected = _squares(module, given)[others].mean()
    loss = loss_of(module, given.replace(past_target=past))
    torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=1e-6)
    output = forecast(module, given.replace(past_target=past))
    torch.testing.assert_close(output[1], torch.full((T, C, 1), 7.0).double(), rtol=1e-6, atol=0)
    assert output.isfinite().all()


def test_a_label_out_of_all_proportion_leaves_the_loss_finite() -> None:
    module, given = make(), batch()
    label = given.future_target.clone()
    label[0, 0, 0] = 1e300
    loss = loss_of(module, given.replace(future_target=label))
    assert 1e4 < loss.item() < 1e6
    loss.backward()
    assert all(weight.grad.isfinite().all() for weight in module.parameters())


def test_affine_weights_cannot_shrink_the_loss() -> None:
    module, given = make(use_reversible_instance_norm={"affine": True}), batch()
    expected = _squares(module, given).mean()
    torch.testing.assert_close(loss_of(module, given).double(), expected, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        module.rin.affine_weight.mul_(0.1)
        module.rin.affine_bias.add_(3.0)
    # the network's forecasts changed, and the loss is still that of what comes out
    changed = _squares(module, given).mean()
    assert changed > expected
    torch.testing.assert_close(loss_of(module, given).double(), changed, rtol=1e-4, atol=1e-6)


def test_metrics_are_in_units_of_the_data_and_skip_missing_labels() -> None:
    metrics = [MeanAbsoluteError(), MeanSquaredError()]
    module, given = make(torch_metrics=metrics), batch()
    label = given.future_target.clone()
    label[0, 1, 0] = label[2, :, 1] = NAN
    error = forecast(module, given)[..., 0] - label
    whole = error[~error.isnan().any(dim=-1)]  # metrics see whole rows
    loss_of(module, given.replace(future_target=label))
    loss_of(module, given.replace(future_target=torch.full_like(label, NAN)))
    seen = module.val_metrics.compute()
    assert seen["val_MeanAbsoluteError"].item() == pytest.approx(
        whole.abs().mean().item(), rel=1e-5
    )
    assert seen["val_MeanSquaredError"].item() == pytest.approx(
        whole.square().mean().item(), rel=1e-5
    )


# --- precision, scales, batches ------------------------------------------------------------------


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_single_precision_inside_the_datas_dtype_outside(norm: bool, dtype: torch.dtype) -> None:
    module, given = make(INPUTS, use_reversible_instance_norm=norm), batch(INPUTS)
    assert module.dtype == torch.float32
    seen: list[torch.dtype] = []
    module.network.register_forward_pre_hook(lambda _, inputs: seen.extend(x.dtype for x in inputs))
    cast = {name: getattr(given, name).to(dtype) for name in INPUTS}
    exact = forecast(module, given)
    output = module(PLModuleInput(**cast)).prediction
    assert set(seen) == {torch.float32}
    assert output.dtype == torch.promote_types(dtype, torch.float32)
    tolerance = 1e-2 if dtype == torch.float16 else 1e-5
    torch.testing.assert_close(output.double(), exact, rtol=0, atol=tolerance)
    module.set_predict_parameters(T, 1, T, B, False, False)
    predicted, *_ = module.predict_step(
        TorchInferenceBatch(**cast, series_schema=[], pred_time=[]), 0
    )
    assert predicted.dtype == dtype
    torch.testing.assert_close(predicted[0].double(), exact[..., 0], rtol=0, atol=tolerance)


def test_a_large_level_with_a_small_spread_loses_nothing() -> None:
    module, given = make(), batch()
    far = given.replace(past_target=given.past_target + 1e9)
    torch.testing.assert_close(
        forecast(module, far) - 1e9, forecast(module, given), rtol=0, atol=1e-5
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


def test_covariates_are_standardised_by_the_training_samples() -> None:
    module, training = make(INPUTS), _training_batch()
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
    # so their unit does not matter
    given, other = batch(INPUTS), make(INPUTS)
    other.initialize(training.replace(past_covariates=training.past_covariates * 1e-9), 40)
    small = given.replace(past_covariates=given.past_covariates * 1e-9)
    torch.testing.assert_close(forecast(other, small), forecast(module, given), rtol=0, atol=1e-5)


def test_without_normalisation_covariates_enter_as_they_are() -> None:
    module, given = make(INPUTS, use_reversible_instance_norm=False), batch(INPUTS)
    before = forecast(module, given)
    module.initialize(_training_batch(), 40)
    assert torch.equal(forecast(module, given), before)


def test_the_level_of_the_training_data_is_learnt_on_demand() -> None:
    past, future = 50 + _random(60, L, C), 50 + _random(60, T, C, seed=1)
    for use_training_level in (False, True):
        module = make(use_training_level=use_training_level)
        module.initialize(TorchTrainingBatch(past_target=past, future_target=future), 60)
        module.rin(past[:1])
        own = past[:1].mean(dim=1, keepdim=True)
        assert torch.allclose(module.rin.mean, own) != use_training_level


def test_a_batch_is_moved_whole_and_stays_what_it_is() -> None:
    module, meta = make(), torch.device("meta")
    given = TorchInferenceBatch(
        **{name: getattr(batch(INPUTS), name) for name in INPUTS},
        series_schema=[{"name": "a"}],
        pred_time=[3],
    )
    moved = module.transfer_batch_to_device(given, meta, 0)
    assert type(moved) is type(given)
    for field in dataclasses.fields(given):
        value, there = getattr(given, field.name), getattr(moved, field.name)
        if isinstance(value, Tensor):
            assert there.device == meta
            assert there.shape == value.shape
        else:
            assert there is value
    assert given.past_target.device.type == "cpu"
    assert module.transfer_batch_to_device(given, torch.device("cpu"), 0) is given
    # anything else is Lightning's business
    assert module.transfer_batch_to_device([torch.zeros(1)], meta, 0)[0].device == meta


def test_any_floating_type_can_be_cast_to() -> None:
    module = make()
    for dtype in (torch.bfloat16, torch.float16, torch.float64, torch.float32):
        module.to_dtype(dtype)
        assert module.dtype == dtype
        assert all(weight.dtype == dtype for weight in module.network.parameters())


def test_it_is_the_module_darts_expects() -> None:
    assert issubclass(LSTMSeqModule, PLForecastingModule)
    assert make(dropout=0.3).supports_probabilistic_prediction
    assert not make().supports_probabilistic_prediction
