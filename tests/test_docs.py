"""The documentation names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs/what-survives.md").read_text())


def test_every_promise_has_a_test() -> None:
    page = (ROOT / "docs" / "what-survives.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "---" not in line]
    promises = [row for row in rows if not row.startswith("| what happens")]
    assert len(promises) == len(NAMED) > 20


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_tests_that_are_named_exist(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
