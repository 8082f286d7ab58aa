"""Families of synthetic series: stochastic processes with random parameters, many series at once.

Each family returns series `(N, L)`. Mixing them, and what any series may have besides, is in
`generator.py`, with the sources.
"""

from collections.abc import Callable

import numpy as np

# N series, L steps, M steps per season, K harmonics

Family = Callable[[np.random.Generator, int, int, int], np.ndarray]
_LARGEST_LOG = 6.0  # no series grows or shrinks by more than exp(6)
_TURNED = 0.4  # share of falling series that are turned over: seven of ten then rise


def log_uniform(rng: np.random.Generator, low: float, high: float, count: int) -> np.ndarray:
    """Return numbers `(N,)` whose logarithms are uniform."""
    return np.exp(rng.uniform(np.log(low), np.log(high), count))


def draw_noise(rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    """Return noise of variance near 1, heavy-tailed in three of ten series, `(N, L)`."""
    normal = rng.standard_normal((count, length))
    heavy = rng.standard_t(3, (count, length)) / 1.7
    return np.where(rng.random((count, 1)) < 0.3, heavy, normal)


def draw_profiles(rng: np.random.Generator, count: int, season: int) -> np.ndarray:
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


def draw_amplitudes(rng: np.random.Generator, count: int, none: float = 0.2) -> np.ndarray:
    """Return sizes of the season in logarithms, `0` for a share `none`, `(N, 1)`."""
    amplitude = log_uniform(rng, 0.01, 0.6, count)
    return np.where(rng.random(count) < none, 0.0, amplitude)[:, None]


def to_values(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Turn a path near 0 into values: exp(x), 5 + x, sinh(x), or an inverse Box-Cox transform.

    The last lies between the first two, and is the most frequent: growth seldom keeps its rate for
    long. Of the falling paths some are turned over, for business grows more often than it shrinks.
    """
    half = x.shape[1] // 2
    falls = x[:, half:].mean(1, keepdims=True) < x[:, :half].mean(1, keepdims=True)
    x = np.where(falls & (rng.random((len(x), 1)) < _TURNED), -x, x)
    x = np.clip(x, -_LARGEST_LOG, _LARGEST_LOG)
    power = rng.uniform(0.1, 0.9, (len(x), 1))
    between = np.maximum(1 + power * x, 0.01) ** (1 / power)
    kind = rng.random((len(x), 1))
    return np.select(
        [kind < 0.25, kind < 0.55, kind < 0.6], [np.exp(x), 5 + x, np.sinh(x)], between
    )


def _smooth(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    """Draw months of business: a smooth level, a trend with little damping."""
    alpha = rng.beta(1, 1.5, count)
    beta = rng.beta(1, 4, count) * 0.4
    phi = rng.choice([0.8, 0.9, 0.95, 0.98, 1.0], count)
    sigma = log_uniform(rng, 10**-2.2, 10**-0.7, count)
    return to_values(rng, _exponential_smoothing(rng, length, season, alpha, beta, phi, sigma))


def _responsive(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    """Draw quarters and years: level and trend follow the newest values, trends are damped."""
    return to_values(rng, _responsive_path(rng, count, length, season))


def _responsive_path(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    alpha = rng.beta(2, 1.2, count)
    beta = rng.beta(1, 2, count) * 0.8
    phi = rng.choice([0.7, 0.8, 0.9, 0.95], count)
    sigma = log_uniform(rng, 10**-2.6, 10**-0.9, count)
    return _exponential_smoothing(rng, length, season, alpha, beta, phi, sigma)


def _cyclic(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    """Draw business cycles of three to twelve years around the paths of `_responsive`."""
    frequency = 2 * np.pi / (log_uniform(rng, 3, 12, count) * season)
    radius = rng.uniform(0.6, 0.97, count) ** (1 / season)
    burn = 10 * season
    e = draw_noise(rng, count, length + burn)
    x = np.zeros((count, length + burn))
    for step in range(2, length + burn):
        x[:, step] = (
            2 * radius * np.cos(frequency) * x[:, step - 1]
            - radius**2 * x[:, step - 2]
            + e[:, step]
        )
    cycle = x[:, burn:] / (x.std(1, keepdims=True) + 1e-9)
    size = log_uniform(rng, 0.01, 0.4, count)[:, None]
    return to_values(rng, _responsive_path(rng, count, length, season) + size * cycle)


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
    profile = draw_amplitudes(rng, count) * draw_profiles(rng, count, season)  # (N, M)
    error = sigma[:, None] * draw_noise(rng, count, length)  # (N, L)
    observed = sigma * rng.choice([0, 0.5, 1], count)
    observation = observed[:, None] * rng.standard_normal((count, length))
    breaks = rng.random((count, length)) < 0.2 / length
    level_break = breaks * rng.normal(0, 4, (count, length)) * sigma[:, None]
    breaks = rng.random((count, length)) < 0.3 / length
    trend_break = breaks * rng.normal(0, 0.3, (count, length)) / season
    path = np.empty((count, length))
    for step in range(length):
        place = step % season
        e, s = error[:, step], profile[:, place]
        path[:, step] = level + phi * trend + s + e + observation[:, step]
        level = level + phi * trend + alpha * e + level_break[:, step]
        trend = phi * trend + alpha * beta * e + trend_break[:, step]
        profile[:, place] = s + gamma * (1 - alpha) * e
    return path


def _structural(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    """Draw broken lines, logistic growth or saturation, with a Fourier season and ARMA noise."""
    time = np.linspace(0, 1, length)
    reach = (
        rng.normal(0, 1, (count, 1))
        * rng.choice([0.1, 0.5, 1.0], (count, 1))
        * ((length / season / 5) if season > 1 else 1.0) ** 0.5
    )
    knots = rng.uniform(0, 1, (count, 3, 1))
    turns = rng.normal(0, 1, (count, 3, 1)) * (rng.random((count, 3, 1)) < 0.3)
    line = reach * (time + (turns * np.maximum(time - knots, 0)).sum(1))
    steep = log_uniform(rng, 3, 30, count)[:, None]
    logistic = 2 * reach / (1 + np.exp(-steep * (time - rng.uniform(-0.3, 1.3, (count, 1)))))
    saturating = reach * (1 - np.exp(-time / log_uniform(rng, 0.05, 1, count)[:, None]))
    kind = rng.random((count, 1))
    trend = np.where(kind < 0.5, line, np.where(kind < 0.75, logistic, saturating))
    # the season's size moves slowly, and its shape turns into another one
    step = np.arange(length)
    first, second = (draw_profiles(rng, count, season)[:, step % season] for _ in range(2))
    turning = rng.uniform(0, 1, (count, 1)) * (rng.random((count, 1)) < 0.4) * time
    growing = 1 + rng.normal(0, 0.5, (count, 1)) * (rng.random((count, 1)) < 0.4) * (time - 0.5)
    seasonal = draw_amplitudes(rng, count) * growing * ((1 - turning) * first + turning * second)
    noise = _arma(rng, count, length) * log_uniform(rng, 0.005, 0.25, count)[:, None]
    return to_values(rng, trend - trend.mean(1, keepdims=True) * 0.5 + seasonal + noise)


def _arma(rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    """Return stationary ARMA(2, 1) noise of variance 1, `(N, L)`."""
    burn = 20
    # partial autocorrelations keep the process stationary
    first, second = rng.uniform(-0.3, 0.97, count), rng.uniform(-0.5, 0.5, count)
    second = second * (rng.random(count) < 0.4)
    one, two = first * (1 - second), second
    moving = rng.uniform(-0.8, 0.8, count) * (rng.random(count) < 0.5)
    e = draw_noise(rng, count, length + burn)
    x = np.zeros((count, length + burn))
    for step in range(2, length + burn):
        x[:, step] = (
            one * x[:, step - 1] + two * x[:, step - 2] + e[:, step] + moving * e[:, step - 1]
        )
    x = x[:, burn:]
    return x / (x.std(1, keepdims=True) + 1e-9)


def _arima(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    """Seasonal ARIMA: integrated up to twice, or the airline model and its neighbours."""
    warm = 10
    total = -(-(length + warm) // season) * season  # whole seasons
    e = draw_noise(rng, count, total)
    moving = rng.uniform(-0.2, 0.95, (count, 1)) * (rng.random((count, 1)) < 0.7)
    x = e - moving * _lagged(e, 1)
    is_seasonal = (rng.random((count, 1)) < 0.7) & (season > 1)
    seasonal = x - rng.beta(4, 1.5, (count, 1)) * _lagged(x, season)
    seasonal = seasonal.reshape(count, -1, season).cumsum(1).reshape(count, total)
    x = np.where(is_seasonal, seasonal, x)
    ar = rng.uniform(0, 0.9, count) * (rng.random(count) < 0.5)
    for step in range(1, total):
        x[:, step] += ar * x[:, step - 1]
    order = rng.choice([0, 1, 2], (count, 1), p=[0.2, 0.7, 0.1])
    drift = rng.normal(0, 0.3, (count, 1)) * (rng.random((count, 1)) < 0.5)
    once = np.cumsum(x + drift, axis=1)
    twice = np.cumsum(once - once.mean(1, keepdims=True), axis=1)
    x = np.where(order == 0, x, np.where((order == 1) | is_seasonal, once, twice))
    x = (x - x[:, :1]) / (x.std(1, keepdims=True) + 1e-9)
    size = rng.gamma(1.0, 1.0, (count, 1)) * is_seasonal
    x = x + size * draw_profiles(rng, count, season)[:, np.arange(total) % season]
    return to_values(rng, (x * log_uniform(rng, 0.02, 0.8, count)[:, None])[:, -length:])


def _lagged(x: np.ndarray, lag: int) -> np.ndarray:
    """Return `x` so many steps before, zero at the start."""
    return np.pad(x, ((0, 0), (lag, 0)))[:, : x.shape[1]]


def _gaussian_process(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    """Draw from sums of kernels: linear, squared exponential, Matern 1/2, periodic, noise."""
    paths = [
        _gaussian_paths(rng, len(part), length, season)
        for part in np.array_split(np.arange(count), -(-count // 250))  # bounds memory
    ]
    return to_values(rng, np.concatenate(paths) * log_uniform(rng, 0.05, 0.8, count)[:, None])


def _gaussian_paths(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    def scale(low: float, high: float) -> np.ndarray:  # (N, 1, 1)
        return log_uniform(rng, low, high, count)[:, None, None]

    def weight(share: float) -> np.ndarray:  # (N, 1, 1), zero but for this share
        return (rng.gamma(1.0, 1.0, count) * (rng.random(count) < share))[:, None, None]

    step = np.arange(length, dtype=float)
    gap = np.abs(step[:, None] - step)  # (L, L)
    kernel = weight(0.6) * np.exp(-0.5 * (gap / scale(2, 2 * length)) ** 2)  # (N, L, L)
    kernel += weight(0.6) * np.exp(-gap / scale(2, 4 * length))
    kernel += weight(0.4) * 4 * np.outer(step, step) / length**2
    if season > 1:
        periodic = np.exp(-2 * np.sin(np.pi * gap / season) ** 2 / scale(0.3, 2) ** 2)
        fading = np.exp(-0.5 * (gap / scale(2 * season, 20 * season)) ** 2)
        kernel += weight(0.8) * periodic * fading
    kernel += (scale(1e-4, 0.5) + 1e-6) * np.eye(length)
    return (np.linalg.cholesky(kernel) @ rng.standard_normal((count, length, 1)))[..., 0]


def _counts(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    """Draw counts around a slowly moving mean, often zero (intermittent demand)."""
    mean = _smooth(rng, count, length, season)
    mean = np.abs(mean) / np.abs(mean).mean(1, keepdims=True)
    mean = mean * log_uniform(rng, 0.5, 100, count)[:, None]
    shape = log_uniform(rng, 1, 50, count)[:, None]
    rate = np.where(
        rng.random((count, 1)) < 0.5, mean, mean * rng.gamma(shape, 1 / shape, mean.shape)
    )
    share = np.where(rng.random(count) < 0.3, rng.uniform(0.1, 0.9, count), 1.0)[:, None]
    return rng.poisson(np.minimum(rate, 1e6)) * (rng.random(mean.shape) < share) * 1.0


def _stationary(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    """Noise around one level, with or without a season: growth rates, temperatures."""
    step = np.arange(length)
    amplitude = np.where(rng.random(count) < 0.4, 0, log_uniform(rng, 0.2, 5, count))[:, None]
    seasonal = amplitude * draw_profiles(rng, count, season)[:, step % season]
    white = draw_noise(rng, count, length)
    noise = np.where(rng.random((count, 1)) < 0.6, _arma(rng, count, length), white)
    return rng.normal(0, 3, (count, 1)) + seasonal + noise


def _random_walk(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    """Random walks with and without drift, in values or logarithms: prices, rates."""
    e = draw_noise(rng, count, length)
    calm = 1 + 0.7 * np.sin(np.cumsum(rng.normal(0, 0.2, (count, length)), axis=1))
    e = e * np.where(rng.random((count, 1)) < 0.3, calm, 1)
    drift = rng.normal(0, 0.5, (count, 1)) * (rng.random((count, 1)) < 0.5)
    sigma = log_uniform(rng, 0.003, 0.15, count)[:, None]
    return to_values(rng, sigma * np.cumsum(e + drift, axis=1))


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
        weight = rng.gamma(1.5, 1, (count, 1)) * (
            1 if position < 2 else rng.random((count, 1)) < 0.4
        )
        total += weight * drawn
    return total


def _two_seasons(rng: np.random.Generator, count: int, length: int, season: int) -> np.ndarray:
    """Draw a season within a longer one: hours of a day and days of a week, days and months."""
    longer = season * {7: 52, 24: 7}.get(season, 4)
    step = np.arange(length) + rng.integers(0, longer, (count, 1))
    inner = np.take_along_axis(draw_profiles(rng, count, season), step % season, 1)
    order = np.arange(1, 4)[:, None, None]
    phase = rng.uniform(0, 2 * np.pi, (3, count, 1))
    size = rng.standard_normal((3, count, 1)) / order
    outer = (size * np.cos(2 * np.pi * order * step / longer + phase)).sum(0)
    if season == 24:  # weekends are their own days
        weekend = (step // 24) % 7 >= 5
        other = np.take_along_axis(draw_profiles(rng, count, season), step % season, 1)
        share = rng.uniform(0, 1, (count, 1)) * weekend
        inner = (1 - share) * inner + share * other - weekend * rng.gamma(1, 0.5, (count, 1))
    amplitude, larger = draw_amplitudes(rng, count, 0.05), draw_amplitudes(rng, count, 0.3)
    noise = _arma(rng, count, length) * log_uniform(rng, 0.01, 0.3, count)[:, None]
    wander = (
        np.cumsum(rng.standard_normal((count, length)), 1)
        * log_uniform(rng, 1e-4, 0.03, count)[:, None]
    )
    return to_values(rng, amplitude * inner + larger * outer + noise + wander)


FAMILIES: dict[str, Family] = {
    "smooth": _smooth,
    "responsive": _responsive,
    "cyclic": _cyclic,
    "structural": _structural,
    "arima": _arima,
    "gaussian_process": _gaussian_process,
    "random_walk": _random_walk,
    "stationary": _stationary,
    "counts": _counts,
    "two_seasons": _two_seasons,
    "mixed": _mixed,
}
