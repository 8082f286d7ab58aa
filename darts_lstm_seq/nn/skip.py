"""The straight way from the window to the forecast, beside the LSTM: linear, and aware of a season.

What repeats every season and what merely goes on needs no hidden state; the LSTM is left with the
rest. With few training windows the skip leans on six learnt numbers, and on the last season or
what `regression.py` found; with many on a matrix of its own from each input step to each output
step. When and on what the skip is prepared is decided in `module.py`.

Source: the linear models of Zeng et al., "Are Transformers Effective for Time Series Forecasting?",
https://arxiv.org/abs/2205.13504, for the matrix; the components of exponential smoothing (level,
trend and season of the last two seasons) for the six numbers. What each part is worth:
`benchmarks/accuracy_broad.py` and `benchmarks/accuracy_long_horizon.py`.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

# N windows, B batch, L input steps, T output steps, C components, G gains

# how far one step of the optimiser moves the skip, as a multiple of the LSTM's weights
_COEFFICIENTS_LR_SCALE, _WEIGHT_LR_SCALE = 6.0, 3.0
# windows per weight from which on the matrix leads, not the season
_ENOUGH = 10
# from which autocorrelation on there is a season: of so many standard errors, but never below the
# first of these two, and always above the second
_SURE, _WEAKEST, _STRONG = 4.0, 0.1, 0.4
# of several peaks the first within reach of the best, if after two seasons there is as much
_NEARLY_BEST = 0.8


class SeasonalSkip(nn.Module):
    """Linear forecasts of each component from its own window, all components alike.

    Before `initialize` the skip forecasts the last value.

    Parameters
    ----------
    input_chunk_length
        Number of input steps L.
    output_chunk_length
        Number of forecast steps T.
    output_chunk_shift
        Number of steps between the last input step and the first forecast step.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.skip import SeasonalSkip
    >>> skip = SeasonalSkip(input_chunk_length=4, output_chunk_length=2)
    >>> window = torch.tensor([[[1.0], [2.0], [1.0], [3.0]]])
    >>> skip(window).flatten()
    tensor([3., 3.], grad_fn=<ViewBackward0>)
    >>> skip.initialize(season=2, n_windows=0)
    >>> skip(window).flatten()
    tensor([1., 3.], grad_fn=<ViewBackward0>)
    """

    base_weight: Tensor
    basis: Tensor
    lr_scale: Tensor

    def __init__(
        self, input_chunk_length: int, output_chunk_length: int, output_chunk_shift: int = 0
    ) -> None:
        super().__init__()
        self.shift = output_chunk_shift
        self.coefficients = nn.Parameter(torch.zeros(6))
        self.weight = nn.Parameter(torch.zeros(output_chunk_length, input_chunk_length))
        # the whole skip is one matrix from the window to the forecast, for a step of small
        # operations costs more than the LSTM (`benchmarks/bench_predict.py`):
        # known + gains @ gained + pace * matrix
        self.register_buffer("base_weight", torch.zeros_like(self.weight))
        self.register_buffer("basis", torch.zeros(len(self.coefficients), *self.weight.shape))
        self.register_buffer("lr_scale", torch.zeros(()))
        self.initialize(season=1, n_windows=0)

    @torch.no_grad()
    def initialize(self, season: int, n_windows: int, weights: Tensor | None = None) -> None:
        """Set what is known before training.

        Parameters
        ----------
        season
            Number of steps after which the series repeats itself, at most L; `1` for none.
        n_windows
            Number of training windows, over all components.
        weights
            Weights `(T, L)` to start from, `fit_ridge`; there is then no matrix left to learn.
        """
        steps, length = self.weight.shape
        ahead = self.shift + torch.arange(steps)
        repeated = length - season + ahead % season  # (T,), of the last season
        cycles = (ahead // season + 1.0).unsqueeze(-1)  # (T, 1)
        at = torch.eye(length, dtype=torch.double)  # a row for each step of the window
        last = at[-1]  # (L,)
        season_before = slice(max(length - 2 * season, 0), max(length - season, 1))
        level, level_before = at[length - season :].mean(0), at[season_before].mean(0)  # (L,)
        profile = at[repeated]  # (T, L)
        profile_before = at[(repeated - season).clamp(min=0)]  # (T, L)
        growth = level - level_before

        def lead(count: int) -> Tensor:  # (L,), of the newest values over the season before
            newest = torch.arange(length - count, length)
            return (at[newest] - at[(newest - season).clamp(min=0)]).mean(0)

        parts = (
            growth * cycles / cycles[-1],  # the season goes on growing
            lead(1) - growth,  # the newest value ran ahead of the season
            lead(max(round(season / 4), 1)) - growth,  # so did the newest quarter of a season
            (profile_before - level_before) - (profile - level),  # back to the profile before
            last - profile,
            level - profile,
        )
        scarcity = _ENOUGH * length / (_ENOUGH * length + n_windows)
        for gained, part in zip(self.basis, parts, strict=True):
            gained.copy_(_COEFFICIENTS_LR_SCALE * scarcity * part)
        if weights is None:
            self.base_weight.copy_(last + scarcity * (profile - last))
            self.lr_scale.fill_(_WEIGHT_LR_SCALE * (1 - scarcity))
        else:
            self.base_weight.copy_(weights)
            self.lr_scale.zero_()

    def forward(self, window: Tensor) -> Tensor:
        """Return the forecasts `(B, T, C)` from windows `(B, L, C)` without gaps."""
        weights = torch.addcmul(self.base_weight, self.lr_scale, self.weight)  # (T, L)
        weights = torch.addmv(
            weights.flatten(), self.basis.flatten(1).T, self.coefficients
        )  # (TL,)
        return linear(window.transpose(1, 2), weights.view_as(self.base_weight)).transpose(1, 2)


def find_season(windows: Tensor, n_windows: int) -> int:
    """Return the number of steps after which windows repeat themselves, `1` if they do not.

    The first clear peak of the autocorrelation of their differences; at most half a window, for a
    season must be seen twice.

    Parameters
    ----------
    windows
        A sample of the training windows, `(N, L, C)`; NaN marks missing values.
    n_windows
        Number of windows that the sample was drawn from.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.skip import find_season
    >>> steps = torch.arange(100.0)
    >>> wave = torch.sin(2 * torch.pi * steps / 12).unfold(0, 36, 1).unsqueeze(-1)
    >>> find_season(wave, len(wave))
    12
    """
    changes = windows.diff(dim=1)
    changes = changes - changes.nanmean(dim=1, keepdim=True)  # free of a trend
    size = changes.square().nanmean(dim=1, keepdim=True).sqrt()
    changes = (changes / size).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)  # (N, L - 1, C)
    count = changes.shape[1]
    longest = windows.shape[1] // 2
    power = changes.square().mean()
    if longest < 2 or power == 0:
        return 1
    # as far as the conditions below look
    lags = range(min(max(longest + 1, 2 * (count // 3)), count - 1) + 1)
    found = [((changes[:, lag:] * changes[:, : count - lag]).mean() / power).item() for lag in lags]
    weakest = max(_WEAKEST, min(_STRONG, _SURE / (n_windows + windows.shape[1]) ** 0.5))
    peaks = {
        lag: found[lag]
        for lag in range(2, longest + 1)
        if found[lag] > weakest
        and found[lag] > found[lag - 1]
        and (lag + 1 >= len(found) or found[lag] >= found[lag + 1])
        and (3 * lag > count or found[2 * lag] >= _NEARLY_BEST * found[lag])
    }
    best = max(peaks.values(), default=0.0)
    return next((lag for lag, value in peaks.items() if value >= _NEARLY_BEST * best), 1)
