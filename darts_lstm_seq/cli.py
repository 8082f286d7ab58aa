"""The command `darts-lstm-seq`: parses arguments, calls the library and writes files.

Invalid arguments or files end with one line on stderr and exit code 2.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from darts_lstm_seq import __version__

if TYPE_CHECKING:
    import pandas as pd
    from darts import TimeSeries

    from darts_lstm_seq.comparison.compare import Comparison

# the names in `comparison.baselines.MODELS`, whose import takes seconds
MODELS = [
    "LSTMSeqModel",
    "LSTMSeqModel (global)",
    "LSTMSeqModel.from_pretrained",
    "ARIMA",
    "ExponentialSmoothing",
    "Theta",
    "NaiveSeasonal",
    "NaiveDrift",
]
_PRINTED = ["model", "series", "failed", "MASE", "sMAPE", "RMSE"]
_PRINTED += ["fit_seconds", "predict_seconds", "covariates"]
_FILE_FORMAT = ("date_format", "separator", "decimal", "encoding")  # parameters of `read_csv`
# stored beside a model, to read other files like the one that it was trained on
_COVARIATES = ("past", "future", "static", "holidays")
_FILE_OPTIONS = ("time", "value", "series", "freq", *_COVARIATES, *_FILE_FORMAT)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print no usage lines."""
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
        return int(parsed.run(parsed))
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
    _add_options(compare)
    compare.set_defaults(run=_compare)
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
        "from --models 'LSTMSeqModel (global)'",
    )
    forecast.set_defaults(run=_forecast)
    return parser


