"""Whoever looks at single steps sees each of them, and a user's own parts train as in Lightning."""

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from makers import sine
from pytorch_lightning.callbacks import BaseFinetuning, LambdaCallback, TQDMProgressBar
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor, nn
from torch.utils.data import Sampler

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.batching.batches import collate
from darts_lstm_seq.nn.network import LSTMSeqNetwork
from darts_lstm_seq.training.epoch_loop import EpochLoop
from darts_lstm_seq.training.module import LSTMSeqModule

L, T = 6, 3
N_STEPS = 24  # four epochs of 22 windows, four a batch

Model = type[LSTMSeqModel]


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Let models fitted from now on use Lightning's own loop."""
    return lambda: monkeypatch.setattr(EpochLoop, "install", lambda trainer: None)


def fit(
    tiny: dict[str, Any],
    callbacks: list[pl.Callback] | None = None,
    model_cls: Model = LSTMSeqModel,
    loader: dict[str, Any] | None = None,
    trainer: dict[str, Any] | None = None,
    **params: Any,
) -> LSTMSeqModel:
    trainer = {**tiny["pl_trainer_kwargs"], **(trainer or {})}
    if callbacks is not None:
        trainer["callbacks"] = callbacks
    params = {**tiny, "batch_size": 4, "n_epochs": 4, **params, "pl_trainer_kwargs": trainer}
    return model_cls(L, T, **params).fit(sine(30), dataloader_kwargs=loader)


def assert_as_in_lightning(
    tiny: dict[str, Any], lightning: Callable[[], Any], make: Callable[[], dict[str, Any]]
) -> None:
    """Check that weights and steps are as after Lightning's loop; `make` returns new arguments."""
    ours: Any = fit(tiny, **make())
    lightning()
    expected: Any = fit(tiny, **make())
    assert ours.trainer.global_step == expected.trainer.global_step
    assert ours.trainer.fit_loop.state_dict() == expected.trainer.fit_loop.state_dict()
    for name in ("callback_metrics", "logged_metrics"):
        seen, wanted = getattr(ours.trainer, name), getattr(expected.trainer, name)
        torch.testing.assert_close(seen, wanted, rtol=1e-6, atol=1e-7)
    weights, wanted = ours.model.state_dict(), expected.model.state_dict()
    torch.testing.assert_close(weights, wanted, rtol=1e-6, atol=1e-7)


# --- who looks at steps ---------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_before_zero_grad"])
def test_a_hook_of_a_lambda_callback_sees_each_step(hook: str, tiny: dict[str, Any]) -> None:
    calls: list[Any] = []
    fit(tiny, [LambdaCallback(**{hook: lambda *args: calls.append(args)})])
    assert len(calls) == N_STEPS


class Watches(pl.Callback):
    """Lets something be called, once training starts."""

    def __init__(self, start: Callable[[Any], Any]) -> None:
        self._start = start

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._start(pl_module)


@pytest.mark.parametrize("part", ["network", "rin", "features", "network.head"])
def test_a_hook_of_pytorch_sees_each_call(part: str, tiny: dict[str, Any]) -> None:
    calls: list[Any] = []

    def start(module: Any) -> None:
        module.get_submodule(part).register_forward_hook(lambda *args: calls.append(1))

    fit(tiny, [Watches(start)])
    assert len(calls) == N_STEPS


def test_a_hook_of_the_optimiser_sees_each_step(tiny: dict[str, Any]) -> None:
    calls: list[Any] = []

    def start(module: Any) -> None:
        optimizer = module.optimizers(use_pl_optimizer=False)
        optimizer.register_step_post_hook(lambda *args: calls.append(1))

    fit(tiny, [Watches(start)])
    assert len(calls) == N_STEPS


def test_a_hook_of_one_module_alone_sees_each_step(tiny: dict[str, Any]) -> None:
    calls: list[Any] = []

    def start(module: Any) -> None:
        own = module.training_step
        module.training_step = lambda *args: (calls.append(1), own(*args))[1]

    fit(tiny, [Watches(start)])
    assert len(calls) == N_STEPS


def test_a_step_replaced_in_one_optimiser_is_taken(tiny: dict[str, Any]) -> None:
    calls: list[Any] = []

    def start(module: Any) -> None:
        optimizer = module.optimizers(use_pl_optimizer=False)
        own = optimizer.step
        optimizer.step = lambda *args, **kwargs: (calls.append(1), own(*args, **kwargs))[1]

    fit(tiny, [Watches(start)])
    assert len(calls) == N_STEPS


def test_a_hook_of_one_known_callback_sees_each_step(tiny: dict[str, Any]) -> None:
    calls: list[Any] = []
    bar = TQDMProgressBar()
    bar.on_train_batch_end = lambda *args: calls.append(1)  # type: ignore[method-assign]
    fit(tiny, [bar], trainer={"enable_progress_bar": True})
    assert len(calls) == N_STEPS


def test_a_hook_of_all_modules_sees_each_call(tiny: dict[str, Any]) -> None:
    calls: list[Any] = []
    handle = nn.modules.module.register_module_forward_hook(lambda m, *args: calls.append(type(m)))
    try:
        fit(tiny)
    finally:
        handle.remove()
    assert calls.count(LSTMSeqNetwork) == N_STEPS


# --- parts of a user's own ------------------------------------------------------------------------


class HalfModule(LSTMSeqModule):
    """Overrides what is no hook of Lightning."""

    def _predict_normalized(self, x_in: Any) -> Tensor:
        return super()._predict_normalized(x_in) * 0.5


