"""Prediction without a `Trainer` gives what a `Trainer` gives, or leaves the work to one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression
from pytorch_lightning.strategies import DDPStrategy, FSDPStrategy

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.model.prediction import DirectPredictor

Tiny = dict[str, Any]
L, T = 6, 3


def wave(length: int = 50, width: int = 1, seed: int = 0, dtype: str = "float64") -> TimeSeries:
    rng = np.random.default_rng(seed)
    values = 20 + 5 * np.sin(np.arange(length)[:, None] * np.pi / 6 + np.arange(width))
    times = pd.date_range("2001-01-01", periods=length, freq="MS")
    return TimeSeries(times=times, values=(values + rng.normal(size=values.shape)).astype(dtype))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record who predicts: `direct` or `lightning`."""
    seen: list[str] = []

    def spy(owner: Any, name: str) -> None:
        original = owner.predict

        def predict(self: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(name)
            return original(self, *args, **kwargs)

        monkeypatch.setattr(owner, "predict", predict)

    spy(DirectPredictor, "direct")
    spy(pl.Trainer, "lightning")
    return seen


def trained(tiny: Tiny, series: TimeSeries | None = None, **params: Any) -> LSTMSeqModel:
    return LSTMSeqModel(L, T, **tiny | params).fit(wave() if series is None else series)


# --- the same numbers ----------------------------------------------------------------------------

Ask = dict[str, Any]
CASES: dict[str, tuple[Tiny, Ask]] = {
    "deterministic": ({}, {}),
    "beyond the chunk": ({}, {"n": 8}),
    "small batches": ({}, {"batch_size": 1}),
    "rolled": ({}, {"n": 7, "roll_size": 2}),
    "samples": ({"likelihood": GaussianLikelihood()}, {"num_samples": 7, "random_state": 3}),
    "samples beyond": (
        {"likelihood": QuantileRegression([0.1, 0.5, 0.9])},
        {"n": 8, "num_samples": 40, "random_state": 3, "batch_size": 2},
    ),
    "samples under a bar": (
        {"likelihood": GaussianLikelihood()},
        {"num_samples": 3, "random_state": 3, "batch_size": 1, "verbose": True},
    ),
    "parameters": ({"likelihood": GaussianLikelihood()}, {"predict_likelihood_parameters": True}),
    "dropout": (
        {"dropout": 0.4, "n_rnn_layers": 2},
        {"n": 8, "num_samples": 9, "mc_dropout": True, "random_state": 3},
    ),
    "silent dropout": ({"dropout": 0.4}, {}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_numbers_are_lightnings(case: str, dtype: str, tiny: Tiny, runs: list[str]) -> None:
    params, ask = CASES[case]
    model = trained(tiny, wave(width=2, dtype=dtype), **params)
    many = [wave(length, 2, seed=length, dtype=dtype) for length in (30, 12, 45)]
    ask = {"n": T, "series": many} | ask
    ours = model.predict(**ask)
    theirs = model.predict(**ask, trainer=pl.Trainer(**tiny["pl_trainer_kwargs"]))
    assert runs == ["direct", "lightning"]
    for our, their in zip(ours, theirs, strict=True):
        assert our.time_index.equals(their.time_index)
        assert our.dtype == their.dtype == dtype
        np.testing.assert_array_equal(our.all_values(), their.all_values())
        if ask.get("num_samples"):
            assert (np.ptp(our.all_values(), axis=2) > 0).all()


def test_with_covariates_too(tiny: Tiny, runs: list[str]) -> None:
    covariates = {"past_covariates": wave(70, seed=1), "future_covariates": wave(70, seed=2)}
    model = LSTMSeqModel(L, T, **tiny).fit(wave(), **covariates)
    ours = model.predict(8)
    theirs = model.predict(8, trainer=pl.Trainer(**tiny["pl_trainer_kwargs"]))
    assert runs == ["direct", "lightning"]
    np.testing.assert_array_equal(ours.values(), theirs.values())


def test_unretrained_backtests_too(tiny: Tiny, runs: list[str]) -> None:
    model = trained(tiny)
    ask = {"retrain": False, "forecast_horizon": 2, "last_points_only": True}
    ours = model.historical_forecasts(wave(seed=5), **ask)
    model.trainer_params |= {"inference_mode": True}
    theirs = model.historical_forecasts(wave(seed=5), **ask)
    assert (runs[0], runs[-1]) == ("direct", "lightning")
    np.testing.assert_array_equal(ours.values(), theirs.values())


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-true"])
def test_in_true_precision_too(precision: str, tiny: Tiny, runs: list[str]) -> None:
    kwargs = tiny["pl_trainer_kwargs"] | {"precision": precision}
    model = trained(tiny | {"pl_trainer_kwargs": kwargs})
    ours = model.predict(T)
    theirs = model.predict(T, trainer=pl.Trainer(**kwargs))
    assert runs == ["direct", "lightning"]
    atol = 0.3 if precision == "bf16-true" else 1e-5
    np.testing.assert_allclose(ours.values(), theirs.values(), atol=atol)


def test_encode_gives_every_window_in_order(tiny: Tiny) -> None:
    model = trained(tiny)
    many = [wave(length, seed=length) for length in range(10, 30)]
    together = model.encode(many)
    model.batch_size = 3
    np.testing.assert_allclose(model.encode(many), together, atol=1e-6)
    np.testing.assert_allclose(model.encode(many[7]), together[7:8], atol=1e-6)


# --- what only Lightning can do ------------------------------------------------------------------


class _Watch(pl.Callback):
    """A callback with a prediction hook."""

    def __init__(self) -> None:
        self.batches = 0

    def on_predict_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.batches += 1


class _Count(pl.Callback):
    """A callback without one."""

    def on_train_epoch_end(self, *args: Any) -> None:
        pass


def test_callbacks_that_watch_predictions_are_served(tiny: Tiny, runs: list[str]) -> None:
    kwargs = tiny["pl_trainer_kwargs"]
    watch = _Watch()
    model = trained(tiny | {"pl_trainer_kwargs": kwargs | {"callbacks": [watch]}})
    model.predict(T, [wave(), wave()], batch_size=1)
    assert runs == ["lightning"]
    assert watch.batches == 2
    trained(tiny | {"pl_trainer_kwargs": kwargs | {"callbacks": [_Count()]}}).predict(T)
    assert runs == ["lightning", "direct"]


def test_the_users_trainer_is_used(tiny: Tiny, runs: list[str]) -> None:
    model, watch = trained(tiny), _Watch()
    trainer = pl.Trainer(**tiny["pl_trainer_kwargs"] | {"callbacks": [watch]})
    model.predict(T, trainer=trainer)
    assert runs == ["lightning"]
    assert watch.batches == 1
    assert model.trainer is trainer


@pytest.mark.parametrize(
    "params",
    [
        {"strategy": "fsdp"},
        {"strategy": FSDPStrategy()},
        {"limit_predict_batches": 1},
        {"precision": "16-mixed"},
        {"precision": "bf16-mixed"},
        {"accelerator": "tpu"},
        {"callbacks": [_Watch()]},
        {"callbacks": [_Count(), _Watch()]},
        {"callbacks": [pl.callbacks.LambdaCallback(on_predict_end=lambda *args: None)]},
        {"profiler": "simple"},
        {"inference_mode": False},
        {"something": "new"},
    ],
)
def test_what_asks_for_more_is_left_to_lightning(params: Tiny) -> None:
    assert DirectPredictor.for_trainer_params({"accelerator": "cpu"} | params, None) is None


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"devices": 1},
        {"devices": "auto", "precision": 32},
        {"precision": "64-true", "max_epochs": 3, "gradient_clip_val": 1.0},
        {"callbacks": None},
        {"devices": 2, "num_nodes": 2},  # each process predicts alone
        {"devices": -1, "strategy": "ddp"},
        {"devices": [0], "strategy": DDPStrategy(find_unused_parameters=True)},
        {"callbacks": [_Count(), pl.callbacks.EarlyStopping("train_loss")]},
        {"callbacks": [pl.callbacks.ModelCheckpoint()], "enable_checkpointing": True},
        {"logger": True, "log_every_n_steps": 7},
    ],
)
def test_what_prediction_does_not_see_is_no_hindrance(params: Tiny) -> None:
    predictor = DirectPredictor.for_trainer_params({"accelerator": "cpu"} | params, None)
    assert predictor is not None
    assert predictor.device == torch.device("cpu")


