"""Ridge regression that initialises the skip in the low-data regime.

A matrix from every input step to every forecast step has far more weights than few windows can
determine. Here all phases of a season share their weights. `skip.py` uses the result as its base
weights.

Source: closed-form linear forecasts as in Toner and Darlow, "An Analysis of Linear Time Series
Forecasting Models", https://arxiv.org/abs/2403.14587; weights shared along a season as in Lin et
al., "SparseTSF", https://arxiv.org/abs/2405.00946. Accuracy:
`benchmarks/accuracy_long_broad.py`.
"""

import torch
from torch import Tensor

# N windows, L input steps, T output steps, M seasons in a window, S steps of a season,
# K seasons ahead, F features

# ridge penalty per feature and label, relative to the mean squared error of normalised windows
_RIDGE_PENALTY = 1e-3
# weight of the prior (seasonal naive) against the ridge solution, in windows per feature: with
# fewer windows the solution is noisier than the prior
_PRIOR_WINDOWS_PER_FEATURE = 30
# a squared error of seasonal naive that is this many times the ridge solution's marks a clear
# signal, which needs fewer windows
_CLEAR_ERROR_RATIO = 10
# labels with a larger root mean square, in standard deviations of their window, get less weight:
# such a level shift cannot be predicted from the window
_MAX_LABEL_SIZE = 5.0
# limits of the computing time, beyond which accuracy does not improve
MAX_SEASONS, _MAX_WINDOWS = 64, 4096


def fit_ridge(past: Tensor, future: Tensor, season: int, n_windows: int, shift: int = 0) -> Tensor:
    """Return the weights `(T, L)` of linear forecasts that share weights along the season.

    The features of a forecast step are the values of the same phase and the mean of each season in
    the window, the last value, and the change of the newest values over the season before. All
    forecast steps of one season ahead have the same weights. The fewer windows there are, and the
    less ridge regression improves on it, the more the weights are shrunk towards seasonal naive.

    Parameters
    ----------
    past
        Normalised input windows `(N, L)` without NaN.
    future
        The values that follow them `(N, T)`; NaN counts as zero.
    season
        Number of steps of a season, from 2 to L / 2.
    n_windows
        Number of training windows that these were sampled from.
    shift
        Number of steps between the last input step and the first forecast step.

    Returns
    -------
    Tensor
        Weights `(T, L)` in double precision.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.ridge import fit_ridge
    >>> windows = torch.tensor([1.0, 0.0, -1.0]).repeat(20).unfold(0, 8, 1)  # (53, 8)
    >>> weights = fit_ridge(windows[:, :6], windows[:, 6:], season=3, n_windows=53)  # (2, 6)
    >>> (weights @ windows[0, :6].double()).round(decimals=1)
    tensor([1., 0.], dtype=torch.float64)
    """
    length = past.shape[1]
    past, future = _weighted(past, future)
    used = used_steps(length, season)  # MS
    features = _features(past[:, length - used :], season)  # (N, F, S)
    cycle, phase = _places(future.shape[1], season, shift)  # (T,) each
    weights = _solve(features, future, cycle, phase)  # (K, F)
    # each feature as a linear function of the window: the features of unit windows
    of_unit = _features(torch.eye(used, dtype=torch.double), season)  # (MS, F, S)
    ridge = torch.einsum("kf,lfs->ksl", weights, of_unit)[cycle, phase]  # (T, MS)
    ridge = torch.nn.functional.pad(ridge, (length - used, 0))  # (T, L)
    seasonal_naive = torch.eye(length, dtype=torch.double)[length - season + phase]  # (T, L)

    def mean_squared_error(weights: Tensor) -> float:
        return (past @ weights.T - future).square().mean().item()

    errors = mean_squared_error(ridge), mean_squared_error(seasonal_naive)
    return ridge.lerp(seasonal_naive, _shrinkage(*errors, features.shape[1], n_windows))


def fit_season_weights(
    past: Tensor, future: Tensor, season: int, n_windows: int, shift: int = 0
) -> Tensor:
    """Return the weights of `fit_ridge` in terms of the features, `(K, F)`: no matrix `(T, L)`.

    Parameters are those of `fit_ridge`. The features are, of each season of the window, its values
    less their mean, and the mean; the changes and the last value follow (`season_parts`).
    """
    past, future = _weighted(past, future)
    features = _features(past[:, -used_steps(past.shape[1], season) :], season)  # (N, F, S)
    cycle, phase = _places(future.shape[1], season, shift)  # (T,) each
    ridge = _solve(features, future, cycle, phase)  # (K, F)
    n_seasons = (features.shape[1] - 3) // 2
    seasonal_naive = torch.zeros_like(ridge)
    seasonal_naive[:, [n_seasons - 1, 2 * n_seasons - 1]] = 1  # values less their mean, the mean

    def mean_squared_error(weights: Tensor) -> float:
        forecast = torch.einsum("kf,nfs->nks", weights, features)[:, cycle, phase]  # (N, T)
        return (forecast - future).square().mean().item()

    errors = mean_squared_error(ridge), mean_squared_error(seasonal_naive)
    return ridge.lerp(seasonal_naive, _shrinkage(*errors, features.shape[1], n_windows))


