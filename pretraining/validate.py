"""Score pre-trained networks on real series that no benchmark scores.

MASE of the median forecast (scale: mean seasonal difference of the whole history), the geometric
mean of its ratio to seasonal naive, and how often the 80 % interval holds.

Usage: `python -m pretraining.validate [--seasons 1 4 12] [--models pretraining/out]`
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from darts import TimeSeries

from darts_lstm_seq import LSTMSeqModel
from pretraining.real_series import SHORTENED, Task, shortened, tasks
from pretraining.train import quiet

LOW, MEDIAN, HIGH = "q0.100", "q0.500", "q0.900"


def quantile_forecasts(
    model: LSTMSeqModel, pasts: Sequence[np.ndarray], horizon: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the 10 %, 50 % and 90 % quantiles, `(series, horizon)` each."""
    series = [TimeSeries.from_values(past, columns=["y"]) for past in pasts]
    forecasts = model.predict(horizon, series, predict_likelihood_parameters=True, verbose=False)
    low, median, high = (
        np.array([f[f"y_{name}"].values().ravel() for f in forecasts])
        for name in (LOW, MEDIAN, HIGH)
    )
    return low, median, high


def seasonal_naive(past: np.ndarray, season: int, horizon: int) -> np.ndarray:
    """Return the last season, repeated."""
    return past[len(past) - season + np.arange(horizon) % season]


def score(found: Sequence[Task], forecasts: np.ndarray, season: int) -> pd.DataFrame:
    """Return the MASE of each task, and relative to seasonal naive."""
    rows = []
    for task, forecast in zip(found, forecasts, strict=True):
        scale = np.abs(task.past[season:] - task.past[:-season]).mean()
        naive = seasonal_naive(task.past, season, len(task.future))
        error, base = (np.abs(f - task.future).mean() / scale for f in (forecast, naive))
        rows.append((task.source, error, np.log(max(error, 1e-3) / max(base, 1e-3))))
    return pd.DataFrame(rows, columns=["source", "MASE", "log"])


def coverage(found: Sequence[Task], low: np.ndarray, high: np.ndarray) -> float:
    """Return the share of values within the 80 % interval."""
    future = np.array([task.future for task in found])
    return float(((low <= future) & (future <= high)).mean())


def summary(table: pd.DataFrame) -> pd.Series:
    """Return mean MASE and, relative to seasonal naive, geometric means over tasks and sources."""
    return pd.Series(
        {
            "MASE": table["MASE"].mean(),
            "MASE, at most 10": table["MASE"].clip(upper=10).mean(),
            "relative": np.exp(table["log"].mean()),
            "relative, sources alike": np.exp(table.groupby("source")["log"].mean().mean()),
        }
    )


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seasons", type=int, nargs="*", default=[1, 4, 12, 7, 24, 52])
    parser.add_argument("--models", type=Path, default=Path(__file__).parent / "out")
    args = parser.parse_args()
    quiet()
    for season in args.seasons:
        model = LSTMSeqModel.load(
            str(args.models / f"season_{season}.pt"), pl_trainer_kwargs={"accelerator": "cpu"}
        )
        found = tasks(season)
        table = report(f"season {season}", model, found, season)
        print(np.exp(table.groupby("source")["log"].mean()).round(3).to_string())
        if season in SHORTENED:
            report(f"season {season}, short histories", model, shortened(found, season), season)


def report(name: str, model: LSTMSeqModel, found: Sequence[Task], season: int) -> pd.DataFrame:
    """Print the scores of a model; return those of each task."""
    horizon = len(found[0].future)
    low, median, high = quantile_forecasts(model, [task.past for task in found], horizon)
    table = score(found, median, season)
    print(f"{name}: {len(found)} tasks, 80 % interval holds {coverage(found, low, high):.3f}")
    print(summary(table).round(4).to_string(), flush=True)
    return table


if __name__ == "__main__":
    main()
