"""Imports go down only: tools -> Darts layer -> core; the core knows neither Darts nor Lightning.

The first half reads import statements, lazy ones inside functions too; the second half looks at
what a fresh interpreter really loads. Both show that they can fail.
"""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import darts_lstm_seq

PACKAGE = "darts_lstm_seq"
SOURCE = Path(darts_lstm_seq.__file__).parent
CORE = {"network", "dropout", "ensemble", "missing", "path", "recurrence", "windows", "stacked"}
TOOLS = {"candidates", "scoring", "results", "comparison", "plotting", "data", "cli", "__main__"}
# every other file is the Darts layer, so that a new one needs a line here only if it is not
HEAVY = {"torch", "darts", "pytorch_lightning", "lightning"}


def layer(module: str) -> int:
    return 0 if module in CORE else 2 if module in TOOLS else 1


def imports(path: Path) -> set[str]:
    """Return the dotted names that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = PACKAGE if node.level else node.module or ""
            base = f"{base}.{node.module}" if node.level and node.module else base
            # `from package import module` and `from module import name` look the same
            found |= {base} if base != PACKAGE else {f"{base}.{alias.name}" for alias in node.names}
    return found


def inside(path: Path) -> set[str]:
    """Return the files of the package that a file imports."""
    names = (name.split(".") for name in imports(path))
    return {name[1] for name in names if name[0] == PACKAGE and len(name) > 1}


def violations(source: Path) -> list[str]:
    """Say which import breaks which rule, over all files of a package."""
    found = []
    for path in sorted(source.glob("*.py")):
        if path.stem == "__init__":
            continue
        for name in sorted(inside(path)):
            if layer(name) > layer(path.stem):
                found.append(f"{path.stem} imports {name}, which lies above it")
        if path.stem in CORE:
            tops = {name.split(".")[0] for name in imports(path)}
            allowed = {PACKAGE, "numpy", "torch", *sys.stdlib_module_names}
            found += [f"{path.stem} imports {top}" for top in sorted(tops - allowed)]
    return found


def loaded_by(statement: str) -> set[str]:
    """Return the top-level names that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_imports_go_down_only() -> None:
    assert not violations(SOURCE)


def test_no_two_files_import_each_other() -> None:
    graph = {path.stem: inside(path) for path in SOURCE.glob("*.py") if path.stem != "__init__"}
    tuple(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("network", "from darts.utils import torch", "network imports darts"),
        ("windows", "import pytorch_lightning as pl", "windows imports pytorch_lightning"),
        ("missing", "from darts_lstm_seq.module import X", "missing imports module"),
        ("model", "import darts_lstm_seq.comparison", "model imports comparison"),
        ("module", "from . import cli", "module imports cli"),
        ("stacked", "from .model import LSTMSeqModel", "stacked imports model"),
    ],
)
@pytest.mark.parametrize("form", ["{}", "def f():\n    {}"], ids=["on top", "in a function"])
def test_the_rules_can_be_broken(
    tmp_path: Path, file: str, line: str, complaint: str, form: str
) -> None:
    (tmp_path / "network.py").write_text("import numpy\nimport torch\nfrom math import pi\n")
    (tmp_path / f"{file}.py").write_text(form.format(line))
    (found,) = violations(tmp_path)
    assert found.startswith(complaint)


def test_importing_the_package_loads_neither_torch_nor_darts() -> None:
    assert not HEAVY & loaded_by(f"import {PACKAGE}")


def test_the_core_runs_without_darts() -> None:
    core = sorted(CORE & {path.stem for path in SOURCE.glob("*.py")})
    loaded = loaded_by("\n".join(f"import {PACKAGE}.{name}" for name in core))
    assert HEAVY & loaded == {"torch"}


def test_what_is_loaded_is_seen() -> None:
    assert loaded_by(f"from {PACKAGE} import LSTMSeqModel") >= {
        "torch",
        "darts",
        "pytorch_lightning",
    }
