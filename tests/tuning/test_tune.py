"""Searches from end to end, with networks that train for a moment."""

import copy
import logging
import os
import signal
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression
from makers import sine, with_gaps

from darts_lstm_seq import LSTMSeqModel, tune
from darts_lstm_seq.model import stacking
from darts_lstm_seq.training import stack
from darts_lstm_seq.tuning import evaluation
from darts_lstm_seq.tuning import tune as module

SERIES = sine(48, dtype="float64")
SPACE: dict[str, list[Any]] = {
    "input_chunk_length": [4, 6],
    "hidden_dim": [3, 5],
    "batch_size": [8, 16],
    "dropout": [0.0, 0.3],
    "lr": [1e-3, 1e-2],
    "n_steps": [4, 8],
}


@pytest.fixture
def model(tiny: dict[str, Any]) -> LSTMSeqModel:
    """Return the model that searches start from."""
    return LSTMSeqModel(6, 3, **tiny)


@pytest.fixture
def search(model: LSTMSeqModel) -> Any:
    """Return `tune` for short searches."""

    def short(series: Any = SERIES, horizon: int = 3, **changes: Any) -> Any:
        arguments = {"space": SPACE, "n_trials": 6, "model": model, "show_progress": False}
        return tune(series, horizon, **arguments | changes)

    return short


def errors_alone(found: Any, series: TimeSeries, horizon: int = 3) -> Iterator[float]:
    """Yield the error of each configuration of a table, each fold trained by itself."""
    for _, row in found.table.sort_values("trial").iterrows():
        trial = found._trials[row["trial"]]
        errors = []
        for fold in range(3):
            part = series[: len(series) - (3 - fold) * horizon]
            parameters = found._space.parameters(trial.configuration, [part])
            forecast = LSTMSeqModel(**parameters).fit(part).predict(horizon)
            actual = series.slice_intersect(forecast)
            changes = np.abs(part.values()[12:] - part.values()[:-12])
            errors.append(np.abs((actual - forecast).values()).mean() / changes.mean())
        yield float(np.mean(errors))


def test_errors_are_those_of_models_trained_alone(search: Any) -> None:
    found = search()
    assert (found.table["folds"] == 3).all()
    assert found.table["error"].isna().all()
    table = found.table.sort_values("trial")
    np.testing.assert_allclose(table["MASE"], list(errors_alone(found, SERIES)), rtol=1e-4)


def test_the_same_seed_repeats_the_table_and_the_model_stays(
    search: Any, model: LSTMSeqModel
) -> None:
    model.fit(SERIES)
    before, params = model.predict(3), copy.deepcopy(model.model_params)
    first, second = (search().table.drop(columns="seconds") for _ in range(2))
    assert first.equals(second)
    assert not first.equals(search(random_state=1).table.drop(columns="seconds"))
    assert model.predict(3) == before
    assert repr(model.model_params) == repr(params)


def test_a_small_grid_is_searched_in_full(search: Any) -> None:
    found = search(space={"hidden_dim": [3, 8], "n_steps": [4, 8]}, n_trials=None)
    assert len(found.table) == 5  # and the default
    default = found.table[found.table["trial"] == 0].iloc[0]
    assert default["hidden_dim"] == 8
    assert not found.table["n_steps"].isna().sum() > 1


