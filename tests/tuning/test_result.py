"""What is chosen, and what a result says of it."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from makers import sine
from scipy import stats

from darts_lstm_seq.tuning.evaluation import Trial
from darts_lstm_seq.tuning.folds import Folds
from darts_lstm_seq.tuning.result import Tuned, choose
from darts_lstm_seq.tuning.space import Space


def trial(*scores: float, error: str | None = None, **configuration: Any) -> Trial:
    return Trial(configuration, dict(enumerate(scores)), 1.0, error)


def result(*trials: Trial) -> Tuned:
    base = {"input_chunk_length": 6, "output_chunk_length": 3}
    space = Space({"hidden_dim": [8, None], "dropout": [0.1, None]}, base)
    trials[0].configuration = space.default
    return Tuned(trials, space, Folds(sine(48), 3, 3, None, None))


DEFAULT = trial(1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("others", "index"),
    [
        ([trial(0.9, 1.9, 2.9)], 1),  # better in each fold by the same
        ([trial(0.2, 2.1, 3.1)], 0),  # in one lucky fold
        ([trial(0.9, 1.8, 2.8), trial(0.8, 1.7, 2.8)], 2),
        ([trial(0.0, 2.05, 3.0), trial(0.4, 1.4, 2.4)], 2),  # the best one is no proof
        ([trial(0.7, 1.9, 2.9)], 0),  # better by two and a half
        ([trial(0.0, 2.05, 3.0), trial(0.9, 1.9, 2.9)], 0),  # a lucky standard error
        ([trial(0.1, 0.1)], 0),  # not all folds
        ([trial(0.1, 0.1, 0.1, error="ValueError")], 0),
        ([trial(1.0, 2.0, 3.0)], 0),
        ([], 0),
    ],
)
def test_another_is_chosen_only_if_it_is_better_by_three_standard_errors(
    others: list[Trial], index: int
) -> None:
    trials = [DEFAULT, *others]
    assert choose(trials, 3) is trials[index]


def test_the_table_and_the_gain() -> None:
    found = result(
        trial(1.0, 2.0, 3.0),
        trial(error="ValueError: no", hidden_dim=0, dropout=0.5),
        trial(0.5, hidden_dim=3, dropout=0.5),
        trial(0.7, 1.6, 2.5, hidden_dim=4, dropout=None),
    )
    table = found.table
    assert table["trial"].tolist() == [3, 0, 2, 1]
    assert table["MASE"].tolist()[:3] == pytest.approx([1.6, 2.0, 0.5])
    assert np.isnan(table["MASE"].iloc[3])
    assert table["standard_error"].iloc[1] == pytest.approx(1 / 3**0.5)
    assert table["folds"].tolist() == [3, 3, 1, 0]
    notes, errors = (table[name].fillna("").tolist() for name in ("note", "error"))
    assert notes == ["chosen", "", "dropped after some folds", ""]
    assert errors == ["", "", "", "ValueError: no"]
    assert found.best_configuration == {"hidden_dim": 4, "dropout": None}
    assert found.best_params == {
        "input_chunk_length": 6,
        "output_chunk_length": 3,
        "hidden_dim": 4,
        "dropout": None,
    }
    half = stats.t.ppf(0.9, 2) * np.std([0.3, 0.4, 0.5], ddof=1) / 3**0.5
    assert found.gain == pytest.approx((0.2, 0.2 - half / 2, 0.2 + half / 2))
    assert "hidden_dim=4" in repr(found)
    assert "20.0%" in repr(found)


def test_a_default_that_is_kept() -> None:
    found = result(trial(1.0, 2.0, 3.0), trial(1.1, 2.0, 2.8, hidden_dim=4, dropout=0.5))
    assert found.gain == (0, 0, 0)
    assert found.table.loc[found.table["trial"] == 0, "note"].item().startswith("kept: none is")
    assert found.best_params == {"input_chunk_length": 6, "output_chunk_length": 3}
    assert "default is kept" in repr(found)


def test_a_panel_for_each_parameter_with_the_default_marked() -> None:
    mpl.use("Agg")
    found = result(
        trial(1.0, 2.0, 3.0),
        *(trial(0.9, 1.8, 2.8, hidden_dim=k, dropout=[0.5, "x", (1, 2)][k % 3]) for k in range(12)),
        trial(error="ValueError: no", hidden_dim=99, dropout=0.5),
    )
    left, right = found.plot().axes
    assert (left.get_xlabel(), right.get_xlabel()) == ("hidden_dim", "dropout")
    assert left.get_ylabel() == "MASE"
    points, default, chosen = (c.get_offsets() for c in left.collections)
    assert len(points) == 13
    np.testing.assert_allclose(default, [[64, 2.0]])
    assert chosen[0, 1] == pytest.approx(5.5 / 3)
    assert [label.get_text() for label in right.get_xticklabels()] == ["0.5", "auto", "x", "(1, 2)"]
