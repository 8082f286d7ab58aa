"""Write trained networks into the package: `python -m pretraining.export [--models FOLDER]`.

One file of weights per season in half precision, with the skip as a single matrix, and the list of
sizes, quantiles and checksums that `darts_lstm_seq/model/pretrained_networks.py` reads.
"""

import argparse
import hashlib
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.files import write_json
from darts_lstm_seq.nn.network import LSTMSeqNetwork
from pretraining.averaging import skip_of

PACKAGE = Path(__file__).parents[1] / "darts_lstm_seq" / "weights"
PARAMETERS = ("output_chunk_length", "hidden_dim", "n_rnn_layers", "patch_length", "dropout")


def weights_of(network: LSTMSeqNetwork) -> dict[str, Tensor]:
    """Return the weights in half precision, by the names of the network and `skip` `(T, L)`."""
    weights = {
        name: weight
        for name, weight in network.state_dict().items()
        if not name.startswith("skip.")
    }
    return {
        name: weight.detach().to(torch.float16).contiguous()
        for name, weight in {**weights, "skip": skip_of(network)}.items()
    }


def export(model: LSTMSeqModel, season: int, folder: Path = PACKAGE) -> dict[str, Any]:
    """Write the weights of a trained model; return its entry in the list of networks."""
    content = safetensors.torch.save(weights_of(model.model.network))
    file = f"season_{season}.safetensors"
    (folder / file).write_bytes(content)
    lengths = [model.min_input_chunk_length, model.input_chunk_length]
    return {
        "file": file,
        "sha256": hashlib.sha256(content).hexdigest(),
        "parameters": {
            "input_chunk_length": lengths,
            **{name: getattr(model, name) for name in PARAMETERS},
        },
        "quantiles": model.likelihood.quantiles,
    }


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path(__file__).parent / "out")
    args = parser.parse_args()
    PACKAGE.mkdir(exist_ok=True)
    listed = {}
    for path in sorted(args.models.glob("season_*.pt"), key=lambda p: int(p.stem.split("_")[1])):
        season = int(path.stem.split("_")[1])
        model = LSTMSeqModel.load(str(path), pl_trainer_kwargs={"accelerator": "cpu"})
        listed[str(season)] = export(model, season)
    write_json(PACKAGE / "networks.json", listed)


if __name__ == "__main__":
    main()
