"""Copies carry their network, failures change nothing, and files hold what the model holds.

What users do with files (fresh processes, precisions, hostile and damaged files) is proven end to
end in `contract/test_files.py`.
"""

import copy
import io
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from darts import TimeSeries
from darts.models import BlockRNNModel, NaiveEnsembleModel
from darts.models.forecasting.torch_forecasting_model import MixedCovariatesTorchModel
from darts.utils.likelihood_models.torch import GaussianLikelihood
from makers import damage
from torchmetrics import MeanAbsoluteError

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.model import persistence
from darts_lstm_seq.nn.skip import SeasonalSkip
from darts_lstm_seq.training import module

Tiny = dict[str, Any]
L, T = 6, 3


@pytest.fixture(scope="module")
def series() -> TimeSeries:
    steps = np.arange(60)
    noise = np.random.default_rng(0).normal(size=60)
    return TimeSeries.from_values(20 + 5 * np.sin(steps * np.pi / 6) + noise)


@pytest.fixture
def fitted(tiny: Tiny, series: TimeSeries) -> LSTMSeqModel:
    return LSTMSeqModel(L, T, **tiny).fit(series)


def told(model: LSTMSeqModel, series: TimeSeries | None = None) -> np.ndarray:
    return model.predict(5, series).values()


def by_joblib(model: LSTMSeqModel) -> LSTMSeqModel:
    joblib.dump(model, "model.joblib")
    return joblib.load("model.joblib")


def by_torch(model: LSTMSeqModel) -> LSTMSeqModel:
    torch.save(model, "model.torch")
    return torch.load("model.torch", weights_only=False)


DUPLICATES = [
    copy.copy,
    copy.deepcopy,
    lambda model: pickle.loads(pickle.dumps(model)),
    by_joblib,
    by_torch,
]


# --- copies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "duplicate", DUPLICATES, ids=["copy", "deepcopy", "pickle", "joblib", "torch"]
)
def test_copies_predict_the_same_and_are_models_of_their_own(
    duplicate: Callable[[LSTMSeqModel], LSTMSeqModel], fitted: LSTMSeqModel, series: TimeSeries
) -> None:
    expected = told(fitted)
    twin = duplicate(fitted)
    np.testing.assert_array_equal(told(twin), expected)
    twin.fit(series * 2, epochs=2)
    assert not np.array_equal(told(twin, series), expected)
    np.testing.assert_array_equal(told(fitted), expected)
    grandchild = duplicate(duplicate(twin))
    np.testing.assert_array_equal(told(grandchild), told(twin))


@pytest.mark.parametrize(
    "params",
    [
        {"n_rnn_layers": 2, "dropout": 0.2, "patch_length": 2},
        {"likelihood": GaussianLikelihood()},
        {"loss_fn": torch.nn.L1Loss(), "torch_metrics": MeanAbsoluteError()},
        {"use_reversible_instance_norm": False},
        {"use_reversible_instance_norm": {"affine": True}},
        {"input_chunk_length": (3, L)},
        {
            "lr_scheduler_cls": torch.optim.lr_scheduler.StepLR,
            "lr_scheduler_kwargs": {"step_size": 1},
        },
    ],
)
def test_copies_of_every_kind_of_model(params: Tiny, tiny: Tiny, series: TimeSeries) -> None:
    model = LSTMSeqModel(**tiny | {"input_chunk_length": L, "output_chunk_length": T} | params)
    twin = copy.deepcopy(model.fit(series))
    assert {name: w.tolist() for name, w in twin.model.state_dict().items()} == {
        name: w.tolist() for name, w in model.model.state_dict().items()
    }
    kwargs = {"num_samples": 3, "random_state": 4} if "likelihood" in params else {}
    np.testing.assert_array_equal(
        twin.predict(5, **kwargs).all_values(), model.predict(5, **kwargs).all_values()
    )
    # training goes on alike
    for one in (model, twin):
        one._random_instance = np.random.RandomState(0)
        one.fit(series, epochs=2)
    np.testing.assert_allclose(
        twin.predict(5, **kwargs).all_values(), model.predict(5, **kwargs).all_values(), atol=1e-5
    )


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("64-true", torch.float64), ("bf16-true", torch.bfloat16), ("16-true", torch.float16)],
)
def test_copies_keep_the_precision(
    precision: str, dtype: torch.dtype, tiny: Tiny, series: TimeSeries
) -> None:
    trainer = tiny["pl_trainer_kwargs"] | {"precision": precision}
    model = LSTMSeqModel(L, T, **tiny | {"n_epochs": 0, "pl_trainer_kwargs": trainer})
    model.fit(series)
    model.model.to_dtype(dtype)
    twin = copy.deepcopy(model)
    assert twin.model.dtype == dtype
    for name, weight in twin.model.state_dict().items():
        assert torch.equal(weight, model.model.state_dict()[name])


