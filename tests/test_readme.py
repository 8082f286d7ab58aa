"""What the README shows works, and what README and CONTRIBUTING name exists.

Its Python runs, its commands are the project's own, its links and CONTRIBUTING's map lead on.
"""

import re
import shlex
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "darts_lstm_seq"
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [code.strip() for language, code in BLOCKS if language == "sh"]
OUTPUT = [code for language, code in BLOCKS if language == "text"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAIN_JOB = "python -m pip install . && darts-lstm-seq compare"
TESTS = 'python -m pip install -e ".[test]" && python -m pytest'


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_block_is_looked_at() -> None:
    assert README.count("```") == 2 * len(BLOCKS)
    assert len(PYTHON) + len(SHELL) + len(OUTPUT) == len(BLOCKS)


def quantiles(output: str) -> list[list[float]]:
    lines = [line for line in output.splitlines() if line.startswith("2002-")]
    return [[float(number) for number in line.split()[1:]] for line in lines]


@pytest.mark.slow
def test_the_python_runs_and_prints_what_is_shown(tmp_path: Path) -> None:
    (code,), (shown,) = PYTHON, OUTPUT
    printed = run([sys.executable, "-c", code], tmp_path)
    assert len(quantiles(printed)) == 12
    for low, median, high in quantiles(printed):
        assert 360 < low < median < high < 380
    assert printed.splitlines()[0].split() == shown.splitlines()[0].split()
    # samples are others on other machines
    for there, here in zip(quantiles(shown), quantiles(printed), strict=True):
        assert here == pytest.approx(there, abs=0.5)


def test_the_commands_are_the_two_that_do_everything() -> None:
    assert SHELL == ["python -m pip install .", MAIN_JOB, TESTS]
    assert TESTS in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_commands_name_what_the_project_has() -> None:
    words = [word for line in SHELL for word in shlex.split(line)]
    (extras,) = (word for word in words if word.startswith(".["))
    assert set(extras[2:-1].split(",")) <= PROJECT["optional-dependencies"].keys()
    assert "darts-lstm-seq" in PROJECT["scripts"]


@pytest.mark.slow
def test_the_main_job_ranks_the_lstm_before_seasonal_naive(tmp_path: Path) -> None:
    script, *arguments = shlex.split(MAIN_JOB.split("&&")[1])
    run([str(Path(sysconfig.get_path("scripts"), script)), *arguments], tmp_path)
    folder = tmp_path / "darts-lstm-seq-out"
    files = {file.name for file in folder.iterdir()}
    assert {"scores.csv", "forecasts.csv", "forecasts.png"} <= files
    ranks = pd.read_csv(folder / "scores.csv")["model"].tolist()
    assert ranks.index("LSTMSeqModel") < ranks.index("NaiveSeasonal")


@pytest.mark.parametrize("target", re.findall(r"\]\(([^):#]+)[^):]*\)", README))
def test_links_within_the_project_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_the_map_names_every_folder_and_file_of_the_top_level() -> None:
    table, changes = re.findall(r"(?:^\|.*\n)+", CONTRIBUTING, flags=re.MULTILINE)
    rows = [row.split("|")[1] for row in table.splitlines()[2:]]
    named = {name.strip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)}
    there = {path.name for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert named == there - {"__init__.py", "__main__.py", "__pycache__"}
    for name in re.findall(r"`(\w+(?:/\w+)?\.py)`", changes):
        assert (PACKAGE / name).exists() or (ROOT / name).exists(), name
