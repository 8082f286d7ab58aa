"""Short steps: everything ends up as after Lightning's own loop, and nobody misses a step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import (
    GaussianLikelihood,
    PoissonLikelihood,
    QuantileRegression,
)
from makers import sine
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from torch.optim import LBFGS, SGD, AdamW, RMSprop
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR
from torch.utils._python_dispatch import TorchDispatchMode
from torchmetrics import MeanAbsoluteError

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.batching.datasets import BatchTrainingDataset
from darts_lstm_seq.training import epoch_loop
from darts_lstm_seq.training.epoch_loop import EpochLoop
from darts_lstm_seq.training.module import LSTMSeqModule
from darts_lstm_seq.training.training_losses import PreparedWindows, loss_of_step, training_losses

L, T = 6, 3
STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Let models fitted from now on use Lightning's own loop."""
    return lambda: monkeypatch.setattr(EpochLoop, "install", lambda trainer: None)


def state(model: LSTMSeqModel) -> dict[str, Any]:
    """Return all that a training changes."""
    trainer: Any = model.trainer
    return {
        "weights": model.model.state_dict(),
        "loops": trainer.fit_loop.state_dict(),
        "epoch": (trainer.current_epoch, trainer.global_step, model.epochs_trained),
        "metrics": trainer.callback_metrics,
        "optimizer": trainer.optimizers[0].state_dict(),
        "schedulers": [
            (c.scheduler.last_epoch, c.scheduler.get_last_lr())
            for c in trainer.lr_scheduler_configs
        ],
    }


