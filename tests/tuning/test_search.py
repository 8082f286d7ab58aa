"""Optuna's samplers and storages; without Optuna these are skipped."""

from pathlib import Path
from typing import Any

import pytest
import torch
from makers import sine

from darts_lstm_seq import LSTMSeqModel, tune

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.WARNING)

SERIES = sine(48, dtype="float64")
SPACE: dict[str, Any] = {
    "hidden_dim": [3, 5],
    "dropout": optuna.distributions.FloatDistribution(0.0, 0.5),
    "lr": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True),
    "n_steps": [4, None],
}


def study(path: Path) -> Any:
    return optuna.create_study(
        study_name="sales",
        storage=f"sqlite:///{path / 'study.db'}",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=0),
    )


@pytest.fixture
def search(tiny: dict[str, Any]) -> Any:
    def short(**changes: Any) -> Any:
        arguments = {"space": SPACE, "model": LSTMSeqModel(6, 3, **tiny), "show_progress": False}
        return tune(SERIES, 3, **arguments | changes)

    return short


def test_a_study_is_told_and_a_second_start_goes_on(search: Any, tmp_path: Path) -> None:
    first = search(study=study(tmp_path), n_trials=4)
    stored = study(tmp_path).trials
    assert [trial.state.name for trial in stored] == ["COMPLETE"] * 3
    table = first.table.set_index("trial")
    for number, trial in enumerate(stored, start=1):
        assert trial.value == pytest.approx(table.loc[number, "MASE"])
        assert trial.params["lr"] == table.loc[number, "lr"]
    second = search(study=study(tmp_path), n_trials=6).table.set_index("trial")
    assert len(study(tmp_path).trials) == 5
    columns = ["MASE", "standard_error", "seconds", *SPACE]
    assert second.loc[[1, 2, 3], columns].equals(table.loc[[1, 2, 3], columns])


def test_trials_of_another_space_do_not_count_and_objects_are_told_apart(
    search: Any, tmp_path: Path, tiny: dict[str, Any]
) -> None:
    def with_loss(delta: float) -> LSTMSeqModel:
        return LSTMSeqModel(6, 3, loss_fn=torch.nn.HuberLoss(delta=delta), **tiny)

    search(study=study(tmp_path), n_trials=3, model=with_loss(0.1))
    again = search(
        study=study(tmp_path), n_trials=3, model=with_loss(0.1), space={"n_rnn_layers": [2]}
    )
    assert again.table.columns[1] == "n_rnn_layers"
    assert len(study(tmp_path).trials) == 4  # of one layer, and two
    with pytest.raises(ValueError, match="other data"):
        search(study=study(tmp_path), n_trials=3, model=with_loss(0.2))


def test_dropped_and_failed_trials(search: Any) -> None:
    found = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = {"input_chunk_length": [4, 6, 40], "dropout": [0.0, 0.3]}
    table = search(study=found, space=space, n_trials=13, halving=True).table
    states = [trial.state.name for trial in found.trials]
    assert states.count("FAIL") == table["error"].notna().sum() > 0
    assert states.count("PRUNED") == (table["note"] == "dropped after some folds").sum() > 0
    assert states.count("COMPLETE") == (table["folds"] == 3).sum() - 1


def test_errors(search: Any, tmp_path: Path) -> None:
    search(study=study(tmp_path), n_trials=2)
    with pytest.raises(ValueError, match=r"results of other data.*another `study_name`"):
        search(study=study(tmp_path), n_trials=2, folds=2)
    with pytest.raises(ValueError, match="must minimise"):
        search(study=optuna.create_study(direction="maximize"))
    with pytest.raises(ValueError, match=r"must be a study of Optuna, received 'study.db'"):
        search(study="study.db")
