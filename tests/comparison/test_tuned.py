"""The row of the tuned model: what its search may see, and what it is evaluated with."""

from functools import partial
from typing import Any

import pytest
from darts import TimeSeries

from darts_lstm_seq import LSTMSeqModel, compare, tune
from darts_lstm_seq.comparison import evaluation
from darts_lstm_seq.comparison.baselines import MODELS, TUNED, default_models

SPACE = {"input_chunk_length": [24], "lr": [1e-2], "n_steps": [30]}


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch, tiny: dict[str, Any]) -> list[TimeSeries]:
    """Return the list that will hold the series of each search, of a tiny model."""
    seen = []

    def recording(series: TimeSeries, *args: Any, **kwargs: Any) -> Any:
        seen.append(series)
        return tune(series, *args, **{**kwargs, "space": SPACE})

    poor = tiny | {"n_epochs": 1, "optimizer_kwargs": {"lr": 1e-9}}
    monkeypatch.setattr(evaluation, "tune", recording)
    monkeypatch.setitem(MODELS, TUNED, lambda *_: LSTMSeqModel(4, 6, **poor))
    return seen


def test_no_scored_value_is_seen_by_the_search(searched: list[Any], seasonal: Any) -> None:
    short = partial(compare, seasonal, 6, [TUNED], folds=2, show_progress=False)
    result = short()
    assert searched == [seasonal[:-12]]
    row = result.scores.iloc[0]
    assert row["model"] == TUNED
    # the chosen configuration is the one that is evaluated
    best = tune(seasonal[:-12], 6, model=MODELS[TUNED](), space=SPACE, show_progress=False)
    assert best.best_configuration["input_chunk_length"] == 24
    mine = compare(
        seasonal, 6, {"mine": LSTMSeqModel(**best.best_params)}, folds=2, show_progress=False
    )
    assert row["MASE"] == pytest.approx(mine.scores["MASE"].iloc[0])


def test_the_future_is_forecast_with_parameters_of_all_values(
    searched: list[Any], seasonal: Any
) -> None:
    result = compare(seasonal, 6, [TUNED], folds=2, show_progress=False)
    assert len(result.predict()) == 6
    assert searched[-1] == seasonal


def test_a_series_too_short_to_be_tuned_has_a_row_with_the_error(
    searched: list[Any], seasonal: Any
) -> None:
    result = compare(seasonal[:24], 6, [TUNED], folds=2, show_progress=False)
    assert "too few for 2 folds" in result.scores["error"].iloc[0]


def test_it_is_there_on_request_alone() -> None:
    assert TUNED in MODELS
    assert TUNED not in default_models(1) + default_models(100)
