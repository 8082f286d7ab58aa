"""Claim: a prediction costs little more than the network, for one series and for thousands.

The network's forward pass is that of `ours`: the same windows, already normalised and in batches of
the model's size. What a prediction adds to it is the work on series, windows and scales.

python benchmarks/bench_predict.py [--threads 1] [--device cuda]
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from bench_fit import L, T, fit, wave
from darts import TimeSeries
from darts.models import BlockRNNModel
from harness import Case, main

from darts_lstm_seq import LSTMSeqModel

BATCH = 256
CALLS = 30
DARTS, NETWORK = "Darts BlockRNN LSTM", "the network's forward pass"


def forward(network: torch.nn.Module, batches: Sequence[torch.Tensor], calls: int = 1) -> None:
    """Run the network alone."""
    with torch.inference_mode():
        for _ in range(calls):
            for batch in batches:
                network(batch).cpu()


def in_batches(windows: np.ndarray, device: str) -> list[torch.Tensor]:
    """Return windows `(N, L)` as normalised batches `(B, L, 1)`."""
    x = torch.from_numpy(np.ascontiguousarray(windows))[..., None]
    x = (x - x.mean(dim=1, keepdim=True)) / x.std(dim=1, keepdim=True)
    return [batch.to(device) for batch in x.split(BATCH)]


def cases(device: str) -> Iterator[Case]:
    series = TimeSeries.from_values(wave(500).astype("float32"))
    ours = fit(LSTMSeqModel, series, 1, BATCH, device)
    darts = fit(BlockRNNModel, series, 1, BATCH, device, model="LSTM")
    # a prediction leaves the model's own network on the CPU
    network = fit(LSTMSeqModel, series, 1, BATCH, device).model.network.eval().to(device)

    one = partial(forward, network, in_batches(series.values()[None, -L:, 0], device), CALLS)
    work = f"predict one series, {T} steps"
    repeated = [lambda m=model: [m.predict(T) for _ in range(CALLS)] for model in (ours, darts)]
    yield Case(work, repeated[0], repeated[1], DARTS, 6.0, calls=CALLS)
    yield Case(work, repeated[0], one, NETWORK, 0.1, calls=CALLS)

    for count in (500, 5000):
        values = [wave(100, i).astype("float32") for i in range(count)]
        plain = [TimeSeries.from_values(one_series) for one_series in values]
        dates = pd.date_range("2001-01-01", periods=100, freq="MS")
        months = [TimeSeries(dates, one_series) for one_series in values]
        network_alone = partial(forward, network, in_batches(np.stack(values)[:, -L:], device))
        for many, suffix in ((plain, ""), (months, " of months")):
            work = f"predict {count} series{suffix}, {T} steps"
            predict = partial(ours.predict, T, series=many)
            yield Case(work, predict, partial(darts.predict, T, series=many), DARTS, 1.5)
            yield Case(work, predict, network_alone, NETWORK, 0.67)

    for length in (1000, 10_000):
        steps = wave(length).astype("float32")
        kwargs = {
            "series": TimeSeries.from_values(steps),
            "forecast_horizon": T,
            "retrain": False,
        }
        work = f"historical forecasts without retraining, {length} points"
        backtest = partial(ours.historical_forecasts, **kwargs)
        yield Case(work, backtest, partial(darts.historical_forecasts, **kwargs), DARTS, 1.0)
        windows = np.lib.stride_tricks.sliding_window_view(steps, L)[: length - L - T + 1]
        network_alone = partial(forward, network, in_batches(windows, device))
        yield Case(work, backtest, network_alone, NETWORK, 0.67)


if __name__ == "__main__":
    main(__file__, cases)
