"""Forecasts of the future: refitted on everything, with intervals that hold, without training."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries, concatenate
from darts.models import ARIMA, ExponentialSmoothing, LinearRegressionModel, NaiveDrift, Theta
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression
from makers import following, sine, with_value

from darts_lstm_seq import Comparison, LSTMSeqModel, compare, forecast
from darts_lstm_seq.cli import main
from darts_lstm_seq.comparison.quantiles import interpolate

QUANTILES = QuantileRegression([0.1, 0.5, 0.9])


def walk(length: int, seed: int = 0) -> TimeSeries:
    """A random walk of steps of 1, which drifts nowhere: all of its intervals are known."""
    steps = np.random.default_rng(seed).normal(size=length)
    return TimeSeries.from_values(steps.cumsum())


def run(series: Any, models: Any, horizon: int = 4, **kwargs: Any) -> Comparison:
    return compare(series, horizon, models, folds=1, show_progress=False, **kwargs)


def test_the_best_model_forecasts_what_follows(seasonal: TimeSeries) -> None:
    models = {"drift": NaiveDrift(), "theta": Theta()}
    found = run(seasonal, models)
    assert found.best == found.scores["model"][0] == "theta"
    future = found.predict()
    assert future["time"].tolist() == following(seasonal, 4).tolist()
    expected = Theta().fit(seasonal).predict(4).values()[:, 0]
    np.testing.assert_allclose(future["forecast"], expected)
    np.testing.assert_allclose(found.fit("drift").predict(1).values(), seasonal.last_value(), 0.1)
    with pytest.raises(ValueError, match=r"`model` must be one of .*'drift'.*received 'Prophet'"):
        found.fit("Prophet")
    for interval in (0, 1, 80, "80"):
        with pytest.raises(ValueError, match="`interval` must be a share between 0 and 1"):
            found.predict(interval=interval)


@pytest.mark.parametrize(
    "model",
    [ARIMA(0, 1, 0), NaiveDrift(), LinearRegressionModel(lags=1), ExponentialSmoothing()],
    ids=lambda model: type(model).__name__,
)
def test_intervals_are_those_of_a_random_walk(model: Any) -> None:
    future = run(walk(300), {"m": model}).predict(interval=0.8)
    width = (future["upper"] - future["lower"]).to_numpy() / 2
    # 1.28 standard deviations, which grow with the root of the steps
    np.testing.assert_allclose(width, 1.2816 * np.sqrt([1, 2, 3, 4]), rtol=0.45)
    assert (np.diff(width) >= 0).all()
    wider = run(walk(300), {"m": model}).predict(interval=0.95)
    assert (wider["upper"] - wider["lower"] > future["upper"] - future["lower"]).all()


def test_quantiles_of_a_network_are_exact_and_extended() -> None:
    values = np.array([[-1.0, 0.0, 1.0]])
    levels = [0.01, 0.1, 0.3, 0.5, 0.9, 0.99]
    found = interpolate(values, [0.1, 0.5, 0.9], levels)[0]
    np.testing.assert_allclose(found, [-1.815, -1, -0.5, 0, 1, 1.815], atol=1e-3)


def test_a_network_that_quantiles_were_trained_for_gives_them(tiny: dict) -> None:
    series = sine(80, width=2, dtype="float64")
    model = LSTMSeqModel(12, 4, likelihood=QUANTILES, **tiny)
    found = run(series, {"m": model})
    future = found.predict(interval=0.8)
    parameters = found.fit().predict(4, predict_likelihood_parameters=True).values()  # (4, 2 * 3)
    expected = np.sort(parameters.reshape(4, 2, 3), axis=2).transpose(1, 0, 2).reshape(8, 3)
    np.testing.assert_allclose(future[["lower", "forecast", "upper"]], expected, rtol=1e-6)
    assert future["component"].tolist() == ["y0"] * 4 + ["y1"] * 4


@pytest.mark.parametrize("likelihood", [None, GaussianLikelihood()])
def test_other_networks_have_intervals_too(
    likelihood: Any, tiny: dict, caplog: pytest.LogCaptureFixture
) -> None:
    model = LSTMSeqModel(12, 4, likelihood=likelihood, **tiny | {"dropout": 0.5})
    future = run(sine(80, dtype="float64"), {"m": model}).predict()
    assert not caplog.text  # that samples are equal, for instance
    assert (future["lower"] < future["forecast"]).all()
    assert (future["forecast"] < future["upper"]).all()


def test_series_with_errors_have_a_row_and_do_not_stop_others() -> None:
    series = {"a": walk(40), "empty": walk(40) * np.nan, ("b", 1): walk(40, 1)[:7]}
    found = run(series, {"drift": NaiveDrift()})
    future = found.predict()
    assert future["series"].tolist() == ["a"] * 4 + ["empty"] + [("b", 1)] * 4
    assert future["error"].notna().tolist() == [False] * 4 + [True] + [False] * 4
    assert future["lower"].isna().tolist() == [False] * 4 + [True] * 5  # too short for errors
    assert set(found.fit()) == {"a", ("b", 1)}


def test_missing_values_are_filled_for_models_that_need_it(seasonal: TimeSeries) -> None:
    gappy = with_value(seasonal, slice(50, 55))
    future = run(gappy, {"theta": Theta(), "smoothing": ExponentialSmoothing()}).predict("theta")
    assert future[["forecast", "lower", "upper"]].notna().all(axis=None)


def test_a_saved_model_forecasts_other_series(tiny: dict, tmp_path: Path) -> None:
    series = [sine(50, level=level, dtype="float64") for level in (0, 10)]
    model = LSTMSeqModel(12, 4, likelihood=QUANTILES, **tiny).fit(series)
    model.save(str(tmp_path / "m.pt"))
    new = {"a": sine(30, seed=1, dtype="float64"), "short": sine(5), "b": sine(40, seed=2)}
    future = forecast(new, tmp_path / "m.pt", interval=0.5)
    assert future["series"].tolist() == ["a"] * 4 + ["short"] + ["b"] * 4
    assert "12" in future["error"][4]
    expected = model.predict(4, new["b"], predict_likelihood_parameters=True).values()
    np.testing.assert_allclose(future["forecast"][5:], np.sort(expected, axis=1)[:, 1], rtol=1e-6)
    longer = forecast(new["a"], model, horizon=7)
    assert len(longer) == 7
    assert list(longer) == ["time", "component", "forecast", "lower", "upper"]
    back = TimeSeries.from_group_dataframe(
        future[future["error"].isna()], "series", "time", ["forecast", "lower", "upper"]
    )
    assert [len(one) for one in back] == [4, 4]


def test_a_pre_trained_model_forecasts_without_fit(seasonal: TimeSeries) -> None:
    model = LSTMSeqModel.from_pretrained()
    future = forecast({"months": seasonal, "steps": walk(50)}, model, horizon=4)
    assert future["error"].isna().all()
    months = future[future["series"] == "months"]
    expected = model.predict(4, seasonal).values()[:, 0]
    np.testing.assert_allclose(months["forecast"], expected, rtol=1e-6)
    assert (future["lower"] < future["forecast"]).all()
    assert (future["forecast"] < future["upper"]).all()
    with pytest.raises(ValueError, match="`model` is not fitted"):
        forecast(seasonal, LSTMSeqModel(12, 4))


def test_the_command_forecasts_and_its_model_forecasts_again(
    tmp_path: Path, capsys: Any, monkeypatch: Any, tiny: dict
) -> None:
    from darts_lstm_seq.comparison.baselines import GLOBAL, MODELS

    network = LSTMSeqModel(12, 6, likelihood=QUANTILES, **tiny)
    monkeypatch.setitem(MODELS, GLOBAL, lambda *_: network)
    frames = [
        sine(60, level=100, seed=seed, dtype="float64")
        .with_columns_renamed("y0", "sales")
        .to_dataframe(time_as_index=False)
        .assign(shop=f"shop {seed}")
        for seed in range(3)
    ]
    pd.concat(frames).rename(columns={"time": "month"}).to_csv("sales.csv", index=False)
    arguments = ["forecast", "sales.csv", "--series", "shop", "--folds", "1", "--horizon", "6"]
    assert main([*arguments, "--models", GLOBAL, "--interval", "90"]) == 0
    assert "to forecast: sales; 3 series; 1 fold of 6 steps" in capsys.readouterr().out
    out = tmp_path / "darts-lstm-seq-out"
    future = pd.read_csv(out / "future.csv")
    assert future["series"].tolist() == [f"shop {seed}" for seed in range(3) for _ in range(6)]
    assert (out / "future.png").read_bytes().startswith(b"\x89PNG")
    command = ["forecast", "sales.csv", "--model", str(out / "model.pt"), "--interval", "90"]
    assert main([*command, "--out", "nightly"]) == 0
    again = pd.read_csv("nightly/future.csv")
    pd.testing.assert_frame_equal(again, future)
    assert main(["forecast", "sales.csv", "--interval", "100"]) == 2
    assert main(["forecast", "--model", str(out / "model.pt")]) == 2
    capsys.readouterr()
    assert main(["forecast", "sales.csv", "--model", "lost.pt"]) == 2
    assert "--model: there is no lost.pt" in capsys.readouterr().err
    assert main([*arguments, "--models", "NaiveDrift", "--out", "drift"]) == 0
    said = capsys.readouterr().err
    assert "no model.pt, as NaiveDrift is fitted anew each time; --models 'LSTM" in said
    _check_what_lies_beside_the_model(out, command, capsys)


def test_forecasts_leave_numpys_random_state_alone(tiny: dict) -> None:
    model = LSTMSeqModel(12, 6, **tiny).fit(sine(60))  # no quantiles: intervals are conformal
    before = np.random.get_state()  # noqa: NPY002
    found = forecast({"a": sine(60), "b": sine(60, seed=1)}, model)
    assert found["upper"].notna().all()
    np.testing.assert_equal(np.random.get_state(), before)  # noqa: NPY002


def _check_what_lies_beside_the_model(out: Path, command: list[str], capsys: Any) -> None:
    """Damage the options stored beside a model, and leave those of another model there."""
    file, model = out / "model.json", out / "model.pt"
    options, weights = file.read_bytes(), model.read_bytes()
    damaged = [options[:index] for index in range(0, len(options), 40)]
    damaged += [options.replace(b"shop", b"date"), b"[]", b"[" * 100000, b"\xff", b"{}"]
    capsys.readouterr()
    for content in damaged:
        file.write_bytes(content)
        assert main([*command, "--out", "nightly"]) == 2
        assert re.search(
            r"model\.json.* damaged or changed .*options that it was trained with",
            capsys.readouterr().err,
        )
    file.write_bytes(options)
    # the process that saved another model was killed before it wrote the options
    LSTMSeqModel.load(str(model)).fit(sine(60), epochs=1).save(str(model))
    assert main([*command, "--out", "nightly"]) == 2
    assert "belongs to another model.pt" in capsys.readouterr().err
    file.unlink()
    model.write_bytes(weights)
    assert main([*command, "--series", "shop", "--out", "nightly"]) == 0
    assert "model.json: the file is read by the options given here alone" in capsys.readouterr().err


def test_several_components_are_forecast_by_single_component_models() -> None:
    both = concatenate([walk(60), walk(60, 1).with_columns_renamed("0", "other")], axis=1)
    future = run(both, {"drift": NaiveDrift()}).predict()
    assert future["component"].tolist() == ["0"] * 4 + ["other"] * 4
    assert future[["lower", "upper"]].notna().all(axis=None)
