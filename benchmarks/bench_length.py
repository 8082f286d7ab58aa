"""Claim: the cost of a fit grows like the square root of the window, not like the window.

20 optimiser steps with batches of 32, set-up included, and one forecast, for windows of 24 to 8,192
steps: ours with its defaults, Darts' LSTM and NLinear, and a plain PyTorch loop around the LSTM,
all of them in turn in one process. Memory is the peak of a process with the fit and the forecast,
less the peak of one that only makes the same series and imports the same packages. What takes
seconds is run once.

Usage: `python benchmarks/bench_length.py [--repeats 5] [--threads 1]`
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
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


def peak_bytes(name: str, length: int, horizon: int) -> int:
    """Return the peak memory of this process, after a fit of the model or, if unknown, none."""
    quiet()
    series = TimeSeries.from_values(values(length, horizon))
    if name in FITS:
        FITS[name](length, horizon)()
    assert len(series) > length
    # Linux only; `ru_maxrss` would begin with that of the process that started this one
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def in_own_process(name: str, length: int, horizon: int) -> int:
    command = [sys.executable, __file__, "--peak", name, str(length), str(horizon)]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return int(out.stdout.split()[-1])


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
    parser.add_argument("--peak", nargs=3, help="the peak memory of one fit, in this process")
    args = parser.parse_args()
    if args.peak:
        print(peak_bytes(args.peak[0], int(args.peak[1]), int(args.peak[2])))
        return
    quiet()
    torch.set_num_threads(args.threads)
    for run in FITS.values():
        run(24, HORIZON)()  # warm-up
    cases = [(name, length, HORIZON) for length in WINDOWS for name in FITS]
    cases += [
        (name, length, LONG_HORIZON) for length in LONG_WINDOWS for name in LONG_HORIZON_MODELS
    ]
    rows = measure(cases, args.repeats)
    for row in rows:
        length, horizon = row["window"], row["horizon"]
        extra = in_own_process(row["model"], length, horizon)
        extra -= in_own_process("none", length, horizon)
        row["extra_mb"] = round(extra / 1e6, 1)
        print(row, flush=True)
    write("bench_length", rows)


if __name__ == "__main__":
    main()
