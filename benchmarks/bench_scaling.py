"""Cost of comparing many series: seconds and memory per series at 10, 100 and 1,000 of them.

Each series has 72 months, and is forecast by a briefly trained LSTM (10 epochs) and by Theta on two
folds of six months, so that the overhead of `compare` shows. There is no peer with the same job to
time. The table goes to `scaling.md`.
"""

import argparse
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import joblib
import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.models import Theta
from harness import quiet, write

from darts_lstm_seq import LSTMSeqModel, compare
from darts_lstm_seq.comparison.baselines import QUIET_TRAINER

_MONTHS = 72


def make_series(count: int) -> dict[str, TimeSeries]:
    """Make series with a season, a trend and noise of their own."""
    times = pd.date_range("2018-01-01", periods=_MONTHS, freq="MS")
    steps = np.arange(_MONTHS)
    series = {}
    for index in range(count):
        random = np.random.default_rng(index)
        season = random.uniform(2, 20) * np.sin(2 * np.pi * (steps / 12 + random.uniform()))
        values = 100 + random.normal(0, 0.5) * steps + season + random.normal(0, 1, _MONTHS)
        series[f"shop {index}"] = TimeSeries.from_times_and_values(times, values)
    return series


def peak_memory(_: int = 0) -> float:
    """Return the peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--n-jobs", type=int, nargs="+", default=[1, 2])
    parsed = parser.parse_args()
    quiet()
    lstm = LSTMSeqModel(24, 6, n_epochs=10, random_state=0, pl_trainer_kwargs=dict(QUIET_TRAINER))
    models = {"LSTMSeqModel": lstm, "Theta": Theta(seasonality_period=12)}
    rows = []
    for n_jobs in parsed.n_jobs:
        # starts the workers, which is not timed
        compare(make_series(2 * n_jobs), 6, models, 2, show_progress=False, n_jobs=n_jobs)
        for count in parsed.counts:
            series = make_series(count)
            with TemporaryDirectory() as out:
                start = time.perf_counter()
                result = compare(series, 6, models, 2, show_progress=False, n_jobs=n_jobs, out=out)
                seconds = time.perf_counter() - start
                size = sum(path.stat().st_size for path in Path(out).rglob("*.csv"))
            failed = result.per_series.dropna(subset=["error"])
            for _, row in failed.head(3).iterrows():
                print(row["series"], row["model"], row["error"], flush=True)
            peaks = joblib.Parallel(n_jobs)(joblib.delayed(peak_memory)(i) for i in range(n_jobs))
            rows.append(
                {
                    "series": count,
                    "n_jobs": n_jobs,
                    "seconds": round(seconds, 1),
                    "seconds per series": round(seconds / count, 3),
                    "MB per worker": round(max(peaks)),
                    "MB of the first process": round(peak_memory()),
                    "failed": len(failed),
                    "kB on disk per series": round(size / count / 1024, 1),
                }
            )
            print(rows[-1], flush=True)
    write("bench_scaling", rows)


if __name__ == "__main__":
    main()
