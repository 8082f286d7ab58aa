"""Folds trained as one stack against Darts' own loop, which trains them one by one.

Both see the same weights, windows, steps and dropout, so forecasts must be equal up to rounding.
Each comparison also counts who trained what: a stack that never ran would equal anything.
"""

import copy
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries
from darts.dataprocessing import Pipeline
from darts.dataprocessing.transformers import Scaler, StaticCovariatesTransformer
from darts.metrics import err, mae
from darts.models.forecasting.torch_forecasting_model import TorchForecastingModel
from darts.utils.likelihood_models.torch import (
    DirichletLikelihood,
    GaussianLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    QuantileRegression,
)
from pytorch_lightning import Callback, Trainer
from torch import nn
from torch.optim import lr_scheduler

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.model import backtest, gridsearch, stacking
from darts_lstm_seq.model import lstm_seq_model as model_module

LENGTH, HORIZON = 36, 3
# of the size of the forecasts
TOLERANCE = {"64-true": 1e-8, "32-true": 2e-5}


@dataclass
class Counts:
    """How many folds were trained, and how."""

    stacks: list[int] = field(default_factory=list)
    alone: int = 0


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    found = Counts()
    train, train_alone = stacking.train, TorchForecastingModel._train

    def counted(trainings: Any, *args: Any) -> None:
        found.stacks.append(len(trainings))
        train(trainings, *args)

    def counted_alone(self: Any, trainer: Any, *args: Any, **kwargs: Any) -> None:
        found.alone += isinstance(trainer, Trainer)
        train_alone(self, trainer, *args, **kwargs)

    monkeypatch.setattr(stacking, "train", counted)
    monkeypatch.setattr(TorchForecastingModel, "_train", counted_alone)
    return found


