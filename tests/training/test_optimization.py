"""Learning rates of a training: schedule, lower rates, resumption; fused kernels and clipping."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from makers import sine
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.nn.optim import PerNetworkLearningRate
from darts_lstm_seq.training.module import LSTMSeqModule
from darts_lstm_seq.training.optimization import (
    check_finite,
    cosine_factor,
    cosine_schedule,
    reduced_learning_rate,
    with_fused_kernels,
)

INF = float("inf")


def weights() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(1, 4)) for _ in range(3)]


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The learning rate of each training step, as it is recorded from now on."""
    recorded: list[float] = []

    def record(module: LSTMSeqModule, *_: Any) -> None:
        recorded.append(module.trainer.optimizers[0].param_groups[0]["lr"])

    monkeypatch.setattr(LSTMSeqModule, "on_train_batch_start", record)
    return recorded


# --- the schedule --------------------------------------------------------------------------------


@pytest.mark.parametrize("n_steps", [1, 2, 7, 100])
def test_the_schedule_is_pytorchs_cosine_annealing(n_steps: int) -> None:
    optimizers = [SGD(weights(), lr=0.3) for _ in range(2)]
    schedulers: list[Any] = [
        cosine_schedule(optimizers[0], n_steps)["scheduler"],
        CosineAnnealingLR(optimizers[1], T_max=n_steps),
    ]
    for _ in range(n_steps):
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            scheduler.step()
        ours, pytorchs = (optimizer.param_groups[0]["lr"] for optimizer in optimizers)
        assert ours == pytest.approx(pytorchs, abs=1e-12)


def test_the_rate_stays_at_zero_after_the_last_step() -> None:
    assert [cosine_factor(step, 4) for step in (0, 4, 5, 9)] == [1, 0, 0, 0]


def test_without_an_end_the_rate_is_constant() -> None:
    assert {cosine_factor(step, INF) for step in (0, 1, 10**9)} == {1.0}


