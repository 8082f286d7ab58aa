"""The shared check of integers: what passes, and the message for what does not."""

import re
from typing import Any

import numpy as np
import pytest

from darts_lstm_seq.checks import check_length, check_positive_integer, steps_needed


@pytest.mark.parametrize("value", [1, 7, np.int64(7), np.uint8(7)])
def test_returns_plain_integers(value: Any) -> None:
    found = check_positive_integer("folds", value)
    assert found == value
    assert type(found) is int


@pytest.mark.parametrize("value", [0, -1, 1.0, np.float64(2), True, np.True_, "3", None])
def test_refuses_what_is_not_a_positive_integer(value: Any) -> None:
    message = f"`folds` must be an integer >= 1, received {value!r}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check_positive_integer("folds", value)


def test_takes_another_minimum() -> None:
    assert check_positive_integer("shift", 0, minimum=0) == 0
    with pytest.raises(ValueError, match="`shift` must be an integer >= 2, received 1"):
        check_positive_integer("shift", 1, minimum=2)


@pytest.mark.parametrize(
    ("length", "horizon", "folds", "min_folds", "repair"),
    [
        (48, 12, 3, 1, "Set `folds` to 2, or `horizon` to 9."),
        (40, 12, 3, 1, "Set `folds` to 1, or `horizon` to 8."),
        (40, 12, 3, 2, "Set `horizon` to 8."),
        (24, 12, 1, 1, "Set `horizon` to 8."),
        (6, 1, 3, 1, "Set `folds` to 2."),
        (5, 2, 3, 1, "Set `horizon` to 1 and `folds` to 1."),
        (4, 1, 1, 1, "Leave it out, or add earlier values."),
    ],
)
def test_too_short_series_are_told_what_fits(
    length: int, horizon: int, folds: int, min_folds: int, repair: str
) -> None:
    needed = steps_needed(horizon, folds)
    with pytest.raises(ValueError, match=f"`it` has {length} time steps, .* {needed}") as caught:
        check_length("`it`", length, horizon, folds, min_folds)
    assert str(caught.value).endswith(f". {repair}")


@pytest.mark.parametrize("length", range(5, 130))
def test_what_is_said_to_fit_fits(length: int) -> None:
    for horizon in (1, 2, 5, 12):
        for folds in (1, 2, 3, 5):
            try:
                check_length("`it`", length, horizon, folds)
                continue
            except ValueError as error:
                for repair in re.search("Set (.*)[.]", str(error))[1].split(", or "):  # type: ignore[index]
                    settings = {"horizon": horizon, "folds": folds}
                    found = re.findall(r"`(\w+)` to (\d+)", repair)
                    settings |= {name: int(value) for name, value in found}
                    check_length("`it`", length, **settings)
