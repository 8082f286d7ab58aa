"""The arguments of the command and its help; what they do is up to the files of each command."""

import argparse
from pathlib import Path
from typing import Any, NoReturn

from darts_lstm_seq import __version__

# the names in `comparison.baselines.MODELS`, whose import takes seconds
MODELS = [
    "LSTMSeqModel",
    "LSTMSeqModel (global)",
    "LSTMSeqModel (tuned)",
    "LSTMSeqModel (fine-tuned)",
    "LSTMSeqModel.from_pretrained",
    "ARIMA",
    "ExponentialSmoothing",
    "Theta",
    "NaiveSeasonal",
    "NaiveDrift",
]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print no usage lines."""
        self.exit(2, f"darts-lstm-seq: {message} (see {self.prog} --help)\n")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser("darts-lstm-seq", description="LSTMs for sequences as Darts models.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    compare = commands.add_parser(
        "compare",
        help="rank the LSTM against ARIMA, exponential smoothing, Theta and naive forecasts",
        description="Backtest several models on the same folds of one or many series, and rank "
        "them.",
    )
    _add_options(compare)
    forecast = commands.add_parser(
        "forecast",
        help="forecast the future by the best of these models, or by a saved one",
        description="Compare models on the series of a file, fit the best one to all of their "
        "values, and forecast what follows. With --model, forecast by a saved LSTM, without "
        "training; it knows the columns it was trained on.",
    )
    _add_options(forecast)
    forecast.add_argument(
        "--interval",
        type=float,
        default=80,
        metavar="PERCENT",
        help="share of values that the limits of a forecast shall hold (%(default)s)",
    )
    forecast.add_argument(
        "--model",
        type=Path,
        metavar="FILE.pt",
        help="the model.pt of an earlier forecast by an LSTM; one network for many series comes "
        "from --models 'LSTMSeqModel (fine-tuned)'",
    )
    _add_tune(commands)
    return parser


def _add_tune(commands: Any) -> None:
    tune = commands.add_parser(
        "tune",
        help="find window, batch size, hidden size and other parameters of the LSTM",
        description="Train many configurations of the LSTM together over folds, and choose one "
        "that is better than the default by three standard errors, or keep the default. One "
        "network is tuned for all series of a file.",
    )
    _add_file_options(tune)
    _add_fold_options(tune)
    tune.add_argument(
        "--budget", type=float, metavar="SECONDS", help="seconds for the search; default: 60"
    )
    tune.add_argument(
        "--trials",
        type=int,
        metavar="N",
        help="number of configurations; default: as many as the budget allows",
    )
    tune.add_argument(
        "--study",
        type=Path,
        metavar="FILE.db",
        help="SQLite file in which Optuna (python -m pip install 'darts-lstm-seq[tune]') keeps the "
        "results; a repeated command goes on",
    )
    tune.add_argument(
        "--out",
        type=Path,
        default=Path("darts-lstm-seq-out"),
        help="folder for tuning.csv, tuning.png and model.pt, the chosen network fitted to all "
        "values, for forecast --model (%(default)s)",
    )


def _add_options(compare: argparse.ArgumentParser) -> None:
    """Add the options of comparisons."""
    _add_file_options(compare)
    _add_fold_options(compare)
    _add_model_options(compare)


def _add_file_options(compare: argparse.ArgumentParser) -> None:
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
    compare.add_argument(
        "--past",
        nargs="+",
        metavar="COLUMN",
        help="covariates that are known up to the end of the values to forecast",
    )
    compare.add_argument(
        "--future",
        nargs="+",
        metavar="COLUMN",
        help="covariates that are known beyond it; lines at the end of the file, with empty values "
        "to forecast, hold their future",
    )
    compare.add_argument(
        "--static",
        nargs="+",
        metavar="COLUMN",
        help="columns with one number or text per series, for the network of all series",
    )
    compare.add_argument("--freq", help="pandas frequency of the dates (MS, W, D, h, ...)")
    compare.add_argument(
        "--holidays", metavar="COUNTRY", help="public holidays of a country (US, DE, ...)"
    )
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


def _add_fold_options(compare: argparse.ArgumentParser) -> None:
    compare.add_argument(
        "--horizon",
        type=int,
        metavar="STEPS",
        help="steps to forecast; default: by the frequency (12 months, 14 days, 24 hours, ...)",
    )
    compare.add_argument(
        "--folds", type=int, metavar="N", help="number of folds; default: 3, or as many as fit"
    )
    compare.add_argument("--seed", type=int, default=42, help="seed of the LSTM (%(default)s)")


def _add_model_options(compare: argparse.ArgumentParser) -> None:
    compare.add_argument(
        "--calendar",
        action="store_true",
        help="let the LSTM see the calendar: month, week, day of the week, hour, by the frequency",
    )
    compare.add_argument(
        "--seasonality",
        type=int,
        metavar="STEPS",
        help="steps of a season; default: by the frequency",
    )
    compare.add_argument(
        "--models",
        nargs="+",
        choices=MODELS,
        metavar="MODEL",
        help=f"models to compare, out of {', '.join(MODELS)}; default: all but the tuned one; "
        "networks for all series (global, fine-tuned) from 10 series on, below one for each",
    )
    compare.add_argument(
        "--out",
        type=Path,
        default=Path("darts-lstm-seq-out"),
        help="folder for scores.csv, forecasts.csv and forecasts.png (%(default)s); for many "
        "series also per_series.csv; results are stored as each model ends, and a repeated "
        "command resumes",
    )
    compare.add_argument(
        "--time-limit",
        type=float,
        metavar="SECONDS",
        help="seconds that a model may take, for all series together; default: any",
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
