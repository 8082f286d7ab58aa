"""Scores against a plain loop over folds; missing values, seasons, failed models, invalid input."""

from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries, concatenate
from darts.metrics import mase, rmse, smape
from darts.models import ExponentialSmoothing, LinearRegressionModel, NaiveDrift, NaiveSeasonal
from darts.utils.missing_values import fill_missing_values
from makers import with_value

from darts_lstm_seq import LSTMSeqModel, baseline_models, compare
from darts_lstm_seq.comparison.baselines import FINE_TUNED, GLOBAL, TUNED
from darts_lstm_seq.comparison.compare import MODELS, Comparison


@pytest.fixture(scope="module")
def naive_and_linear(seasonal: Any) -> Comparison:
    models = {"naive": NaiveSeasonal(K=12), "linear": LinearRegressionModel(lags=24)}
    return compare(seasonal, horizon=6, models=models, folds=2, show_progress=False)


def test_scores_are_those_of_a_loop(seasonal: Any, naive_and_linear: Comparison) -> None:
    """Every number against the obvious way to get it: fit, predict, score, fold by fold."""
    for name, make in (
        ("naive", lambda: NaiveSeasonal(K=12)),
        ("linear", lambda: LinearRegressionModel(lags=24)),
    ):
        expected = []
        for end in (108, 114):
            train, actual = seasonal[:end], seasonal[end : end + 6]
            forecast = make().fit(train).predict(6)
            expected.append(
                (
                    mase(actual, forecast, train, m=12),
                    smape(actual, forecast),
                    rmse(actual, forecast),
                )
            )
        scores = naive_and_linear.scores.set_index("model").loc[name, ["MASE", "sMAPE", "RMSE"]]
        np.testing.assert_allclose(scores.astype(float), np.mean(expected, axis=0))


def test_rows_identify_themselves(naive_and_linear: Comparison) -> None:
    scores = naive_and_linear.scores
    assert scores["MASE"].is_monotonic_increasing
    assert (scores["folds"] == 2).all()
    assert (scores["horizon"] == 6).all()
    assert (scores["seasonality"] == 12).all()
    assert (scores["fit_seconds"] > 0).all()
    assert (scores["predict_seconds"] > 0).all()
    assert scores["error"].isna().all()
    assert {"darts", "torch", "darts_lstm_seq"} <= set(scores.columns)


def test_forecasts_are_tidy(seasonal: Any, naive_and_linear: Comparison) -> None:
    forecasts = naive_and_linear.forecasts
    values = ["forecast", "lower", "upper", "actual"]
    assert list(forecasts.columns) == ["model", "fold", "time", "component", *values]
    assert len(forecasts) == 2 * 2 * 6
    first = forecasts.query("model == 'naive' and fold == 1")
    np.testing.assert_allclose(first["actual"], seasonal[108:114].values().ravel())
    np.testing.assert_allclose(first["forecast"], seasonal[96:102].values().ravel())


def test_the_future_does_not_leak(seasonal: Any) -> None:
    models = {"linear": LinearRegressionModel(lags=24)}
    kwargs = {"horizon": 6, "models": models, "folds": 2, "show_progress": False}
    changed = seasonal[:114].append_values(1000 + np.arange(6.0))
    before, after = (compare(series, **kwargs).forecasts for series in (seasonal, changed))
    pd.testing.assert_series_equal(before["forecast"], after["forecast"])


def test_every_model_by_name_forecasts(seasonal: Any, monkeypatch: Any, tiny: dict) -> None:
    monkeypatch.setitem(MODELS, "LSTMSeqModel", lambda *_: LSTMSeqModel(24, 6, **tiny))
    result = compare(seasonal, horizon=6, folds=1, show_progress=False)
    assert set(result.scores["model"]) == set(MODELS) - {GLOBAL, FINE_TUNED, TUNED} | {
        "mean of all models"
    }
    assert result.scores["error"].isna().all(), result.scores["error"].tolist()
    errors = result.scores.set_index("model")["MASE"]
    for name in ("ARIMA", "ExponentialSmoothing", "Theta"):  # which model trend and season
        assert 0 < errors[name] < min(errors["NaiveSeasonal"], errors["NaiveDrift"])
    assert 0 < errors["LSTMSeqModel"] < errors["NaiveDrift"]  # two epochs, no trend


def test_the_default_lstm_beats_the_seasonal_naive(seasonal: Any) -> None:
    result = compare(
        seasonal, horizon=6, models=["LSTMSeqModel", "NaiveSeasonal"], folds=1, show_progress=False
    )
    assert result.scores["model"].iloc[0] == "LSTMSeqModel"


