"""Errors about validation data name the argument of `fit()`: `val_series` and so on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries

from contract.makers import seasonal, straight
from darts_lstm_seq import LSTMSeqModel

GOOD = seasonal(60)


def broken(value: float, steps: slice) -> TimeSeries:
    values = GOOD.values().copy()
    values[steps] = value
    return straight(values, GOOD)


GAP = broken(np.nan, slice(20, 40))
INFINITE = broken(np.inf, slice(30, 31))
STATIC = pd.DataFrame({"size": [np.nan]})
BROKEN: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    # arguments for training, arguments for validation, the name that the message must start with
    "gap": ({}, {"val_series": [GOOD, GAP]}, "`val_series` at index 1 has no value"),
    "infinite": ({}, {"val_series": INFINITE}, "`val_series` at index 0 has an infinite value"),
    "no labels": (
        {},
        {"val_series": broken(np.nan, slice(6, None))},
        "`val_series` has no value to learn|`val_series` at index 0 has no value",
    ),
    "short": ({}, {"val_series": GOOD[:7]}, "`val_series`.* too short"),
    "one short": ({}, {"val_series": [GOOD, GOOD[:7]]}, "`val_series` at index 1.* too short"),
    "static": (
        {"series": GOOD.with_static_covariates(STATIC.fillna(1))},
        {"val_series": GOOD.with_static_covariates(STATIC)},
        "`val_series` at index 0 has the static covariate 'size'",
    ),
    "past": (
        {"past_covariates": GOOD},
        {"val_series": GOOD, "val_past_covariates": INFINITE},
        "`val_past_covariates` at index 0 has an infinite",
    ),
    "future": (
        {"future_covariates": GOOD},
        {"val_series": GOOD, "val_future_covariates": GAP},
        "`val_future_covariates` at index 0 has a missing",
    ),
    "short covariates": (
        {"future_covariates": GOOD},
        {"val_series": GOOD, "val_future_covariates": GOOD[:-20]},
        "`val_future_covariates` at index 0",
    ),
    "fewer covariates": (
        {"past_covariates": GOOD},
        {"val_series": [GOOD, GOOD], "val_past_covariates": [GOOD, GOOD[:30]]},
        "`val_past_covariates` at index 1",
    ),
    "weight": (
        {"sample_weight": GOOD**2},
        {"val_series": GOOD, "val_sample_weight": GAP},
        "`val_sample_weight` at index 0 has a missing",
    ),
}


@pytest.mark.parametrize(("training", "validation", "message"), BROKEN.values(), ids=BROKEN)
def test_errors_name_the_argument_of_the_validation_data(
    training: dict[str, Any], validation: dict[str, Any], message: str, tiny: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=f"(?s){message}"):
        LSTMSeqModel(6, 4, **tiny).fit(**{"series": GOOD} | training, **validation)


def test_errors_about_training_data_keep_their_names(tiny: dict[str, Any]) -> None:
    fit: Callable[..., Any] = LSTMSeqModel(6, 4, **tiny).fit
    for bad, message in ((GAP, "no value"), (INFINITE, "infinite"), (GOOD[:7], "too short")):
        with pytest.raises(ValueError, match=f"(?s)^(?!.*val_).*`series`.*{message}"):
            fit(bad, val_series=GOOD)
