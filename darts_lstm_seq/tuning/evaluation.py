"""Evaluate configurations: train them over folds, in stacks, and drop what is behind.

Data and scores are in `folds.py`, which configurations there are in `search.py`.

Source: successive halving of Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and
Hyperparameter Optimization", https://arxiv.org/abs/1502.07943, with folds as the resource.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel
from darts_lstm_seq.model.stacking import fit_in_stacks
from darts_lstm_seq.parallel import process_lock, quiet_logging
from darts_lstm_seq.tuning.folds import Folds
from darts_lstm_seq.tuning.space import Configuration, Space

# parts that the folds are divided into; after each but the last, half of the configurations go on
_RUNGS = 3


@dataclass(eq=False)
class Trial:
    """A configuration and what is known of it.

    Parameters
    ----------
    configuration
        Values by the names of the space.

    Attributes
    ----------
    scores
        The error of each fold that it was evaluated on, by its index.
    seconds
        Its share of the time of the stacks.
    error
        Why it failed; `None` if it did not.
    """

    configuration: Configuration
    scores: dict[int, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None

    @property
    def mean(self) -> float:
        """The mean error; infinite if it failed."""
        return float(np.mean(list(self.scores.values()))) if self.is_scored else np.inf

    @property
    def is_scored(self) -> bool:
        """Whether there is any score, and no error."""
        return self.error is None and bool(self.scores)


class Evaluator:
    """Evaluates configurations of a space on folds; parameters as in `tune`."""

    def __init__(self, folds: Folds, space: Space, halving: bool) -> None:
        self.folds, self.space = folds, space
        n_rungs = min(_RUNGS, folds.count) if halving else 1
        # the newest folds first: what they say weighs most for the future
        newest = np.arange(folds.count)[::-1]
        self._rungs = [rung.tolist() for rung in np.array_split(newest, n_rungs)]

    @property
    def trainings_per_trial(self) -> float:
        """The mean number of trainings of a configuration, out of many."""
        return sum(len(rung) / 2**number for number, rung in enumerate(self._rungs))

    def run_all_folds(self, trial: Trial) -> None:
        """Evaluate a configuration on all folds."""
        self._evaluate([trial], range(self.folds.count))

    def run(
        self,
        trials: Sequence[Trial],
        deadline: float = np.inf,
        on_fit: Callable[[], Any] = lambda: None,
    ) -> None:
        """Evaluate configurations; with halving, only the better half goes on to further folds.

        Parameters
        ----------
        trials
            The configurations, whose scores are added stack by stack.
        deadline
            When no further stack is started, as by `perf_counter`.
        on_fit
            Called for each training.
        """
        running = list(trials)
        for number, rung in enumerate(self._rungs):
            if number:
                scored = sorted((t for t in running if t.is_scored), key=lambda trial: trial.mean)
                running = scored[: (len(scored) + 1) // 2]
            if perf_counter() > deadline:
                return
            self._evaluate(running, rung, deadline, on_fit)

    def _evaluate(
        self,
        trials: Sequence[Trial],
        fold_indices: Sequence[int],
        deadline: float = np.inf,
        on_fit: Callable[[], Any] = lambda: None,
    ) -> None:
        # on one thread, as networks this small gain nothing from more, and lose on busy cores
        with process_lock, threadpool_limits(1), quiet_logging():
            work: list[tuple[Trial, int, LSTMSeqModel]] = []
            for trial in trials:
                try:
                    work += [(trial, fold, self._make_model(trial, fold)) for fold in fold_indices]
                except Exception as error:
                    trial.error = _text(error)
            stacks = fit_in_stacks(
                [model for *_, model in work],
                [self.folds.fit_arguments(fold) for _, fold, _ in work],
            )
            start = perf_counter()
            for stack in stacks:
                for index, failure in stack.items():
                    self._score(*work[index], failure)
                    on_fit()
                now = perf_counter()
                for index in stack:
                    work[index][0].seconds += (now - start) / len(stack)
                start = now
                if now > deadline:
                    return

    def _score(self, trial: Trial, fold: int, model: LSTMSeqModel, error: Exception | None) -> None:
        try:
            if error is not None:
                raise error
            trial.scores[fold] = self.folds.score(model, fold)
        except Exception as failure:
            trial.error = _text(failure)

    def _make_model(self, trial: Trial, fold: int) -> LSTMSeqModel:
        parts = self.folds.parts(fold)
        return LSTMSeqModel(**self.space.parameters(trial.configuration, parts))


def _text(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
