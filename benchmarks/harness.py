"""Alternate between ours and a peer in one process and record the ratio of their times.

One script per claim builds `Case`s and hands them to `main`. Absolute seconds depend on the
machine and its load; the median of ratios of neighbouring runs is what may be quoted. Results are
written to `results/<script>.csv` together with versions and hardware; `README.md` shows them.
"""

import argparse
import logging
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

RESULTS = Path(__file__).parent / "results"
# nothing that prints, logs or writes files: only the work itself is timed
QUIET_TRAINER = {
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "logger": False,
}


@dataclass(frozen=True)
class Case:
    """One piece of work, done by ours and by a peer.

    Parameters
    ----------
    work
        Description of the work.
    ours, peer
        Do the work once. Only the call is timed; prepare before it.
    peer_name
        Name of the peer.
    target
        The ratio of the peer's seconds to ours to be reached.
    warm_up
        What is run before, where both sides would take too long.
    calls
        How many times a call does the work: `ours_ms` is the time of one.
    """

    work: str
    ours: Callable[[], Any]
    peer: Callable[[], Any]
    peer_name: str
    target: float
    warm_up: Callable[[], Any] | None = None
    calls: int = 1


def seconds(run: Callable[[], Any]) -> float:
    """Return the wall-clock seconds of one call, including what a GPU still has to finish."""
    start = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(case: Case, repeats: int) -> dict[str, Any]:
    """Run both sides in turn, `repeats` times after one warm-up, and return a row of results."""
    if case.warm_up is None:
        case.ours(), case.peer()
    else:
        case.warm_up()
    pairs = [(seconds(case.ours), seconds(case.peer)) for _ in range(repeats)]
    ours, peer = zip(*pairs, strict=True)
    ratios = [b / a for a, b in pairs]
    return {
        "work": case.work,
        "peer": case.peer_name,
        "ours_s": round(statistics.median(ours), 4),
        "peer_s": round(statistics.median(peer), 4),
        "ours_ms": round(1000 * statistics.median(ours) / case.calls, 3),
        "times_faster": round(statistics.median(ratios), 2),
        "lowest": round(min(ratios), 2),
        "highest": round(max(ratios), 2),
        "target": case.target,
        "repeats": repeats,
    }


def where() -> dict[str, Any]:
    """Return versions and hardware, for every row."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    packages = ("darts", "torch", "pytorch-lightning", "pandas", "darts-lstm-seq")
    return {
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "cpu": cpu,
        "gpu": gpu,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "date": date.today().isoformat(),
    }


def write(
    name: str, rows: Iterable[dict[str, Any]], keys: Sequence[str] | None = None
) -> pd.DataFrame:
    """Write rows with versions and hardware to `results/<name>.csv` and return them.

    With `keys`, rows that were there stay, unless new ones are equal in these columns.
    """
    table = pd.DataFrame([{**row, **where()} for row in rows])
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.csv"
    if keys is not None and path.exists():
        table = pd.concat([pd.read_csv(path), table])
        table = table.drop_duplicates(list(keys), keep="last").sort_values(
            list(keys), kind="stable"
        )
    table.to_csv(path, index=False)
    return table


def quiet() -> None:
    """Silence what would be printed between the runs."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)


def main(script: str, build: Callable[[str], Iterable[Case]], repeats: int = 5) -> None:
    """Measure the cases of `build(device)` as the command line asks, print and record them."""
    parser = argparse.ArgumentParser(description=f"Benchmark {Path(script).stem}")
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    args = parser.parse_args()
    quiet()
    torch.set_num_threads(args.threads)
    rows = []
    for case in build(args.device):
        rows.append(measure(case, args.repeats))
        row = rows[-1]
        print(
            f"{row['work']:<60} {row['peer']:<24} ours {row['ours_s']:8.3f} s, "
            f"peer {row['peer_s']:8.3f} s, {row['times_faster']:6.2f} times faster "
            f"(target {row['target']})",
            flush=True,
        )
    suffix = "" if args.device == "cpu" else f"_{args.device}"
    write(Path(script).stem + suffix, rows)