@pytest.fixture
def quick(trainer_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a model whose two ways of training must agree."""
    return {
        "input_chunk_length": 6,
        "output_chunk_length": HORIZON,
        "hidden_dim": 4,
        "dropout": 0.3,
        "n_epochs": 2,
        "batch_size": 7,  # so that folds differ in their steps
        "random_state": 7,
        "pl_trainer_kwargs": trainer_kwargs | {"precision": "64-true"},
    }


def make(
    length: int = LENGTH, width: int = 1, seed: int = 0, dtype: str = "float64", name: str = "y"
) -> TimeSeries:
    """Return a noisy season around 20, which drifts."""
    steps = np.arange(length)[:, None]
    noise = np.random.default_rng(seed).normal(0, 0.5, (length, width))
    values = 20 + 0.1 * steps + 3 * np.sin(2 * np.pi * (steps / 6 + np.arange(width) / 5)) + noise
    times = pd.date_range("2020-01-01", periods=length, freq="MS")
    columns = [f"{name}{i}" for i in range(width)]
    return TimeSeries(times=times, values=values.astype(dtype), components=columns)


def counting(length: int = LENGTH) -> TimeSeries:
    """Return counts around 5."""
    times = pd.date_range("2020-01-01", periods=length, freq="MS")
    values = np.random.default_rng(3).poisson(5, length).astype("float64")
    return TimeSeries.from_times_and_values(times, values)


def with_gaps(*steps: int) -> TimeSeries:
    series = make()
    values = series.values().copy()
    values[list(steps)] = np.nan
    return series.with_values(values)


def constant_for_a_while() -> TimeSeries:
    series = make()
    values = series.values().copy()
    values[5:25] = 20.0
    return series.with_values(values)


def flat(forecasts: Any) -> list[Any]:
    if not isinstance(forecasts, list):
        return [forecasts]
    return [leaf for part in forecasts for leaf in flat(part)]


def shape(forecasts: Any) -> Any:
    return [shape(part) for part in forecasts] if isinstance(forecasts, list) else None


def same(ours: Any, theirs: Any, tolerance: float = 1e-8) -> None:
    """Compare forecasts, whatever the lists they come in."""
    assert shape(ours) == shape(theirs)
    for our, their in zip(flat(ours), flat(theirs), strict=True):
        assert our.time_index.equals(their.time_index)
        assert our.components.equals(their.components)
        assert our.dtype == their.dtype
        assert their.n_samples == our.n_samples
        assert np.isfinite(their.all_values()).all()
        size = np.abs(their.all_values()).max()
        np.testing.assert_allclose(
            our.all_values(), their.all_values(), rtol=0, atol=tolerance * size
        )


def hold(
    params: dict[str, Any], counts: Counts, n_folds: int | None = None, **arguments: Any
) -> Any:
    """Run both ways and return the forecasts; `n_folds` trainings are expected, if known."""
    arguments = {
        "forecast_horizon": HORIZON,
        "start": -8,
        "start_format": "position",
        "stride": 2,
        "last_points_only": False,
        "show_warnings": False,
        **arguments,
    }
    ours = LSTMSeqModel(**params).historical_forecasts(**arguments)
    assert counts.alone == 0, "Darts' path was taken"
    assert sum(counts.stacks) > 1
    if n_folds is not None:
        assert sum(counts.stacks) == n_folds
    stacked = list(counts.stacks)
    theirs = LSTMSeqModel(**params).historical_forecasts(enable_optimization=False, **arguments)
    assert counts.stacks == stacked
    assert counts.alone == sum(stacked)
    precision = params["pl_trainer_kwargs"].get("precision", "32-true")
    same(ours, theirs, TOLERANCE[precision])
    return ours


SCHEDULES = {
    "plain": ({"stride": 1}, 6),
    "start": ({"start": make().time_index[30], "start_format": "value"}, 2),
    "stride": ({"start": -12, "stride": 3}, 4),
    "train length": ({"train_length": 20}, 3),
    "every second": ({"retrain": 2, "stride": 1}, 3),
    "last points": ({"last_points_only": True}, 3),
    "beyond the end": ({"overlap_end": True}, 5),
    "short horizon": ({"forecast_horizon": 2}, 4),
    "long horizon": ({"forecast_horizon": 7, "start": -12}, 3),
    "more epochs": ({"fit_kwargs": {"epochs": 3}}, 3),
    "fewer windows": ({"fit_kwargs": {"max_samples_per_ts": 11}}, 3),
    "linear weights": ({"sample_weight": "linear"}, 3),
    "weights": ({"sample_weight": make(seed=5).map(np.abs)}, 3),
    "small batches of forecasts": ({"predict_kwargs": {"batch_size": 3}}, 3),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str, quick: dict[str, Any], counts: Counts) -> None:
    arguments, n_folds = SCHEDULES[name]
    hold(quick, counts, n_folds, series=make(), **arguments)


PARAMETERS: dict[str, dict[str, Any]] = {
    "shift": {"output_chunk_shift": 2},
    "layers": {"n_rnn_layers": 2},
    "no patches": {"patch_length": 1},
    "patches with padding": {"patch_length": 4},
    "tutorial": {"use_reversible_instance_norm": False},
    "normalised": {"use_reversible_instance_norm": True},
    "own epsilon": {"use_reversible_instance_norm": {"eps": 1e-3}},
    "short series": {"input_chunk_length": (3, 6)},
    "squares": {"loss_fn": nn.MSELoss()},
    "absolute": {"loss_fn": nn.L1Loss()},
    "momentum": {
        "optimizer_cls": torch.optim.SGD,
        "optimizer_kwargs": {"lr": 0.01, "momentum": 0.9},
    },
    "decay of weights": {
        "optimizer_cls": torch.optim.AdamW,
        "optimizer_kwargs": {"lr": 0.01, "weight_decay": 0.1},
    },
    "root mean squares": {
        "optimizer_cls": torch.optim.RMSprop,
        "optimizer_kwargs": {"lr": 0.01, "momentum": 0.5},
    },
    "high rate": {"optimizer_kwargs": {"lr": 0.05}},
    "one batch": {"batch_size": 64},
    "small batches": {"batch_size": 3},
    "one window": {"batch_size": 1, "n_epochs": 1},
    "steps": {
        "lr_scheduler_cls": lr_scheduler.StepLR,
        "lr_scheduler_kwargs": {"step_size": 1, "gamma": 0.3},
    },
    "exponential": {
        "lr_scheduler_cls": lr_scheduler.ExponentialLR,
        "lr_scheduler_kwargs": {"gamma": 0.5},
        "use_reversible_instance_norm": False,
    },
    "cosine": {
        "lr_scheduler_cls": lr_scheduler.CosineAnnealingLR,
        "lr_scheduler_kwargs": {"T_max": 3},
        "n_epochs": 3,
    },
    "cosine to a rate": {
        "optimizer_kwargs": {"lr": 1e-2},
        "lr_scheduler_cls": lr_scheduler.CosineAnnealingLR,
        "lr_scheduler_kwargs": {"T_max": 2, "eta_min": 1e-3, "name": "rate"},
        "n_epochs": 4,
    },
    "encoders": {
        "add_encoders": {
            "cyclic": {"future": ["month"]},
            "datetime_attribute": {"past": ["year"]},
            "transformer": Scaler(),
        }
    },
    "gaussian": {"likelihood": GaussianLikelihood()},
    "quantiles": {"likelihood": QuantileRegression([0.1, 0.5, 0.9])},
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name: str, quick: dict[str, Any], counts: Counts) -> None:
    hold(quick | PARAMETERS[name], counts, series=make(), stride=2)


@pytest.mark.parametrize(
    "clipping",
    [
        {"gradient_clip_val": 0.05},
        {"gradient_clip_val": 0.05, "gradient_clip_algorithm": "norm"},
        {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
    ],
)
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_clipped_gradients(
    clipping: dict[str, Any], optimizer: Any, quick: dict[str, Any], counts: Counts
) -> None:
    params = quick | {"optimizer_cls": optimizer, "optimizer_kwargs": {"lr": 0.1}}
    free = LSTMSeqModel(**params).historical_forecasts(make(), start=0.9, forecast_horizon=3)
    counts.stacks.clear()
    params["pl_trainer_kwargs"] = params["pl_trainer_kwargs"] | clipping
    hold(params, counts, series=make(), stride=2)
    clipped = LSTMSeqModel(**params).historical_forecasts(make(), start=0.9, forecast_horizon=3)
    assert np.abs(free.values() - clipped.values()).max() > 1e-4  # it did clip


DATA: dict[str, Callable[[], dict[str, Any]]] = {
    "several": lambda: {"series": [make(), make(34, seed=1)]},
    "globally": lambda: {"series": [make(), make(seed=1)], "apply_globally": True},
    "globally, last points": lambda: {
        "series": [make(), make(seed=1)],
        "last_points_only": True,
        "apply_globally": True,
    },
    "several with weights": lambda: {
        "series": [make(), make(34, seed=1)],
        "sample_weight": [make(seed=2).map(np.abs), make(34, seed=3).map(np.abs)],
    },
    "several with linear weights": lambda: {
        "series": [make(), make(34, seed=1)],
        "sample_weight": "linear",
    },
    "multivariate": lambda: {"series": make(width=3)},
    "past": lambda: {"series": make(), "past_covariates": make(60, 2, 1, name="p")},
    "one in a list": lambda: {
        "series": [make()],
        "past_covariates": make(60, 1, 1, name="p"),
        "sample_weight": make(seed=2).map(np.abs),
    },
    "future": lambda: {"series": make(), "future_covariates": make(60, 2, 2, name="f")},
    "both, several": lambda: {
        "series": [make(), make(34, seed=8)],
        "past_covariates": [make(60, 2, 1, name="p"), make(60, 2, 3, name="p")],
        "future_covariates": [make(60, 1, 2, name="f"), make(60, 1, 4, name="f")],
    },
    "both, globally": lambda: {
        "series": [make(), make(seed=8)],
        "past_covariates": [make(60, 2, 1, name="p"), make(60, 2, 3, name="p")],
        "future_covariates": [make(60, 1, 2, name="f"), make(60, 1, 4, name="f")],
        "apply_globally": True,
    },
    "far past": lambda: {
        "series": make(),
        "past_covariates": make(60, 2, 1, name="p"),
        "forecast_horizon": 5,
    },
    "static": lambda: {
        "series": make(width=2).with_static_covariates(
            pd.DataFrame({"size": [1.0, 2.0], "weight": [0.5, 0.1]})
        )
    },
    "static, globally": lambda: {
        "series": [
            make(seed=seed).with_static_covariates(pd.DataFrame({"size": [float(seed)]}))
            for seed in range(2)
        ],
        "apply_globally": True,
    },
    "gaps": lambda: {"series": with_gaps(7, 8, 20)},
    "gaps in later folds": lambda: {"series": with_gaps(30, 31)},
    "gaps in past covariates": lambda: {
        "series": make(),
        "past_covariates": with_gaps(5, 6, 24),
    },
    "constant": lambda: {"series": constant_for_a_while()},
    "scaled": lambda: {"series": make(), "data_transformers": {"series": Scaler()}},
    "scaled, several": lambda: {
        "series": [make(), make(34, seed=1)],
        "past_covariates": [make(60, 1, 3, name="p"), make(60, 1, 4, name="p")],
        "data_transformers": {"series": Scaler(), "past_covariates": Pipeline([Scaler()])},
    },
    "scaled, every second": lambda: {
        "series": make(),
        "data_transformers": {"series": Scaler()},
        "retrain": 2,
    },
    "scaled statics": lambda: {
        "series": make().with_static_covariates(pd.DataFrame({"size": [3.0]})),
        "data_transformers": {"series": StaticCovariatesTransformer()},
    },
}


@pytest.mark.parametrize("name", DATA)
def test_data(name: str, quick: dict[str, Any], counts: Counts) -> None:
    hold(quick, counts, **DATA[name]())


def test_windows_of_more_than_a_thousand_steps(quick: dict[str, Any], counts: Counts) -> None:
    series = make(1140)
    hold(quick | {"input_chunk_length": 1100}, counts, n_folds=3, series=series)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["normalised", "tutorial", "gaussian"])
def test_single_precision(name: str, dtype: str, quick: dict[str, Any], counts: Counts) -> None:
    trainer = {k: v for k, v in quick["pl_trainer_kwargs"].items() if k != "precision"}
    params = quick | PARAMETERS[name] | {"pl_trainer_kwargs": trainer}
    hold(params, counts, series=make(dtype=dtype))


def test_gaps_in_later_folds_make_stacks_of_two_structures(
    quick: dict[str, Any], counts: Counts
) -> None:
    hold(quick, counts, series=with_gaps(30, 31), stride=1)
    # folds of 28, 29 and 30 steps have none yet
    assert counts.stacks == [3, 3]


def test_folds_of_different_automatic_dropout_share_a_stack(
    quick: dict[str, Any], counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    # folds of 28 to 33 steps have 20 to 25 windows
    monkeypatch.setattr("darts_lstm_seq.model.defaults.LOW_DATA_WINDOWS_PER_STEP", 22 / HORIZON)
    hold(quick | {"dropout": None}, counts, series=make(), stride=1)
    assert counts.stacks == [6]


def test_folds_whose_lstms_learn_at_different_rates_share_a_stack(
    quick: dict[str, Any], counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darts_lstm_seq.model.defaults.LOW_DATA_WINDOWS_PER_STEP", 22 / HORIZON)
    monkeypatch.setattr(
        "darts_lstm_seq.model.defaults.FULL_LR_WINDOW", quick["input_chunk_length"] / 4
    )
    hold(quick, counts, series=make(), stride=1)
    assert counts.stacks == [6]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("likelihood", [None, GaussianLikelihood()])
def test_shared_weights(
    shared: bool, likelihood: Any, quick: dict[str, Any], counts: Counts
) -> None:
    statics = pd.DataFrame({"size": [1.0, 2.0, 5.0]})
    hold(
        quick | {"shared_weights": shared, "likelihood": likelihood},
        counts,
        series=make(width=3).with_static_covariates(statics),
        past_covariates=make(60, 1, 3, name="p"),
        future_covariates=make(60, 1, 4, name="f"),
    )


LIKELIHOODS = {
    "gaussian": (GaussianLikelihood(), make()),
    "quantiles": (QuantileRegression([0.1, 0.5, 0.9]), make(width=2)),
    "poisson": (PoissonLikelihood(), counting()),
    "negative binomial": (NegativeBinomialLikelihood(), counting()),
}
ASKS = {
    "samples": {"num_samples": 20, "random_state": 3},
    "samples of the model's own state": {"num_samples": 20},
    "parameters": {"predict_likelihood_parameters": True},
    "linear weights": {"predict_likelihood_parameters": True, "sample_weight": "linear"},
}


@pytest.mark.parametrize(
    ("name", "ask"),
    [(name, "samples") for name in LIKELIHOODS]
    + [("gaussian", ask) for ask in ASKS if ask != "samples"]
    + [("quantiles", "linear weights")],
)
def test_likelihoods(name: str, ask: str, quick: dict[str, Any], counts: Counts) -> None:
    likelihood, series = LIKELIHOODS[name]
    hold(quick | {"likelihood": likelihood}, counts, series=series, **ASKS[ask])


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_likelihoods_with_gaps(name: str, quick: dict[str, Any], counts: Counts) -> None:
    likelihood, series = LIKELIHOODS[name]
    values = series.values().copy()
    values[[9, 10, 20, 31], 0] = np.nan
    hold(
        quick | {"likelihood": likelihood},
        counts,
        series=series.with_values(values),
        predict_likelihood_parameters=True,
    )


def test_short_series_in_a_range_of_lengths(quick: dict[str, Any], counts: Counts) -> None:
    params = quick | {"input_chunk_length": (3, 6)}
    hold(params, counts, series=make(14), start=6)


@pytest.mark.parametrize("tutorial", [True, False])
def test_automatic_epochs_differ_from_fold_to_fold(
    tutorial: bool,
    quick: dict[str, Any],
    counts: Counts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("darts_lstm_seq.model.defaults.MIN_STEPS", 20)
    monkeypatch.setattr("darts_lstm_seq.model.defaults.MIN_EPOCHS", 2)
    params = quick | {"n_epochs": None, "input_chunk_length": 6}
    if tutorial:
        params |= {
            "lr_scheduler_cls": lr_scheduler.StepLR,
            "lr_scheduler_kwargs": {"step_size": 2, "gamma": 0.5},
        }
    seen = []
    train = stacking.train
    monkeypatch.setattr(
        stacking,
        "train",
        lambda trainings, *rest: (seen.extend(trainings), train(trainings, *rest)),
    )
    hold(params, counts, series=make(38), start=12, stride=5)
    assert len({training.n_epochs for training in seen}) > 1
    assert len({training.n_steps for training in seen}) > 1


@pytest.mark.parametrize("most", [1, 2, 4])
def test_chunks_of_folds_are_the_same_as_one_stack(
    most: int, quick: dict[str, Any], counts: Counts
) -> None:
    arguments = {"series": make(), "start": -5, "start_format": "position"}
    whole = LSTMSeqModel(**quick).historical_forecasts(**arguments)
    assert counts.stacks == [5]
    counts.stacks.clear()
    model = LSTMSeqModel(**quick)
    model.folds_per_stack = most
    same(model.historical_forecasts(**arguments), whole)
    assert counts.stacks == {1: [1] * 5, 2: [2, 2, 1], 4: [3, 2]}[most]


def test_several_series_fill_stacks_together(quick: dict[str, Any], counts: Counts) -> None:
    arguments = {
        "series": [make(seed=seed) for seed in range(5)],
        "start": -2,
        "start_format": "position",
    }
    model = LSTMSeqModel(**quick)
    model.folds_per_stack = 4
    ours = model.historical_forecasts(**arguments)
    assert counts.stacks == [4, 4, 2]
    theirs = model.historical_forecasts(enable_optimization=False, **arguments)
    assert counts.alone == 10
    same(ours, theirs)


@pytest.mark.parametrize("several", [True, False])
def test_a_stateful_callable_is_asked_as_often_as_by_darts(
    several: bool, quick: dict[str, Any], counts: Counts
) -> None:
    found = []
    for optimise in (True, False):
        asked: list[Any] = []

        def retrain(counter, pred_time, train_series, past_covariates, future_covariates):  # type: ignore[no-untyped-def]
            asked.append(pred_time)  # noqa: B023
            return len(asked) % 7 in (1, 2, 4)  # noqa: B023

        forecasts = LSTMSeqModel(**quick).historical_forecasts(
            [make(), make(seed=1)] if several else make(),
            start=-5,
            start_format="position",
            retrain=retrain,
            enable_optimization=optimise,
        )
        found.append((forecasts, asked))
    assert counts.alone == sum(counts.stacks) > 1
    assert found[0][1] == found[1][1]
    same(found[0][0], found[1][0])


def test_several_series_ask_a_callable_in_turn(quick: dict[str, Any], counts: Counts) -> None:
    def retrain(counter, pred_time, train_series, past_covariates, future_covariates):  # type: ignore[no-untyped-def]
        return counter % 3 == 0

    hold(quick, counts, 4, series=[make(), make(seed=2)], stride=1, retrain=retrain)


def test_a_fitted_model_forecasts_until_the_first_retraining(
    quick: dict[str, Any], counts: Counts
) -> None:
    def retrain(counter, pred_time, train_series, past_covariates, future_covariates):  # type: ignore[no-untyped-def]
        return counter in (2, 5)

    model = LSTMSeqModel(likelihood=GaussianLikelihood(), **quick).fit(make()[:30])
    other = copy.deepcopy(model)
    counts.alone = 0
    arguments = {"series": make(), "start": 0.8, "retrain": retrain, "num_samples": 5}
    ours = model.historical_forecasts(**arguments)
    assert (counts.stacks, counts.alone) == ([2], 0)
    theirs = other.historical_forecasts(enable_optimization=False, **arguments)
    assert counts.alone == 2
    same(ours, theirs)
    # both have drawn as often
    same(model.predict(3, num_samples=5), other.predict(3, num_samples=5))


def test_several_series_and_a_model_that_is_never_retrained_for_one(
    quick: dict[str, Any], counts: Counts
) -> None:
    def retrain(counter, pred_time, train_series, past_covariates, future_covariates):  # type: ignore[no-untyped-def]
        return len(past_covariates) == 60 and counter % 2 == 0

    series = [make(), make(seed=1)]
    past = [make(60, seed=2), make(61, seed=2)]
    model = LSTMSeqModel(**quick).fit(series, past_covariates=past)
    counts.alone = 0
    arguments = {"series": series, "past_covariates": past, "start": 0.9, "retrain": retrain}
    ours = model.historical_forecasts(**arguments)
    assert counts.alone == 0
    theirs = model.historical_forecasts(enable_optimization=False, **arguments)
    assert counts.alone == sum(counts.stacks) == 3
    same(ours, theirs)


def test_backtest_and_residuals(quick: dict[str, Any], counts: Counts) -> None:
    for method in ("backtest", "residuals"):
        arguments = {"series": make(), "start": 0.85, "forecast_horizon": HORIZON}
        model = LSTMSeqModel(**quick)
        arguments["metric"] = mae if method == "backtest" else err
        ours = getattr(model, method)(**arguments)
        assert (len(counts.stacks), counts.alone) == (1, 0)
        theirs = getattr(model, method)(enable_optimization=False, **arguments)
        assert (len(counts.stacks), counts.alone) == (1, sum(counts.stacks))
        if method == "backtest":
            assert ours == pytest.approx(theirs, rel=1e-7)
        else:
            same(ours, theirs, 1e-7)
        counts.stacks.clear()
        counts.alone = 0


def test_grid_search(
    quick: dict[str, Any], counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = {name: [value] for name, value in quick.items()} | {"hidden_dim": [4, 6]}
    arguments = {"forecast_horizon": 3, "start": 0.85, "metric": mae}
    _, best, error = LSTMSeqModel.gridsearch(grid, make(), **arguments)
    assert (len(counts.stacks), counts.alone) == (1, 0)  # of two sizes
    monkeypatch.setattr(backtest, "_unsupported_reason", lambda *_: "not now")
    monkeypatch.setattr(gridsearch, "can_stack", lambda *_: False)
    _, by_loop, expected = LSTMSeqModel.gridsearch(grid, make(), **arguments)
    assert (len(counts.stacks), counts.alone) == (1, sum(counts.stacks))
    assert best == by_loop
    assert error == pytest.approx(expected, rel=1e-7)


class Nothing(Callback):
    """Does nothing, but might."""


class RootOfSquares(nn.MSELoss):
    """A loss of a whole batch, though it inherits from a mean."""

    def forward(self, *args: Any) -> torch.Tensor:
        return super().forward(*args).sqrt()


def one_by_one(
    quick: dict[str, Any], counts: Counts, caplog: pytest.LogCaptureFixture, **arguments: Any
) -> Any:
    """Return forecasts for which Darts' path must be taken, and the log."""
    arguments = {"series": make(), "start": 0.9, "forecast_horizon": 3} | arguments
    with caplog.at_level(logging.DEBUG, logger=backtest.__name__):
        ours = LSTMSeqModel(**quick).historical_forecasts(**arguments)
    assert counts.stacks == []
    assert counts.alone > 0
    with_loop = LSTMSeqModel(**quick).historical_forecasts(
        **arguments | {"enable_optimization": False}
    )
    same(ours, with_loop, 1e-12)
    return caplog.text


UNSTACKABLE = {
    "callbacks": ({"pl_trainer_kwargs": {"callbacks": [Nothing()]}}, "'callbacks'"),
    "batches": ({"pl_trainer_kwargs": {"limit_train_batches": 1}}, "'limit_train_batches'"),
    "half precision": ({"pl_trainer_kwargs": {"precision": "bf16-mixed"}}, "precision"),
    "plateau": (
        {
            "lr_scheduler_cls": lr_scheduler.ReduceLROnPlateau,
            "lr_scheduler_kwargs": {"monitor": "train_loss"},
        },
        "scheduler",
    ),
    "cycle per step": (
        {
            "lr_scheduler_cls": lr_scheduler.StepLR,
            "lr_scheduler_kwargs": {"step_size": 2, "interval": "step"},
        },
        "scheduler",
    ),
    "quasi-Newton": (
        {"optimizer_cls": torch.optim.LBFGS, "optimizer_kwargs": {"lr": 0.1, "max_iter": 2}},
        "optimiser",
    ),
    "affine": ({"use_reversible_instance_norm": {"affine": True}}, "normalisation"),
    "precision of the data": ({"pl_trainer_kwargs": {"precision": None}}, "precision"),
    "no epoch": ({"n_epochs": 0}, "no epoch"),
    "root": ({"loss_fn": RootOfSquares()}, "loss"),
    "prior": ({"likelihood": GaussianLikelihood(prior_mu=20.0)}, "prior"),
    "sum": ({"loss_fn": nn.MSELoss(reduction="sum"), "optimizer_kwargs": {"lr": 1e-4}}, "loss"),
}


@pytest.mark.parametrize("name", UNSTACKABLE)
def test_what_cannot_be_stacked_takes_darts_path(
    name: str, quick: dict[str, Any], counts: Counts, caplog: pytest.LogCaptureFixture
) -> None:
    params, reason = UNSTACKABLE[name]
    trainer = quick["pl_trainer_kwargs"] | params.get("pl_trainer_kwargs", {})
    log = one_by_one(quick | params | {"pl_trainer_kwargs": trainer}, counts, caplog)
    assert "one by one" in log
    assert reason in log


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"enable_optimization": False}, "`enable_optimization` is `False`"),
        ({"val_length": 12, "start": 0.95}, "validation set"),
        ({"fit_kwargs": {"dataloader_kwargs": {"shuffle": False}}}, "'dataloader_kwargs'"),
    ],
)
def test_arguments_that_take_darts_path(
    arguments: dict[str, Any],
    reason: str,
    quick: dict[str, Any],
    counts: Counts,
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = one_by_one(quick | {"likelihood": GaussianLikelihood()}, counts, caplog, **arguments)
    assert reason in log


def test_shares_of_a_whole_take_darts_path(
    quick: dict[str, Any], counts: Counts, caplog: pytest.LogCaptureFixture
) -> None:
    shares = np.random.default_rng(0).dirichlet([3.0, 2.0, 1.0], LENGTH)
    params = quick | {"likelihood": DirichletLikelihood()}
    series = make(width=3).with_values(shares)
    assert "sample weights" in one_by_one(params, counts, caplog, series=series)


def test_a_trainer_of_the_user_takes_darts_path(
    quick: dict[str, Any], counts: Counts, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = Trainer(**quick["pl_trainer_kwargs"], max_epochs=2, enable_checkpointing=False)
    with caplog.at_level(logging.DEBUG, logger=backtest.__name__):
        forecasts = LSTMSeqModel(**quick).historical_forecasts(
            make(), start=0.9, fit_kwargs={"trainer": trainer}
        )
    assert "'trainer'" in caplog.text
    assert counts.stacks == []
    assert counts.alone == len(forecasts)


def test_without_retraining_nothing_is_stacked(quick: dict[str, Any], counts: Counts) -> None:
    model = LSTMSeqModel(**quick).fit(make())
    model.historical_forecasts(make(), start=0.9, retrain=False)
    assert (counts.stacks, counts.alone) == ([], 1)


def state(model: LSTMSeqModel) -> dict[str, Any]:
    """Copy what a backtest must leave as it is."""
    weights = None if model.model is None else copy.deepcopy(model.model.state_dict())
    return {
        "attributes": set(vars(model)),
        "params": repr(model.model_params),
        "fitted": model._fit_called,
        "random": model._random_instance.get_state(),
        "weights": weights,
        "network": id(model.model),
        "trainer": id(model.trainer),
        "trainer params": repr(model.trainer_params),
        "epochs": (model.n_epochs, model.epochs_trained),
    }


def equal_state(state: dict[str, Any], other: dict[str, Any]) -> None:
    weights, others = state.pop("weights"), other.pop("weights")
    np.testing.assert_equal(state, other)
    assert (weights is None) == (others is None)
    for name in weights or {}:
        assert torch.equal(weights[name], others[name])


@pytest.mark.parametrize("fails", [False, KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("fitted", [True, False])
def test_the_model_is_left_as_it_was(
    fitted: bool, fails: Any, quick: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LSTMSeqModel(likelihood=GaussianLikelihood(), **quick)
    if fitted:
        model.fit(make())
        forecast = copy.deepcopy(model).predict(5, num_samples=4)
    before = state(model)
    model.backtest_hooks = None  # an attribute of the class until it is used
    before["attributes"].add("backtest_hooks")
    if fails:

        def fail(*_: Any) -> None:
            raise fails

        monkeypatch.setattr(stacking, "train", fail)
        with pytest.raises(fails):
            model.historical_forecasts(make(), start=0.9)
    else:
        model.historical_forecasts(make(), start=0.9)
    assert model.backtest_hooks is None
    equal_state(state(model), before)
    if fitted:
        same(model.predict(5, num_samples=4), forecast)
    elif fails:
        monkeypatch.undo()
        assert model.fit(make())._fit_called


def test_weights_leave_the_loss_of_the_model_alone(quick: dict[str, Any]) -> None:
    loss = nn.L1Loss()
    model = LSTMSeqModel(loss_fn=loss, **quick).fit(make())
    model.historical_forecasts(make(), start=0.9, sample_weight="linear")
    assert loss.reduction == "mean"
    assert model.model.train_criterion.reduction == "mean"


def test_diverging_training_says_so(quick: dict[str, Any], counts: Counts) -> None:
    model = LSTMSeqModel(
        optimizer_cls=torch.optim.SGD,
        optimizer_kwargs={"lr": 1e30},
        **quick | {"pl_trainer_kwargs": quick["pl_trainer_kwargs"] | {"precision": "32-true"}},
    )
    with pytest.raises(ValueError, match=r"Training failed.*Lower the learning rate"):
        model.historical_forecasts(make(), start=0.9)
    assert len(counts.stacks) == 1
    assert model.backtest_hooks is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"series": make(8)},
        {"series": make(), "train_length": 5},
        {"series": make(), "start": 100, "start_format": "position"},
        {"series": make(), "forecast_horizon": 50},
        {"series": make(), "past_covariates": make(20, name="p"), "start": 0.9},
        {"series": [make(), make(8)]},
        {"series": [make(), make()], "past_covariates": [make(50, name="p")]},
        {"series": make(), "retrain": lambda: True},
    ],
)
def test_errors_are_those_of_darts_path(arguments: dict[str, Any], quick: dict[str, Any]) -> None:
    found = []
    for optimise in (True, False):
        with pytest.raises(Exception) as error:  # noqa: PT011
            LSTMSeqModel(**quick).historical_forecasts(
                **{"enable_optimization": optimise} | arguments
            )
        found.append((type(error.value), str(error.value)))
    assert found[0] == found[1]


def torch_and_numpy() -> tuple[Any, Any]:
    return torch.get_rng_state().tolist(), np.random.get_state()  # noqa: NPY002


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_random_state_decides(
    dropout: float, layers: int, quick: dict[str, Any], counts: Counts
) -> None:
    params = quick | {"dropout": dropout, "n_rnn_layers": layers}

    def run(**changes: Any) -> TimeSeries:
        model = LSTMSeqModel(**params | changes)
        return model.historical_forecasts(make(), start=0.9, forecast_horizon=3)

    torch.manual_seed(1)
    first = run()
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    before = torch_and_numpy()
    second = run()
    np.testing.assert_equal(torch_and_numpy(), before)  # the user's own numbers are not touched
    same(second, first, 1e-12)
    for other in (run(random_state=8), run(random_state=None)):
        assert np.abs(other.values() - first.values()).max() > 1e-3
    free = [run(random_state=None).values() for _ in range(2)]
    assert np.abs(free[0] - free[1]).max() > 1e-3
    assert counts.alone == 0


def test_without_a_random_state_the_seed_of_numpy_decides(
    quick: dict[str, Any], counts: Counts
) -> None:
    params = quick | {"random_state": None, "likelihood": GaussianLikelihood()}
    forecasts = []
    for optimise in (True, True, False):
        np.random.seed(5)  # noqa: NPY002
        forecasts.append(
            LSTMSeqModel(**params).historical_forecasts(
                make(), start=0.9, num_samples=3, enable_optimization=optimise
            )
        )
    same(forecasts[0], forecasts[1], 1e-12)
    same(forecasts[0], forecasts[2])
    assert len(counts.stacks) == 2


def test_dropout_drops(quick: dict[str, Any], counts: Counts) -> None:
    kept, dropped = (
        LSTMSeqModel(**quick | {"dropout": dropout, "optimizer_kwargs": {"lr": 0.05}})
        .historical_forecasts(make(), start=0.9)
        .values()
        for dropout in (0.0, 0.9)
    )
    assert np.abs(kept - dropped).max() > 1e-2
    assert len(counts.stacks) == 2


def test_a_subclass_is_asked_as_often_as_by_darts(quick: dict[str, Any], counts: Counts) -> None:
    calls: list[int] = []

    class Tracking(LSTMSeqModel):
        def predict(self, n: int, *args: Any, **kwargs: Any) -> Any:
            calls.append(n)
            return super().predict(n, *args, **kwargs)

    kwargs: dict[str, Any] = {"start": -6, "start_format": "position", "forecast_horizon": 2}
    Tracking(**quick).historical_forecasts(make(), retrain=2, **kwargs)
    stacked, calls[:] = list(calls), []
    Tracking(**quick).historical_forecasts(make(), retrain=2, enable_optimization=False, **kwargs)
    assert stacked == calls
    assert counts.stacks == [3]


@pytest.mark.parametrize("method", ["fit", "_create_model"])
def test_a_subclass_that_trains_in_its_own_way_takes_darts_path(
    method: str, quick: dict[str, Any], counts: Counts, caplog: pytest.LogCaptureFixture
) -> None:
    def own(self: LSTMSeqModel, *args: Any, **kwargs: Any) -> Any:
        return getattr(LSTMSeqModel, method)(self, *args, **kwargs)

    subclass = type("Own", (LSTMSeqModel,), {method: own})
    with caplog.at_level(logging.DEBUG, logger=backtest.__name__):
        forecasts = subclass(**quick).historical_forecasts(make(), start=0.9)
    assert method in caplog.text
    assert counts.stacks == []
    assert counts.alone == len(forecasts)


def test_models_that_were_kept_can_be_trained_again(
    quick: dict[str, Any], counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    predict = LSTMSeqModel.predict

    def keeping(self: LSTMSeqModel, *args: Any, **kwargs: Any) -> Any:
        kept.append(self)
        return predict(self, *args, **kwargs)

    monkeypatch.setattr(LSTMSeqModel, "predict", keeping)
    LSTMSeqModel(**quick).historical_forecasts(make(), start=-1, start_format="position")
    assert counts.alone == 0
    kept[-1].fit(make())
    assert counts.alone == 1


@pytest.mark.parametrize("clean", [True, False])
def test_a_loaded_model_is_backtested_together(
    clean: bool, quick: dict[str, Any], counts: Counts, tmp_path: Path
) -> None:
    del quick["pl_trainer_kwargs"]["precision"]  # single by default
    LSTMSeqModel(**quick).fit(make()).save(str(tmp_path / "model.pt"), clean=clean)
    trainer = {"pl_trainer_kwargs": quick["pl_trainer_kwargs"]} if clean else {}
    model = LSTMSeqModel.load(str(tmp_path / "model.pt"), **trainer)
    counts.alone = 0
    ours = model.historical_forecasts(make(), start=0.9)
    assert (len(counts.stacks), counts.alone) == (1, 0)
    same(ours, model.historical_forecasts(make(), start=0.9, enable_optimization=False), 2e-5)


def test_forecasts_may_need_a_trainer(
    quick: dict[str, Any], counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as on a device that this package does not serve itself
    monkeypatch.setattr(model_module.DirectPredictor, "for_trainer_params", lambda *_: None)
    hold(quick, counts, series=make(), stride=4)


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.cluster)])
def test_workers_repeat_what_one_process_does(
    backend: str, quick: dict[str, Any], counts: Counts
) -> None:
    series = [make(seed=seed) for seed in range(6)]
    kwargs: dict[str, Any] = {"series": series, "start": -4, "start_format": "position"}
    alone = LSTMSeqModel(**quick).historical_forecasts(**kwargs)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        divided = LSTMSeqModel(**quick).historical_forecasts(**kwargs)
    same(divided, alone)


@pytest.mark.parametrize("retrain", ["yes", 1.5])
def test_a_wrong_retrain_is_refused_as_by_darts(retrain: Any, quick: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="`retrain`") as darts:
        LSTMSeqModel(**quick).historical_forecasts(
            make(), retrain=retrain, enable_optimization=False
        )
    with pytest.raises(ValueError, match=re.escape(str(darts.value))):
        LSTMSeqModel(**quick).historical_forecasts(make(), retrain=retrain)


@pytest.mark.parametrize(
    "wrong",
    [
        {"optimizer_kwargs": {"rate": 1.0}},
        {"lr_scheduler_cls": lr_scheduler.StepLR, "lr_scheduler_kwargs": {"gama": 1.0}},
    ],
)
def test_a_wrong_optimizer_is_refused_as_by_darts(
    wrong: dict[str, Any], quick: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="Error when building the optimizer"):
        LSTMSeqModel(**quick | wrong).historical_forecasts(make(), start=0.9)


def test_what_was_answered_holds_when_the_stack_gives_up(
    quick: dict[str, Any], counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacking, "_MAX_BYTES", 0)  # no fold is small enough
    found = []
    for optimise in (True, False):
        asked: list[Any] = []

        def retrain(counter, pred_time, train_series, past_covariates, future_covariates):  # type: ignore[no-untyped-def]
            asked.append(pred_time)  # noqa: B023
            return len(asked) in (1, 2, 4)  # noqa: B023

        forecasts = LSTMSeqModel(**quick).historical_forecasts(
            make(),
            start=-5,
            start_format="position",
            retrain=retrain,
            enable_optimization=optimise,
        )
        found.append((forecasts, asked))
    assert counts.stacks == []
    assert found[0][1] == found[1][1]
    same(found[0][0], found[1][0])
