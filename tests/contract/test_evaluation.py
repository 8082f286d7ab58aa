"""Historical forecasts, backtests, residuals and grid searches, with and without retraining."""

from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries, concatenate
from darts.dataprocessing import Pipeline
from darts.dataprocessing.transformers import BoxCox, InvertibleMapper, Scaler
from darts.metrics import err, mae, mase, mse
from darts.utils.likelihood_models.torch import QuantileRegression
from makers import assert_near, sine
from pytorch_lightning.callbacks import EarlyStopping

from darts_lstm_seq import LSTMSeqModel


@pytest.fixture(scope="module")
def series() -> TimeSeries:
    return sine(90, level=20, scale=3)


@pytest.fixture(scope="module")
def fitted(tiny: dict[str, Any], series: TimeSeries) -> LSTMSeqModel:
    return LSTMSeqModel(12, 4, **tiny | {"n_epochs": 5}).fit(series[:60])


def assert_close(found: TimeSeries, expected: TimeSeries, **tolerance: Any) -> None:
    assert found.time_index.equals(expected.time_index)
    assert list(found.components) == list(expected.components)
    tolerance = {"atol": 1e-4, "rtol": 1e-4} | tolerance
    np.testing.assert_allclose(found.all_values(), expected.all_values(), **tolerance)


@pytest.mark.parametrize("horizon", [1, 4, 7])
@pytest.mark.parametrize("optimise", [True, False])
def test_without_retraining_it_is_a_loop_of_predictions(
    horizon: int, optimise: bool, fitted: LSTMSeqModel, series: TimeSeries
) -> None:
    arguments = {
        "series": series,
        "start": series.time_index[70],
        "forecast_horizon": horizon,
        "stride": 3,
        "retrain": False,
        "enable_optimization": optimise,
    }
    forecasts = fitted.historical_forecasts(last_points_only=False, **arguments)
    ends = range(70, 90 - horizon + 1, 3)
    assert len(forecasts) == len(ends)
    for end, forecast in zip(ends, forecasts, strict=True):
        assert_close(forecast, fitted.predict(horizon, series[:end]))
    last = fitted.historical_forecasts(last_points_only=True, **arguments)
    assert last.time_index.equals(pd.DatetimeIndex([f.end_time() for f in forecasts]))
    np.testing.assert_allclose(last.values(), [f.values()[-1] for f in forecasts], rtol=1e-4)


def test_without_retraining_with_everything(tiny: dict[str, Any]) -> None:
    many = [sine(70, width=2, seed=1), sine(80, width=2, seed=2)]
    static = pd.DataFrame({"size": [1.0, 2.0]})
    many = [series.with_static_covariates(static) for series in many]
    known = sine(100, name="known")
    covariates = {"past_covariates": [known] * 2, "future_covariates": [known] * 2}
    model = LSTMSeqModel(12, 4, likelihood=QuantileRegression([0.1, 0.5, 0.9]), **tiny)
    model.fit(many, **covariates)
    arguments = {
        "series": many,
        "start": 0.8,
        "forecast_horizon": 4,
        "retrain": False,
        "last_points_only": False,
        "predict_likelihood_parameters": True,
        "overlap_end": True,
        **covariates,
    }
    fast = model.historical_forecasts(enable_optimization=True, **arguments)
    slow = model.historical_forecasts(enable_optimization=False, **arguments)
    assert [len(forecasts) for forecasts in fast] == [len(forecasts) for forecasts in slow]
    for found, expected in zip(chain(*fast), chain(*slow), strict=True):
        assert_close(found, expected)


@pytest.mark.parametrize("freq", ["D", "MS", "h", "B", 1, 4])
def test_retrained_backtest_on_any_frequency(freq: str | int, tiny: dict[str, Any]) -> None:
    # with pandas 3.1, Darts 0.48.1 raises `Timedelta // Day` here for daily series, whatever the
    # model: this test guards the bound on pandas
    series = sine(40, freq)
    model = LSTMSeqModel(8, 3, **tiny)
    forecasts = model.historical_forecasts(series, start=series.time_index[34], forecast_horizon=2)
    assert forecasts.time_index.equals(series.time_index[35:])
    assert_near(forecasts, series)
    (residuals,) = model.residuals([series], start=series.time_index[36], forecast_horizon=2)
    assert residuals.time_index.equals(series.time_index[37:])
    assert_near(residuals, series)
    arguments = {"start": series.time_index[36], "forecast_horizon": 2, "metric": mae}
    assert 0 < model.backtest(series, **arguments) < 2  # the amplitude is 1


