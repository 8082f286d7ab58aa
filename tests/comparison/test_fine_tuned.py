"""A pre-trained network fine-tuned on all series: folds, short series, covariates, windows."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from makers import following, sine

from darts_lstm_seq import LSTMSeqModel, compare
from darts_lstm_seq.comparison import global_fit
from darts_lstm_seq.comparison.baselines import FINE_TUNED, GLOBAL, MODELS, QUIET_TRAINER

HORIZON, FOLDS = 4, 2
# the second has less than two seasons, and less than the full window of 60, in each training part
LENGTHS = (50, 26, 70)


def shops(lengths: Any = LENGTHS) -> list[TimeSeries]:
    return [
        sine(length, level=20 * index, noise=0.3, seed=index, dtype="float64")
        for index, length in enumerate(lengths)
    ]


def run(series: Any, models: Any = (FINE_TUNED,), **kwargs: Any) -> Any:
    return compare(series, HORIZON, models, FOLDS, show_progress=False, **kwargs)


def fine_tuned(series: list[TimeSeries], season: int = 12) -> LSTMSeqModel:
    model = LSTMSeqModel.from_pretrained(
        season, random_state=42, pl_trainer_kwargs=dict(QUIET_TRAINER)
    )
    return model.fit(series)


def test_each_fold_is_fine_tuned_on_what_comes_before_it() -> None:
    series = shops()
    found = run(series)
    assert found.per_series["error"].isna().all(), found.per_series["error"].tolist()
    for fold in (1, 2):
        cut = (FOLDS - fold + 1) * HORIZON
        parts = [one[:-cut] for one in series]
        expected = fine_tuned(parts).predict(HORIZON, parts, predict_likelihood_parameters=True)
        rows_of_fold = found.forecasts[found.forecasts["fold"] == fold]
        for index, forecast in enumerate(expected):
            rows = rows_of_fold[rows_of_fold["series"] == index]
            quantiles = [forecast[f"y0_q{level}"].values() for level in ("0.100", "0.500", "0.900")]
            np.testing.assert_allclose(
                rows[["lower", "forecast", "upper"]], np.hstack(quantiles), rtol=1e-4
            )
    untrained = run(series, ["LSTMSeqModel.from_pretrained"])
    assert not np.allclose(found.forecasts["forecast"], untrained.forecasts["forecast"], rtol=1e-3)


def test_the_fitted_model_and_the_future_are_of_all_series() -> None:
    series = shops()
    found = run(dict(zip("abc", series, strict=True)))
    model = found.fit(FINE_TUNED)
    assert model.pretrained_season == 12
    future = found.predict()
    assert future["series"].tolist() == [name for name in "abc" for _ in range(HORIZON)]
    expected = fine_tuned(series).predict(HORIZON, series)
    medians = np.concatenate([forecast.values()[:, 0] for forecast in expected])
    np.testing.assert_allclose(future["forecast"], medians, rtol=1e-4)
    assert future["time"][:HORIZON].tolist() == following(series[0], HORIZON).tolist()


@pytest.mark.parametrize("name", [GLOBAL, FINE_TUNED])
def test_short_series_have_the_season_of_the_others(name: str, monkeypatch: Any, tiny: Any) -> None:
    seasons = []
    make = MODELS[name]

    def recorded(season: int, horizon: int, *rest: int) -> Any:
        seasons.append(season)
        if name == GLOBAL:
            return LSTMSeqModel((6, 12), horizon, **tiny)
        return make(season, horizon, *rest)

    monkeypatch.setitem(MODELS, name, recorded)
    found = run(shops(), [name])
    assert found.scores[["series", "failed"]].to_numpy().tolist() == [[3, 0]]
    assert set(seasons) == {12}
    assert found.per_series["seasonality"].tolist() == [12, 1, 12]  # of MASE, as for other models


def test_seasons_without_a_network_take_the_one_without_a_season() -> None:
    series = [sine(60, 1, season=5, seed=seed) for seed in range(2)]
    found = run(series, seasonality=5)
    assert found.fit().pretrained_season == 1
    assert found.scores["failed"].tolist() == [0]


def test_covariates_are_left_out_and_the_table_says_so() -> None:
    series = [
        one.with_static_covariates(pd.DataFrame({"size": [index]}))
        for index, one in enumerate(shops())
    ]
    covariates = [sine(len(one) + HORIZON, name="c") for one in series]
    settings = {"past_covariates": covariates, "future_covariates": covariates, "calendar": True}
    found = run(series, **settings)
    assert found.scores["covariates"].tolist() == ["none"]
    plain = run(shops())
    np.testing.assert_allclose(found.forecasts["forecast"], plain.forecasts["forecast"], rtol=1e-6)
    assert "covariates" not in plain.scores
    np.testing.assert_allclose(found.predict()["forecast"], plain.predict()["forecast"], rtol=1e-6)


def test_of_many_windows_the_newest_of_each_series_are_trained_on(monkeypatch: Any) -> None:
    monkeypatch.setattr(global_fit, "_MAX_WINDOWS", 140)
    model = LSTMSeqModel.from_pretrained(12)
    given = [global_fit.Inputs(one) for one in shops((30, 200))]
    arguments = global_fit.fit_arguments(model, given)
    assert arguments.keys() == {"series"}
    assert [len(one) for one in arguments["series"]] == [30, 70 + 13]
    assert arguments["series"][1].end_time() == given[1].series.end_time()
    # never fewer than fill a window
    monkeypatch.setattr(global_fit, "_MAX_WINDOWS", 2)
    assert len(global_fit.fit_arguments(model, given)["series"][1]) == 60 + 13


def test_a_model_of_a_user_may_have_the_name_of_a_network_of_all_series() -> None:
    from darts.models import NaiveDrift

    found = run(shops(), {GLOBAL: NaiveDrift(), FINE_TUNED: NaiveDrift()})
    assert found.scores["error"].isna().all()
    assert len(found.fit(GLOBAL)) == len(LENGTHS)


def test_horizons_beyond_the_network_are_forecast_without_a_warning_each(caplog: Any) -> None:
    names = [FINE_TUNED, "LSTMSeqModel.from_pretrained"]
    found = compare(shops((90, 80)), 26, names, 1, show_progress=False)
    assert found.scores["failed"].tolist() == [0, 0]
    assert not caplog.records


def test_series_shorter_than_any_window_take_part() -> None:
    series = shops((50, 18, 70))  # trained on 10 and 14 steps, and forecast from these
    found = run(series)
    assert found.scores["failed"].tolist() == [0]
    # the future of series that are too short for folds, too; not that of a single value
    new = {"long": series[0], "new": series[1][:5], "one": series[1][:1]}
    future = run(new).predict()
    assert future["series"].tolist() == ["long"] * HORIZON + ["new"] * HORIZON + ["one"]
    assert "fewer than 2 time steps" in future["error"].iloc[-1]
    times = future["time"][future["series"] == "new"]
    assert times.tolist() == following(series[1][:5], HORIZON).tolist()
    values = future["forecast"][future["series"] == "new"]
    assert (values - series[1].values()[:5].mean()).abs().max() < 3


def test_missing_values_before_a_short_series_change_nothing_of_a_longer_one() -> None:
    model = LSTMSeqModel.from_pretrained(12)
    long, short = shops((50, 9))[0], shops((9,))[0]
    (alone,) = global_fit.forecast(model, [global_fit.Inputs(long)], HORIZON, [0.1, 0.9])
    both = global_fit.forecast(
        model, [global_fit.Inputs(one) for one in (long, short)], HORIZON, [0.1, 0.9]
    )
    np.testing.assert_allclose(both[0].point.values(), alone.point.values(), rtol=1e-5)
    expected = model.predict(HORIZON, short.prepend_values(np.full(4, np.nan)))
    np.testing.assert_allclose(both[1].point.values(), expected.values(), rtol=1e-5)
    assert both[1].point.time_index.equals(following(short, HORIZON))
