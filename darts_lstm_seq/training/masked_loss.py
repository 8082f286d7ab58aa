"""Losses over known labels only: select them, and weight them in a stack.

Pure functions of tensors. The loss itself is Darts' (`PLForecastingModule._compute_loss`), which
does not know missing labels (NaN); `module.py` and `stack.py` call it with what is selected here.

Source: our own.
"""

import torch
from torch import Tensor

# B batch, T output steps, C target components, P likelihood parameters, N known labels,
# K stacked networks


def select_known(
    prediction: Tensor, label: Tensor, weight: Tensor | None, is_joint: bool
) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """Select the predictions, labels and weights of known labels, each as a window of one step.

    Parameters
    ----------
    prediction
        Forecasts `(B, T, C, P)`.
    label
        Labels `(B, T, C)`; NaN marks missing values.
    weight
        Sample weights `(B, T, C or 1)`, or `None`.
    is_joint
        Whether the likelihood is one distribution over all components: then a step is known if all
        its components are.

    Returns
    -------
    tuple[Tensor, Tensor, Tensor | None] | None
        Predictions `(N, 1, C or 1, P)`, labels and weights `(N, 1, C or 1)`, or the arguments if
        all labels are known; `None` if no label is known.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.training.masked_loss import select_known
    >>> prediction = torch.tensor([[[[1.0]], [[2.0]]]])  # (1, 2, 1, 1)
    >>> label = torch.tensor([[[float("nan")], [3.0]]])  # (1, 2, 1)
    >>> select_known(prediction, label, None, is_joint=False)
    (tensor([[[[2.]]]]), tensor([[[3.]]]), None)
    """
    known = ~torch.isnan(label)  # (B, T, C)
    if known.all():
        return prediction, label, weight
    width = 1
    if is_joint:
        known, width = known.all(dim=-1), label.shape[-1]  # (B, T)
    if not known.any():
        return None
    if weight is not None:
        weight = weight.expand_as(label)[known].reshape(-1, 1, width)
    prediction = prediction[known].reshape(-1, 1, width, prediction.shape[-1])
    return prediction, label[known].reshape(-1, 1, width), weight


def select_complete_steps(prediction: Tensor, label: Tensor) -> tuple[Tensor, Tensor] | None:
    """Select the steps whose components are all known, as metrics need whole rows.

    Parameters
    ----------
    prediction
        Forecasts `(B, T, C, P)`.
    label
        Labels `(B, T, C)`; NaN marks missing values.

    Returns
    -------
    tuple[Tensor, Tensor] | None
        Predictions `(N, 1, C, P)` and labels `(N, 1, C)`, or the arguments if all labels are known;
        `None` if no step is complete.
    """
    known = ~torch.isnan(label).any(dim=-1)  # (B, T)
    if known.all():
        return prediction, label
    if not known.any():
        return None
    return prediction[known][:, None], label[known][:, None]


def per_network_weights(label: Tensor, n_networks: int, dtype: torch.dtype) -> Tensor:
    """Return weights that turn the mean over a batch into a sum of the means of each network.

    Parameters
    ----------
    label
        Labels `(KB, T, C)` of rows grouped by network; NaN marks missing values.
    n_networks
        Number of networks K.
    dtype
        Type of the weights.

    Returns
    -------
    Tensor
        One weight for each row, `(KB, 1, 1)`.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.training.masked_loss import per_network_weights
    >>> label = torch.tensor([1.0, 1.0, 1.0, float("nan")]).view(4, 1, 1)
    >>> per_network_weights(label, n_networks=2, dtype=torch.float32).flatten()
    tensor([1.5000, 1.5000, 3.0000, 3.0000])
    """
    known = ~torch.isnan(label)  # (KB, T, C)
    counts = known.unflatten(0, (n_networks, -1)).flatten(1).sum(dim=1)  # (K,)
    counts = counts.to(dtype)  # integers would be divided in single precision
    weights = counts.sum() / counts.clamp(min=1)  # (K,)
    return weights.repeat_interleave(len(label) // n_networks)[:, None, None]  # (KB, 1, 1)
