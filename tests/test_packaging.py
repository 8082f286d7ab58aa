"""What is imported is declared in `pyproject.toml`, and what is declared is imported."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PACKAGE = "darts_lstm_seq"
# of the extra `onnx`: imported by Darts' `to_onnx` and by its users
FOR_OTHERS = {"onnx", "onnxruntime", "onnxscript"}


def distribution(requirement: str) -> str:
    """Return the normalised name of a requirement, without extras and versions."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def declared(*extras: str) -> set[str]:
    """Return the distributions that the project and some of its extras require."""
    requirements = PROJECT["dependencies"] + [name for extra in extras for name in EXTRAS[extra]]
    nested = [re.findall(r"\w+", extra) for r in requirements for extra in re.findall(r"\[.*\]", r)]
    own = [extra for names in nested for extra in names if extra in EXTRAS]
    found = {distribution(requirement) for requirement in requirements} - {PROJECT["name"]}
    return found | (declared(*own) if own else set())


def modules(text: str) -> Iterator[str]:
    """Yield the top-level modules that a source text imports, by `import_module` too."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                yield from (name.name.split(".")[0] for name in names)
            case ast.ImportFrom(module=str(module)):
                yield module.split(".")[0]
            case ast.Call(func=ast.Name(id="import_module"), args=[argument]):
                # f"package.module.{name}" begins with a constant
                first = argument.values[0] if isinstance(argument, ast.JoinedStr) else argument
                if isinstance(first, ast.Constant):
                    yield first.value.split(".")[0]


def imported(texts: Iterable[str], own: set[str]) -> set[str]:
    """Return the distributions whose modules are imported, neither our own nor Python's."""
    found = {name for text in texts for name in modules(text)} - own - sys.stdlib_module_names
    known = packages_distributions()
    return {distribution(known.get(name, [name])[0]) for name in found}


def texts(folder: str) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in (ROOT / folder).rglob("*.py")]


def test_the_package_declares_what_it_imports() -> None:
    used = imported(texts(PACKAGE), {PACKAGE})
    assert used <= declared("dask", "ray", "onnx", "tune")
    assert declared("dask", "ray", "onnx", "tune") - used <= FOR_OTHERS


def test_the_tests_declare_what_they_import() -> None:
    own = {path.stem for path in (ROOT / "tests").iterdir()} | {PACKAGE, "pretraining"}
    assert imported(texts("tests"), own) <= declared("test")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import numpy.linalg, os", {"numpy"}),
        ("def f():\n    from pytorch_lightning.callbacks import Callback", {"pytorch-lightning"}),
        ("import_module(f'statsmodels.datasets.{name}')", {"statsmodels"}),
        ("import_module(name)", set()),
        ("import darts_lstm_seq.cli", set()),
        ("import not_installed", {"not-installed"}),
    ],
)
def test_imports_are_seen(text: str, found: set[str]) -> None:
    assert imported([text], {PACKAGE}) == found


def test_declarations_are_read() -> None:
    assert {"darts", "torch", "typing-extensions"} <= declared()
    assert "distributed" not in declared()
    assert {"pytest", "pytest-xdist", "distributed", "onnxruntime"} <= declared("test")
