"""Tune the parameters of `LSTMSeqModel`: search a space, and believe only what beats the default.

This file checks what is given and runs the search within its budget; `search.py` proposes
configurations, `evaluation.py` trains and scores them, `result.py` chooses.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from darts_lstm_seq.checks import check_positive_integer
from darts_lstm_seq.model.defaults import input_chunk_length
from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel
from darts_lstm_seq.tuning.evaluation import Evaluator, Trial
from darts_lstm_seq.tuning.folds import Folds
from darts_lstm_seq.tuning.result import Tuned
from darts_lstm_seq.tuning.search import DesignSearch, OptunaSearch, Search
from darts_lstm_seq.tuning.space import Space, default_space

if TYPE_CHECKING:
    import optuna

__all__ = ["Tuned", "tune"]

# without a budget
_N_TRIALS = 32
# of the budget, the share that a batch is planned for: configurations are slower or faster than
# those before
_SHARE = 0.8
# configurations of the first batch within a budget, which tells how long they take
_FIRST_BATCH = 8
# training windows above which a stack takes about as long as its networks would alone
_HALVING_WINDOWS = 1000
# the search has a bar of its own
_QUIET_TRAINER = {
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "logger": False,
}


def tune(
    series: Any,
    horizon: int,
    budget: float | None = None,
    n_trials: int | None = None,
    space: Mapping[str, Any] | None = None,
    folds: int = 3,
    past_covariates: Any = None,
    future_covariates: Any = None,
    model: LSTMSeqModel | None = None,
    halving: bool | None = None,
    study: "optuna.Study | None" = None,
    random_state: int = 0,
    show_progress: bool = True,
) -> Tuned:
    """Find parameters of `LSTMSeqModel` for one series, or for one network of many series.

    Configurations are trained together, as stacks, over folds of rolling origins. The default
    configuration is one of them, and is kept unless another is better by three standard errors of
    their paired differences (and by that of the median configuration, as few folds leave it
    uncertain).

    Parameters
    ----------
    series
        A series, or a sequence or mapping of series; missing values (NaN) are allowed.
    horizon
        Number of time steps to forecast.
    budget
        Seconds for the search. Batches are as large as will probably end in time, and no stack is
        started later; the last one may end later.
    n_trials
        Number of configurations, the default included. By default 32 without a `budget`, and as
        many as it allows with one.
    space
        Lists of values, as for Darts' `gridsearch`, or distributions of Optuna, by parameters of
        `LSTMSeqModel`, or by `lr` and `weight_decay` (entries of `optimizer_kwargs`) and `n_steps`
        (optimiser steps, in the place of `n_epochs`). By default window, batch size, hidden size,
        dropout, learning rate, steps and patches, as the length of the series allows
        (`tuning.space.default_space`). A grid of at most `n_trials` is searched in full.
    folds
        Number of folds, at least 2. Fold k = 1, 2, ... trains on all but the last
        ``folds - k + 1`` horizons.
    past_covariates, future_covariates
        As for `fit`, one for each series.
    model
        A model, which stays as it is; its parameters are the default configuration. By default
        ``LSTMSeqModel(window, horizon)`` with a window of three seasons and at least two horizons,
        as far as the length of the series allows.
    halving
        Whether only the better half of a batch goes on to further folds, twice. Dropped
        configurations cannot be chosen. By default with more than 1000 training windows: smaller
        networks take hardly less time if there are fewer of them.
    study
        A study of Optuna, whose sampler then proposes the configurations and whose storage keeps
        the results: a second call with the same storage and ``study_name`` goes on where the first
        one stopped (``optuna.create_study(study_name="sales", storage="sqlite:///sales.db",
        load_if_exists=True)``). By default a Sobol design.
    random_state
        Seed of the design, and of the network unless a `model` is given. With `n_trials` and
        without a `budget`, the same seed gives the same table, its `seconds` aside.
    show_progress
        Whether to show a progress bar with the best error so far.

    Returns
    -------
    Tuned
        ``.table``, ``.best_params``, ``.gain``, ``.plot()`` and ``.model``, fitted to everything.
        Configurations that fail have a row with their error. A search that is interrupted by the
        keyboard returns what it has.

    Raises
    ------
    ValueError
        If a parameter is out of its range, a series is too short for the folds, the space is empty
        or names an unknown parameter, the default configuration fails, or takes longer than the
        `budget`.

    Notes
    -----
    Errors are MASE; with a likelihood they are the quantile loss by the same scale.

    Not worth tuning: the seed, whose best value is luck (`n_members` averages it out), and losses
    or likelihoods of different kinds, whose errors measure different things.

    Examples
    --------
    >>> from darts_lstm_seq import tune
    >>> from darts_lstm_seq.data import nile
    >>> found = tune(
    ...     nile(), horizon=5, space={"hidden_dim": [4, 8], "n_steps": [5, 10]}, show_progress=False
    ... )
    >>> found.table.columns.tolist()
    ['trial', 'hidden_dim', 'n_steps', 'MASE', 'standard_error', 'folds', 'seconds', 'note',
     'error']
    >>> len(found.table), len(found.model.predict(5))
    (5, 5)
    """
    start = perf_counter()
    if budget is not None and not budget > 0:
        raise ValueError(f"`budget` must be a number of seconds > 0, received {budget!r}.")
    if n_trials is None and budget is None:
        n_trials = _N_TRIALS
    if n_trials is not None:
        n_trials = check_positive_integer("n_trials", n_trials, 2)
    check_positive_integer("random_state", random_state, 0)
    data = Folds(series, horizon, folds, past_covariates, future_covariates)
    sizes = data.season, horizon, data.train_length
    base = {
        "input_chunk_length": input_chunk_length(*sizes),
        "output_chunk_length": horizon,
        "random_state": random_state,
        "pl_trainer_kwargs": dict(_QUIET_TRAINER),
    }
    if model is not None:
        base = dict(model.model_params)
    checked = Space(default_space(*sizes) if space is None else space, base)
    search: Search
    if study is None:
        search = DesignSearch(checked, n_trials, random_state)
    else:
        search = OptunaSearch(study, checked, data)
    if halving is None:
        halving = len(data.series) * data.train_length > _HALVING_WINDOWS
    evaluator = Evaluator(data, checked, halving)
    default = Trial(checked.default)
    evaluator.run_all_folds(default)
    if not default.is_scored:
        raise ValueError(
            f"the default configuration cannot be trained on `series`, so nothing can be compared "
            f"with it. Pass a `model` that can. Reason: {default.error}"
        )
    if budget is not None and perf_counter() - start > budget:
        raise ValueError(
            f"`budget` is {budget} seconds, but the default configuration alone took "
            f"{default.seconds:.1f}. Set it to {20 * default.seconds:.0f}, or lower `folds`."
        )
    deadline = math.inf if budget is None else start + budget
    trials = [default, *search.known]
    bar = tqdm(desc="Tuning", unit="fit", disable=not show_progress)
    with bar, suppress(KeyboardInterrupt):
        _run(search, evaluator, trials, math.inf if n_trials is None else n_trials, deadline, bar)
    return Tuned([t for t in trials if t.is_scored or t.error is not None], checked, data)


def _run(
    search: Search,
    evaluator: Evaluator,
    trials: list[Trial],
    n_trials: float,
    deadline: float,
    bar: tqdm,
) -> None:
    """Evaluate batch after batch, until there are enough trials or no time is left."""
    default = trials[0]
    n_folds = evaluator.folds.count
    seconds = default.seconds * evaluator.trainings_per_trial / n_folds  # of a configuration
    size = search.batch if deadline == math.inf else _FIRST_BATCH
    while True:
        affordable = _SHARE * (deadline - perf_counter()) / max(seconds, 1e-3)
        count = int(min(size, n_trials - len(trials), affordable))
        batch = search.ask(count) if count > 0 else []
        if not batch:
            return
        bar.total = bar.n + round(len(batch) * evaluator.trainings_per_trial)
        trials += batch
        start = perf_counter()
        try:
            evaluator.run(batch, deadline, bar.update)
        finally:
            search.tell([t for t in batch if t.is_scored or t.error is not None], n_folds)
        seconds = (perf_counter() - start) / len(batch)
        size = search.batch
        best = min((t.mean for t in trials if len(t.scores) == n_folds), default=default.mean)
        bar.set_postfix(best=f"{best:.3f}", default=f"{default.mean:.3f}")