def test_a_model_that_fails_has_a_row_and_does_not_stop_others(seasonal: Any) -> None:
    good = {"good": NaiveSeasonal(K=1)}
    models = {"bad": LinearRegressionModel(lags=500), **good}
    scores = compare(seasonal, 6, models, show_progress=False).scores.set_index("model")
    assert "ValueError" in scores.loc["bad", "error"]
    assert np.isnan(scores.loc["bad", "MASE"])
    alone = compare(seasonal, 6, good, show_progress=False).scores
    assert scores.loc["good", "MASE"] == alone["MASE"].item()


def test_a_comparison_in_which_all_models_fail_is_a_result(seasonal: Any) -> None:
    result = compare(seasonal, 6, {"bad": LinearRegressionModel(lags=500)}, show_progress=False)
    assert result.forecasts.empty
    assert list(result.scores["model"]) == ["bad"]


def test_single_component_models_forecast_every_component(seasonal: Any) -> None:
    both = concatenate([seasonal, 2 * seasonal.with_columns_renamed("sales", "double")], axis=1)
    models = {"smoothing": ExponentialSmoothing(seasonal_periods=12)}
    result = compare(both, 6, models, folds=1, show_progress=False)
    alone = compare(seasonal, 6, models, folds=1, show_progress=False)
    sales = result.forecasts[result.forecasts["component"] == "sales"]
    np.testing.assert_allclose(sales["forecast"], alone.forecasts["forecast"], rtol=1e-4)
    assert set(result.forecasts["component"]) == {"sales", "double"}


@pytest.fixture(scope="module")
def gappy(seasonal: Any) -> TimeSeries:
    """Twenty values are missing: five before the border of the folds, and all of the last fold."""
    return with_value(seasonal, [20, *range(60, 68), *range(109, 114), *range(114, 120)])


def test_missing_values_of_the_training_part_are_interpolated(
    seasonal: Any, gappy: TimeSeries
) -> None:
    models = {"linear": LinearRegressionModel(lags=24)}
    result = compare(gappy, 6, models, folds=2, show_progress=False)
    forecasts = [
        LinearRegressionModel(lags=24).fit(fill_missing_values(gappy[:end])).predict(6)
        for end in (108, 114)
    ]
    np.testing.assert_allclose(
        result.forecasts["forecast"],
        np.concatenate([forecast.values()[:, 0] for forecast in forecasts]),
    )
    # missing values are not scored: of the first fold one value remains, of the second none
    error = abs(forecasts[0].values()[0, 0] - seasonal.values()[108, 0])
    assert result.scores["RMSE"].tolist() == pytest.approx([error])


def test_the_lstm_is_given_missing_values(gappy: TimeSeries, tiny: dict) -> None:
    result = compare(gappy, 6, {"lstm": LSTMSeqModel(24, 6, **tiny)}, folds=2, show_progress=False)
    expected = LSTMSeqModel(24, 6, **tiny).fit(gappy[:108]).predict(6)
    first = result.forecasts.query("fold == 1")["forecast"]
    np.testing.assert_allclose(first, expected.values()[:, 0], rtol=1e-6)


def test_a_likelihood_is_scored_by_its_median(seasonal: Any) -> None:
    def make() -> LinearRegressionModel:
        return LinearRegressionModel(24, likelihood="quantile", quantiles=[0.1, 0.5, 0.9])

    result = compare(seasonal, 6, {"quantiles": make()}, folds=1, show_progress=False)
    samples = make().fit(seasonal[:114]).predict(6, num_samples=500)
    median = np.median(samples.all_values(), axis=2).ravel()
    np.testing.assert_allclose(result.forecasts["forecast"], median, atol=1)


@pytest.mark.parametrize(
    ("freq", "season"),
    [
        *[("YS", 1), ("QE-DEC", 4), ("MS", 12), ("ME", 12), ("2MS", 6), ("BMS", 12)],
        *[("W-SAT", 52), ("2W", 26), ("3W", 1), ("D", 7), ("B", 5), ("2D", 1), ("10D", 1)],
        *[("h", 24), ("6h", 4), ("7h", 1), ("15min", 96)],
    ],
)
def test_seasonality_follows_from_the_frequency(freq: str, season: int) -> None:
    times = pd.date_range("2001-03-01", periods=240, freq=freq)
    series = TimeSeries.from_times_and_values(times, np.arange(240.0))
    scores = compare(series, 2, ["NaiveDrift"], folds=1, show_progress=False).scores
    assert scores["seasonality"].tolist() == [season]


