"""Missing values (NaN) in input windows: detect them and impute them.

Pure PyTorch without data-dependent shapes, so that exported networks (ONNX) impute too. Whether the
LSTM also sees the mask is decided in `network.py`; windows without any known value are rejected
before they reach the network.

Source: linear interpolation, as in `pandas.Series.interpolate`.
"""

import torch
from torch import Tensor

# B batch, L input steps, F features


def impute(x: Tensor) -> tuple[Tensor, Tensor]:
    """Impute NaN along time: linear between neighbours, constant at the ends, zero if all is NaN.

    Only values of the same window are used, so no future values leak in.

    Parameters
    ----------
    x
        Windows `(B, L, F)`.

    Returns
    -------
    tuple[Tensor, Tensor]
        The windows without NaN and a boolean mask of the missing values, both `(B, L, F)`.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.imputation import impute
    >>> nan = float("nan")
    >>> impute(torch.tensor([[[nan], [1.0], [nan], [3.0]]]))[0].flatten()
    tensor([1., 1., 2., 3.])
    """
    missing = torch.isnan(x)
    # this branch only saves time: a traced graph always takes the general code below
    if not torch.compiler.is_compiling() and not missing.any():
        return x, missing

    steps = torch.arange(x.shape[1], dtype=x.dtype, device=x.device)[:, None].expand_as(x)
    known = torch.stack([x, torch.where(missing, torch.nan, steps)], dim=-1)  # (B, L, F, 2)
    left, left_step = _forward_fill(known).unbind(-1)  # (B, L, F) each
    right, right_step = _forward_fill(known.flip(1)).flip(1).unbind(-1)
    # `nan_to_num` for known values, where left and right are the same step
    weight = torch.nan_to_num((steps - left_step) / (right_step - left_step))
    imputed = left + weight * (right - left)
    imputed = torch.where(torch.isnan(left), right, imputed)
    imputed = torch.where(torch.isnan(right), left, imputed)
    filled = torch.where(missing, torch.where(torch.isnan(imputed), 0.0, imputed), x)
    return filled, missing


def _forward_fill(x: Tensor) -> Tensor:
    """Replace NaN by the last known value along dimension 1, in log2(L) doubling steps."""
    step, length = 1, x.shape[1]
    while step < length:
        padding = torch.full_like(x[:, :step], torch.nan)
        earlier = torch.cat([padding, x[:, :-step]], dim=1)
        x = torch.where(torch.isnan(x), earlier, x)
        step *= 2
    return x