@pytest.mark.parametrize("train_length", [None, 40])
def test_each_fold_is_a_fit_of_its_own(
    train_length: int | None, tiny: dict[str, Any], series: TimeSeries
) -> None:
    model = LSTMSeqModel(12, 4, **tiny | {"n_epochs": 2})
    forecasts = model.historical_forecasts(
        series,
        start=series.time_index[80],
        stride=3,
        forecast_horizon=4,
        train_length=train_length,
        last_points_only=False,
        # Darts' own loop: each fold is one `fit` of a new model
        enable_optimization=False,
    )
    assert not model._fit_called
    assert len(forecasts) == 3
    for end, forecast in zip([80, 83, 86], forecasts, strict=True):
        past = series[:end] if train_length is None else series[end - train_length : end]
        by_hand = LSTMSeqModel(12, 4, **tiny | {"n_epochs": 2}).fit(past).predict(4)
        assert_close(forecast, by_hand)


@pytest.mark.slow
def test_retrained_folds_forecast_as_well_as_one_by_one(
    tiny: dict[str, Any], series: TimeSeries
) -> None:
    model = LSTMSeqModel(12, 4, **tiny | {"n_epochs": 15, "hidden_dim": 16})
    arguments = {"start": series.time_index[78], "stride": 2, "forecast_horizon": 4}
    errors = []
    for optimise in (True, False):
        forecasts = model.historical_forecasts(
            series, last_points_only=False, enable_optimization=optimise, **arguments
        )
        starts = [forecast.start_time() for forecast in forecasts]
        assert starts == list(series.time_index[78:87:2])
        errors.append(np.mean([mae(series, forecast) for forecast in forecasts]))
    # the folds' random numbers may differ, what they learn may not
    assert errors[0] == pytest.approx(errors[1], rel=0.3)


@pytest.mark.parametrize(
    ("retrain", "expected"),
    [
        (True, [0, 1, 2, 3, 4, 5, 6]),
        (3, [0, 3, 6]),
        (
            lambda counter, pred_time, train_series, past_covariates, future_covariates: (
                len(train_series) % 2 == 0
            ),
            [0, 2, 4, 6],
        ),
    ],
    ids=["always", "every third", "callable"],
)
def test_retrain_when_told(
    retrain: Any, expected: list[int], tiny: dict[str, Any], series: TimeSeries
) -> None:
    ends = [80 + i for i in range(7)]
    fits = []

    class Counting(LSTMSeqModel):
        def fit(self, series: Any, *args: Any, **kwargs: Any) -> LSTMSeqModel:
            fits.append(len(series[0] if isinstance(series, list) else series))
            return super().fit(series, *args, **kwargs)

    forecasts = Counting(12, 4, **tiny).historical_forecasts(
        series,
        start=series.time_index[80],
        forecast_horizon=4,
        retrain=retrain,
        last_points_only=False,
        enable_optimization=False,
        overlap_end=False,
    )
    assert len(forecasts) == len(ends)
    assert fits == [ends[i] for i in expected]
    # with the optimisation on, whatever it does, the folds stand where they stood
    again = LSTMSeqModel(12, 4, **tiny).historical_forecasts(
        series,
        start=series.time_index[80],
        forecast_horizon=4,
        retrain=retrain,
        last_points_only=False,
    )
    for forecast, other in zip(forecasts, again, strict=True):
        assert forecast.time_index.equals(other.time_index)


def test_val_length_holds_steps_back_for_early_stopping(
    tiny: dict[str, Any], series: TimeSeries
) -> None:
    stop = EarlyStopping("val_loss", patience=0, min_delta=10.0)
    trainer = tiny["pl_trainer_kwargs"] | {"callbacks": [stop]}
    seen = []

    class Watching(LSTMSeqModel):
        def fit(self, series: Any, *args: Any, **kwargs: Any) -> LSTMSeqModel:
            fitted = super().fit(series, *args, **kwargs)
            seen.append((series.end_time(), kwargs["val_series"].end_time(), self.epochs_trained))
            return fitted

    model = Watching(12, 4, **tiny | {"n_epochs": 20, "pl_trainer_kwargs": trainer})
    forecasts = model.historical_forecasts(
        series, start=series.time_index[84], stride=2, forecast_horizon=4, val_length=10
    )
    assert_near(forecasts, series)
    assert [ends for *ends, _ in seen] == [
        [series.time_index[end - 11], series.time_index[end - 1]] for end in (84, 86)
    ]
    assert max(epochs for *_, epochs in seen) < 20


