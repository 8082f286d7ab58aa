"""Prediction without a Lightning `Trainer`: building one costs 50 times the network's own work.

`DirectPredictor` stands in for `Trainer.predict` where the default hooks are all that was asked
for. Everything else goes through Lightning. After a training over several processes each of them
predicts alone, on its own device: sharing the work would cost more than so small a network, and
a process that asks alone would wait for ever.

Source: the loop of `pytorch_lightning.Trainer.predict`, reduced to one device.
"""

import dataclasses
import os
from collections.abc import Callable
from typing import Any, Self

import torch
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.utils.data.torch_datasets.utils import PLModuleInput
from pytorch_lightning import Callback
from pytorch_lightning.accelerators import CUDAAccelerator
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from tqdm.auto import tqdm

from darts_lstm_seq.compat import TorchDataModule
from darts_lstm_seq.training.module import LSTMSeqModule

# what a user may have set without asking for more than a device per process and the default hooks
_HARMLESS = {
    "accelerator",
    "callbacks",
    "check_val_every_n_epoch",
    "devices",
    "enable_checkpointing",
    "enable_model_summary",
    "enable_progress_bar",
    "gradient_clip_algorithm",
    "gradient_clip_val",
    "log_every_n_steps",
    "logger",
    "max_epochs",
    "num_nodes",
    "precision",
    "strategy",
    "sync_batchnorm",
    "use_distributed_sampler",
}
# no autocast; in half precision, too, the module takes the data as they are and casts them itself
_TRUE_PRECISION = {None, 32, 64, "32", "64", "32-true", "64-true", "bf16-true", "16-true"}


class DirectPredictor:
    """Run a module over a data module's prediction batches on one device.

    Parameters
    ----------
    device
        Where the network runs; it is on the CPU again afterwards, as after Lightning.
    show_progress
        Whether to show a progress bar over the batches.
    """

    def __init__(self, device: torch.device, show_progress: bool) -> None:
        self.device = device
        self.show_progress = show_progress

    @classmethod
    def for_trainer_params(cls, params: dict[str, Any], verbose: bool | None) -> Self | None:
        """Return a predictor that does what a `Trainer(**params)` would, or `None` if it cannot."""
        if not params.keys() <= _HARMLESS or params.get("precision") not in _TRUE_PRECISION:
            return None
        strategy, devices = params.get("strategy", "auto"), params.get("devices", "auto")
        # under others a process may have a part of the weights only
        is_ddp = isinstance(strategy, DDPStrategy) or str(strategy).startswith(("auto", "ddp"))
        if not is_ddp or any(
            getattr(type(callback), hook) is not getattr(Callback, hook)
            for callback in params.get("callbacks") or []
            for hook in dir(Callback)
            if hook.startswith("on_predict")
        ):
            return None
        match params.get("accelerator", "auto"):
            case "cpu":
                device = torch.device("cpu")
            case "auto" | "gpu" | "cuda" if torch.cuda.device_count():
                chosen = CUDAAccelerator.parse_devices(-1 if devices == "auto" else devices)
                if not chosen:
                    return None
                rank = int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)
                device = torch.device("cuda", chosen[rank % len(chosen)])
            case "auto" if not torch.accelerator.is_available():
                device = torch.device("cpu")
            case _:
                return None
        shown = params.get("enable_progress_bar", True) if verbose is None else verbose
        return cls(device, shown is not False)

    def predict(self, model: PLForecastingModule, datamodule: TorchDataModule) -> list[Any]:
        """Return what `model.predict_step` returns for each batch, on the CPU."""

        def step(batch: Any, index: int) -> Any:
            prediction, *rest = model.predict_step(batch, index)
            return prediction.cpu(), *rest

        return self._run(model, datamodule, step)

    def encode(self, model: LSTMSeqModule, datamodule: TorchDataModule) -> Tensor:
        """Return the last hidden states `(n_series, H)` of all prediction windows, on the CPU."""

        def step(batch: Any, _: int) -> Tensor:
            names = [f.name for f in dataclasses.fields(PLModuleInput) if hasattr(batch, f.name)]
            x_in = PLModuleInput(**{name: getattr(batch, name) for name in names})
            return model.encode(x_in).cpu()

        return torch.cat(self._run(model, datamodule, step))

    def _run(
        self, model: PLForecastingModule, datamodule: TorchDataModule, step: Callable
    ) -> list[Any]:
        was_training, home = model.training, model.device
        model.eval()
        if home != self.device:  # looking at every parameter takes as long as the network
            model.to(self.device)
        try:
            with torch.inference_mode():
                model.on_predict_start()
                loader = datamodule.predict_dataloader()
                # a bar for a single batch says nothing, and costs more than the batch
                hidden = not self.show_progress or len(loader) < 2
                # from a loader itself tqdm takes a second iterator, and random numbers with it
                batches = iter(loader)
                if not hidden:
                    batches = tqdm(batches, "Predicting", len(loader))
                return [
                    step(model.transfer_batch_to_device(batch, self.device, 0), index)
                    for index, batch in enumerate(batches)
                ]
        finally:
            model.on_predict_end()
            model.train(was_training)
            if model.device.type != "cpu":
                model.to("cpu")
