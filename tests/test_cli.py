import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from darts_lstm_seq.cli import main


@pytest.fixture
def table(seasonal: Any, tmp_path: Path) -> Path:
    frame = seasonal.to_dataframe().assign(double=lambda f: 2 * f["sales"])
    frame.to_csv(tmp_path / "sales.csv", index_label="month")
    return tmp_path / "sales.csv"


def test_writes_scores_forecasts_and_a_picture(table: Path, tmp_path: Path, capsys: Any) -> None:
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


def test_without_a_file_it_takes_monthly_co2(tmp_path: Path, capsys: Any) -> None:
    assert main(["compare", "--models", "NaiveDrift"]) == 0
    forecasts = pd.read_csv(tmp_path / "darts-lstm-seq-out" / "forecasts.csv")
    assert set(forecasts["component"]) == {"CO2 (ppmv)"}
    assert "526 steps" in capsys.readouterr().out


def test_several_values_and_bridged_gaps(table: Path, tmp_path: Path, capsys: Any) -> None:
    lines = table.read_text().splitlines(keepends=True)
    (tmp_path / "gap.csv").write_text("".join(lines[:50] + lines[53:]))
    arguments = ["compare", str(tmp_path / "gap.csv"), "--freq", "MS", "--models", "NaiveDrift"]
    assert main([*arguments, "--value", "sales", "double"]) == 0
    assert "missing values are bridged" in capsys.readouterr().err
    forecasts = pd.read_csv(tmp_path / "darts-lstm-seq-out" / "forecasts.csv")
    assert set(forecasts["component"]) == {"sales", "double"}
    assert np.isfinite(forecasts["forecast"]).all()


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
        ("day,a\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n", [], "too few for 3 folds"),
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
        (["."], "directory"),
        (["--horizon", "-1"], "`horizon` must be an integer >= 1, received -1"),
        (["--models", "Prophet"], "`models` must be names out of"),
    ],
)
def test_bad_arguments_too(capsys: Any, arguments: list[str], message: str) -> None:
    assert main(["compare", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_shell_sees_the_exit_code_and_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "darts_lstm_seq", "compare", "none.csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip() == "darts-lstm-seq: none.csv: No such file or directory"


def test_help_and_version(capsys: Any) -> None:
    for option in ("--help", "--version"):
        with pytest.raises(SystemExit, match=r"^0$"):
            main([option])
    assert "compare" in capsys.readouterr().out