def test_unlimited_epochs_have_a_constant_rate(tiny: dict[str, Any], rates: list[float]) -> None:
    class StopAfterThreeEpochs(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            trainer.should_stop = trainer.current_epoch == 2

    trainer = pl.Trainer(
        max_epochs=-1, callbacks=[StopAfterThreeEpochs()], **tiny["pl_trainer_kwargs"]
    )
    LSTMSeqModel(6, 3, **tiny).fit(sine(40), trainer=trainer)
    assert rates == [0.001] * 3


def test_a_resumed_training_follows_the_schedule_of_all_its_epochs(
    tiny: dict[str, Any], rates: list[float], tmp_path: Path
) -> None:
    series = sine(40)  # 32 windows
    params = tiny | {"batch_size": 8, "n_epochs": 2, "save_checkpoints": True}
    LSTMSeqModel(6, 3, **params, model_name="short", work_dir=str(tmp_path)).fit(series)
    np.testing.assert_allclose(rates, [0.001 * cosine_factor(step, 8) for step in range(8)])
    rates.clear()
    resumed = LSTMSeqModel.load_from_checkpoint("short", str(tmp_path), best=False)
    resumed.fit(series, epochs=4)
    assert resumed.epochs_trained == 4
    # the first step still has the rate, zero, that the checkpoint holds
    expected = [0.0, *(0.001 * cosine_factor(step, 16) for step in range(9, 16))]
    np.testing.assert_allclose(rates, expected)


# --- lower rates ---------------------------------------------------------------------------------


@pytest.mark.parametrize("multiplier", [0.0, 0.25, 1.0])
@pytest.mark.parametrize(
    "make",
    [
        lambda w: SGD(w, lr=0.1, momentum=0.9, weight_decay=0.1),
        lambda w: Adam(w, lr=0.1, fused=True),
        lambda w: AdamW(w, lr=0.1, weight_decay=0.3),
    ],
    ids=["sgd", "adam", "adamw"],
)
def test_a_reduced_rate_equals_that_of_a_network_in_a_stack(make: Any, multiplier: float) -> None:
    single, stacked = weights(), weights()
    optimizers: list[Optimizer] = [make(single), make(stacked)]
    rate = PerNetworkLearningRate(stacked[1:])
    for step in range(5):
        for parameters in (single, stacked):
            for parameter in parameters:
                parameter.grad = (parameter * (1 + step)).detach().cos()
        with reduced_learning_rate(optimizers[0], single[1:], multiplier):
            optimizers[0].step()
        rate.snapshot()
        optimizers[1].step()
        rate.apply(torch.tensor([multiplier]))
    for ours, reference in zip(single, stacked, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-6)
    assert not torch.equal(single[0], weights()[0])
    assert torch.equal(single[1], weights()[1]) == (multiplier == 0)


def test_the_reduced_rate_is_a_multiple_of_any_schedulers_rate() -> None:
    parameters = weights()
    optimizer = SGD(parameters, lr=0.1)
    scheduler = OneCycleLR(optimizer, max_lr=2.0, total_steps=6, cycle_momentum=False)
    for _ in range(5):
        before = [parameter.detach().clone() for parameter in parameters]
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        with reduced_learning_rate(optimizer, parameters[1:], 0.5):
            optimizer.step()
        rate = optimizer.param_groups[0]["lr"]
        for parameter, start, factor in zip(parameters, before, (1, 0.5, 0.5), strict=True):
            torch.testing.assert_close(parameter.detach(), start - factor * rate)
        scheduler.step()


def test_an_interrupted_step_leaves_one_parameter_group() -> None:
    parameters = weights()
    optimizer = SGD(parameters, lr=0.1)
    before = optimizer.state_dict()
    with pytest.raises(KeyboardInterrupt), reduced_learning_rate(optimizer, parameters[1:], 0.5):
        raise KeyboardInterrupt
    assert optimizer.state_dict() == before
    assert optimizer.param_groups[0]["params"] == parameters


def test_lbfgs_trains_with_few_windows(tiny: dict[str, Any]) -> None:
    changes = {"optimizer_cls": torch.optim.LBFGS, "optimizer_kwargs": {"lr": 0.1}}
    series = sine(60)
    model = LSTMSeqModel(24, 3, **tiny | changes).fit(series)
    assert model.model.lr_multiplier == 0.5
    np.testing.assert_allclose(model.predict(3).values(), sine(63)[-3:].values(), atol=0.6)


# --- kernels, divergence -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "kwargs", "precision", "is_fused"),
    [
        (Adam, {"lr": 0.1}, "32-true", True),
        (AdamW, {}, "64-true", True),
        (SGD, {}, "32-true", True),
        (Adam, {}, "16-mixed", False),
        (Adam, {"foreach": True}, "32-true", False),
        (torch.optim.RMSprop, {}, "32-true", False),
    ],
)
def test_fused_kernels_are_used_where_pytorch_has_them(
    cls: type[Optimizer], kwargs: dict[str, Any], precision: str, is_fused: bool
) -> None:
    expected = {**kwargs, "fused": True} if is_fused else kwargs
    assert with_fused_kernels(cls, kwargs, precision) == expected
    cls(weights(), **expected).step()


def test_the_users_choice_of_kernels_is_kept() -> None:
    assert with_fused_kernels(Adam, {"fused": False}, "32-true") == {"fused": False}


@pytest.mark.parametrize(
    ("loss", "weight", "is_finite"),
    [(1.0, 1.0, True), (float("nan"), 1.0, False), (INF, 1.0, False), (1.0, -INF, False)],
)
def test_divergence_is_an_error(loss: float, weight: float, is_finite: bool) -> None:
    tensors = torch.tensor(loss), [torch.ones(2), torch.tensor([0.0, weight])]
    if is_finite:
        check_finite(*tensors, epoch=3)
        return
    with pytest.raises(ValueError, match=r"Training failed.*epoch 3.*Lower the learning rate"):
        check_finite(*tensors, epoch=3)
