"""Several networks of equal structure as one: stacked weights and batched matrix products.

A small network leaves a processor idle between its many small operations; K stacked networks keep
it busy. `StackedNetwork` computes exactly what K ordinary networks of `network.py` would. The LSTM
layer itself is in `stacked_lstm.py`; batches, losses, optimisers and the training loop are left to
the caller.

Source: our own. Speed: `benchmarks/bench_backtest.py`.
"""

import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from darts_lstm_seq.nn.dropout import apply_stacked
from darts_lstm_seq.nn.imputation import impute
from darts_lstm_seq.nn.long_skip import LongSkip, check_is_compact, long_skip_forecast
from darts_lstm_seq.nn.network import LSTMSeqNetwork, patchify, skip_to_outputs
from darts_lstm_seq.nn.skip import skip_matrix
from darts_lstm_seq.nn.stacked_lstm import StackedLSTM

# K stacked networks, B batch, L input steps, T output steps, F past features, S static features,
# D future features, N patches, I inputs of a layer, H hidden, R = I + 1 + H columns of its weights,
# O outputs per forecast step, C target components

_EQUAL_ATTRIBUTES = (
    "output_chunk_length",
    "output_dim",
    "patch_length",
    "mask_inputs",
    "target_dim",
    "skip_outputs",
)
_SKIP_BUFFERS = "base_weight", "basis", "lr_scale"