def test_the_default_models_run_on_one_thread(seasonal: Any, monkeypatch: Any) -> None:
    n_threads = []

    class Recording(NaiveDrift):
        def fit(self, *args: Any, **kwargs: Any) -> Any:
            n_threads.append(torch.get_num_threads())
            return super().fit(*args, **kwargs)

    monkeypatch.setitem(MODELS, "NaiveDrift", lambda *_: Recording())
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for models in (["NaiveDrift"], {"mine": Recording()}):
            compare(seasonal, 6, models, folds=1, show_progress=False)
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert n_threads == [1, 2]


def test_short_series_have_no_season(seasonal: Any) -> None:
    result = compare(seasonal[:26], 2, ["NaiveDrift"], folds=2, show_progress=False)
    assert result.scores["seasonality"].tolist() == [1]


def test_an_integer_index_implies_no_season(seasonal: Any) -> None:
    plain = type(seasonal).from_values(seasonal.values())
    for seasonality, expected in ((None, 1), (12, 12)):
        result = compare(plain, 6, ["NaiveSeasonal"], 2, seasonality, show_progress=False)
        assert result.scores["seasonality"].tolist() == [expected]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"horizon": 0}, "`horizon` must be an integer >= 1, received 0"),
        ({"horizon": 2.5}, "`horizon`"),
        ({"horizon": 6, "folds": 0}, "`folds` must be"),
        ({"horizon": 6, "seasonality": -1}, "`seasonality` must be"),
        ({"horizon": 60}, "has 120 time steps, too few for 1 fold of horizon 60, .* needs 180"),
        (
            {"horizon": 60, "folds": 3},
            "too few for 3 folds of horizon 60, which need 300. Set `horizon` to 24",
        ),
        ({"horizon": 30, "folds": 3}, "which need 150. Set `folds` to 2, or `horizon` to 24."),
        ({"horizon": 6, "models": ["Prophet"]}, "`models` must be names out of .*'Prophet'"),
        ({"horizon": 6, "models": []}, "`models` must be names"),
    ],
)
def test_refuses(seasonal: Any, kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(seasonal, show_progress=False, **kwargs)


def test_refuses_what_is_not_a_series(seasonal: Any) -> None:
    with pytest.raises(ValueError, match="`series` must be a Darts `TimeSeries`, received ndarray"):
        compare(seasonal.values(), 6)


def test_takes_data_frames(seasonal: Any) -> None:
    arguments: Any = {"horizon": 6, "models": ["NaiveDrift"], "show_progress": False}
    expected = compare(seasonal, **arguments)
    frame = seasonal.to_dataframe()
    for given in (frame, frame["sales"], nw.from_native(frame.reset_index()).to_arrow()):
        found = compare(given, **arguments).forecasts
        pd.testing.assert_frame_equal(found, expected.forecasts, check_dtype=False)
    long = pd.concat([frame.assign(shop=shop) for shop in ("b", "a")]).reset_index()
    assert list(compare(long, **arguments).series) == ["b", "a"]


def test_the_seed_is_that_of_the_network(seasonal: Any, monkeypatch: Any) -> None:
    seeds = []

    def make(season: int, horizon: int, length: int, random_state: int) -> NaiveDrift:
        seeds.append(random_state)
        return NaiveDrift()

    monkeypatch.setitem(MODELS, "LSTMSeqModel", make)
    for seed in ({}, {"random_state": 1}):
        compare(seasonal, 6, ["LSTMSeqModel"], show_progress=False, **seed)
    assert seeds == [42, 1]
    with pytest.raises(ValueError, match="`random_state` must be an integer >= 0"):
        compare(seasonal, 6, random_state=-1)


def test_the_models_of_a_comparison_can_be_had(seasonal: Any) -> None:
    train, test = seasonal[:-6], seasonal[-6:]
    arguments: Any = {"horizon": 6, "folds": 1, "show_progress": False}
    names = ["ExponentialSmoothing", "NaiveSeasonal"]
    models = baseline_models(train, horizon=6)
    assert set(models) == set(MODELS) - {GLOBAL, FINE_TUNED, TUNED}
    found = compare(seasonal, models=names, **arguments).forecasts
    for name in names:
        expected = found["forecast"][found["model"] == name]
        forecast = models[name].fit(train).predict(6)
        np.testing.assert_allclose(forecast.values().ravel(), expected)
        assert forecast.time_index.equals(test.time_index)
    assert baseline_models(train[:20], 6)["NaiveSeasonal"].K == 1
    network = baseline_models(train, 6, random_state=3)["LSTMSeqModel"]
    assert network.model_params["random_state"] == 3


def test_takes_integers_of_numpy(seasonal: Any) -> None:
    horizon: Any = np.int64(6)
    scores = compare(seasonal, horizon, ["NaiveDrift"], folds=1, show_progress=False).scores
    assert scores["error"].isna().all()
