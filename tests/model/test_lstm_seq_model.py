"""`LSTMSeqModel` itself: parameters, windows, what a failed fit leaves, what a seed fixes."""

import copy
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from darts import TimeSeries, concatenate
from darts.metrics import mae
from darts.models import BlockRNNModel, NaiveSeasonal
from darts.utils.data import SequentialTorchTrainingDataset
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression
from oracles import Tutorial
from pytorch_lightning.trainer.connectors.data_connector import warning_cache

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.batching.datasets import BatchTrainingDataset
from darts_lstm_seq.training.module import LSTMSeqModule

Tiny = dict[str, Any]
NAN, INF = float("nan"), float("inf")
L, T = 6, 3
LENGTHS: Tiny = {"input_chunk_length": L, "output_chunk_length": T}


def wave(length: int = 60, width: int = 1, seed: int = 0, dtype: str = "float64") -> TimeSeries:
    """A noisy sine of period 12 on a level of 20, monthly."""
    rng = np.random.default_rng(seed)
    values = 20 + 5 * np.sin(np.arange(length)[:, None] * np.pi / 6 + np.arange(width))
    values = values + rng.normal(size=(length, width))
    times = pd.date_range("2001-01-01", periods=length, freq="MS")
    return TimeSeries(times=times, values=values.astype(dtype))


def changed(series: TimeSeries, step: int, by: float = 3.0) -> TimeSeries:
    values = series.values()
    values[step] += by
    return series.with_values(values)


def weights(model: LSTMSeqModel) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in model.model.state_dict().items()}


@pytest.fixture
def fitted(tiny: Tiny) -> LSTMSeqModel:
    """A fitted model that tests only predict with."""
    return LSTMSeqModel(L, T, **tiny).fit(wave())


# --- the tutorial --------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rnn_layers", [1, 2])
@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_normalisation_predict_is_the_tutorial_on_the_raw_window(
    n_rnn_layers: int, width: int, dtype: str, tiny: Tiny
) -> None:
    params = tiny | {"n_rnn_layers": n_rnn_layers, "use_reversible_instance_norm": False}
    series = (wave(width=width, dtype=dtype) - 20) / 5
    model = LSTMSeqModel(L, T, **params).fit(series)
    window = torch.tensor(series.values()[-L:], dtype=torch.float32)[None]
    with torch.no_grad():
        expected = Tutorial(model.model.network)(window).view(T, width)
    forecast = model.predict(T)
    assert forecast.dtype == dtype
    np.testing.assert_allclose(forecast.values(), expected, rtol=0, atol=1e-6)