def _add_options(compare: argparse.ArgumentParser) -> None:
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
    compare.add_argument(
        "--calendar",
        action="store_true",
        help="let the LSTM see the calendar: month, week, day of the week, hour, by the frequency",
    )
    compare.add_argument(
        "--holidays", metavar="COUNTRY", help="public holidays of a country (US, DE, ...)"
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
    compare.add_argument(
        "--horizon",
        type=int,
        metavar="STEPS",
        help="steps to forecast; default: by the frequency (12 months, 14 days, 24 hours, ...)",
    )
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
        help=f"models to compare, out of {', '.join(MODELS)}; default: all, with one network for "
        "all series (global) in the place of one for each if there are at least 10",
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


def _compare(parsed: argparse.Namespace) -> int:
    # imports that take seconds come after parsing the arguments and reading the file
    result = _run_comparison(parsed, *_read_inputs(parsed))
    written = "scores.csv, forecasts.csv"
    if len(result.series) > 1 or "failed" in result.scores:
        written += ", per_series.csv"
    elif not result.forecasts.empty:
        result.plot().savefig(parsed.out / "forecasts.png", dpi=150)
        written += ", forecasts.png"
    print(f"written to {parsed.out}: {written}")
    return 0 if result.scores["error"].isna().any() else 1


def _run_comparison(
    parsed: argparse.Namespace, series: Any, past: Any = None, future: Any = None
) -> "Comparison":
    """Compare the models and print the scores."""
    import matplotlib as mpl

    from darts_lstm_seq.comparison.compare import compare
    from darts_lstm_seq.comparison.inputs import default_horizon, with_holidays
    from darts_lstm_seq.parallel import backend

    mpl.use("Agg")
    parsed.out.mkdir(parents=True, exist_ok=True)
    every = list(series.values()) if isinstance(series, dict) else [series]
    horizon = parsed.horizon
    if horizon is None and parsed.folds > 0:
        horizon = default_horizon(every, parsed.folds)
    folds = f"{parsed.folds} folds of {horizon} steps"
    targets = ", ".join(dict.fromkeys(name for one in every for name in one.components))
    if isinstance(series, dict):
        print(f"to forecast: {targets}; {len(series)} series; {folds}", flush=True)
    else:
        print(
            f"to forecast: {targets}; {len(series)} steps from {series.start_time()} to "
            f"{series.end_time()}; {folds}",
            flush=True,
        )
    if parsed.holidays:
        future = with_holidays(series, future, parsed.holidays, horizon)
    with backend(parsed.backend):
        result = compare(
            series,
            horizon,
            parsed.models,
            parsed.folds,
            parsed.seasonality,
            random_state=parsed.seed,
            n_jobs=parsed.n_jobs,
            out=parsed.out,
            time_limit=parsed.time_limit,
            past_covariates=past,
            future_covariates=future,
            calendar=parsed.calendar,
        )
    columns = [name for name in _PRINTED if name in result.scores]
    print(result.scores[columns].to_string(index=False, float_format="%.3f"))
    for note in result.scores["note"].dropna().unique():
        print(note, file=sys.stderr)
    for _, row in result.scores.dropna(subset=["error"]).iterrows():
        print(f"{row['model']} has no scores: {row['error']}", file=sys.stderr)
    return result


def _forecast(parsed: argparse.Namespace) -> int:
    interval = parsed.interval / 100
    if not 0 < interval < 1:
        raise ValueError(f"--interval must be between 0 and 100 percent, received {interval:.0%}.")
    if parsed.model is not None:
        return _forecast_by_model(parsed, interval)
    result = _run_comparison(parsed, *_read_inputs(parsed))
    if result.scores["error"].notna().all():
        return 1
    future = result.predict(interval=interval)
    written = _write_future(parsed.out, result.series, future)
    if _save_model(parsed, result):
        written += ", model.pt, model.json"
    else:
        print("no model file, as the model is fitted anew each time", file=sys.stderr)
    print(f"forecast by {result.best}; written to {parsed.out}: scores.csv, {written}")
    return 0


def _forecast_by_model(parsed: argparse.Namespace, interval: float) -> int:
    """Forecast by a saved model, with the options of the file that it was trained on."""
    settings = parsed.model.with_suffix(".json")
    stored = json.loads(settings.read_text(encoding="utf-8")) if settings.exists() else {}
    for name, value in stored.items():
        if name == "categories" or (name in _FILE_OPTIONS and getattr(parsed, name) is None):
            setattr(parsed, name, value)
    if parsed.file is None:
        raise ValueError("forecast --model needs a FILE.csv to forecast.")
    series, past, future_covariates = _read_inputs(parsed)
    import matplotlib as mpl

    from darts_lstm_seq.comparison.future import forecast
    from darts_lstm_seq.comparison.inputs import with_holidays
    from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel

    mpl.use("Agg")
    parsed.out.mkdir(parents=True, exist_ok=True)
    model = LSTMSeqModel.load(str(parsed.model), map_location="cpu")
    horizon = parsed.horizon or model.output_chunk_length
    if parsed.holidays:
        future_covariates = with_holidays(series, future_covariates, parsed.holidays, horizon)
    future = forecast(series, model, horizon, interval, past, future_covariates)
    if future["forecast"].isna().all():
        raise ValueError(f"no series can be forecast: {future['error'].iloc[0]}")
    named = series if isinstance(series, dict) else {0: series}
    print(f"written to {parsed.out}: {_write_future(parsed.out, named, future)}")
    return 0


def _write_future(out: Path, series: Any, future: "pd.DataFrame") -> str:
    from darts_lstm_seq.comparison.future_plot import plot_future
    from darts_lstm_seq.comparison.results_folder import ResultsFolder

    ResultsFolder(out).write_tables({"future.csv": future})
    plot_future(series, future).savefig(out / "future.png", dpi=150)
    if "error" in future and (failed := future["error"].notna().sum()):
        print(f"{failed} series have no forecast; see `error` in future.csv", file=sys.stderr)
    return "future.csv, future.png"


def _save_model(parsed: argparse.Namespace, result: "Comparison") -> bool:
    """Save a network that forecasts other values without training; classical models do not."""
    from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel

    model = result.fit()
    if not isinstance(model, LSTMSeqModel):
        return False
    model.save(str(parsed.out / "model.pt"))
    options = {name: getattr(parsed, name) for name in _FILE_OPTIONS}
    components = next(iter(result.series.values())).components
    options["value"] = options["value"] or list(components)
    options["categories"] = parsed.categories
    text = json.dumps(options, indent=1)
    (parsed.out / "model.json").write_text(text, encoding="utf-8")
    return True


def _read_inputs(parsed: argparse.Namespace) -> "tuple[Any, Any, Any]":
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
