"""The workflows of the public host run what `.ci/run` runs, with few rights."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def load(path: Path) -> dict[str, Any]:
    # the key `on` is a boolean in YAML 1.1
    text = re.sub(r"^on:", '"on":', path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return yaml.safe_load(text)


def steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


def commands(workflow: dict[str, Any]) -> list[str]:
    return [step["run"] for step in steps(workflow) if "run" in step]


CHECKS = load(ROOT / ".github" / "workflows" / "checks.yml")
by_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def test_there_are_workflows() -> None:
    assert {path.stem for path in WORKFLOWS} == {"checks", "darts", "release"}


def test_the_host_runs_every_check_of_the_script() -> None:
    """Each line of `.ci/run` that checks something; its first lines make the environment."""
    start = next(n for n, line in enumerate(CI) if line == "ruff check")
    checks = [line for line in CI[start:] if line and not line.startswith("#")]
    assert len(checks) == 5
    assert set(checks) <= set(commands(CHECKS))


def test_the_script_runs_every_check_of_the_host() -> None:
    """But those of other versions, and installations."""
    for job in ("lint", "tests", "docs"):
        for step in CHECKS["jobs"][job]["steps"]:
            run = step.get("run", "")
            if run and not re.fullmatch(r"python -m pip install [^&]+", run):
                assert run in CI


def test_the_versions_of_python_are_those_of_the_classifiers() -> None:
    prefix = "Programming Language :: Python :: 3."
    declared = ["3." + c.removeprefix(prefix) for c in PROJECT["classifiers"] if prefix in c]
    matrix = CHECKS["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix["python"] == declared
    assert PROJECT["requires-python"] == f">={declared[0]}"
    assert [system.split("-")[0] for system in matrix["os"]] == ["ubuntu", "macos", "windows"]


def test_every_requirement_has_a_lower_bound() -> None:
    """Or `--resolution lowest-direct` would try the first releases ever made."""
    assert any("--resolution lowest-direct" in run for run in commands(CHECKS))
    extras = [PROJECT["optional-dependencies"][name] for name in ("docs", "test", "onnx", "dask")]
    for requirement in sum(extras, PROJECT["dependencies"]):
        assert ">=" in requirement or requirement.startswith(PROJECT["name"]), requirement


@by_workflow
def test_a_workflow_has_few_rights(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 90
        extra = set(job.get("permissions", {})) - {"contents"}
        assert extra == ({"id-token", "attestations"} if name == "publish" else set())


@by_workflow
def test_actions_are_pinned_and_leave_no_credentials(path: Path) -> None:
    for step in steps(load(path)):
        action = step.get("uses", "")
        assert not action or re.search(r"@(v\d+|[0-9a-f]{40}|release/v\d+)$", action), action
        if action.startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@by_workflow
def test_extras_and_files_that_a_workflow_names_exist(path: Path) -> None:
    for run in commands(load(path)):
        for extras in re.findall(r'"\.\[([\w,]+)\]"', run):
            assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
        for name in re.findall(r"darts_lstm_seq/[\w/]+\.py", run):
            assert (ROOT / name).exists()


def test_what_may_fail_is_weekly_and_alone() -> None:
    workflow = load(ROOT / ".github" / "workflows" / "darts.yml")
    assert "schedule" in workflow["on"]
    assert all(job["continue-on-error"] for job in workflow["jobs"].values())
    assert not any("continue-on-error" in job for job in CHECKS["jobs"].values())


def test_a_release_is_built_before_it_is_published_without_a_token() -> None:
    workflow = load(ROOT / ".github" / "workflows" / "release.yml")
    publish = workflow["jobs"]["publish"]
    assert publish["needs"] == "build"
    assert publish["permissions"]["id-token"] == "write"
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    assert "secrets." not in text
    (pattern,) = re.findall(r"sed -n '(.*?)'", text)
    found = re.search(
        r'^__version__ = "(.*)"', (ROOT / "darts_lstm_seq/__init__.py").read_text(), re.MULTILINE
    )
    assert found is not None
    assert pattern.startswith('s/^__version__ = "')


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.stem
)
def test_every_file_is_yaml(path: Path) -> None:
    assert isinstance(load(path), dict)