def test_the_tutorials_training_step_is_reproduced(tiny: Tiny) -> None:
    series = (wave(L + T + 7, dtype="float32") - 20) / 5
    params = tiny | {"n_epochs": 0, "batch_size": 8, "use_reversible_instance_norm": False}
    model = LSTMSeqModel(L, T, optimizer_kwargs={"lr": 0.01}, **params).fit(series)
    tutorial = Tutorial(model.model.network)
    optimizer = torch.optim.Adam(tutorial.parameters(), lr=0.01)
    values = torch.tensor(series.values())
    x = torch.stack([values[i : i + L] for i in range(8)])
    y = torch.stack([values[i + L : i + L + T, 0] for i in range(8)])
    for _ in range(5):  # eight windows, one batch: each epoch is one step
        loss = torch.nn.functional.mse_loss(tutorial(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.fit(series, epochs=5)
    np.testing.assert_allclose(
        model.predict(T).values()[:, 0], tutorial(values[None, -L:])[0].detach(), atol=1e-5
    )


# --- what a forecast is made from ----------------------------------------------------------------


def test_a_forecast_depends_on_its_window_and_nothing_else(tiny: Tiny) -> None:
    series, past, future = wave(30), wave(40, seed=1), wave(40, seed=2)
    static = pd.DataFrame({"size": [1.0]})
    model = LSTMSeqModel(L, T, **tiny)
    others = [
        series.with_static_covariates(static * 2),
        past,
        future,
    ]
    model.fit([series.with_static_covariates(static), others[0]], [past, past], [future, future])

    def predict(**inputs: TimeSeries) -> np.ndarray:
        given = {
            "series": series.with_static_covariates(static),
            "past_covariates": past,
            "future_covariates": future,
        }
        return model.predict(T, **given | inputs).values()

    before = predict()
    for step in range(40):
        in_window = 30 - L <= step < 30
        in_horizon = 30 <= step < 30 + T
        if step < 30:
            moved = changed(series, step).with_static_covariates(static)
            assert (np.abs(predict(series=moved) - before).max() > 1e-4) == in_window, step
        moved = predict(past_covariates=changed(past, step))
        assert (np.abs(moved - before).max() > 1e-5) == in_window, step
        moved = predict(future_covariates=changed(future, step))
        assert (np.abs(moved - before).max() > 1e-5) == (in_window or in_horizon), step
    moved = predict(series=series.with_static_covariates(static * 1.5))
    assert np.abs(moved - before).max() > 1e-5


def test_a_shift_shifts_and_a_scale_scales_the_forecast(tiny: Tiny) -> None:
    model = LSTMSeqModel(L, T, use_reversible_instance_norm=True, **tiny).fit(wave())
    forecast = model.predict(7).values()
    np.testing.assert_allclose(model.predict(7, wave() + 1e5).values(), forecast + 1e5, atol=1e-3)
    np.testing.assert_allclose(model.predict(7, wave() * 1e-9).values(), forecast * 1e-9, rtol=1e-4)
    # training on the scaled series learns the same
    scaled = LSTMSeqModel(L, T, use_reversible_instance_norm=True, **tiny).fit(wave() * 1e6 + 3e7)
    np.testing.assert_allclose((scaled.predict(7).values() - 3e7) / 1e6, forecast, rtol=1e-3)


@pytest.mark.parametrize("use_static_covariates", [True, False])
def test_static_covariates_count_unless_switched_off(
    use_static_covariates: bool, tiny: Tiny
) -> None:
    many = [
        wave(seed=size).with_static_covariates(pd.DataFrame({"size": [float(size)]}))
        for size in range(2)
    ]
    model = LSTMSeqModel(L, T, use_static_covariates=use_static_covariates, **tiny).fit(many)
    assert model.supports_static_covariates
    assert model.uses_static_covariates == use_static_covariates
    other = many[0].with_static_covariates(many[1].static_covariates)
    differ = np.abs(model.predict(T, other).values() - model.predict(T, many[0]).values()).max()
    assert (differ > 1e-6) == use_static_covariates


def test_series_keep_their_order(fitted: LSTMSeqModel) -> None:
    many = [wave(length, seed=length) for length in (40, 8, 25, 13, 60, 30, 7)]
    expected = [fitted.predict(5, series) for series in many]
    for batch_size in (1, 2, 32):
        for together, alone in zip(
            fitted.predict(5, many, batch_size=batch_size), expected, strict=True
        ):
            assert together.time_index.equals(alone.time_index)
            np.testing.assert_allclose(together.values(), alone.values(), atol=1e-5)


def test_encode_is_the_last_hidden_state(tiny: Tiny) -> None:
    series = wave(width=2, dtype="float32")
    model = LSTMSeqModel(L, T, n_rnn_layers=2, use_reversible_instance_norm=False, **tiny).fit(
        series
    )
    window = torch.tensor(series.values()[-L:])[None]
    with torch.no_grad():
        expected = Tutorial(model.model.network).lstm(window)[0][:, -1]
    state = model.encode(series)
    assert isinstance(state, np.ndarray)
    np.testing.assert_allclose(state, expected, atol=1e-6)
    # one row per series, whatever the batches
    assert model.encode([series] * 70).shape == (70, 8)
    with pytest.raises(ValueError, match="must be fit before"):
        LSTMSeqModel(L, T, **tiny).encode(series)


def test_encode_reads_covariates_as_predict_does(tiny: Tiny) -> None:
    many, past, future = [wave(), wave(seed=1)], [wave(70, seed=2)] * 2, [wave(70, seed=3)] * 2
    model = LSTMSeqModel(L, T, **tiny).fit(many, past_covariates=past, future_covariates=future)
    states = model.encode(many, past, future)
    assert states.shape == (2, 8)
    for moved in (
        model.encode(many, [changed(covariates, 59) for covariates in past], future),
        model.encode(many, past, [changed(covariates, 59) for covariates in future]),
    ):
        assert np.abs(moved - states).max() > 1e-5
    # the network reads no further than the end of the series
    later = model.encode(many, past, [changed(covariates, 60) for covariates in future])
    np.testing.assert_array_equal(later, states)
    with pytest.raises(ValueError, match="past_covariates"):
        model.encode(many, future_covariates=future)


def test_encode_changes_nothing(fitted: LSTMSeqModel) -> None:
    before, trainer = fitted.predict(T).values(), fitted.trainer
    fitted.encode(wave(seed=4))
    assert fitted.trainer is trainer
    np.testing.assert_array_equal(fitted.predict(T).values(), before)


# --- short series --------------------------------------------------------------------------------


def test_lengths_between_minimum_and_maximum_are_padded_and_masked(tiny: Tiny) -> None:
    model = LSTMSeqModel((3, 8), T, **tiny).fit([wave(30), wave(7, seed=1)])
    assert (model.min_input_chunk_length, model.input_chunk_length) == (3, 8)
    model.model.eval()
    for length in (3, 5, 8, 12):
        series = wave(length, seed=2)
        window = np.full((1, 8, 1), NAN)
        window[0, -min(length, 8) :] = series.values()[-8:]
        x = torch.tensor(window)
        x = torch.tensor(window)
        normalised = model.model.rin(x)
        inner = model.model.network(normalised.float())[..., None]
        expected = model.model.rin.inverse(inner)[0, :, :, 0].detach()
        np.testing.assert_allclose(model.predict(T, series).values(), expected, atol=1e-6)
        assert model.encode(series).shape == (1, 8)
    with pytest.raises(ValueError, match=r"too short.* `3`, received length `2`"):
        model.predict(T, wave(2))
    with pytest.raises(ValueError, match=r"index 0 is too short.* 5 steps, and 6 are"):
        LSTMSeqModel((3, 8), T, **tiny).fit(wave(5))


def test_one_length_means_exactly_that(fitted: LSTMSeqModel) -> None:
    assert (fitted.min_input_chunk_length, fitted.input_chunk_length) == (L, L)
    with pytest.raises(ValueError, match=r"too short.* `6`, received length `5`"):
        fitted.predict(T, wave(5))


def test_the_mask_is_there_when_it_is_needed(tiny: Tiny) -> None:
    values = wave().values()
    values[20] = NAN
    holes = wave().with_values(values)
    first = LSTMSeqModel(L, T, **tiny).fit(wave())
    second = LSTMSeqModel(L, T, **tiny).fit(holes)
    third = LSTMSeqModel(L, T, **tiny).fit(wave(), past_covariates=holes)
    fourth = LSTMSeqModel((3, L), T, **tiny).fit(wave())
    widths = [model.model.network.layers[0].input_size for model in (first, second, third, fourth)]
    patch = first.patch_length
    assert widths == [patch, 2 * patch, 4 * patch, 2 * patch]
    # and a model that never saw a gap still bridges one
    np.testing.assert_allclose(first.predict(T, holes[:21]).values(), 20, atol=10)


# --- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input_chunk_length": 0}, "input_chunk_length` must be >= 1"),
        ({"input_chunk_length": 2.5}, "input_chunk_length` must be an integer or a"),
        ({"input_chunk_length": (6, 3)}, "1 <= min_length <= max_length"),
        ({"input_chunk_length": True}, "input_chunk_length` must be an integer >= 1"),
        ({"output_chunk_length": 0}, "output_chunk_length` must be an integer >= 1, received 0"),
        ({"output_chunk_length": None}, "output_chunk_length` must be an integer >= 1"),
        ({"output_chunk_shift": -1}, "output_chunk_shift` must be an integer >= 0, received -1"),
        ({"hidden_dim": 0}, "hidden_dim` must be an integer >= 1, received 0"),
        ({"n_rnn_layers": 0}, "n_rnn_layers` must be an integer >= 1, received 0"),
        ({"n_rnn_layers": 1.5}, "n_rnn_layers` must be an integer >= 1, received 1.5"),
        ({"patch_length": 0}, "patch_length` must be an integer >= 1, received 0"),
        ({"patch_length": 7}, r"must not exceed `input_chunk_length` \(6\), received 7"),
        ({"dropout": 1.0}, r"dropout` must be a number in \[0, 1\), received 1.0"),
        ({"dropout": -0.1}, r"dropout` must be a number in \[0, 1\), received -0.1"),
        ({"batch_size": 0}, "batch_size` must be an integer >= 1, received 0"),
        ({"n_epochs": -1}, "n_epochs` must be an integer >= 0, received -1"),
        ({"use_reversible_instance_norm": "yes"}, "must be a boolean, `None` or a dictionary"),
        ({"use_reversible_instance_norm": {"afine": True}}, "'affine' .* received"),
        ({"use_reversible_instance_norm": {"affine": "no"}}, "'affine' .* received"),
        ({"use_reversible_instance_norm": {"eps": -1.0}}, "'eps' .* received"),
        ({"use_reversible_instance_norm": {"eps": float("nan")}}, "'eps' .* received"),
        ({"use_reversible_instance_norm": np.ones(2)}, "must be a boolean"),
        ({"shared_weights": "False"}, "shared_weights` must be a boolean, received 'False'"),
        ({"likelihood": "gaussian"}, "likelihood` must be a likelihood .* received 'gaussian'"),
        ({"loss_fn": "mse"}, r"loss_fn` must be a loss such as .* received 'mse'"),
        ({"loss_fn": torch.nn.MSELoss}, r"loss_fn` must be a loss such as"),
        ({"optimizer_kwargs": "adam"}, "optimizer_kwargs` must be a dictionary"),
        ({"pl_trainer_kwargs": ["cpu"]}, "pl_trainer_kwargs` must be a dictionary"),
        ({"nr_epochs_val_period": 0}, "nr_epochs_val_period` must be an integer >= 1"),
        ({"hiden_dim": 4}, r"has no args/kwargs `\['hiden_dim'\]`"),
    ],
)
def test_wrong_parameters_are_refused_at_construction(wrong: Tiny, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LSTMSeqModel(**LENGTHS | wrong)


@pytest.mark.parametrize(
    "params",
    [
        {"input_chunk_length": 1, "output_chunk_length": 1, "hidden_dim": 1},
        {"patch_length": L},
        {"dropout": 0},
        {"use_reversible_instance_norm": {"affine": True, "eps": 1e-5}},
        {"input_chunk_length": np.int64(4), "output_chunk_length": np.int32(2)},
        {"hidden_dim": np.int64(3), "n_rnn_layers": np.int64(2), "dropout": np.float64(0.2)},
        {"patch_length": np.int64(2), "batch_size": np.int64(4), "n_epochs": np.int64(1)},
    ],
)
def test_parameters_at_the_border_work(params: Tiny, tiny: Tiny) -> None:
    model = LSTMSeqModel(**tiny | LENGTHS | params).fit(wave(20))
    np.testing.assert_allclose(model.predict(5).values(), 20, atol=15)


def test_parameters_are_named_as_in_block_rnn(tiny: Tiny) -> None:
    params = tiny | {"n_rnn_layers": 2, "dropout": 0.1, "output_chunk_shift": 1}
    params |= {"use_static_covariates": False, "use_reversible_instance_norm": True}
    shared = {"input_chunk_length": L, "output_chunk_length": T, **params}
    ours, theirs = LSTMSeqModel(**shared), BlockRNNModel(model="LSTM", **shared)
    for name in ("hidden_dim", "n_rnn_layers", "dropout"):
        assert getattr(ours, name) == getattr(theirs, name) == shared[name]
    assert ours.extreme_lags == theirs.extreme_lags


def test_every_argument_of_block_rnn_is_taken(tiny: Tiny) -> None:
    arguments = {
        name: parameter.default
        for name, parameter in inspect.signature(BlockRNNModel.__init__).parameters.items()
        if name not in ("self", "kwargs")
    }
    given = arguments | {"input_chunk_length": L, "output_chunk_length": T, "model": "LSTM"}
    given |= {name: value for name, value in tiny.items() if name not in given}
    model = LSTMSeqModel(**given)
    BlockRNNModel(**given)
    assert (model.hidden_dim, model.dropout) == (arguments["hidden_dim"], 0)
    # none is left that a copy, or a file, could not be made with
    assert not {"model", "hidden_fc_sizes", "activation"} & model.model_params.keys()
    assert model.untrained_model().fit(wave()).predict(T).n_components == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"model": "GRU"}, "`model` cannot be 'GRU'.*Pass 'LSTM', leave it out, or use Darts'"),
        ({"model": torch.nn.GRU}, "`model` cannot be <class"),
        ({"hidden_fc_sizes": [16]}, r"cannot be \[16\]: one linear .*by `hidden_dim`"),
        ({"activation": "GELU"}, "`activation` cannot be 'GELU': .*Leave it out"),
    ],
)
def test_what_only_block_rnn_has_is_refused_with_the_repair(wrong: Tiny, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LSTMSeqModel(**LENGTHS | wrong)


@pytest.mark.parametrize("likelihood", [None, QuantileRegression([0.1, 0.5, 0.9])])
def test_nonnegative_replaces_what_is_below_zero_and_nothing_else(
    likelihood: Any, tiny: Tiny
) -> None:
    series = wave().with_values(wave().values() - 20)
    kwargs: Tiny = {} if likelihood is None else {"num_samples": 20, "random_state": 1}
    free, kept = (
        LSTMSeqModel(L, T, likelihood=likelihood, nonnegative=nonnegative, **tiny).fit(series)
        for nonnegative in (False, True)
    )
    ends = [series[:end] for end in range(48, 60)]
    expected, found = (
        np.stack([one.all_values() for one in model.predict(T, ends, **kwargs)])
        for model in (free, kept)
    )
    assert (expected < 0).any()
    assert (expected > 0).any()
    np.testing.assert_array_equal(found, expected.clip(0))
    if likelihood is None:
        return
    free, kept = (m.predict(T, predict_likelihood_parameters=True) for m in (free, kept))
    np.testing.assert_array_equal(kept.values(), free.values().clip(0))


def test_samples_of_a_constant_are_the_constant(tiny: Tiny) -> None:
    flat = [wave().with_values(np.full((60, 1), level)) for level in (0.0, 0.1)]
    model = LSTMSeqModel(L, T, likelihood=GaussianLikelihood(), **tiny).fit([wave(), *flat])
    for series, level in zip(flat, (0.0, 0.1), strict=True):
        assert (model.predict(2 * T, series, num_samples=5).all_values() == level).all()


def test_fitting_and_predicting_warn_of_nothing_of_our_own(
    tiny: Tiny, recwarn: pytest.WarningsRecorder
) -> None:
    warnings.simplefilter("always")
    warning_cache.clear()
    model = LSTMSeqModel(L, T, **tiny).fit(wave(), val_series=wave())
    model.predict(T, trainer=pl.Trainer(**model.trainer_params))
    assert not [one for one in recwarn if "You have overridden" in str(one.message)]


def test_the_users_dictionaries_are_left_alone(tiny: Tiny) -> None:
    params = copy.deepcopy(dict(tiny)) | {"optimizer_kwargs": {"lr": 1e-3}}
    params["dataloader_kwargs"] = loader = {"drop_last": False}
    before = copy.deepcopy({k: v for k, v in params.items() if k != "dataloader_kwargs"})
    del params["dataloader_kwargs"]
    LSTMSeqModel(L, T, **params).fit(wave(), dataloader_kwargs=loader)
    assert params == before
    assert loader == {"drop_last": False}


def test_single_precision_unless_told_otherwise(tiny: Tiny) -> None:
    single = LSTMSeqModel(L, T, **tiny).fit(wave())
    dtypes = {weight.dtype for weight in weights(single).values()}
    assert {dtype for dtype in dtypes if dtype.is_floating_point} == {torch.float32}
    assert single.predict(T).dtype == np.float64
    trainer = tiny["pl_trainer_kwargs"] | {"precision": "64-true"}
    double = LSTMSeqModel(L, T, **tiny | {"pl_trainer_kwargs": trainer}).fit(wave())
    assert double.model.dtype == torch.float64


# --- training ------------------------------------------------------------------------------------


class _Watch(pl.Callback):
    """Read the loss as users' callbacks do, at the end of each epoch."""

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self.steps: list[float] = []

    def on_train_epoch_end(self, trainer: Any, *args: Any) -> None:
        self.epochs.append(trainer.callback_metrics["train_loss"].item())


class _WatchSteps(_Watch):
    """And after each step."""

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        self.steps.append(trainer.callback_metrics["train_loss"].item())


def test_callbacks_see_the_loss_of_each_step_and_epoch(tiny: Tiny) -> None:
    by_epoch, by_step = _Watch(), _WatchSteps()
    params = tiny | {"n_epochs": 3, "batch_size": 16}  # 52 windows: four steps an epoch
    first = LSTMSeqModel(L, T, **with_callback(params, by_epoch)).fit(wave())
    second = LSTMSeqModel(L, T, **with_callback(params, by_step)).fit(wave())
    assert len(set(by_step.steps)) == 12
    assert by_step.epochs == by_epoch.epochs == by_step.steps[3::4]
    # watching changes nothing
    np.testing.assert_array_equal(first.predict(T).values(), second.predict(T).values())


def test_a_scheduler_sees_the_loss_of_each_step(tiny: Tiny, monkeypatch: Any) -> None:
    seen, scheduler = [], torch.optim.lr_scheduler.ReduceLROnPlateau
    step = scheduler.step

    def record(self: Any, loss: torch.Tensor) -> None:
        seen.append(loss.item())
        step(self, loss)

    monkeypatch.setattr(scheduler, "step", record)
    params = tiny | {"n_epochs": 2, "batch_size": 16, "lr_scheduler_cls": scheduler}
    kwargs = {"monitor": "train_loss", "interval": "step", "frequency": 2}
    LSTMSeqModel(L, T, lr_scheduler_kwargs=kwargs, **params).fit(wave())
    assert len(set(seen)) == 4  # of four steps an epoch


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_loss_curves_are_those_of_darts_datasets_batched_sample_by_sample(
    dtype: str, tiny: Tiny
) -> None:
    fast, slow = _WatchSteps(), _WatchSteps()
    params = tiny | {"n_epochs": 3, "batch_size": 16}
    series = [wave(dtype=dtype), wave(40, seed=1, dtype=dtype)]
    first = LSTMSeqModel(L, T, **with_callback(params, fast))
    first.fit_from_dataset(BatchTrainingDataset(series, **LENGTHS))
    second = LSTMSeqModel(L, T, **with_callback(params, slow))
    second.fit_from_dataset(SequentialTorchTrainingDataset(series, **LENGTHS))
    assert len(set(fast.steps)) == len(fast.steps) > 9
    np.testing.assert_allclose(fast.steps, slow.steps, rtol=1e-6)
    np.testing.assert_allclose(fast.epochs, slow.epochs, rtol=1e-6)
    forecasts = [model.predict(T, series=series[0]).values() for model in (first, second)]
    np.testing.assert_allclose(*forecasts, rtol=1e-6)


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_fused_optimisers_learn_the_same(
    optimizer: type[torch.optim.Optimizer], tiny: Tiny
) -> None:
    params = tiny | {"optimizer_cls": optimizer, "n_epochs": 3}
    fused: Any = LSTMSeqModel(L, T, optimizer_kwargs={"lr": 0.01}, **params).fit(wave())
    plain: Any = LSTMSeqModel(L, T, optimizer_kwargs={"lr": 0.01, "fused": False}, **params).fit(
        wave()
    )
    assert fused.trainer.optimizers[0].defaults["fused"]
    assert not plain.trainer.optimizers[0].defaults["fused"]
    np.testing.assert_allclose(fused.predict(T).values(), plain.predict(T).values(), atol=1e-5)


def test_only_the_default_normalisation_learns_a_level(tiny: Tiny) -> None:
    noise = wave().with_values(50 + np.random.default_rng(0).normal(size=(60, 1)))
    reaches = {
        norm: LSTMSeqModel(L, T, use_reversible_instance_norm=norm, **tiny)
        .fit(noise)
        .model.rin.level_reach.item()
        for norm in (None, True)
    }
    assert reaches[None] > 0
    assert reaches[True] == 0


def low_data(model: LSTMSeqModel) -> tuple[float, float]:
    (dropout,) = model.model.network.dropouts
    return dropout.p, model.model.lr_multiplier


@pytest.mark.parametrize(
    ("length", "n_windows", "few"),
    [
        (16, 1, True),
        (48, 30 * T, True),
        (48, 30 * T + 1, False),
        (49, 60 * T, True),
        (49, 60 * T + 1, False),
    ],
)
def test_few_windows_hold_the_lstm_back(length: int, n_windows: int, few: bool, tiny: Tiny) -> None:
    expected = (0.9, 12 / length) if few else (0.5, 1)
    series = wave(length + T - 1 + n_windows)
    model = LSTMSeqModel(length, T, **tiny | {"dropout": None, "batch_size": 1024}).fit(series)
    assert low_data(model) == expected
    model.fit(wave(100), epochs=1)  # goes on with the network that is there
    assert low_data(model) == expected
    model.save("few.pt")
    assert low_data(LSTMSeqModel.load("few.pt")) == expected


@pytest.mark.parametrize(
    ("changes", "arguments", "expected"),
    [
        ({}, {}, (0.9, 0.75)),
        ({"input_chunk_length": 12}, {}, (0.9, 1)),  # a short window gives little away
        ({"dropout": 0.3}, {}, (0.3, 0.75)),
        ({}, {"past_covariates": wave(80)}, (0.5, 1)),
        ({}, {"future_covariates": wave(80)}, (0.5, 1)),
        ({"use_reversible_instance_norm": False, "dropout": 0.3}, {}, (0.3, 1)),
    ],
)
def test_what_holds_the_lstm_back(
    changes: Tiny, arguments: Tiny, expected: tuple[float, float], tiny: Tiny
) -> None:
    params = tiny | {"input_chunk_length": 16, "output_chunk_length": T, "dropout": None} | changes
    assert low_data(LSTMSeqModel(**params).fit(wave(50), **arguments)) == expected


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("cls", [torch.optim.Adam, torch.optim.SGD])
def test_what_knows_windows_by_heart_takes_a_share_of_each_step(
    cls: type, n_members: int, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = {"n_members": n_members, "optimizer_cls": cls, "batch_size": 1024, "n_epochs": 0}
    weights = {}
    for rate in (0.0, 0.25, 1.0):
        monkeypatch.setattr("darts_lstm_seq.model.defaults.FULL_LR_WINDOW", rate * L)
        model = LSTMSeqModel(L, T, **tiny | params).fit(wave(50))
        # the head starts at zero, where the LSTM has no gradient yet
        head = [x for name, x in model.model.named_parameters() if "head" in name]
        for weight in head:
            torch.nn.init.constant_(weight, 0.1)
        before = {name: x.detach().clone() for name, x in model.model.named_parameters()}
        model.fit(wave(50), epochs=1)  # a single step
        weights[rate] = {n: x.detach() - before[n] for n, x in model.model.named_parameters()}
    for name, whole in weights[1.0].items():
        share = 0.25 if "layers" in name or name.endswith("bias") else 1.0
        assert whole.any()
        torch.testing.assert_close(weights[0.25][name], share * whole, atol=1e-7, rtol=1e-3)
        torch.testing.assert_close(weights[0.0][name], (share == 1.0) * whole, atol=1e-7, rtol=1e-3)


@pytest.mark.parametrize("n_members", [1, 2])
@pytest.mark.parametrize("shared_weights", [False, True])
def test_few_windows_with_a_season_are_regressed_before_training(
    shared_weights: bool, n_members: int, tiny: Tiny
) -> None:
    profile, noise = 5 * np.random.default_rng(1).normal(size=(12, 2)), np.random.default_rng(0)
    values = np.tile(profile, (60, 1)) + noise.normal(size=(720, 2))
    values[50:53] = np.nan
    series = TimeSeries.from_values(values * [1, 1e6] + [0, 1e9])

    def error(model: Any, retrain: bool) -> np.ndarray:  # of each component
        kwargs = {"forecast_horizon": 12, "stride": 12, "last_points_only": False}
        forecasts = model.historical_forecasts(series, start=600, retrain=retrain, **kwargs)
        errors = mae([series] * len(forecasts), forecasts, component_reduction=None)
        return np.mean(errors, axis=0)

    naive = error(NaiveSeasonal(12), retrain=True)
    params = tiny | {"shared_weights": shared_weights, "n_members": n_members, "n_epochs": 0}
    for horizon, few in ((24, True), (1, False)):
        model = LSTMSeqModel(96, horizon, **params).fit(series[:600])
        assert (error(model, retrain=False) < 0.85 * naive).all() == few


@pytest.mark.parametrize(("length", "most"), [(900, 512), (1024, 512), (1025, 511), (9000, 120)])
def test_long_windows_are_initialised_from_as_many_steps(
    length: int, most: int, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(
        LSTMSeqModule,
        "initialize",
        lambda self, batch, n: drawn.append((len(batch.past_target), n)),
    )
    values = np.random.default_rng(0).normal(size=length + 600)
    params = tiny | {"n_epochs": 0, "patch_length": length // 20}
    LSTMSeqModel(length, 1, **params).fit(TimeSeries.from_values(values))
    assert drawn == [(most, 600)]


@pytest.mark.parametrize("n_members", [1, 2])
@pytest.mark.parametrize("shared_weights", [False, True])
def test_quantiles_start_as_far_apart_as_the_errors_of_the_path(
    shared_weights: bool, n_members: int, tiny: Tiny
) -> None:
    noise = np.random.default_rng(0).normal(size=(400, 2)) * [1, 1000]
    noise[50:53] = np.nan
    series = TimeSeries.from_values(noise)
    params = {"shared_weights": shared_weights, "n_members": n_members, "n_epochs": 0}
    model = LSTMSeqModel(L, T, likelihood=QuantileRegression([0.1, 0.5, 0.9]), **tiny | params)
    forecasts = model.fit(series).historical_forecasts(
        series[60:],
        retrain=False,
        forecast_horizon=T,
        last_points_only=False,
        predict_likelihood_parameters=True,
    )
    quantiles = np.stack([forecast.values() for forecast in forecasts])  # (windows, T, 6)
    truth = np.stack([series.slice_intersect(forecast).values() for forecast in forecasts])
    inside = (quantiles[..., [0, 3]] <= truth) & (truth <= quantiles[..., [2, 5]])
    np.testing.assert_allclose(inside.mean(axis=(0, 1)), 0.8, atol=0.05)


# --- a failed fit --------------------------------------------------------------------------------


class _Raise(pl.Callback):
    """Raise in the middle of the second training."""

    def __init__(self, error: BaseException) -> None:
        self.error: BaseException = error
        self.armed = False

    def on_train_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
        if self.armed:
            raise self.error


class _Spoil(_Raise):
    """Put NaN into the weights instead, as an exploding gradient does."""

    def on_train_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
        if self.armed:
            with torch.no_grad():
                module.network.head.weight.fill_(NAN)


def with_callback(tiny: Tiny, callback: pl.Callback) -> Tiny:
    return tiny | {"pl_trainer_kwargs": tiny["pl_trainer_kwargs"] | {"callbacks": [callback]}}


FAILURES: dict[str, tuple[_Raise, Any]] = {
    "exception": (_Raise(RuntimeError("no luck")), RuntimeError),
    "keyboard": (_Raise(KeyboardInterrupt()), (KeyboardInterrupt, SystemExit)),
    "exit": (_Raise(SystemExit(3)), SystemExit),
    "nan": (_Spoil(RuntimeError()), ValueError),
}


@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize("with_weights", [False, True])
def test_a_failed_fit_leaves_the_model_as_it_was(how: str, with_weights: bool, tiny: Tiny) -> None:
    callback, error = FAILURES[how]
    callback.armed = False
    params = with_callback(tiny, callback) | {"likelihood": None}
    model = LSTMSeqModel(L, T, optimizer_kwargs={"lr": 0.05}, **params).fit(wave())
    before, forecast = weights(model), model.predict(5).values()
    network, trainer, epochs = model.model, model.trainer, model.epochs_trained
    twin = copy.deepcopy(model)

    callback.armed = True
    extra = {"sample_weight": "linear"} if with_weights else {}
    with pytest.raises(error):
        model.fit(wave(seed=9) * 3, epochs=4, **extra)

    assert model.model is network
    assert model.trainer is trainer
    assert model.epochs_trained == epochs
    for name, weight in weights(model).items():
        assert torch.equal(weight, before[name]), name
    np.testing.assert_array_equal(model.predict(5).values(), forecast)
    np.testing.assert_array_equal(twin.predict(5).values(), forecast)
    # and can be trained further as if nothing had been
    callback.armed = False
    model.fit(wave(), epochs=2)
    twin.fit(wave(), epochs=2)
    np.testing.assert_allclose(model.predict(5).values(), twin.predict(5).values(), atol=1e-6)
    assert model.model.train_criterion.reduction == "mean"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda series: changed(series, 11, INF),
        lambda series: series.with_values(np.full_like(series.values(), NAN)),
        lambda series: concatenate([series, series], axis="component"),
        lambda series: series[: L + T - 1],
    ],
    ids=["infinite", "nothing known", "another width", "too short"],
)
def test_refused_data_leaves_the_model_as_it_was(
    spoil: Callable[[TimeSeries], TimeSeries], tiny: Tiny
) -> None:
    model = LSTMSeqModel(L, T, **tiny).fit(wave())
    before, forecast = weights(model), model.predict(5).values()
    with pytest.raises(ValueError, match=r"series|dimensionality"):
        model.fit(spoil(wave(seed=1)))
    for name, weight in weights(model).items():
        assert torch.equal(weight, before[name])
    np.testing.assert_array_equal(model.predict(5).values(), forecast)
    model.fit(wave(), epochs=1)


def test_a_failed_first_fit_leaves_a_fresh_model(tiny: Tiny) -> None:
    model, twin = LSTMSeqModel(L, T, **tiny), LSTMSeqModel(L, T, **tiny)
    values = wave(width=2).values()
    values[3] = NAN
    values[7, 1] = INF
    holes = wave(width=2).with_values(values)
    with pytest.raises(ValueError, match="`series` at index 0 has an infinite value"):
        model.fit(holes)
    assert not model.model_created
    # other widths, and no need for a mask, are fine afterwards
    forecast = model.fit(wave()).predict(3).values()
    np.testing.assert_allclose(forecast, twin.fit(wave()).predict(3).values(), atol=1e-6)


def test_a_failed_fit_from_dataset_leaves_the_model_as_it_was(tiny: Tiny) -> None:
    callback = _Raise(RuntimeError("no luck"))
    model = LSTMSeqModel(L, T, **with_callback(tiny, callback)).fit(wave())
    before = weights(model)
    dataset = model._build_train_dataset([wave(seed=3)], None, None, None, None)
    callback.armed = True
    with pytest.raises(RuntimeError, match="no luck"):
        model.fit_from_dataset(dataset)
    for name, weight in weights(model).items():
        assert torch.equal(weight, before[name])


@pytest.mark.parametrize("n_epochs", [1, 4])
@pytest.mark.parametrize(
    "likelihood", [None, GaussianLikelihood(), QuantileRegression([0.1, 0.5, 0.9])]
)
def test_a_loss_that_explodes_never_trains_silently(
    n_epochs: int, likelihood: Any, tiny: Tiny
) -> None:
    params = tiny | {"n_epochs": n_epochs, "batch_size": 512, "likelihood": likelihood}
    model = LSTMSeqModel(L, T, optimizer_kwargs={"lr": 1e39}, **params)
    with pytest.raises(ValueError, match=r"Training failed.*Lower the learning rate"):
        model.fit(wave())
    assert not model.model_created


# --- randomness ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_random_state_fixes_everything(dropout: float, tiny: Tiny) -> None:
    params = tiny | {"dropout": dropout, "likelihood": GaussianLikelihood(), "n_epochs": 2}

    def forecasts(seed: int, noise: int) -> list[np.ndarray]:
        np.random.seed(noise)  # noqa: NPY002
        torch.manual_seed(noise)
        model = LSTMSeqModel(L, T, **params | {"random_state": seed}).fit(wave())
        return [model.predict(4, num_samples=5).all_values() for _ in range(2)]

    samples, same, other = forecasts(1, 10), forecasts(1, 20), forecasts(2, 10)
    np.testing.assert_array_equal(samples, same)
    assert np.abs(samples[0] - other[0]).max() > 1e-3
    assert np.abs(samples[0] - samples[1]).max() > 1e-3  # samples differ from call to call


def test_the_global_generators_are_left_alone(tiny: Tiny) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    LSTMSeqModel(L, T, **tiny).fit(wave()).predict(T)
    assert torch.equal(torch.get_rng_state(), before)
