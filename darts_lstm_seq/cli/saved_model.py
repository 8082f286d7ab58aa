"""A saved model, and what lies beside it: the options of its file, and its horizon."""

import argparse
import hashlib
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darts_lstm_seq.cli.inputs import FILE_OPTIONS, read_inputs
from darts_lstm_seq.files import read_json, write_json

if TYPE_CHECKING:
    from darts import TimeSeries

    from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel


def save_model(
    parsed: argparse.Namespace, model: "LSTMSeqModel", series: "TimeSeries", horizon: int
) -> None:
    """Write model.pt and, as model.json, its horizon and the options of the file it learnt from.

    Parameters
    ----------
    parsed
        The arguments of the command.
    model
        A fitted model.
    series
        One of the series of the file.
    horizon
        Number of time steps that were to be forecast, by default those that it forecasts again.
    """
    file = parsed.out / "model.pt"
    model.save(str(file))
    options = {name: getattr(parsed, name) for name in FILE_OPTIONS}
    options["value"] = options["value"] or list(series.components)
    # a file of a few rows does not tell it
    options["freq"] = series.freq_str if series.has_datetime_index else None
    options["categories"] = parsed.categories
    # tied to the model: a process that is killed before this line leaves the options of another
    write_json(
        file.with_suffix(".json"),
        {"options": options, "horizon": horizon, "model_sha256": _checksum(file)},
    )


def stored_beside(model: Path) -> dict[str, Any]:
    """Return what `save_model` stored beside a model.

    Raises
    ------
    ValueError
        If they are damaged, or were stored beside another model.
    """
    file = model.with_suffix(".json")
    if not file.exists():
        print(f"no {file}: the file is read by the options given here alone", file=sys.stderr)
        return {}
    try:
        stored = read_json(file)
        if stored["model_sha256"] != _checksum(model):
            raise ValueError(f"`{file}` belongs to another {model.name}.")
    except ValueError as error:
        raise ValueError(
            f"{error} Repeat the forecast that saved the model, or remove {file.name} and give the "
            f"options that it was trained with."
        ) from error
    return stored


def _checksum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def check_frequency(parsed: argparse.Namespace, series: Any, trained: str) -> None:
    """Check that a file has steps as long as those that a model was trained on.

    Parameters
    ----------
    parsed
        The arguments by which it was read.
    series
        What was read.
    trained
        The frequency of what the model was trained on.

    Raises
    ------
    ValueError
        If it has not.
    """
    import numpy as np

    from darts_lstm_seq.data.time_axis import is_as_long

    every = list(series.values()) if isinstance(series, dict) else [series]
    longest = max(every, key=len)
    found = longest.freq_str if longest.has_datetime_index else None
    if found == trained and parsed.file != "-":
        # every second month that was read as a month has no value in one of two
        n_known = sum(int((~np.isnan(one.values(copy=False))).any(axis=1).sum()) for one in every)
        if 2 * n_known <= sum(len(one) + 1 for one in every):
            with suppress(ValueError):
                again, *_ = read_inputs(argparse.Namespace(**{**vars(parsed), "freq": None}))
                others = list(again.values()) if isinstance(again, dict) else [again]
                found = max(others, key=len).freq_str
    if found is None or not is_as_long(found, trained):
        what = "no dates" if found is None else f"steps of {found!r}"
        raise ValueError(
            f"{parsed.file} has {what}, and the model was trained on steps of {trained!r}. Bring "
            f"the file to these steps, or train a model on it (forecast without --model)."
        )
