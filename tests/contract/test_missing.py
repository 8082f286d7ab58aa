"""Missing values are learnt around, infinite ones refused, short series taken through the mask."""

from typing import Any

import numpy as np
import pytest
from darts import TimeSeries
from darts.metrics import mae
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression
from makers import assert_near, following, sine, trainer_of, white_noise, with_gaps, with_value

from darts_lstm_seq import LSTMSeqModel

LAST = 60  # steps that the errors are measured on


def error(
    complete: TimeSeries, given: TimeSeries, tiny: dict[str, Any], past: TimeSeries | None = None
) -> float:
    """Train on what is given, forecast its end, and measure against what is complete."""
    model = LSTMSeqModel(
        24,
        6,
        optimizer_kwargs={"lr": 1e-2},
        **tiny | {"hidden_dim": 16, "n_epochs": 20},
    )
    model.fit(given[:-LAST], past_covariates=past)
    forecasts = model.historical_forecasts(
        given,
        past_covariates=past,
        start=-LAST,
        start_format="position",
        forecast_horizon=6,
        retrain=False,
        last_points_only=False,
    )
    return float(np.mean(mae([complete] * len(forecasts), forecasts)))


@pytest.mark.slow
def test_ten_percent_removed_cost_less_than_fifteen_percent(tiny: dict[str, Any]) -> None:
    complete, gappy = [], []
    for seed in range(3):
        series = sine(240, level=10, scale=2, seed=seed)
        kwargs = tiny | {"random_state": seed}
        complete.append(error(series, series, kwargs))
        gappy.append(error(series, with_gaps(series, 0.1, seed), kwargs))
    assert np.mean(complete) < 0.3  # 1.3 is what a flat line would be off by
    assert np.mean(gappy) < 1.15 * np.mean(complete)


@pytest.mark.slow
def test_past_covariates_with_a_tenth_removed(tiny: dict[str, Any]) -> None:
    # noise, of which the covariate knows the next values
    series = white_noise(300)
    told = series.shift(-6)
    blind = error(series, series, tiny)
    assert blind > 0.7
    assert error(series, series, tiny, past=with_gaps(told, 0.1)) < 0.7 * blind


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_weights_stay_whole_however_much_is_missing(share: float, tiny: dict[str, Any]) -> None:
    series = with_gaps(sine(120, width=3), share)
    model = LSTMSeqModel(24, 6, **tiny).fit(series)
    assert all(np.isfinite(w.detach().numpy()).all() for w in model.model.parameters())
    assert_near(model.predict(9), series)


@pytest.mark.parametrize("likelihood", [None, QuantileRegression([0.1, 0.5, 0.9]), "gaussian"])
@pytest.mark.parametrize("options", [{}, {"patch_length": 5}, {"shared_weights": True}])
def test_a_history_that_ends_in_gaps(
    likelihood: Any, options: dict[str, Any], tiny: dict[str, Any]
) -> None:
    likelihood = GaussianLikelihood() if likelihood == "gaussian" else likelihood
    series = sine(90, width=2, level=5)
    ending = with_value(with_value(series, slice(-3, None), component=0), -1)
    # trained with gaps or without any
    for training in (series, ending):
        model = LSTMSeqModel(12, 4, likelihood=likelihood, **options, **tiny).fit(training)
        forecast = model.predict(7, ending)
        assert forecast.time_index.equals(following(series, 7))
        assert_near(forecast, series, ranges=2)


def test_gaps_are_no_zeros(tiny: dict[str, Any]) -> None:
    """What is missing is bridged, so a forecast from a level of 1000 stays at that level."""
    series = sine(120, level=1000, scale=5)
    model = LSTMSeqModel(24, 6, **tiny | {"n_epochs": 10}).fit(with_gaps(series, 0.1))
    forecast = model.predict(6, with_value(series, [-1, -2, -5, -11]))
    np.testing.assert_allclose(forecast.values(), 1000, atol=20)


@pytest.mark.slow
def test_missing_labels_are_left_out_of_the_loss(tiny: dict[str, Any]) -> None:
    """A component without labels in the second half is learnt from the first half."""
    series = sine(160, width=2, noise=0.02)
    half = with_value(series, [i for i in range(80, 160) if i % 12 > 2], component=1)
    model = LSTMSeqModel(12, 4, **tiny | {"n_epochs": 40, "hidden_dim": 16}).fit(half)
    forecast = model.predict(4, series[:-4])
    assert mae(series[-4:], forecast) < 0.35


def test_missing_values_in_validation_and_weights(tiny: dict[str, Any]) -> None:
    series = with_gaps(sine(90), 0.1)
    weight = series.with_values(np.linspace(0, 1, 90, dtype="float32")[:, None])
    model = LSTMSeqModel(12, 4, **tiny)
    model.fit(series, val_series=series, sample_weight=weight, val_sample_weight=weight)
    losses = trainer_of(model).callback_metrics
    for name in ("train_loss", "val_loss"):  # in units of the spread
        assert 0 < float(losses[name]) < 2