def test_an_unfitted_model_is_copied_unfitted(tiny: Tiny, series: TimeSeries) -> None:
    twin = copy.deepcopy(LSTMSeqModel(L, T, **tiny))
    assert not twin.model_created
    expected = told(LSTMSeqModel(L, T, **tiny).fit(series))
    np.testing.assert_array_equal(told(twin.fit(series)), expected)


def test_the_network_travels_as_bytes_that_cannot_run(fitted: LSTMSeqModel, tmp_path: Path) -> None:
    state = fitted.__getstate__()
    assert isinstance(state["_network_bytes"], bytes)
    mark = tmp_path / "mark"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return eval, (f"open({str(mark)!r}, 'w').close()",)

    buffer = io.BytesIO()
    torch.save({"weight": Payload()}, buffer)
    state["_network_bytes"] = buffer.getvalue()
    with pytest.raises(pickle.UnpicklingError):
        LSTMSeqModel.__new__(LSTMSeqModel).__setstate__(state)
    assert not mark.exists()


def random_states() -> tuple[Any, ...]:
    """Return the states of the generators that belong to the whole process."""
    numpy_state = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().numpy(), numpy_state, random.getstate()


def test_copies_leave_the_random_states_alone(fitted: LSTMSeqModel, series: TimeSeries) -> None:
    fitted.save("model.pt")
    _checkpointed({**fitted.model_params, "force_reset": True}).fit(series)
    other = copy.copy(fitted)
    other._fit_called = True
    tiny = {name: fitted.model_params[name] for name in ("hidden_dim", "pl_trainer_kwargs")}
    ensemble = LSTMSeqModel(12, 4, n_epochs=1, n_members=2, **tiny).fit(series)
    zero_shot = LSTMSeqModel.from_pretrained(pl_trainer_kwargs=tiny["pl_trainer_kwargs"])
    actions: dict[str, Callable[[], object]] = {
        "copy": lambda: copy.copy(fitted),
        "deepcopy": lambda: copy.deepcopy(fitted),
        "pickle": lambda: pickle.loads(pickle.dumps(fitted)),
        "save": lambda: fitted.save("again.pt"),
        "save a copy": lambda: other.save("again.pt", clean=True),
        "load": lambda: LSTMSeqModel.load("model.pt"),
        "load_weights": lambda: other.load_weights("model.pt"),
        "load_from_checkpoint": lambda: LSTMSeqModel.load_from_checkpoint(
            "kept", "logs", best=False
        ),
        "encode": lambda: fitted.encode(series),
        "encode by an ensemble": lambda: ensemble.encode(series),
        "forecast without training": lambda: zero_shot.predict(3, series),
        "fit": lambda: zero_shot.fit(series, epochs=1),
    }
    for name, action in actions.items():
        before = random_states()
        action()
        np.testing.assert_equal(random_states(), before, err_msg=name)


