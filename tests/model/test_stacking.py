"""Models that are fitted together against the same models fitted one by one."""

import copy
import logging
from typing import Any

import numpy as np
import pytest
import torch
from darts.utils.likelihood_models.torch import GaussianLikelihood
from makers import sine
from pytorch_lightning import Callback

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.model import stacking
from darts_lstm_seq.model.stacking import (
    CannotStackError,
    fit_in_stacks,
    fit_together,
    unsupported_reason,
)
from darts_lstm_seq.training.prepared import Training

FITS: list[dict[str, Any]] = [{"series": sine(length)} for length in (40, 31, 36)]


@pytest.fixture
def double(tiny: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a model whose two ways of training must agree."""
    trainer = tiny["pl_trainer_kwargs"] | {"precision": "64-true"}
    return tiny | {"dropout": 0.3, "batch_size": 7, "pl_trainer_kwargs": trainer}


def forecasts(models: list[LSTMSeqModel]) -> list[np.ndarray]:
    return [model.predict(5).values() for model in models]


@pytest.mark.parametrize(
    ("params", "fits"),
    [
        ({}, FITS),
        ({}, FITS[:1]),
        ({"n_epochs": None}, FITS),
        ({}, [{**fit, "epochs": epochs} for epochs, fit in enumerate(FITS, start=1)]),
        ({}, [{**fit, "sample_weight": "linear"} for fit in FITS]),
        ({}, [{**fit, "past_covariates": sine(50, seed=1)} for fit in FITS]),
        ({}, [{"series": [sine(30), sine(20, seed=1)]}, {"series": sine(26)}]),
    ],
    ids=["lengths", "one", "epochs by data", "epochs", "weights", "covariates", "many series"],
)
def test_together_is_the_same_as_one_by_one(
    params: dict[str, Any], fits: list[dict[str, Any]], double: dict[str, Any]
) -> None:
    together = [LSTMSeqModel(6, 3, **double | params) for _ in fits]
    alone = [LSTMSeqModel(6, 3, **double | params) for _ in fits]
    fit_together(together, fits)
    for model, fit in zip(alone, fits, strict=True):
        model.fit(**fit)
    for model, other in zip(together, alone, strict=True):
        series = sine(40)
        covariates = sine(50, seed=1) if "past_covariates" in fits[0] else None
        found, expected = (
            m.predict(5, series, past_covariates=covariates).values() for m in (model, other)
        )
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


# what may differ within a stack
CONFIGURATIONS: list[dict[str, Any]] = [
    {},
    {"batch_size": 5, "n_epochs": 3},
    {"dropout": 0.0, "optimizer_kwargs": {"lr": 0.02}},
    {"dropout": 0.7, "optimizer_kwargs": {"lr": 3e-3, "weight_decay": 0.3}},
    {"batch_size": 9, "random_state": 1, "optimizer_kwargs": {"weight_decay": 0.1}},
    {"n_epochs": 1, "dropout": 0.5},
    {"hidden_dim": 5, "dropout": 0.2},
    {"hidden_dim": 12, "batch_size": 6},
]


def stack_sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list that will hold the number of networks of each stack."""
    sizes: list[int] = []
    train = stacking.train

    def record(trainings: Any, *rest: Any) -> None:
        sizes.append(len(trainings))
        train(trainings, *rest)

    monkeypatch.setattr(stacking, "train", record)
    return sizes


@pytest.mark.parametrize("shared", [{}, {"n_rnn_layers": 2}, {"shared_weights": True}], ids=str)
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_a_configuration_in_a_stack_is_the_same_as_alone(
    optimizer: type[torch.optim.Optimizer],
    shared: dict[str, Any],
    double: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = stack_sizes(monkeypatch)
    trainer = double["pl_trainer_kwargs"] | {"gradient_clip_val": 0.5}
    double = double | {"optimizer_cls": optimizer, "pl_trainer_kwargs": trainer} | shared
    configurations = [double | configuration for configuration in CONFIGURATIONS]
    series = sine(40, width=2, dtype="float64")
    together = [LSTMSeqModel(6, 3, **params) for params in configurations]
    fit_together(together, [{"series": series}] * len(configurations))
    assert sizes == [len(configurations)]
    for model, params in zip(together, configurations, strict=True):
        expected = LSTMSeqModel(6, 3, **params).fit(series).predict(5).values()
        np.testing.assert_allclose(model.predict(5).values(), expected, rtol=0, atol=1e-7)


def test_models_of_any_parameters_are_fitted_together(
    double: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = stack_sizes(monkeypatch)
    changes: list[tuple[int, dict[str, Any]]] = [
        (6, {}),
        (9, {}),
        (6, {"n_rnn_layers": 2}),
        (6, {"hidden_dim": 500}),
        (6, {"loss_fn": torch.nn.HuberLoss(delta=0.1)}),
        (6, {"likelihood": GaussianLikelihood()}),
        (6, {"optimizer_cls": torch.optim.SGD}),
        (6, {"use_reversible_instance_norm": {"eps": 0.1}}),
        (6, {"pl_trainer_kwargs": double["pl_trainer_kwargs"] | {"gradient_clip_val": 0.01}}),
    ]
    together = [LSTMSeqModel(length, 3, **double | change) for length, change in changes]
    fit_together(together, [FITS[0]] * len(changes))
    assert sum(sizes) == len(changes)
    for model, (length, change) in zip(together, changes, strict=True):
        alone = LSTMSeqModel(length, 3, **double | change).fit(**FITS[0])
        found, expected = (m.predict(5, random_state=0).values() for m in (model, alone))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


def test_a_model_that_fails_does_not_harm_the_others(double: dict[str, Any]) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"optimizer_kwargs": {"lr": 1e308}},  # diverges in the same stack
        {"optimizer_kwargs": {"lr": -1.0}},
        {},
    ]
    fits = [*[FITS[0]] * 3, {"series": sine(5)}]
    models = [LSTMSeqModel(6, 3, **double | change) for change in changes]
    stacks = list(fit_in_stacks(models, fits))
    assert stacks[-1].keys() == {0, 1}
    errors = {index: error for stack in stacks for index, error in stack.items()}
    assert errors.pop(0) is None
    for (_, error), reason in zip(
        sorted(errors.items()), ("weights are lost", "optimizer", "5"), strict=True
    ):
        assert reason in str(error)
    expected = LSTMSeqModel(6, 3, **double).fit(**FITS[0]).predict(5).values()
    np.testing.assert_allclose(models[0].predict(5).values(), expected, rtol=0, atol=1e-7)
    assert [model.model is None for model in models] == [False, True, True, True]
    models = [LSTMSeqModel(6, 3, **double | change) for change in changes[:2]]
    with pytest.raises(ValueError, match="weights are lost"):
        fit_together(models, fits[:2])


def test_models_fitted_together_can_be_copied_saved_and_fitted_again(
    double: dict[str, Any], tmp_path: Any
) -> None:
    models = [LSTMSeqModel(6, 3, **double) for _ in FITS]
    fit_together(models, [{**fit, "sample_weight": "linear"} for fit in FITS])
    before = forecasts(models)
    for model, expected in zip(models, before, strict=True):
        assert model.model.train_criterion.reduction == "mean"
        np.testing.assert_array_equal(copy.deepcopy(model).predict(5).values(), expected)
        model.save(str(tmp_path / "model.pt"))
        loaded = LSTMSeqModel.load(str(tmp_path / "model.pt"))
        np.testing.assert_array_equal(loaded.predict(5).values(), expected)
        model.fit(FITS[0]["series"])
    assert all((a != b).any() for a, b in zip(forecasts(models), before, strict=True))


def test_what_cannot_be_stacked_is_fitted_alone(
    double: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stacks = stack_sizes(monkeypatch)
    models = [LSTMSeqModel(6, 3, **double) for _ in FITS]
    fits = [{**fit} for fit in FITS]
    fits[1]["val_series"] = sine(40, seed=1)
    with caplog.at_level(logging.DEBUG, logger=stacking.__name__):
        fit_together(models, fits)
    assert stacks == [2]
    assert "val_series" in caplog.text
    expected = LSTMSeqModel(6, 3, **double).fit(**fits[1]).predict(5)
    assert models[1].predict(5) == expected


def test_a_model_that_was_prepared_is_not_fitted(double: dict[str, Any]) -> None:
    model = LSTMSeqModel(6, 3, **double)
    training = model.prepare_training(FITS[0]["series"], epochs=3)
    assert (training.n_epochs, len(training.dataset)) == (3, 32)
    assert model.model is None
    with pytest.raises(ValueError, match="must be fit before"):
        model.predict(3)
    model.finish_training(training)
    assert len(model.predict(3)) == 3


def test_a_training_that_is_refused_leaves_the_model_as_it_was(double: dict[str, Any]) -> None:
    model = LSTMSeqModel(6, 3, **double)
    with pytest.raises(CannotStackError, match="validation set"):
        model.prepare_training(FITS[0]["series"], val_series=FITS[1]["series"])
    expected = LSTMSeqModel(6, 3, **double).fit(FITS[0]["series"]).predict(5)
    assert model.fit(FITS[0]["series"]).predict(5) == expected


def test_preparing_continues_from_a_fitted_network(double: dict[str, Any]) -> None:
    models = [LSTMSeqModel(6, 3, **double).fit(FITS[0]["series"]) for _ in range(2)]
    fit_together(models[:1], FITS[:1])
    models[1].fit(**FITS[0])
    found, expected = (model.predict(5).values() for model in models)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"n_members": 2}, "already trains a stack"),
        ({"optimizer_cls": torch.optim.LBFGS}, "elementwise"),
        ({"likelihood": GaussianLikelihood(prior_mu=1.0)}, "prior"),
        ({"loss_fn": torch.nn.MSELoss(reduction="sum")}, "a mean over labels"),
        ({"use_reversible_instance_norm": {"affine": True}}, "trainable parameters"),
    ],
)
def test_reasons(params: dict[str, Any], reason: str, tiny: dict[str, Any]) -> None:
    assert unsupported_reason(LSTMSeqModel(6, 3, **tiny)) is None
    assert reason in str(unsupported_reason(LSTMSeqModel(6, 3, **tiny | params)))


