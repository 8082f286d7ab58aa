"""Fit and forecast in each of several processes; a script that `test_distributed.py` starts.

Each process leaves what it found in a file `rank<number>.pt` of the folder that is named. A single
process, with `WORLD_SIZE` unset and batches twice as large, sees the same batches as two.
"""

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import GaussianLikelihood
from makers import sine
from torch.utils.data import DistributedSampler

from darts_lstm_seq import LSTMSeqModel

L, T, BATCH = 12, 4, 8
N_WINDOWS = 3 * 32  # whole batches: no process repeats a window to fill its last one


class Losses(pl.Callback):
    """Collects the losses of all epochs."""

    def __init__(self) -> None:
        self.found: dict[str, list[float]] = {"train_loss": [], "val_loss": []}

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        for name, values in self.found.items():
            if name in trainer.callback_metrics:
                values.append(float(trainer.callback_metrics[name]))


def make_series() -> list[TimeSeries]:
    """Return three ragged series; Darts draws as many windows of each as the longest one has."""
    return [
        sine(
            windows + L + T - 1, level=100 * number, scale=10, seed=number, dtype="float64"
        ).with_static_covariates(pd.DataFrame({"size": [number]}))
        for number, windows in enumerate((20, 32, 27))
    ]


def make_model(folder: Path, devices: int, losses: Losses, **kwargs: Any) -> LSTMSeqModel:
    trainer = {
        "accelerator": "cpu",
        "devices": devices,
        "strategy": "ddp" if devices > 1 else "auto",
        "precision": "64-true",
        "callbacks": [losses],
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
    }
    return LSTMSeqModel(
        L,
        T,
        hidden_dim=8,
        n_epochs=3,
        batch_size=BATCH * 2 // devices,
        random_state=0,
        work_dir=str(folder),
        pl_trainer_kwargs=trainer,
        **kwargs,
    )


def learn_plainly(folder: Path, devices: int) -> dict[str, Any]:
    """Fit to the same batches, however many processes share them; forecast, save and load."""
    losses, series = Losses(), make_series()
    model = make_model(
        folder, devices, losses, dropout=0.0, save_checkpoints=True, model_name="plain"
    )
    order = DistributedSampler(range(N_WINDOWS), num_replicas=1, rank=0, shuffle=True)
    alone = {"sampler": order, "shuffle": False} if devices == 1 else None
    model.fit(series, dataloader_kwargs=alone)
    forecasts = model.predict(2 * T, series)
    rank = model.trainer.global_rank
    if rank == 0:  # nobody waits for the others
        model.predict(T, series[0])
        model.save(str(folder / "plain.pt"))
        loaded = LSTMSeqModel.load(str(folder / "plain.pt"), trusted=True)  # for the callback
        for there, here in zip(loaded.predict(2 * T, series), forecasts, strict=True):
            np.testing.assert_array_equal(there.values(), here.values())
    trainer = pl.Trainer(**model.trainer_params)
    through_trainer = model.predict(2 * T, series, trainer=trainer)
    return {
        "rank": rank,
        "weights": model.model.state_dict(),
        "losses": losses.found,
        "forecasts": [forecast.values() for forecast in forecasts],
        "through_trainer": [forecast.values() for forecast in through_trainer],
    }


def learn_everything(folder: Path, devices: int, n_members: int) -> dict[str, Any]:
    """Fit with all that a network can have; weights that get no gradient would end it."""
    losses, series = Losses(), make_series()
    series[0] = series[0].with_values(np.where(series[0].values() > 5, np.nan, series[0].values()))
    covariates = [series + 1 for series in make_series()]
    model = make_model(
        folder,
        devices,
        losses,
        use_reversible_instance_norm={"affine": True},
        likelihood=GaussianLikelihood(),
        n_members=n_members,
        n_rnn_layers=2,
        add_encoders={"cyclic": {"future": ["month"]}},
    )
    model.fit(
        series,
        past_covariates=covariates,
        val_series=make_series(),
        val_past_covariates=covariates,
    )
    forecasts = model.predict(
        T, series, past_covariates=covariates, predict_likelihood_parameters=True
    )
    return {
        "weights": model.model.state_dict(),
        "losses": losses.found,
        "forecasts": [forecast.values() for forecast in forecasts],
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    folder, devices = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    found = {
        "plain": learn_plainly(folder, devices),
        "everything": learn_everything(folder, devices, n_members=1),
        "members": learn_everything(folder, devices, n_members=3),
    }
    torch.save(found, folder / f"rank{found['plain']['rank']}.pt")
