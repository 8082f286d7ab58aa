"""What a training hands to a stack: windows, their order, rates; and what a stack counts."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from darts.utils.timeseries_generation import sine_timeseries
from torch import nn
from torch.optim import lr_scheduler

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.training import stack
from darts_lstm_seq.training.stack import Training, _StackBatches, train


def prepared(length: int, tiny: dict[str, Any], **params: Any) -> Training:
    """Return the training of a model on a series of some length."""
    model = LSTMSeqModel(6, 3, **tiny | {"batch_size": 4} | params)
    series = sine_timeseries(length=length, value_frequency=1 / 6, dtype=np.float64)
    return model.prepare_training(series)


def test_each_epoch_draws_each_window_once(tiny: dict[str, Any]) -> None:
    training = prepared(18, tiny, n_epochs=3)  # 10 windows
    batches = training.batches()
    assert batches.shape == (9, 4)
    for epoch in range(3):
        drawn = batches[3 * epoch : 3 * epoch + 3].flatten()
        assert (drawn[-2:] == -1).all()
        assert sorted(drawn[:-2].tolist()) == list(range(10))
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
    real = scheduler(optimizer, **settings)
    expected = []
    for _ in range(5):
        expected += [optimizer.param_groups[0]["lr"]] * 3
        optimizer.step()
        real.step()
    np.testing.assert_allclose(
        0.01 * training.lr_factors().numpy(), expected, rtol=1e-12, atol=1e-18
    )


def test_without_a_scheduler_the_rate_falls_as_the_module_lets_it(tiny: dict[str, Any]) -> None:
    training = prepared(18, tiny, n_epochs=4)
    module = training.module
    module._n_steps = 12
    expected = [1.0, 0.5 * (1 + math.cos(math.pi / 12))]
    expected += [module._share_of_rate(step) for step in range(2, 12)]
    np.testing.assert_allclose(training.lr_factors().numpy(), expected, rtol=1e-12)
    tutorial = prepared(18, tiny, n_epochs=4, use_reversible_instance_norm=False)
    assert (tutorial.lr_factors() == 1).all()


def test_rows_are_the_samples_of_each_dataset(tiny: dict[str, Any]) -> None:
    trainings = [prepared(20, tiny), prepared(15, tiny)]  # 12 and 7 windows
    batches = list(_StackBatches(trainings))
    assert len(batches) == 6
    for step, batch in enumerate(batches):
        running = [one for one in trainings if step < one.n_steps]
        assert len(batch.past_target) == 4 * len(running)
        for row in range(len(batch.past_target)):
            training = running[row // 4]
            number = int(training.batches()[step, row % 4])
            if number < 0:
                assert batch.future_target[row].isnan().all()
                continue
            sample = training.dataset[number]
            np.testing.assert_array_equal(batch.past_target[row], sample.past_target)
            np.testing.assert_array_equal(batch.future_target[row], sample.future_target)


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
    trainings = [prepared(20, tiny), prepared(20, tiny, hidden_dim=4)]
    assert trainings[0].structure != trainings[1].structure
    with pytest.raises(ValueError, match="equal structure"):
        train(trainings, trainer_kwargs, False)
