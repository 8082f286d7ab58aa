"""Saving, loading, resuming and copying, all in Darts' safe mode, which is its default."""

import copy
import io
import json
import os
import pickle
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from darts import TimeSeries
from darts.models import BlockRNNModel, NLinearModel
from darts.models.forecasting.torch_forecasting_model import TorchForecastingModel
from darts.utils.likelihood_models.torch import GaussianLikelihood
from joblib import Parallel, delayed
from makers import assert_near, damage, sine, trainer_of

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.model import persistence
from darts_lstm_seq.training.module import LSTMSeqModule


@pytest.fixture(scope="module")
def series() -> TimeSeries:
    return sine(90, level=20, scale=3)


@pytest.fixture(scope="module")
def fitted(tiny: dict[str, Any], series: TimeSeries) -> LSTMSeqModel:
    """A model with something of everything that a file has to hold."""
    model = LSTMSeqModel(
        12,
        4,
        n_rnn_layers=2,
        likelihood=GaussianLikelihood(),
        add_encoders={"cyclic": {"future": ["month"]}},
        optimizer_kwargs={"lr": 0.01},
        lr_scheduler_cls=torch.optim.lr_scheduler.ExponentialLR,
        lr_scheduler_kwargs={"gamma": 0.9},
        **tiny | {"n_epochs": 3, "dropout": 0.1},
    )
    return model.fit(series)


def told(model: LSTMSeqModel, series: TimeSeries | None = None, **kwargs: Any) -> np.ndarray:
    return model.predict(4, series, predict_likelihood_parameters=True, **kwargs).values()


@pytest.mark.parametrize("clean", [False, True])
def test_saved_and_loaded(
    clean: bool, fitted: LSTMSeqModel, series: TimeSeries, tmp_path: Path
) -> None:
    path = str(tmp_path / "model.pt")
    fitted.save(path, clean=clean)
    loaded = LSTMSeqModel.load(path, trusted=False)
    np.testing.assert_array_equal(told(loaded, series), told(fitted))
    if clean:
        with pytest.raises(ValueError, match="clean=True"):
            loaded.predict(4)
    else:
        np.testing.assert_array_equal(told(loaded), told(fitted))
    # what was loaded can be trained on, and saved again
    loaded.fit(series, epochs=1)
    again = str(tmp_path / "again.pt")
    loaded.save(again)
    np.testing.assert_array_equal(told(LSTMSeqModel.load(again)), told(loaded))


def test_saved_twice_without_a_change(fitted: LSTMSeqModel, tmp_path: Path) -> None:
    first, second = str(tmp_path / "first.pt"), str(tmp_path / "second.pt")
    fitted.save(first)
    LSTMSeqModel.load(first).save(second)
    np.testing.assert_array_equal(told(LSTMSeqModel.load(second)), told(fitted))


def test_an_unfitted_model_is_saved_and_loaded(
    tiny: dict[str, Any], series: TimeSeries, tmp_path: Path
) -> None:
    path = str(tmp_path / "model.pt")
    LSTMSeqModel(12, 4, **tiny).save(path)
    with pytest.raises(ValueError, match=r"fit|series"):
        LSTMSeqModel.load(path).predict(4)
    loaded = LSTMSeqModel.load(path)
    expected = LSTMSeqModel(12, 4, **tiny).fit(series).predict(4)
    np.testing.assert_allclose(loaded.fit(series).predict(4).values(), expected.values(), rtol=1e-5)


