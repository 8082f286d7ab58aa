"""Monthly sales of shops of unequal length, that have a year's pattern and growth in common.

Each shop mixes three yearly patterns, grows at a rate of its own that drifts, loses a quarter of
one month's sales now and then, and has multiplicative noise. Lengths are uniform between 42 and 96
months, and all end in December 2024: short ones have two years before three folds of half a year.
"""

import numpy as np
import pandas as pd
from darts import TimeSeries


def make_shops(count: int = 300, seed: int = 0) -> dict[str, TimeSeries]:
    """Return the sales of shops by their names."""
    rng = np.random.default_rng(seed)
    patterns = 0.15 * rng.standard_normal((3, 12))  # of the logarithm
    patterns -= patterns.mean(axis=1, keepdims=True)
    shops = {}
    for number in range(count):
        length = int(rng.integers(42, 97))
        months = pd.date_range(end="2024-12-01", periods=length, freq="MS")
        pattern = rng.dirichlet(np.ones(3)) @ patterns * rng.uniform(0.7, 1.5)
        growth = np.cumsum(rng.normal(0.003, 0.01) + rng.normal(0, 0.005, length))
        closures = np.where(rng.random(length) < 0.02, -0.3, 0.0)
        noise = rng.normal(0, rng.uniform(0.03, 0.08), length)
        logarithm = rng.normal(4, 1) + pattern[months.month - 1] + growth + closures + noise
        values = np.round(np.exp(logarithm), 1)
        shops[f"shop {number:03}"] = TimeSeries.from_times_and_values(
            months, values, columns=["sales"]
        )
    return shops
