"""Errors about validation data name their argument; losses are means over the known labels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from makers import sine, with_value
from pytorch_lightning import Callback

from darts_lstm_seq import LSTMSeqModel

GOOD = sine(60)


GAP = with_value(GOOD, slice(20, 40))
INFINITE = with_value(GOOD, 30, np.inf)
STATIC = pd.DataFrame({"size": [np.nan]})
BROKEN: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    # arguments for training, arguments for validation, the name that the message must start with
    "gap": ({}, {"val_series": [GOOD, GAP]}, "`val_series` at index 1 has no value"),
    "infinite": ({}, {"val_series": INFINITE}, "`val_series` at index 0 has an infinite value"),
    "no labels": (
        {},
        {"val_series": with_value(GOOD, slice(6, None))},
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


def flat(length: int = 60, level: float = 3.0) -> TimeSeries:
    return sine(length, level=level, scale=0)


def losses_with(val: list[TimeSeries], tiny: dict[str, Any], training: Any = GOOD) -> list[float]:
    curve = LossCurve()
    kwargs = tiny["pl_trainer_kwargs"] | {"callbacks": [curve]}
    model = LSTMSeqModel(6, 4, **tiny | {"n_epochs": 3, "pl_trainer_kwargs": kwargs})
    model.fit(training, val_series=val)
    return curve.val


class LossCurve(Callback):
    """Keeps `val_loss` of each epoch."""

    def __init__(self) -> None:
        self.val: list[float] = []
        self.train: list[float] = []

    def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
        if not trainer.sanity_checking:
            self.val.append(trainer.callback_metrics["val_loss"].item())

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self.train.append(trainer.callback_metrics["train_loss"].item())


@pytest.mark.parametrize("batch_size", [8, 64])  # batches without any label, and mixed ones
def test_windows_without_a_label_do_not_lower_the_validation_loss(
    batch_size: int, tiny: dict[str, Any]
) -> None:
    tiny = tiny | {"batch_size": batch_size}
    alone = losses_with([GOOD], tiny)
    np.testing.assert_allclose(losses_with([GOOD] + [flat()] * 9, tiny), alone, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [8, 64])
def test_the_validation_loss_is_the_mean_over_known_labels(
    batch_size: int, tiny: dict[str, Any]
) -> None:
    tiny = tiny | {"batch_size": batch_size}
    known = np.arange(60) % 5 < 3
    holes = with_value(GOOD, ~known)
    whole, gappy, both = (
        np.array(losses_with(val, tiny, training=holes))
        for val in ([GOOD], [holes], [GOOD, holes, flat()])
    )
    n_windows = 60 - 10 + 1
    n_whole = 4 * n_windows
    n_gappy = sum(int(known[i + 6 : i + 10].sum()) for i in range(n_windows))
    expected = (n_whole * whole + n_gappy * gappy) / (n_whole + n_gappy)
    np.testing.assert_allclose(both, expected, rtol=1e-5)


def test_validation_data_without_any_label_are_refused(tiny: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"`val_series` has no label .* index 0"):
        losses_with([flat(), flat(level=0.0)], tiny)


def test_a_training_batch_without_a_label_repeats_the_last_loss(tiny: dict[str, Any]) -> None:
    curve = LossCurve()
    kwargs = tiny["pl_trainer_kwargs"] | {"callbacks": [curve]}
    # with shuffled windows of mostly flat series the last batch often has no label
    settings = tiny | {"n_epochs": 12, "batch_size": 4, "pl_trainer_kwargs": kwargs}
    LSTMSeqModel(6, 4, **settings).fit([GOOD[:14], *[flat()] * 3])
    assert min(curve.train) > 1e-6


def test_a_constant_series_trains_without_a_loss(tiny: dict[str, Any]) -> None:
    curve = LossCurve()
    kwargs = tiny["pl_trainer_kwargs"] | {"callbacks": [curve]}
    model = LSTMSeqModel(6, 4, **tiny | {"pl_trainer_kwargs": kwargs}).fit(flat())
    assert np.isnan(curve.train).all()
    np.testing.assert_array_equal(model.predict(9).values(), 3.0)
