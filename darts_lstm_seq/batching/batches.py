"""Darts' named batches: collated from samples, drawn from datasets, and their tensors by name.

Source: `darts.utils.data.torch_datasets.utils` of Darts 0.48.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from darts.utils.data.torch_datasets.dataset import TorchDataset
from darts.utils.data.torch_datasets.utils import (
    TorchInferenceBatch,
    TorchInferenceSample,
    TorchTrainingBatch,
)
from torch import Tensor

from darts_lstm_seq.compat import collate_inference_samples, collate_training_samples


def collate(samples: Any) -> TorchTrainingBatch | TorchInferenceBatch:
    """Return a batch: a collated one as it is, a list of samples collated by Darts.

    For the datasets of `datasets.py` and Darts' own, in training and in prediction.

    Parameters
    ----------
    samples
        A batch, or a list of Darts' training or inference samples.

    Examples
    --------
    >>> from darts.utils.timeseries_generation import sine_timeseries
    >>> from torch.utils.data import DataLoader
    >>> from darts_lstm_seq.batching.batches import collate
    >>> from darts_lstm_seq.batching.datasets import BatchTrainingDataset
    >>> dataset = BatchTrainingDataset(sine_timeseries(length=50), input_chunk_length=24)
    >>> batch = next(iter(DataLoader(dataset, batch_size=8, collate_fn=collate)))
    >>> batch.past_target.shape, batch.future_target.shape
    (torch.Size([8, 24, 1]), torch.Size([8, 1, 1]))
    """
    if isinstance(samples, (TorchTrainingBatch, TorchInferenceBatch)):
        return samples
    if isinstance(samples[0], TorchInferenceSample):
        return collate_inference_samples(samples)
    return collate_training_samples(samples)


def draw_batch(dataset: TorchDataset, indices: list[int]) -> Any:
    """Return the samples of these indices as one batch, from any dataset."""
    if hasattr(dataset, "__getitems__"):
        return collate(dataset.__getitems__(indices))
    return collate([dataset[index] for index in indices])


def tensors_of(batch: Any) -> dict[str, Tensor]:
    """Return the tensors of one of Darts' named batches, or inputs, by name."""
    named = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return {name: x for name, x in named.items() if isinstance(x, Tensor)}


def map_tensors(batch: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to each tensor of one of Darts' named batches or inputs."""
    return batch.replace(**{name: function(x) for name, x in tensors_of(batch).items()})


def concatenate(batches: Sequence[TorchTrainingBatch]) -> TorchTrainingBatch:
    """Return the samples of several batches as one."""
    if len(batches) == 1:
        return batches[0]
    parts = [tensors_of(batch) for batch in batches]
    return batches[0].replace(**{name: torch.cat([p[name] for p in parts]) for name in parts[0]})


def move_batch(batch: Any, device: torch.device) -> Any:
    """Move the tensors of one of Darts' named batches by name; itself where it is there already.

    Lightning's recursive search is slower (`benchmarks/bench_fit.py`).
    """
    if batch.past_target.device == device:
        return batch
    return map_tensors(batch, lambda x: x.to(device, non_blocking=True))