def test_a_pickle_whose_weights_changed_is_refused(fitted: LSTMSeqModel) -> None:
    content = bytearray(pickle.dumps(fitted))
    weight = fitted.model.network.head.weight.detach().numpy().tobytes()
    content[content.index(weight)] ^= 1
    with pytest.raises(ValueError, match=r"The pickled network is damaged.*checksum"):
        pickle.loads(content)


# --- rollback_on_error ----------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_fails_within_is_undone(error: type[BaseException], fitted: LSTMSeqModel) -> None:
    def wreck() -> None:
        fitted.training_series = None
        fitted.added = 3
        fitted.trainer_params["devices"] = 7
        fitted.pl_module_params.clear()
        with torch.no_grad():
            for weight in fitted.model.parameters():
                weight.add_(1.0)
        fitted.model.output_chunk_shift = 5
        fitted.model.train_criterion.reduction = "none"
        fitted.model.train_criterion_reduction = "mean"
        raise error

    attributes, expected = dict(vars(fitted)), told(fitted)
    names = {name: list(attributes[name]) for name in ("pl_module_params", "trainer_params")}
    with pytest.raises(error), persistence.rollback_on_error(fitted):
        wreck()
    assert vars(fitted).keys() == attributes.keys()
    for name, keys in names.items():
        assert list(getattr(fitted, name)) == keys
    assert fitted.model.output_chunk_shift == 0
    assert fitted.model.train_criterion.reduction == "mean"
    np.testing.assert_array_equal(told(fitted), expected)


def test_what_succeeds_within_stays(fitted: LSTMSeqModel) -> None:
    with persistence.rollback_on_error(fitted):
        fitted.added = 3
        with torch.no_grad():
            fitted.model.network.head.bias.fill_(5.0)
    assert fitted.added == 3
    assert (fitted.model.network.head.bias == 5).all()


def test_a_network_that_was_made_within_is_gone(tiny: Tiny, series: TimeSeries) -> None:
    model = LSTMSeqModel(L, T, **tiny)

    def fit_and_fail() -> None:
        model.fit(series)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), persistence.rollback_on_error(model):
        fit_and_fail()
    assert not model.model_created
    assert model.trainer is None
    np.testing.assert_array_equal(
        told(model.fit(series)), told(LSTMSeqModel(L, T, **tiny).fit(series))
    )


def test_metrics_of_an_interrupted_epoch_are_forgotten(tiny: Tiny, series: TimeSeries) -> None:
    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
            raise InterruptedError

    model = LSTMSeqModel(L, T, torch_metrics=MeanAbsoluteError(), batch_size=8, **tiny).fit(series)
    metric = model.model.train_metrics["MeanAbsoluteError"]
    trainer = pl.Trainer(**tiny["pl_trainer_kwargs"] | {"callbacks": [Stop()]})
    with pytest.raises(InterruptedError):
        model.fit(series * 1e6, trainer=trainer)
    assert metric.total == 0


# --- files ---------------------------------------------------------------------------------------


def _checkpointed(tiny: Tiny, **params: Any) -> LSTMSeqModel:
    params = tiny | {"save_checkpoints": True, "model_name": "kept", "work_dir": "logs"} | params
    return LSTMSeqModel(L, T, **params)


def reload(model: LSTMSeqModel, **kwargs: Any) -> LSTMSeqModel:
    model.save("again.pt", **kwargs)
    return LSTMSeqModel.load("again.pt")


