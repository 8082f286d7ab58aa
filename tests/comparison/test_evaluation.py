"""The loop over folds: forecasts as from Darts' `historical_forecasts`, seconds as they passed.

Models that cannot be refitted like others (conformal models, ensembles of fitted models) are here
too.
"""

import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.models import (
    ARIMA,
    ConformalNaiveModel,
    LinearRegressionModel,
    NaiveDrift,
    NaiveEnsembleModel,
    NaiveSeasonal,
)
from darts.models.forecasting.forecasting_model import ForecastingModel
from makers import white_noise

from darts_lstm_seq import LSTMSeqModel, compare
from darts_lstm_seq.comparison import local_fit
from darts_lstm_seq.comparison.evaluation import Evaluated, Evaluation, Task
from darts_lstm_seq.comparison.inputs import Inputs

HORIZON = 6


def evaluate(series: TimeSeries, folds: int, model: ForecastingModel) -> Evaluated:
    return Evaluation(HORIZON, folds, {"m": model}).run(Task("m", {"key": Inputs(series)}))


def lstm(tiny: dict, **kwargs: Any) -> LSTMSeqModel:
    return LSTMSeqModel(12, HORIZON, **tiny, **kwargs)


def fitted_regression(series: TimeSeries) -> LinearRegressionModel:
    return LinearRegressionModel(lags=12, output_chunk_length=HORIZON).fit(series[:60])


MAKERS: dict[str, Callable[[TimeSeries, dict], ForecastingModel]] = {
    "LSTM": lambda series, tiny: lstm(tiny),
    "LSTM with dropout": lambda series, tiny: lstm(tiny | {"dropout": 0.5}),
    "ARIMA": lambda series, tiny: ARIMA(1, 1, 0),
    "naive": lambda series, tiny: NaiveSeasonal(K=12),
    "regression": lambda series, tiny: LinearRegressionModel(lags=12),
    "ensemble": lambda series, tiny: NaiveEnsembleModel([NaiveSeasonal(12), NaiveDrift()]),
    "ensemble of fitted models": lambda series, tiny: NaiveEnsembleModel(
        [fitted_regression(series), lstm(tiny).fit(series[:60])], train_forecasting_models=False
    ),
}


@pytest.mark.parametrize("name", MAKERS)
def test_forecasts_are_those_of_darts_loop(name: str, seasonal: TimeSeries, tiny: dict) -> None:
    model = MAKERS[name](seasonal, tiny)
    expected = model.historical_forecasts(
        seasonal,
        start=-3 * HORIZON,
        start_format="position",
        forecast_horizon=HORIZON,
        stride=HORIZON,
        retrain=True,
        last_points_only=False,
        enable_optimization=False,  # each fold trained on its own
    )
    scores, found, _ = evaluate(seasonal, 3, model)
    assert scores["error"].isna().all(), scores["error"].tolist()
    values = np.concatenate([forecast.values()[:, 0] for forecast in expected])
    np.testing.assert_allclose(found["forecast"], values, rtol=1e-4)
    assert found["time"].tolist() == [t for forecast in expected for t in forecast.time_index]
    assert found["fold"].tolist() == [fold for fold in (1, 2, 3) for _ in range(HORIZON)]


def test_a_conformal_model_keeps_the_model_it_calibrates(seasonal: TimeSeries) -> None:
    # a model that forecasts values near 0 wherever it is not refitted
    fitted = LinearRegressionModel(lags=3, output_chunk_length=HORIZON).fit(white_noise(500))
    model = ConformalNaiveModel(fitted, quantiles=[0.1, 0.5, 0.9], random_state=0)
    scores, found, _ = evaluate(seasonal, 2, model)
    assert scores["error"].isna().all(), scores["error"].tolist()
    # the median of symmetric intervals is that forecast, here estimated from samples
    expected = [fitted.predict(HORIZON, seasonal[:end]).values()[:, 0] for end in (108, 114)]
    assert np.abs(expected).max() < 50 < 100 < found["actual"].min()
    np.testing.assert_allclose(found["forecast"], np.concatenate(expected), atol=30)


