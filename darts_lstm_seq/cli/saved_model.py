"""A saved model, and what lies beside it: the options of its file, and its horizon."""

import argparse
import hashlib
import sys
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


def read_like_trained(parsed: argparse.Namespace, trained: str | None) -> "tuple[Any, Any, Any]":
    """Return the series of a file, and covariates, if its steps are those that a model knows.

    Parameters
    ----------
    parsed
        The arguments of the command, with the options stored beside the model.
    trained
        The frequency of what the model was trained on; `None` if it is not known.

    Raises
    ------
    ValueError
        If the file cannot be read, or has steps of another length.
    """
    if trained is None:
        return read_inputs(parsed)
    from darts_lstm_seq.data.time_axis import is_as_long

    try:
        found = read_inputs(parsed)
    except ValueError as error:
        freq = _own_frequency(parsed)
        if freq is None:
            raise ValueError(f"{error} The model was trained on steps of {trained!r}.") from error
    else:
        freq = _frequency(found[0])
        if freq == trained and _is_sparse(found[0]):
            freq = _own_frequency(parsed) or freq
        if freq is not None and is_as_long(freq, trained):
            return found
    what = f"steps of {freq!r}" if freq else "no dates"
    raise ValueError(
        f"{parsed.file} has {what}, and the model was trained on steps of {trained!r}. Bring the "
        f"file to these steps, or train a model on it (forecast without --model)."
    )


def _own_frequency(parsed: argparse.Namespace) -> str | None:
    """Return the frequency that a file has by itself, if it has one."""
    if parsed.file == "-":  # read already
        return None
    try:
        series, *_ = read_inputs(argparse.Namespace(**{**vars(parsed), "freq": None}))
    except ValueError:
        return None
    return _frequency(series)


def _frequency(series: Any) -> str | None:
    longest = max(_as_list(series), key=len)
    return str(longest.freq_str) if longest.has_datetime_index else None


def _is_sparse(series: Any) -> bool:
    """Tell whether at least every second step has no value, as quarters read as months have."""
    import numpy as np

    every = _as_list(series)
    known = sum(int((~np.isnan(one.values(copy=False))).any(axis=1).sum()) for one in every)
    return 2 * known <= sum(len(one) + 1 for one in every)


def _as_list(series: Any) -> "list[TimeSeries]":
    return list(series.values()) if isinstance(series, dict) else [series]
