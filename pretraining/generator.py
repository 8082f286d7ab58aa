"""Synthetic series for pre-training: how months, quarters, years, ... of business data behave.

`generate` mixes the families of `processes.py` and adds what any series may have: outliers, working
days, rounding, gaps. Nothing is read from data. Which share each family has was chosen on real
series that no benchmark scores (`validate.py`).

Sources: exponential smoothing in state space form, Hyndman, Koehler, Ord and Snyder (2008);
seasonal ARIMA and the airline model, Box and Jenkins (1970); sums of Gaussian process kernels,
KernelSynth in Ansari et al., "Chronos" (2024), https://arxiv.org/abs/2403.07815, whose TSMixup is
the family `mixed`; trend, season and calendar as factors, Dooley et al., "ForecastPFN" (2023),
https://arxiv.org/abs/2311.01933; the wide choice of processes, Moroshan et al., "TempoPFN" (2025),
https://arxiv.org/abs/2510.25502; intermittent demand, Croston (1972).
"""

from collections.abc import Mapping

import numpy as np

from pretraining.processes import FAMILIES, log_uniform

# N series, L steps, M steps per season


MIXTURES: dict[int, dict[str, float]] = {
    1: {
        "smooth": 0.1,
        "responsive": 0.6,
        "structural": 0.03,
        "random_walk": 0.25,
        "mixed": 0.02,
    },
    4: {
        "smooth": 0.16,
        "responsive": 0.24,
        "cyclic": 0.2,
        "structural": 0.08,
        "arima": 0.08,
        "gaussian_process": 0.05,
        "random_walk": 0.05,
        "stationary": 0.05,
        "counts": 0.04,
        "mixed": 0.05,
    },
    12: {
        "smooth": 0.45,
        "responsive": 0.15,
        "structural": 0.1,
        "arima": 0.08,
        "gaussian_process": 0.04,
        "random_walk": 0.03,
        "stationary": 0.04,
        "counts": 0.04,
        "mixed": 0.07,
    },
    7: {
        "two_seasons": 0.35,
        "smooth": 0.2,
        "responsive": 0.05,
        "structural": 0.1,
        "arima": 0.08,
        "stationary": 0.05,
        "counts": 0.1,
        "mixed": 0.07,
    },
    24: {
        "two_seasons": 0.55,
        "smooth": 0.12,
        "structural": 0.08,
        "arima": 0.08,
        "stationary": 0.05,
        "counts": 0.05,
        "mixed": 0.07,
    },
    52: {
        "smooth": 0.4,
        "responsive": 0.1,
        "structural": 0.15,
        "arima": 0.1,
        "stationary": 0.08,
        "counts": 0.07,
        "mixed": 0.1,
    },
}


def _disturb(rng: np.random.Generator, series: np.ndarray, season: int) -> np.ndarray:
    """Add outliers, working days of months, rounding and a random unit."""
    count, length = series.shape
    if season == 12:
        days = np.array([31, 28.25, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
        start = rng.integers(0, 12, (count, 1))
        # trading days move from year to year, by up to one day in twenty
        moving = rng.integers(-1, 2, (count, length)) / 21 * 0.5
        factor = (days / days.mean())[(start + np.arange(length)) % 12] + moving
        has_calendar = (rng.random((count, 1)) < 0.15) & (series > 0)
        series = np.where(has_calendar, series * factor, series)
    spread = np.abs(np.diff(series, axis=1)).mean(1, keepdims=True)
    is_outlier = (rng.random((count, length)) < 1.5 / length) & (rng.random((count, 1)) < 0.12)
    series = series + is_outlier * rng.standard_t(3, (count, length)) * 4 * spread
    size = np.abs(series).mean(1, keepdims=True) + 1e-12
    unit = log_uniform(rng, 0.002, 0.05, count)[:, None] * size
    series = np.where(rng.random((count, 1)) < 0.1, np.round(series / unit) * unit, series)
    return series * (log_uniform(rng, 1, 1e4, count)[:, None] / size)


def _with_gaps(rng: np.random.Generator, series: np.ndarray, share: float) -> np.ndarray:
    """Let a share of the series miss single values, and some a run of them."""
    count, length = series.shape
    single = rng.random((count, length)) < rng.uniform(0, 0.2, (count, 1))
    start = rng.integers(0, length, (count, 1))
    step = np.arange(length)
    run = (step >= start) & (step < start + rng.integers(1, length // 4 + 2, (count, 1)))
    missing = np.where(rng.random((count, 1)) < 0.7, single, run)
    return np.where(missing & (rng.random((count, 1)) < share), np.nan, series)


def generate(
    season: int,
    count: int,
    length: int,
    seed: int,
    mixture: Mapping[str, float] | None = None,
    gaps: float = 0.05,
) -> np.ndarray:
    """Return series `(count, length)` with NaN where a value is missing.

    Parameters
    ----------
    season
        Number of steps M after which the season repeats itself; `1` for none.
    count
        Number of series N.
    length
        Number of steps L.
    seed
        Seed of everything random.
    mixture
        Share of each family by name; the default is `MIXTURES[season]`.
    gaps
        Share of series with missing values.

    Examples
    --------
    >>> from pretraining.generator import generate
    >>> generate(season=12, count=3, length=60, seed=0).shape
    (3, 60)
    """
    rng = np.random.default_rng((seed, season))
    shares = MIXTURES[season] if mixture is None else mixture
    names = list(shares)
    weights = np.array([shares[name] for name in names], float)
    family = rng.choice(len(names), size=count, p=weights / weights.sum())
    series = np.empty((count, length))
    for index, name in enumerate(names):
        rows = np.flatnonzero(family == index)
        for part in np.array_split(rows, max(len(rows) // 2000, 1)):  # bounds memory
            if len(part):
                series[part] = FAMILIES[name](rng, len(part), length, season)
    series = _disturb(rng, series, season)
    return _with_gaps(rng, series, gaps)
