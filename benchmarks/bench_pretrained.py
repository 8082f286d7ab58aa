"""Zero-shot forecasts of 1 and 1,000 series of 100 months against fitting `Theta` to each.

The work of a nightly run: from series in memory to forecasts of a year. 10,000 series are compared
with ten times 1,000.

Usage: `python benchmarks/bench_pretrained.py --threads 1`
"""

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.models import Theta
from harness import Case, main

from darts_lstm_seq import LSTMSeqModel

HORIZON, LENGTH = 12, 100


def make_series(count: int) -> list[TimeSeries]:
    """Return monthly series: a level, a trend and a season of their own, and noise."""
    rng = np.random.default_rng(0)
    steps = np.arange(LENGTH)
    dates = pd.date_range("2015-01-01", periods=LENGTH, freq="MS")
    season = rng.standard_normal((count, 12))[:, steps % 12]
    slope = rng.normal(0, 0.05, (count, 1))
    values = 50 + slope * steps + season + 0.5 * rng.standard_normal((count, LENGTH))
    return [TimeSeries(times=dates, values=row) for row in values]


def cases(device: str) -> list[Case]:
    """Return the comparisons."""
    series = make_series(10_000)
    model = LSTMSeqModel.from_pretrained()

    def ours(count: int) -> None:
        model.predict(HORIZON, series[:count], verbose=False)

    def theta(count: int) -> None:
        for target in series[:count]:
            Theta().fit(target).predict(HORIZON)

    def ten_times_1000() -> None:
        for _ in range(10):
            ours(1000)

    return [
        Case("1 series", lambda: ours(1), lambda: theta(1), "Darts Theta", 1.0),
        Case("1,000 series", lambda: ours(1000), lambda: theta(1000), "Darts Theta", 3.0),
        Case(
            "10,000 series",
            lambda: ours(10_000),
            ten_times_1000,
            "ten times 1,000",
            1.0,
        ),
    ]


if __name__ == "__main__":
    main(__file__, cases)
