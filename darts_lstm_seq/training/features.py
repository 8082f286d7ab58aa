"""From Darts' named inputs to the network's tensors.

Standardises covariates by the training data and concatenates them with the target. The target is
normalised before, in `module.py`; the arithmetic of scaling is in `normalization.py`.

Source: `PLModuleInput` of Darts 0.48.
"""

import torch
from darts.utils.data.torch_datasets.utils import PLModuleInput, TorchTrainingBatch
from torch import Tensor, nn

from darts_lstm_seq.training.standardizer import Standardizer

# B batch, L input steps, T output steps, C target components, F past features,
# D future covariates, S static features per window


class Features(nn.Module):
    """The features that a network reads.

    Parameters
    ----------
    n_past, n_future, n_static
        Number of past, future and static covariates.
    standardize
        Whether covariates are standardised.
    split_components
        Whether each target component is a row of its own: B then becomes B * C.
    """

    def __init__(
        self, n_past: int, n_future: int, n_static: int, standardize: bool, split_components: bool
    ) -> None:
        super().__init__()
        self.standardize = standardize
        self.split_components = split_components
        self.past_scaler = Standardizer(n_past, "past_covariates")
        self.future_scaler = Standardizer(n_future, "future_covariates")
        self.static_scaler = Standardizer(n_static, "static_covariates")

    def fit(self, batch: TorchTrainingBatch) -> None:
        """Fit the scalers to a sample of the training windows."""
        for scaler, tensors in (
            (self.past_scaler, [batch.past_covariates]),
            (self.future_scaler, [batch.historic_future_covariates, batch.future_covariates]),
            (self.static_scaler, [batch.static_covariates]),
        ):
            given = [tensor.flatten(0, 1) for tensor in tensors if tensor is not None]
            if given:
                scaler.fit(torch.cat(given))

    def forward(
        self, x_in: PLModuleInput, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return past, future and static features `(B, L, F)`, `(B, T, D)` and `(B, S)`.

        Parameters
        ----------
        x_in
            Darts' named input, with a normalised target.
        dtype
            Type of the features.
        """
        target = x_in.past_target
        covariates = [
            self._scale(x_in.past_covariates, self.past_scaler),
            self._scale(x_in.historic_future_covariates, self.future_scaler),
        ]
        future = self._scale(x_in.future_covariates, self.future_scaler)
        static = self._scale(x_in.static_covariates, self.static_scaler)
        if self.split_components:
            n = target.shape[-1]
            target = split_by_component(target)  # (BC, L, 1)
            covariates = [None if x is None else x.repeat_interleave(n, 0) for x in covariates]
            future = None if future is None else future.repeat_interleave(n, 0)  # (BC, T, D)
            if static is not None:  # (B, C or 1, _)
                static = static.expand(-1, n, -1).flatten(0, 1)  # (BC, S)
        elif static is not None:
            static = static.flatten(1)  # (B, S)
        past = [target, *(x for x in covariates if x is not None)]
        return (
            torch.cat([x.to(dtype) for x in past], dim=-1),  # (B, L, F)
            None if future is None else future.to(dtype),
            None if static is None else static.to(dtype),
        )

    def _scale(self, x: Tensor | None, scaler: Standardizer) -> Tensor | None:
        return x if x is None or not self.standardize else scaler(x)


def split_by_component(x: Tensor) -> Tensor:
    """Make each component of `x (B, _, C)` a row of its own, `(BC, _, 1)`."""
    return x.transpose(1, 2).flatten(0, 1).unsqueeze(-1)
