"""Train one network per season on synthetic series alone: `python -m pretraining.train`.

Each is an ordinary `LSTMSeqModel` with quantile outputs, trained by its own `fit`; some are means
of several, each trained on series of its own (`averaging.py`). Every series ends with one forecast
horizon, and many have a shorter history than the longest window before it, so that the network
learns from padded windows, too.

Usage: `python -m pretraining.train [--seasons 1 4 12] [--seed 0] [--out pretraining/out]`
"""

import argparse
import json
import logging
import os
import time
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression

from darts_lstm_seq import LSTMSeqModel
from pretraining.averaging import load_average
from pretraining.generator import MIXTURES, generate

# what follows a window stays within so many of its spreads
_FARTHEST = 60.0
QUANTILES = [0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98]


@dataclass(frozen=True)
class Setting:
    """How the network of one season is made and trained."""

    shortest: int  # of histories
    longest: int
    horizon: int
    patch_length: int
    hidden_dim: int = 128
    n_rnn_layers: int = 1
    dropout: float = 0.0
    batch_size: int = 256
    n_series: int = 100_000
    n_epochs: int = 20
    lr: float = 2e-3
    whole: float = 0.6  # share of series with histories of the longest window
    gaps: float = 0.05
    n_members: int = 1  # networks that are averaged
    widening: float = 1.0  # factor of the distance between the quantiles and the median


SETTINGS = {
    1: Setting(
        shortest=4,
        longest=24,
        horizon=8,
        patch_length=3,
        hidden_dim=64,
        n_series=20_000,
        n_epochs=8,
        lr=1e-2,
        whole=0.4,
        n_members=2,
        widening=1.2,
    ),
    4: Setting(
        shortest=5,
        longest=20,
        horizon=8,
        patch_length=4,
        hidden_dim=64,
        n_series=25_000,
        n_epochs=8,
        lr=1e-2,
        n_members=3,
        widening=1.2,
    ),
    12: Setting(
        shortest=13,
        longest=60,
        horizon=24,
        patch_length=12,
        hidden_dim=64,
        n_series=60_000,
        n_epochs=8,
        lr=3e-3,
        n_members=3,
    ),
    7: Setting(
        shortest=8,
        longest=35,
        horizon=14,
        patch_length=7,
        n_series=30_000,
        n_epochs=10,
        widening=1.4,
    ),
    24: Setting(
        shortest=25, longest=168, horizon=48, patch_length=24, n_series=20_000, n_epochs=14
    ),
    52: Setting(
        shortest=30, longest=156, horizon=26, patch_length=13, n_series=20_000, n_epochs=14
    ),
}


def make_series(
    season: int, setting: Setting, seed: int, mixture: dict[str, float] | None = None
) -> list[np.ndarray]:
    """Return training series of varied length, one horizon more than their history."""
    length = setting.longest + setting.horizon
    values = generate(season, setting.n_series, length, seed, mixture, gaps=setting.gaps).astype(
        np.float32
    )
    rng = np.random.default_rng((seed, 1))
    history = rng.integers(setting.shortest, setting.longest, setting.n_series)
    is_whole = rng.random(setting.n_series) < setting.whole
    kept = np.where(is_whole, length, history + setting.horizon)
    # a history without any value, or without a change, teaches nothing
    series = [row[length - size :] for row, size in zip(values, kept, strict=True)]
    return [
        row
        for row in series
        if np.isfinite(row[: setting.shortest]).any() and _is_learnable(row, setting)
    ]


def _is_learnable(row: np.ndarray, setting: Setting) -> bool:
    """Tell whether the last window varies, and what follows it stays within `_FARTHEST` spreads.

    Else a few jumps out of flat histories would make up most of the loss.
    """
    window, future = row[: -setting.horizon][-setting.longest :], row[-setting.horizon :]
    known = window[np.isfinite(window)]
    if len(known) < 3 or np.ptp(known) <= 1e-6 * np.abs(known).max():
        return False
    distance = np.abs(future[np.isfinite(future)] - known.mean())
    return bool((distance <= _FARTHEST * known.std()).all())