def used_steps(length: int, season: int) -> int:
    """Return the number of latest steps of a window that are read season by season."""
    return season * min(length // season, MAX_SEASONS)


def season_parts(past: Tensor, season: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the features of whole seasons `(..., MS)` consist of.

    Returns
    -------
    tuple[Tensor, Tensor, Tensor]
        The values of each season `(..., M, S)`; their means `(..., M)`; changes over the last
        season of the newest value and of the newest quarter, and the last value `(..., 3)`.
    """
    profile = past.unflatten(-1, (-1, season))  # (..., M, S)
    newest = max(round(season / 4), 1)
    change = past[..., -newest:] - past[..., -newest - season : -season]
    shared = torch.stack([change[..., -1], change.mean(dim=-1), past[..., -1]], dim=-1)
    return profile, profile.mean(dim=-1), shared


def _weighted(past: Tensor, future: Tensor) -> tuple[Tensor, Tensor]:
    """Return windows and labels in double precision, thinned, level shifts with less weight."""
    thinned = slice(None, None, -(-len(past) // _MAX_WINDOWS))
    past, future = past[thinned].double(), future[thinned].double().nan_to_num()
    size = future.square().mean(dim=1, keepdim=True).sqrt()  # (N, 1)
    window_weight = _MAX_LABEL_SIZE / size.clamp(min=_MAX_LABEL_SIZE)
    return past * window_weight, future * window_weight


def _places(steps: int, season: int, shift: int) -> tuple[Tensor, Tensor]:
    """Return the season ahead and the phase of each forecast step, `(T,)` both."""
    ahead = shift + torch.arange(steps)
    return ahead // season - shift // season, ahead % season


def _solve(features: Tensor, future: Tensor, cycle: Tensor, phase: Tensor) -> Tensor:
    """Return the weights `(K, F)` of features `(N, F, S)` that solve the ridge regression."""
    n_cycles, (count, n_features, season) = int(cycle[-1]) + 1, features.shape
    is_forecast = torch.zeros(n_cycles, season, dtype=torch.double)  # (K, S)
    is_forecast[cycle, phase] = 1
    labels = torch.zeros(count, n_cycles, season, dtype=torch.double)  # (N, K, S)
    labels[:, cycle, phase] = future
    gram = torch.einsum("nfs,ngs->sfg", features, features)  # (S, F, F)
    moments = torch.einsum("nfs,nks->kf", features, labels)  # (K, F)
    weights = torch.zeros_like(moments)  # (K, F)
    for phases in is_forecast.unique(dim=0):  # the first and the last season may be incomplete
        cycles = (is_forecast == phases).all(dim=1)
        penalty = _RIDGE_PENALTY * n_features * count * phases.sum()
        system = torch.einsum("s,sfg->fg", phases, gram)  # (F, F)
        system += penalty * torch.eye(n_features, dtype=torch.double)
        weights[cycles] = torch.linalg.solve(system, moments[cycles].T).T
    return weights


def _shrinkage(ridge_error: float, naive_error: float, n_features: int, n_windows: int) -> float:
    """Return the weight of seasonal naive against the ridge solution."""
    tiny = torch.finfo(torch.double).tiny
    clearness = (naive_error - ridge_error) / max(_CLEAR_ERROR_RATIO * ridge_error, tiny)
    prior_windows = _PRIOR_WINDOWS_PER_FEATURE * n_features
    return prior_windows / (prior_windows + n_windows * max(clearness, 1.0))


def _features(past: Tensor, season: int) -> Tensor:
    """Return the features of each phase of the season `(N, F, S)`, linear in `past (N, MS)`."""
    profile, level, shared = season_parts(past, season)
    level = level.unsqueeze(-1)  # (N, M, 1)
    shared = shared.unsqueeze(-1).expand(-1, -1, season)  # (N, 3, S)
    return torch.cat([profile - level, level.expand_as(profile), shared], dim=1)  # (N, 2M + 3, S)
