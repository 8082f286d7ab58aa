"""Checks of parameter values that several folders share; each raises a `ValueError`."""

from numbers import Integral
from typing import Any

__all__ = ["check_length", "check_positive_integer", "steps_needed"]


def check_positive_integer(name: str, value: Any, minimum: int = 1) -> int:
    """Return a parameter as an `int`.

    Parameters
    ----------
    name
        Name of the parameter, for the message.
    value
        Its value; integers of numpy are accepted, booleans and whole floats are not.
    minimum
        The smallest value that is accepted.

    Raises
    ------
    ValueError
        If the value is not an integer or is below the minimum.

    Examples
    --------
    >>> from darts_lstm_seq.checks import check_positive_integer
    >>> check_positive_integer("horizon", 12)
    12
    >>> check_positive_integer("horizon", 0)
    Traceback (most recent call last):
    ValueError: `horizon` must be an integer >= 1, received 0.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise ValueError(f"`{name}` must be an integer >= {minimum}, received {value!r}.")
    return int(value)


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not one.

    Examples
    --------
    >>> from darts_lstm_seq.checks import counted
    >>> counted(1, "fold"), counted(3, "fold")
    ('1 fold', '3 folds')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def steps_needed(horizon: int, folds: int) -> int:
    """Return the fewest time steps of a series that is divided into folds.

    The first training part has two horizons, and four steps.
    """
    return folds * horizon + max(2 * horizon, 4)


def check_length(name: str, length: int, horizon: int, folds: int, min_folds: int = 1) -> None:
    """Check that a series is long enough to be divided into folds.

    Parameters
    ----------
    name
        What the error calls the series.
    length
        Its number of time steps.
    horizon, folds
        Number of time steps of a fold, and number of folds.
    min_folds
        The fewest folds that an error may propose.

    Raises
    ------
    ValueError
        If it is too short; the message says which folds and which horizon fit.

    Examples
    --------
    >>> from darts_lstm_seq.checks import check_length
    >>> check_length("`series`", 48, horizon=12, folds=3)
    Traceback (most recent call last):
        ...
    ValueError: `series` has 48 time steps, too few for 3 folds of horizon 12, which need 60. Set
    `folds` to 2, or `horizon` to 9.
    """
    needed = steps_needed(horizon, folds)
    if length >= needed:
        return
    repairs = []
    fitting_folds = (length - max(2 * horizon, 4)) // horizon
    if fitting_folds >= min_folds:
        repairs.append(f"`folds` to {fitting_folds}")
    for count in (folds, min_folds):
        fitting_horizon = min(length // (count + 2), (length - 4) // count)
        if 0 < fitting_horizon < horizon:
            more = "" if count == folds else f" and `folds` to {count}"
            repairs.append(f"`horizon` to {fitting_horizon}{more}")
            break
    repair = f"Set {', or '.join(repairs)}" if repairs else "Leave it out, or add earlier values"
    wanted = counted(folds, "fold")
    raise ValueError(
        f"{name} has {length} time steps, too few for {wanted} of horizon {horizon}, which "
        f"{'needs' if folds == 1 else 'need'} {needed}. {repair}."
    )