class StackedNetwork(nn.Module):
    """K networks of equal structure in one set of tensors `(K, ...)`.

    Parameters
    ----------
    networks
        The networks whose weights and initialised skips are copied.

    Raises
    ------
    ValueError
        If the networks differ in more than the values of their weights and skips, if they
        have masks, dropout rates.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.network import LSTMSeqNetwork
    >>> from darts_lstm_seq.nn.stacked import StackedNetwork
    >>> networks = [LSTMSeqNetwork(1, 3, 1, hidden_dim=8) for _ in range(4)]
    >>> stack = StackedNetwork(networks)
    >>> stack(torch.zeros(4, 5, 24, 1)).shape
    torch.Size([4, 5, 3, 1])
    >>> stack(torch.zeros(2, 5, 24, 1)).shape  # only the first two networks
    torch.Size([2, 5, 3, 1])
    >>> stack.unstack(1, networks[0])
    """

    def __init__(self, networks: Sequence[LSTMSeqNetwork]) -> None:
        super().__init__()
        _check_equal(networks)
        first = networks[0]
        # smaller networks get units with zero weights, which have zero gradients
        self._hidden_dims = [network.hidden_dim for network in networks]
        hidden = max(self._hidden_dims)
        states = [dict(network.named_parameters()) for network in networks]
        # names as in the ordinary network, where a dot cannot be part of a name
        self.weights = nn.ParameterDict(
            {
                name.replace(".", "/"): nn.Parameter(
                    torch.stack([_resized(name, state[name].detach(), hidden) for state in states]),
                    weight.requires_grad,
                )
                for name, weight in states[0].items()
            }
        )
        reduced = {id(weight) for weight in first.reduced_lr_parameters()}
        self._reduced_lr_names = [
            name.replace(".", "/")
            for name, weight in first.named_parameters()
            if id(weight) in reduced
        ]
        self.output_chunk_length = first.output_chunk_length
        self.output_dim = first.output_dim
        self.patch_length = first.patch_length
        self.mask_inputs = first.mask_inputs
        self.target_dim = first.target_dim
        self.skip_outputs = first.skip_outputs
        self.dropouts = deepcopy(first.dropouts)
        # of each layer and network; masks for each call of each network, or none
        self._dropout_rates = [
            [_rate(network.dropouts[layer]) for network in networks]
            for layer in range(len(first.dropouts))
        ]
        self.masks = [network.masks for network in networks]
        self.has_future = first.future_head is not None
        self.has_skip = first.skip is not None
        self._is_long = isinstance(first.skip, LongSkip)
        self._shift = 0 if first.skip is None else first.skip.shift
        self.load_skips(networks)

    def load_skips(self, networks: Sequence[LSTMSeqNetwork]) -> None:
        """Copy the base weights, bases and scales of the skips; the trained weights stay.

        Parameters
        ----------
        networks
            As many as there are in the stack.
        """
        buffers = [dict(network.named_buffers()) for network in networks]
        for name in buffers[0]:
            stacked = torch.stack([of_network[name] for of_network in buffers])
            self.register_buffer(name.replace(".", "/"), stacked)
        self._read_seasons()

    def forward(
        self, past: Tensor, future: Tensor | None = None, static: Tensor | None = None
    ) -> Tensor:
        """Return the forecasts `(K, B, T, O)`.

        With batches for fewer than K networks only the first networks are computed: during
        training, those that have finished are the last ones.

        Parameters
        ----------
        past
            Input windows `(K, B, L, F)`; NaN marks missing values.
        future
            Features known at the forecast steps `(K, B, T, D)`.
        static
            Static features `(K, B, S)`.
        """
        count, batch = past.shape[:2]
        filled, missing = impute(past.flatten(0, 1))  # (KB, L, F)
        flat_future, flat_static = (
            None if x is None else x.flatten(0, 1) for x in (future, static)
        )
        forecast = self.forward_imputed(count, filled, missing, flat_future, flat_static)
        return forecast.unflatten(0, (count, batch))

    def forward_imputed(
        self,
        count: int,
        filled: Tensor,
        missing: Tensor,
        future: Tensor | None,
        static: Tensor | None,
    ) -> Tensor:
        """Return the forecasts `(KB, T, O)` of windows without NaN, see `nn/imputation.py`.

        Parameters
        ----------
        count
            Number of networks K in the batch; the B rows of each are contiguous.
        filled, missing
            Input windows, and the mask of values that were missing, `(KB, L, F)` both.
        future, static
            As for `forward`, with K and B flattened into one dimension.
        """
        batch = len(filled) // count

        def weight(name: str) -> Tensor:
            stacked = self.weights[name]
            return stacked if count == len(stacked) else stacked[:count]

        patches = patchify(filled, missing, static, self.patch_length, self.mask_inputs)
        x = patches.unflatten(0, (count, batch)).permute(2, 0, 3, 1)  # (N, K, I, B)
        for layer in range(len(self.dropouts)):
            is_last = layer == len(self.dropouts) - 1
            layer_weights = _concatenated_weights(weight, f"layers/{layer}")  # (K, 4H, R)
            x = StackedLSTM.apply(x, layer_weights, not is_last)  # (N, K, H, B), last (K, H, B)
            x = self._dropout(layer, x)
        state = x.transpose(1, 2)  # (K, B, H)
        forecast = _linear(state, weight, "head")  # (K, B, TO)
        forecast = forecast.unflatten(-1, (self.output_chunk_length, self.output_dim))
        if self.has_skip:
            target = filled[..., : self.target_dim].unflatten(0, (count, batch))  # (K, B, L, C)
            forecast = forecast + self._skip(target, weight)  # (K, B, T, O)
        if future is not None and self.has_future:
            steps = future.unflatten(0, (count, batch)).flatten(1, 2)  # (K, BT, D)
            hidden = _linear(steps, weight, "future_head/0").relu()  # (K, BT, H)
            future_forecast = _linear(hidden, weight, "future_head/2")  # (K, BT, O)
            forecast = forecast + future_forecast.view_as(forecast)
        return forecast.flatten(0, 1)

    def reduced_lr_parameters(self) -> list[nn.Parameter]:
        """Return the stacked parameters with a lower learning rate, see `LSTMSeqNetwork`."""
        return [self.weights[name] for name in self._reduced_lr_names]

    def forward_flat(
        self, count: int, past: Tensor, future: Tensor | None, static: Tensor | None
    ) -> Tensor:
        """Return the forecasts `(KB, T, O)` of rows grouped by network.

        Parameters
        ----------
        count
            Number of networks K in the batch; the B rows of each are contiguous.
        past, future, static
            As for `forward`, with K and B flattened into one dimension.
        """
        return self.forward_imputed(count, *impute(past), future, static)

    def _dropout(self, layer: int, x: Tensor) -> Tensor:
        count = x.shape[-3]
        masks = [mask for mask in self.masks[:count] if mask is not None]
        rates = self._dropout_rates[layer][:count]
        if not masks or not self.training or not any(rates):
            return self.dropouts[layer](x)
        return apply_stacked(masks, x, rates, self._hidden_dims)

    def _skip(self, target: Tensor, weight: Callable[[str], Tensor]) -> Tensor:
        parts = [
            *(self.get_buffer(f"skip/{name}")[: len(target)] for name in _SKIP_BUFFERS),
            weight("skip/coefficients"),
            weight("skip/weight"),
        ]
        if self._is_long:
            seasons = self._seasons[: len(target)]
            forecast = long_skip_forecast(target, seasons, self._shift, *parts)  # (K, B, T, C)
            return skip_to_outputs(forecast, self.output_dim, self.skip_outputs)
        matrix = skip_matrix(*parts)  # (K, T, L)
        windows = target.transpose(2, 3)  # (K, B, C, L)
        forecast = windows.flatten(1, 2) @ matrix.transpose(1, 2)  # (K, BC, T)
        forecast = forecast.unflatten(1, windows.shape[1:3]).transpose(2, 3)  # (K, B, T, C)
        return skip_to_outputs(forecast, self.output_dim, self.skip_outputs)  # (K, B, T, O)

    def _read_seasons(self) -> None:
        # numbers, so that no step waits for a device
        self._seasons = self.get_buffer("skip/season").tolist() if self._is_long else []

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        if self._is_long:
            check_is_compact(state_dict.get(f"{prefix}skip/base_weight"))
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._read_seasons()

    @torch.no_grad()
    def unstack(self, index: int, network: LSTMSeqNetwork) -> None:
        """Copy the weights and the skip of one network of the stack into an ordinary network.

        Parameters
        ----------
        index
            Position of the network in the stack.
        network
            A network of the same structure, which is overwritten.
        """
        state = {
            name.replace("/", "."): _resized(name, weight[index], network.hidden_dim)
            for name, weight in self.weights.items()
        }
        for name, _ in network.named_buffers():
            state[name] = self.get_buffer(name.replace(".", "/"))[index]
        network.load_state_dict(state)


