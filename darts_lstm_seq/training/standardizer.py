"""Standardisation of covariates by the training data.

Source: scikit-learn's `StandardScaler`, for tensors with missing values that a module saves.
"""

import torch
from torch import Tensor, nn

from darts_lstm_seq.training.normalization import mean_and_spread, rounding_error

# N samples over all windows and time steps


class Standardizer(nn.Module):
    """Standardise features by mean and standard deviation of the training data.

    Parameters
    ----------
    dim
        Number of features.
    name
        The argument that the features came in, for errors.
    """

    mean: Tensor
    stdev: Tensor

    def __init__(self, dim: int, name: str = "covariates") -> None:
        super().__init__()
        self.name = name
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("stdev", torch.ones(dim))

    def fit(self, x: Tensor) -> None:
        """Estimate both from `x (N, dim)` without NaN; constants are only centred.

        Raises
        ------
        ValueError
            If values are beyond single precision.
        """
        mean, spread = (value[0, 0] for value in mean_and_spread(x[None].double()))  # (dim,)
        mean, spread = mean.nan_to_num(), spread.nan_to_num()
        limits = torch.finfo(self.mean.dtype)
        is_beyond = (mean.abs() + spread > limits.max) | ((spread > 0) & (spread < limits.tiny))
        if is_beyond.any():
            raise ValueError(
                f"`{self.name}` has values around {mean[is_beyond][0].item():.1e} that differ by "
                f"{spread[is_beyond][0].item():.1e}, beyond {self.mean.dtype}. Scale them."
            )
        self.mean.copy_(mean)
        # what is lost in the rounding of a mean as large as a time stamp must not come out as large
        rounding = rounding_error(self.mean)
        stdev = torch.where(spread <= rounding, rounding.clamp(min=1.0), spread)
        self.stdev.copy_(stdev)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x (..., dim)` standardised."""
        return (x - self.mean.to(x.dtype)) / self.stdev.to(x.dtype)
