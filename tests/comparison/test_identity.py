"""What identifies series and models: what must differ differs, and processes agree."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries
from darts.dataprocessing.transformers import Scaler
from darts.models import (
    ConformalNaiveModel,
    LinearRegressionModel,
    NaiveDrift,
    NaiveEnsembleModel,
    NaiveSeasonal,
    SKLearnModel,
)
from darts.models.forecasting.forecasting_model import ForecastingModel
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression
from pytorch_lightning.callbacks import EarlyStopping
from sklearn.linear_model import Ridge

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.comparison.identity import check_name, describe_parameters, fingerprint


def year(index: pd.DatetimeIndex) -> Any:
    return index.year


def month(index: pd.DatetimeIndex) -> Any:
    return index.month


def ramp(scale: float = 1.0) -> TimeSeries:
    return TimeSeries.from_values(scale * np.arange(40.0) ** 1.5)


def lstm(**kwargs: Any) -> ForecastingModel:
    return LSTMSeqModel(6, 3, hidden_dim=8, random_state=0, **kwargs)


def conformal(scale: float) -> ForecastingModel:
    fitted = LinearRegressionModel(lags=3).fit(ramp(scale))
    return ConformalNaiveModel(fitted, quantiles=[0.1, 0.5, 0.9])


def weighted(*weights: float) -> ForecastingModel:
    return lstm(loss_fn=torch.nn.CrossEntropyLoss(weight=torch.tensor(weights).bfloat16()))


def encoded(function: Callable[[Any], Any]) -> ForecastingModel:
    encoders = {"custom": {"past": [function]}, "transformer": Scaler()}
    return lstm(add_encoders=encoders)


# two models that look the same, or nearly so, and forecast differently
PAIRS: dict[str, tuple[Callable[[], ForecastingModel], Callable[[], ForecastingModel]]] = {
    "class": (NaiveDrift, NaiveSeasonal),
    "number": (partial(lstm, dropout=0.1), partial(lstm, dropout=0.2)),
    "loss": (
        lambda: lstm(loss_fn=torch.nn.HuberLoss(delta=1.0)),
        lambda: lstm(loss_fn=torch.nn.HuberLoss(delta=1e-6)),
    ),
    "tensor": (partial(weighted, 1, 2), partial(weighted, 2, 1)),
    "likelihood": (
        lambda: lstm(likelihood=GaussianLikelihood(prior_mu=0.5)),
        lambda: lstm(likelihood=QuantileRegression([0.1, 0.5, 0.9])),
    ),
    "encoder": (partial(encoded, year), partial(encoded, month)),
    "callback": (
        lambda: lstm(pl_trainer_kwargs={"callbacks": [EarlyStopping("train_loss")]}),
        lambda: lstm(pl_trainer_kwargs={"callbacks": [EarlyStopping("train_loss", patience=9)]}),
    ),
    "optimizer": (
        lambda: lstm(optimizer_cls=torch.optim.SGD),
        lambda: lstm(optimizer_cls=torch.optim.AdamW),
    ),
    "estimator": (
        lambda: SKLearnModel(lags=3, model=Ridge(alpha=1.0)),
        lambda: SKLearnModel(lags=3, model=Ridge(alpha=2.0)),
    ),
    "tuple": (
        lambda: LinearRegressionModel(lags=3, lags_future_covariates=(0, 2)),
        lambda: LinearRegressionModel(lags=3, lags_future_covariates=[0, 2]),
    ),
    "fitted": (partial(conformal, 1.0), partial(conformal, 2.0)),
    "ensemble": (
        lambda: NaiveEnsembleModel([lstm(), NaiveDrift()]),
        lambda: NaiveEnsembleModel([lstm(dropout=0.3), NaiveDrift()]),
    ),
}


def descriptions() -> dict[str, Any]:
    return {
        f"{name} {number}": describe_parameters("model", make())
        for name, pair in PAIRS.items()
        for number, make in enumerate(pair)
    }


@pytest.mark.parametrize("name", PAIRS)
def test_models_that_forecast_differently_differ(name: str) -> None:
    first, second = PAIRS[name]
    assert describe_parameters("model", first()) != describe_parameters("model", second())
    assert describe_parameters("model", first()) == describe_parameters("model", first())


@pytest.mark.slow
def test_processes_with_other_hash_seeds_agree() -> None:
    root = Path(__file__).parents[__name__.count(".")]
    paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    code = f"import json, {__name__} as tests; print(json.dumps(tests.descriptions()))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == descriptions()


def test_a_changed_function_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    found = []
    for name, factor in (("first_encoder", 1), ("second_encoder", 2)):
        text = f"def encode(index):\n    return {factor} * index.year\n"
        (tmp_path / f"{name}.py").write_text(text)
        function = __import__(name).encode
        function.__module__ = "encoders"  # as if one file had been edited
        monkeypatch.setitem(sys.modules, "encoders", sys.modules[name])
        for value in (function, partial(function, None), NaiveDrift()):
            if isinstance(value, ForecastingModel):
                value.model_params["encoder"] = [{"of": partial(function)}]
            found.append(describe_parameters("encode", value))
        monkeypatch.delitem(sys.modules, "encoders")
    assert all(first != second for first, second in zip(found[:3], found[3:], strict=True))


@pytest.mark.parametrize("kind", ["lambda", "closure", "object", "lambda within"])
def test_what_cannot_be_compared_is_refused_with_the_repair(kind: str) -> None:
    def closure(index: pd.DatetimeIndex) -> Any:
        return index.year * len(kind)

    class Loss(torch.nn.Module):  # cannot be pickled
        pass

    model = {
        "lambda": lambda: encoded(lambda index: index.year),
        "closure": lambda: encoded(closure),
        "object": lambda: lstm(loss_fn=Loss()),
        "lambda within": lambda: encoded(partial(lambda index, power: index.year**power, power=2)),
    }[kind]()
    with pytest.raises(ValueError, match=r"(?s)^model\..*cannot be compared.*at the top of a mod"):
        describe_parameters("model", model)


def test_every_parameter_of_a_series_counts() -> None:
    series = TimeSeries.from_times_and_values(
        pd.date_range("2020", periods=5), np.arange(5.0), columns=["a"]
    )
    statics = [pd.DataFrame({"size": [size]}) for size in (1.0, "1", 1.0 + 1e-15)]
    others = [
        series.with_columns_renamed("a", "b"),
        series.shift(1),
        series + 1e-15,
        series.astype(np.float32),
        series[:4],
        *(series.with_static_covariates(frame) for frame in statics),
    ]
    found = {fingerprint("a", other) for other in [series, *others]}
    found |= {fingerprint(name, series) for name in (1, 1.0, "1", None, (1,), True, "\ud800")}
    assert len(found) == 16


def test_refuses_a_name_that_differs_between_processes() -> None:
    for name in ("a", 1, None, (1, "a"), "x at 0x1f", pd.Timestamp("2020")):
        check_name(name)
    with pytest.raises(ValueError, match=r"named .*object at 0x.*Name it by a string"):
        check_name((1, object()))
