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
_MAX_SEASONS, _MAX_WINDOWS = 64, 4096


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
    length, steps = past.shape[1], future.shape[1]
    thinned = slice(None, None, -(-len(past) // _MAX_WINDOWS))
    past, future = past[thinned].double(), future[thinned].double().nan_to_num()
    size = future.square().mean(dim=1, keepdim=True).sqrt()  # (N, 1)
    window_weight = _MAX_LABEL_SIZE / size.clamp(min=_MAX_LABEL_SIZE)
    past, future = past * window_weight, future * window_weight
    used_steps = season * min(length // season, _MAX_SEASONS)  # MS
    features = _features(past[:, length - used_steps :], season)  # (N, F, S)

    ahead = shift + torch.arange(steps)
    cycle, phase = ahead // season - shift // season, ahead % season  # (T,) each
    n_cycles = int(cycle[-1]) + 1
    is_forecast = torch.zeros(n_cycles, season, dtype=torch.double)  # (K, S)
    is_forecast[cycle, phase] = 1
    labels = torch.zeros(len(past), n_cycles, season, dtype=torch.double)  # (N, K, S)
    labels[:, cycle, phase] = future
    gram = torch.einsum("nfs,ngs->sfg", features, features)  # (S, F, F)
    moments = torch.einsum("nfs,nks->kf", features, labels)  # (K, F)

    n_features = features.shape[1]
    weights = torch.zeros_like(moments)  # (K, F)
    for phases in is_forecast.unique(dim=0):  # the first and the last season may be incomplete
        cycles = (is_forecast == phases).all(dim=1)
        penalty = _RIDGE_PENALTY * n_features * len(past) * phases.sum()
        system = torch.einsum("s,sfg->fg", phases, gram)  # (F, F)
        system += penalty * torch.eye(n_features, dtype=torch.double)
        weights[cycles] = torch.linalg.solve(system, moments[cycles].T).T
    # each feature as a linear function of the window: the features of unit windows
    of_unit = _features(torch.eye(used_steps, dtype=torch.double), season)  # (MS, F, S)
    ridge = torch.einsum("kf,lfs->ksl", weights, of_unit)[cycle, phase]  # (T, MS)
    ridge = torch.nn.functional.pad(ridge, (length - used_steps, 0))  # (T, L)
    seasonal_naive = torch.eye(length, dtype=torch.double)[length - season + phase]  # (T, L)

    def mean_squared_error(weights: Tensor) -> float:
        return (past @ weights.T - future).square().mean().item()

    ridge_error, naive_error = mean_squared_error(ridge), mean_squared_error(seasonal_naive)
    tiny = torch.finfo(torch.double).tiny
    clearness = (naive_error - ridge_error) / max(_CLEAR_ERROR_RATIO * ridge_error, tiny)
    prior_windows = _PRIOR_WINDOWS_PER_FEATURE * n_features
    shrinkage = prior_windows / (prior_windows + n_windows * max(clearness, 1.0))
    return ridge.lerp(seasonal_naive, shrinkage)


def _features(past: Tensor, season: int) -> Tensor:
    """Return the features of each phase of the season `(N, F, S)`, linear in `past (N, MS)`."""
    profile = past.unflatten(1, (-1, season))  # (N, M, S)
    level = profile.mean(dim=2, keepdim=True)  # (N, M, 1)
    change = past[:, season:] - past[:, :-season]  # (N, MS - S)
    newest = change[:, -max(round(season / 4), 1) :].mean(dim=1)  # (N,)
    shared = torch.stack([change[:, -1], newest, past[:, -1]], dim=1).unsqueeze(-1)  # (N, 3, 1)
    parts = [profile - level, level.expand_as(profile), shared.expand(-1, -1, season)]
    return torch.cat(parts, dim=1)  # (N, 2M + 3, S)
