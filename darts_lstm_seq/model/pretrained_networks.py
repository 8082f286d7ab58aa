"""The pre-trained networks of the package: their sizes and weights, read and checked.

Each network was trained for one season on synthetic series (`pretraining/MODEL_CARD.md`). Its file
has the weights of a single LSTM and linear layer and one matrix for the skip; sizes and checksums
are in `networks.json`. Which network a series gets is decided in `pretrained.py`.

Source: the file format is that of the package `safetensors`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from darts.utils.likelihood_models.torch import QuantileRegression
from torch import Tensor, nn

from darts_lstm_seq.files import read_json
from darts_lstm_seq.training.module import LSTMSeqModule

# T output steps, L input steps, H hidden, p steps per patch, F past features, S static features

FOLDER = Path(__file__).parents[1] / "weights"
_REPAIR = "Install the package again: `pip install --force-reinstall --no-deps darts-lstm-seq`."


@dataclass(frozen=True)
class PretrainedNetwork:
    """What is known of one network without its weights.

    Parameters
    ----------
    file
        Name of the file with the weights.
    sha256
        Checksum of that file.
    parameters
        Sizes, as parameters of `LSTMSeqModel`.
    quantiles
        Quantiles that it forecasts.
    """

    file: str
    sha256: str
    parameters: dict[str, Any]
    quantiles: list[float]

    def model_parameters(self) -> dict[str, Any]:
        """Return the parameters of the `LSTMSeqModel` that has this network."""
        lengths = tuple(self.parameters["input_chunk_length"])
        return {
            **self.parameters,
            "input_chunk_length": lengths,
            "likelihood": QuantileRegression(self.quantiles),
            "shared_weights": True,
            "use_reversible_instance_norm": True,
        }


@lru_cache
def networks() -> Mapping[int, PretrainedNetwork]:
    """Return the networks by season, in time steps.

    Raises
    ------
    ValueError
        If the file that lists them is missing, damaged or changed.
    """
    try:
        listed = read_json(FOLDER / "networks.json")
    except ValueError as error:
        raise ValueError(f"The list of the pre-trained networks, {error} {_REPAIR}") from error
    return {int(season): PretrainedNetwork(**entry) for season, entry in listed.items()}


@lru_cache
def _weights(season: int) -> dict[str, Tensor]:
    network = networks()[season]
    path = FOLDER / network.file
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"The pre-trained weights `{path}` cannot be read ({error.strerror})."
        raise ValueError(f"{message} {_REPAIR}") from error
    if hashlib.sha256(content).hexdigest() != network.sha256:
        raise ValueError(f"The pre-trained weights `{path}` are damaged or changed. {_REPAIR}")
    return {name: weight.float() for name, weight in safetensors.torch.load(content).items()}


@torch.no_grad()
def load_weights(module: LSTMSeqModule, season: int | str) -> None:
    """Copy the pre-trained weights into a network, in which covariates have no effect yet.

    Parameters
    ----------
    module
        A module whose network has the same sizes, and may have covariates.
    season
        Season of the network.
    """
    network = module.network
    weights = dict(_weights(int(season)))
    matrix = weights.pop("skip")  # (T, L)
    state = network.state_dict()
    first = "layers.0.weight_ih_l0"
    n_patch = network.patch_length
    n_features = module.past_dim  # F
    inputs = torch.zeros_like(state[first])  # (4H, 2pF + S)
    steps = inputs[:, : 2 * n_patch * n_features].view(-1, n_patch, 2, n_features)
    steps[..., 0] = weights[first].view(-1, n_patch, 2)  # the target is the first feature
    network.load_state_dict({**state, **weights, first: inputs})
    network.initialize_skip(int(season), n_windows=0, weights=matrix)
    if network.future_head is not None:
        nn.init.zeros_(network.future_head[-1].weight)
        nn.init.zeros_(network.future_head[-1].bias)