def test_folders_that_another_process_makes_first_are_taken(
    tiny: Tiny, series: TimeSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exists = os.path.exists
    # as if it were made between Darts' look at the folder and its `mkdir`
    monkeypatch.setattr(os.path, "exists", lambda path: exists(path) and "runs" not in str(path))
    (tmp_path / "runs" / "kept").mkdir(parents=True)
    place = {"model_name": "kept", "work_dir": str(tmp_path / "runs"), "save_checkpoints": True}
    LSTMSeqModel(6, 3, **tiny | place).fit(series)
    assert (tmp_path / "runs" / "kept" / "checkpoints").is_dir()


def test_load_best_then_save_saves_the_best(tiny: Tiny, series: TimeSeries) -> None:
    # the steps grow until they wreck what was learnt, so the last epoch is not the best
    growing = {
        "lr_scheduler_cls": torch.optim.lr_scheduler.ExponentialLR,
        "lr_scheduler_kwargs": {"gamma": 30},
        "n_epochs": 4,
    }
    model = _checkpointed(tiny, **growing)
    model.fit(series[:45], val_series=series[36:], load_best=True)
    best = LSTMSeqModel.load_from_checkpoint("kept", "logs", best=True)
    last = LSTMSeqModel.load_from_checkpoint("kept", "logs", best=False)
    assert not np.array_equal(told(best, series), told(last, series))
    np.testing.assert_array_equal(told(model, series), told(best, series))
    np.testing.assert_array_equal(told(reload(model), series), told(best, series))
    np.testing.assert_array_equal(told(copy.deepcopy(model), series), told(best, series))


@pytest.mark.parametrize("clean", [False, True])
def test_every_way_to_come_by_a_network_can_be_saved(
    clean: bool, tiny: Tiny, series: TimeSeries
) -> None:
    fitted = _checkpointed(tiny).fit(series)
    fitted.save("first.pt")
    weights_loaded = LSTMSeqModel(L, T, **tiny)
    weights_loaded.load_weights("first.pt")
    from_checkpoint = LSTMSeqModel(L, T, **tiny)
    from_checkpoint.load_weights_from_checkpoint("kept", "logs", best=False)
    own_trainer = LSTMSeqModel(L, T, **tiny).fit(
        series, trainer=pl.Trainer(max_epochs=2, **tiny["pl_trainer_kwargs"])
    )
    by_other_trainer = copy.deepcopy(fitted)
    by_other_trainer.predict(T, trainer=pl.Trainer(**tiny["pl_trainer_kwargs"]))
    encoded = copy.deepcopy(fitted)
    encoded.encode(series)
    models = {
        "fitted": fitted,
        "loaded": LSTMSeqModel.load("first.pt"),
        "checkpoint": LSTMSeqModel.load_from_checkpoint("kept", "logs", best=False),
        "weights": weights_loaded,
        "weights of a checkpoint": from_checkpoint,
        "own trainer": own_trainer,
        "predicted by another trainer": by_other_trainer,
        "encoded": encoded,
        "copy": copy.deepcopy(fitted),
    }
    for name, model in models.items():
        saved = told(reload(model, clean=clean), series)
        np.testing.assert_array_equal(saved, told(model, series), err_msg=name)
        if name != "own trainer":
            np.testing.assert_array_equal(saved, told(fitted, series), err_msg=name)


def test_weights_loaded_over_a_checkpoint_are_the_ones_saved(
    tiny: Tiny, series: TimeSeries
) -> None:
    _checkpointed(tiny).fit(series)
    other = LSTMSeqModel(L, T, **tiny | {"random_state": 9}).fit(series)
    other.save("other.pt")
    model = LSTMSeqModel.load_from_checkpoint("kept", "logs", best=False)
    model.load_weights("other.pt")
    np.testing.assert_array_equal(told(model, series), told(other))
    np.testing.assert_array_equal(told(reload(model), series), told(other))


def test_a_save_after_a_failed_fit_saves_what_there_was(
    fitted: LSTMSeqModel, series: TimeSeries
) -> None:
    expected = told(fitted)
    with pytest.raises(ValueError, match="infinite"):
        fitted.fit(series * np.inf)
    np.testing.assert_array_equal(told(reload(fitted)), expected)


def test_clean_files_hold_no_data_and_no_trainer(fitted: LSTMSeqModel, series: TimeSeries) -> None:
    expected = told(fitted)
    clean = reload(fitted, clean=True)
    assert clean.training_series is None
    assert "pl_trainer_kwargs" not in clean.model_params
    np.testing.assert_array_equal(told(clean, series), expected)
    # the model that was saved keeps all of its own
    np.testing.assert_array_equal(told(fitted), expected)
    assert "pl_trainer_kwargs" in fitted.model_params


@pytest.mark.parametrize("name", ["_model.pth.tar", "checkpoints"])
@pytest.mark.parametrize("how", ["hostile", "truncated", "empty"])
def test_checkpoints_that_are_hostile_or_damaged_are_refused(
    name: str, how: str, tiny: Tiny, series: TimeSeries, tmp_path: Path
) -> None:
    model = _checkpointed(tiny).fit(series)
    expected, mark = told(model), tmp_path / "mark"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return eval, (f"open({str(mark)!r}, 'w').close()",)

    files = [path for path in Path("logs/kept").rglob("*") if path.is_file()]
    targets = [path for path in files if name in str(path)]
    assert targets
    for target in targets:
        content = target.read_bytes()
        match how:
            case "hostile":
                torch.save({"state_dict": Payload()}, target)
            case "truncated":
                target.write_bytes(content[: len(content) // 2])
            case _:
                target.write_bytes(b"")
    loads: list[Callable[[], object]] = [
        lambda: LSTMSeqModel.load_from_checkpoint("kept", "logs", best=False),
        lambda: model.load_weights_from_checkpoint("kept", "logs", best=False),
    ]
    for load in loads:
        with pytest.raises(ValueError, match=r"refused|damaged"):
            load()
    assert not mark.exists()
    np.testing.assert_array_equal(told(model), expected)


def test_a_file_of_another_class_is_named(
    fitted: LSTMSeqModel, tiny: Tiny, series: TimeSeries
) -> None:
    params = {name: value for name, value in tiny.items() if name != "hidden_dim"}
    BlockRNNModel(L, T, **params).fit(series).save("block.pt")
    message = (
        r"holds a `BlockRNNModel`, not a `LSTMSeqModel`. Load it with `BlockRNNModel.load\(\)`"
    )
    with pytest.raises(ValueError, match=message):
        LSTMSeqModel.load("block.pt")
    expected = told(fitted)
    with pytest.raises(ValueError, match=r"."):
        fitted.load_weights("block.pt")
    np.testing.assert_array_equal(told(fitted), expected)
    assert persistence.of_class(fitted, LSTMSeqModel) is fitted


def test_weights_of_another_architecture_are_refused(
    fitted: LSTMSeqModel, tiny: Tiny, series: TimeSeries
) -> None:
    LSTMSeqModel(L, T, **tiny | {"hidden_dim": 5}).fit(series).save("wide.pt")
    expected = told(fitted)
    with pytest.raises(ValueError, match=r"hidden_dim=8, should be hidden_dim=5"):
        fitted.load_weights("wide.pt")
    np.testing.assert_array_equal(told(fitted), expected)


@pytest.mark.parametrize("n_members", [1, 2])
def test_long_windows_of_earlier_versions_are_refused(
    n_members: int, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = TimeSeries.from_values(np.random.default_rng(0).normal(size=1110))
    params = tiny | {"n_members": n_members}
    LSTMSeqModel(1100, 3, **params).fit(series).save("model.pt")
    expected = told(LSTMSeqModel.load("model.pt"), series)
    with monkeypatch.context() as earlier:
        earlier.setattr(module, "make_skip", SeasonalSkip)
        earlier.setattr(module, "find_season", lambda windows, n_windows: 1)
        model = LSTMSeqModel(1100, 3, **params).fit(series)
        model.save("earlier.pt")
        content = pickle.dumps(model)
    for load in (lambda: LSTMSeqModel.load("earlier.pt"), lambda: pickle.loads(content)):
        with pytest.raises(ValueError, match=r"each of 1100 input steps. Fit the model again"):
            load()
    np.testing.assert_array_equal(told(LSTMSeqModel.load("model.pt"), series), expected)


@pytest.mark.parametrize("masked", [False, True])
def test_whether_there_is_a_mask_travels_with_the_weights(
    masked: bool, tiny: Tiny, series: TimeSeries
) -> None:
    values = series.values()
    values[20] = np.nan
    holes = series.with_values(values) if masked else series
    model = LSTMSeqModel(L, T, **tiny).fit(holes)
    model.save("model.pt")
    other = LSTMSeqModel(L, T, **tiny)
    other.load_weights("model.pt")
    for one in (other, LSTMSeqModel.load("model.pt"), copy.deepcopy(model)):
        assert one.model.network.layers[0].input_size == one.patch_length * (2 if masked else 1)
        np.testing.assert_array_equal(told(one, series), told(model, series))


def test_an_ensemble_saves_and_loads_its_members(fitted: LSTMSeqModel, series: TimeSeries) -> None:
    ensemble = NaiveEnsembleModel([fitted, copy.deepcopy(fitted)], train_forecasting_models=False)
    expected = ensemble.predict(5, series)
    ensemble.save("ensemble.pkl")
    loaded = NaiveEnsembleModel.load("ensemble.pkl")
    np.testing.assert_array_equal(loaded.predict(5, series).values(), expected.values())


# --- two files that do not belong together --------------------------------------------------------


@pytest.fixture
def wider(tiny: Tiny, series: TimeSeries) -> LSTMSeqModel:
    return LSTMSeqModel(L, T, **tiny | {"hidden_dim": 5}).fit(series)


@pytest.fixture
def reseeded(tiny: Tiny, series: TimeSeries) -> LSTMSeqModel:
    return LSTMSeqModel(L, T, **tiny | {"random_state": 9}).fit(series)


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("network", ["missing", "wider", "reseeded"])
def test_the_model_file_decides_about_the_network(
    network: str,
    clean: bool,
    fitted: LSTMSeqModel,
    series: TimeSeries,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fitted.save("model.pt", clean=clean)
    if network == "missing":
        os.remove("model.pt.ckpt")
    else:
        request.getfixturevalue(network).save("other.pt")
        os.replace("other.pt.ckpt", "model.pt.ckpt")
    loaded = LSTMSeqModel.load("model.pt")
    assert "belongs to another save" in caplog.text
    np.testing.assert_array_equal(told(loaded, series), told(fitted, series))
    caplog.clear()
    np.testing.assert_array_equal(told(reload(loaded), series), told(fitted, series))
    assert "another save" not in caplog.text


def test_weights_are_those_of_the_model_file(
    fitted: LSTMSeqModel, reseeded: LSTMSeqModel, tiny: Tiny, series: TimeSeries
) -> None:
    fitted.save("model.pt")
    reseeded.save("other.pt")
    os.replace("other.pt.ckpt", "model.pt.ckpt")
    model = LSTMSeqModel(L, T, **tiny)
    model.load_weights("model.pt")
    np.testing.assert_array_equal(told(model, series), told(fitted))


def test_members_of_an_ensemble_are_their_own(
    fitted: LSTMSeqModel, wider: LSTMSeqModel, series: TimeSeries
) -> None:
    ensemble = NaiveEnsembleModel([fitted, wider], train_forecasting_models=False)
    expected = ensemble.predict(5, series).values()
    ensemble.save("ensemble.pkl")
    first, second = (Path(f"ensemble.pkl.LSTMSeqModel_{k}.pt") for k in range(2))
    os.replace(f"{second}.ckpt", f"{first}.ckpt")
    wider.save(str(second))
    loaded = NaiveEnsembleModel.load("ensemble.pkl")
    np.testing.assert_array_equal(loaded.predict(5, series).values(), expected)
    for damaged in (first, Path(f"{second}.ckpt")):
        damage(damaged)
        with pytest.raises(ValueError, match=rf"{damaged.name}` is damaged"):
            NaiveEnsembleModel.load("ensemble.pkl")
        damage(damaged)  # undoes it


def test_an_unfitted_model_does_not_inherit_a_network(
    fitted: LSTMSeqModel, tiny: Tiny, series: TimeSeries
) -> None:
    fitted.save("model.pt")
    LSTMSeqModel(L, T, **tiny).save("model.pt")
    assert not LSTMSeqModel.load("model.pt").model_created
    _checkpointed(tiny).fit(series)
    model = LSTMSeqModel.load_from_checkpoint("kept", "logs", best=False)
    model.reset_model()
    model.save("reset.pt")
    assert not LSTMSeqModel.load("reset.pt").model_created
    # the training that was reset is not continued
    assert model.fit(series, epochs=1).epochs_trained == 1


def test_weights_loaded_before_a_training_stay_out_of_its_folder(
    reseeded: LSTMSeqModel, tiny: Tiny, series: TimeSeries
) -> None:
    reseeded.save("other.pt")
    model = _checkpointed(tiny).fit(series)
    model.load_weights("other.pt")
    model.fit(series, epochs=1)
    loaded = LSTMSeqModel.load_from_checkpoint("kept", "logs", best=False)
    np.testing.assert_array_equal(told(loaded, series), told(model))


@pytest.mark.parametrize("folder", ["model.pt", "model.pt.ckpt"])
def test_a_folder_is_no_path_for_a_model(folder: str, fitted: LSTMSeqModel) -> None:
    Path(folder).mkdir()
    message = rf"`path` must name a file, but there is a folder at `{folder}`"
    with pytest.raises(ValueError, match=message):
        fitted.save("model.pt")
    with pytest.raises(ValueError, match=message):
        fitted.to_onnx(folder)
    assert os.listdir() == [folder]


def test_the_folder_of_a_model_must_exist(fitted: LSTMSeqModel) -> None:
    message = r"folder that exists, received `some/where/model\.pt`.*makedirs\('some/where'\)"
    for write in (fitted.save, fitted.to_onnx):
        with pytest.raises(ValueError, match=message):
            write("some/where/model.pt")
    Path("folder").mkdir()
    fitted.save(Path("folder") / "model.pt")
    np.testing.assert_array_equal(told(LSTMSeqModel.load(Path("folder/model.pt"))), told(fitted))


def test_an_interrupted_export_leaves_the_old_file(
    fitted: LSTMSeqModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_half(model: LSTMSeqModel, path: str) -> None:
        Path(path).write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(MixedCovariatesTorchModel, "to_onnx", write_half)
    Path("model.onnx").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        fitted.to_onnx("model.onnx")
    assert os.listdir() == ["model.onnx"]
    assert Path("model.onnx").read_text() == "old"


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (pickle.UnpicklingError("bad global"), "refused; nothing was loaded. Reason: bad global"),
        (EOFError("end"), "damaged, incomplete or not one of ours.*Reason: end"),
        (RuntimeError("zip"), "damaged, incomplete or not one of ours.*Reason: zip"),
        (ImportError("module"), "damaged, incomplete or not one of ours.*Reason: module"),
        (KeyError("model_dtype"), "damaged, incomplete or not one of ours.*model_dtype"),
        (ValueError("a clear message of Darts"), "^a clear message of Darts$"),
    ],
)
def test_what_goes_wrong_while_loading_is_a_value_error(error: Exception, message: str) -> None:
    with pytest.raises(ValueError, match=message), persistence.clear_load_errors():
        raise error


def test_a_missing_file_stays_one() -> None:
    with pytest.raises(FileNotFoundError), persistence.clear_load_errors():
        open("nowhere")  # noqa: SIM115
