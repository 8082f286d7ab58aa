"""Means of models: against plain arithmetic, chosen by earlier folds, forecasting the future."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.metrics import mase
from darts.models import LinearRegressionModel, NaiveDrift, NaiveMean, NaiveSeasonal

from darts_lstm_seq import Comparison, compare
from darts_lstm_seq.comparison.ensemble import BETTER_HALF, MEAN, ensemble_forecasts

NAMES = ["drift", "mean", "last", "regression"]
VALUES = dict(
    zip(NAMES, [[0.1, 0.2, 0.7, 0.1], [0.3] * 4, [-0.1] * 4, [0.3, 0.4, 9, 9]], strict=True)
)


def models() -> dict[str, Any]:
    made = [NaiveDrift(), NaiveMean(), NaiveSeasonal(1), LinearRegressionModel(lags=3)]
    return dict(zip(NAMES, made, strict=True))


def walk(seed: int, length: int = 50) -> TimeSeries:
    values = np.random.default_rng(seed).normal(size=(length, 2)).cumsum(axis=0)
    return TimeSeries.from_values(values)


def run(series: Any, **kwargs: Any) -> Comparison:
    return compare(series, 4, models(), show_progress=False, **{"folds": 3, **kwargs})


def by_model(found: Comparison) -> dict[str, pd.DataFrame]:
    table = found.forecasts
    return {name: table[table["model"] == name] for name in [*NAMES, MEAN, BETTER_HALF]}


def test_the_mean_is_that_of_all_forecasts() -> None:
    parts = by_model(run(walk(0)))
    expected = np.mean([parts[name]["forecast"] for name in NAMES], axis=0)
    np.testing.assert_allclose(parts[MEAN]["forecast"], expected)
    for column in ("fold", "time", "component", "actual"):
        assert parts[MEAN][column].tolist() == parts["drift"][column].tolist()


def test_the_order_in_which_models_ended_does_not_matter() -> None:
    def means(order: list[str]) -> pd.DataFrame:
        frames = [
            pd.DataFrame(
                # to be summed in any order, with other rounding; two are equally good
                {"forecast": VALUES[name], "actual": 0.1, "fold": [1, 1, 2, 2]}
            ).assign(model=name, series="s")
            for name in order
        ]
        return ensemble_forecasts(pd.concat(frames))

    expected = means(NAMES)
    for order in itertools.permutations(NAMES):
        pd.testing.assert_frame_equal(means(list(order)), expected, check_exact=True)


def test_the_better_half_is_chosen_by_earlier_folds_alone() -> None:
    parts = by_model(run(walk(1)))
    for fold in (1, 2, 3):
        rows = {name: part[part["fold"] == fold] for name, part in parts.items()}
        errors = {
            name: (part["forecast"] - part["actual"])[part["fold"] < fold].abs().mean()
            for name, part in parts.items()
            if name in NAMES
        }
        chosen = sorted(NAMES, key=errors.__getitem__)[:2] if fold > 1 else NAMES
        expected = np.mean([rows[name]["forecast"] for name in chosen], axis=0)
        np.testing.assert_allclose(rows[BETTER_HALF]["forecast"], expected)


def test_scores_are_those_of_the_mean(tmp_path: Path) -> None:
    series = {"a": walk(2), "short": walk(3)[:5], "b": walk(4)}
    for out in (None, tmp_path):
        found = run(series, out=out)
        table = found.forecasts
        rows = found.per_series.set_index(["series", "model"])
        for name in ("a", "b"):
            part = table[(table["series"] == name) & (table["model"] == MEAN)]
            values = part["forecast"].to_numpy().reshape(3, 2, 4)
            errors = [
                mase(
                    series[name][38 + 4 * fold :][:4],
                    series[name][38 + 4 * fold :][:4].with_values(values[fold].T),
                    series[name][: 38 + 4 * fold],
                    m=1,
                )
                for fold in range(3)
            ]
            assert rows.loc[(name, MEAN), "MASE"] == pytest.approx(np.mean(errors))
        assert found.scores.set_index("model").loc[MEAN, ["series", "failed"]].tolist() == [2, 1]


def test_two_models_or_one_fold_have_less() -> None:
    assert MEAN in run(walk(0), folds=1).scores["model"].tolist()
    assert BETTER_HALF not in run(walk(0), folds=1).scores["model"].tolist()
    two = compare(walk(0), 4, {n: models()[n] for n in NAMES[:2]}, show_progress=False)
    assert set(two.scores["model"]) == set(NAMES[:2])


def test_an_ensemble_forecasts_the_future() -> None:
    found = run({"a": walk(5), "b": walk(6)})
    future = found.predict(MEAN)
    parts = [found.predict(name) for name in NAMES]
    for column in ("forecast", "lower", "upper"):
        expected = np.mean([part[column] for part in parts], axis=0)
        np.testing.assert_allclose(future[column], expected)
    assert future["series"].tolist() == parts[0]["series"].tolist()
    half = list(found.fit(BETTER_HALF))
    ranked = [name for name in found.scores["model"] if name in NAMES]
    assert half == ranked[:2]
