"""How often, and by how much, models beat seasonal naive over many series, with intervals.

Source: win rate and skill score of the package `fev`, with its clipping of ratios and its bootstrap
over tasks, here over series.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

BASELINE = "NaiveSeasonal"

_RESAMPLES = 1000
# a single series must not decide the geometric mean
_LEAST, _MOST = 0.01, 100.0


def skill_columns(errors: pd.DataFrame) -> pd.DataFrame:
    """Return win rate and skill score of each model against seasonal naive.

    Parameters
    ----------
    errors
        A row per series and a column per model, among them `NaiveSeasonal`.

    Returns
    -------
    pd.DataFrame
        A row per model: `win_rate` (share of series with a smaller error; ties count half),
        `skill_score` (1 minus the geometric mean of error ratios; above 0 is better than seasonal
        naive), and for each `_lower` and `_upper`, the limits of a bootstrap interval of 95 % over
        series.

    Examples
    --------
    >>> import pandas as pd
    >>> from darts_lstm_seq.comparison.skill import skill_columns
    >>> errors = pd.DataFrame({"NaiveSeasonal": [1.0, 2.0], "good": [0.5, 1.0]})
    >>> skill_columns(errors).loc["good", ["win_rate", "skill_score"]].tolist()
    [1.0, 0.5]
    """
    base = errors[BASELINE].to_numpy()[:, None]  # (series, 1)
    values = errors.to_numpy()  # (series, models)
    wins = (values < base) + 0.5 * (values == base)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(values == base, 1.0, values / base)
    logs = np.log(np.clip(ratios, _LEAST, _MOST))
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(values), size=len(values)) for _ in range(_RESAMPLES)]
    columns = {}
    for name, numbers, finish in (
        ("win_rate", wins, _identity),
        ("skill_score", logs, _skill),
    ):
        means = np.stack([numbers[draw].mean(axis=0) for draw in draws])  # (resamples, models)
        lower, upper = np.quantile(finish(means), [0.025, 0.975], axis=0)
        columns[name] = finish(numbers.mean(axis=0))
        columns |= {f"{name}_lower": lower, f"{name}_upper": upper}
    return pd.DataFrame(columns, index=errors.columns)


_identity: Callable[[np.ndarray], np.ndarray] = np.asarray


def _skill(mean_logs: np.ndarray) -> np.ndarray:
    return 1 - np.exp(mean_logs)