@pytest.mark.parametrize(
    ("accelerator", "gpus", "other", "device"),
    [
        ("auto", 0, False, "cpu"),
        ("auto", 1, True, "cuda:0"),
        ("gpu", 1, True, "cuda:0"),
        ("cuda", 1, True, "cuda:0"),
        ("cpu", 1, True, "cpu"),
        ("auto", 2, True, "cuda:1"),  # of the process that asks
        ("gpu", 2, True, "cuda:1"),
        ("gpu", 0, False, None),  # Lightning says what is wrong
        ("auto", 0, True, None),  # Apple's and other accelerators
        ("mps", 0, True, None),
    ],
)
def test_the_device_is_the_one_that_lightning_would_take(
    accelerator: str,
    gpus: int,
    other: bool,
    device: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: other)
    monkeypatch.setenv("LOCAL_RANK", "1" if gpus == 2 else "0")
    predictor = DirectPredictor.for_trainer_params({"accelerator": accelerator}, None)
    found = None if predictor is None else str(predictor.device)
    assert found == device


# --- nothing is left behind ----------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "ask",
    [lambda model: model.predict(8), lambda model: model.encode(wave())],
    ids=["predict", "encode"],
)
def test_the_model_is_left_as_it_was(
    training: bool, ask: Callable[[LSTMSeqModel], Any], tiny: Tiny
) -> None:
    model = trained(tiny, dropout=0.4)
    model.model.train(training)
    trainer, before = model.trainer, model.predict(T).values()
    ask(model)
    assert all(module.training == training for module in model.model.network.modules())
    assert model.trainer is trainer
    assert {str(weight.device) for weight in model.model.parameters()} == {"cpu"}
    assert all(weight.requires_grad for weight in model.model.parameters())
    np.testing.assert_array_equal(model.predict(T).values(), before)
    model.fit(wave(), epochs=1)  # no inference tensor is left among the weights


@pytest.mark.parametrize("training", [False, True])
def test_a_failed_prediction_leaves_the_model_as_it_was(
    training: bool, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained(tiny, dropout=0.4)
    model.model.train(training)
    trainer = model.trainer
    with monkeypatch.context() as patch:
        patch.setattr(model.model, "predict_step", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.predict(T, mc_dropout=True, num_samples=2)
    assert model.trainer is trainer
    assert all(module.training == training for module in model.model.network.modules())
    # dropout is silent again: a validation loss would see it
    model.model.eval()
    x = torch.tensor(wave().values()[None, -L:], dtype=torch.float32)
    assert torch.equal(model.model.network(x), model.model.network(x))


@pytest.mark.parametrize(
    ("bar", "verbose", "shown"),
    [(True, None, True), (False, None, False), (False, True, True), (True, False, False)],
)
def test_a_bar_is_shown_on_demand_and_for_several_batches(
    bar: bool, verbose: bool | None, shown: bool, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    model = trained(tiny)
    model.trainer_params["enable_progress_bar"] = bar
    for count in (1, 3):
        capsys.readouterr()
        model.predict(T, [wave()] * count, batch_size=1, verbose=verbose)
        assert ("Predicting" in capsys.readouterr().err) == (shown and count > 1)
