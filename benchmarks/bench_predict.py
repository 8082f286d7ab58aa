"""Claim: a prediction costs little more than the network, for one series and for thousands.

python benchmarks/bench_predict.py [--threads 1] [--device cuda]
"""

from collections.abc import Iterator
from functools import partial

from bench_fit import fit, wave
from darts import TimeSeries
from darts.models import BlockRNNModel
from harness import Case, main

from darts_lstm_seq import LSTMSeqModel


def cases(device: str) -> Iterator[Case]:
    series = TimeSeries.from_values(wave(500).astype("float32"))
    ours = fit(LSTMSeqModel, series, 1, 256, device)
    darts = fit(BlockRNNModel, series, 1, 256, device, model="LSTM")
    peer = "Darts BlockRNN LSTM"

    yield Case(
        "predict one series, 12 steps, 30 times",
        lambda: [ours.predict(12) for _ in range(30)],
        lambda: [darts.predict(12) for _ in range(30)],
        peer,
        6.0,
    )
    for count in (500, 5000):
        many = [TimeSeries.from_values(wave(100, i).astype("float32")) for i in range(count)]
        yield Case(
            f"predict {count} series, 12 steps",
            partial(ours.predict, 12, series=many),
            partial(darts.predict, 12, series=many),
            peer,
            1.5,
        )
    for length in (1000, 10_000):
        long = TimeSeries.from_values(wave(length).astype("float32"))
        kwargs = {"series": long, "forecast_horizon": 12, "retrain": False}
        yield Case(
            f"historical forecasts without retraining, {length} points",
            partial(ours.historical_forecasts, **kwargs),
            partial(darts.historical_forecasts, **kwargs),
            peer,
            1.0,
        )


if __name__ == "__main__":
    main(__file__, cases)
