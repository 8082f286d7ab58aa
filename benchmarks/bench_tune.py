"""Claim: hyperparameters are found many times sooner when configurations train together.

32 configurations x 3 folds of 12 months, 50 epochs each, on 144 months of carbon dioxide: `tune`
over this grid against Darts' `gridsearch` with BlockRNN over the same grid, and `gridsearch` of our
model against the same one by one. The machine's load is recorded: it moves the ratios.

Usage: `python benchmarks/bench_tune.py [--repeats 1] [--threads 1]`
"""

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

from darts import TimeSeries
from darts.metrics import mae
from darts.models import BlockRNNModel
from darts.models.forecasting.forecasting_model import ForecastingModel
from harness import QUIET_TRAINER, Case, main

from darts_lstm_seq import LSTMSeqModel, tune
from darts_lstm_seq.data import co2_monthly

HORIZON, FOLDS, EPOCHS = 12, 3, 50
GRID: dict[str, list[Any]] = {
    "input_chunk_length": [12, 24],
    "batch_size": [16, 32],
    "hidden_dim": [16, 32],
    "dropout": [0.0, 0.3],
    "optimizer_kwargs": [{"lr": 1e-3}, {"lr": 5e-3}],
}


class Alone(LSTMSeqModel):
    """Our model, whose folds are trained one by one."""

    def historical_forecasts(self, *args: Any, **kwargs: Any) -> Any:
        """Run Darts' own loop."""
        return super().historical_forecasts(*args, **{**kwargs, "enable_optimization": False})


def search(gridsearch: Any, series: TimeSeries, grid: dict[str, list[Any]], **given: Any) -> None:
    fixed = {
        "output_chunk_length": HORIZON,
        "n_epochs": EPOCHS,
        "random_state": 0,
        "pl_trainer_kwargs": {**QUIET_TRAINER, "accelerator": "cpu"},
    }
    gridsearch(
        parameters={**grid, **{name: [value] for name, value in {**fixed, **given}.items()}},
        series=series,
        forecast_horizon=HORIZON,
        start=-FOLDS * HORIZON,
        start_format="position",
        stride=HORIZON,
        metric=mae,
    )


def tuned(series: TimeSeries) -> None:
    model = LSTMSeqModel(
        24,
        HORIZON,
        n_epochs=EPOCHS,
        random_state=0,
        pl_trainer_kwargs={**QUIET_TRAINER, "accelerator": "cpu"},
    )
    found = tune(series, HORIZON, n_trials=33, space=GRID, model=model, show_progress=False)
    assert (found.table["folds"] == FOLDS).all()
    assert len(found.table) == 33


def cases(device: str) -> Iterator[Case]:
    series = co2_monthly()[-144:]
    one = {name: values[:1] for name, values in GRID.items()}
    darts = partial(search, BlockRNNModel.gridsearch, series, model="LSTM")
    loop = partial(search, partial(ForecastingModel.gridsearch.__func__, Alone), series)
    ours = partial(search, LSTMSeqModel.gridsearch, series)
    load = f"{os.getloadavg()[0]:.1f}"
    yield Case(
        f"tune, the default and 32 configurations, 3 folds, load {load}",
        partial(tuned, series),
        partial(darts, GRID),
        "Darts BlockRNN gridsearch",
        12.0,
        warm_up=lambda: (ours(one), darts(one)),
    )
    yield Case(
        f"gridsearch, 32 configurations, 3 folds, load {load}",
        partial(ours, GRID),
        partial(loop, GRID),
        "ours, one by one",
        5.0,
        warm_up=lambda: (ours(one), loop(one)),
    )


if __name__ == "__main__":
    main(__file__, cases, repeats=1)
