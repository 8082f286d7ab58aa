"""Synthetic series for pre-training: how months, quarters, years, ... of business data behave.

Each family below draws many series at once from one stochastic process with random parameters;
`generate` mixes the families and adds what any series may have: outliers, level shifts, calendar
effects, rounding, gaps. Nothing is read from data. Which share each family has was chosen on real
series that no benchmark scores (`validate.py`).

Sources: exponential smoothing in state space form, Hyndman, Koehler, Ord and Snyder (2008); seasonal
ARIMA and the airline model, Box and Jenkins (1970); sums and products of Gaussian process kernels,
KernelSynth in Ansari et al., "Chronos" (2024), https://arxiv.org/abs/2403.07815, whose TSMixup is
`_mixed`; trend, season and calendar as factors, Dooley et al., "ForecastPFN" (2023),
https://arxiv.org/abs/2311.01933; the wide choice of processes, Moroshan et al., "TempoPFN" (2025),
https://arxiv.org/abs/2510.25502; intermittent demand, Croston (1972).
"""

from collections.abc import Callable, Mapping

import numpy as np

# N series, L steps, M steps per season, K harmonics

Family = Callable[[np.random.Generator, int, int, int], np.ndarray]
_LARGEST_LOG = 6.0  # no series grows or shrinks by more than exp(6)


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
    shares = dict(default_mixture(season) if mixture is None else mixture)
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


# ---------------------------------------------------------------------------------------------
# building blocks
# ---------------------------------------------------------------------------------------------


def _log_uniform(rng: np.random.Generator, low: float, high: float, count: int) -> np.ndarray:
    return np.exp(rng.uniform(np.log(low), np.log(high), count))


