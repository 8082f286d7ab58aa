"""The work of a comparison: its series, which results are missing, and the tasks that make them.

`compare.py` checks what the user gave and stores results; `evaluation.py` evaluates a task.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from darts_lstm_seq.comparison.ensemble import ENSEMBLES, ensemble_forecasts, score_ensembles
from darts_lstm_seq.comparison.evaluation import Evaluated, Evaluation, Task, TimedTasks
from darts_lstm_seq.comparison.identity import fingerprint
from darts_lstm_seq.comparison.inputs import Inputs
from darts_lstm_seq.comparison.scoring import INTERVAL_SCORES
from darts_lstm_seq.comparison.summary import is_over_limit, join_forecasts, own_key, sort_scores
from darts_lstm_seq.parallel import chunk_ranges, count_workers, run_chunks

# rows of one network for all series, of so many series, are stored in one file
_SERIES_PER_PART = 25


class Work:
    """The series of a comparison, by fingerprints, and what is still to be evaluated of them."""

    def __init__(
        self,
        inputs: Mapping[Any, Inputs],
        evaluation: Evaluation,
        n_jobs: int | None,
        time_limit: float | None,
        show_progress: bool,
    ) -> None:
        self.evaluation, self.n_jobs = evaluation, n_jobs
        self._time_limit, self._show_progress = time_limit, show_progress
        self.series = {name: given.series for name, given in inputs.items()}
        self.inputs = inputs
        names = {fingerprint(name, *given): name for name, given in inputs.items()}
        if len(names) < len(inputs):
            raise ValueError(
                "`series` holds equal series with names that look the same; rename them."
            )
        # a network of all series depends on all of them
        together = hashlib.sha1(" ".join(sorted(names)).encode(), usedforsecurity=False)
        self._suffix = f"@{together.hexdigest()[:16]}"
        # by the keys of their rows, in the order of the series
        self.names = {
            full: name for key, name in names.items() for full in (key, key + self._suffix)
        }
        self._keys = list(names)

    def with_ensembles(
        self, scores: pd.DataFrame, forecasts: Iterable[pd.DataFrame]
    ) -> pd.DataFrame:
        """Return scores with the rows of the means of models; forecasts come in parts."""
        series = {key: self.series[name] for key, name in self.names.items()}
        scores = scores.assign(series=list(map(own_key, scores["series"])))
        found = [
            score_ensembles(ensemble_forecasts(_with_own_keys(part)), series, scores)
            for part in forecasts
        ]
        return pd.concat([scores, *(rows for rows in found if not rows.empty)])

    def join(self, forecasts: Sequence[pd.DataFrame], names: Mapping[str, Any]) -> pd.DataFrame:
        """Return one table of the forecasts of models and their means."""
        parts = [_with_own_keys(part) for part in forecasts if not part.empty]
        if parts:
            whole = pd.concat(parts)
            parts = [whole, ensemble_forecasts(whole)]
        return join_forecasts(parts, names, [*self.evaluation.names, *ENSEMBLES])

    def sort_scores(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return scores in the order of the series, the best first, without empty columns."""
        table = sort_scores(table, self.names, [*self.evaluation.names, *ENSEMBLES])
        unused = [name for name in ("covariates", *INTERVAL_SCORES) if table[name].isna().all()]
        return table.drop(columns=unused)

    def pending(self, finished: set[tuple[str, str]]) -> list[Task]:
        """Return the tasks of which not all rows are there, one model after the other."""
        tasks = []
        for model in self.evaluation.names:
            is_global = self.evaluation.is_global(model)
            keys = [key + self._suffix for key in self._keys] if is_global else self._keys
            missing = [key for key in keys if (key, model) not in finished]
            if is_global and missing:
                missing = keys
                ranges = [range(len(keys))]
            else:
                ranges = chunk_ranges(len(missing), count_workers(self.n_jobs))
            for indices in ranges:
                part = [missing[index] for index in indices]
                chunk = {key: self.inputs[self.names[key]] for key in part}
                tasks.append(Task(model, chunk, self._time_limit))
        return tasks

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[pd.DataFrame, pd.DataFrame | None]]:
        """Yield scores and forecasts as tasks end; no forecasts of what is not to be stored."""
        n_folds = self.evaluation.folds
        total = len(self._keys) * len(self.evaluation.names) * n_folds
        left = sum(len(task.inputs) for task in tasks) * n_folds
        with tqdm(
            desc="Comparing",
            total=total,
            initial=total - left,
            unit="fold",
            disable=not self._show_progress,
        ) as bar:
            limited = TimedTasks(tasks, bar)
            if len(self._keys) == 1:
                for task in limited:
                    found = self.evaluation.run(task, bar.update)
                    limited.add(task.model, found.seconds)
                    yield from _split(found)
                return
            for number, found in run_chunks(self.evaluation.run, limited, self.n_jobs):
                task = tasks[number]
                bar.update(len(task.inputs) * n_folds)
                if isinstance(found, Exception):
                    error = f"the worker was lost: {type(found).__name__}: {found}"
                    yield self.evaluation.failed(task, error), None
                else:
                    limited.add(task.model, found.seconds)
                    yield from _split(found)


def _split(found: Evaluated) -> Iterator[tuple[pd.DataFrame, pd.DataFrame | None]]:
    """Yield the rows in parts; those over the time limit are not to be stored."""
    is_over = is_over_limit(found.scores)
    kept = found.scores[~is_over]
    for first in range(0, len(kept), _SERIES_PER_PART):
        scores = kept[first : first + _SERIES_PER_PART]
        yield scores, found.forecasts[found.forecasts["series"].isin(scores["series"])]
    if is_over.any():
        yield found.scores[is_over], None


def _with_own_keys(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(series=list(map(own_key, table["series"])))
