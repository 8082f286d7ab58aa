"""Saving, loading, resuming and copying, all in Darts' safe mode, which is its default."""

import copy
import io
import json
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
from darts.utils.likelihood_models.torch import GaussianLikelihood
from joblib import Parallel, delayed
from makers import assert_near, sine, trainer_of

from darts_lstm_seq import LSTMSeqModel
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
