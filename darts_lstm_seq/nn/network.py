"""The tutorial's network: windows through an LSTM, the last hidden state through one linear layer.

Pure PyTorch: sequences in, forecasts out. Normalisation, covariates, losses and sampling are in the
package `training`; missing inputs are imputed by `imputation.py`; the linear skip connection is in
`skip.py`.

Source: the "LSTM for sequences" tutorial that every PyTorch beginner meets (`nn.LSTM`,
`out[:, -1, :]`, `nn.Linear`); patches as in Lin et al., "SegRNN: Segment Recurrent Neural Network
for Long-Term Time Series Forecasting", https://arxiv.org/abs/2308.11200.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from darts_lstm_seq.nn.dropout import Masks
from darts_lstm_seq.nn.imputation import impute
from darts_lstm_seq.nn.long_skip import LongSkip
from darts_lstm_seq.nn.skip import SeasonalSkip

# B batch, L input steps, T output steps, F past features, S static features, D future features,
# N patches, p steps per patch, H hidden, O outputs per forecast step, C target components,
# P outputs per component


class LSTMSeqNetwork(nn.Module):
    """LSTM over the input window; its last hidden state predicts all output steps at once.

    Parameters
    ----------
    past_dim
        Number of features F of each input step.
    output_chunk_length
        Number of forecast steps T.
    output_dim
        Number of outputs O per forecast step (target components times likelihood parameters).
    static_dim
        Number of static features S, appended to each patch.
    future_dim
        Number of features D known at each forecast step; a two-layer network maps those of step
        t to an additive term of forecast step t.
    hidden_dim
        Size H of the hidden state.
    n_rnn_layers
        Number of LSTM layers.
    patch_length
        Number p of consecutive input steps that the LSTM reads as one. With `1`, one layer and no
        dropout this is exactly the tutorial. If L is no multiple of p, the window is left-padded
        with its oldest step.
    dropout
        Dropout rate between the layers and before the linear layer.
    mask_inputs
        Whether the missing-value mask is an input of the LSTM, one channel per feature.
    skip
        Linear skip connection from each target component to its forecast; the output layer of the
        LSTM is then initialised to zero. `None` for the LSTM alone.
    target_dim
        Number of target components C, the first of the F features, which the skip reads.
    skip_outputs
        Number of the P outputs of each component, the first ones, that the skip is added to.
    dropout_cls
        The class of the dropout layers.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.network import LSTMSeqNetwork
    >>> network = LSTMSeqNetwork(past_dim=1, output_chunk_length=3, output_dim=1, hidden_dim=8)
    >>> network(torch.zeros(5, 24, 1)).shape
    torch.Size([5, 3, 1])
    """

    def __init__(
        self,
        past_dim: int,
        output_chunk_length: int,
        output_dim: int,
        static_dim: int = 0,
        future_dim: int = 0,
        hidden_dim: int = 25,
        n_rnn_layers: int = 1,
        patch_length: int = 1,
        dropout: float = 0.0,
        mask_inputs: bool = False,
        skip: SeasonalSkip | LongSkip | None = None,
        target_dim: int = 1,
        skip_outputs: int = 1,
        dropout_cls: type[nn.Module] = nn.Dropout,
    ) -> None:
        super().__init__()
        self.output_chunk_length = output_chunk_length
        self.output_dim = output_dim
        self.hidden_dim = hidden_dim
        self.patch_length = patch_length
        self.mask_inputs = mask_inputs

        step_dim = patch_length * past_dim * (2 if mask_inputs else 1) + static_dim
        # one `nn.LSTM` per layer, as its `dropout` argument cannot stay active in prediction
        self.layers = nn.ModuleList(
            nn.LSTM(step_dim if layer == 0 else hidden_dim, hidden_dim, batch_first=True)
            for layer in range(n_rnn_layers)
        )
        self.dropouts = nn.ModuleList(dropout_cls(dropout) for _ in range(n_rnn_layers))
        self.masks: Masks | None = None  # of dropout; `None` for PyTorch's global state
        self.head = nn.Linear(hidden_dim, output_chunk_length * output_dim)
        # two layers, as the effect of future covariates is often nonlinear: temperature on load
        self.future_head = (
            nn.Sequential(
                nn.Linear(future_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, output_dim)
            )
            if future_dim
            else None
        )
        self.skip = skip
        self.target_dim = target_dim
        self.skip_outputs = skip_outputs
        if skip is not None:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    @property
    def has_skip(self) -> bool:
        """Whether there is a linear skip connection."""
        return self.skip is not None

    def initialize_skip(
        self, season: int, n_windows: int, weights: Tensor | None = None, share: float = 1.0
    ) -> None:
        """Initialise the skip from the training data, see `SeasonalSkip.initialize`."""
        if self.skip is not None:
            self.skip.initialize(season, n_windows, weights, share)

    def add_to_output_bias(self, shift: Tensor) -> None:
        """Add `shift` `(T * O,)` to the output bias."""
        self.head.bias.data += shift

    def reduced_lr_parameters(self) -> list[nn.Parameter]:
        """Return the parameters with a lower learning rate in the low-data regime.

        The LSTM, which overfits few windows, and the output bias.
        """
        return [*self.layers.parameters(), self.head.bias]

    def reset_dropout_masks(self, rows: int) -> None:
        """Use separate dropout masks for a new training, see `Masks`.

        Parameters
        ----------
        rows
            Number of rows of a full batch.
        """
        self.masks = Masks(rows)

    def _dropout(self, dropout: nn.Module, x: Tensor) -> Tensor:
        if self.masks is None or not self.training or not isinstance(dropout, nn.Dropout):
            return dropout(x)
        return self.masks.apply(x, dropout.p)

    def encode(self, past: Tensor, static: Tensor | None = None) -> Tensor:
        """Return the hidden state of the last layer at the last time step, `(B, H)`.

        Parameters
        ----------
        past
            Input windows `(B, L, F)`; NaN marks missing values.
        static
            Static features `(B, S)`.
        """
        return self._encode(*impute(past), static)

    def _encode(self, past: Tensor, missing: Tensor, static: Tensor | None) -> Tensor:
        past = patchify(past, missing, static, self.patch_length, self.mask_inputs)
        last = self.layers[-1]
        for lstm, dropout in zip(self.layers, self.dropouts, strict=True):
            past, (state, _) = lstm(past)  # (B, N, H), (1, B, H)
            if lstm is not last:
                past = self._dropout(dropout, past)
        return state[-1]  # (B, H)

    def forward(
        self, past: Tensor, future: Tensor | None = None, static: Tensor | None = None
    ) -> Tensor:
        """Return the forecasts `(B, T, O)`.

        Parameters
        ----------
        past
            Input windows `(B, L, F)`; NaN marks missing values.
        future
            Features known at the forecast steps `(B, T, D)`.
        static
            Static features `(B, S)`.
        """
        return self.forward_imputed(*impute(past), future, static)

    def forward_imputed(
        self, past: Tensor, missing: Tensor, future: Tensor | None, static: Tensor | None
    ) -> Tensor:
        """Return the forecasts `(B, T, O)` of windows without NaN, see `nn/imputation.py`.

        Parameters
        ----------
        past, missing
            Input windows, and the mask of values that were missing, `(B, L, F)` both.
        future, static
            See `forward`.
        """
        state = self._dropout(self.dropouts[-1], self._encode(past, missing, static))  # (B, H)
        forecast = self.head(state).view(-1, self.output_chunk_length, self.output_dim)  # (B, T, O)
        if self.skip is not None:
            skip_forecast = self.skip(past[..., : self.target_dim])  # (B, T, C)
            forecast = forecast + skip_to_outputs(skip_forecast, self.output_dim, self.skip_outputs)
        if self.future_head is not None:
            forecast = forecast + self.future_head(future)
        return forecast


def skip_to_outputs(skip_forecast: Tensor, output_dim: int, skip_outputs: int) -> Tensor:
    """Expand the forecasts of a skip to the network's outputs, `(..., O)`.

    Parameters
    ----------
    skip_forecast
        Forecasts of the components `(..., C)`.
    output_dim
        Number of outputs O.
    skip_outputs
        Number of the P outputs of each component, the first ones, that get the forecast; the
        others get zero.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.network import skip_to_outputs
    >>> skip_to_outputs(torch.tensor([1.0, 2.0]), output_dim=4, skip_outputs=1)
    tensor([1., 0., 2., 0.])
    """
    if output_dim == skip_forecast.shape[-1]:
        return skip_forecast
    others = output_dim // skip_forecast.shape[-1] - skip_outputs
    # (..., C, skip_outputs)
    repeated = skip_forecast.unsqueeze(-1).expand(*skip_forecast.shape, skip_outputs)
    return pad(repeated, (0, others)).flatten(-2)  # (..., O)


def patchify(
    past: Tensor, missing: Tensor, static: Tensor | None, patch_length: int, mask_inputs: bool
) -> Tensor:
    """Return the inputs of the first LSTM layer, one row per patch, `(B, N, p * F + S)`.

    With `mask_inputs` there are 2F values per input step instead of F.

    Parameters
    ----------
    past
        Input windows without NaN `(B, L, F)`.
    missing
        Mask of their missing values `(B, L, F)`.
    static
        Static features `(B, S)`.
    patch_length
        Number p of consecutive input steps in one patch.
    mask_inputs
        Whether the mask is part of the inputs.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.network import patchify
    >>> window = torch.tensor([[[1.0], [2.0], [3.0]]])
    >>> patchify(window, torch.isnan(window), None, patch_length=2, mask_inputs=False)
    tensor([[[1., 1.],
             [2., 3.]]])
    """
    if mask_inputs:
        past = torch.cat([past, missing.to(past.dtype)], dim=-1)  # (B, L, 2F)
    if patch_length > 1:
        remainder = -past.shape[1] % patch_length
        if remainder:
            oldest = past[:, :1].expand(-1, remainder, -1)
            past = torch.cat([oldest, past], dim=1)  # (B, Np, F)
        past = past.unflatten(1, (-1, patch_length)).flatten(2)  # (B, N, pF)
    if static is not None:
        repeated = static.unsqueeze(1).expand(-1, past.shape[1], -1)  # (B, N, S)
        past = torch.cat([past, repeated], dim=-1)  # (B, N, pF + S)
    return past
