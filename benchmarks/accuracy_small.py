"""Accuracy of the defaults against classical methods, on raw values of five business series.

AirPassengers, ausbeer, milk, wineind and woolyrnq through `darts.datasets`, or from a folder that
holds the same files; three origins, one horizon apart, each model refitted at each (`compare`).
The networks get their chunk lengths and otherwise default parameters, over several seeds. Choices
are made with `--validate`, where the origins lie before all those of the test.

Usage: `python benchmarks/accuracy_small.py [--folder DIR] [--validate] [--seeds 3]`
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
from darts import TimeSeries, concatenate
from darts.datasets import (
    AirPassengersDataset,
    AusBeerDataset,
    MonthlyMilkDataset,
    WineDataset,
    WoolyDataset,
)
from darts.datasets.dataset_loaders import DatasetLoader
from darts.models import BlockRNNModel
from darts.models.forecasting.forecasting_model import ForecastingModel
from darts.utils.likelihood_models.torch import QuantileRegression
from harness import quiet, write

from darts_lstm_seq import LSTMSeqModel, compare
from darts_lstm_seq.comparison.baselines import QUIET_TRAINER

# a window of two seasons; a year of months or two years of quarters ahead
MONTHLY, QUARTERLY = (12, 24, 12), (4, 8, 8)  # season, input chunk, output chunk
SERIES = {
    "AirPassengers": (AirPassengersDataset, MONTHLY),
    "ausbeer": (AusBeerDataset, QUARTERLY),
    "milk": (MonthlyMilkDataset, MONTHLY),
    "wineind": (WineDataset, MONTHLY),
    "woolyrnq": (WoolyDataset, QUARTERLY),
}
CLASSICAL = ["ARIMA", "ExponentialSmoothing", "Theta", "NaiveSeasonal"]
FOLDS = 3


def load(dataset: type[DatasetLoader], folder: Path | None) -> TimeSeries:
    """Load a Darts dataset, from a folder that holds its file under the original name if given."""
    loader = dataset()
    if folder is not None:
        loader._root_path = folder
        name = Path(loader._metadata.uri).name
        loader._metadata = dataclasses.replace(loader._metadata, name=name)
    return loader.load()


def networks(length: int, horizon: int, seed: int) -> dict[str, ForecastingModel]:
    def make(cls: type, **kwargs: Any) -> ForecastingModel:
        trainer = dict(QUIET_TRAINER)
        return cls(length, horizon, random_state=seed, pl_trainer_kwargs=trainer, **kwargs)

    def make_pretrained(**kwargs: Any) -> ForecastingModel:
        trainer = dict(QUIET_TRAINER)
        return LSTMSeqModel.from_pretrained(random_state=seed, pl_trainer_kwargs=trainer, **kwargs)

    return {
        "LSTMSeqModel": make(LSTMSeqModel),
        "LSTMSeqModel, 10 members": make(LSTMSeqModel, n_members=10),
        "LSTMSeqModel, the plain tutorial": make(LSTMSeqModel, use_reversible_instance_norm=False),
        "LSTMSeqModel, pre-trained, zero-shot": make_pretrained(n_epochs=0),
        "LSTMSeqModel, pre-trained, fine-tuned": make_pretrained(),
        "Darts BlockRNN": make(BlockRNNModel, model="LSTM"),
        "Darts BlockRNN, RINorm": make(
            BlockRNNModel, model="LSTM", use_reversible_instance_norm=True
        ),
    }


def coverage(
    name: str, series: TimeSeries, sizes: tuple[int, int, int], seeds: int
) -> list[dict[str, Any]]:
    """Return how much of the truth lay between the quantiles .1 and .9, for each seed."""
    _, length, horizon = sizes
    rows = []
    for seed in range(seeds):
        model = LSTMSeqModel(
            length,
            horizon,
            likelihood=QuantileRegression([0.1, 0.5, 0.9]),
            random_state=seed,
            pl_trainer_kwargs=dict(QUIET_TRAINER),
        )
        forecasts = model.historical_forecasts(
            series,
            start=len(series) - FOLDS * horizon,
            start_format="position",
            forecast_horizon=horizon,
            stride=horizon,
            last_points_only=False,
            predict_likelihood_parameters=True,
        )
        quantiles = concatenate(forecasts).values()
        truth = series.values()[-len(quantiles) :, 0]
        inside = (quantiles[:, 0] <= truth) & (truth <= quantiles[:, -1])
        rows.append(
            {
                "series": name,
                "model": "LSTMSeqModel, quantiles",
                "seed": seed,
                "coverage": round(float(inside.mean()), 4),
            }
        )
    return rows


def score(
    name: str, series: TimeSeries, sizes: tuple[int, int, int], seeds: int, only: list[str]
) -> list[dict[str, Any]]:
    season, length, horizon = sizes
    rows = []
    for seed in [None, *range(seeds)]:
        if seed is None:
            models: Any = [name for name in CLASSICAL if not only or name in only]
        else:
            models = networks(length, horizon, seed)
            models = {key: model for key, model in models.items() if not only or key in only}
        if not models:
            continue
        scores = compare(
            series, horizon, models, folds=FOLDS, seasonality=season, show_progress=False
        ).scores
        for row in scores.to_dict("records"):
            if isinstance(row["error"], str):
                raise RuntimeError(f"{row['model']} on {name}: {row['error']}")
            rows.append(
                {
                    "series": name,
                    "model": row["model"],
                    "seed": seed,
                    "MASE": round(row["MASE"], 4),
                    "sMAPE": round(row["sMAPE"], 3),
                    "fit_s": round(row["fit_seconds"], 2),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", nargs="*", default=[], help="only these")
    args = parser.parse_args()
    quiet()
    pd.set_option("display.width", 200, "display.max_columns", 20)
    rows = []
    for name, (dataset, sizes) in SERIES.items():
        series = load(dataset, args.folder)
        if args.validate:
            series = series[: -FOLDS * sizes[-1]]
        rows += score(name, series, sizes, args.seeds, args.models)
        if not args.models or "LSTMSeqModel, quantiles" in args.models:
            rows += coverage(name, series, sizes, args.seeds)
    table = pd.DataFrame(rows)
    per_seed = table.groupby(["model", "seed"], dropna=False)["MASE"].mean()
    mean = per_seed.groupby("model").agg(["mean", "std"])
    print(table.pivot_table("MASE", "model", "series").join(mean).sort_values("mean").round(3))
    if "coverage" in table:
        covered = table.groupby("seed")["coverage"].mean()
        print(f"coverage of the 80 % interval: {covered.mean():.3f} ± {covered.std():.3f}")
    if not args.validate and not args.models:
        write("accuracy_small", rows)


if __name__ == "__main__":
    main()
