"""How training is steered: weights, validation, callbacks, optimisers, tuners, fine-tuning."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from darts import TimeSeries
from darts.metrics import mae
from darts.utils.callbacks import TFMProgressBar
from darts.utils.losses import SmapeLoss
from darts.utils.serialization import safe_globals
from makers import assert_near, sine, trainer_of
from pytorch_lightning.callbacks import Callback, EarlyStopping
from torchmetrics import MeanAbsoluteError, MeanAbsolutePercentageError, MetricCollection

from darts_lstm_seq import LSTMSeqModel


class Curve(Callback):
    """Remember the metrics of each epoch, as a user would to draw a loss curve."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.epochs.append({k: float(v) for k, v in trainer.callback_metrics.items()})

    def of(self, name: str) -> list[float]:
        return [epoch[name] for epoch in self.epochs if name in epoch]


def with_callbacks(tiny: dict[str, Any], *callbacks: Callback, **kwargs: Any) -> dict[str, Any]:
    trainer = tiny["pl_trainer_kwargs"] | {"callbacks": list(callbacks)}
    return tiny | {"pl_trainer_kwargs": trainer} | kwargs


def weights(model: LSTMSeqModel) -> np.ndarray:
    return np.concatenate([w.detach().numpy().ravel() for w in model.model.parameters()])


@pytest.mark.slow
@pytest.mark.parametrize("form", ["series", "component", "one for all"])
def test_sample_weights_say_what_counts(form: str, tiny: dict[str, Any]) -> None:
    # the second half turns the first upside down; the weights choose which one is learnt
    wave = sine(240, noise=0.0, width=2)
    values = wave.values().copy()
    values[120:] = np.abs(values[120:])
    series = wave.with_values(values)
    first = np.zeros((240, 1 if form == "one for all" else 2), dtype="float32")
    first[:120] = 1
    if form == "component":
        first[:, 1] = 1
    names = series.components[: first.shape[1]]
    weight = TimeSeries(times=series.time_index, values=first, components=names)
    model = LSTMSeqModel(
        12, 4, **tiny | {"n_epochs": 30, "hidden_dim": 16, "optimizer_kwargs": {"lr": 1e-2}}
    )
    model.fit(series, sample_weight=weight)
    errors = {}
    for half, where in [("first", series[:120]), ("second", series[120:])]:
        forecasts = model.historical_forecasts(where, retrain=False, forecast_horizon=4)
        errors[half] = mae(where, forecasts, component_reduction=None)
    assert errors["first"][0] < 0.5 * errors["second"][0]
    if form == "component":
        assert errors["second"][1] < 0.7 * errors["second"][0]


@pytest.mark.parametrize("weight", ["linear", "exponential"])
def test_named_weights_change_the_training(weight: str, tiny: dict[str, Any]) -> None:
    series = [sine(60, seed=1), sine(40, seed=2)]
    plain = LSTMSeqModel(6, 3, **tiny).fit(series)
    weighted = LSTMSeqModel(6, 3, **tiny)
    weighted.fit(series, sample_weight=weight, val_series=series, val_sample_weight=weight)
    assert not np.array_equal(weights(plain), weights(weighted))
    assert_near(weighted.predict(3, series[0]), series[0])


def test_validation_is_watched_and_the_best_is_loaded(tiny: dict[str, Any], tmp_path: Path) -> None:
    curve = Curve()
    model = LSTMSeqModel(
        12,
        3,
        save_checkpoints=True,
        work_dir=str(tmp_path),
        # the steps grow until they wreck what was learnt, so the last epoch is not the best
        lr_scheduler_cls=torch.optim.lr_scheduler.ExponentialLR,
        lr_scheduler_kwargs={"gamma": 30},
        **with_callbacks(tiny, curve, n_epochs=4),
    )
    series = sine(90)
    model.fit(series[:70], val_series=series[54:], load_best=True)
    losses = curve.of("val_loss")
    assert len(losses) == 4
    with safe_globals([Curve]):  # the user's own class, which Darts cannot know
        best, last = (
            LSTMSeqModel.load_from_checkpoint(model.model_name, str(tmp_path), best=best)
            for best in (True, False)
        )
    np.testing.assert_array_equal(weights(best), weights(model))
    assert np.argmin(losses) < 3
    assert not np.array_equal(weights(last), weights(model))


