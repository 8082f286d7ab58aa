"""The options that describe a file -> its series and their covariates."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from darts import TimeSeries

_FILE_FORMAT = ("date_format", "separator", "decimal", "encoding")  # parameters of `read_csv`
# stored beside a model, to read other files like the one that it was trained on
_COVARIATES = ("past", "future", "static", "holidays")
FILE_OPTIONS = ("time", "value", "series", "freq", *_COVARIATES, *_FILE_FORMAT)


def read_inputs(parsed: argparse.Namespace) -> "tuple[Any, Any, Any]":
    """Return the series, and past and future covariates."""
    if parsed.file is None or not (parsed.past or parsed.future or parsed.static):
        parsed.categories = {}
        return _read_series(parsed), None, None
    from darts_lstm_seq.data.covariate_files import read_with_covariates

    file_format: Any = {name: getattr(parsed, name) for name in _FILE_FORMAT}
    data = read_with_covariates(
        *(parsed.file, parsed.series, parsed.time, parsed.value, parsed.freq),
        *(parsed.past or [], parsed.future or [], parsed.static or []),
        getattr(parsed, "categories", None),
        **file_format,
    )
    parsed.categories = data.categories
    return data.series, data.past_covariates, data.future_covariates


def _read_series(parsed: argparse.Namespace) -> "TimeSeries | dict[Any, TimeSeries]":
    if parsed.file is None:
        # as in `--value a b FILE`, where the file is parsed as a value
        names = ("time", "value", "series", "freq", *_COVARIATES[:3], *_FILE_FORMAT)
        given = [name.replace("_", "-") for name in names if getattr(parsed, name)]
        if given:
            raise ValueError(f"--{given[0]} needs a FILE, which must come before the options.")
        from darts_lstm_seq.data import co2_monthly

        return co2_monthly()
    from darts_lstm_seq.data import read_csv, read_many_csv

    columns = parsed.time, parsed.value, parsed.freq
    file_format: Any = {name: getattr(parsed, name) for name in _FILE_FORMAT}
    if parsed.series is not None:
        return read_many_csv(parsed.file, parsed.series, *columns, **file_format)
    return read_csv(parsed.file, *columns, **file_format)
