"""The notebooks in `examples/` run from top to bottom, and are kept with what they print."""

import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode, v4

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))


def execute(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Run all cells in the interpreter that runs the tests, whatever kernels are registered."""
    kernel = AsyncKernelManager(
        kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[])
    )
    client = NotebookClient(
        notebook,
        km=kernel,
        timeout=600,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute()


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    execute(nbformat.read(path, as_version=4), tmp_path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_as_a_reader_would_run_it(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    streams = {output.get("name") for cell in cells for output in cell.outputs}
    assert "stderr" not in streams


def test_a_failing_cell_and_the_interpreter_are_seen(tmp_path: Path) -> None:
    asks = v4.new_notebook(cells=[v4.new_code_cell("import sys; print(sys.prefix)")])
    assert code_cells(execute(asks, tmp_path))[0].outputs[0].text.strip() == sys.prefix
    with pytest.raises(CellExecutionError, match="2 windows"):
        execute(v4.new_notebook(cells=[v4.new_code_cell("assert False, '2 windows'")]), tmp_path)
