"""Claim: the cost of a fit grows like the square root of the window, not like the window.

20 optimiser steps with batches of 32, set-up included, and one forecast, for windows of 24 to 8,192
steps: ours with its defaults, Darts' LSTM and NLinear, and a plain PyTorch loop around the LSTM,
all of them in turn in one process. Memory is by how much they raise the peak of a process of their
own, which has imported the packages before. What takes seconds is run once.

Usage: `python benchmarks/bench_length.py [--repeats 5] [--threads 1]`
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from darts import TimeSeries
from darts.models import BlockRNNModel, NLinearModel
from harness import QUIET_TRAINER, quiet, seconds, write
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from darts_lstm_seq import LSTMSeqModel

STEPS, BATCH, H = 20, 32, 32
WINDOWS, HORIZON = (24, 96, 336, 1024, 4096, 8192), 24
LONG_WINDOWS, LONG_HORIZON = (1024, 4096, 8192), 720
OURS = "LSTMSeqModel"
# the horizon changes little in the time of a recurrent network that reads one step after another
LONG_HORIZON_MODELS = (OURS, "Darts NLinear")
# a fit of more seconds is not repeated
ONCE = 2.0


def values(length: int, horizon: int) -> np.ndarray:
    """Return a noisy daily and weekly season with one training window for each row of a batch."""
    steps = np.arange(length + horizon + STEPS * BATCH - 1)
    noise = np.random.default_rng(0).standard_normal(len(steps))
    return np.sin(steps * 2 * np.pi / 24) + np.sin(steps * 2 * np.pi / 168) / 2 + noise / 10


def fit(cls: type, length: int, horizon: int, **kwargs: Any) -> Callable[[], Any]:
    """Fit a model of Darts and return its forecast, to be run."""
    model = cls(
        length,
        horizon,
        n_epochs=1,
        batch_size=BATCH,
        random_state=0,
        pl_trainer_kwargs={**QUIET_TRAINER, "accelerator": "cpu"},
        **kwargs,
    )
    model.fit(TimeSeries.from_values(values(length, horizon)))
    return partial(model.predict, horizon, verbose=False)


def plain_loop(length: int, horizon: int) -> Callable[[], Any]:
    series = torch.tensor(values(length, horizon), dtype=torch.float32)
    windows = series.unfold(0, length + horizon, 1)
    data = TensorDataset(windows[:, :length, None], windows[:, length:])
    lstm, linear = nn.LSTM(1, H, batch_first=True), nn.Linear(H, horizon)
    optimizer = torch.optim.Adam([*lstm.parameters(), *linear.parameters()])
    criterion = nn.MSELoss()
    for inputs, labels in DataLoader(data, batch_size=BATCH, shuffle=True):
        optimizer.zero_grad()
        out, _ = lstm(inputs)
        loss = criterion(linear(out[:, -1, :]), labels)
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def predict() -> Any:
        return linear(lstm(series[None, -length:, None])[0][:, -1])

    return predict


FITS: dict[str, Callable[[int, int], Callable[[], Any]]] = {
    OURS: partial(fit, LSTMSeqModel),
    "Darts BlockRNN LSTM": partial(fit, BlockRNNModel, model="LSTM", hidden_dim=H),
    "Darts NLinear": partial(fit, NLinearModel),
    "plain PyTorch loop": plain_loop,
}


def extra_bytes(name: str, length: int, horizon: int) -> int:
    """Return by how much a fit and a forecast raise the peak memory of this process (on Linux)."""

    def status(field: str) -> int:
        return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0]) * 1024

    before = status("VmRSS")
    FITS[name](length, horizon)()
    return status("VmHWM") - before


def measure(cases: list[tuple[str, int, int]], repeats: int) -> list[dict[str, Any]]:
    """Fit and forecast each case (model, window, horizon) in turn and return their rows."""
    fits: dict[tuple[str, int, int], list[float]] = {case: [] for case in cases}
    forecasts: dict[tuple[str, int, int], list[float]] = {case: [] for case in cases}
    for _ in range(repeats):
        for case, taken in fits.items():
            if taken and taken[0] > ONCE:
                continue
            name, length, horizon = case
            start = time.perf_counter()
            forecast = FITS[name](length, horizon)
            taken.append(time.perf_counter() - start)
            forecasts[case].append(min(seconds(forecast) for _ in range(3)))

    def times(case: tuple[str, int, int], other: tuple[str, int, int]) -> float:
        pairs = zip(fits[case], fits[other], strict=False)  # of neighbouring runs
        return round(median(seconds / of_other for seconds, of_other in pairs), 2)

    return [
        {
            "model": name,
            "window": length,
            "horizon": horizon,
            "fit_s": round(median(fits[name, length, horizon]), 3),
            "times_ours": times((name, length, horizon), (OURS, length, horizon)),
            "times_1024": times((name, length, horizon), (name, 1024, horizon)),
            "predict_s": round(median(forecasts[name, length, horizon]), 4),
            "repeats": len(fits[name, length, horizon]),
        }
        for name, length, horizon in cases
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Benchmark bench_length")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    quiet()
    torch.set_num_threads(args.threads)
    cases = [(name, length, HORIZON) for length in WINDOWS for name in FITS]
    cases += [
        (name, length, LONG_HORIZON) for length in LONG_WINDOWS for name in LONG_HORIZON_MODELS
    ]
    # processes that have the imports, and nothing else, of this one
    with get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        extra = [pool.apply(extra_bytes, case) for case in cases]
    for run in FITS.values():
        run(24, HORIZON)()  # warm-up
    rows = measure(cases, args.repeats)
    for row, more in zip(rows, extra, strict=True):
        row["extra_mb"] = round(more / 1e6, 1)
        print(row, flush=True)
    write("bench_length", rows)


if __name__ == "__main__":
    main()
