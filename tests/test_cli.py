"""The files that the command writes; invalid input ends with one line and exit code 2."""

import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts.models import LinearRegressionModel, NaiveSeasonal

from darts_lstm_seq.cli import main
from darts_lstm_seq.cli.arguments import MODELS
from darts_lstm_seq.comparison.baselines import MODELS as LIBRARY_MODELS


@pytest.fixture
def table(seasonal: Any, tmp_path: Path) -> Path:
    frame = seasonal.to_dataframe().assign(double=lambda f: 2 * f["sales"])
    frame.to_csv(tmp_path / "sales.csv", index_label="month")
    return tmp_path / "sales.csv"


def test_writes_scores_forecasts_and_a_plot(table: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "made" / "here"
    code = main(
        [
            *["compare", str(table), "--time", "month", "--value", "sales", "--freq", "MS"],
            *["--horizon", "6", "--folds", "2", "--models", "NaiveSeasonal", "NaiveDrift"],
            *["--out", str(out)],
        ]
    )
    assert code == 0
    scores = pd.read_csv(out / "scores.csv")
    assert set(scores["model"]) == {"NaiveSeasonal", "NaiveDrift"}
    assert len(pd.read_csv(out / "forecasts.csv")) == 2 * 2 * 6
    assert (out / "forecasts.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "NaiveSeasonal" in printed
    assert str(out) in printed


def test_the_default_series_is_monthly_co2(tmp_path: Path, capsys: Any) -> None:
    assert main(["compare", "--models", "NaiveDrift"]) == 0
    forecasts = pd.read_csv(tmp_path / "darts-lstm-seq-out" / "forecasts.csv")
    assert set(forecasts["component"]) == {"CO2 (ppmv)"}
    assert "526 steps" in capsys.readouterr().out


def test_several_columns_and_missing_lines(table: Path, tmp_path: Path) -> None:
    lines = table.read_text().splitlines(keepends=True)
    (tmp_path / "gap.csv").write_text("".join(lines[:50] + lines[53:]))
    arguments = ["compare", str(tmp_path / "gap.csv"), "--freq", "MS", "--models", "NaiveDrift"]
    assert main([*arguments, "--value", "sales", "double"]) == 0
    forecasts = pd.read_csv(tmp_path / "darts-lstm-seq-out" / "forecasts.csv")
    assert set(forecasts["component"]) == {"sales", "double"}
    sales, double = (
        forecasts["forecast"][forecasts["component"] == name] for name in ("sales", "double")
    )
    np.testing.assert_allclose(double, 2 * sales)
    assert sales.between(100, 160).all()  # drift from the last value, near 130


def test_a_file_from_a_german_spreadsheet(tmp_path: Path) -> None:
    lines = [f"01.{1 + row % 12:02}.{20 + row // 12};{row}.018" for row in range(1, 73)]
    (tmp_path / "sales.csv").write_bytes("\n".join(["Monat;Erl\xf6s", *lines]).encode("cp1252"))
    options = ["--date-format", "%d.%m.%y", "--decimal", ",", "--encoding", "cp1252"]
    arguments = ["compare", str(tmp_path / "sales.csv"), "--models", "NaiveDrift"]
    assert main([*arguments, *options, "--separator", ";"]) == 0
    forecasts = pd.read_csv(tmp_path / "darts-lstm-seq-out" / "forecasts.csv")
    assert set(forecasts["component"]) == {"Erl\xf6s"}
    assert forecasts["actual"].max() == 72018


def test_a_table_from_standard_input_with_a_season_and_a_seed(
    table: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    seen = []

    def make(season: int, horizon: int, length: int, random_state: int) -> NaiveSeasonal:
        seen.append((season, random_state))
        return NaiveSeasonal(K=season)

    monkeypatch.setitem(LIBRARY_MODELS, "LSTMSeqModel", make)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(table.read_bytes())))
    arguments = ["compare", "-", "--models", "LSTMSeqModel", "--seasonality", "6", "--seed", "7"]
    assert main(arguments) == 0
    assert seen == [(6, 7)]
    scores = pd.read_csv(tmp_path / "darts-lstm-seq-out" / "scores.csv")
    assert scores["seasonality"].tolist() == [6]


def test_models_that_fail_are_reported(
    table: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setitem(LIBRARY_MODELS, "Theta", lambda *_: LinearRegressionModel(lags=500))
    arguments = ["compare", str(table), "--value", "sales", "--models", "Theta"]
    assert main([*arguments, "NaiveDrift"]) == 0
    assert "Theta has no scores: ValueError" in capsys.readouterr().err
    assert main([*arguments, "--out", "other"]) == 1
    assert "forecasts.png" not in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "other" / "scores.csv")["error"].notna().all()


def test_the_names_of_models_are_those_of_the_library() -> None:
    assert list(LIBRARY_MODELS) == MODELS


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", [], "is empty"),
        ("day,a\n2024-01-01,1\n", ["--time", "when"], "no column 'when'"),
        ("day,a\n2024-01-01,1\n", ["--value", "b"], "no column 'b'"),
        ("day,a\n2024-01-01,1\nsoon,2\n", [], "is no date"),
        ("day,a\n2024-01-01,1\n2024-01-01,2\n", [], "is there twice"),
        ("day,a\n2024-01-01,1\n2024-01-02,x\n", ["--value", "a"], "is no number"),
        (
            "day,a\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n2024-01-07,4\n",
            [],
            "no constant step",
        ),
        ("day,a\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n", [], "too few for 1 fold"),
    ],
)
def test_a_bad_file_ends_with_one_line_and_code_2(
    tmp_path: Path, capsys: Any, text: str, options: list[str], message: str
) -> None:
    (tmp_path / "bad.csv").write_text(text)
    assert main(["compare", str(tmp_path / "bad.csv"), *options]) == 2
    captured = capsys.readouterr().err.strip().splitlines()
    assert len(captured) == 1
    assert message in captured[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv"], "none.csv: No such file or directory"),
        (["."], ".: Is a directory"),
        (["--horizon", "-1"], "`horizon` must be an integer >= 1, received -1"),
        (["--horizon", "x"], "argument --horizon: invalid int value: 'x'"),
        (["--horizon", "200"], "too few for 1 fold of horizon 200, which needs 600"),
        (
            ["--horizon", "200", "--folds", "3"],
            "too few for 3 folds of horizon 200, which need 1000. Set `horizon` to 105.",
        ),
        (["--folds", "0"], "`folds` must be an integer >= 1, received 0"),
        (["--models", "Prophet"], "argument --models: invalid choice: 'Prophet'"),
        (["--models"], "argument --models: expected at least one argument"),
        (["--value", "a", "table.csv"], "--value needs a FILE, which must come before"),
        (["--freq", "D"], "--freq needs a FILE"),
        (["--date-format", "%Y"], "--date-format needs a FILE"),
        (["--out", "file/out"], "file/out: Not a directory"),
        (["http://localhost/table.csv"], "No such file"),
    ],
)
def test_bad_arguments_end_with_one_line_and_code_2(
    tmp_path: Path, capsys: Any, arguments: list[str], message: str
) -> None:
    (tmp_path / "file").touch()
    assert code_of(["compare", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("darts-lstm-seq: ")
    assert message in line


def code_of(arguments: list[str]) -> Any:
    try:
        return main(arguments)
    except SystemExit as stop:  # how argparse ends
        return stop.code


def test_a_process_ends_with_the_exit_code_and_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "darts_lstm_seq", "compare", "none.csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip() == "darts-lstm-seq: none.csv: No such file or directory"


def test_help_and_version(capsys: Any) -> None:
    for option in ("--help", "--version"):
        with pytest.raises(SystemExit, match=r"^0$"):
            main([option])
    assert "compare" in capsys.readouterr().out


@pytest.mark.slow
def test_tune_writes_a_table_a_plot_and_a_model_that_forecasts(
    table: Path, tmp_path: Path, capsys: Any
) -> None:
    lines = table.read_text().splitlines(keepends=True)
    (tmp_path / "short.csv").write_text("".join(lines[:41]))
    out = tmp_path / "found"
    short = ["short.csv", "--value", "sales", "--horizon", "3", "--out", str(out)]
    assert main(["tune", *short, "--trials", "2", "--folds", "2", "--seed", "1"]) == 0
    assert "2 configurations, 2 folds" in capsys.readouterr().out
    assert sorted(pd.read_csv(out / "tuning.csv")["trial"]) == [0, 1]
    assert (out / "tuning.png").read_bytes().startswith(b"\x89PNG")
    assert main(["forecast", *short, "--model", str(out / "model.pt")]) == 0
    assert len(pd.read_csv(out / "future.csv")) == 3
    assert main(["tune", *short, "--budget", "0.001"]) == 2
    assert "`budget` is 0.001 seconds" in capsys.readouterr().err