def _hidden_blocks(name: str) -> dict[int, int]:
    """Return which dimensions of a weight consist of how many blocks of hidden units."""
    parts = re.split(r"[./]", name)
    match parts[0], parts[1], parts[-1]:
        case "layers", layer, kind:
            blocks = {0: 4}
            if kind == "weight_hh_l0" or (kind == "weight_ih_l0" and layer != "0"):
                blocks[1] = 1
            return blocks
        case ("head", _, "weight") | ("future_head", "2", "weight"):
            return {1: 1}
        case "future_head", "0", _:
            return {0: 1}
    return {}


def _resized(name: str, weight: Tensor, hidden: int) -> Tensor:
    """Return a weight for so many hidden units: zeros are added to each block, or units cut off."""
    for dim, blocks in _hidden_blocks(name).items():
        own = weight.shape[dim] // blocks
        if own != hidden:
            units = weight.movedim(dim, -1).unflatten(-1, (blocks, own))
            weight = pad(units, (0, hidden - own)).flatten(-2).movedim(-1, dim)
    return weight


def _rate(dropout: nn.Module) -> float:
    return dropout.p if isinstance(dropout, nn.Dropout) else 0.0


def _linear(x: Tensor, weight: Callable[[str], Tensor], name: str) -> Tensor:
    bias = weight(f"{name}/bias").unsqueeze(1)
    return torch.baddbmm(bias, x, weight(f"{name}/weight").transpose(1, 2))


def _concatenated_weights(weight: Callable[[str], Tensor], layer: str) -> Tensor:
    """Return the weights of a layer `(K, 4H, R)`: input weights, bias, recurrent weights."""
    bias = weight(f"{layer}/bias_ih_l0") + weight(f"{layer}/bias_hh_l0")  # (K, 4H)
    inputs, recurrent = weight(f"{layer}/weight_ih_l0"), weight(f"{layer}/weight_hh_l0")
    return torch.cat([inputs, bias.unsqueeze(-1), recurrent], dim=-1)


def _check_equal(networks: Sequence[LSTMSeqNetwork]) -> None:
    if not networks:
        raise ValueError("`networks` is empty; a stack needs at least one network.")
    first = structure(networks[0])
    for index, network in enumerate(networks):
        other = structure(network)
        for name in first | other:
            if first.get(name) != other.get(name):
                raise ValueError(
                    f"`networks[{index}]` differs from `networks[0]` in {name}: {other.get(name)}, "
                    f"not {first.get(name)}; stack only networks of equal structure."
                )


def structure(network: LSTMSeqNetwork) -> dict[str, Any]:
    """Return by name everything that must be equal in a stack; -1 for a hidden size."""
    parts = {name: getattr(network, name) for name in _EQUAL_ATTRIBUTES}
    rates = None if network.masks else [_rate(dropout) for dropout in network.dropouts]
    parts["dropout"] = len(network.dropouts), rates  # with masks of its own, any rate will do
    for name, value in network.state_dict(keep_vars=True).items():
        trained = "trained" if value.requires_grad else "not trained"
        shape = tuple(-1 if d in _hidden_blocks(name) else n for d, n in enumerate(value.shape))
        parts[name] = (shape, value.dtype, value.device, trained)
    return parts
