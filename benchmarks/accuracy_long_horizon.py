"""Accuracy of one configuration for long horizons against linear models and LSTMs, on ETTh1.

The standard protocol: 12 months to train, 4 to validate, 4 to test; z-scores by the training part;
every test window; all 7 channels; horizons 96, 192, 336 and 720. Choices are made with
`--validate`, which scores the windows of the validation part instead. The data come through
`darts.datasets`, or from a folder that holds the same file.

Usage: `python benchmarks/accuracy_long_horizon.py [--folder DIR] [--validate] [--seeds 3]
[--horizons 96 192 336 720] [--models NAME ...]`
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accuracy_small import load
from darts import TimeSeries
from darts.datasets import ETTh1Dataset
from darts.models import BlockRNNModel, DLinearModel, NLinearModel
from darts.models.forecasting.torch_forecasting_model import TorchForecastingModel
from darts.utils.likelihood_models.torch import QuantileRegression
from harness import QUIET_TRAINER, quiet, write
from numpy.lib.stride_tricks import sliding_window_view

from darts_lstm_seq import LSTMSeqModel

MONTH = 30 * 24
TRAIN, VALIDATE, TEST = 12 * MONTH, 16 * MONTH, 20 * MONTH
INPUT = 336
QUANTILES = [0.1, 0.5, 0.9]


def _network(
    cls: type, horizon: int, seed: int, length: int = INPUT, **kwargs: Any
) -> TorchForecastingModel:
    trainer = {**QUIET_TRAINER, "accelerator": "auto"}
    return cls(length, horizon, random_state=seed, pl_trainer_kwargs=trainer, **kwargs)


def linear(cls: type, horizon: int, seed: int, length: int = INPUT) -> TorchForecastingModel:
    # as LTSF-Linear's script for ETTh1: ten epochs, a rate of 0.005 that halves with each
    return _network(
        cls,
        horizon,
        seed,
        length,
        shared_weights=True,
        n_epochs=10,
        optimizer_kwargs={"lr": 5e-3},
        lr_scheduler_cls=torch.optim.lr_scheduler.ExponentialLR,
        lr_scheduler_kwargs={"gamma": 0.5},
    )


def recipe(horizon: int, seed: int, **kwargs: Any) -> TorchForecastingModel:
    """Return our model for all horizons: the defaults, with one network for all channels."""
    return _network(LSTMSeqModel, horizon, seed, shared_weights=True, **kwargs)


# the LSTMs without patches see as many windows as ours, in a hundred times its seconds
MODELS: dict[str, Callable[[int, int], TorchForecastingModel]] = {
    "LSTMSeqModel": recipe,
    "LSTMSeqModel, 5 members": lambda horizon, seed: recipe(horizon, seed, n_members=5),
    "LSTMSeqModel, quantiles": lambda horizon, seed: recipe(
        horizon, seed, likelihood=QuantileRegression(QUANTILES)
    ),
    "LSTMSeqModel, the plain tutorial": lambda horizon, seed: recipe(
        horizon, seed, use_reversible_instance_norm=False, n_epochs=4
    ),
    "Darts NLinear": lambda horizon, seed: linear(NLinearModel, horizon, seed),
    "Darts DLinear": lambda horizon, seed: linear(DLinearModel, horizon, seed),
    "Darts BlockRNN, RINorm": lambda horizon, seed: _network(
        BlockRNNModel,
        horizon,
        seed,
        model="LSTM",
        hidden_dim=64,
        use_reversible_instance_norm=True,
        n_epochs=4,
    ),
}
# one seed, at the first horizon
SLOW = ("LSTMSeqModel, the plain tutorial", "Darts BlockRNN, RINorm")


def truth(values: np.ndarray, start: int, end: int, horizon: int) -> np.ndarray:
    """Return the true values of every window, `(windows, horizon, channels)`."""
    return sliding_window_view(values[start:end], horizon, axis=0).swapaxes(1, 2)


def forecast(
    model: TorchForecastingModel, series: TimeSeries, start: int, horizon: int
) -> np.ndarray:
    """Return the forecasts of every window, `(windows, horizon, channels, 1 or quantiles)`."""
    quantiles = getattr(model, "likelihood", None) is not None
    length = model.input_chunk_length
    forecasts = model.historical_forecasts(
        series[start - length :],
        start=length,
        start_format="position",
        forecast_horizon=horizon,
        retrain=False,
        last_points_only=False,
        predict_likelihood_parameters=quantiles,
    )
    values = np.stack([forecast.values() for forecast in forecasts])
    return values.reshape(*values.shape[:2], series.n_components, -1)


def standardize(series: TimeSeries, seen: TimeSeries) -> TimeSeries:
    """Return z-scores by the mean and standard deviation of the training part `seen`."""
    values = seen.values()
    return series.with_values((series.values() - values.mean(axis=0)) / values.std(axis=0))


def measure(errors: np.ndarray) -> dict[str, float]:
    return {
        "MSE": round(float(np.square(errors).mean()), 4),
        "MAE": round(float(np.abs(errors).mean()), 4),
    }


def score(series: TimeSeries, end: int, horizon: int, name: str, seed: int) -> dict[str, Any]:
    start = end - 4 * MONTH
    model = MODELS[name](horizon, seed)
    began = time.perf_counter()
    model.fit(series[:TRAIN])
    seconds = time.perf_counter() - began
    found = forecast(model, series[:end], start, horizon)
    expected = truth(series.values(), start, end, horizon)
    middle = found[..., found.shape[-1] // 2]
    row = {
        "horizon": horizon,
        "model": name,
        "seed": seed,
        **measure(middle - expected),
        "fit_s": round(seconds, 1),
    }
    if found.shape[-1] > 1:
        inside = (expected >= found[..., 0]) & (expected <= found[..., -1])
        row["coverage"] = round(float(inside.mean()), 3)
    return row


def score_naive(series: TimeSeries, end: int, horizon: int) -> dict[str, Any]:
    start, values = end - 4 * MONTH, series.values()
    expected = truth(values, start, end, horizon)
    days = truth(values, start - 24, end - horizon, 24)
    repeated = np.tile(days, (1, -(-horizon // 24), 1))[:, :horizon]
    return {"horizon": horizon, "model": "seasonal naive", **measure(repeated - expected)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--horizons", type=int, nargs="*", default=[96, 192, 336, 720])
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    args = parser.parse_args()
    quiet()
    pd.set_option("display.width", 200, "display.max_columns", 20)
    series = load(ETTh1Dataset, args.folder)[:TEST]
    series = standardize(series, series[:TRAIN])
    end = VALIDATE if args.validate else TEST
    rows = []
    for horizon in args.horizons:
        rows.append(score_naive(series, end, horizon))
        print(rows[-1], flush=True)
        for name in args.models:
            if name in SLOW and horizon != args.horizons[0]:
                continue
            for seed in range(1 if name in SLOW else args.seeds):
                rows.append(score(series, end, horizon, name, seed))
                print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    columns = [name for name in ("MSE", "MAE", "coverage", "fit_s") if name in table]
    print(table.groupby(["horizon", "model"])[columns].agg(["mean", "std"]).round(4))
    if not args.validate and set(args.models) == set(MODELS):
        write("accuracy_long_horizon", rows)


if __name__ == "__main__":
    main()
