"""Checks of parameter values that several folders share; each raises a `ValueError`."""

from numbers import Integral
from typing import Any

__all__ = ["check_positive_integer"]


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
