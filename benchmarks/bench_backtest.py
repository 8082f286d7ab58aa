"""Claim: retrained backtests finish many times sooner, at no cost in accuracy.

144 monthly points, 33 folds of 50 epochs, the same LSTM (H 32, L 24, T 12, batch 32) on all sides:
ours with its defaults (patches, normalisation) and as the tutorial's network, which is Darts' too.
Afterwards the errors of our two implementations, stack and loop, over 10 seeds.

Usage: `python benchmarks/bench_backtest.py [--repeats 2] [--threads 1] [--device cuda]`
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from bench_fit import TUTORIAL, H, L, T
from darts import TimeSeries
from darts.metrics import mae
from darts.models import BlockRNNModel
from harness import QUIET_TRAINER, Case, main, write

from darts_lstm_seq import LSTMSeqModel

EPOCHS = 50


def months(length: int, dtype: str, seed: int = 0) -> TimeSeries:
    steps = np.arange(length)
    noise = np.random.default_rng(seed).standard_normal(length)
    values = 100 + 0.5 * steps + 10 * np.sin(2 * np.pi * steps / 12) + noise
    index = pd.date_range("2000-01-01", periods=length, freq="MS")
    return TimeSeries.from_times_and_values(index, values.astype(dtype))


def backtest(
    cls: type, series: TimeSeries, folds: int, device: str, loop: bool = False, **kwargs: Any
) -> Any:
    accelerator = "gpu" if device == "cuda" else "cpu"
    model = cls(
        L,
        T,
        **{"hidden_dim": H, "n_epochs": EPOCHS, "random_state": 0} | kwargs,
        pl_trainer_kwargs={**QUIET_TRAINER, "accelerator": accelerator},
    )
    return model.historical_forecasts(
        series,
        start=len(series) - T - folds + 1,
        start_format="position",
        forecast_horizon=T,
        retrain=True,
        last_points_only=False,
        enable_optimization=not loop,
    )


def cases(device: str) -> Iterator[Case]:
    for name, options in (("defaults", {}), ("the tutorial's network", TUTORIAL)):
        for dtype, target in (("float64", 8.0), ("float32", 4.0)):
            series = months(144, dtype)
            yield Case(
                f"backtest of 33 folds, {dtype}, {name}",
                partial(backtest, LSTMSeqModel, series, 33, device, **options),
                partial(backtest, BlockRNNModel, series, 33, device, model="LSTM"),
                "Darts BlockRNN LSTM",
                target,
            )
        yield Case(
            f"backtest of 33 folds, float64, {name}",
            partial(backtest, LSTMSeqModel, months(144, "float64"), 33, device, **options),
            partial(
                backtest, LSTMSeqModel, months(144, "float64"), 33, device, loop=True, **options
            ),
            "our own loop",
            3.0,
        )
    # a third of the seconds per fold would be a ratio of 1
    yield Case(
        "three backtests of 33 folds for one of 99, defaults",
        lambda: backtest(LSTMSeqModel, months(210, "float64"), 99, device),
        lambda: [
            backtest(LSTMSeqModel, months(210 - back, "float64"), 33, device)
            for back in (0, 33, 66)
        ],
        "ours, 33 folds at a time",
        1.0,
    )


def errors() -> list[dict[str, Any]]:
    """Return the mean absolute errors of stack and loop for 10 seeds, of the last 8 folds."""
    series = months(144, "float64")
    rows = []
    for seed in range(10):
        for path in ("stack", "loop"):
            loop = path == "loop"
            found = backtest(LSTMSeqModel, series, 8, "cpu", loop=loop, random_state=seed)
            error = float(np.mean(mae([series] * len(found), found)))
            rows.append({"seed": seed, "path": path, "MAE": round(error, 4)})
    table = pd.DataFrame(rows).pivot_table("MAE", "seed", "path")
    print(table.agg(["mean", "std"]).round(4))
    return rows


if __name__ == "__main__":
    main(__file__, cases, repeats=2)
    write("bench_backtest_errors", errors())
