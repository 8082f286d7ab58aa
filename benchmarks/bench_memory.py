"""Claim: training needs at most three times the size of the data on top of it.

One series of 5 million float64 points, windows of 336 steps, a few training steps, each size in a
process of its own: the peak of the process with the fit, less the peak of one that only makes the
same series and imports the same packages, as a multiple of the data.

Usage: `python benchmarks/bench_memory.py`
"""

import os
import resource
import subprocess
import sys

from harness import QUIET_TRAINER, quiet, write

L, T, H = 336, 12, 32


def peak_bytes(points: int, fits: bool) -> int:
    """Return the peak resident memory of a process that makes the series and, maybe, fits it."""
    import numpy as np
    from darts import TimeSeries

    from darts_lstm_seq import LSTMSeqModel

    quiet()
    series = TimeSeries.from_values(np.sin(np.arange(points) / 5))
    if fits:
        trainer = {**QUIET_TRAINER, "max_steps": 5}
        model = LSTMSeqModel(L, T, hidden_dim=H, n_epochs=1, pl_trainer_kwargs=trainer)
        model.fit(series).predict(T)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_own_process(points: int, fits: bool) -> int:
    command = [sys.executable, __file__, str(points), str(int(fits))]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return int(out.stdout.split()[-1])


def main() -> None:
    rows = []
    for points in (500_000, 5_000_000):
        data = points * 8
        extra = in_own_process(points, True) - in_own_process(points, False)
        small = in_own_process(1000, True) - in_own_process(1000, False)
        rows.append(
            {
                "work": f"fit one series of {points} points, L {L}: peak memory above the data",
                "data_mb": round(data / 1e6, 1),
                "extra_mb": round(extra / 1e6, 1),
                "extra_of_a_fit_of_1000_points_mb": round(small / 1e6, 1),
                "times_the_data": round(extra / data, 2),
                "target": 3.0,
            }
        )
        print(rows[-1])
    write("bench_memory", rows)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(peak_bytes(int(sys.argv[1]), bool(int(sys.argv[2]))))
    else:
        main()
