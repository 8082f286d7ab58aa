"""A grid search whose networks train in stacks against Darts' own loop."""

import random
from typing import Any

import numpy as np
import pytest
from darts.dataprocessing.transformers import Scaler
from darts.metrics import mae
from darts.models.forecasting.forecasting_model import ForecastingModel
from makers import sine

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.model import gridsearch, stacking

GRID: dict[str, list[Any]] = {
    "input_chunk_length": [6, 9],
    "output_chunk_length": [3],
    "dropout": [0.0, 0.4],
    "batch_size": [5, 8],
    "hidden_dim": [4, 8],
}


@pytest.fixture
def grid(trainer_kwargs: dict[str, Any]) -> dict[str, list[Any]]:
    double = trainer_kwargs | {"precision": "64-true"}
    return GRID | {"n_epochs": [2], "random_state": [0], "pl_trainer_kwargs": [double]}


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list that will hold the number of networks of each stack."""
    found: list[int] = []
    train = stacking.train

    def record(trainings: Any, *rest: Any) -> None:
        found.append(len(trainings))
        train(trainings, *rest)

    monkeypatch.setattr(stacking, "train", record)
    return found


def scores(search: Any, parameters: dict[str, Any], **arguments: Any) -> tuple[Any, ...]:
    """Return the best model's class and parameters, and the score of every combination."""
    found = []

    def metric(actual: Any, forecast: Any, **kwargs: Any) -> Any:
        value = mae(actual, forecast, **kwargs)
        found.append(np.mean(value))
        return value

    model, best, score = search(parameters, metric=metric, **arguments)
    return type(model), best, score, found


ARGUMENTS: dict[str, Any] = {
    "series": sine(30, dtype="float64"),
    "forecast_horizon": 3,
    "start": 24,
    "start_format": "position",
    "stride": 2,
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n_random_samples": 3},
        {"past_covariates": sine(40, seed=1, dtype="float64"), "last_points_only": True},
        {"data_transformers": {"series": Scaler()}, "sample_weight": "linear"},
    ],
    ids=["grid", "random", "covariates", "transformers"],
)
def test_scores_are_those_of_darts_loop(
    changes: dict[str, Any], grid: dict[str, Any], sizes: list[int]
) -> None:
    arguments = ARGUMENTS | changes
    by_loop = ForecastingModel.gridsearch.__func__
    random.seed(0)  # by which Darts draws combinations
    cls, best, score, found = scores(LSTMSeqModel.gridsearch, grid, **arguments)
    n_combinations = 3 if changes.get("n_random_samples") else 16
    assert sum(sizes) == n_combinations * 2  # folds
    assert len(sizes) < n_combinations
    random.seed(0)
    expected = scores(lambda *a, **k: by_loop(LSTMSeqModel, *a, **k), grid, **arguments)
    assert (cls, best) == expected[:2]
    assert score == pytest.approx(expected[2], abs=1e-7)
    np.testing.assert_allclose(found, expected[3], rtol=0, atol=1e-7)


def test_what_cannot_be_stacked_is_searched_in_darts_loop(
    grid: dict[str, Any], sizes: list[int]
) -> None:
    grid = grid | {"n_members": [1, 2], "dropout": [0.0], "hidden_dim": [4], "batch_size": [5]}
    found = scores(LSTMSeqModel.gridsearch, grid, **ARGUMENTS)
    assert sizes[0] == 2  # of each window, the folds of one member; the others train alone
    expected = scores(
        lambda *a, **k: ForecastingModel.gridsearch.__func__(LSTMSeqModel, *a, **k),
        grid,
        **ARGUMENTS,
    )
    np.testing.assert_allclose(found[3], expected[3], rtol=0, atol=1e-7)


def test_few_trainings_are_held_at_a_time(
    grid: dict[str, Any], sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scores(LSTMSeqModel.gridsearch, grid, **ARGUMENTS)
    monkeypatch.setattr(gridsearch, "_MAX_PREPARED", 4)
    sizes.clear()
    found = scores(LSTMSeqModel.gridsearch, grid, **ARGUMENTS)
    assert max(sizes) <= 4
    np.testing.assert_allclose(found[3], whole[3], rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"input_chunk_length": [6, 60]}, {}, "minimum training input"),
        ({"hidden_dim": [0]}, {}, "hidden_dim"),
        ({}, {"val_series": sine(3)}, "exactly one"),
        ({"hidden_dim": []}, {}, "No hyperparameter combinations"),
        ({"hidden_dim": 5}, {}, "should be a list"),
    ],
)
def test_errors_are_darts_own(
    changes: dict[str, Any], arguments: dict[str, Any], message: str, grid: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=message):
        LSTMSeqModel.gridsearch(grid | changes, **ARGUMENTS | arguments)


def test_one_after_another_with_a_validation_series(grid: dict[str, Any]) -> None:
    series = ARGUMENTS["series"]
    grid = {name: values[:1] for name, values in grid.items()}
    model, _, score = LSTMSeqModel.gridsearch(grid, series[:-3], val_series=series[-3:], metric=mae)
    expected = LSTMSeqModel(**{name: values[0] for name, values in grid.items()})
    assert model.model_params == expected.model_params
    assert score == pytest.approx(mae(series, expected.fit(series[:-3]).predict(3)))
