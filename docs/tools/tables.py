"""Tables of `docs/benchmarks.md`, made from `benchmarks/results/*.csv` while the site is built."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def read(name: str) -> pd.DataFrame:
    """Return the recorded results of a benchmark."""
    return pd.read_csv(RESULTS / f"{name}.csv")


def to_markdown(table: pd.DataFrame, digits: int = 3) -> str:
    """Return a table of Markdown; numbers are right-aligned and rounded."""

    def text(value: object) -> str:
        if isinstance(value, str):
            return value
        if pd.isna(value):
            return ""
        return str(value) if isinstance(value, (int, np.integer)) else f"{value:.{digits}f}"

    aligned = ["---" if table[c].map(type).eq(str).any() else "---:" for c in table]
    rows = [[str(column) for column in table.columns], aligned]
    rows += [[text(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def recorded(name: str) -> str:
    """Return where and when a benchmark ran, as a line of Markdown."""
    table = read(name)
    first = table.iloc[0]
    gpu = "" if table["gpu"].isna().all() else f", {first['gpu']}"
    days = " to ".join(dict.fromkeys([table["date"].min(), table["date"].max()]))
    return (
        f"*`benchmarks/results/{name}.csv`: {first['cpu']}{gpu}, {first['threads']} of "
        f"{first['cores']} cores, Python {first['python']}, torch {first['torch']}, "
        f"Darts {first['darts']}, {days}.*\n"
    )


def _relative(table: pd.DataFrame) -> pd.Series:
    """Return the geometric mean over series of the error relative to seasonal naive."""
    errors = table.pivot_table(index=["season", "series"], columns="model", values="MASE")
    return np.exp(np.log(errors.div(errors["NaiveSeasonal"], axis=0)).mean())


def broad() -> str:
    """113 real series: mean MASE and relative errors."""
    table = read("accuracy_broad")
    found = pd.DataFrame(
        {
            "mean MASE": table.groupby("model")["MASE"].mean(),
            "error relative to seasonal naive": _relative(table),
            "of monthly series": _relative(table[table["season"] == 12]),
        }
    )
    return (
        to_markdown(found.sort_values("mean MASE").reset_index())
        + "\n"
        + recorded("accuracy_broad")
    )


def small() -> str:
    """Five small series: mean MASE, and its deviation over seeds."""
    table = read("accuracy_small").dropna(subset="MASE")
    seeds = table.assign(seed=table["seed"].fillna(0)).groupby(["model", "seed"])["MASE"].mean()
    found = seeds.groupby("model").agg(["mean", "std", "count"]).sort_values("mean").reset_index()
    found.columns = ["model", "mean MASE", "deviation over seeds", "seeds"]
    return to_markdown(found) + "\n" + recorded("accuracy_small")


def competitions() -> str:
    """M1, M3 and Tourism: MASE, and how often intervals hold."""
    table = read("accuracy_competitions")
    names = {
        "LSTMSeqModel, pre-trained, zero-shot": "zero-shot",
        "LSTMSeqModel, pre-trained, fine-tuned, all together": "fine-tuned",
        "LSTMSeqModel, from nothing, all together": "from nothing",
    }
    # other rows are of every eighth series
    whole = table[table["series"] == table.groupby("set")["series"].transform("max")]
    rows = {name: whole[whole["model"] == model].set_index("set") for model, name in names.items()}
    sets = whole["set"].unique()
    found = pd.DataFrame(
        {f"MASE, {name}": rows[name]["MASE"] for name in rows}
        | {f"80 % holds, {name}": rows[name]["coverage"] for name in rows}
    ).loc[sets]
    found.loc["**over seasonal naive, geometric mean**"] = {
        f"MASE, {name}": np.exp(np.log(rows[name]["relative"]).mean()) for name in rows
    }
    found.insert(0, "series", whole.groupby("set")["series"].first().astype(str))
    return to_markdown(found.reset_index(names="set")) + "\n" + recorded("accuracy_competitions")


def long_horizon() -> str:
    """ETTh1: MSE by horizon, mean over seeds."""
    table = read("accuracy_long_horizon")
    found = table.pivot_table(index="model", columns="horizon", values="MSE").sort_values(96)
    found.columns = [f"MSE, {steps} steps" for steps in found.columns]
    seeds = table.groupby("model")["seed"].nunique().clip(lower=1)
    return (
        to_markdown(found.assign(seeds=seeds).reset_index(), 4)
        + "\n"
        + recorded("accuracy_long_horizon")
    )


def long_broad() -> str:
    """Weather, electricity and stocks: errors relative to NLinear."""
    table = read("accuracy_long_broad")
    keys = ["data", "horizon"]
    ours, peer = (
        table[table["model"] == name].set_index(keys)[["MSE", "MAE"]]
        for name in ("LSTMSeqModel", "Darts NLinear")
    )
    found = (ours / peer).rename(columns=lambda name: f"{name} / NLinear's").reset_index()
    return to_markdown(found) + "\n" + recorded("accuracy_long_broad")


def _speed(name: str) -> str:
    table = read(name)
    found = table[["work", "peer", "ours_s", "peer_s", "times_faster"]]
    found.columns = ["work", "against", "seconds", "its seconds", "times faster"]
    return to_markdown(found, 2) + "\n" + recorded(name)


def fit_speed() -> str:
    """Fits against Darts' `BlockRNNModel` and a plain PyTorch loop."""
    return _speed("bench_fit")


def predict_speed() -> str:
    """Predictions against Darts' `BlockRNNModel`."""
    return _speed("bench_predict")


def backtest_speed() -> str:
    """Retrained backtests against Darts' loop."""
    return _speed("bench_backtest")


def memory() -> str:
    """Peak memory of a fit."""
    found = read("bench_memory")[["work", "data_mb", "extra_mb", "times_the_data"]]
    found.columns = ["work", "data (MB)", "more than the data (MB)", "times the data"]
    return to_markdown(found, 1) + "\n" + recorded("bench_memory")


def length() -> str:
    """Cost of a fit and a forecast by the length of the window."""
    names = ["model", "window", "horizon", "fit_s", "times_ours", "times_1024", "predict_s"]
    found = read("bench_length")[[*names, "extra_mb"]]
    found.columns = [
        "model",
        "window",
        "horizon",
        "fit (s)",
        "times ours",
        "times 1,024 steps",
        "forecast (s)",
        "memory (MB)",
    ]
    return to_markdown(found, 2) + "\n" + recorded("bench_length")


def scaling() -> str:
    """Cost of many series by the number of processes."""
    names = ["series", "n_jobs", "seconds", "seconds per series", "MB per worker"]
    found = read("bench_scaling")[names].rename(columns={"n_jobs": "processes"})
    return to_markdown(found) + "\n" + recorded("bench_scaling")


TABLES: dict[str, Callable[[], str]] = {
    "backtest-speed": backtest_speed,
    "broad": broad,
    "competitions": competitions,
    "fit-speed": fit_speed,
    "length": length,
    "long-broad": long_broad,
    "long-horizon": long_horizon,
    "memory": memory,
    "predict-speed": predict_speed,
    "scaling": scaling,
    "small": small,
}
