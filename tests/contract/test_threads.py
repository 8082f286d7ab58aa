"""Predictions of several threads are those of one, whatever the others do meanwhile."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from darts import TimeSeries
from darts.utils.likelihood_models.torch import GaussianLikelihood
from makers import sine

from darts_lstm_seq import LSTMSeqModel

N_THREADS, N_CALLS = 4, 60
# of different scale, so that a foreign scale shows
SERIES = [sine(60, level=10.0 * k, scale=k, seed=k) for k in range(1, 6)]
COVARIATES = [sine(80, seed=k, name="x") for k in range(1, 6)]


def requests(model: LSTMSeqModel) -> Iterator[dict[str, Any]]:
    """Yield arguments of `predict`, for ever."""
    for number in cycle(range(35)):
        index = number % len(SERIES)
        request: dict[str, Any] = {"n": (1, 3, 7)[number % 3], "series": SERIES[index]}
        if number % 7 == 0:
            request["series"] = SERIES
        if model.uses_past_covariates:
            many = number % 7 == 0
            request["past_covariates"] = COVARIATES if many else COVARIATES[index]
        if number % 5 == 0:
            request |= {"mc_dropout": True, "random_state": number}
        if model.likelihood is not None or model.n_members > 1:
            request |= {"num_samples": (1, 4)[number % 2], "random_state": number}
        yield request


def values(forecasts: Any) -> np.ndarray:
    forecasts = [forecasts] if isinstance(forecasts, TimeSeries) else forecasts
    return np.concatenate([forecast.all_values().ravel() for forecast in forecasts])


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"dropout": 0.5},
        {"likelihood": GaussianLikelihood(), "dropout": 0.5},
        {"n_members": 2},
        {"input_chunk_length": (4, 12)},
        {"use_reversible_instance_norm": False},
        {"covariates": True},
    ],
    ids=["plain", "dropout", "samples", "members", "short windows", "tutorial", "covariates"],
)
def test_threads_predict_what_one_thread_does(params: dict[str, Any], tiny: dict[str, Any]) -> None:
    params = dict(params)
    covariates = COVARIATES if params.pop("covariates", False) else None
    settings = {"input_chunk_length": 12, "output_chunk_length": 3} | tiny | params
    model = LSTMSeqModel(**settings).fit(SERIES, past_covariates=covariates)
    asked = [request for request, _ in zip(requests(model), range(N_CALLS), strict=False)]
    alone = [values(model.predict(**request)) for request in asked]
    stop = threading.Event()

    def fit_others() -> None:
        while not stop.is_set():
            LSTMSeqModel(**settings).fit(SERIES[0], covariates and covariates[0], epochs=1)

    with ThreadPoolExecutor(N_THREADS + 1) as pool:
        fits = pool.submit(fit_others)
        try:
            found = list(pool.map(lambda request: values(model.predict(**request)), asked))
        finally:
            stop.set()
        fits.result()
    for one_thread, several in zip(alone, found, strict=True):
        np.testing.assert_array_equal(several, one_thread)


def test_threads_encode_and_backtest_what_one_thread_does(tiny: dict[str, Any]) -> None:
    model = LSTMSeqModel(12, 3, **tiny).fit(SERIES)

    def work(number: int) -> np.ndarray:
        series = SERIES[number % len(SERIES)]
        if number % 2:
            return model.encode(series)
        return values(model.historical_forecasts(series, retrain=False, stride=5))

    alone = [work(number) for number in range(N_CALLS)]
    with ThreadPoolExecutor(N_THREADS) as pool:
        found = list(pool.map(work, range(N_CALLS)))
    for one_thread, several in zip(alone, found, strict=True):
        np.testing.assert_array_equal(several, one_thread)


def test_a_fit_beside_predictions_learns_what_it_does_alone(tiny: dict[str, Any]) -> None:
    params = dict(tiny) | {"likelihood": GaussianLikelihood(), "dropout": 0.5, "n_epochs": 8}
    model = LSTMSeqModel(12, 3, **params).fit(SERIES)
    alone = values(LSTMSeqModel(12, 3, **params).fit(SERIES[0]).predict(3))
    stop = threading.Event()

    def predict() -> None:
        while not stop.is_set():
            model.predict(3, SERIES[1], num_samples=5)

    with ThreadPoolExecutor(2) as pool:
        predictions = pool.submit(predict)
        try:
            fitted = pool.submit(LSTMSeqModel(12, 3, **params).fit, SERIES[0]).result()
        finally:
            stop.set()
        predictions.result()
    np.testing.assert_array_equal(values(fitted.predict(3)), alone)