def test_lstm_folds_are_predicted_once_and_fitted_together(
    seasonal: TimeSeries, tiny: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    predict, fit_in_stacks = LSTMSeqModel.predict, local_fit.fit_in_stacks

    def counting_predict(self: LSTMSeqModel, *args: Any, **kwargs: Any) -> Any:
        calls.append("predict")
        return predict(self, *args, **kwargs)

    def counting_fit(models: Any, arguments: Any) -> Any:
        calls.append(f"fit {[len(given['series']) for given in arguments]}")
        return fit_in_stacks(models, arguments)

    monkeypatch.setattr(LSTMSeqModel, "predict", counting_predict)
    monkeypatch.setattr(local_fit, "fit_in_stacks", counting_fit)
    start = perf_counter()
    scores, *_ = evaluate(seasonal, 3, lstm(tiny))
    wall = perf_counter() - start
    assert calls == ["fit [102, 108, 114]", "predict", "predict", "predict"]
    assert 0 < scores["predict_seconds"].item() < scores["fit_seconds"].item()
    assert scores["fit_seconds"].item() + scores["predict_seconds"].item() <= wall


def test_networks_of_several_series_are_fitted_together(
    seasonal: TimeSeries, tiny: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    fit_in_stacks = local_fit.fit_in_stacks

    def counting_fit(models: Any, arguments: Any) -> Any:
        sizes.append(len(models))
        return fit_in_stacks(models, arguments)

    monkeypatch.setattr(local_fit, "fit_in_stacks", counting_fit)
    monkeypatch.setattr(LSTMSeqModel, "folds_per_stack", 6)
    series = {
        "a": seasonal,
        "short": seasonal[:14],
        "b": seasonal[20:] * 3,
        "constant": seasonal * 0 + 5,
        "c": seasonal[:80] + 7,
        "infinite": seasonal.map(lambda x: np.where(x > 109, np.inf, x)),
        "d": seasonal[1:],
        "e": seasonal[2:],
    }
    inputs = {key: Inputs(given) for key, given in series.items()}
    settings = Evaluation(HORIZON, 2, {"lstm": lstm(tiny)})
    together = settings.run(Task("lstm", inputs))
    assert sizes == [6, 4]  # three series fail as soon as they are looked at
    alone = [settings.run(Task("lstm", {key: given})) for key, given in inputs.items()]
    expected = pd.concat([found.scores for found in alone], ignore_index=True)
    others = ["fit_seconds", "predict_seconds", "covariates"]
    pd.testing.assert_frame_equal(
        together.scores.drop(columns=others),
        expected.drop(columns=others),
        rtol=1e-3,
        check_dtype=False,
    )
    failed = together.scores.set_index("series")["error"].dropna()
    assert set(failed.index) == {"short", "constant", "infinite"}
    forecasts = pd.concat([found.forecasts for found in alone], ignore_index=True)
    np.testing.assert_allclose(
        together.forecasts["forecast"].to_numpy(float),
        forecasts["forecast"].to_numpy(float),
        rtol=1e-4,
    )


class Clocked(NaiveDrift):
    """Advances a clock by 2 seconds in `fit` and by 3 in `predict`; checks its class meanwhile."""

    now = 0.0

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        Clocked.now += 2
        assert Clocked.fit is FIT
        assert Clocked.predict is PREDICT
        return super().fit(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        Clocked.now += 3
        assert Clocked.predict is PREDICT
        assert "predict" not in vars(self)
        return super().predict(*args, **kwargs)


FIT, PREDICT = Clocked.fit, Clocked.predict


def test_seconds_are_those_of_fit_and_predict(
    seasonal: TimeSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_fit, "perf_counter", lambda: Clocked.now)
    scores, *_ = evaluate(seasonal, 4, Clocked())
    assert scores["error"].isna().all(), scores["error"].tolist()
    assert scores["fit_seconds"].tolist() == [4 * 2]
    assert scores["predict_seconds"].tolist() == [4 * 3]


def test_forecasts_that_miss_the_fold_are_an_error(seasonal: TimeSeries, tiny: dict) -> None:
    scores, found, _ = evaluate(seasonal, 2, lstm(tiny, output_chunk_shift=2))
    assert found.empty
    assert scores["error"].str.contains("2009-03.*2009-01.*without `output_chunk_shift`").all()


def test_a_model_that_needs_a_longer_series_has_an_error(seasonal: TimeSeries) -> None:
    model = LinearRegressionModel(lags=110)
    for folds, fails in ((1, False), (3, True)):
        scores, *_ = evaluate(seasonal, folds, model)
        assert scores["error"].notna().tolist() == [fails]


WEEK = np.tile([1.0, 5.0, 3.0, 2.0, 9.0, 4.0, 4.0], 20)


def test_a_series_that_repeats_exactly_has_no_mase_and_is_ranked_by_rmse() -> None:
    models = ["NaiveDrift", "NaiveSeasonal"]
    for scale in (1.0, 1e-9, 1 / 3):  # thirds leave rounding errors
        series = TimeSeries.from_values(WEEK * scale)
        found = compare(series, horizon=7, models=models, seasonality=7, show_progress=False)
        assert list(found.scores["model"]) == ["NaiveSeasonal", "NaiveDrift"]
        assert found.scores["MASE"].isna().all()
        assert found.scores[["sMAPE", "RMSE"]].notna().all(axis=None)
        assert found.scores["note"].str.contains("no MASE: before fold 1.* over 7 steps").all()
        assert found.scores["error"].isna().all()
        assert "RMSE" in found.plot().axes[0].get_title()


def test_a_fold_without_a_scale_is_not_left_out_of_the_mean() -> None:
    values = np.zeros(108)
    values[72:] = 500 + np.random.default_rng(0).normal(0, 10, 36)  # sold from step 72 on
    series = TimeSeries.from_values(values)
    found = compare(series, horizon=12, models=["NaiveDrift"], seasonality=12, show_progress=False)
    assert found.scores["MASE"].isna().all()
    assert "before fold 1, '0' does not change over 12 steps" in found.scores["note"][0]


def test_constant_components_are_left_out_of_mase_alone() -> None:
    noise = np.random.default_rng(0).normal(size=60)
    series = TimeSeries.from_values(noise)
    both = TimeSeries.from_values(np.stack([noise, np.full(60, 7.0)], axis=1))
    alone, stacked = (
        compare(target, horizon=5, models=["NaiveDrift"], show_progress=False).scores.iloc[0]
        for target in (series, both)
    )
    assert stacked["MASE"] == pytest.approx(alone["MASE"])
    assert stacked["RMSE"] == pytest.approx(alone["RMSE"] / 2)  # the mean over both
    assert stacked["note"] == "MASE leaves out constant components: 1"


def test_many_series_without_a_mase_are_counted_and_not_failed() -> None:
    series = {"a": TimeSeries.from_values(WEEK), "b": TimeSeries.from_values(WEEK * 2)}
    models = ["NaiveDrift", "NaiveSeasonal"]
    settings: dict[str, Any] = {"models": models, "seasonality": 7, "show_progress": False}
    found = compare(series, horizon=7, **settings).scores
    assert list(found["model"]) == ["NaiveSeasonal", "NaiveDrift"]  # by sMAPE
    assert found[["series", "failed"]].to_numpy().tolist() == [[2, 0], [2, 0]]
    assert list(found["note"]) == ["no MASE for 2 of 2 series"] * 2
    noise = TimeSeries.from_values(np.random.default_rng(0).normal(size=140))
    mixed = compare(series | {"c": noise}, horizon=7, **settings).scores
    only = compare(noise, horizon=7, **settings).scores
    assert mixed.set_index("model")["MASE"].to_dict() == pytest.approx(
        only.set_index("model")["MASE"].to_dict()
    )
    assert list(mixed["note"]) == ["no MASE for 2 of 3 series"] * 2


def test_what_fails_is_in_its_row_and_not_in_the_log(
    tiny: dict, caplog: pytest.LogCaptureFixture
) -> None:
    # Darts makes this logger when it is first needed, as in a process that has just started
    name = "darts.utils.data.torch_datasets.training_dataset"
    logging.root.manager.loggerDict.pop(name, None)
    models = {"lstm": LSTMSeqModel(30, HORIZON, **tiny)}
    task = Task("lstm", {"key": Inputs(white_noise(40))})
    scores = Evaluation(HORIZON, 1, models).run(task).scores
    assert "too short" in scores["error"].iloc[0]
    assert not caplog.records