def test_callbacks_are_a_reason_and_none_of_them_is_not(tiny: dict[str, Any]) -> None:
    for callbacks, expected in (([], None), ([Callback()], "['callbacks']")):
        trainer = tiny["pl_trainer_kwargs"] | {"callbacks": callbacks}
        found = unsupported_reason(LSTMSeqModel(6, 3, **tiny | {"pl_trainer_kwargs": trainer}))
        assert (found is None) if expected is None else (expected in str(found))


def test_a_stack_is_padded_only_where_that_is_faster(tiny: dict[str, Any]) -> None:
    def prepared(hidden_dim: int, batch_size: int) -> Training:
        sizes = {"hidden_dim": hidden_dim, "batch_size": batch_size}
        return LSTMSeqModel(6, 3, **tiny | sizes).prepare_training(sine(200))

    def stacked(*sizes: tuple[int, int]) -> list[list[tuple[int, int]]]:
        stacks = stacking.split_into_stacks([prepared(*size) for size in sizes], 32)
        return [sorted((one.hidden_dim, one.batch_size) for one in stack) for stack in stacks]

    small, large = (8, 4), (128, 64)
    assert stacked(small, (8, 8), (12, 4)) == [[small, (8, 8), (12, 4)]]
    assert stacked(*[small] * 3, *[large] * 2) == [[small] * 3, [large] * 2]
