"""Inside Darts' wrappers: ensembles, conformal and anomaly models, SHAP explanations, metrics."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from darts import TimeSeries, metrics
from darts.ad import ForecastingAnomalyModel, KMeansScorer, NormScorer
from darts.explainability import ShapExplainer
from darts.models import (
    ARIMA,
    ConformalNaiveModel,
    ConformalQRModel,
    ExponentialSmoothing,
    LinearRegressionModel,
    NaiveEnsembleModel,
    NaiveSeasonal,
    RegressionEnsembleModel,
)
from darts.models.forecasting.ensemble_model import EnsembleModel
from darts.models.forecasting.forecasting_model import ForecastingModel
from darts.utils.likelihood_models.torch import QuantileRegression
from makers import SEASON, following, sine, white_noise, with_value

from darts_lstm_seq import LSTMSeqModel

QUANTILES = [0.1, 0.5, 0.9]


@pytest.fixture(scope="module")
def series() -> TimeSeries:
    return sine(96, level=20, scale=3)


@pytest.fixture(scope="module")
def fitted(tiny: dict[str, Any], series: TimeSeries) -> LSTMSeqModel:
    return LSTMSeqModel(12, 4, **tiny | {"n_epochs": 30}).fit(series[:72])


def members(tiny: dict[str, Any]) -> list[ForecastingModel]:
    return [
        LSTMSeqModel(12, 4, **tiny | {"n_epochs": 10}),
        ARIMA(2, 0, 1),
        ExponentialSmoothing(seasonal_periods=SEASON),
        LinearRegressionModel(lags=SEASON, output_chunk_length=4),
    ]


def test_the_naive_ensemble_is_the_mean_of_its_members(
    tiny: dict[str, Any], series: TimeSeries
) -> None:
    ensemble = NaiveEnsembleModel(members(tiny)).fit(series)
    forecast = ensemble.predict(6)
    alone = [model.fit(series).predict(6).values() for model in members(tiny)]
    np.testing.assert_allclose(forecast.values(), np.mean(alone, axis=0), rtol=1e-4)
    assert forecast.time_index.equals(following(series, 6))


@pytest.mark.parametrize("historical", [False, True])
def test_the_regression_ensemble_weighs_its_members(
    historical: bool, tiny: dict[str, Any], series: TimeSeries
) -> None:
    models = [
        LSTMSeqModel(12, 4, **tiny | {"n_epochs": 10}),
        LinearRegressionModel(lags=SEASON, output_chunk_length=4),
    ]
    if not historical:  # local models cannot be asked for unretrained historical forecasts
        models += members(tiny)[1:3]
    ensemble = RegressionEnsembleModel(
        models,
        regression_train_n_points=24,
        train_using_historical_forecasts=historical,
    )
    forecast = ensemble.fit(series[:-6]).predict(6)
    assert forecast.time_index.equals(series.time_index[-6:])
    assert metrics.mae(series, forecast) < 1
    weights = ensemble.ensemble_model.model.coef_
    assert weights.size == len(models)


def test_ensembles_of_fitted_models_on_many_series(
    tiny: dict[str, Any], series: TimeSeries
) -> None:
    many = [series, sine(60, seed=4)]
    models = [LSTMSeqModel(12, 4, **tiny | {"random_state": seed}).fit(many) for seed in (1, 2)]
    ensemble = NaiveEnsembleModel(models, train_forecasting_models=False)
    forecasts = ensemble.predict(4, many)
    for target, forecast in zip(many, forecasts, strict=True):
        alone = [model.predict(4, target).values() for model in models]
        np.testing.assert_allclose(forecast.values(), np.mean(alone, axis=0), rtol=1e-4, atol=1e-5)
    errors = ensemble.backtest(
        many, retrain=False, start=0.9, forecast_horizon=4, metric=metrics.mae
    )
    assert 0 < errors[0] < 3 * 2  # amplitudes of 3 and 1
    assert 0 < errors[1] < 2


def test_ensembles_take_covariates_and_sample(tiny: dict[str, Any], series: TimeSeries) -> None:
    known = sine(120, name="known")
    models = [
        LSTMSeqModel(12, 4, likelihood=QuantileRegression(QUANTILES), **tiny),
        LinearRegressionModel(
            lags=12,
            lags_future_covariates=[0],
            output_chunk_length=4,
            likelihood="quantile",
            quantiles=QUANTILES,
        ),
    ]
    ensemble = NaiveEnsembleModel(models).fit(series, future_covariates=known)
    assert ensemble.predict(6, num_samples=10, future_covariates=known).shape == (6, 1, 10)
    told = ensemble.predict(4, predict_likelihood_parameters=True, future_covariates=known)
    assert told.shape == (4, 3, 1)


def test_an_ensemble_can_be_backtested_with_retraining(
    tiny: dict[str, Any], series: TimeSeries
) -> None:
    ensemble = NaiveEnsembleModel([LSTMSeqModel(12, 4, **tiny), NaiveSeasonal(SEASON)])
    forecasts = ensemble.historical_forecasts(
        series, start=series.time_index[90], forecast_horizon=4
    )
    assert forecasts.time_index.equals(series.time_index[93:])


@pytest.mark.parametrize("kind", ["naive", "regression"])
@pytest.mark.parametrize("clean", [False, True])
def test_ensembles_are_saved_and_loaded_in_safe_mode(
    kind: str, clean: bool, tiny: dict[str, Any], series: TimeSeries, tmp_path: Path
) -> None:
    ensemble: EnsembleModel
    if kind == "naive":
        ensemble = NaiveEnsembleModel(members(tiny))
    else:
        ensemble = RegressionEnsembleModel(members(tiny), regression_train_n_points=24)
    if clean:  # a cleaned ensemble must be told the series, which its local members cannot take
        ensemble.forecasting_models[1:3] = []
    expected = ensemble.fit(series).predict(6)
    path = str(tmp_path / "ensemble.pkl")
    ensemble.save(path, clean=clean)
    loaded = type(ensemble).load(path, trusted=False)
    forecast = loaded.predict(6, series if clean else None)
    np.testing.assert_allclose(forecast.values(), expected.values(), rtol=1e-5)
    assert forecast.time_index.equals(expected.time_index)


def test_conformal_intervals(fitted: LSTMSeqModel, series: TimeSeries, tmp_path: Path) -> None:
    model = ConformalNaiveModel(fitted, quantiles=QUANTILES, cal_length=30)
    told = model.predict(4, series, predict_likelihood_parameters=True)
    low, middle, high = told.values().T
    np.testing.assert_allclose(middle, fitted.predict(4, series).values()[:, 0], rtol=1e-4)
    assert (low < middle).all()
    assert (middle < high).all()
    assert model.predict(6, series, num_samples=20).shape == (6, 1, 20)
    tested = model.backtest(
        series,
        start=-12,
        forecast_horizon=4,
        metric=[metrics.mic, metrics.miw],
        metric_kwargs={"q_interval": (0.1, 0.9)},
        predict_likelihood_parameters=True,
        last_points_only=False,
    )
    assert 0 <= tested[0] <= 1
    path = str(tmp_path / "conformal.pkl")
    model.save(path)
    loaded = ConformalNaiveModel.load(path, trusted=False)
    again = loaded.predict(4, series, predict_likelihood_parameters=True)
    np.testing.assert_allclose(again.values(), told.values(), rtol=1e-5)


@pytest.mark.parametrize(("n_members", "rows"), [(1, 1), (2, 20)])
def test_equal_samples_are_computed_once(
    n_members: int, rows: int, tiny: dict[str, Any], series: TimeSeries
) -> None:
    """A conformal model asks every network for 500 samples, by default."""
    model = LSTMSeqModel(12, 4, n_members=n_members, **tiny | {"dropout": 0.5}).fit(series[:72])
    assert model.model is not None
    seen: list[int] = []
    model.model.network.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    assert model.predict(4, series, num_samples=20).shape == (4, 1, 20)
    assert sum(seen) == rows
    past = model.historical_forecasts(
        series, forecast_horizon=4, num_samples=20, retrain=False, last_points_only=False
    )
    assert all(forecast.n_samples == 20 for forecast in past)
    assert sum(seen) == rows * (1 + len(past))


def test_wrappers_that_ask_for_samples_take_models_with_dropout(
    tiny: dict[str, Any], series: TimeSeries
) -> None:
    model = LSTMSeqModel(12, 4, **tiny | {"dropout": 0.5})
    drawn = LinearRegressionModel(SEASON, output_chunk_length=4, likelihood="poisson")
    ensemble = NaiveEnsembleModel([model, drawn]).fit(series)
    assert (np.ptp(ensemble.predict(4, num_samples=20).all_values(), axis=2) > 0).all()
    conformal = ConformalNaiveModel(model.fit(series), quantiles=QUANTILES, cal_length=9)
    low, _, high = conformal.predict(4, series, predict_likelihood_parameters=True).values().T
    assert (low < high).all()


def test_conformal_quantile_regression(tiny: dict[str, Any], series: TimeSeries) -> None:
    base = LSTMSeqModel(
        12, 4, likelihood=QuantileRegression(QUANTILES), **tiny | {"n_epochs": 5}
    ).fit(series[:60])
    model = ConformalQRModel(base, quantiles=QUANTILES, cal_length=20)
    told = model.predict(4, series, predict_likelihood_parameters=True).values()
    assert (told[:, 0] < told[:, 2]).all()
    assert np.abs(told - 20).max() < 3 * 4  # around the level, by the amplitude


def test_the_anomaly_model_finds_what_was_put_there(
    fitted: LSTMSeqModel, series: TimeSeries, tiny: dict[str, Any]
) -> None:
    odd = with_value(series, 80, series.values()[80] + 15)
    model = ForecastingAnomalyModel(
        fitted, scorer=[NormScorer(), KMeansScorer(k=3, window=1, random_state=0)]
    )
    model.fit(series[:72], start=0.4)
    for scores in model.score(odd, start=0.7):
        # the step after it is odd, too, to a model that goes on from the last value
        assert scores.time_index[scores.values().argmax()] in series.time_index[80:82]
    untrained = ForecastingAnomalyModel(LSTMSeqModel(12, 1, **tiny), scorer=NormScorer())
    untrained.fit(series[:72], allow_model_training=True, start=0.4)
    truth = series.with_values((np.arange(96) == 80)[:, None].astype("float32"))
    quality = untrained.eval_metric(truth, odd, start=0.7, metric="AUC_ROC")
    assert min(quality.values()) > 0.9
    detected, forecasts = untrained.score(odd, start=0.7, return_model_prediction=True)
    assert detected.time_index.equals(forecasts.time_index)


def test_shap_explains_each_input(tiny: dict[str, Any]) -> None:
    target = white_noise(150)
    # the covariate tells the next value, so it must explain most
    told = target.shift(-1).with_columns_renamed("0", "told")
    model = LSTMSeqModel(
        4,
        1,
        use_reversible_instance_norm=False,  # by which each target value would act on all
        **tiny | {"n_epochs": 40, "hidden_dim": 16, "optimizer_kwargs": {"lr": 1e-2}},
    )
    model.fit(target, past_covariates=told)
    explainer = ShapExplainer(
        model,
        background_series=target[:-1],
        background_past_covariates=told,
        background_num_samples=10,
        shap_method="kernel",  # the default method compiles for ten seconds first
        batch_size=4096,
        test_stationarity=False,
    )
    result = explainer.explain(foreground_series=target[-20:-1], foreground_past_covariates=told)
    explained = result.get_explanation(horizon=1, component="0")
    strengths = dict(
        zip(explained.components, np.abs(explained.values()).mean(axis=0), strict=True)
    )
    assert max(strengths, key=lambda name: strengths[name]) == "told_pastcov_lag-1"
    assert len(strengths) == 8
    single = explainer.explain_single(target[-20:-1], foreground_past_covariates=told)
    assert single.get_explanation("0").shape == (1, 8, 1)


def test_metrics_take_the_forecasts(fitted: LSTMSeqModel, series: TimeSeries) -> None:
    forecast = fitted.predict(12, series[:-12])
    errors = series.slice_intersect(forecast).values() - forecast.values()
    assert metrics.mae(series, forecast) == pytest.approx(np.abs(errors).mean(), rel=1e-4)
    assert metrics.rmse(series, forecast) == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-4)
    assert 0 < metrics.smape(series, forecast) < 20
    variance = series.slice_intersect(forecast).values().var()
    expected = 1 - (errors**2).mean() / variance
    assert metrics.r2_score(series, forecast) == pytest.approx(expected, rel=1e-4)
    assert metrics.mase(series, forecast, series[:-12], m=1) < 2
    together = fitted.predict(4, [series[:-4], series[:-8]])
    assert len(metrics.mae([series, series], together)) == 2
