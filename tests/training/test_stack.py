"""Trainings in a stack: windows, their order, learning rates; and the progress bar."""

from typing import Any

import numpy as np
import pytest
import torch
from darts import TimeSeries
from makers import sine
from torch import nn
from torch.optim import lr_scheduler

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.training import stack
from darts_lstm_seq.training.module import LSTMSeqModule
from darts_lstm_seq.training.prepared import Training
from darts_lstm_seq.training.stack import _StackBatches, train


def prepared(length: int, tiny: dict[str, Any], **params: Any) -> Training:
    """Return the training of a model on a series of some length."""
    model = LSTMSeqModel(6, 3, **tiny | {"batch_size": 4} | params)
    return model.prepare_training(series_of(length))


def series_of(length: int) -> TimeSeries:
    return sine(length, season=6, noise=0.0, dtype="float64")


def test_each_epoch_draws_each_window_once(tiny: dict[str, Any]) -> None:
    training = prepared(18, tiny, n_epochs=3)  # 10 windows
    batches = training.batches()
    assert batches.shape == (9, 4)
    for epoch in range(3):
        indices = batches[3 * epoch : 3 * epoch + 3].flatten()
        assert (indices[-2:] == -1).all()
        assert sorted(indices[:-2].tolist()) == list(range(10))
    assert not torch.equal(training.orders[0], training.orders[1])


@pytest.mark.parametrize(
    ("scheduler", "settings"),
    [
        (lr_scheduler.StepLR, {"step_size": 2, "gamma": 0.5}),
        (lr_scheduler.ExponentialLR, {"gamma": 0.7}),
        (lr_scheduler.CosineAnnealingLR, {"T_max": 4}),
        (lr_scheduler.LinearLR, {"start_factor": 0.1, "total_iters": 3}),
        (lr_scheduler.LambdaLR, {"lr_lambda": lambda epoch: 1 / (1 + epoch)}),
        (lr_scheduler.PolynomialLR, {"total_iters": 5, "power": 2.0}),
    ],
)
def test_rates_are_those_of_the_scheduler(
    scheduler: Any, settings: dict[str, Any], tiny: dict[str, Any]
) -> None:
    training = prepared(
        18, tiny, n_epochs=5, lr_scheduler_cls=scheduler, lr_scheduler_kwargs=settings
    )
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=0.01)
    reference = scheduler(optimizer, **settings)
    expected = []
    for _ in range(5):
        expected += [optimizer.param_groups[0]["lr"]] * 3
        optimizer.step()
        reference.step()
    np.testing.assert_allclose(0.01 * training.lr_factors.numpy(), expected, rtol=1e-12, atol=1e-18)


def test_without_a_scheduler_the_rates_are_those_of_the_model_alone(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []

    def record(module: LSTMSeqModule, *_: Any) -> None:
        rates.append(module.trainer.optimizers[0].param_groups[0]["lr"])

    monkeypatch.setattr(LSTMSeqModule, "on_train_batch_start", record)
    for changes in ({}, {"use_reversible_instance_norm": False}):  # annealed, constant
        rates.clear()
        params = tiny | {"batch_size": 4, "n_epochs": 4} | changes
        LSTMSeqModel(6, 3, **params).fit(series_of(18))
        factors = prepared(18, tiny, n_epochs=4, **changes).lr_factors
        np.testing.assert_allclose(0.001 * factors.numpy(), rates, rtol=1e-12)
        assert len(rates) == 12
        assert (rates[-1] == rates[0]) == bool(changes)


@pytest.mark.parametrize("is_prepared", [True, False])
def test_rows_are_the_samples_of_each_dataset(
    is_prepared: bool, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    params = {"use_reversible_instance_norm": False}  # so that windows stay as they are
    trainings = [prepared(20, tiny, **params), prepared(15, tiny, **params)]  # 12 and 7 windows
    if not is_prepared:  # such as those of counts
        monkeypatch.setattr(stack, "is_separable", lambda module: False)
    batches = _StackBatches(trainings, lambda batch: batch)
    assert (batches.prepared is not None) == is_prepared
    assert len(batches) == len(list(batches.rows())) == 6
    for step, rows in enumerate(batches.rows()):
        running = [training for training in trainings if step < training.n_steps]
        sizes = [int((t.batches()[step] >= 0).sum()) for t in running]
        size = 16  # no fewer rows, see `_MIN_ROWS`
        assert rows.shape == (len(running), size)
        assert [int((of >= 0).sum()) for of in rows] == sizes
        rows = rows.flatten()
        if batches.prepared is not None:
            past, _, _, _, label, _, _ = batches.prepared.select(rows)
        else:
            batch = batches.select(rows)
            past, label = batch.past_target, batch.future_target
            assert label[rows < 0].isnan().all()
        for row in range(len(rows)):
            training = running[row // size]
            position = row % size
            index = int(training.batches()[step, position]) if position < 4 else -1
            if index < 0:
                assert rows[row] == -1
                continue
            sample = training.dataset[index]
            np.testing.assert_allclose(past[row], sample.past_target, rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(label[row], sample.future_target, rtol=1e-6, atol=1e-7)


def test_the_bar_counts_the_epochs_of_all_networks(
    tiny: dict[str, Any], trainer_kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = []

    class Bar(stack.tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            bars.append(self)

    monkeypatch.setattr(stack, "tqdm", Bar)
    trainings = [prepared(20, tiny, n_epochs=3), prepared(15, tiny, n_epochs=2)]
    train(trainings, trainer_kwargs, True)
    assert [(bar.n, bar.total) for bar in bars] == [(5, 5)]


def test_networks_of_two_structures_are_refused(
    tiny: dict[str, Any], trainer_kwargs: dict[str, Any]
) -> None:
    trainings = [prepared(20, tiny), prepared(20, tiny, n_rnn_layers=2)]
    assert trainings[0].structure != trainings[1].structure
    with pytest.raises(ValueError, match="equal structure"):
        train(trainings, trainer_kwargs, False)
