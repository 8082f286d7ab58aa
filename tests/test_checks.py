"""The shared check of integers: what passes, and the message for what does not."""

import re
from typing import Any

import numpy as np
import pytest

from darts_lstm_seq.checks import check_positive_integer


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