@pytest.mark.parametrize("retrain", [True, False])
def test_data_transformers(retrain: bool, tiny: dict[str, Any], series: TimeSeries) -> None:
    known = sine(100, level=1e4, scale=100, name="known")
    model = LSTMSeqModel(12, 4, **tiny | {"n_epochs": 3})
    pipeline = Pipeline([BoxCox(lmbda=0.5), Scaler()])
    covariate_scaler = Scaler()
    if not retrain:
        model.fit(
            pipeline.fit_transform(series[:60]),
            future_covariates=covariate_scaler.fit_transform(known),
        )
    forecasts = model.historical_forecasts(
        series,
        future_covariates=known,
        start=series.time_index[84],
        stride=2,
        forecast_horizon=4,
        retrain=retrain,
        last_points_only=False,
        data_transformers={"series": pipeline, "future_covariates": covariate_scaler},
        enable_optimization=False,
    )
    for end, forecast in zip([84, 86], forecasts, strict=True):
        if retrain:
            outer, inner = Pipeline([BoxCox(lmbda=0.5), Scaler()]), Scaler()
            past = outer.fit_transform(series[:end])
            seen = inner.fit(known[: end + 4]).transform(known)
            by_hand = LSTMSeqModel(12, 4, **tiny | {"n_epochs": 3})
            by_hand.fit(past, future_covariates=seen)
        else:
            outer, by_hand, seen = pipeline, model, covariate_scaler.transform(known)
            past = outer.transform(series[:end])
        expected = outer.inverse_transform(by_hand.predict(4, past, future_covariates=seen))
        assert_close(forecast, expected, atol=2e-3)


def test_data_transformers_are_refitted_in_each_fold(
    tiny: dict[str, Any], series: TimeSeries
) -> None:
    lengths = []

    class Watching(Scaler):
        @staticmethod
        def ts_fit(series: Any, *args: Any, **kwargs: Any) -> Any:
            lengths.append(len(series))
            return Scaler.ts_fit(series, *args, **kwargs)

    LSTMSeqModel(12, 4, **tiny).historical_forecasts(
        series,
        start=series.time_index[84],
        forecast_horizon=4,
        data_transformers={"series": Watching()},
    )
    # Darts' loop runs twice where folds are trained together; neither time it looks ahead
    assert lengths == 2 * [84, 85, 86]


@pytest.mark.parametrize("apply_globally", [True, False])
def test_many_series_globally_or_each(apply_globally: bool, tiny: dict[str, Any]) -> None:
    many = [sine(60, seed=1), sine(50, seed=2).shift(5)]
    seen = []

    class Watching(LSTMSeqModel):
        def fit(self, series: Any, *args: Any, **kwargs: Any) -> LSTMSeqModel:
            seen.append(len(series) if isinstance(series, list) else 1)
            return super().fit(series, *args, **kwargs)

    forecasts = Watching(12, 4, **tiny).historical_forecasts(
        many,
        start=many[0].time_index[50],
        forecast_horizon=4,
        stride=3,
        apply_globally=apply_globally,
    )
    assert len(forecasts) == 2
    if apply_globally:
        assert set(seen) == {2}
        assert forecasts[0].time_index.equals(forecasts[1].time_index)
        assert forecasts[0].end_time() <= many[1].end_time()
    else:
        assert set(seen) == {1}
        assert forecasts[0].end_time() > many[1].end_time()


