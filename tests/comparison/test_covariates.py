"""Covariates in comparisons: who uses which, what they change, and the columns of a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.models import ARIMA, LinearRegressionModel, NaiveDrift
from darts.utils.likelihood_models.torch import QuantileRegression
from makers import sine

from darts_lstm_seq import LSTMSeqModel, compare
from darts_lstm_seq.cli import main
from darts_lstm_seq.comparison.baselines import GLOBAL, MODELS
from darts_lstm_seq.comparison.inputs import calendar_encoders
from darts_lstm_seq.data.covariate_files import read_with_covariates


def driven(length: int = 80, seed: int = 0, beyond: int = 4) -> tuple[TimeSeries, TimeSeries]:
    """Return a series that is ten times its future covariate, and the covariate."""
    cause = np.random.default_rng(seed).normal(size=length + beyond)
    days = pd.date_range("2024-01-01", periods=length + beyond)
    covariate = TimeSeries.from_times_and_values(days, cause, columns=["promo"])
    target = TimeSeries.from_times_and_values(days[:length], 10 * cause[:length], columns=["sales"])
    return target, covariate


def test_models_use_what_they_can_and_say_so() -> None:
    target, covariate = driven()
    models = {
        "arima": ARIMA(0, 0, 0),
        "regression": LinearRegressionModel(
            lags=2,
            lags_future_covariates=[0, 1, 2, 3],
            lags_past_covariates=2,
            output_chunk_length=4,
        ),
        "drift": NaiveDrift(),
    }
    found = compare(
        target,
        4,
        models,
        folds=2,
        show_progress=False,
        past_covariates=covariate,
        future_covariates=covariate,
    )
    scores = found.scores.set_index("model")
    assert scores["error"].isna().all(), scores["error"].tolist()
    used = {"arima": "future", "regression": "past, future", "drift": "none"}
    assert scores["covariates"].dropna().to_dict() == used
    assert scores.loc[["arima", "regression"], "RMSE"].max() < 0.1 < 5 < scores.loc["drift", "RMSE"]
    for model in ("arima", "regression"):
        future = found.predict(model)
        expected = 10 * covariate.values()[-4:, 0]
        np.testing.assert_allclose(future["forecast"], expected, atol=0.1)
    without = compare(target, 4, {"drift": NaiveDrift()}, folds=2, show_progress=False)
    assert "covariates" not in without.scores


def test_a_future_that_is_not_known_is_an_error() -> None:
    target, covariate = driven(beyond=2)
    found = compare(
        target,
        4,
        {"arima": ARIMA(0, 0, 0)},
        folds=1,
        show_progress=False,
        future_covariates=covariate,
    )
    with pytest.raises(ValueError, match="future_covariates"):
        found.predict()


def test_covariates_of_many_series_have_their_names() -> None:
    pairs = {name: driven(seed=seed) for seed, name in enumerate("ab")}
    targets = {name: target for name, (target, _) in pairs.items()}
    covariates = {name: covariate for name, (_, covariate) in pairs.items()}
    settings: dict[str, Any] = {"models": {"arima": ARIMA(0, 0, 0)}, "show_progress": False}
    found = compare(targets, 4, **settings, folds=1, future_covariates=covariates)
    assert found.scores["MASE"].item() < 0.01
    with pytest.raises(ValueError, match=r"`future_covariates` must .* 'b' is in one of them only"):
        compare(targets, 4, **settings, future_covariates={"a": covariates["a"]})
    # one for all
    shared = compare(targets, 4, **settings, folds=1, future_covariates=covariates["a"])
    errors = shared.per_series.set_index("series")["MASE"]
    assert errors["a"] < 0.01 < 0.1 < errors["b"]


def test_stored_results_are_those_of_their_covariates(tmp_path: Path) -> None:
    target, covariate = driven()
    settings: dict[str, Any] = {"models": {"arima": ARIMA(0, 0, 0)}, "show_progress": False}
    settings |= {"horizon": 4, "folds": 1, "out": tmp_path}
    with_it = compare(target, **settings, future_covariates=covariate).scores
    without = compare(target, **settings).scores
    assert with_it["RMSE"].item() < 0.1 < without["RMSE"].item()


def test_the_network_of_all_series_takes_static_covariates_and_the_calendar(
    monkeypatch: pytest.MonkeyPatch, tiny: dict
) -> None:
    network = LSTMSeqModel(12, 4, **tiny, likelihood=QuantileRegression([0.1, 0.5, 0.9]))
    monkeypatch.setitem(MODELS, GLOBAL, lambda *_: network)
    series = [
        sine(50, seed=seed, dtype="float64").with_static_covariates(pd.DataFrame({"size": [seed]}))
        for seed in range(3)
    ]
    found = compare(series, 4, [GLOBAL, "NaiveDrift"], folds=2, show_progress=False, calendar=True)
    scores = found.scores.set_index("model")
    assert scores["covariates"].to_dict() == {GLOBAL: "static, calendar", "NaiveDrift": "none"}
    model = found.fit(GLOBAL)
    assert model.uses_static_covariates
    assert model.uses_future_covariates  # the month
    assert found.predict(GLOBAL)["forecast"].notna().all()
    integers = TimeSeries.from_values(np.arange(60.0))
    with pytest.raises(ValueError, match="the calendar needs series with dates"):
        compare(integers, 4, ["NaiveDrift"], calendar=True)


@pytest.mark.parametrize(
    ("freq", "attributes"),
    [
        ("QS", ["quarter"]),
        ("MS", ["month"]),
        ("W", ["weekofyear"]),
        ("D", ["dayofweek", "month"]),
        ("h", ["hour", "dayofweek", "month"]),
    ],
)
def test_the_calendar_follows_from_the_frequency(freq: str, attributes: list[str]) -> None:
    assert calendar_encoders(sine(50, freq=freq))["cyclic"]["future"] == attributes


@pytest.fixture
def shops(tmp_path: Path) -> Path:
    frames = []
    for name, region in (("east 1", "east"), ("west 1", "west"), ("west 2", "west")):
        target, covariate = driven(60, seed=len(frames), beyond=5)
        frame = covariate.to_dataframe(time_as_index=False)
        frame.insert(1, "sales", np.append(target.values(), [np.nan] * 5))
        frame["temperature"] = np.append(np.arange(60) % 7, [np.nan] * 5)
        frames.append(frame.assign(shop=name, region=region, size=len(frames)))
    pd.concat(frames).to_csv(tmp_path / "shops.csv", index=False)
    return tmp_path / "shops.csv"


def test_the_columns_of_a_file_are_told_apart(shops: Path) -> None:
    data = read_with_covariates(
        shops, "shop", past=["temperature"], future=["promo"], static=["region", "size"]
    )
    target = data.series["west 1"]
    assert list(target.components) == ["sales"]
    assert len(target) == len(data.past_covariates["west 1"]) == 60
    assert len(data.future_covariates["west 1"]) == 65
    np.testing.assert_allclose(target.values(), 10 * data.future_covariates["west 1"].values()[:60])
    statics = {name: one.static_covariates.iloc[0].to_dict() for name, one in data.series.items()}
    assert statics["east 1"] == {"region=east": 1, "region=west": 0, "size": 0}
    assert statics["west 2"] == {"region=east": 0, "region=west": 1, "size": 2}
    known = {"region": ["north", "west"]}
    again = read_with_covariates(shops, "shop", static=["region"], categories=known)
    assert again.series["east 1"].static_covariates.iloc[0].tolist() == [0, 0]


def stores(path: Path, sizes: Any, sales: str = "{},5") -> Path:
    lines = ["store;day;sales;size"]
    for name, size in zip("abc", sizes, strict=True):
        lines += [f"{name};{day:02d}.01.2024;{sales.format(day)};{size}" for day in range(1, 21)]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    ("sizes", "sales", "found"),
    [
        (["120,5", "98,25", "1.250"], "{},5", [120.5, 98.25, 1250]),
        (["120.5", "98.25", "1,250"], "{}.5", [120.5, 98.25, 1250]),
        (["$5", "$7", "$1 250"], "{}", [5, 7, 1250]),
    ],
)
def test_static_numbers_are_written_as_the_other_numbers(
    tmp_path: Path, sizes: list[str], sales: str, found: list[float]
) -> None:
    data = read_with_covariates(stores(tmp_path / "s.csv", sizes, sales), "store", static=["size"])
    frames = [one.static_covariates for one in data.series.values()]
    assert [frame["size"].item() for frame in frames] == found
    assert not data.categories


def test_static_texts_beside_numbers_are_categories_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = read_with_covariates(
        stores(tmp_path / "s.csv", ["1", "2", "2A"]), "store", static=["size"]
    )
    assert data.categories == {"size": ["1", "2", "2A"]}
    assert "'size' holds texts beside numbers such as '1'" in caplog.text
    with pytest.raises(ValueError, match=r"line 22: '' in column 'size' is missing"):
        read_with_covariates(stores(tmp_path / "t.csv", ["1", "", "2"]), "store", static=["size"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"future": ["weather"]}, "no column 'weather'"),
        ({"static": ["promo"]}, "'promo' changes within series 'east 1'"),
    ],
)
def test_refuses_columns_that_are_none(shops: Path, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_with_covariates(shops, "shop", **options)


def test_the_command_passes_covariates_on_and_its_model_keeps_them(
    shops: Path, monkeypatch: pytest.MonkeyPatch, tiny: dict, tmp_path: Path, capsys: Any
) -> None:
    network = LSTMSeqModel(7, 4, **tiny, likelihood=QuantileRegression([0.1, 0.5, 0.9]))
    monkeypatch.setitem(MODELS, GLOBAL, lambda *_: network)
    arguments = ["forecast", str(shops), "--series", "shop", "--horizon", "4", "--folds", "1"]
    arguments += ["--past", "temperature", "--future", "promo", "--static", "region", "size"]
    arguments += ["--calendar", "--holidays", "US", "--models", GLOBAL]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "to forecast: sales; 3 series" in printed
    assert "past, future, static, calendar" in printed
    out = tmp_path / "darts-lstm-seq-out"
    model = LSTMSeqModel.load(str(out / "model.pt"))
    assert model.uses_past_covariates
    assert main(["forecast", str(shops), "--model", str(out / "model.pt"), "--out", "new"]) == 0
    first, again = (pd.read_csv(Path(name) / "future.csv") for name in (out, "new"))
    pd.testing.assert_frame_equal(first, again)
    assert first["time"].iloc[0] == "2024-03-01"  # after the last sales
    assert main([*arguments[:-2], "--holidays", "Atlantis", "--out", "other"]) == 2
    assert "no holidays of 'Atlantis' are known" in capsys.readouterr().err
