"""Prediction without a Lightning `Trainer`: building one costs 50 times the network's own work.

`DirectPredictor` replaces `Trainer.predict` if no prediction hooks are configured; everything else
goes through Lightning. After a training over several processes each of them predicts alone, on its
own device: communication would cost more than so small a network, and a collective call from one
process alone would deadlock.

Source: the loop of `pytorch_lightning.Trainer.predict`, reduced to one device.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import wraps
from typing import Any, Self, TypeVar, cast

import numpy as np
import torch
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.models.forecasting.torch_forecasting_model import TorchForecastingModel
from darts.utils.data.torch_datasets.utils import PLModuleInput
from pytorch_lightning import Callback
from pytorch_lightning.accelerators import CUDAAccelerator
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from tqdm.auto import tqdm

from darts_lstm_seq.batching.batches import move_batch
from darts_lstm_seq.batching.datasets import BatchInferenceDataset
from darts_lstm_seq.compat import TorchDataModule, copy_modules, without_seeding
from darts_lstm_seq.model.stacking import SINGLE_DEVICE_TRAINER_PARAMS
from darts_lstm_seq.parallel import process_lock
from darts_lstm_seq.training.module import LSTMSeqModule
from darts_lstm_seq.training.watching import has_hook

Method = TypeVar("Method", bound=Callable[..., Any])
Model = TypeVar("Model", bound=TorchForecastingModel)

# trainer parameters that ask for no more than a device per process and the default hooks
_SUPPORTED_TRAINER_PARAMS = SINGLE_DEVICE_TRAINER_PARAMS | {
    "callbacks",
    "enable_checkpointing",
    "logger",
    "num_nodes",
    "strategy",
    "sync_batchnorm",
    "use_distributed_sampler",
}
# no autocast; in half precision, too, the module takes the data as they are and casts them itself
_TRUE_PRECISION = {None, 32, 64, "32", "64", "32-true", "64-true", "bf16-true", "16-true"}
# batches are merged up to so many values of the target: a network takes as long for a few hundred
# short windows as for a few dozen, and tensors of this size stay in a processor's cache
_MERGED_VALUES = 2**17


def with_optional_seeding(method: Method, draws_random_numbers: bool) -> Method:
    """Return one of Darts' seeded methods, for a prediction that draws random numbers or none.

    PyTorch's random state belongs to the whole process: predictions that draw from it, and fits,
    are serialised by a lock. Others are not seeded and need no lock; seeding would take a quarter
    of their time (`benchmarks/bench_predict.py`).
    """
    if not draws_random_numbers:
        return without_seeding(method)

    @wraps(method)
    def locked(*args: Any, **kwargs: Any) -> Any:
        with process_lock:
            return method(*args, **kwargs)

    return cast("Method", locked)


def prediction_copy(model: Model) -> Model:
    """Return a model for one prediction, which shares only weights and settings with `model`.

    Darts and its modules keep on themselves what a prediction is about: its horizon, the scale of
    the windows at hand, whether dropout acts. On a copy of their own, threads cannot mix it up.
    """
    view = object.__new__(type(model))
    vars(view).update(vars(model))
    if model.model is not None:
        view.model = copy_modules(model.model)
    return view


class DirectPredictor:
    """Run a module over a data module's prediction batches on one device.

    Parameters
    ----------
    device
        Where the network runs; it is on the CPU again afterwards, as after Lightning.
    show_progress
        Whether to show a progress bar over the batches.

    Attributes
    ----------
    reads_datasets
        Whether to gather batches from our datasets itself; otherwise a `DataLoader` does.
    merges_batches
        Whether to forecast several batches as one, where they are small: the user asked for no
        size, and no random numbers are drawn, which would depend on it.
    """

    reads_datasets = False
    merges_batches = False

    def __init__(self, device: torch.device, show_progress: bool) -> None:
        self.device = device
        self.show_progress = show_progress

    @classmethod
    def for_trainer_params(cls, params: dict[str, Any], verbose: bool | None) -> Self | None:
        """Return a predictor that does what a `Trainer(**params)` would, or `None` if it cannot."""
        if (
            not params.keys() <= _SUPPORTED_TRAINER_PARAMS
            or params.get("precision") not in _TRUE_PRECISION
        ):
            return None
        strategy, devices = params.get("strategy", "auto"), params.get("devices", "auto")
        # under others a process may have a part of the weights only
        is_ddp = isinstance(strategy, DDPStrategy) or str(strategy).startswith(("auto", "ddp"))
        if not is_ddp or any(
            has_hook(callback, hook)
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

    def gathers(self, dataset: Any) -> bool:
        """Tell whether batches of this dataset are gathered without a `DataLoader`."""
        is_ours = isinstance(dataset, BatchInferenceDataset) and dataset.is_batched
        return is_ours and self.reads_datasets

    def predict_values(self, model: PLForecastingModule, datamodule: TorchDataModule) -> np.ndarray:
        """Return the forecasts of all samples, `(N, n, C, S)`, as Darts arranges them."""
        values = torch.cat([batch[0] for batch in self.predict(model, datamodule)], dim=1)
        return np.transpose(values.numpy(), (1, 2, 3, 0))

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
        model.eval()
        # weights that move to a device and back do so for all threads
        lock = nullcontext() if self.device.type == "cpu" else process_lock
        with lock, torch.inference_mode():
            if model.device != self.device:  # asking every parameter takes as long as the network
                model.to(self.device)
            try:
                model.on_predict_start()
                batches, count = self._batches(datamodule)
                # a bar for a single batch says nothing, and costs more than the batch
                if self.show_progress and count > 1:
                    batches = tqdm(batches, "Predicting", count)
                return [
                    step(move_batch(batch, self.device), index)
                    for index, batch in enumerate(batches)
                ]
            finally:
                model.on_predict_end()
                if model.device.type != "cpu":
                    model.to("cpu")

    def _batches(self, datamodule: TorchDataModule) -> tuple[Iterator[Any], int]:
        """Return an iterator over the batches, and their number."""
        dataset, size = datamodule.predict_dataset, datamodule.batch_size
        if not self.gathers(dataset):
            loader = datamodule.predict_dataloader()
            # from a loader itself tqdm takes a second iterator, and random numbers with it
            return iter(loader), len(loader)
        assert isinstance(dataset, BatchInferenceDataset)
        if self.merges_batches:
            values_per_row = dataset.input_chunk_length * dataset.series[0].n_components
            size = max(size, _MERGED_VALUES // values_per_row)
        starts = range(0, len(dataset), size)
        batches = (
            dataset.inputs(np.arange(start, min(start + size, len(dataset)))) for start in starts
        )
        return batches, len(starts)
