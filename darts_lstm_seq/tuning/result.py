"""What a search has found: the table, the choice, its gain over the default, the model."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from darts_lstm_seq.checks import counted
from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel
from darts_lstm_seq.parallel import quiet_logging
from darts_lstm_seq.tuning.evaluation import Trial
from darts_lstm_seq.tuning.folds import Folds
from darts_lstm_seq.tuning.space import Configuration, Space

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# coverage of the interval of the gain
_COVERAGE = 0.8
# by which a trial must beat the default: with fewer, choices among two dozen trials on three folds
# were worse than the default on later years (`benchmarks/README.md`)
_STANDARD_ERRORS = 3.0


class Gain(NamedTuple):
    """The share by which an error is lower than that of the default, and its interval of 80 %."""

    mean: float
    low: float
    high: float


class Tuned:
    """The result of `tune`.

    Attributes
    ----------
    table
        A row per configuration, the best first: `trial` (0 is the default), the parameters of the
        space, the mean error (`MASE`, or `quantile_loss` with a likelihood) and its
        `standard_error` over folds, the number of `folds`, `seconds`, a `note` on what was chosen
        or dropped, and the `error` of what failed.
    best_params
        All parameters of the chosen configuration: ``LSTMSeqModel(**found.best_params)``.
    gain
        How much lower its error is than the default's, as a share, with an interval of 80 % (of
        Student's t over the folds); zeros if the default is kept. Measured on the folds by which it
        was chosen, so rather too high: "LSTMSeqModel (tuned)" of `compare` is scored on others.
    """

    table: pd.DataFrame
    best_params: dict[str, Any]
    gain: Gain

    def __init__(self, trials: Sequence[Trial], space: Space, folds: Folds) -> None:
        self._trials, self._space, self._folds = list(trials), space, folds
        self._default = trials[0]
        self._chosen = choose(trials, folds.count)
        self.metric = "MASE" if space.base.get("likelihood") is None else "quantile_loss"
        self.gain = _gain(self._default, self._chosen)
        self.best_params = space.parameters(self._chosen.configuration, folds.series)
        self.table = self._make_table()

    @property
    def best_configuration(self) -> Configuration:
        """The values of the space that were chosen."""
        return dict(self._chosen.configuration)

    @cached_property
    def model(self) -> LSTMSeqModel:
        """An `LSTMSeqModel` of `best_params`, fitted to everything when it is first asked for."""
        arguments = self._folds.fit_arguments(None)
        if len(self._folds.series) == 1:  # so that `predict` needs no series
            arguments = {name: value[0] for name, value in arguments.items()}
        with quiet_logging():  # as in the search
            return LSTMSeqModel(**self.best_params).fit(**arguments)

    def plot(self) -> "Figure":
        """Plot the errors against each parameter; the default and the choice are marked."""
        from darts_lstm_seq.tuning.plotting import plot_trials

        return plot_trials(self._trials, self._chosen, self._space, self.metric)

    def __repr__(self) -> str:
        tried = counted(len(self._trials), "configuration")
        tried = f"{tried}, {counted(self._folds.count, 'fold')}"
        if self._chosen is self._default:
            return f"Tuned({tried}: the default is kept)"
        values = ", ".join(f"{k}={v!r}" for k, v in self._chosen.configuration.items())
        low, high = f"{self.gain.low:.1%}", f"{self.gain.high:.1%}"
        return f"Tuned({tried}: {values}; gain {self.gain.mean:.1%}, from {low} to {high})"

    def _make_table(self) -> pd.DataFrame:
        rows = []
        for number, trial in enumerate(self._trials):
            scores = list(trial.scores.values())
            rows.append(
                {
                    "trial": number,
                    **trial.configuration,
                    self.metric: trial.mean if trial.is_scored else np.nan,
                    "standard_error": _standard_error(scores) if trial.is_scored else np.nan,
                    "folds": len(scores),
                    "seconds": round(trial.seconds, 3),
                    "note": self._note(trial),
                    "error": trial.error,
                }
            )
        table = pd.DataFrame(rows)
        # dropped configurations, and failed ones, come after those that saw all folds
        order = table.assign(failed=table["error"].notna())
        order = order.sort_values(
            ["failed", "folds", self.metric], ascending=[True, False, True], kind="stable"
        )
        return table.loc[order.index].reset_index(drop=True)

    def _note(self, trial: Trial) -> str | None:
        kept = self._chosen is self._default
        if trial is self._chosen:
            return "kept: none is better by three standard errors" if kept else "chosen"
        if trial.error is None and len(trial.scores) < self._folds.count:
            return "dropped after some folds"
        return None


def choose(trials: Sequence[Trial], n_folds: int) -> Trial:
    """Return the best trial of those that beat the first one, the default, by far.

    By three standard errors of their paired differences: the best of many trials looks better than
    it is. The standard error of few folds is an uncertain one, too, and of many trials some have a
    small one by chance; so it counts as no smaller than that of the median trial.

    Parameters
    ----------
    trials
        The default and others; only those with all folds count.
    n_folds
        Number of folds.

    Returns
    -------
    Trial
        The one with the least mean error whose paired differences from the default have a mean
        above three times their standard error; otherwise the default.
    """
    default = trials[0]
    complete = [t for t in trials[1:] if t.is_scored and len(t.scores) == n_folds]
    differences = [_differences(default, trial) for trial in complete]
    errors = [_standard_error(of_trial) for of_trial in differences]
    typical = float(np.median(errors)) if errors else 0.0
    better = [
        trial
        for trial, of_trial, error in zip(complete, differences, errors, strict=True)
        if np.mean(of_trial) > _STANDARD_ERRORS * max(error, typical)
    ]
    return min(better, key=lambda trial: trial.mean, default=default)


def _differences(default: Trial, trial: Trial) -> list[float]:
    """Return by how much the error is lower than the default's, in each fold."""
    return [default.scores[fold] - trial.scores[fold] for fold in sorted(trial.scores)]


def _standard_error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else np.nan


def _gain(default: Trial, chosen: Trial) -> Gain:
    if chosen is default:
        return Gain(0.0, 0.0, 0.0)
    differences = _differences(default, chosen)
    mean = float(np.mean(differences))
    quantile = stats.t.ppf(0.5 + _COVERAGE / 2, len(differences) - 1)
    half = float(quantile) * _standard_error(differences)
    return Gain(*(value / default.mean for value in (mean, mean - half, mean + half)))
