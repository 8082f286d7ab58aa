"""The documentation: code runs, links lead on, what it names exists, and the site builds."""

import ast
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from darts_lstm_seq.cli.arguments import make_parser
from darts_lstm_seq.model import defaults

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (DOCS / "what-survives.md").read_text())


def tool(name: str) -> ModuleType:
    """Return a module of `docs/tools`."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pictures = tool("pictures")
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


class _Loader(yaml.SafeLoader):
    """Reads `mkdocs.yml` without the Python names that some extensions need."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def site() -> dict[str, Any]:
    return yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Loader)


def navigated(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        for target in entry.values():
            yield from [target] if isinstance(target, str) else navigated(target)


def test_every_promise_has_a_test() -> None:
    page = (DOCS / "what-survives.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "---" not in line]
    promises = [row for row in rows if not row.startswith("| what happens")]
    assert len(promises) == len(NAMED) > 20


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_tests_that_are_named_exist(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@by_page
def test_the_python_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Run all blocks, with few steps where their number is chosen automatically."""
    import matplotlib as mpl

    mpl.use("Agg")
    for name, value in {"MIN_STEPS": 2, "MAX_STEPS": 2, "MIN_EPOCHS": 1}.items():
        monkeypatch.setattr(defaults, name, value)
    pictures.run(page, tmp_path)
    for name in pictures.own_pictures(page.read_text(encoding="utf-8")):
        assert (tmp_path / name).stat().st_size > 1000
        assert (DOCS / "images" / name).exists()


@pytest.mark.slow
def test_a_model_of_the_first_page_is_trained_saved_and_loaded(tmp_path: Path) -> None:
    """As shown: trained in full, each part in an interpreter of its own."""
    code = pictures.blocks((DOCS / "index.md").read_text(encoding="utf-8"), "python")
    zero_shot, own, loaded = code
    first = "\n".join(line for line in zero_shot.splitlines() if "import" in line or "co2" in line)

    def run(text: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    label, score = run(f"{first}\n{own}").splitlines()[-1].split()
    assert label == "MASE"
    assert 0 < float(score) < 1
    years = re.findall(r"^(\d{4})-", run(loaded), flags=re.MULTILINE)
    assert years == ["2001"] * 12 + ["2002"] * 12


@by_page
def test_the_commands_of_a_page_are_valid(page: Path) -> None:
    parser = make_parser()
    for code in pictures.blocks(page.read_text(encoding="utf-8"), "sh"):
        for line in code.replace("\\\n", " ").splitlines():
            command, *arguments = shlex.split(line)
            if command == "darts-lstm-seq":
                parser.parse_args(arguments)  # exits if it is not


@by_page
def test_every_block_has_a_language_that_is_looked_at(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    languages = re.findall(r"^```(\w*)$", text, flags=re.MULTILINE)[::2]
    assert set(languages) <= {"python", "sh", "text"}


def test_every_page_is_in_the_navigation() -> None:
    entries = list(navigated(site()["nav"]))
    assert len(entries) == len(set(entries))
    notebooks = [f"examples/{path.name}" for path in (ROOT / "examples").glob("*.ipynb")]
    assert set(entries) == {page.name for page in PAGES} | set(notebooks)


@by_page
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^):#\s]+)(?:#[\w-]*)?\)", text):
        base = ROOT if target.startswith("examples/") else DOCS
        assert (base / target).exists(), target


@by_page
def test_what_a_page_includes_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"<!-- include: (\S+)", text):
        assert (ROOT / path).exists()
    tables = tool("tables").TABLES
    for name in re.findall(r"<!-- table: ([\w-]+)", text):
        assert name in tables


def test_every_table_is_made_and_shown() -> None:
    page = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    for name, make in tool("tables").TABLES.items():
        assert f"<!-- table: {name} -->" in page
        rows = [line for line in make().splitlines() if line.startswith("|")]
        assert len(rows) > 2
        assert len({row.count("|") for row in rows}) == 1


@pytest.mark.parametrize(
    ("name", "row"),
    [
        # as `benchmarks/README.md` has them
        ("small", "| LSTMSeqModel | 0.839 | 0.004 | 10 |"),
        ("broad", "| LSTMSeqModel | 0.862 | 0.666 | 0.554 |"),
        ("backtest-speed", "16.28 |"),
        ("long-horizon", "| LSTMSeqModel | 0.3634 | 0.4041 | 0.4279 | 0.4297 | 3 |"),
        ("competitions", "| 0.812 | 0.786 | 0.820 |"),
    ],
)
def test_tables_have_the_recorded_figures(name: str, row: str) -> None:
    assert row in tool("tables").TABLES[name]()


def test_the_figures_of_the_first_screen_are_recorded() -> None:
    read = tool("tables").read
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    bullets = " ".join(readme.split("\n- **", 1)[1].split("## Install")[0].split())
    broad = read("accuracy_broad").groupby("model")["MASE"].mean()
    for model in ("LSTMSeqModel", "ExponentialSmoothing, damped", "NaiveSeasonal"):
        assert f"{broad[model]:.3f}" in bullets
    small = read("accuracy_small").groupby("model")["MASE"].mean()
    for model in ("ExponentialSmoothing", "LSTMSeqModel", "Darts BlockRNN, RINorm"):
        assert f"{small[model]:.3f}" in bullets
    assert f"{small['Darts BlockRNN']:.2f}" in bullets
    backtest = read("bench_backtest").set_index(["work", "peer"])
    single, double = (
        backtest.loc[(f"backtest of 33 folds, {dtype}, defaults", "Darts BlockRNN LSTM")]
        for dtype in ("float32", "float64")
    )
    assert f"takes {single['ours_s']:.1f} to {double['ours_s']:.1f} s, where" in bullets
    assert f"`BlockRNNModel` takes {single['peer_s']:.0f} s in single" in bullets
    assert f"{double['peer_s']:.0f} s in double" in bullets
    zero_shot = re.findall(r"geometric mean\*\* \|  \| 0(\.\d+)", tool("tables").competitions())
    assert f"error is {zero_shot[0]} of" in bullets


@cache
def messages() -> list[str]:
    """Return the texts of all errors and warnings, with `…` for what varies."""
    found = []
    for path in (ROOT / "darts_lstm_seq").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    str(part.value) if isinstance(part, ast.Constant) else "…"
                    for part in node.values
                ]
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"%[sdr]", "…", node.value))
    return found


def quoted_messages() -> list[str]:
    """Return the messages in the tables of the page on errors."""
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    cells = [line.split(" | ")[0][2:] for line in page.splitlines() if line.startswith("| `")]
    return [cell.strip("`").strip() for cell in cells]


def test_errors_are_quoted() -> None:
    assert len(quoted_messages()) > 40


@pytest.mark.parametrize("quoted", quoted_messages())
def test_a_quoted_message_is_one_of_ours(quoted: str) -> None:
    assert any(quoted in message for message in messages())


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material")
    pytest.importorskip("mkdocs_jupyter")
    pytest.importorskip("mkdocstrings_handlers.python")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for page in navigated(site()["nav"]):
        stem = re.sub(r"\.\w+$", "", page)
        assert (tmp_path / ("" if stem == "index" else stem) / "index.html").exists()
    html = (tmp_path / "benchmarks" / "index.html").read_text(encoding="utf-8")
    assert "<!-- table" not in html
    assert "<!-- include" not in html


def test_the_docs_extra_names_what_the_site_is_built_with() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.split(r"[\[<>=]", name)[0] for name in project["optional-dependencies"]["docs"]}
    assert names == {"mkdocs-material", "mkdocs-jupyter", "mkdocstrings"}
