"""The skip of long windows: seasons share their weights, and older steps are read as block means.

`SeasonalSkip` has a weight, its gradient and the optimiser's state for each pair of an input step
and a forecast step: for 8,192 and 720 of them, more than all else together. `LongSkip` forecasts
the same level, trend and season from a few features of each season, and trains a matrix that reads
the latest steps and means of blocks of the older ones. `make_skip` decides which one a window gets.

Source: `skip.py` and `ridge.py`, of which this is the compact form. Cost:
`benchmarks/bench_length.py`.
"""

from collections.abc import Sequence
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from darts_lstm_seq.nn.ridge import MAX_SEASONS, season_parts, used_steps
from darts_lstm_seq.nn.skip import (
    COEFFICIENTS_LR_SCALE,
    PRIOR_WINDOWS_PER_STEP,
    WEIGHT_LR_SCALE,
    SeasonalSkip,
    basis_matrices,
)

# K stacked networks, B batch, L input steps, R latest steps and blocks, T output steps,
# C components, G basis matrices, M seasons in a window, S steps of a season, F = 2M + 3 features
# of a window, N seasons ahead

# longest window with a weight for each of its steps; of longer ones, for as many of the latest
MAX_DENSE_WINDOW = 1024


def make_skip(
    input_chunk_length: int, output_chunk_length: int, output_chunk_shift: int = 0
) -> "SeasonalSkip | LongSkip":
    """Return the skip for windows of this length; parameters are those of `SeasonalSkip`."""
    cls = SeasonalSkip if input_chunk_length <= MAX_DENSE_WINDOW else LongSkip
    return cls(input_chunk_length, output_chunk_length, output_chunk_shift)


