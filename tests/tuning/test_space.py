"""Spaces: values by points of a design, parameters of models, what is refused."""

import math
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from makers import sine

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.tuning.space import Space, default_space

BASE: dict[str, Any] = {"input_chunk_length": 6, "output_chunk_length": 3, "dropout": None}


def distribution(**attributes: Any) -> Any:
    """Return what looks like a distribution of Optuna."""
    return SimpleNamespace(to_internal_repr=None, **attributes)


def first(space: Space, count: int = 256) -> list[dict[str, Any]]:
    return list(islice(space.design(seed=0), count))


def test_a_design_covers_lists_evenly() -> None:
    space = Space({"hidden_dim": [4, 8], "dropout": [0.0, 0.1, 0.2, 0.3]}, BASE)
    found = [tuple(configuration.values()) for configuration in first(space)]
    assert {found.count(pair) for pair in set(found)} == {256 // 8}
    assert space.grid_size() == 8
    assert len({tuple(c.values()) for c in space.grid()}) == 8


def test_a_design_is_repeated_by_its_seed() -> None:
    space = Space({"hidden_dim": list(range(1, 100)), "dropout": [0.1, 0.2]}, BASE)
    assert first(space) == first(space)
    assert first(space) != list(islice(space.design(seed=1), 256))


def test_distributions() -> None:
    entries = {
        "dropout": distribution(low=0.2, high=0.6, log=False, step=None),
        "lr": distribution(low=1e-4, high=1e-2, log=True, step=None),
        "hidden_dim": distribution(low=2, high=8, log=False, step=2),
        "n_steps": distribution(low=1, high=1000, log=True, step=1),
        "batch_size": distribution(choices=(5, 7)),
        "weight_decay": distribution(low=0.0, high=0.3, log=False, step=0.1),
    }
    space = Space(entries, BASE)
    assert space.grid_size() == math.inf
    found = {name: [c[name] for c in first(space)] for name in entries}
    assert 0.2 <= min(found["dropout"]) < 0.21 < 0.59 < max(found["dropout"]) < 0.6
    assert np.median(found["lr"]) == pytest.approx(1e-3, rel=0.05)
    assert set(found["hidden_dim"]) == {2, 4, 6, 8}
    assert min(found["n_steps"]) == 1
    assert 900 < max(found["n_steps"]) <= 1000
    assert all(isinstance(value, int) for value in found["n_steps"])
    assert set(found["batch_size"]) == {5, 7}
    np.testing.assert_allclose(sorted(set(found["weight_decay"])), [0, 0.1, 0.2, 0.3], atol=1e-12)


def test_parameters_of_a_model() -> None:
    entries: dict[str, Any] = {
        "lr": [0.01],
        "n_steps": [20, None],
        "batch_size": np.array([4]),
        "n_rnn_layers": [2],
    }
    space = Space(entries, BASE | {"optimizer_kwargs": {"eps": 1e-4}})
    assert space.default == {"lr": 1e-3, "n_steps": None, "batch_size": 32, "n_rnn_layers": 1}
    assert space.parameters(space.default, []) == space.base
    with_steps, without = space.grid()
    # 12 windows of each series: as many as the longest has
    found = space.parameters(with_steps, [sine(20), sine(15)])
    assert found == BASE | {
        "optimizer_kwargs": {"eps": 1e-4, "lr": 0.01},
        "batch_size": 4,
        "n_rnn_layers": 2,
        "n_epochs": 3,  # of six steps
    }
    assert "n_epochs" not in space.parameters(without, [sine(20)])
    LSTMSeqModel(**found)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "`space` must map"),
        ([], "`space` must map"),
        ({"hidden_size": [1]}, "'hidden_size'.*no parameter"),
        ({"self": [1]}, "'self'"),
        ({"hidden_dim": []}, r"space\['hidden_dim'\]` must be a list"),
        ({"hidden_dim": 5}, "received 5"),
        ({"hidden_dim": "32"}, "received '32'"),
    ],
)
def test_errors(entries: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Space(entries, BASE)


@pytest.mark.parametrize(
    ("season", "horizon", "length"),
    [(12, 12, 108), (1, 1, 4), (1, 12, 24), (52, 13, 120), (24, 24, 17000), (7, 14, 40)],
)
def test_the_default_space_suits_the_series(season: int, horizon: int, length: int) -> None:
    entries = default_space(season, horizon, length)
    base = {"input_chunk_length": 1, "output_chunk_length": horizon}
    space = Space(entries, base)
    assert max(entries["input_chunk_length"]) + horizon <= max(length, horizon + 1)
    for name, values in entries.items():
        assert len(set(values)) == len(values), name
    series = [sine(min(length, 200))]
    for configuration in islice(space.design(0), 32):
        LSTMSeqModel(**space.parameters(configuration, series))
