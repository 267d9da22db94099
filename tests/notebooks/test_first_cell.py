"""The first cell: the same in every notebook, silent at home, and on Colab it asks where the project is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import first_cell
import nbformat
import pytest


def executed() -> nbformat.NotebookNode:
    """A title and two executed cells: one with a result, one with an error."""
    v4 = nbformat.v4
    cells = [v4.new_code_cell("1", execution_count=1), v4.new_code_cell("1 / 0", execution_count=2)]
    cells[0].outputs = [v4.new_output("execute_result", data={"text/plain": "1"}, execution_count=1)]
    trace = ["Cell \x1b[32mIn[2]\x1b[39m, line 1"]
    cells[1].outputs = [v4.new_output("error", ename="E", evalue="", traceback=trace)]
    return v4.new_notebook(cells=[v4.new_markdown_cell("# title"), *cells])


def test_every_notebook_has_it() -> None:
    complaint = first_cell.main(["--check"])
    assert complaint is None, complaint


def test_it_is_put_before_all_code_and_counts_move_up() -> None:
    notebook = executed()
    assert first_cell.wrong(notebook)
    assert first_cell.with_cell(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert notebook.cells[1] is code[0] and code[0].source == first_cell.CELL
    assert [cell.execution_count for cell in code] == [1, 2, 3]
    assert code[1].outputs[0].execution_count == 2 and "In[3]" in code[2].outputs[0].traceback[0]
    assert not first_cell.wrong(notebook) and not first_cell.with_cell(notebook)
    nbformat.validate(notebook)


def test_it_is_folded_in_lab_and_on_colab() -> None:
    notebook = executed()
    first_cell.with_cell(notebook)
    assert notebook.cells[1].metadata["jupyter"]["source_hidden"] and notebook.cells[1].metadata["cellView"] == "form"
    del notebook.cells[1].metadata["jupyter"]
    assert first_cell.wrong(notebook) and first_cell.with_cell(notebook) and not first_cell.wrong(notebook)


def test_drift_is_named_and_mended(tmp_path: Path) -> None:
    notebook = executed()
    first_cell.with_cell(notebook)
    notebook.cells[1].source += "\nprint()"
    nbformat.write(notebook, tmp_path / "01_a.ipynb")
    assert "01_a.ipynb lacks the first cell" in (first_cell.main(["--check"], tmp_path) or "")
    first_cell.main([], tmp_path)
    assert first_cell.main(["--check"], tmp_path) is None


def run(tag: str | None, source: str = "") -> subprocess.CompletedProcess[str]:
    """The cell in a process of its own."""
    environment = {"PATH": "/nowhere", "FASTFLOW_LITE_SOURCE": source} | ({"COLAB_RELEASE_TAG": tag} if tag else {})
    return subprocess.run([sys.executable, "-c", first_cell.CELL], capture_output=True, text=True, env=environment)


def test_elsewhere_it_does_nothing() -> None:
    done = run(None, "nowhere/at/all")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_on_colab_it_says_that_the_address_is_missing() -> None:
    done = run("release")
    assert done.returncode != 0 and "say where the project is: os.environ['FASTFLOW_LITE_SOURCE']" in done.stderr


@pytest.mark.parametrize("word", ["drive.mount", "torch>=", "-e "])
def test_it_mounts_nothing_and_changes_no_torch(word: str) -> None:
    assert word not in first_cell.CELL