def test_validation_with_covariates_and_many_series(tiny: dict[str, Any]) -> None:
    curve = Curve()
    series = [sine(60, seed=1), sine(80, seed=2)]
    known = sine(90, name="known")
    LSTMSeqModel(12, 3, **with_callbacks(tiny, curve)).fit(
        [target[:40] for target in series],
        future_covariates=[known, known],
        past_covariates=[known, known],
        val_series=[target[28:] for target in series],
        val_future_covariates=[known, known],
        val_past_covariates=[known, known],
    )
    (loss,) = curve.of("val_loss")
    assert 0 < loss < 2  # in units of the spread


def test_early_stopping(tiny: dict[str, Any]) -> None:
    stop = EarlyStopping("val_loss", patience=1, min_delta=10.0)  # nothing improves by so much
    model = LSTMSeqModel(12, 3, **with_callbacks(tiny, stop, n_epochs=50))
    series = sine(80)
    model.fit(series[:60], val_series=series[40:])
    assert model.epochs_trained == 2
    # a model can be trained on, and counts on
    model.fit(series[:60], val_series=series[40:], epochs=1)
    assert model.epochs_trained in (1, 3)


def test_callbacks_of_darts_and_lightning(
    tiny: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    bar = TFMProgressBar(enable_sanity_check_bar=False, enable_prediction_bar=False)
    summing = pl.callbacks.StochasticWeightAveraging(swa_lrs=1e-3)
    model = LSTMSeqModel(
        6,
        3,
        **tiny
        | {"n_epochs": 3, "pl_trainer_kwargs": {"logger": False, "callbacks": [bar, summing]}},
    )
    model.fit(sine(60))
    assert_near(model.predict(3), sine(60))
    assert "train_loss" in capsys.readouterr().out


def test_torchmetrics_are_on_the_scale_of_the_data(tiny: dict[str, Any]) -> None:
    curve = Curve()
    metrics = MetricCollection([MeanAbsoluteError(), MeanAbsolutePercentageError()])
    model = LSTMSeqModel(
        12, 3, torch_metrics=metrics, **with_callbacks(tiny, curve, n_epochs=2, batch_size=64)
    )
    series = sine(60, level=5e4, scale=2e3, dtype="float64")
    model.fit(series, val_series=series)
    (errors,) = model.backtest(
        [series],
        retrain=False,
        forecast_horizon=3,
        last_points_only=False,
        metric=mae,
        reduction=None,
    )
    told = curve.of("val_MeanAbsoluteError")[-1]
    np.testing.assert_allclose(told, np.mean(errors), rtol=1e-3)
    assert 0 < curve.of("train_MeanAbsolutePercentageError")[-1] < 0.2


@pytest.mark.parametrize(
    ("optimizer", "kwargs"),
    [
        (torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}),
        (torch.optim.AdamW, {"lr": 0.003, "weight_decay": 0.1}),
        (torch.optim.RMSprop, {}),
        (torch.optim.LBFGS, {"max_iter": 4, "line_search_fn": "strong_wolfe"}),
    ],
)
def test_optimisers(
    optimizer: type[torch.optim.Optimizer], kwargs: dict[str, Any], tiny: dict[str, Any]
) -> None:
    curve = Curve()
    model = LSTMSeqModel(
        12,
        3,
        optimizer_cls=optimizer,
        optimizer_kwargs=kwargs,
        **with_callbacks(tiny, curve, n_epochs=8),
    )
    series = sine(90)
    model.fit(series, val_series=series)
    assert type(trainer_of(model).optimizers[0]) is optimizer
    assert len(curve.of("train_loss")) == 8
    losses = curve.of("val_loss")
    assert losses[-1] < losses[0]