def test_backtest_and_residuals_agree_with_the_forecasts(
    fitted: LSTMSeqModel, series: TimeSeries
) -> None:
    arguments = {
        "series": series,
        "start": series.time_index[70],
        "forecast_horizon": 4,
        "retrain": False,
        "last_points_only": False,
    }
    forecasts = fitted.historical_forecasts(**arguments)
    expected = [[mae(series, forecast), mse(series, forecast)] for forecast in forecasts]
    found = fitted.backtest(metric=[mae, mse], reduction=None, **arguments)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    scaled = fitted.backtest(metric=mase, metric_kwargs={"m": 12}, reduction=np.median, **arguments)
    by_hand = [
        mase(series, forecast, series.drop_after(forecast.start_time()), m=12)
        for forecast in forecasts
    ]
    assert scaled == pytest.approx(np.median(by_hand), rel=1e-4)
    residuals = fitted.residuals(metric=err, **arguments)
    for found, forecast in zip(residuals, forecasts, strict=True):
        truth = series.slice_intersect(forecast)
        np.testing.assert_allclose(found.values(), truth.values() - forecast.values(), atol=1e-4)
    given = fitted.backtest(
        series=series,
        historical_forecasts=forecasts,
        last_points_only=False,
        metric=mae,
    )
    np.testing.assert_allclose(given, np.mean([row[0] for row in expected]), rtol=1e-4)


def test_probabilistic_backtest_with_retraining(tiny: dict[str, Any], series: TimeSeries) -> None:
    model = LSTMSeqModel(12, 4, likelihood=QuantileRegression([0.1, 0.5, 0.9]), **tiny)
    arguments = {"start": series.time_index[84], "forecast_horizon": 4}
    samples = model.historical_forecasts(series, num_samples=20, **arguments)
    assert samples.shape == (3, 1, 20)
    told = model.historical_forecasts(series, predict_likelihood_parameters=True, **arguments)
    assert list(told.components) == ["y0_q0.100", "y0_q0.500", "y0_q0.900"]
    assert (np.ptp(samples.all_values(), axis=2) > 0).all()


def test_sample_weights_in_backtests(tiny: dict[str, Any], series: TimeSeries) -> None:
    arguments = {"start": series.time_index[84], "forecast_horizon": 4}
    ones = series.with_values(np.ones_like(series.values()))
    unweighted, equal, linear = (
        LSTMSeqModel(12, 4, **tiny).historical_forecasts(series, sample_weight=weight, **arguments)
        for weight in (None, ones, "linear")
    )
    assert_close(equal, unweighted)
    assert_near(linear, series)
    assert not np.array_equal(linear.values(), unweighted.values())


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.cluster)])
def test_gridsearch(n_jobs: int, tiny: dict[str, Any], series: TimeSeries) -> None:
    fixed = {"output_chunk_length": 4, **tiny | {"n_epochs": 5}}
    grid = {"input_chunk_length": [6, 12], **{name: [value] for name, value in fixed.items()}}
    train, val = series[:-8], series[-8:]
    best, parameters, score = LSTMSeqModel.gridsearch(
        grid, train, val_series=val, metric=mae, n_jobs=n_jobs
    )
    by_hand = {
        length: mae(val, LSTMSeqModel(length, **fixed).fit(train).predict(8)) for length in (6, 12)
    }
    assert isinstance(best, LSTMSeqModel)
    assert score == pytest.approx(min(by_hand.values()), rel=1e-3)
    chosen = min(by_hand, key=lambda length: by_hand[length])
    assert best.input_chunk_length == parameters["input_chunk_length"] == chosen


def test_gridsearch_over_expanding_windows(tiny: dict[str, Any], series: TimeSeries) -> None:
    fixed = {"input_chunk_length": 6, "output_chunk_length": 4, **tiny}
    grid = {"n_rnn_layers": [1, 2], **{name: [value] for name, value in fixed.items()}}
    best, parameters, score = LSTMSeqModel.gridsearch(
        grid, series, forecast_horizon=4, start=0.95, stride=2, metric=mse
    )
    assert best.n_rnn_layers == parameters["n_rnn_layers"]
    by_hand = [
        LSTMSeqModel(n_rnn_layers=layers, **fixed).backtest(
            series, forecast_horizon=4, start=0.95, stride=2, metric=mse, last_points_only=False
        )
        for layers in (1, 2)
    ]
    assert score == pytest.approx(min(by_hand), rel=0.2)


def test_an_invertible_mapper_keeps_forecasts_positive(tiny: dict[str, Any]) -> None:
    series = sine(60).map(np.exp)
    mapper = InvertibleMapper(np.log, np.exp)
    forecasts = LSTMSeqModel(12, 4, **tiny).historical_forecasts(
        series,
        start=series.time_index[54],
        forecast_horizon=4,
        last_points_only=False,
        data_transformers={"series": mapper},
    )
    assert concatenate([forecasts[0]]).values().min() > 0