def make_model(setting: Setting, seed: int) -> LSTMSeqModel:
    """Return the untrained model."""
    return LSTMSeqModel(
        (setting.shortest, setting.longest),
        setting.horizon,
        hidden_dim=setting.hidden_dim,
        n_rnn_layers=setting.n_rnn_layers,
        patch_length=setting.patch_length,
        dropout=setting.dropout,
        use_reversible_instance_norm=True,
        likelihood=QuantileRegression(QUANTILES),
        batch_size=setting.batch_size,
        n_epochs=setting.n_epochs,
        optimizer_cls=torch.optim.AdamW,
        optimizer_kwargs={"lr": setting.lr, "weight_decay": 1e-4},
        random_state=seed,
        pl_trainer_kwargs={
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "gradient_clip_val": 1.0,
        },
    )


@torch.no_grad()
def widen_quantiles(model: LSTMSeqModel, factor: float) -> None:
    """Move the quantiles away from the median by a factor, which stays as it is.

    Parameters
    ----------
    model
        A trained model. Its output layer is changed; the skip adds the same to all quantiles.
    factor
        Distance of each quantile from the median, relative to the one before.
    """
    median = QUANTILES.index(0.5)
    for parameter in model.model.network.head.parameters():
        by_quantile = parameter.view(-1, len(QUANTILES), *parameter.shape[1:])  # (T, P, ...)
        by_quantile.copy_(by_quantile[:, [median]].lerp(by_quantile, factor))


def train(
    season: int, setting: Setting, seed: int, mixture: dict[str, float] | None = None
) -> tuple[LSTMSeqModel, dict[str, Any]]:
    """Return the trained model and what to log about it."""
    seconds = {"generate": 0.0, "train": 0.0}
    members, losses = [], []
    for member_seed in range(seed * setting.n_members, (seed + 1) * setting.n_members):
        start = time.perf_counter()
        rows = make_series(season, setting, member_seed, mixture)
        series = [TimeSeries.from_values(row) for row in rows]
        made = time.perf_counter()
        model = make_model(setting, member_seed)
        model.fit(series, max_samples_per_ts=1)  # the newest window of each
        members.append(model.model.network)
        losses.append(round(float(model.model.trainer.callback_metrics["train_loss"]), 4))
        seconds["generate"] += made - start
        seconds["train"] += time.perf_counter() - made
    if setting.n_members > 1:
        wide = replace(setting, hidden_dim=setting.n_members * setting.hidden_dim)
        model = make_model(wide, seed)
        model.fit(series[: setting.batch_size], epochs=1)  # makes its network
        load_average(model.model.network, members)
    widen_quantiles(model, setting.widening)
    return model, {
        "season": season,
        "seed": seed,
        "setting": asdict(setting),
        "mixture": mixture or MIXTURES[season],
        "series": len(series),
        "seconds_to_generate": round(seconds["generate"], 1),
        "seconds_to_train": round(seconds["train"], 1),
        "parameters": sum(p.numel() for p in model.model.parameters()),
        "losses": losses,
    }


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seasons", type=int, nargs="*", default=list(SETTINGS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    quiet()
    args.out.mkdir(parents=True, exist_ok=True)
    for season in args.seasons:
        model, log = train(season, SETTINGS[season], args.seed)
        model.save(str(args.out / f"season_{season}.pt"), clean=True)
        (args.out / f"season_{season}.json").write_text(json.dumps(log, indent=2) + "\n")
        print(json.dumps(log), flush=True)


def quiet() -> None:
    """Silence what Lightning and Darts print."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for name in (
        "pytorch_lightning",
        "pytorch_lightning.utilities.rank_zero",
        "lightning.pytorch.utilities.rank_zero",
        "darts",
    ):
        logging.getLogger(name).setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