def test_schedulers(tiny: dict[str, Any]) -> None:
    series = sine(90)
    model = LSTMSeqModel(
        12,
        3,
        optimizer_kwargs={"lr": 0.01},
        lr_scheduler_cls=torch.optim.lr_scheduler.ExponentialLR,
        lr_scheduler_kwargs={"gamma": 0.5},
        **tiny | {"n_epochs": 4},
    ).fit(series)
    assert trainer_of(model).optimizers[0].param_groups[0]["lr"] == pytest.approx(0.01 / 2**4)

    plateau = LSTMSeqModel(
        12,
        3,
        optimizer_kwargs={"lr": 0.01},
        lr_scheduler_cls=torch.optim.lr_scheduler.ReduceLROnPlateau,
        lr_scheduler_kwargs={"factor": 0.1, "patience": 0, "threshold": 2, "monitor": "val_loss"},
        **tiny | {"n_epochs": 3},
    ).fit(series[:60], val_series=series[40:])
    assert trainer_of(plateau).optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-5)


@pytest.mark.parametrize("loss", [torch.nn.L1Loss(), torch.nn.HuberLoss(), SmapeLoss()])
def test_losses(loss: torch.nn.Module, tiny: dict[str, Any]) -> None:
    series = sine(90, level=5)
    model = LSTMSeqModel(12, 3, loss_fn=loss, **tiny | {"n_epochs": 10}).fit(series[:-3])
    assert type(model.model.train_criterion) is type(loss)
    assert mae(series, model.predict(3)) < 0.8  # a flat line is off by more


