"""Claim: comparisons and backtests of many short series train their networks together.

100 series of 72 months, two folds of six months, default parameters. The peer is the same work
series by series, where only the folds of one series are a stack.

Usage: `python benchmarks/bench_stacks.py [--threads 1] [--device cuda]`
"""

from collections.abc import Iterator
from typing import Any

from bench_scaling import make_series
from darts import TimeSeries
from harness import QUIET_TRAINER, Case, main

from darts_lstm_seq import LSTMSeqModel, compare

SERIES, FOLDS, HORIZON = 100, 2, 6


def compare_all(series: dict[str, TimeSeries]) -> Any:
    return compare(series, HORIZON, ["LSTMSeqModel"], FOLDS, show_progress=False, n_jobs=1)


def backtest(series: TimeSeries | list[TimeSeries], device: str) -> Any:
    trainer = {**QUIET_TRAINER, "accelerator": "gpu" if device == "cuda" else "cpu"}
    model = LSTMSeqModel(24, HORIZON, random_state=0, pl_trainer_kwargs=trainer)
    return model.historical_forecasts(
        series,
        start=-FOLDS * HORIZON,
        start_format="position",
        forecast_horizon=HORIZON,
        stride=HORIZON,
        retrain=True,
        last_points_only=False,
    )


def cases(device: str) -> Iterator[Case]:
    series = make_series(SERIES)
    few = make_series(4)
    yield Case(
        f"compare {SERIES} series of 72 months, {FOLDS} folds",
        lambda: compare_all(series),
        lambda: [compare_all({name: one}) for name, one in series.items()],
        "series by series",
        5.0,
        warm_up=lambda: compare_all(few),
    )
    yield Case(
        f"historical forecasts of {SERIES} series of 72 months, {FOLDS} folds",
        lambda: backtest(list(series.values()), device),
        lambda: [backtest(one, device) for one in series.values()],
        "series by series",
        5.0,
        warm_up=lambda: backtest(few["shop 0"], device),
    )


if __name__ == "__main__":
    main(__file__, cases, repeats=1)