def test_backtests_of_gappy_series(tiny: dict[str, Any]) -> None:
    series = with_gaps(sine(90), 0.1)
    model = LSTMSeqModel(12, 4, **tiny)
    for retrain in (True, False):
        if not retrain:
            model.fit(series[:60])
        forecasts = model.historical_forecasts(
            series, start=series.time_index[84], forecast_horizon=4, retrain=retrain
        )
        assert_near(forecasts, series)
        error = model.backtest(
            series,
            start=series.time_index[84],
            forecast_horizon=4,
            retrain=retrain,
            metric=mae,
        )
        assert 0 < error < 2  # the amplitude is 1


def test_windows_without_any_value_are_an_error(tiny: dict[str, Any]) -> None:
    series = [sine(60), with_value(sine(60, width=1), slice(20, 40))]
    with pytest.raises(ValueError, match=r"`series` at index 1 .*'y0'.*12 steps"):
        LSTMSeqModel(12, 4, **tiny).fit(series)
    model = LSTMSeqModel(12, 4, **tiny).fit(sine(60))
    with pytest.raises(ValueError, match=r"`series` at index 0 .*'y0'"):
        model.predict(4, with_value(sine(60), slice(-12, None)))
    # a gap before the last window does not matter
    np.testing.assert_array_equal(model.predict(4, series[1]).values(), model.predict(4).values())
    with pytest.raises(ValueError, match=r"`series` at index 0"):
        model.historical_forecasts(series[1], retrain=False, forecast_horizon=4)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("where", ["series", "past_covariates", "future_covariates"])
def test_infinite_values_are_an_error(value: float, where: str, tiny: dict[str, Any]) -> None:
    good = sine(60, width=2)
    values = good.values().copy()
    values[55, 1] = value
    bad = good.with_values(values)
    arguments = {
        "series": good,
        "past_covariates": sine(80, width=2, name="past"),
        "future_covariates": sine(80, width=2, name="future"),
    }
    broken = arguments | {where: bad if where == "series" else bad.append_values(values[:20] * 0)}
    match = rf"`{where}` at index 0 has an infinite value .*'y1', first at 2005-10-01"
    model = LSTMSeqModel(12, 4, **tiny)
    with pytest.raises(ValueError, match=match):
        model.fit(**broken)
    model.fit(**arguments)
    with pytest.raises(ValueError, match=match):
        model.predict(4, **broken)
    with pytest.raises(ValueError, match=match):
        model.historical_forecasts(retrain=False, start=-3, start_format="position", **broken)


def test_short_series_are_trained_on_and_predicted(tiny: dict[str, Any]) -> None:
    model = LSTMSeqModel((4, 24), 6, **tiny | {"n_epochs": 10})
    series = [sine(60, seed=1), sine(10, seed=2), sine(14, seed=3)]
    model.fit(series)
    short = sine(4, "D", level=100, scale=10)
    forecast = model.predict(8, short)
    assert forecast.time_index.equals(following(short, 8))
    assert np.isfinite(forecast.values()).all()
    assert np.abs(forecast.values() - 100).max() < 100
    with pytest.raises(ValueError, match=r"series.*(4|length)"):
        model.predict(8, short[:3])
    with pytest.raises(ValueError, match=r"`series` at index 1.*too short(?s:.)*\b9\b"):
        LSTMSeqModel((4, 24), 6, **tiny).fit([series[0], series[1][:9]])


def test_short_series_with_covariates_and_backtests(tiny: dict[str, Any]) -> None:
    model = LSTMSeqModel((4, 12), 3, **tiny)
    series = [sine(20, seed=1), sine(9, seed=2)]
    known = sine(30, name="known")
    covariates = {"past_covariates": [known] * 2, "future_covariates": [known] * 2}
    model.fit(series, **covariates)
    for target, forecast in zip(series, model.predict(5, series, **covariates), strict=True):
        assert_near(forecast, target)
    (first, second) = model.historical_forecasts(
        series, forecast_horizon=3, retrain=False, **covariates
    )
    assert_near(first, series[0])
    assert len(second) >= 1


@pytest.mark.slow
def test_a_longer_history_is_better_than_a_short_one(tiny: dict[str, Any]) -> None:
    """The mask says how much of a window is real, and what is real is used."""
    model = LSTMSeqModel((3, 24), 6, **tiny | {"n_epochs": 40, "hidden_dim": 16})
    model.fit([sine(120, noise=0.05, seed=seed) for seed in range(2)])
    errors = []
    for length in (4, 24):
        many = [sine(48, noise=0.05, seed=5)[start : start + 30] for start in range(12)]
        forecasts = model.predict(6, [series[24 - length : 24] for series in many])
        errors.append(np.mean(mae([series[24:] for series in many], forecasts)))
    assert errors[1] < 0.8 * errors[0]


def test_future_and_static_covariates_have_no_mask(tiny: dict[str, Any]) -> None:
    series = sine(60)
    known = with_value(sine(80, name="known"), 50)
    with pytest.raises(ValueError, match=r"`future_covariates` at index 0 has a missing value"):
        LSTMSeqModel(12, 4, **tiny).fit(series, future_covariates=known)
    # beyond what is used it does not matter
    later = with_value(sine(80, name="known"), 75)
    model = LSTMSeqModel(12, 4, **tiny).fit(series, future_covariates=later)
    assert_near(model.predict(4, future_covariates=later), series)
