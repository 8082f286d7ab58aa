"""Linear seasonal skip connection from window to forecast; the LSTM learns the residual.

With few training windows the skip is seasonal naive, or the ridge regression of `ridge.py`, plus a
mixture of six basis matrices with learnt coefficients. With many windows it is a dense learnt
matrix from each input step to each output step. Which data it is initialised from is decided in
the package `training`.

Source: the linear models of Zeng et al., "Are Transformers Effective for Time Series Forecasting?",
https://arxiv.org/abs/2205.13504, for the dense matrix; the components of exponential smoothing
(level, trend and season of the last two seasons) for the basis. Accuracy of each part:
`benchmarks/accuracy_broad.py` and `benchmarks/accuracy_long_horizon.py`.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

# N windows, B batch, L input steps, T output steps, C components, G basis matrices

# effective learning-rate multipliers relative to the LSTM
COEFFICIENTS_LR_SCALE, WEIGHT_LR_SCALE = 6.0, 3.0
# weight of the prior (the last season) against the dense matrix, in windows per input step: with
# fewer windows a dense matrix overfits
PRIOR_WINDOWS_PER_STEP = 10
# autocorrelation threshold of a season: this many standard errors, clamped to [min, max], so that
# weak peaks never count, however many windows there are, and strong ones always do
_SEASON_STANDARD_ERRORS, _MIN_AUTOCORRELATION, _MAX_THRESHOLD = 4.0, 0.1, 0.4
# values that are transformed at a time, which limits the memory
_TRANSFORMED_VALUES = 2**18
# the season is the first peak that reaches this share of the highest, as multiples of a season are
# peaks too; at twice its lag the autocorrelation must reach this share of its own
_PEAK_SHARE = 0.8


class SeasonalSkip(nn.Module):
    """Linear forecasts of each component from its own window, with the same weights for all.

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
    >>> skip(window).detach().flatten()
    tensor([3., 3.])
    >>> skip.initialize(season=2, n_windows=0)
    >>> skip(window).detach().flatten()
    tensor([1., 3.])
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
        self.register_buffer("base_weight", torch.zeros_like(self.weight))
        self.register_buffer("basis", torch.zeros(len(self.coefficients), *self.weight.shape))
        self.register_buffer("lr_scale", torch.zeros(()))
        self.initialize(season=1, n_windows=0)

    @torch.no_grad()
    def initialize(
        self, season: int, n_windows: int, weights: Tensor | None = None, share: float = 1.0
    ) -> None:
        """Set the base weights, the basis and the learning-rate scales from the training data.

        Parameters
        ----------
        season
            Number of steps of a season, at most L; `1` for none.
        n_windows
            Number of training windows, over all components.
        weights
            Base weights `(T, L)` of `fit_ridge`; the dense matrix is then not trained. By default
            the base weights interpolate between the last value and seasonal naive.
        share
            Factor of the base weights; zero forecasts the mean of normalised windows.
        """
        steps, length = self.weight.shape
        ahead = self.shift + torch.arange(steps)
        same_phase = length - season + ahead % season  # (T,), in the last season
        cycles = (ahead // season + 1.0).unsqueeze(-1)  # (T, 1)
        unit = torch.eye(length, dtype=torch.double)  # row l selects step l of the window
        last = unit[-1]  # (L,)
        season_before = slice(max(length - 2 * season, 0), max(length - season, 1))
        level, level_before = unit[length - season :].mean(0), unit[season_before].mean(0)  # (L,)
        profile = unit[same_phase]  # (T, L)
        profile_before = unit[(same_phase - season).clamp(min=0)]  # (T, L)

        def change_over_season(count: int) -> Tensor:  # (L,), mean of the newest `count` steps
            newest = torch.arange(length - count, length)
            return (unit[newest] - unit[(newest - season).clamp(min=0)]).mean(0)

        matrices = basis_matrices(
            cycles,
            last,
            (level, level_before),
            (profile, profile_before),
            (change_over_season(1), change_over_season(max(round(season / 4), 1))),
        )
        prior_windows = PRIOR_WINDOWS_PER_STEP * length
        prior_weight = prior_windows / (prior_windows + n_windows)
        for basis, matrix in zip(self.basis, matrices, strict=True):
            basis.copy_(COEFFICIENTS_LR_SCALE * prior_weight * matrix)
        if weights is None:
            self.base_weight.copy_(last + prior_weight * (profile - last))
            self.lr_scale.fill_(WEIGHT_LR_SCALE * (1 - prior_weight))
        else:
            self.base_weight.copy_(weights)
            self.lr_scale.zero_()
        self.base_weight.mul_(share)

    def forward(self, window: Tensor) -> Tensor:
        """Return the forecasts `(B, T, C)` of windows `(B, L, C)` without NaN."""
        matrix = skip_matrix(
            self.base_weight, self.basis, self.lr_scale, self.coefficients, self.weight
        )  # (T, L)
        return linear(window.transpose(1, 2), matrix).transpose(1, 2)  # (B, T, C)


def basis_matrices(
    cycles: Tensor,
    last: Tensor,
    levels: tuple[Tensor, Tensor],
    profiles: tuple[Tensor, Tensor],
    changes: tuple[Tensor, Tensor],
) -> tuple[Tensor, ...]:
    """Return the matrices `(N, F)` that the coefficients of a skip are factors of.

    Parameters
    ----------
    cycles
        Seasons ahead of each row `(N, 1)`.
    last
        Weights of the last value `(F,)`.
    levels, profiles
        Weights of the mean of a season `(F,)` and of the value at the same phase `(F,)` or
        `(N, F)`, of the last season and of the one before.
    changes
        Weights of the change over a season of the newest value and of the newest quarter `(F,)`.
    """
    (level, level_before), (profile, profile_before) = levels, profiles
    growth = level - level_before
    return (
        growth * cycles / cycles[-1],  # trend
        changes[0] - growth,  # change of the newest value, beyond the trend
        changes[1] - growth,  # of the newest quarter
        (profile_before - level_before) - (profile - level),  # profile of the season before
        last - profile,  # last value
        level - profile,  # mean of the last season
    )


def skip_matrix(
    base_weight: Tensor, basis: Tensor, lr_scale: Tensor, coefficients: Tensor, weight: Tensor
) -> Tensor:
    """Return `base_weight + coefficients @ basis + lr_scale * weight`, `(..., T, L)`.

    One matrix for the whole skip: its parts one after another would cost more than the LSTM
    (`benchmarks/bench_predict.py`).

    Parameters
    ----------
    base_weight, weight
        `(..., T, L)`, where the first dimension may be that of stacked networks.
    basis
        Basis matrices `(..., G, T, L)`.
    lr_scale
        Factor of `weight`, `(...)`.
    coefficients
        Factors of the basis matrices `(..., G)`.
    """
    mixture = coefficients.unsqueeze(-2) @ basis.flatten(-2)  # (..., 1, TL)
    matrix = torch.addcmul(base_weight, lr_scale[..., None, None], weight)  # (..., T, L)
    return matrix + mixture.view_as(matrix)


def find_season(windows: Tensor, n_windows: int) -> int:
    """Return the number of steps of a season, `1` if there is none.

    The first significant peak of the autocorrelation of the differenced windows, at most half a
    window, as a season must be observed twice.

    Parameters
    ----------
    windows
        A sample of the training windows `(N, L, C)`; NaN marks missing values.
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
    length = windows.shape[1]
    count, longest = length - 1, length // 2
    if longest < 2:
        return 1
    # only the lags that the conditions below read
    n_lags = min(max(longest + 1, 2 * (count // 3)), count - 1) + 1
    covariance = _autocovariance(windows, n_lags)
    if covariance[0] == 0:
        return 1
    autocorrelation = (covariance / covariance[0]).tolist()
    standard_error = 1 / (n_windows + length) ** 0.5
    threshold = min(_MAX_THRESHOLD, _SEASON_STANDARD_ERRORS * standard_error)
    threshold = max(_MIN_AUTOCORRELATION, threshold)
    peaks = {
        lag: autocorrelation[lag]
        for lag in range(2, longest + 1)
        if autocorrelation[lag] > threshold
        and autocorrelation[lag] > autocorrelation[lag - 1]
        and (lag + 1 >= n_lags or autocorrelation[lag] >= autocorrelation[lag + 1])
        and (3 * lag > count or autocorrelation[2 * lag] >= _PEAK_SHARE * autocorrelation[lag])
    }
    highest = max(peaks.values(), default=0.0)
    return next((lag for lag, value in peaks.items() if value >= _PEAK_SHARE * highest), 1)


def _autocovariance(windows: Tensor, n_lags: int) -> Tensor:
    """Return the autocovariance of the normalised differences of `windows (N, L, C)`, `(n_lags,)`.

    By the Fourier transform: one lag after another would take `n_lags / log2(L)` times as long.
    """
    count = windows.shape[1] - 1
    size = 2 ** math.ceil(math.log2(count + n_lags))  # no lag wraps around
    power = torch.zeros(size // 2 + 1, dtype=torch.double, device=windows.device)
    rows = max(_TRANSFORMED_VALUES // (size * windows.shape[2]), 1)
    for some in windows.split(rows):  # their transforms are several times as large
        changes = some.diff(dim=1)
        changes = changes - changes.nanmean(dim=1, keepdim=True)  # without the trend
        spread = changes.square().nanmean(dim=1, keepdim=True).sqrt()  # (n, 1, C)
        changes = (changes / spread).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)  # (n, L - 1, C)
        transform = torch.fft.rfft(changes.double(), n=size, dim=1)
        power += (transform.real.square() + transform.imag.square()).sum((0, 2))
    products = torch.fft.irfft(power, n=size)[:n_lags]
    counts = windows[:, 0].numel() * (count - torch.arange(n_lags, device=windows.device))
    return products / counts
