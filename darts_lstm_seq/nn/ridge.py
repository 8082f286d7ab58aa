"""What a straight line through the training windows knows before any training: ridge regression.

A matrix from every input step to every forecast step has far more weights than few windows can
tell; steps that lie whole seasons apart share theirs here. `skip.py` starts from what is found.

Source: closed-form linear forecasts as in Toner and Darlow, "An Analysis of Linear Time Series
Forecasting Models", https://arxiv.org/abs/2403.14587; weights shared along a season as in Lin et
al., "SparseTSF", https://arxiv.org/abs/2405.00946. What it is worth:
`benchmarks/accuracy_long_broad.py`.
"""

import torch
from torch import Tensor

# N windows, L input steps, T output steps, M seasons of S steps, K seasons ahead, F features

# squared weights cost, per feature and label, this much of the squared errors
_RIDGE = 1e-3
# windows per weight from which on what was found counts more than the last season; fewer will do
# where that adds more than so many times the squared errors of what was found
_ENOUGH, _CLEAR = 30, 10
# labels that lie this far away, on average, count less: their windows know nothing of them
_FAR = 5.0
# more adds nothing but seconds
_MOST_SEASONS, _MOST_WINDOWS = 64, 4096


def fit_ridge(past: Tensor, future: Tensor, season: int, n_windows: int, shift: int = 0) -> Tensor:
    """Return the weights `(T, L)` of linear forecasts from windows, all phases of a season alike.

    A forecast step sees its own phase in each season of the window, the levels of the seasons, the
    last value, and how far the newest values ran ahead of the season before. Weights differ from
    one season ahead to the next, not within it. The fewer windows, and the less clear a signal, the
    nearer to the last season.

    Parameters
    ----------
    past
        Input windows `(N, L)` around zero, without NaN.
    future
        What came after them `(N, T)`; NaN counts as zero.
    season
        Number of steps after which the series repeats itself, from 2 to L / 2.
    n_windows
        Number of training windows that these were drawn from.
    shift
        Number of steps between the last input step and the first forecast step.

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
    thinned = slice(None, None, -(-len(past) // _MOST_WINDOWS))
    past, future = past[thinned].double(), future[thinned].double().nan_to_num()
    size = future.square().mean(dim=1, keepdim=True).sqrt()  # (N, 1)
    weight = _FAR / size.clamp(min=_FAR)
    past, future = past * weight, future * weight
    seen = season * min(length // season, _MOST_SEASONS)
    features = _features(past[:, length - seen :], season)  # (N, F, S)

    ahead = shift + torch.arange(steps)
    cycle, phase = ahead // season - shift // season, ahead % season  # (T,) each
    seasons = int(cycle[-1]) + 1
    is_asked = torch.zeros(seasons, season, dtype=torch.double)
    is_asked[cycle, phase] = 1
    labels = torch.zeros(len(past), seasons, season, dtype=torch.double)
    labels[:, cycle, phase] = future
    squares = torch.einsum("nfs,ngs->sfg", features, features)
    moments = torch.einsum("nfs,nks->kf", features, labels)

    count = features.shape[1]
    weights = torch.zeros_like(moments)  # (K, F)
    for phases in is_asked.unique(dim=0):  # the first and the last season may be cut
        alike = (is_asked == phases).all(dim=1)
        cost = _RIDGE * count * len(past) * phases.sum() * torch.eye(count, dtype=torch.double)
        system = torch.einsum("s,sfg->fg", phases, squares) + cost
        weights[alike] = torch.linalg.solve(system, moments[alike].T).T
    of_steps = _features(torch.eye(seen, dtype=torch.double), season)  # (steps seen, F, S)
    found = torch.einsum("kf,lfs->ksl", weights, of_steps)[cycle, phase]  # (T, steps seen)
    found = torch.nn.functional.pad(found, (length - seen, 0))  # (T, L)
    last_season = torch.eye(length, dtype=torch.double)[length - season + phase]  # (T, L)

    def error(weights: Tensor) -> float:
        return (past @ weights.T - future).square().mean().item()

    solved, repeated = error(found), error(last_season)
    tiny = torch.finfo(torch.double).tiny
    clear = max((repeated - solved) / max(_CLEAR * solved, tiny), 1.0)
    return found.lerp(last_season, _ENOUGH * count / (_ENOUGH * count + n_windows * clear))


def _features(past: Tensor, season: int) -> Tensor:
    """Return what each phase of a season is told `(N, F, S)`, linear in `past (N, MS)`."""
    profile = past.unflatten(1, (-1, season))  # (N, M, S)
    level = profile.mean(dim=2, keepdim=True)  # (N, M, 1)
    change = past[:, season:] - past[:, :-season]  # (N, MS - S)
    newest = change[:, -max(round(season / 4), 1) :].mean(dim=1)
    shared = torch.stack([change[:, -1], newest, past[:, -1]], dim=1).unsqueeze(-1)  # (N, 3, 1)
    parts = [profile - level, level.expand_as(profile), shared.expand(-1, -1, season)]
    return torch.cat(parts, dim=1)  # (N, 2 M + 3, S)