def test_lr_find(tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # Lightning keeps a checkpoint in the working directory
    model = LSTMSeqModel(12, 3, **tiny | {"n_epochs": 20})
    series = sine(120)
    finder = model.lr_find(series, val_series=series, num_training=40)
    assert 1e-8 < finder.suggestion() < 1
    # looking is not training
    assert not model._fit_called
    model.fit(series)
    assert len(model.predict(3)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fit", "predict"])
def test_scale_batch_size(
    method: str, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    series = sine(80)
    model = LSTMSeqModel(12, 3, **tiny)
    more = {}
    if method == "predict":
        model.fit(series)
        more = {"n": 3}
    found = model.scale_batch_size(
        series, method=method, init_val=4, max_trials=3, steps_per_trial=1, **more
    )
    assert found >= 4
    assert model.batch_size == found
    model.fit(series)
    assert len(model.predict(3)) == 3


def test_training_goes_on_from_where_it_was(tiny: dict[str, Any]) -> None:
    series = sine(90)
    model = LSTMSeqModel(12, 3, **tiny | {"n_epochs": 3}).fit(series)
    before = weights(model)
    model.fit(series, epochs=1)
    step = np.abs(weights(model) - before).max()
    # a fresh start would have been further away than a few steps of Adam
    assert 0 < step < 0.05


@pytest.mark.parametrize("tuned", [{"freeze": ["network.layers*"]}, {"unfreeze": ["*head*"]}])
def test_enable_finetuning(
    tuned: dict[str, list[str]], tiny: dict[str, Any], tmp_path: Path
) -> None:
    series = sine(90)
    path = str(tmp_path / "base.pt")
    base = LSTMSeqModel(12, 3, **tiny | {"n_epochs": 3}).fit(series)
    base.save(path)
    model = LSTMSeqModel(12, 3, enable_finetuning=tuned, **tiny)
    model.load_weights(path)
    model.fit(sine(90, seed=4))
    after = model.model.state_dict()
    for name, weight in base.model.state_dict().items():
        if "layers" in name:
            np.testing.assert_array_equal(after[name], weight)
        if name == "network.head.weight":
            assert not torch.equal(after[name], weight)


def test_enable_finetuning_checks_its_patterns(tiny: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="enable_finetuning"):
        LSTMSeqModel(12, 3, enable_finetuning={"thaw": ["*"]}, **tiny)


def test_load_weights_from_another_model(tiny: dict[str, Any], tmp_path: Path) -> None:
    path = str(tmp_path / "base.pt")
    series = sine(90)
    base = LSTMSeqModel(
        12, 3, add_encoders={"cyclic": {"future": ["month"]}}, **tiny | {"n_epochs": 3}
    ).fit(series)
    base.save(path)
    other = LSTMSeqModel(
        12,
        3,
        add_encoders={"cyclic": {"future": ["month"]}},
        optimizer_kwargs={"lr": 1e-4},
        **tiny,
    )
    other.load_weights(path)
    np.testing.assert_array_equal(
        other.predict(5, series).values(), base.predict(5, series).values()
    )
    other.fit(series)
    assert not np.array_equal(weights(other), weights(base))

    wider = LSTMSeqModel(12, 3, **tiny | {"hidden_dim": 9})
    with pytest.raises(ValueError, match=r"hidden_dim(?s:.)*9"):
        wider.load_weights(path)


def test_a_custom_trainer(tiny: dict[str, Any]) -> None:
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        precision="64-true",
        **{k: v for k, v in tiny["pl_trainer_kwargs"].items() if k != "accelerator"},
    )
    series = sine(60, dtype="float64")
    model = LSTMSeqModel(12, 3, **tiny).fit(series, trainer=trainer)
    assert model.trainer is trainer
    assert model.epochs_trained == 2
    forecast = model.predict(3, trainer=pl.Trainer(logger=False, enable_progress_bar=False))
    assert forecast.dtype == "float64"


def test_dataloader_and_sampling_arguments(tiny: dict[str, Any]) -> None:
    series = [sine(90, seed=1), sine(60, seed=2)]
    seen = []

    class Steps(Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            seen.append(len(args[3].past_target))

    model = LSTMSeqModel(12, 3, **with_callbacks(tiny, Steps(), batch_size=8))
    model.fit(series, max_samples_per_ts=10, stride=2, dataloader_kwargs={"drop_last": True})
    assert seen == [8, 8]
    model.fit(series, max_samples_per_ts=10, dataloader_kwargs={"batch_size": 5, "num_workers": 0})
    assert seen[2:] == [5] * 4
    model.predict(3, series, dataloader_kwargs={"batch_size": 1})


def test_a_checkpoint_whose_epochs_are_used_up_is_said_to_train_nothing(
    tiny: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    series, name = sine(60), "used_up"
    LSTMSeqModel(12, 3, model_name=name, work_dir=str(tmp_path), save_checkpoints=True, **tiny).fit(
        series
    )
    for epochs, trains in ((0, False), (tiny["n_epochs"] + 1, True)):
        model = LSTMSeqModel.load_from_checkpoint(name, str(tmp_path), best=False)
        before = model.predict(3, series)
        with caplog.at_level("WARNING", logger="darts_lstm_seq"):
            model.fit(series, epochs=epochs)
        assert (model.predict(3, series) != before) is trains
        assert ("trained nothing" in caplog.text) is not trains
        caplog.clear()


def test_gradient_clipping_and_accumulation(tiny: dict[str, Any]) -> None:
    options = {"gradient_clip_val": 0.1, "accumulate_grad_batches": 2, "max_steps": 4}
    model = LSTMSeqModel(
        12, 3, **tiny | {"pl_trainer_kwargs": tiny["pl_trainer_kwargs"] | options, "n_epochs": 9}
    ).fit(sine(90))
    assert trainer_of(model).global_step == 4
    assert_near(model.predict(3), sine(90))