class HalfNetwork(nn.Module):
    """A network of another class, with the methods of ours."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.inner = network

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def forward(self, *args: Any) -> Tensor:
        return self.inner(*args) * 0.5


class OwnModule(LSTMSeqModel):
    """Has a module of another class."""

    def _create_model(self, train_sample: Any) -> Any:
        module = super()._create_model(train_sample)
        module.__class__ = HalfModule
        return module


class OwnNetwork(LSTMSeqModel):
    """Has a network of another class."""

    def _create_model(self, train_sample: Any) -> Any:
        module: Any = super()._create_model(train_sample)
        module.network = HalfNetwork(module.network)
        return module


@pytest.mark.parametrize("model_cls", [OwnModule, OwnNetwork])
def test_a_subclass_trains_what_it_overrides(
    model_cls: Model, tiny: dict[str, Any], lightning: Callable[[], Any]
) -> None:
    assert_as_in_lightning(tiny, lightning, lambda: {"model_cls": model_cls})


@pytest.mark.parametrize("optimizer_cls", [torch.optim.AdamW, torch.optim.SGD])
def test_an_optimiser_may_have_several_groups(
    optimizer_cls: Any, tiny: dict[str, Any], lightning: Callable[[], Any]
) -> None:
    def with_groups(params: Iterator[nn.Parameter], **kwargs: Any) -> torch.optim.Optimizer:
        first, *others = params
        groups = [{"params": [first], "weight_decay": 0.1}, {"params": others}]
        return optimizer_cls(groups, **kwargs)

    assert_as_in_lightning(tiny, lightning, lambda: {"optimizer_cls": with_groups})


class Freezes(BaseFinetuning):
    """Freezes the head after two epochs, or trains it from then on."""

    def __init__(self, is_first: bool) -> None:
        super().__init__()
        self._is_first = is_first

    def freeze_before_training(self, pl_module: Any) -> None:
        if self._is_first:
            self.freeze(pl_module.network.head)

    def finetune_function(self, pl_module: Any, epoch: int, optimizer: Any) -> None:
        if epoch == 2 and self._is_first:
            self.unfreeze_and_add_param_group(pl_module.network.head, optimizer)
        elif epoch == 2:
            self.freeze(pl_module.network.head)


@pytest.mark.parametrize("is_first", [True, False])
def test_layers_may_be_frozen(
    is_first: bool, tiny: dict[str, Any], lightning: Callable[[], Any]
) -> None:
    assert_as_in_lightning(tiny, lightning, lambda: {"callbacks": [Freezes(is_first)]})


class Promises(Sampler):
    """Says that it has more samples than it has."""

    def __len__(self) -> int:
        return 22

    def __iter__(self) -> Iterator[int]:
        return iter(range(10))


def test_a_sampler_may_end_early(tiny: dict[str, Any], lightning: Callable[[], Any]) -> None:
    loader = {"sampler": Promises(), "shuffle": False}
    assert_as_in_lightning(tiny, lightning, lambda: {"loader": loader})


def test_batches_of_a_users_function_may_differ_in_length(
    tiny: dict[str, Any], lightning: Callable[[], Any]
) -> None:
    def shortened(samples: Any) -> Any:
        batch = collate(samples)
        n_steps = 1 + int(batch.past_target[0, 0, 0] > 0)
        return batch.replace(past_target=batch.past_target[:, n_steps:])

    off = {"use_reversible_instance_norm": False, "loader": {"collate_fn": shortened}}
    assert_as_in_lightning(tiny, lightning, lambda: off)


# --- stopping within an epoch ---------------------------------------------------------------------


class Stops(torch.optim.lr_scheduler.StepLR):
    """Is no callback, and acts after the ninth step."""

    act: Callable[[], Any]
    seen: int

    def step(self, *args: Any) -> None:
        super().step(*args)
        type(self).seen = self.last_epoch
        if self.last_epoch == 9:
            type(self).act()


class Traced(LSTMSeqModel):
    """Shows its trainer while it trains."""

    shown: Any = None

    def _train(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        Traced.shown = trainer
        super()._train(trainer, *args, **kwargs)


@pytest.mark.parametrize("callbacks", [None, [pl.Callback()]])
def test_a_termination_signal_ends_training_after_its_step(
    callbacks: Any, tiny: dict[str, Any]
) -> None:
    # Lightning leaves those handlers alone that are not Python's own
    before = signal.signal(signal.SIGTERM, lambda *args: None)
    Stops.act = staticmethod(lambda: signal.raise_signal(signal.SIGTERM))
    scheduler = {"step_size": 100, "interval": "step"}
    try:
        with pytest.raises(SIGTERMException):
            fit(tiny, callbacks, lr_scheduler_cls=Stops, lr_scheduler_kwargs=scheduler)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert Stops.seen == 9


@pytest.mark.parametrize("min_epochs", [None, 3])
def test_another_thread_may_stop_training(
    min_epochs: int | None, tiny: dict[str, Any], lightning: Callable[[], Any]
) -> None:
    Stops.act = staticmethod(lambda: setattr(Traced.shown, "should_stop", True))
    trainer = {"min_epochs": min_epochs}
    arguments: dict[str, Any] = {
        "model_cls": Traced,
        "lr_scheduler_cls": Stops,
        "lr_scheduler_kwargs": {"step_size": 100, "interval": "step"},
        "trainer": trainer,
    }
    fitted: Any = fit(tiny, **arguments)
    assert fitted.trainer.global_step == (9 if min_epochs is None else 18)
    arguments["trainer"] = {**trainer, "callbacks": [pl.Callback()]}
    assert_as_in_lightning(tiny, lightning, lambda: arguments)