def test_the_chosen_model_is_fitted_to_everything_and_quietly(
    search: Any,
    tiny: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # a network that learns nothing, and one that does
    poor = LSTMSeqModel(6, 3, **tiny | {"optimizer_kwargs": {"lr": 1e-12}, "n_epochs": 1})
    found = search(
        sine(60, trend=0.3, noise=0.01, dtype="float64"),
        model=poor,
        space={"input_chunk_length": [24]},
    )
    assert found.best_configuration == {"input_chunk_length": 24}
    assert found.gain.mean > 0.1
    assert found.gain.low < found.gain.mean < found.gain.high
    expected = LSTMSeqModel(**found.best_params).fit(
        sine(60, trend=0.3, noise=0.01, dtype="float64")
    )
    caplog.clear()
    for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero"):
        caplog.set_level("INFO", logger=name)
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = found.model
    assert not caplog.text
    assert model.predict(3) == expected.predict(3)
    assert found.model is model


def test_the_default_without_a_model_and_the_default_space() -> None:
    found = tune(sine(36, season=4, freq="QS"), 2, n_trials=2, folds=2, show_progress=False)
    default = found.table[found.table["trial"] == 0].iloc[0]
    assert default["input_chunk_length"] == 12  # three years
    assert len(found.table) == 2
    assert len(found.model.predict(2)) == 2


def test_many_series_covariates_gaps_and_quantiles(search: Any, tiny: dict[str, Any]) -> None:
    series = [with_gaps(sine(50), 0.1), with_gaps(sine(48, seed=1), 0.1)]
    covariates = [sine(60, seed=2), sine(60, seed=3)]
    model = LSTMSeqModel(6, 3, likelihood=QuantileRegression([0.1, 0.5, 0.9]), **tiny)
    found = search(
        series,
        model=model,
        n_trials=3,
        past_covariates=covariates,
        future_covariates=covariates,
    )
    assert found.table["error"].isna().all()
    assert np.isfinite(found.table["quantile_loss"]).all()
    forecasts = found.model.predict(
        3, series, past_covariates=covariates, future_covariates=covariates
    )
    assert len(forecasts) == 2


def test_halving_drops_what_is_behind(search: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    train = stacking.train

    def record(trainings: Any, *rest: Any) -> None:
        trained.extend(trainings)
        train(trainings, *rest)

    monkeypatch.setattr(stacking, "train", record)
    found = search(n_trials=9, halving=True)
    assert sorted(found.table["folds"]) == [1] * 4 + [2] * 2 + [3] * 3
    assert len(trained) == 3 + 8 + 4 + 2
    newest = {trial: trial.scores[2] for trial in found._trials[1:]}
    kept = [error for trial, error in newest.items() if len(trial.scores) > 1]
    dropped = [error for trial, error in newest.items() if len(trial.scores) == 1]
    assert max(kept) <= min(dropped)


def test_a_configuration_that_fails_has_a_row_with_its_error(search: Any) -> None:
    space = {"input_chunk_length": [4, 46, 0], "lr": [1e-3, 1e308]}
    table = search(space=space, n_trials=7).table
    failed = table[table["error"].notna()]
    assert len(table) == 7
    assert len(failed) == 5
    assert failed["MASE"].isna().all()
    for length, reason in ((46, "too short"), (0, "input_chunk_length"), (4, "weights are lost")):
        assert failed[failed["input_chunk_length"] == length]["error"].str.contains(reason).all()


def test_an_interrupted_search_keeps_what_it_has(
    search: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks = []
    compute_loss = stack._StackModule._loss

    def interrupted(module: Any, batch: Any) -> Any:
        if not stacks or stacks[-1] is not module:
            stacks.append(module)
        if len(stacks) == 3:
            os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C, within Lightning's `Trainer`
        return compute_loss(module, batch)

    monkeypatch.setattr(stack._StackModule, "_loss", interrupted)
    found = search()
    assert 1 < len(found.table) < 6
    assert found.table["folds"].sum() == sum(len(one._trainings) for one in stacks[:2])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    del stacks[2:]
    with pytest.raises(KeyboardInterrupt):  # nothing to keep
        search()


@pytest.mark.parametrize("slower", [1, 20])
@pytest.mark.parametrize("halving", [True, False])
def test_no_stack_starts_after_the_budget(
    halving: bool, slower: int, search: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a clock by which each training takes a second, and others than the default's more
    now, starts = [0.0], []
    train = stacking.train

    def timed(trainings: Any, *rest: Any) -> None:
        starts.append(now[0])
        now[0] += len(trainings) * (slower if len(starts) > 1 else 1)
        train(trainings, *rest)

    monkeypatch.setattr(stacking, "train", timed)
    for place in (module, evaluation):
        monkeypatch.setattr(place, "perf_counter", lambda: now[0])
    found = search(n_trials=None, budget=60, halving=halving)
    assert max(starts) <= 60
    assert len(found.table) > 2


def test_a_budget_ends_the_search(search: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # a clock by which each training takes a second
    now = [0.0]
    train = stacking.train

    def timed(trainings: Any, *rest: Any) -> None:
        now[0] += len(trainings)
        train(trainings, *rest)

    monkeypatch.setattr(stacking, "train", timed)
    for place in (module, evaluation):
        monkeypatch.setattr(place, "perf_counter", lambda: now[0])
    found = search(n_trials=None, budget=60)
    assert 40 < now[0] <= 60
    assert all(found.table[name].nunique() >= 2 for name in SPACE)
    assert found.table["folds"].sum() == now[0]
    assert found.table["seconds"].sum() == pytest.approx(now[0])
    now[0] = 0.0
    assert len(search(n_trials=5, budget=1000).table) == 5
    now[0] = 0.0
    with pytest.raises(ValueError, match=r"`budget` is 2 seconds.*took 3.0. Set it to 60"):
        search(budget=2)


def test_the_bar_tells_the_best_so_far(search: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found = search(show_progress=True)
    printed = capsys.readouterr().err
    best = found.table["MASE"].min()
    assert f"best={best:.3f}" in printed
    assert "15/15" in printed  # trainings besides the default's


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": 0}, "`budget` must be"),
        ({"n_trials": 1}, "`n_trials` must be an integer >= 2"),
        ({"folds": 20}, "need 66. Set `folds` to 14, or `horizon` to 2"),
        ({"space": {}}, "`space` must map"),
        ({"space": {"size": [1]}}, "'size'"),
        ({"random_state": -1}, "`random_state`"),
        ({"model": LSTMSeqModel(45, 3)}, "the default configuration cannot be trained"),
        ({"model": LSTMSeqModel(6, 3, 1, n_epochs=1)}, "without `output_chunk_shift`"),
        ({"study": "sqlite:///study.db"}, "`study`"),
    ],
)
def test_errors(changes: dict[str, Any], message: str, search: Any) -> None:
    with pytest.raises(ValueError, match=message):
        search(**changes)
