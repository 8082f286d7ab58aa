from typing import Any

import pytest

from darts_lstm_seq import LSTMSeqModel, PrintLoss


def test_prints_the_loss_in_the_tutorials_form(seasonal: Any, tiny: dict, capsys: Any) -> None:
    tiny["pl_trainer_kwargs"]["callbacks"] = [PrintLoss(every=2)]
    model = LSTMSeqModel(12, 1, **{**tiny, "n_epochs": 5}).fit(seasonal)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Epoch")]
    assert [line.split(", Loss: ")[0] for line in lines] == ["Epoch [2/5]", "Epoch [4/5]"]
    losses = [line.split(", Loss: ")[1] for line in lines]
    assert all(loss == f"{float(loss):.4f}" for loss in losses)
    assert float(losses[1]) != float(losses[0])
    assert model.trainer is not None


def test_prints_what_lightning_logged(seasonal: Any, tiny: dict, capsys: Any) -> None:
    tiny["pl_trainer_kwargs"]["callbacks"] = [PrintLoss(every=1)]
    model = LSTMSeqModel(12, 1, **{**tiny, "n_epochs": 1}).fit(seasonal)
    assert model.trainer is not None
    logged = model.trainer.callback_metrics["train_loss"].item()
    assert f"Epoch [1/1], Loss: {logged:.4f}" in capsys.readouterr().out


def test_travels_with_a_saved_model(seasonal: Any, tiny: dict, tmp_path: Any) -> None:
    tiny["pl_trainer_kwargs"]["callbacks"] = [PrintLoss(every=3)]
    model = LSTMSeqModel(12, 1, **tiny).fit(seasonal)
    model.save(str(tmp_path / "model.pt"))
    loaded = LSTMSeqModel.load(str(tmp_path / "model.pt"))
    (callback,) = loaded.trainer_params["callbacks"]
    assert isinstance(callback, PrintLoss)
    assert callback.every == 3


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "10"])
def test_refuses_other_periods(every: Any) -> None:
    with pytest.raises(ValueError, match="`every` must be an integer >= 1, received"):
        PrintLoss(every=every)
