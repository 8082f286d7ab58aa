"""Past, future and static covariates in all combinations, encoders, and shared weights."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries, concatenate
from darts.dataprocessing.transformers import Scaler, StaticCovariatesTransformer
from darts.metrics import mae
from darts.utils.timeseries_generation import datetime_attribute_timeseries
from makers import assert_near, following, sine, white_noise

from darts_lstm_seq import LSTMSeqModel

KINDS = ["past", "future", "static"]
COMBINATIONS = [
    [kind for kind, used in zip(KINDS, uses, strict=True) if used]
    for uses in product([False, True], repeat=3)
]
STATIC = pd.DataFrame({"size": [1.0, 5.0], "kind": [0.0, 1.0]})


def with_static(series: TimeSeries) -> TimeSeries:
    return series.with_static_covariates(STATIC.iloc[: series.width])


@pytest.mark.parametrize("kinds", COMBINATIONS, ids="-".join)
@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("shared_weights", [False, True])
def test_all_combinations(
    kinds: list[str], width: int, shared_weights: bool, tiny: dict[str, Any]
) -> None:
    series = [sine(40, width=width, seed=seed) for seed in range(2)]
    if "static" in kinds:
        series = [with_static(target) for target in series]
    # future covariates reach 9 steps further than the target, past covariates 6: what n=9 needs
    covariates = {
        f"{kind}_covariates": [
            sine(length, width=2, seed=9, level=100, scale=7, name=kind) for _ in series
        ]
        for kind, length in [("past", 46), ("future", 49)]
        if kind in kinds
    }
    model = LSTMSeqModel(6, 3, shared_weights=shared_weights, **tiny)
    model.fit(series, **covariates)
    for used, kind in zip(
        [model.uses_past_covariates, model.uses_future_covariates, model.uses_static_covariates],
        KINDS,
        strict=True,
    ):
        assert used == (kind in kinds)

    forecasts = model.predict(9, series, **covariates)
    for target, forecast in zip(series, forecasts, strict=True):
        assert forecast.time_index.equals(following(target, 9))
        assert forecast.shape == (9, width, 1)
        assert_near(forecast, target)
        if "static" in kinds:
            pd.testing.assert_frame_equal(forecast.static_covariates, target.static_covariates)
    for missing in covariates:
        rest = {name: given for name, given in covariates.items() if name != missing}
        with pytest.raises(ValueError, match=missing):
            model.predict(9, series, **rest)
    if kinds == ["past"]:  # past covariates are needed up to the last chunk only
        short = [covariate[:45] for covariate in covariates["past_covariates"]]
        with pytest.raises(ValueError, match="`past_covariates`"):
            model.predict(9, series, past_covariates=short)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["past", "future"])
@pytest.mark.parametrize("shift", [0, 2])
def test_a_covariate_that_tells_the_target_is_used(
    kind: str, shift: int, tiny: dict[str, Any]
) -> None:
    target = white_noise(250)
    # past covariates must tell it before the forecast starts
    told = 1000 + 50 * (target if kind == "future" else target.shift(-3 - shift))
    # long windows: their mean and scale say little about what comes next
    model = LSTMSeqModel(
        24,
        3,
        output_chunk_shift=shift,
        optimizer_kwargs={"lr": 1e-2},  # 240 steps are few for the default
        **tiny | {"n_epochs": 40, "hidden_dim": 16},
    )
    model.fit(target[:-40], **{f"{kind}_covariates": told})
    forecasts = model.historical_forecasts(
        target, start=-40, forecast_horizon=3, retrain=False, **{f"{kind}_covariates": told}
    )
    assert mae(target, forecasts) < 0.4  # 0.8 is the best without the covariate


@pytest.mark.slow
def test_static_covariates_tell_series_apart(tiny: dict[str, Any]) -> None:
    # one series answers each block of noise by rising, the other by falling
    blocks = white_noise(24 * 16).values().reshape(24, 16).copy()
    both = []
    for sign in (1, -1):
        blocks[:, 12:] = 2 * sign
        static = pd.DataFrame({"falls": [float(sign < 0)]})
        both.append(TimeSeries.from_values(blocks.ravel(), static_covariates=static))
    model = LSTMSeqModel(12, 4, **tiny | {"n_epochs": 200, "hidden_dim": 16})
    # the windows that start with a block
    model.fit(both, stride=16)
    up, down = model.predict(4, [series[:-4] for series in both])
    assert up.values().min() > 1
    assert down.values().max() < -1
    with pytest.raises(ValueError, match="static covariates"):
        model.predict(4, both[0].with_static_covariates(None))


def test_static_covariates_can_be_left_alone(tiny: dict[str, Any]) -> None:
    series = with_static(sine(40, width=2))
    model = LSTMSeqModel(6, 3, use_static_covariates=False, **tiny).fit(series)
    assert not model.uses_static_covariates
    other = series.with_static_covariates(STATIC * 100)
    np.testing.assert_array_equal(
        model.predict(3, series).values(), model.predict(3, other).values()
    )


def test_static_covariates_transformer(tiny: dict[str, Any]) -> None:
    labels = pd.DataFrame({"city": ["Bern", "Graz"], "size": [10.0, 500.0]})
    series = [
        sine(40, seed=row).with_static_covariates(labels.iloc[row : row + 1]) for row in (0, 1)
    ]
    with pytest.raises(ValueError, match="numeric static covariate"):
        LSTMSeqModel(6, 3, **tiny).fit(series)
    transformer = StaticCovariatesTransformer()
    model = LSTMSeqModel(6, 3, **tiny).fit(transformer.fit_transform(series))
    forecast = transformer.inverse_transform(model.predict(3, transformer.transform(series[1])))
    assert forecast.static_covariates["city"].tolist() == ["Graz"]
    assert_near(forecast, series[1])


def test_encoders_do_what_covariates_by_hand_do(tiny: dict[str, Any]) -> None:
    series = sine(60)
    reach = series.time_index.union(following(series, 3))
    by_hand = {
        "past_covariates": datetime_attribute_timeseries(series, "quarter", dtype=np.float32),
        "future_covariates": datetime_attribute_timeseries(
            reach, "month", cyclic=True, dtype=np.float32
        ),
    }
    encoders = {"datetime_attribute": {"past": ["quarter"]}, "cyclic": {"future": ["month"]}}
    encoded = LSTMSeqModel(6, 3, add_encoders=encoders, **tiny).fit(series)
    manual = LSTMSeqModel(6, 3, **tiny).fit(series, **by_hand)
    assert encoded.uses_past_covariates
    assert encoded.uses_future_covariates
    np.testing.assert_allclose(
        encoded.predict(3).values(), manual.predict(3, **by_hand).values(), atol=1e-5
    )


def year_since_1900(index: pd.DatetimeIndex) -> np.ndarray:
    return np.asarray(index.year) - 1900


def test_every_encoder_of_darts(tiny: dict[str, Any]) -> None:
    encoders = {
        "cyclic": {"past": ["month"], "future": ["quarter"]},
        "datetime_attribute": {"future": ["year", "dayofweek"]},
        "position": {"past": ["relative"], "future": ["relative"]},
        "custom": {"past": [year_since_1900]},
        "transformer": Scaler(),
        "tz": "CET",
    }
    series = [sine(40, "W", seed=1), sine(60, "W", seed=2)]
    known = sine(110, "W", name="known")
    model = LSTMSeqModel(6, 3, add_encoders=encoders, **tiny)
    model.fit(series, future_covariates=[known, known])
    forecast = model.predict(9, series[1], future_covariates=known)
    assert forecast.time_index.equals(following(series[1], 9))
    assert_near(forecast, series[1])
    backtest = model.historical_forecasts(
        series[1], future_covariates=known, start=-20, retrain=False, forecast_horizon=3
    )
    assert_near(backtest, series[1])


def test_shared_weights_forecast_each_component_on_its_own(tiny: dict[str, Any]) -> None:
    series = sine(60, width=3)
    # by default each component may also keep its own level
    norm = {"use_reversible_instance_norm": True}
    model = LSTMSeqModel(6, 3, shared_weights=True, **norm, **tiny).fit(series)
    forecast = model.predict(7, series).values()
    # the order of components does not matter
    turned = series.with_values(series.values()[:, [2, 0, 1]])
    np.testing.assert_allclose(model.predict(7, turned).values(), forecast[:, [2, 0, 1]], atol=1e-5)
    # nor does what the others do
    alone = series.values().copy()
    alone[:, 1:] = 7 - 3 * alone[:, 1:]
    other = model.predict(7, series.with_values(alone)).values()
    np.testing.assert_allclose(other[:, 0], forecast[:, 0], atol=1e-5)
    assert np.abs(other[:, 1:] - forecast[:, 1:]).max() > 0.1


@pytest.mark.slow
def test_without_shared_weights_components_inform_each_other(tiny: dict[str, Any]) -> None:
    # the second component tells the first three steps earlier
    first = white_noise(250)
    series = concatenate([first[:-3], first.shift(-3)[3:]], axis=1)
    errors = []
    for shared in (False, True):
        model = LSTMSeqModel(
            24,
            3,
            shared_weights=shared,
            **tiny | {"n_epochs": 40, "hidden_dim": 16, "optimizer_kwargs": {"lr": 1e-2}},
        )
        model.fit(series[:-40])
        forecasts = model.historical_forecasts(series, start=-40, forecast_horizon=3, retrain=False)
        errors.append(mae(series["0"], forecasts["0"]))
    assert errors[0] < errors[1] / 2


def test_covariates_longer_than_needed_are_cut(tiny: dict[str, Any]) -> None:
    series = sine(40)
    long = sine(80, name="known")
    early = (long + 1).shift(-20)
    model = LSTMSeqModel(6, 3, **tiny).fit(series, future_covariates=long)
    exact = long[:43]
    np.testing.assert_array_equal(
        model.predict(3, future_covariates=long).values(),
        model.predict(3, future_covariates=exact).values(),
    )
    assert not np.allclose(
        model.predict(3, future_covariates=early).values(),
        model.predict(3, future_covariates=long).values(),
    )
    assert len(concatenate([series, model.predict(3, future_covariates=long)])) == 43
