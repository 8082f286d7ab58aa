"""Placeholders of recorded folds have the shape of the forecasts whose place they take."""

from typing import Any

import pytest
from darts import TimeSeries
from darts.typing import TimeSeriesLike
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression
from darts.utils.ts_utils import series2seq
from makers import sine

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.model.recording import placeholder_forecasts


def assert_same_shape(placeholders: TimeSeriesLike, forecasts: TimeSeriesLike) -> None:
    assert type(placeholders) is type(forecasts)
    pairs = zip(series2seq(placeholders), series2seq(forecasts), strict=True)
    for placeholder, forecast in pairs:
        assert placeholder.time_index.equals(forecast.time_index)
        assert placeholder.time_index.name == forecast.time_index.name
        assert placeholder.components.equals(forecast.components)
        assert placeholder.n_samples == forecast.n_samples
        assert placeholder.dtype == forecast.dtype


@pytest.mark.parametrize("freq", ["MS", "B", 3])
@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize(
    ("params", "kwargs"),
    [
        ({}, {}),
        ({"output_chunk_shift": 2}, {"n": 3}),
        ({"likelihood": GaussianLikelihood()}, {"num_samples": 5}),
        (
            {"likelihood": GaussianLikelihood()},
            {"n": 3, "predict_likelihood_parameters": True},
        ),
        (
            {"likelihood": QuantileRegression([0.1, 0.5, 0.9])},
            {"n": 3, "predict_likelihood_parameters": True},
        ),
        ({"n_members": 2}, {"num_samples": 2}),
    ],
    ids=["plain", "shift", "samples", "parameters", "quantiles", "members"],
)
def test_placeholders_have_the_shape_of_forecasts(
    params: dict[str, Any],
    kwargs: dict[str, Any],
    several: bool,
    freq: str | int,
    tiny: dict[str, Any],
) -> None:
    series: TimeSeriesLike = sine(40, freq, width=2)
    if several:
        series = [series, sine(30, freq, width=2)]
    model = LSTMSeqModel(6, 3, **tiny | params).fit(series, epochs=1)
    arguments = {"n": 5, "series": series} | kwargs
    assert_same_shape(placeholder_forecasts(model, **arguments), model.predict(**arguments))


def test_placeholders_repeat_the_last_value_and_need_no_training(tiny: dict[str, Any]) -> None:
    series = sine(40, width=2)
    found = placeholder_forecasts(LSTMSeqModel(6, 3, **tiny), n=4, series=series)
    assert isinstance(found, TimeSeries)
    assert (found.values() == series.values()[-1]).all()
