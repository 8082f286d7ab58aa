"""Imports go down only: each folder may import what stands below it, and `nn` knows torch alone.

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
# folders and files of the top level, from the bottom up; a new one must find its place here
ORDER = [
    "nn",
    "compat",
    "files",
    "checks",
    "batching",
    "training",
    "workers",
    "parallel",
    "callbacks",
    "data",
    "model",
    "tuning",
    "comparison",
    "cli",
    "__main__",
]
# other packages that a folder or file is limited to, besides the standard library
ONLY = {"nn": {"torch"}, "batching/windows": {"numpy"}}
HEAVY = {"torch", "darts", "pytorch_lightning", "lightning"}


def imports(path: Path, for_types: bool = True) -> set[str]:
    """Return the dotted names that a file imports, wherever in it.

    `for_types` counts imports under `if TYPE_CHECKING`, which never run.
    """
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not for_types:
        tree.body = [node for node in tree.body if not is_for_types(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            # `from package import module` and `from module import name` look the same
            found |= {node.module} if node.module != PACKAGE else set()
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name}


def is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def place(path: Path, source: Path) -> str:
    """Return the folder, or file of the top level, that a file belongs to."""
    return path.relative_to(source).with_suffix("").parts[0]


def sources(source: Path) -> list[Path]:
    return [path for path in sorted(source.rglob("*.py")) if path != source / "__init__.py"]


def violations(source: Path) -> list[str]:
    """Say which import breaks which rule, over all files of a package."""
    found = []
    for path in sources(source):
        own, name = place(path, source), path.relative_to(source).with_suffix("").as_posix()
        if own not in ORDER:
            found.append(f"{own} has no place in the order of layers")
            continue
        for other in sorted(imports(path)):
            top, *rest = other.split(".")
            above = ORDER[ORDER.index(own) + 1 :]
            if top == PACKAGE and rest and rest[0] in above:
                found.append(f"{name} imports {rest[0]}, which lies above it")
            for limited, allowed in ONLY.items():
                known = {PACKAGE, *allowed, *sys.stdlib_module_names}
                if (name + "/").startswith(limited + "/") and top not in known:
                    found.append(f"{name} imports {top}")
    return list(dict.fromkeys(found))


def loaded_by(statement: str) -> set[str]:
    """Return the top-level names that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_imports_go_down_only() -> None:
    assert not violations(SOURCE)


def test_no_two_files_import_each_other() -> None:
    modules = {
        ".".join([PACKAGE, *path.relative_to(SOURCE).with_suffix("").parts]): path
        for path in sources(SOURCE)
    }
    graph = {
        name: imports(path, for_types=False) & modules.keys() for name, path in modules.items()
    }
    tuple(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("nn/network", "from darts.utils import torch", "nn/network imports darts"),
        ("nn/network", "import numpy", "nn/network imports numpy"),
        ("batching/windows", "import torch", "batching/windows imports torch"),
        ("nn/skip", "from darts_lstm_seq.training.module import X", "nn/skip imports training"),
        ("training/module", "from darts_lstm_seq import cli", "training/module imports cli"),
        ("model/defaults", "import darts_lstm_seq.comparison.compare", "model/defaults imports c"),
        ("parallel", "from darts_lstm_seq.model import backtest", "parallel imports model"),
        ("odds/ends", "import math", "odds has no place"),
    ],
)
@pytest.mark.parametrize("form", ["{}", "def f():\n    {}"], ids=["on top", "in a function"])
def test_the_rules_can_be_broken(
    tmp_path: Path, file: str, line: str, complaint: str, form: str
) -> None:
    for name, text in {
        "nn/fine": "import torch\nfrom math import pi",
        file: form.format(line),
    }.items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n")
    (found,) = violations(tmp_path)
    assert found.startswith(complaint)


@pytest.mark.parametrize("name", [PACKAGE, f"{PACKAGE}.parallel"])
def test_light_imports_load_neither_torch_nor_darts(name: str) -> None:
    assert not HEAVY & loaded_by(f"import {name}")


def test_nn_runs_without_darts() -> None:
    names = [path.stem for path in sorted((SOURCE / "nn").glob("*.py")) if path.stem != "__init__"]
    loaded = loaded_by("\n".join(f"import {PACKAGE}.nn.{name}" for name in names))
    assert HEAVY & loaded == {"torch"}


def test_what_is_loaded_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in HEAVY:  # empty stand-ins, which load in no time
        (tmp_path / f"{name}.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert loaded_by(f"import {', '.join(HEAVY)}") >= HEAVY
