"""Which configurations are evaluated next: a grid, a Sobol design, or what Optuna's sampler asks.

Source: `scipy.stats.qmc.Sobol`; the ask-and-tell interface of Optuna.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

import joblib

from darts_lstm_seq.training.prepared import settings_of
from darts_lstm_seq.tuning.evaluation import Trial
from darts_lstm_seq.tuning.folds import Folds
from darts_lstm_seq.tuning.space import Configuration, Space

# evaluated together: more stacks are full, but a sampler learns less often
_BATCH, _OPTUNA_BATCH = 32, 16
# configurations of the design that were there already, one after another, before it ends
_MAX_REPEATS = 1000
_FINGERPRINT, _SCORES, _SECONDS = "darts_lstm_seq data", "scores", "seconds"


class Search(Protocol):
    """Proposes configurations and is told how they did."""

    batch: int
    known: list[Trial]

    def ask(self, count: int) -> list[Trial]:
        """Return up to so many new trials; none at the end."""

    def tell(self, trials: Sequence[Trial], n_folds: int) -> None:
        """Take the results of trials; those with fewer folds were dropped."""


class DesignSearch:
    """The whole grid if it is small enough, otherwise a Sobol design without repetitions.

    Parameters
    ----------
    space
        The space.
    n_trials
        Number of configurations, the default included; `None` for any number.
    seed
        Seed of the design.
    """

    batch = _BATCH

    def __init__(self, space: Space, n_trials: int | None, seed: int) -> None:
        self.known: list[Trial] = []
        # in its order, a part of a grid would leave most values out
        is_grid = n_trials is not None and space.grid_size() <= n_trials
        points = space.grid() if is_grid else space.design(seed)
        self._new = _without_repetition(points, space.default)

    def ask(self, count: int) -> list[Trial]:
        """Return the next trials."""
        return [Trial(configuration) for configuration in islice(self._new, count)]

    def tell(self, trials: Sequence[Trial], n_folds: int) -> None:
        """Do nothing: a design is made before."""


class OptunaSearch:
    """What the sampler of a study asks for; results are in its storage.

    Parameters
    ----------
    study
        The study; its finished trials are known already.
    space
        The space.
    folds
        The data, which all trials of a study must share.

    Raises
    ------
    ValueError
        If Optuna is not installed, or the study holds results of other data.
    """

    batch = _OPTUNA_BATCH

    def __init__(self, study: Any, space: Space, folds: Folds) -> None:
        try:
            import optuna
        except ImportError as error:
            raise ValueError(
                f"`study` needs a package that is missing: python -m pip install "
                f"'darts-lstm-seq[tune]'. Reason: {error}"
            ) from error
        if not isinstance(study, optuna.Study):
            raise ValueError(f"`study` must be a study of Optuna, received {study!r:.80}.")
        if study.direction is not optuna.study.StudyDirection.MINIMIZE:
            raise ValueError("`study` must minimise: `optuna.create_study(direction='minimize')`.")
        self._study, self._states = study, optuna.trial.TrialState
        is_distribution = optuna.distributions.BaseDistribution
        self._distributions = {
            name: values
            if isinstance(values, is_distribution)
            else optuna.distributions.CategoricalDistribution(values)
            for name, values in space.entries.items()
        }
        fingerprint = _fingerprint(space, folds)
        if study.user_attrs.setdefault(_FINGERPRINT, fingerprint) != fingerprint:
            raise ValueError(
                f"`study` {study.study_name!r} holds results of other data, folds or default "
                f"parameters. Give it another `study_name`."
            )
        study.set_user_attr(_FINGERPRINT, fingerprint)
        self.known = [
            self._restore(trial)
            for trial in study.trials
            if _SECONDS in trial.user_attrs and trial.params.keys() == space.entries.keys()
        ]
        self._asked: dict[int, Any] = {}

    def _restore(self, trial: Any) -> Trial:
        scores = {int(fold): score for fold, score in trial.user_attrs[_SCORES].items()}
        attributes = trial.user_attrs
        return Trial(trial.params, scores, attributes[_SECONDS], attributes["error"])

    def ask(self, count: int) -> list[Trial]:
        """Return new trials."""
        found = []
        for _ in range(count):
            asked = self._study.ask(self._distributions)
            found.append(Trial(asked.params))
            self._asked[id(found[-1])] = asked
        return found

    def tell(self, trials: Sequence[Trial], n_folds: int) -> None:
        """Store results; trials that were dropped are pruned ones."""
        for trial in trials:
            asked = self._asked.pop(id(trial))
            asked.set_user_attr(_SCORES, {str(k): score for k, score in trial.scores.items()})
            asked.set_user_attr("error", trial.error)
            asked.set_user_attr(_SECONDS, trial.seconds)
            if trial.error is not None:
                self._study.tell(asked, state=self._states.FAIL)
            elif len(trial.scores) < n_folds:
                asked.report(trial.mean, len(trial.scores))
                self._study.tell(asked, state=self._states.PRUNED)
            else:
                self._study.tell(asked, trial.mean)


def _without_repetition(
    points: Iterator[Configuration], default: Configuration
) -> Iterator[Configuration]:
    """Yield each configuration once, and the default not at all."""
    seen, repeats = {repr(default)}, 0
    for configuration in points:
        if repr(configuration) in seen:
            repeats += 1
            if repeats == _MAX_REPEATS:
                return
            continue
        seen.add(repr(configuration))
        repeats = 0
        yield configuration


def _fingerprint(space: Space, folds: Folds) -> str:
    """Return a hash of everything but the space that decides the results of a configuration."""
    given = [folds.series, *folds.covariates.values()]
    values = [[(one.all_values(copy=False), str(one.start_time())) for one in of] for of in given]
    settings = [_describe(space.base), folds.horizon, folds.count]
    return str(joblib.hash([values, repr(settings)]))


def _describe(value: Any) -> Any:
    """Return what tells parameters apart in any process."""
    if isinstance(value, Mapping):
        return sorted((str(name), _describe(part)) for name, part in value.items())
    if isinstance(value, list | tuple):
        return [_describe(part) for part in value]
    if isinstance(value, bool | int | float | str | None):
        return repr(value)
    return value.__qualname__ if isinstance(value, type) else repr(settings_of(value))
