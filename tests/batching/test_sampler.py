"""The lean order against PyTorch's, and what users may choose instead."""

import pytest
import torch
from darts.utils.data.torch_datasets._data_module import TorchDataModule
from torch.utils.data import RandomSampler, SequentialSampler

from darts_lstm_seq.batching.sampler import _CHUNK, CompactDataModule, CompactRandomSampler


@pytest.mark.parametrize("length", [1, 2, 100, _CHUNK, 2 * _CHUNK + 1])
def test_the_order_is_that_of_pytorch(length: int) -> None:
    torch.manual_seed(3)
    expected = [list(RandomSampler(range(length))) for _ in range(2)]
    after = torch.get_rng_state()
    torch.manual_seed(3)
    sampler = CompactRandomSampler(range(length))
    assert [list(sampler) for _ in range(2)] == expected
    assert len(sampler) == length
    assert torch.equal(torch.get_rng_state(), after)


def test_a_data_module_keeps_all_but_the_order() -> None:
    theirs = TorchDataModule(
        train_dataset=range(10),
        val_dataset=range(4),
        batch_size=3,
        collate_fn=list,
        dataloader_kwargs={"pin_memory": False, "drop_last": True},
    )
    ours = CompactDataModule.like(theirs)
    torch.manual_seed(0)
    expected = list(theirs.train_dataloader()), list(theirs.val_dataloader())
    torch.manual_seed(0)
    assert (list(ours.train_dataloader()), list(ours.val_dataloader())) == expected
    assert isinstance(ours.train_dataloader().sampler, CompactRandomSampler)
    assert ours.predict_dataloader() == []


def test_an_order_that_the_user_chose_stays() -> None:
    generator = torch.Generator()
    for kwargs, sampler in (
        ({"shuffle": False}, SequentialSampler),
        ({"generator": generator}, RandomSampler),
        ({"shuffle": False, "sampler": SequentialSampler(range(10))}, SequentialSampler),
    ):
        module = CompactDataModule.like(TorchDataModule(range(10), dataloader_kwargs=dict(kwargs)))
        assert type(module.train_dataloader().sampler) is sampler
    assert CompactDataModule().train_dataloader() == []
