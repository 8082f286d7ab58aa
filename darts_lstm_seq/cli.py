"""The command `darts-lstm-seq`: parses arguments, calls the library and writes files.

Invalid arguments or files end with one line on stderr and exit code 2.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from darts_lstm_seq import __version__

if TYPE_CHECKING:
    from darts import TimeSeries

# the names in `comparison.baselines.MODELS`, whose import takes seconds
MODELS = [
    "LSTMSeqModel",
    "LSTMSeqModel.from_pretrained",
    "ARIMA",
    "ExponentialSmoothing",
    "Theta",
    "NaiveSeasonal",
    "NaiveDrift",
]
_PRINTED = ["model", "series", "failed", "MASE", "sMAPE", "RMSE", "fit_seconds", "predict_seconds"]
# parameters of `data.read_csv` that describe the format of the file
_FILE_FORMAT = ("date_format", "separator", "decimal", "encoding")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print the message without the usage lines."""
        self.exit(2, f"darts-lstm-seq: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments
        Command line arguments; those of the process by default.

    Returns
    -------
    int
        The exit code: 0 for success, 1 if no model could be scored, 2 for invalid input, 130 after
        an interrupt.
    """
    parsed = _parser().parse_args(arguments)
    try:
        return _compare(parsed)
    except KeyboardInterrupt:
        print("darts-lstm-seq: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except ValueError as error:
        message = " ".join(str(error).split())
    print(f"darts-lstm-seq: {message}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("darts-lstm-seq", description="LSTMs for sequences as Darts models.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    compare = commands.add_parser(
        "compare",
        help="rank the LSTM against ARIMA, exponential smoothing, Theta and naive forecasts",
        description="Backtest several models on the same folds of one or many series, and rank "
        "them.",
    )
    compare.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="a CSV, Excel or Parquet file with a header line, compressed or not, or - for "
        "standard input; default: monthly CO2 at Mauna Loa",
    )
    compare.add_argument(
        "--time", metavar="COLUMN", help="column of dates; default: the first with some"
    )
    compare.add_argument(
        "--value",
        nargs="+",
        metavar="COLUMN",
        help="columns to forecast; default: all numeric ones, except row numbers and "
        "parts of dates",
    )
    compare.add_argument(
        "--series",
        metavar="COLUMN",
        help="column with the name of the series of each line, if the file holds many series in "
        "long format",
    )
    compare.add_argument("--freq", help="pandas frequency of the dates (MS, W, D, h, ...)")
    compare.add_argument(
        "--date-format",
        metavar="FORMAT",
        help="strptime format of the dates (%%d.%%m.%%Y), or ISO8601; default: the one all have",
    )
    compare.add_argument(
        "--separator", help="column separator; default: tab, semicolon, bar or comma"
    )
    compare.add_argument("--decimal", help="decimal sign; default: the one that all numbers have")
    compare.add_argument("--encoding", help="encoding of the file; default: UTF-8 or UTF-16")
    compare.add_argument("--horizon", type=int, default=12, help="steps to forecast (%(default)s)")
    compare.add_argument(
        "--seasonality",
        type=int,
        metavar="STEPS",
        help="steps of a season; default: by the frequency",
    )
    compare.add_argument("--folds", type=int, default=3, help="number of folds (%(default)s)")
    compare.add_argument("--seed", type=int, default=42, help="seed of the LSTM (%(default)s)")
    compare.add_argument(
        "--models",
        nargs="+",
        choices=MODELS,
        metavar="MODEL",
        help=f"models to compare, out of {', '.join(MODELS)}; default: all",
    )
    compare.add_argument(
        "--out",
        type=Path,
        default=Path("darts-lstm-seq-out"),
        help="folder for scores.csv, forecasts.csv and forecasts.png (%(default)s); for many "
        "series also per_series.csv; their results are stored as they arrive, and a repeated "
        "command resumes",
    )
    compare.add_argument(
        "--n-jobs",
        type=int,
        metavar="N",
        help="number of processes for many series; -1: one per core",
    )
    compare.add_argument(
        "--backend",
        choices=["loky", "dask", "ray"],
        default="loky",
        help="where many series are evaluated: loky for processes of this machine, or a cluster "
        "(%(default)s)",
    )
    return parser


def _compare(parsed: argparse.Namespace) -> int:
    # imports that take seconds come after parsing the arguments and reading the file
    series = _read_series(parsed)
    import matplotlib as mpl

    from darts_lstm_seq.comparison.compare import compare
    from darts_lstm_seq.parallel import backend

    mpl.use("Agg")
    parsed.out.mkdir(parents=True, exist_ok=True)
    folds = f"{parsed.folds} folds of {parsed.horizon} steps"
    if isinstance(series, dict):
        print(f"{len(series)} series; {folds}", flush=True)
    else:
        print(
            f"to forecast: {', '.join(series.components)}; {len(series)} steps from "
            f"{series.start_time()} to {series.end_time()}; {folds}",
            flush=True,
        )
    with backend(parsed.backend):
        result = compare(
            series,
            parsed.horizon,
            parsed.models,
            parsed.folds,
            parsed.seasonality,
            random_state=parsed.seed,
            n_jobs=parsed.n_jobs,
            out=parsed.out,
        )
    columns = [name for name in _PRINTED if name in result.scores]
    print(result.scores[columns].to_string(index=False, float_format="%.3f"))
    for note in result.scores["note"].dropna().unique():
        print(note, file=sys.stderr)
    for _, row in result.scores.dropna(subset=["error"]).iterrows():
        print(f"{row['model']} has no scores: {row['error']}", file=sys.stderr)
    written = "scores.csv, forecasts.csv"
    if isinstance(series, dict):
        written += ", per_series.csv"
    elif not result.forecasts.empty:
        result.plot().savefig(parsed.out / "forecasts.png", dpi=150)
        written += ", forecasts.png"
    print(f"written to {parsed.out}: {written}")
    return 0 if result.scores["error"].isna().any() else 1


def _read_series(parsed: argparse.Namespace) -> "TimeSeries | dict[Any, TimeSeries]":
    if parsed.file is None:
        # as in `--value a b FILE`, where the file is parsed as a value
        names = ("time", "value", "series", "freq", *_FILE_FORMAT)
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