def _noise(rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    """Return noise of variance near 1, heavy-tailed in three of ten series, `(N, L)`."""
    normal = rng.standard_normal((count, length))
    heavy = rng.standard_t(3, (count, length)) / 1.7
    return np.where(rng.random((count, 1)) < 0.3, heavy, normal)


def _profile(rng: np.random.Generator, count: int, season: int) -> np.ndarray:
    """Return seasonal profiles of mean 0 and variance 1, smooth or spiky, `(N, M)`."""
    if season == 1:
        return np.zeros((count, 1))
    order = np.arange(1, season // 2 + 1)[:, None]  # (K, 1)
    angle = 2 * np.pi * order * np.arange(season) / season  # (K, M)
    decay = rng.uniform(0.5, 2.0, (count, 1, 1))
    phase = rng.uniform(0, 2 * np.pi, (count, len(order), 1))
    size = rng.standard_normal((count, len(order), 1)) / order**decay
    profile = (size * np.cos(angle + phase)).sum(1)  # (N, M)
    spiky = rng.standard_t(3, (count, season)) * rng.choice([0.0, 0.7], (count, 1), p=[0.65, 0.35])
    profile = profile / (profile.std(1, keepdims=True) + 1e-9) + spiky
    profile -= profile.mean(1, keepdims=True)
    return profile / (profile.std(1, keepdims=True) + 1e-9)


def _amplitude(rng: np.random.Generator, count: int, none: float = 0.2) -> np.ndarray:
    """Return sizes of the season in logarithms, `0` for a share `none`, `(N, 1)`."""
    amplitude = _log_uniform(rng, 0.01, 0.6, count)
    return np.where(rng.random(count) < none, 0.0, amplitude)[:, None]


def _to_values(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Turn a path near 0 into values: its exponential, itself above a level, or its sine hyperbolic."""
    x = np.clip(x, -_LARGEST_LOG, _LARGEST_LOG)
    kind = rng.random((len(x), 1))
    return np.where(kind < 0.6, np.exp(x), np.where(kind < 0.9, 5 + x, np.sinh(x)))


# ---------------------------------------------------------------------------------------------
# families
# ---------------------------------------------------------------------------------------------


def _smooth(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    alpha = rng.beta(1, 1.5, count)
    beta = rng.beta(1, 4, count) * 0.4
    phi = rng.choice([0.8, 0.9, 0.95, 0.98, 1.0], count)
    sigma = _log_uniform(rng, 10**-2.2, 10**-0.7, count)
    return _exponential_smoothing(rng, length, season, alpha, beta, phi, sigma)


def _responsive(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    alpha = rng.beta(2, 1.2, count)
    beta = rng.beta(1, 2, count) * 0.8
    phi = rng.choice([0.7, 0.8, 0.9, 0.95], count)
    sigma = _log_uniform(rng, 10**-2.6, 10**-0.9, count)
    return _exponential_smoothing(rng, length, season, alpha, beta, phi, sigma)


def _exponential_smoothing(
    rng: np.random.Generator,
    length: int,
    season: int,
    alpha: np.ndarray,
    beta: np.ndarray,
    phi: np.ndarray,
    sigma: np.ndarray,
) -> np.ndarray:
    """Level, damped trend and season with one source of error, and breaks of level and trend."""
    count = len(alpha)
    gamma = rng.beta(1, 6, count) * 0.5
    scale = 0.3 if season == 1 else 0.5
    trend = rng.normal(0, 0.6, count) / season * rng.choice([0.15, 1], count, p=[0.4, 0.6]) * scale
    level = np.zeros(count)
    profile = _amplitude(rng, count) * _profile(rng, count, season)  # (N, M)
    error = sigma[:, None] * _noise(rng, count, length)  # (N, L)
    observed = sigma * rng.choice([0, 0.5, 1], count)
    observation = observed[:, None] * rng.standard_normal((count, length))
    level_break = rng.random((count, length)) < 0.2 / length
    level_break = level_break * rng.normal(0, 4, (count, length)) * sigma[:, None]
    trend_break = rng.random((count, length)) < 0.3 / length
    trend_break = trend_break * rng.normal(0, 0.3, (count, length)) / season
    path = np.empty((count, length))
    for step in range(length):
        place = step % season
        e, s = error[:, step], profile[:, place]
        path[:, step] = level + phi * trend + s + e + observation[:, step]
        level = level + phi * trend + alpha * e + level_break[:, step]
        trend = phi * trend + alpha * beta * e + trend_break[:, step]
        profile[:, place] = s + gamma * (1 - alpha) * e
    return _to_values(rng, path)


def _structural(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    """Deterministic trends (broken lines, logistic growth, saturation), Fourier season, ARMA noise."""
    time = np.linspace(0, 1, length)
    reach = rng.normal(0, 1, (count, 1)) * rng.choice([0.1, 0.5, 1.0], (count, 1)) * (
        (length / season / 5) if season > 1 else 1.0
    ) ** 0.5
    knots = rng.uniform(0, 1, (count, 3, 1))
    turns = rng.normal(0, 1, (count, 3, 1)) * (rng.random((count, 3, 1)) < 0.3)
    line = reach * (time + (turns * np.maximum(time - knots, 0)).sum(1))
    steep = _log_uniform(rng, 3, 30, count)[:, None]
    logistic = 2 * reach / (1 + np.exp(-steep * (time - rng.uniform(-0.3, 1.3, (count, 1)))))
    saturating = reach * (1 - np.exp(-time / _log_uniform(rng, 0.05, 1, count)[:, None]))
    kind = rng.random((count, 1))
    trend = np.where(kind < 0.5, line, np.where(kind < 0.75, logistic, saturating))
    # the season's size moves slowly, and its shape turns into another one
    step = np.arange(length)
    first, second = (_profile(rng, count, season)[:, step % season] for _ in range(2))
    turning = rng.uniform(0, 1, (count, 1)) * (rng.random((count, 1)) < 0.4) * time
    growing = 1 + rng.normal(0, 0.5, (count, 1)) * (rng.random((count, 1)) < 0.4) * (time - 0.5)
    seasonal = _amplitude(rng, count) * growing * ((1 - turning) * first + turning * second)
    noise = _arma(rng, count, length) * _log_uniform(rng, 0.005, 0.25, count)[:, None]
    return _to_values(rng, trend - trend.mean(1, keepdims=True) * 0.5 + seasonal + noise)


def _arma(rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    """Return stationary ARMA(2, 1) noise of variance 1, `(N, L)`."""
    burn = 20
    # partial autocorrelations keep the process stationary
    first, second = rng.uniform(-0.3, 0.97, count), rng.uniform(-0.5, 0.5, count)
    second = second * (rng.random(count) < 0.4)
    one, two = first * (1 - second), second
    moving = rng.uniform(-0.8, 0.8, count) * (rng.random(count) < 0.5)
    e = _noise(rng, count, length + burn)
    x = np.zeros((count, length + burn))
    for step in range(2, length + burn):
        x[:, step] = one * x[:, step - 1] + two * x[:, step - 2] + e[:, step] + moving * e[:, step - 1]
    x = x[:, burn:]
    return x / (x.std(1, keepdims=True) + 1e-9)


def _arima(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    """Seasonal ARIMA: the airline model and its neighbours, integrated up to twice."""
    warm = 2 * season + 10
    total = length + warm
    e = _noise(rng, count, total)
    theta = rng.uniform(-0.2, 0.95, count)[:, None] * (rng.random((count, 1)) < 0.7)
    ar = rng.uniform(0, 0.9, count) * (rng.random(count) < 0.5)
    e[:, 1:] -= theta * e[:, :-1].copy()
    x = np.zeros((count, total))
    for step in range(1, total):
        x[:, step] = ar * x[:, step - 1] + e[:, step]
    is_seasonal = (rng.random(count) < 0.7) & (season > 1)
    if season > 1:
        big = rng.beta(4, 1.5, count)[:, None]
        after = x.copy()
        after[:, season:] -= big * x[:, :-season]
        for step in range(season, total):
            after[:, step] += after[:, step - season]
        seasonal_start = _profile(rng, count, season) * rng.gamma(1.0, 8.0, (count, 1))
        after = after + seasonal_start[:, np.arange(total) % season]
        x = np.where(is_seasonal[:, None], after, x)
    # a seasonal difference and a first difference make the airline model
    order = rng.choice([0, 1, 2], count, p=[0.2, 0.7, 0.1])
    order = np.where(is_seasonal & (order == 2), 1, order)
    drift = rng.normal(0, 0.3, (count, 1)) * (rng.random((count, 1)) < 0.5)
    if season > 1:
        # integrate what is left of the seasonal part only: its mean would become a trend
        x = np.where(is_seasonal[:, None], x - _rolling_mean(x, season), x)
        level = np.cumsum(e * (1 - 0.7 * rng.random((count, 1))), axis=1)
        x = np.where((is_seasonal & (order == 1))[:, None], x + level + drift * np.arange(total), x)
        plain = ~is_seasonal
    else:
        plain = np.ones(count, bool)
    once = np.cumsum(x + drift, axis=1)
    twice = np.cumsum(once * 0.1, axis=1)
    x = np.where((plain & (order == 1))[:, None], once, np.where((plain & (order == 2))[:, None], twice, x))
    x = x[:, warm:]
    x = (x - x[:, :1]) / (x.std(1, keepdims=True) + 1e-9)
    return _to_values(rng, x * _log_uniform(rng, 0.02, 0.8, count)[:, None])


def _rolling_mean(x: np.ndarray, season: int) -> np.ndarray:
    total = np.cumsum(np.pad(x, ((0, 0), (season, 0)), mode="edge"), axis=1)
    return (total[:, season:] - total[:, :-season]) / season


def _gaussian_process(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    """Sums and products of kernels: linear, squared exponential, Matern 1/2, periodic, noise."""
    path = np.empty((count, length))
    step = np.arange(length, dtype=float)
    gap = np.abs(step[:, None] - step)  # (L, L)
    for part in np.array_split(np.arange(count), max(count // 250, 1)):
        n = len(part)

        def column(values: np.ndarray) -> np.ndarray:
            return values[:, None, None]

        scale = column(_log_uniform(rng, 2, 2 * length, n))
        rough = column(_log_uniform(rng, 2, 4 * length, n))
        smooth = np.exp(-0.5 * (gap / scale) ** 2)
        matern = np.exp(-gap / rough)
        linear = (step[:, None] / length) * (step / length) * 4
        width = column(_log_uniform(rng, 0.3, 2, n))
        periodic = np.exp(-2 * np.sin(np.pi * gap / max(season, 2)) ** 2 / width**2)
        fading = np.exp(-0.5 * (gap / column(_log_uniform(rng, 2 * season, 20 * season, n))) ** 2)
        weight = lambda share: column(rng.gamma(1.0, 1.0, n) * (rng.random(n) < share))  # noqa: E731
        kernel = weight(0.6) * smooth + weight(0.6) * matern + weight(0.4) * linear
        if season > 1:
            kernel = kernel + weight(0.8) * periodic * fading
        kernel = kernel + column(_log_uniform(rng, 1e-4, 0.5, n)) * np.eye(length)
        root = np.linalg.cholesky(kernel + 1e-6 * np.eye(length))
        path[part] = (root @ rng.standard_normal((n, length, 1)))[..., 0]
    return _to_values(rng, path * _log_uniform(rng, 0.05, 0.8, count)[:, None])


def _counts(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    """Counts around a slowly moving mean, often zero (intermittent demand)."""
    mean = _smooth(rng, count, length, season)
    mean = np.abs(mean) / np.abs(mean).mean(1, keepdims=True)
    mean = mean * _log_uniform(rng, 0.5, 100, count)[:, None]
    shape = _log_uniform(rng, 1, 50, count)[:, None]
    rate = np.where(rng.random((count, 1)) < 0.5, mean, mean * rng.gamma(shape, 1 / shape, mean.shape))
    share = np.where(rng.random(count) < 0.3, rng.uniform(0.1, 0.9, count), 1.0)[:, None]
    return rng.poisson(np.minimum(rate, 1e6)) * (rng.random(mean.shape) < share) * 1.0


def _stationary(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    """Noise around one level, with or without a season: growth rates, temperatures."""
    step = np.arange(length)
    amplitude = np.where(rng.random(count) < 0.4, 0, _log_uniform(rng, 0.2, 5, count))[:, None]
    seasonal = amplitude * _profile(rng, count, season)[:, step % season]
    white = _noise(rng, count, length)
    noise = np.where(rng.random((count, 1)) < 0.6, _arma(rng, count, length), white)
    return rng.normal(0, 3, (count, 1)) + seasonal + noise


def _random_walk(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    """Random walks with and without drift, in values or logarithms: prices, rates."""
    e = _noise(rng, count, length)
    calm = 1 + 0.7 * np.sin(np.cumsum(rng.normal(0, 0.2, (count, length)), axis=1))
    e = e * np.where(rng.random((count, 1)) < 0.3, calm, 1)
    drift = rng.normal(0, 0.5, (count, 1)) * (rng.random((count, 1)) < 0.5)
    sigma = _log_uniform(rng, 0.003, 0.15, count)[:, None]
    return _to_values(rng, sigma * np.cumsum(e + drift, axis=1))


def _mixed(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    """Weighted sums of two or three series of other families."""
    names = [name for name in FAMILIES if name not in ("mixed", "counts")]
    total = np.zeros((count, length))
    for position in range(3):
        family = rng.integers(len(names), size=count)
        drawn = np.empty((count, length))
        for index, name in enumerate(names):
            rows = np.flatnonzero(family == index)
            if len(rows):
                drawn[rows] = FAMILIES[name](rng, len(rows), length, season)
        drawn /= np.abs(drawn).mean(1, keepdims=True) + 1e-9
        weight = rng.gamma(1.5, 1, (count, 1)) * (1 if position < 2 else rng.random((count, 1)) < 0.4)
        total += weight * drawn
    return total


def _two_seasons(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    """A season within a longer one: days in a week and hours in a day, weeks in a year."""
    longer = season * {7: 52, 24: 7}.get(season, 4)
    step = np.arange(length) + rng.integers(0, longer, (count, 1))
    inner = np.take_along_axis(_profile(rng, count, season), step % season, 1)
    order = np.arange(1, 4)[:, None, None]
    phase = rng.uniform(0, 2 * np.pi, (3, count, 1))
    size = rng.standard_normal((3, count, 1)) / order
    outer = (size * np.cos(2 * np.pi * order * step / longer + phase)).sum(0)
    if season == 24:  # weekends are their own days
        weekend = (step // 24) % 7 >= 5
        other = np.take_along_axis(_profile(rng, count, season), step % season, 1)
        share = rng.uniform(0, 1, (count, 1)) * weekend
        inner = (1 - share) * inner + share * other - weekend * rng.gamma(1, 0.5, (count, 1))
    amplitude, larger = _amplitude(rng, count, 0.05), _amplitude(rng, count, 0.3)
    noise = _arma(rng, count, length) * _log_uniform(rng, 0.01, 0.3, count)[:, None]
    wander = np.cumsum(rng.standard_normal((count, length)), 1) * _log_uniform(rng, 1e-4, 0.03, count)[:, None]
    return _to_values(rng, amplitude * inner + larger * outer + noise + wander)


FAMILIES: dict[str, Family] = {
    "smooth": _smooth,
    "responsive": _responsive,
    "structural": _structural,
    "arima": _arima,
    "gaussian_process": _gaussian_process,
    "random_walk": _random_walk,
    "stationary": _stationary,
    "counts": _counts,
    "two_seasons": _two_seasons,
    "mixed": _mixed,
}


def default_mixture(season: int) -> dict[str, float]:
    """Return the share of each family for a season."""
    return MIXTURES.get(season, MIXTURES[12])


MIXTURES: dict[int, dict[str, float]] = {
    1: {"smooth": 0.1, "responsive": 0.9},
    4: {"smooth": 0.2, "responsive": 0.8},
    12: {"smooth": 0.9, "responsive": 0.1},
}


# ---------------------------------------------------------------------------------------------
# what any series may have
# ---------------------------------------------------------------------------------------------


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
    unit = _log_uniform(rng, 0.002, 0.05, count)[:, None] * size
    series = np.where(rng.random((count, 1)) < 0.1, np.round(series / unit) * unit, series)
    return series * (_log_uniform(rng, 1, 1e4, count)[:, None] / size)


def _with_gaps(rng: np.random.Generator, series: np.ndarray, share: float) -> np.ndarray:
    """Let a share of the series miss single values, and some a run of them."""
    count, length = series.shape
    single = rng.random((count, length)) < rng.uniform(0, 0.2, (count, 1))
    start = rng.integers(0, length, (count, 1))
    step = np.arange(length)
    run = (step >= start) & (step < start + rng.integers(1, length // 4 + 2, (count, 1)))
    missing = np.where(rng.random((count, 1)) < 0.7, single, run)
    return np.where(missing & (rng.random((count, 1)) < share), np.nan, series)
