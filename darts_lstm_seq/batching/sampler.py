"""Darts' data module, with a random order that takes little memory, and batches moved by name.

A `DataLoader` that shuffles makes a list of all sample indices, 48 bytes each: several times the
memory of a long series, whose windows are not copied.

Source: `torch.utils.data.RandomSampler`, `darts.utils.data.torch_datasets._data_module`.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import RandomSampler
from typing_extensions import override

from darts_lstm_seq.batching.batches import move_batch
from darts_lstm_seq.compat import TorchDataModule

# number of sample indices that are Python objects at a time
_CHUNK = 4096


class CompactRandomSampler(RandomSampler):
    """Draw every sample once, in the order of `RandomSampler`, with 8 bytes per sample.

    Parameters
    ----------
    data_source
        The dataset.

    Examples
    --------
    >>> from darts_lstm_seq.batching.sampler import CompactRandomSampler
    >>> sorted(CompactRandomSampler(range(3)))
    [0, 1, 2]
    """

    def draw_order(self) -> torch.Tensor:
        """Return the sample indices of one epoch in random order."""
        generator = torch.Generator()
        generator.manual_seed(int(torch.empty((), dtype=torch.int64).random_().item()))
        return torch.randperm(len(self.data_source), generator=generator)

    @override
    def __iter__(self) -> Iterator[int]:
        for chunk in self.draw_order().split(_CHUNK):
            yield from chunk.tolist()


class CompactDataModule(TorchDataModule):
    """Darts' data module, with `CompactRandomSampler` where it would shuffle."""

    @classmethod
    def like(cls, module: TorchDataModule) -> "CompactDataModule":
        """Return a data module with the data and the settings of another."""
        return cls(
            train_dataset=module.train_dataset,
            val_dataset=module.val_dataset,
            predict_dataset=module.predict_dataset,
            batch_size=module.batch_size,
            dataloader_kwargs={**module.dataloader_kwargs, "shuffle": module.shuffle},
        )

    @override
    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Move the tensors of a Darts batch; in a module, Lightning would warn about it."""
        return move_batch(batch, device)

    @override
    def train_dataloader(self) -> Any:
        """Return the loader of the training set."""
        has_own_order = {"sampler", "batch_sampler", "generator"} & self.dataloader_kwargs.keys()
        if has_own_order or not self.shuffle or self.train_dataset is None:
            return super().train_dataloader()
        return self._create_dataloader(
            self.train_dataset, sampler=CompactRandomSampler(self.train_dataset)
        )
