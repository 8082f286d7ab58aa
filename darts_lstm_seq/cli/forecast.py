"""`darts-lstm-seq forecast`: forecast the future by the best model, or by a saved one."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darts_lstm_seq.cli.compare import run_comparison
from darts_lstm_seq.cli.inputs import FILE_OPTIONS, read_inputs
from darts_lstm_seq.cli.saved_model import read_like_trained, save_model, stored_beside
from darts_lstm_seq.files import atomic_write

if TYPE_CHECKING:
    import pandas as pd

    from darts_lstm_seq.comparison.compare import Comparison


def run_forecast(parsed: argparse.Namespace) -> int:
    """Forecast, write the table, the picture and the model; return the exit code."""
    interval = parsed.interval / 100
    if not 0 < interval < 1:
        raise ValueError(f"--interval must be between 0 and 100 percent, received {interval:.0%}.")
    if parsed.model is not None:
        return _forecast_by_model(parsed, interval)
    result = run_comparison(parsed, *read_inputs(parsed))
    if result.scores["error"].notna().all():
        return 1
    future = result.predict(interval=interval)
    written = _write_future(parsed.out, result.series, future)
    if _save_model(parsed, result):
        written += ", model.pt, model.json"
    else:
        network = "LSTMSeqModel" if len(result.series) == 1 else "'LSTMSeqModel (fine-tuned)'"
        print(
            f"no model.pt, as {result.best} is fitted anew each time; --models {network} saves one "
            f"for forecasts without training",
            file=sys.stderr,
        )
        if (parsed.out / "model.pt").exists():
            print(f"model.pt in {parsed.out} is of an earlier forecast", file=sys.stderr)
    print(f"forecast by {result.best}; written to {parsed.out}: scores.csv, {written}")
    return 0


def _forecast_by_model(parsed: argparse.Namespace, interval: float) -> int:
    """Forecast by a saved model, with the options of the file that it was trained on."""
    if not parsed.model.exists():
        raise ValueError(
            f"--model: there is no {parsed.model}. Check the path; a forecast saves a model.pt if "
            f"an LSTM ranks first, or is the only one of --models."
        )
    stored = stored_beside(parsed.model)
    options = stored.get("options", {})
    for name, value in options.items():
        if name == "categories" or (name in FILE_OPTIONS and getattr(parsed, name) is None):
            setattr(parsed, name, value)
    if parsed.file is None:
        raise ValueError("forecast --model needs a FILE.csv to forecast.")
    series, past, future_covariates = read_like_trained(parsed, options.get("freq"))
    import matplotlib as mpl

    from darts_lstm_seq.comparison.future import forecast
    from darts_lstm_seq.comparison.inputs import with_holidays
    from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel

    mpl.use("Agg")
    parsed.out.mkdir(parents=True, exist_ok=True)
    model = LSTMSeqModel.load(str(parsed.model), map_location="cpu")
    horizon = parsed.horizon or stored.get("horizon") or model.output_chunk_length
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
    with atomic_write(out / "future.png") as temporary:
        plot_future(series, future).savefig(temporary, dpi=150)
    if "error" in future and (failed := future["error"].notna().sum()):
        print(f"{failed} series have no forecast; see `error` in future.csv", file=sys.stderr)
    return "future.csv, future.png"


def _save_model(parsed: argparse.Namespace, result: "Comparison") -> bool:
    """Save a network that forecasts other values without training; classical models do not."""
    from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel
    from darts_lstm_seq.model.pretrained_networks import networks

    model = result.fit()
    if isinstance(model, dict) and all(
        getattr(one, "is_zero_shot", False) for one in model.values()
    ):
        # each series had its own; one chooses the network of each by itself
        season = parsed.seasonality if parsed.seasonality in networks() else None
        model = LSTMSeqModel.from_pretrained(season)
    if not isinstance(model, LSTMSeqModel):
        return False
    horizon = int(result.scores["horizon"].iloc[0])
    save_model(parsed, model, next(iter(result.series.values())), horizon)
    return True