class LongSkip(nn.Module):
    """`SeasonalSkip` for more than a thousand steps, with weights that do not grow as T times L.

    Base weights and basis are those of `SeasonalSkip`, in terms of the features of `ridge.py`. The
    trained matrix reads the latest steps one by one, and older ones as block means, of which there
    are as many as the square root of their number.

    Parameters
    ----------
    input_chunk_length
        Number of input steps L, more than `MAX_DENSE_WINDOW`.
    output_chunk_length
        Number of forecast steps T.
    output_chunk_shift
        Number of steps between the last input step and the first forecast step.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.long_skip import LongSkip
    >>> skip = LongSkip(input_chunk_length=2000, output_chunk_length=2)
    >>> window = torch.tensor([1.0, 2.0, 1.0, 3.0]).repeat(500).view(1, -1, 1)
    >>> skip(window).detach().flatten()
    tensor([3., 3.])
    >>> skip.initialize(season=4, n_windows=0)
    >>> skip(window).detach().flatten()
    tensor([1., 2.])
    """

    season: Tensor
    base_weight: Tensor
    basis: Tensor
    lr_scale: Tensor

    def __init__(
        self, input_chunk_length: int, output_chunk_length: int, output_chunk_shift: int = 0
    ) -> None:
        super().__init__()
        self.length, self.shift = input_chunk_length, output_chunk_shift
        n_older = input_chunk_length - MAX_DENSE_WINDOW
        self.coefficients = nn.Parameter(torch.zeros(6))
        self.weight = nn.Parameter(
            torch.zeros(output_chunk_length, MAX_DENSE_WINDOW + isqrt(n_older))
        )
        # a row for each season ahead, at most T; more features than a window may have
        base_weight = torch.zeros(output_chunk_length, 2 * MAX_SEASONS + 3)
        self.register_buffer("base_weight", base_weight)
        self.register_buffer("basis", torch.zeros(len(self.coefficients), *base_weight.shape))
        self.register_buffer("lr_scale", torch.zeros(()))
        self.register_buffer("season", torch.ones((), dtype=torch.long))
        self.initialize(season=1, n_windows=0)

    @torch.no_grad()
    def initialize(
        self, season: int, n_windows: int, weights: Tensor | None = None, share: float = 1.0
    ) -> None:
        """Set the base weights, the basis and the learning-rate scales from the training data.

        Parameters
        ----------
        season
            Number of steps of a season, at most L / 2; `1` for none.
        n_windows, share
            See `SeasonalSkip.initialize`.
        weights
            Base weights `(N, F)` of `fit_season_weights`; the matrix is then not trained.
        """
        self._season = season
        self.season.fill_(season)
        steps = len(self.weight)
        n_seasons = used_steps(self.length, season) // season
        n_ahead = (self.shift % season + steps - 1) // season + 1
        unit = torch.eye(2 * n_seasons + 3, dtype=torch.double)  # row f selects a feature
        profiles, levels, shared = unit.split([n_seasons, n_seasons, 3])
        level, level_before = levels[-1], levels[-2]  # (F,) each
        # the features of profiles are less their level
        profile, profile_before = profiles[-1] + level, profiles[-2] + level_before
        newest_change, newest_changes, last = shared
        cycles = (self.shift // season + torch.arange(n_ahead) + 1.0).unsqueeze(-1)  # (N, 1)
        rows = basis_matrices(
            cycles,
            last,
            (level, level_before),
            (profile, profile_before),
            (newest_change, newest_changes),
        )
        prior_windows = PRIOR_WINDOWS_PER_STEP * self.weight.shape[1]
        prior_weight = prior_windows / (prior_windows + n_windows)
        self.basis.zero_()
        for basis, row in zip(self.basis, rows, strict=True):
            basis[:n_ahead, : len(unit)] = COEFFICIENTS_LR_SCALE * prior_weight * row
        if weights is None:
            weights = last + prior_weight * (profile - last)
            self.lr_scale.fill_(WEIGHT_LR_SCALE * (1 - prior_weight))
        else:
            self.lr_scale.zero_()
        self.base_weight.zero_()
        self.base_weight[:n_ahead, : len(unit)] = share * weights

    def forward(self, window: Tensor) -> Tensor:
        """Return the forecasts `(B, T, C)` of windows `(B, L, C)` without NaN."""
        parts = self.base_weight, self.basis, self.lr_scale, self.coefficients, self.weight
        stacked = (part.unsqueeze(0) for part in parts)
        return long_skip_forecast(window.unsqueeze(0), [self._season], self.shift, *stacked)[0]

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        check_is_compact(state_dict.get(f"{prefix}base_weight"))
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._season = int(self.season)  # a number, so that no step waits for a device


def check_is_compact(base_weight: Tensor | None) -> None:
    """Check that base weights `(..., F)` which are loaded are those of a `LongSkip`.

    Raises
    ------
    ValueError
        If they are those of an earlier version, which had a `SeasonalSkip` for all windows.
    """
    n_features = 2 * MAX_SEASONS + 3
    if base_weight is not None and base_weight.shape[-1] != n_features:
        raise ValueError(
            f"The weights are of an earlier version, whose skip had a weight for each of "
            f"{base_weight.shape[-1]} input steps. Fit the model again, or load it with the "
            f"version of `darts-lstm-seq` that saved it."
        )


def long_skip_forecast(
    windows: Tensor,
    seasons: Sequence[int],
    shift: int,
    base_weight: Tensor,
    basis: Tensor,
    lr_scale: Tensor,
    coefficients: Tensor,
    weight: Tensor,
) -> Tensor:
    """Return the forecasts `(K, B, T, C)` of the skips of K stacked networks.

    Parameters
    ----------
    windows
        Windows of each network `(K, B, L, C)`.
    seasons, shift
        Steps of a season of each network, and steps before the first forecast step.
    base_weight, basis, lr_scale, coefficients, weight
        As in `LongSkip`, stacked: `(K, T, F)`, `(K, G, T, F)`, `(K,)`, `(K, G)`, `(K, T, R)`.
    """
    mixture = coefficients.unsqueeze(1) @ basis.flatten(2)  # (K, 1, TF)
    of_features = base_weight + mixture.view_as(base_weight)  # (K, T, F)
    matrix = lr_scale[:, None, None] * weight  # (K, T, R)
    windows = windows.transpose(2, 3)  # (K, B, C, L)
    steps = latest_and_blocks(windows)  # (K, B, C, R)
    trained = (steps.flatten(1, 2) @ matrix.transpose(1, 2)).unflatten(1, steps.shape[1:3])
    seasonal = torch.stack(
        [
            _seasonal_forecast(*of_network, shift, weight.shape[1])
            for of_network in zip(windows, seasons, of_features, strict=True)
        ]
    )
    return (seasonal + trained).transpose(2, 3)  # (K, B, T, C)


def latest_and_blocks(windows: Tensor) -> Tensor:
    """Return means of blocks of the older steps of `windows (..., L)` and the latest, `(..., R)`.

    Where the blocks do not fill the window, they leave out its oldest steps.
    """
    older, latest = windows.split([windows.shape[-1] - MAX_DENSE_WINDOW, MAX_DENSE_WINDOW], dim=-1)
    n_blocks = isqrt(older.shape[-1])
    n_used = older.shape[-1] // n_blocks * n_blocks
    blocks = older[..., -n_used:].unflatten(-1, (n_blocks, -1)).mean(dim=-1)
    return torch.cat([blocks, latest], dim=-1)


def _seasonal_forecast(
    windows: Tensor, season: int, weights: Tensor, shift: int, n_steps: int
) -> Tensor:
    """Return forecasts `(B, C, T)` of `windows (B, C, L)` by weights `(T, F)` of their features."""
    used = used_steps(windows.shape[-1], season)
    profile, level, shared = season_parts(windows[..., -used:], season)  # (B, C, M, S), ...
    n_seasons, first = profile.shape[-2], shift % season
    n_ahead = (first + n_steps - 1) // season + 1
    weights = weights[:n_ahead, : 2 * n_seasons + 3]
    of_profile, of_level, of_shared = weights.split([n_seasons, n_seasons, 3], dim=-1)
    # what all phases share: a profile is less its level
    same = level @ (of_level - of_profile).T + shared @ of_shared.T  # (B, C, N)
    forecast = of_profile @ profile + same.unsqueeze(-1)  # (B, C, N, S)
    return forecast.flatten(-2)[..., first : first + n_steps]  # (B, C, T)