@pytest.mark.slow
def test_a_file_loads_in_a_fresh_process(fitted: LSTMSeqModel, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    fitted.save(str(path))
    code = f"""
        from darts_lstm_seq import LSTMSeqModel
        model = LSTMSeqModel.load({str(path)!r})
        print(model.predict(4, predict_likelihood_parameters=True).values().tolist())
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = np.array(json.loads(done.stdout.splitlines()[-1]))
    np.testing.assert_allclose(found, told(fitted), rtol=1e-5)


def test_loading_on_the_cpu_what_was_elsewhere(
    fitted: LSTMSeqModel, series: TimeSeries, tmp_path: Path
) -> None:
    path = str(tmp_path / "model.pt")
    fitted.save(path)
    loaded = LSTMSeqModel.load(
        path, map_location="cpu", pl_trainer_kwargs={"accelerator": "cpu", "logger": False}
    )
    loaded.to_cpu()
    np.testing.assert_array_equal(told(loaded, series), told(fitted))
    assert {weight.device.type for weight in loaded.model.parameters()} == {"cpu"}


class InterruptError(Exception):
    pass


def test_checkpoints_best_and_last(
    tiny: dict[str, Any], series: TimeSeries, tmp_path: Path
) -> None:
    model = LSTMSeqModel(
        12,
        4,
        save_checkpoints=True,
        work_dir=str(tmp_path),
        model_name="kept",
        # the steps grow until they wreck what was learnt, so the last epoch is not the best
        lr_scheduler_cls=torch.optim.lr_scheduler.ExponentialLR,
        lr_scheduler_kwargs={"gamma": 30},
        **tiny | {"n_epochs": 4},
    )
    model.fit(series[:70], val_series=series[54:])
    last = LSTMSeqModel.load_from_checkpoint("kept", str(tmp_path), best=False)
    np.testing.assert_array_equal(last.predict(4).values(), model.predict(4).values())
    best = LSTMSeqModel.load_from_checkpoint("kept", str(tmp_path), best=True, map_location="cpu")
    assert not np.array_equal(best.predict(4).values(), last.predict(4).values())
    errors = {
        kind: model.backtest(series, retrain=False, forecast_horizon=4)
        for kind, model in [("best", best), ("last", last)]
    }
    assert errors["best"] < errors["last"]
    other = LSTMSeqModel(12, 4, **tiny)
    other.load_weights_from_checkpoint("kept", str(tmp_path), best=True)
    np.testing.assert_array_equal(
        other.predict(4, series).values(), best.predict(4, series).values()
    )


def test_training_resumes_after_an_interruption(
    tiny: dict[str, Any], series: TimeSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(name: str) -> LSTMSeqModel:
        return LSTMSeqModel(
            12,
            4,
            save_checkpoints=True,
            work_dir=str(tmp_path),
            model_name=name,
            **tiny | {"n_epochs": 6},
        )

    def interrupt(module: LSTMSeqModule) -> None:
        if module.current_epoch == 3:
            raise InterruptError

    whole = build("whole").fit(series)
    stopped = build("stopped")
    with monkeypatch.context() as patch:
        patch.setattr(LSTMSeqModule, "on_train_epoch_start", interrupt)
        with pytest.raises(InterruptError):
            stopped.fit(series)
    with pytest.raises(ValueError, match="fit"):
        stopped.predict(4)
    resumed = LSTMSeqModel.load_from_checkpoint("stopped", str(tmp_path), best=False)
    resumed.fit(series)
    assert resumed.epochs_trained == 6
    # the optimiser went on where it was: a fresh one would have been elsewhere
    state, reference = (
        trainer_of(model).optimizers[0].state_dict()["state"][0] for model in (resumed, whole)
    )
    assert int(state["step"]) == int(reference["step"])
    assert_near(resumed.predict(4), series)


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-true", "16-mixed", "bf16-mixed"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_precisions_save_and_load_or_refuse(
    precision: str, dtype: str, tiny: dict[str, Any], tmp_path: Path
) -> None:
    series = sine(60, dtype=dtype)
    trainer = tiny["pl_trainer_kwargs"] | {"precision": precision}
    model = LSTMSeqModel(12, 4, **tiny | {"pl_trainer_kwargs": trainer})
    model.fit(series)
    forecast = model.predict(6)
    assert forecast.dtype == dtype
    assert_near(forecast, series)
    path = str(tmp_path / "model.pt")
    model.save(path)
    loaded = LSTMSeqModel.load(path)
    again = loaded.predict(6)
    assert again.dtype == dtype
    np.testing.assert_array_equal(again.values(), forecast.values())
    loaded.fit(series, epochs=1)
    assert_near(loaded.predict(6), series)


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deepcopy", "pickle"],
)
def test_a_copy_predicts_the_same(
    duplicate: Callable[[LSTMSeqModel], LSTMSeqModel],
    fitted: LSTMSeqModel,
    series: TimeSeries,
    tmp_path: Path,
) -> None:
    twin = duplicate(fitted)
    np.testing.assert_array_equal(told(twin), told(fitted))
    # it is a model of its own, with all that a model can do
    before = told(fitted)
    twin.fit(series, epochs=1)
    assert np.abs(told(twin) - before).max() > 0
    np.testing.assert_array_equal(told(fitted), before)
    path = str(tmp_path / "twin.pt")
    copied = duplicate(twin)
    copied.save(path)
    np.testing.assert_array_equal(told(LSTMSeqModel.load(path)), told(twin))


@pytest.mark.cluster
def test_joblib_workers_predict_the_same(fitted: LSTMSeqModel) -> None:
    found = Parallel(n_jobs=2)(delayed(told)(fitted) for _ in range(2))
    for forecast in found:
        np.testing.assert_allclose(forecast, told(fitted), rtol=1e-5)


# --- interrupted saves ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def old_and_new(tiny: dict[str, Any]) -> list[LSTMSeqModel]:
    """Two models of the same parameters, whose networks forecast otherwise."""
    return [LSTMSeqModel(12, 4, **tiny).fit(sine(90, level=20, seed=seed)) for seed in range(2)]


def forecasts(model: LSTMSeqModel, series: TimeSeries) -> bytes:
    """Return forecasts that need the network alone, and the training series of its model file."""
    return b"".join(model.predict(4, given).values().tobytes() for given in (series, None))


def runs_to_its_end(action: Callable[[], object], killed_before: int) -> bool:
    """Tell whether a process that is killed before so many changes to files finishes `action`."""
    if (process := os.fork()) == 0:
        changes = 0

        def count(event: str, args: tuple[Any, ...]) -> None:
            nonlocal changes
            match event, args:
                # a file appears, and is moved, removed, ...
                case ("open", (_, _, flags)) if flags & (os.O_WRONLY | os.O_RDWR):
                    pass
                case ("os.rename" | "os.remove" | "os.mkdir" | "os.rmdir" | "os.link", _):
                    pass
                case _:
                    return
            changes += 1
            if changes == killed_before:
                os._exit(9)

        sys.addaudithook(count)
        try:
            action()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(process, 0)
    exit_code = os.waitstatus_to_exitcode(status)
    assert exit_code in (0, 9)
    return exit_code == 0


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the process to be killed is a fork")
def test_a_save_that_is_killed_leaves_the_old_model_or_the_new_one(
    old_and_new: list[LSTMSeqModel],
    tiny: dict[str, Any],
    series: TimeSeries,
    tmp_path: Path,
) -> None:
    old, new = old_and_new
    expected = {forecasts(model, series): model for model in old_and_new}

    def with_weights(model: LSTMSeqModel) -> LSTMSeqModel:
        other = LSTMSeqModel(12, 4, **tiny)
        other.load_weights(path)
        other.training_series = model.training_series
        return other

    found, mixed_pairs, litter, step = [], 0, 0, 0
    finished = False
    while not finished:
        step += 1
        folder = tmp_path / str(step)
        folder.mkdir()
        path = str(folder / "model.pt")
        old.save(path)
        before = Path(f"{path}.ckpt").read_bytes(), Path(path).read_bytes()
        finished = runs_to_its_end(lambda path=path: new.save(path), step)
        is_kept = [
            Path(name).read_bytes() == content
            for name, content in zip((f"{path}.ckpt", path), before, strict=True)
        ]
        mixed_pairs += is_kept == [False, True]
        loaded = LSTMSeqModel.load(path)
        found.append(expected[forecasts(loaded, series)])
        for model in (TorchForecastingModel.load(path), with_weights(loaded)):
            assert forecasts(model, series) == forecasts(loaded, series)
        litter += len(os.listdir(folder)) > 2
        old.save(path)
        assert sorted(os.listdir(folder)) == ["model.pt", "model.pt.ckpt"]
    assert found[0] is old
    assert found[-1] is new
    # the kills came in between
    assert step > 5
    assert mixed_pairs
    assert litter > 2


def test_a_model_saved_while_another_process_loads_is_the_old_or_the_new(
    old_and_new: list[LSTMSeqModel],
    series: TimeSeries,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old, new = old_and_new
    path = str(tmp_path / "model.pt")
    old.save(path)
    check = persistence.check_archive

    def save_in_between(source: Any, *args: Any) -> None:
        if source == f"{path}.ckpt":  # the model file has been read
            new.save(path)
        check(source, *args)

    monkeypatch.setattr(persistence, "check_archive", save_in_between)
    assert forecasts(LSTMSeqModel.load(path), series) == forecasts(old, series)
    monkeypatch.undo()
    assert forecasts(LSTMSeqModel.load(path), series) == forecasts(new, series)


# --- damaged files --------------------------------------------------------------------------------


def flipped(content: bytes, count: int) -> list[bytes]:
    """Return `content` with a bit flipped: half of the flips in the zip archive's own structure."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        headers = [entry.header_offset for entry in archive.infolist()]
    structure = [
        *(start + offset for start in headers for offset in range(64)),
        *range(archive.start_dir, len(content)),
    ]
    places = [*rng.choice(structure, count // 2), *rng.integers(0, len(content), count // 2)]
    damaged = []
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << rng.integers(8)
        damaged.append(bytes(changed))
    return damaged


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".pt", ".pt.ckpt"])
def test_no_flipped_bit_changes_a_forecast(
    suffix: str, fitted: LSTMSeqModel, tiny: dict[str, Any], series: TimeSeries, tmp_path: Path
) -> None:
    path, target = str(tmp_path / "model.pt"), tmp_path / f"model{suffix}"
    fitted.save(path)
    expected = told(fitted)
    reasons = []
    for content in flipped(target.read_bytes(), 100):
        target.write_bytes(content)
        try:
            model = LSTMSeqModel.load(path)
        except ValueError as error:
            reasons.append(str(error))
            with pytest.raises(ValueError, match=r"damaged|refused"):
                fitted.load_weights(path)
        else:
            np.testing.assert_array_equal(told(model), expected)
    assert 50 <= len(reasons) < 100
    assert all("damaged" in reason or "refused" in reason for reason in reasons)
    np.testing.assert_array_equal(told(fitted), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["_model.pth.tar", "checkpoints/last-epoch=0.ckpt"])
def test_no_flipped_bit_in_the_folder_of_a_training_changes_a_forecast(
    name: str, tiny: dict[str, Any], series: TimeSeries, tmp_path: Path
) -> None:
    place = {"model_name": "kept", "work_dir": str(tmp_path)}
    model = LSTMSeqModel(12, 4, save_checkpoints=True, **place, **tiny).fit(series)
    expected, target = model.predict(4).values(), tmp_path / "kept" / name
    reasons = []
    for content in flipped(target.read_bytes(), 60):
        target.write_bytes(content)
        try:
            loaded = LSTMSeqModel.load_from_checkpoint(**place, best=False)
        except ValueError as error:
            reasons.append(str(error))
            with pytest.raises(ValueError, match=r"damaged|refused"):
                model.load_weights_from_checkpoint(**place, best=False)
        else:
            np.testing.assert_array_equal(loaded.predict(4).values(), expected)
    assert 30 <= len(reasons) < 60
    assert all("damaged" in reason or "refused" in reason for reason in reasons)
    np.testing.assert_array_equal(model.predict(4).values(), expected)


def test_a_training_does_not_continue_from_a_damaged_file(
    tiny: dict[str, Any], series: TimeSeries, tmp_path: Path
) -> None:
    place = {"model_name": "kept", "work_dir": str(tmp_path)}
    LSTMSeqModel(12, 4, save_checkpoints=True, **place, **tiny).fit(series)
    model = LSTMSeqModel.load_from_checkpoint(**place, best=False)
    expected, target = model.predict(4).values(), tmp_path / "kept/checkpoints/last-epoch=0.ckpt"
    damage(target)
    with pytest.raises(ValueError, match=r"last-epoch=0\.ckpt` is damaged"):
        model.fit(series, epochs=2)
    np.testing.assert_array_equal(model.predict(4).values(), expected)


def test_a_zip_bomb_is_not_unpacked(fitted: LSTMSeqModel, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    for target in (path, tmp_path / "model.pt.ckpt"):
        fitted.save(str(path))
        with zipfile.ZipFile(target) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                archive.writestr(name, content + bytes(10**6))
        assert target.stat().st_size < 10**6
        for load in (LSTMSeqModel.load, fitted.load_weights):
            with pytest.raises(ValueError, match=rf"{target.name}` is damaged.*compressed"):
                load(str(path))


class Payload:
    """Writes a file when it is unpickled, as an attacker's object would run a command."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"open({str(self.target)!r}, 'w').close()",)


def test_the_payload_would_go_off(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists()


@pytest.mark.parametrize("suffix", [".pt", ".pt.ckpt"])
@pytest.mark.parametrize("write", ["pickle", "torch"])
def test_hostile_files_are_refused(
    suffix: str, write: str, fitted: LSTMSeqModel, series: TimeSeries, tmp_path: Path
) -> None:
    path, mark = tmp_path / "model.pt", tmp_path / "mark"
    fitted.save(str(path))
    target = tmp_path / f"model{suffix}"
    payload = {"state_dict": Payload(mark)}
    if write == "pickle":
        target.write_bytes(pickle.dumps(payload))
    else:
        torch.save(payload, target)
    with pytest.raises(ValueError, match=r"refused|damaged"):
        LSTMSeqModel.load(str(path))
    before = told(fitted)
    with pytest.raises(ValueError, match=r"refused|damaged"):
        fitted.load_weights(str(path))
    assert not mark.exists()
    # the model in memory is as it was
    np.testing.assert_array_equal(told(fitted, series), before)


@pytest.mark.parametrize("suffix", [".pt", ".pt.ckpt"])
@pytest.mark.parametrize("kept", [0, 0.02, 0.6, 0.99])
def test_truncated_files_are_refused(
    suffix: str, kept: float, fitted: LSTMSeqModel, tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    fitted.save(str(path))
    target = tmp_path / f"model{suffix}"
    content = target.read_bytes()
    target.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"damaged"):
        LSTMSeqModel.load(str(path))
    before = told(fitted)
    with pytest.raises(ValueError, match=r"damaged"):
        fitted.load_weights(str(path))
    np.testing.assert_array_equal(told(fitted), before)


@pytest.mark.parametrize("suffix", [".pt", ".pt.ckpt"])
@pytest.mark.parametrize("other", [BlockRNNModel, NLinearModel])
def test_files_of_another_class_are_refused(
    suffix: str,
    other: type,
    fitted: LSTMSeqModel,
    tiny: dict[str, Any],
    series: TimeSeries,
    tmp_path: Path,
) -> None:
    path, foreign = tmp_path / "model.pt", tmp_path / "foreign.pt"
    fitted.save(str(path))
    kwargs = {name: tiny[name] for name in tiny.keys() - {"hidden_dim", "dropout"}}
    other(12, 4, **kwargs).fit(series).save(str(foreign))
    for ending in {suffix, ".pt.ckpt"}:
        (tmp_path / f"model{ending}").write_bytes((tmp_path / f"foreign{ending}").read_bytes())
    with pytest.raises(ValueError, match=rf"damaged|{other.__name__}"):
        LSTMSeqModel.load(str(path))
    before = told(fitted)
    with pytest.raises(ValueError, match=r"."):
        fitted.load_weights(str(path))
    np.testing.assert_array_equal(told(fitted), before)


def test_missing_files_are_named(fitted: LSTMSeqModel, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere.pt")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pt"):
        LSTMSeqModel.load(nowhere)
    with pytest.raises(ValueError, match=r"nowhere\.pt"):
        fitted.load_weights(nowhere)
    with pytest.raises((ValueError, FileNotFoundError), match="unknown"):
        LSTMSeqModel.load_from_checkpoint("unknown", str(tmp_path))


def test_a_saved_file_holds_no_code(fitted: LSTMSeqModel, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    fitted.save(str(path))
    for name in ("model.pt", "model.pt.ckpt"):
        with zipfile.ZipFile(tmp_path / name) as archive:
            (entry,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
            assert b"__main__" not in io.BytesIO(archive.read(entry)).getvalue()