def assert_same(a: Any, b: Any) -> None:
    """Check that what was trained is equal, tensors up to rounding."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        a, b = list(a.values()), list(b.values())
    if isinstance(a, torch.Tensor):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7, equal_nan=True)
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def series_of(length: int, n_components: int = 1) -> TimeSeries:
    return sine(length, width=n_components)


def with_gaps() -> TimeSeries:
    series = series_of(40)
    values = series.all_values(copy=True)
    values[[10, 11, 12, 13, 30]] = np.nan
    values[20:29] = 1.0  # windows without a scale
    return series.with_values(values)


def step(scheduler: Any, **kwargs: Any) -> dict[str, Any]:
    return {"lr_scheduler_cls": scheduler, "lr_scheduler_kwargs": kwargs}


SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "one window a batch": {"batch_size": 1},
    "one batch": {"batch_size": 100},
    "the tutorial's network": {"use_reversible_instance_norm": False},
    "affine": {"use_reversible_instance_norm": {"affine": True}},
    "members": {"n_members": 2},
    "dropout": {"dropout": 0.5, "n_rnn_layers": 2},
    "quantiles": {"likelihood": QuantileRegression([0.1, 0.5, 0.9])},
    "gaussian": {"likelihood": GaussianLikelihood()},
    "counts": {"likelihood": PoissonLikelihood()},
    "adamw": {"optimizer_cls": AdamW, "optimizer_kwargs": {"lr": 0.01, "weight_decay": 0.1}},
    "amsgrad": {"optimizer_kwargs": {"lr": 0.01, "amsgrad": True}},
    "not fused": {"optimizer_kwargs": {"lr": 0.01, "fused": False}},
    "sgd": {"optimizer_cls": SGD, "optimizer_kwargs": {"lr": 0.01, "momentum": 0.9}},
    "rmsprop": {"optimizer_cls": RMSprop},
    "lbfgs": {"optimizer_cls": LBFGS, "optimizer_kwargs": {"lr": 0.1}},
    "schedule of steps": step(OneCycleLR, max_lr=0.01, total_steps=60, interval="step"),
    "every other step": step(StepLR, step_size=2, interval="step", frequency=2),
    "schedule of epochs": step(StepLR, step_size=1, gamma=0.5),
    "plateau": step(ReduceLROnPlateau, monitor="train_loss", patience=0, threshold=1.0),
    "metrics": {"torch_metrics": MeanAbsoluteError()},
    "clipped": {"trainer": {"gradient_clip_val": 0.01}},
    "clipped values": {"trainer": {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}},
    "double precision": {"trainer": {"precision": "64-true"}},
    "accumulated": {"trainer": {"accumulate_grad_batches": 2}},
    "half of the batches": {"trainer": {"limit_train_batches": 0.5}},
    "until a step": {"trainer": {"max_steps": 7, "max_epochs": -1}},
    "workers": {"loader": {"num_workers": 1, "persistent_workers": True}},
    "dropped rest": {"loader": {"drop_last": True}, "batch_size": 5},
}


def fit(
    tiny: dict[str, Any],
    setting: dict[str, Any],
    callbacks: list[pl.Callback] | None = None,
    series: Any = None,
    **arguments: Any,
) -> LSTMSeqModel:
    setting = dict(setting)
    trainer = {**tiny["pl_trainer_kwargs"], **setting.pop("trainer", {})}
    if any(isinstance(callback, ModelCheckpoint) for callback in callbacks or []):
        trainer["enable_checkpointing"] = True
    if callbacks is not None:
        trainer["callbacks"] = callbacks
    loader = setting.pop("loader", None)
    params = {**tiny, "batch_size": 4, "n_epochs": 4, **setting, "pl_trainer_kwargs": trainer}
    model = LSTMSeqModel(L, T, **params)
    series = series_of(30) if series is None else series
    if isinstance(params.get("likelihood"), PoissonLikelihood):
        series = (series * 5 + 10).map(lambda x: np.round(x))
    return model.fit(series, dataloader_kwargs=loader, **arguments)


@pytest.mark.parametrize("name", SETTINGS)
def test_all_ends_up_as_after_lightnings_loop(
    name: str, tiny: dict[str, Any], lightning: Callable[[], Any]
) -> None:
    ours = state(fit(tiny, SETTINGS[name]))
    watched = state(fit(tiny, SETTINGS[name], callbacks=[pl.Callback()]))
    lightning()
    expected = state(fit(tiny, SETTINGS[name]))
    assert_same(ours, expected)
    assert_same(watched, expected)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("gaps", [False, True])
def test_so_it_is_with_all_kinds_of_data(
    shared: bool, gaps: bool, tiny: dict[str, Any], lightning: Callable[[], Any]
) -> None:
    target = series_of(40, n_components=2)
    if gaps:
        target = with_gaps().stack(target["y1"])
    target = target.with_static_covariates(pd_frame())
    arguments = {
        "series": [target, target[:20]],
        "past_covariates": [series_of(40)] * 2,
        "future_covariates": [series_of(50)] * 2,
        "sample_weight": "linear",
        "max_samples_per_ts": 15,
    }
    setting = {"shared_weights": shared}
    ours = state(fit(tiny, setting, **arguments))
    watched = state(fit(tiny, setting, callbacks=[pl.Callback()], **arguments))
    lightning()
    expected = state(fit(tiny, setting, **arguments))
    assert_same(ours, expected)
    assert_same(watched, expected)


def pd_frame() -> Any:
    import pandas as pd

    return pd.DataFrame({"size": [1.0, 2.0]})


# --- who looks at steps ---------------------------------------------------------------------------


class Epochs(pl.Callback):
    """Notes what a callback can see at the start and the end of each epoch."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def _note(self, hook: str, trainer: pl.Trainer) -> None:
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.seen.append((hook, trainer.current_epoch, trainer.global_step, rate, metrics))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._note("start", trainer)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._note("validation", trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._note("end", trainer)


@pytest.mark.parametrize("validates", [False, True])
def test_callbacks_of_epochs_see_the_same(
    validates: bool, tiny: dict[str, Any], lightning: Callable[[], Any]
) -> None:
    arguments = {"val_series": series_of(25)} if validates else {}
    ours, expected = Epochs(), Epochs()
    fit(tiny, {}, [ours, EarlyStopping("train_loss", patience=1)], **arguments)
    lightning()
    fit(tiny, {}, [expected, EarlyStopping("train_loss", patience=1)], **arguments)
    assert ours.seen == expected.seen
    assert len(ours.seen) >= 4


@pytest.mark.parametrize("hook", STEP_HOOKS)
def test_a_callback_of_steps_sees_each(hook: str, tiny: dict[str, Any]) -> None:
    calls: list[Any] = []
    callback = type("Steps", (pl.Callback,), {hook: lambda self, *args: calls.append(args)})()
    model = fit(tiny, {}, [callback])
    assert model.trainer is not None
    assert len(calls) == model.trainer.global_step == 24


@pytest.mark.parametrize("hook", [*STEP_HOOKS, "lr_scheduler_step", "training_step"])
def test_a_hook_of_the_module_sees_each_step(
    hook: str, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    own = getattr(LSTMSeqModule, hook)

    def note(module: LSTMSeqModule, *args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return own(module, *args, **kwargs)

    monkeypatch.setattr(LSTMSeqModule, hook, note)
    fit(tiny, {})
    assert len(calls) == 24


def test_a_logger_gets_the_loss_of_each_step(tiny: dict[str, Any]) -> None:
    from pytorch_lightning.loggers import CSVLogger

    logger = CSVLogger(".")
    fit(tiny, {"trainer": {"logger": logger, "log_every_n_steps": 1}})
    lines = Path(logger.log_dir, "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 24


def test_a_progress_bar_arrives_at_the_last_step(
    tiny: dict[str, Any], lightning: Callable[[], Any]
) -> None:
    class Bar(TQDMProgressBar):
        """A bar of its own class, which might do anything with a step."""

    known, own = TQDMProgressBar(leave=True), Bar()
    shown = {"trainer": {"enable_progress_bar": True}}
    ours = state(fit(tiny, shown, [known]))
    assert (known.train_progress_bar.n, known.train_progress_bar.total) == (6, 6)
    assert "train_loss=" in known.train_progress_bar.postfix
    fit(tiny, shown, [own])
    assert (own.train_progress_bar.n, own.train_progress_bar.total) == (6, 6)
    lightning()
    expected = state(fit(tiny, shown, [TQDMProgressBar()]))
    assert_same(ours, expected)


def test_a_training_is_resumed_from_any_checkpoint(
    tiny: dict[str, Any], tmp_path: Path, lightning: Callable[[], Any]
) -> None:
    def checkpointed(steps: int) -> list[pl.Callback]:
        every = {"every_n_train_steps": steps} if steps else {"every_n_epochs": 1}
        return [ModelCheckpoint(tmp_path / str(steps), save_top_k=-1, **every)]

    def resumed(path: Path) -> dict[str, Any]:
        trainer = pl.Trainer(**tiny["pl_trainer_kwargs"], max_epochs=4)
        EpochLoop.install(trainer)
        model = LSTMSeqModel(L, T, **{**tiny, "batch_size": 4, "n_epochs": 1})
        model.fit(series_of(30))
        assert model.model is not None
        data = BatchTrainingDataset(series_of(30), input_chunk_length=L, output_chunk_length=T)
        loader = torch.utils.data.DataLoader(data, batch_size=4, collate_fn=epoch_loop.collate)
        trainer.fit(model.model, loader, ckpt_path=path, weights_only=False)
        return {"weights": model.model.state_dict(), "loops": trainer.fit_loop.state_dict()}

    # at the end of epochs, and in the middle of one
    fit(tiny, {}, checkpointed(0))
    fit(tiny, {}, checkpointed(4))
    paths = sorted(tmp_path.rglob("*.ckpt"))
    assert len(paths) == 4 + 6
    chosen = [path for path in paths if "step=12" in path.name or "step=8" in path.name]
    assert len(chosen) == 3
    ours = [resumed(path) for path in chosen]
    lightning()
    for path, result in zip(chosen, ours, strict=True):
        assert_same(result, resumed(path))


# --- what a step does -----------------------------------------------------------------------------


class Waits(TorchDispatchMode):
    """Notes operations for which the host waits for a GPU: `item`, `bool`, `nonzero`, copies."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().split("::")[1]
        indices = args[1] if name.startswith("index.") else []
        has_mask = any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices)
        waits = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal")
        if name.split(".")[0] in waits or has_mask:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


def test_what_waits_is_found() -> None:
    x = torch.arange(3.0)
    with Waits() as waits:
        x.sum().item(), bool((x > 0).all()), x[x > 0], x.nonzero()
    assert len(waits.names) >= 4


@pytest.mark.parametrize("gaps", [False, True])
def test_no_step_waits_for_the_device(gaps: bool, tiny: dict[str, Any]) -> None:
    series = with_gaps() if gaps else series_of(40)
    model = fit(tiny, {"dropout": 0.5}, series=series)
    module: Any = model.model.train()
    data = BatchTrainingDataset(series, input_chunk_length=L, output_chunk_length=T)
    optimizer = torch.optim.Adam(module.parameters(), fused=True)
    batches = [data.__getitems__(list(range(k, k + 5))) for k in (0, 5, 10, 15, 20, 25)]
    losses = [training_losses(module, batches)]
    if not gaps:
        prepared = PreparedWindows(module, data.__getitems__(list(range(len(data)))))
        assert prepared.is_complete()
        order = torch.randperm(len(data)).split(5)
        losses.append(loss_of_step(module, prepared.select(indices)) for indices in order)
    for of_steps in losses:
        steps = module.quick_steps(optimizer)
        for loss in (next(of_steps), next(of_steps)):  # prepares the rest, and the optimiser
            loss.backward()
            next(steps)
        with Waits() as waits:
            for loss in of_steps:
                loss.backward()
                next(steps)
        assert waits.names == []


def test_few_windows_are_prepared_once(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    own = EpochLoop._prepare_all

    def note(loop: EpochLoop, loader: Any) -> Any:
        calls.append(1)
        return own(loop, loader)

    monkeypatch.setattr(EpochLoop, "_prepare_all", note)
    model = fit(tiny, {})
    loop: Any = model.trainer.fit_loop.epoch_loop  # type: ignore[union-attr]
    assert calls == [1]
    assert loop._windows is None  # let go of at the end
    small = state(model)
    monkeypatch.setattr(epoch_loop, "_MAX_BYTES", 1)  # batches prepared one by one
    assert_same(state(fit(tiny, {})), small)


def test_a_training_that_diverges_is_stopped(tiny: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Training failed: weights are lost in epoch"):
        fit(tiny, {"optimizer_kwargs": {"lr": 1e30}, "use_reversible_instance_norm": False})


def test_a_users_trainer_keeps_its_loop(tiny: dict[str, Any]) -> None:
    trainer = pl.Trainer(**tiny["pl_trainer_kwargs"], max_epochs=1)
    LSTMSeqModel(L, T, **tiny).fit(series_of(30), trainer=trainer)
    assert not isinstance(trainer.fit_loop.epoch_loop, EpochLoop)
