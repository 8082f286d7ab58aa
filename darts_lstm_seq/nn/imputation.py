"""Missing values inside input windows: find them and bridge them.

Pure PyTorch and free of data-dependent shapes, so that exported networks (ONNX) bridge gaps too.
What the network makes of the mask is up to `network.py`; which windows are hopeless (nothing but
gaps) is up to the Darts layer.
"""

import torch
from torch import Tensor

# B batch, L input steps, F features


def impute(x: Tensor) -> tuple[Tensor, Tensor]:
    """Bridge NaN along time: linearly inside, the nearest value at the ends, zero if there is none.

    Only values of the same window are used, so no future leaks in.

    Parameters
    ----------
    x
        Windows `(B, L, F)`.

    Returns
    -------
    tuple[Tensor, Tensor]
        The windows without NaN and a Boolean mask of what was missing, both `(B, L, F)`.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.imputation import impute
    >>> nan = float("nan")
    >>> impute(torch.tensor([[[nan], [1.0], [nan], [3.0]]]))[0].flatten()
    tensor([1., 1., 2., 3.])
    """
    missing = torch.isnan(x)
    # the branch is for speed alone: a traced graph always takes the general way below
    if not torch.compiler.is_compiling() and not missing.any():
        return x, missing

    steps = torch.arange(x.shape[1], dtype=x.dtype, device=x.device)[:, None].expand_as(x)
    known = torch.stack([x, torch.where(missing, torch.nan, steps)], dim=-1)  # (B, L, F, 2)
    left, left_step = _carry_forward(known).unbind(-1)  # (B, L, F) each
    right, right_step = _carry_forward(known.flip(1)).flip(1).unbind(-1)
    # between two neighbours; `nan_to_num` covers known points, where left and right coincide
    weight = torch.nan_to_num((steps - left_step) / (right_step - left_step))
    bridged = left + weight * (right - left)
    bridged = torch.where(torch.isnan(left), right, bridged)
    bridged = torch.where(torch.isnan(right), left, bridged)
    filled = torch.where(missing, torch.where(torch.isnan(bridged), 0.0, bridged), x)
    return filled, missing


def _carry_forward(x: Tensor) -> Tensor:
    """Replace NaN by the last known value along dimension 1, in log2(L) doublings."""
    step, length = 1, x.shape[1]
    while step < length:
        nothing = torch.full_like(x[:, :step], torch.nan)
        earlier = torch.cat([nothing, x[:, :-step]], dim=1)
        x = torch.where(torch.isnan(x), earlier, x)
        step *= 2
    return x
