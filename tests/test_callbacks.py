"""The printed loss: its format, value and period; models with the callback can be saved."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from darts import TimeSeries
from darts.models import BlockRNNModel

from darts_lstm_seq import LSTMSeqModel, PrintLoss


class Losses(pl.Callback):
    """Records the loss that each training step returned."""

    def __init__(self) -> None:
        self.epochs: list[list[float]] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self.epochs.append([])

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
        self.epochs[-1].append(outputs["loss"].item())


def with_callbacks(tiny: dict[str, Any], n_epochs: int, *callbacks: pl.Callback) -> dict[str, Any]:
    trainer = {**tiny["pl_trainer_kwargs"], "callbacks": list(callbacks)}
    return {**tiny, "n_epochs": n_epochs, "pl_trainer_kwargs": trainer}


@pytest.mark.parametrize("model_class", [LSTMSeqModel, BlockRNNModel])
def test_lines_have_the_format_and_the_loss_of_the_tutorial(
    model_class: type, seasonal: TimeSeries, tiny: dict[str, Any], capsys: Any
) -> None:
    losses = Losses()
    kwargs = with_callbacks(tiny, 5, PrintLoss(every=2), losses)
    model_class(12, 3, **kwargs).fit(seasonal.astype("float32"))
    steps = losses.epochs
    assert len(steps[0]) > 1
    assert capsys.readouterr().out.splitlines() == [
        f"Epoch [2/5], Loss: {steps[1][-1]:.4f}",
        f"Epoch [4/5], Loss: {steps[3][-1]:.4f}",
    ]


def test_it_is_enough_as_the_only_callback(
    seasonal: TimeSeries, tiny: dict[str, Any], capsys: Any
) -> None:
    LSTMSeqModel(12, 3, **with_callbacks(tiny, 11, PrintLoss())).fit(seasonal)
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"Epoch \[10/11\], Loss: \d+\.\d{4}", line)


def test_is_saved_with_a_model(
    seasonal: TimeSeries, tiny: dict[str, Any], tmp_path: Any, capsys: Any
) -> None:
    model = LSTMSeqModel(12, 1, **with_callbacks(tiny, 1, PrintLoss(every=1))).fit(seasonal)
    model.save(str(tmp_path / "model.pt"))
    loaded = LSTMSeqModel.load(str(tmp_path / "model.pt"))
    (callback,) = loaded.trainer_params["callbacks"]
    assert isinstance(callback, PrintLoss)
    capsys.readouterr()
    loaded.fit(seasonal)
    assert "Epoch [" in capsys.readouterr().out


@pytest.mark.parametrize(("rank_zero", "lines"), [(True, 1), (False, 0)])
def test_only_rank_zero_prints(rank_zero: bool, lines: int, capsys: Any) -> None:
    trainer: Any = SimpleNamespace(
        current_epoch=0,
        max_epochs=1,
        is_global_zero=rank_zero,
        callback_metrics={"train_loss": torch.tensor(3.07441)},
    )
    PrintLoss(every=1).on_train_epoch_end(trainer, pl.LightningModule())
    assert capsys.readouterr().out == "Epoch [1/1], Loss: 3.0744\n" * lines


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "10", None])
def test_refuses_other_periods(every: Any) -> None:
    with pytest.raises(ValueError, match=rf"`every` must be .* received {re.escape(repr(every))}"):
        PrintLoss(every=every)
