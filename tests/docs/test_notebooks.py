"""The notebooks run from top to bottom, and what is committed with them is clean."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from support.pages import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Jupyter's own packages
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def name_of(notebook: Path) -> str:
    return notebook.name


def test_there_is_a_notebook_to_begin_with() -> None:
    assert "01-quickstart.ipynb" in [notebook.name for notebook in NOTEBOOKS]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_a_notebook_runs_from_top_to_bottom(notebook: Path, tmp_path: Path) -> None:
    book = nbformat.read(notebook, as_version=4)
    before = [shape_of(cell) for cell in book.cells if cell.cell_type == "code"]
    client = NotebookClient(
        book, timeout=240, resources={"metadata": {"path": str(tmp_path)}}, coalesce_streams=True
    )
    client.execute()
    after = [shape_of(cell) for cell in book.cells if cell.cell_type == "code"]
    assert after == before, "its committed outputs are not of this kind any more: run it again and commit it"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_a_notebook_is_committed_with_clean_outputs(notebook: Path) -> None:
    book = nbformat.read(notebook, as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert [
        output.name for output in outputs if output.output_type == "stream" if output.name != "stdout"
    ] == []
    assert [output.ename for output in outputs if output.output_type == "error"] == []


def shape_of(cell: nbformat.NotebookNode) -> list[str]:
    """What kind of output a cell has, without what differs from run to run."""
    return [output.output_type + ":" + ",".join(sorted(output.get("data", {}))) for output in cell.outputs]
