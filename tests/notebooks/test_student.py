"""Student notebooks: no solution gets through, what is left compiles, and the committed ones are up to date."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
import student
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

SCRIPT = Path(__file__).parents[2] / "notebooks" / "student.py"
COMMITTED = sorted((SCRIPT.parent / "student").glob("*.ipynb"))


FUNCTION = """
def my_log_det(s):
    '''The log-determinant, (B,).'''
    ### BEGIN SOLUTION
    SECRET = s.sum(dim=1)
    return SECRET
    ### END SOLUTION
""".strip()

NESTED = """
class Mine:
    def forward(self, x):
        for part in x:
            if part:
                ### BEGIN SOLUTION
                SECRET = part

                yield SECRET
                ### END SOLUTION
        return

    def inverse(self, z):
        ### BEGIN SOLUTION
        return SECRET
        ### END SOLUTION
""".strip()


def notebook(*sources: str, judged: str = "3.1") -> NotebookNode:
    """A title, code cells as executed, and the judge's cell."""
    judge = f'checks.judge("{judged}", lambda: True)'
    cells = [new_code_cell(source, execution_count=k) for k, source in enumerate((*sources, judge), 1)]
    cells[-1].outputs = [new_output("stream", text=f"{judged} passed\n")]
    return new_notebook(cells=[new_markdown_cell("# 03 · A coupling by hand"), *cells])


def sources(of: NotebookNode) -> list[str]:
    return [cell.source for cell in of.cells]


# The transformation --------------------------------------------------------------------------------------------


def test_solution_becomes_a_stub_that_names_its_exercise() -> None:
    made = student.student_version(notebook(FUNCTION), "03_coupling")
    top, title, code, judge, summary = sources(made)
    assert summary == "from fastflow_lite.course import checks\nchecks.summary()"
    assert top.startswith("> **Student version**, made from `03_coupling`.")
    assert title == "# 03 · A coupling by hand"
    assert code == (
        "def my_log_det(s):\n    '''The log-determinant, (B,).'''\n"
        '    raise NotImplementedError("your turn: 3.1")'
    )  # fmt: skip
    assert judge == 'checks.judge("3.1", lambda: True)'


def test_two_solutions_in_one_cell_nested() -> None:
    code = sources(student.student_version(notebook(NESTED), "x"))[2]
    compile(code, "cell", "exec")
    assert "SECRET" not in code and "SOLUTION" not in code
    assert code.split("\n")[4] == '                raise NotImplementedError("your turn: 3.1")'
    assert code.split("\n")[-1] == '        raise NotImplementedError("your turn: 3.1")'


def test_each_solution_has_the_name_of_the_next_judge() -> None:
    two = notebook(FUNCTION)
    two.cells += notebook(FUNCTION, judged="3.2").cells[1:]
    made = sources(student.student_version(two, "x"))
    assert '"your turn: 3.1"' in made[2] and '"your turn: 3.2"' in made[4]


def test_outputs_counts_and_promises_go_and_the_source_stays() -> None:
    source = notebook(FUNCTION)
    source.cells[1].metadata["tags"] = ["parameters"]
    source.cells[2].metadata["tags"] = ["nbval-check-output"]
    before = nbformat.writes(source)
    made = student.student_version(source, "x")
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert [cell.metadata.get("tags") for cell in code] == [["parameters"], None, None]
    assert nbformat.writes(source) == before
    nbformat.validate(made)


@pytest.mark.parametrize("slip", ["###BEGIN SOLUTION", "### BEGIN SOLUTION 3.1", "# Begin Solution:"])
def test_a_slip_in_a_marker_hands_nothing_out(slip: str) -> None:
    made = student.student_version(notebook(FUNCTION.replace("### BEGIN SOLUTION", slip)), "x")
    assert not any("SECRET" in source for source in sources(made))


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (FUNCTION.replace("    ### END SOLUTION", ""), "the solution that begins in line 3 has no '### END SOLUTION'"),
        (FUNCTION.replace("    ### BEGIN SOLUTION\n", ""), "line 5, '### END SOLUTION', has no partner before it"),
        (NESTED.replace("### END", "### BEGIN", 1), "line 9, '### BEGIN SOLUTION', has no partner before it"),
        (FUNCTION + "\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION", "a solution outside a function would stop"),
        ("class A:\n    ### BEGIN SOLUTION\n    x = 1\n    ### END SOLUTION", "a solution outside a function"),
        (
            "def f(x):\n### BEGIN SOLUTION\n    return x\n### END SOLUTION",
            "does not compile: expected an indented",
        ),
    ],
)
def test_a_wrong_marker_is_an_error_that_names_notebook_and_cell(source: str, complaint: str) -> None:
    with pytest.raises(student.MarkerError) as caught:
        student.student_version(notebook("x = 1", source), "03_coupling")
    assert str(caught.value).startswith("03_coupling.ipynb, cell 3 of 4: ") and complaint in str(caught.value)


def test_a_solution_without_a_judge_or_in_prose_is_an_error() -> None:
    alone = notebook(FUNCTION)
    del alone.cells[-1]
    with pytest.raises(student.MarkerError, match=r"cell 2 of 2: no checks.judge\(...\) follows"):
        student.student_version(alone, "x")
    prose = notebook()
    prose.cells.insert(0, new_markdown_cell("### BEGIN SOLUTION\n42\n### END SOLUTION"))
    with pytest.raises(student.MarkerError, match="cell 1 of 3: a solution in a markdown cell"):
        student.student_version(prose, "x")


# Files ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two notebooks with exercises that link to each other, one without, a picture."""
    first = notebook(FUNCTION)
    first.cells.append(
        new_markdown_cell(
            "[next](04_b.ipynb) ![](images/a.png) [main](07_c.ipynb#top) $p[z](x)$ [out](https://x.org/07_c.ipynb)"
        )
    )
    nbformat.write(first, tmp_path / "03_a.ipynb")
    nbformat.write(notebook(NESTED, judged="4.1"), tmp_path / "04_b.ipynb")
    nbformat.write(notebook("x = 1"), tmp_path / "07_c.ipynb")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"a picture")
    return tmp_path


def names(of: Path) -> list[str]:
    return sorted(path.name for path in of.iterdir())


def test_only_notebooks_with_exercises_have_a_student_version(folder: Path) -> None:
    assert student.main([], folder) is None
    assert names(folder / "student") == ["03_a.ipynb", "04_b.ipynb"]
    assert student.main(["--check"], folder) is None


def test_links_work_from_one_folder_below(folder: Path) -> None:
    student.main([], folder)
    links = nbformat.read(folder / "student" / "03_a.ipynb", as_version=4).cells[-2].source
    assert links == (
        "[next](04_b.ipynb) ![](../images/a.png) [main](../07_c.ipynb#top) $p[z](x)$ [out](https://x.org/07_c.ipynb)"
    )


def test_the_same_sources_make_the_same_bytes(folder: Path) -> None:
    """Also when a source is built anew, with other cell ids, or executed anew."""
    student.main([], folder)
    before = {path.name: path.read_bytes() for path in (folder / "student").iterdir()}
    again = nbformat.read(folder / "03_a.ipynb", as_version=4)
    for k, cell in enumerate(again.cells):
        cell.id = f"other-{k}"
    again.cells[1].outputs = [new_output("stream", text="other\n")]
    nbformat.write(again, folder / "03_a.ipynb")
    student.main([], folder)
    assert {path.name: path.read_bytes() for path in (folder / "student").iterdir()} == before


def test_check_names_what_drifted_and_changes_nothing(folder: Path) -> None:
    student.main([], folder)
    changed = nbformat.read(folder / "03_a.ipynb", as_version=4)
    changed.cells[0].source += ", again"
    nbformat.write(changed, folder / "03_a.ipynb")
    (folder / "student" / "04_b.ipynb").rename(folder / "student" / "09_old.ipynb")
    assert student.main(["--check"], folder) == (
        "03_a.ipynb is not what its source makes\n04_b.ipynb is missing\n09_old.ipynb has no source with exercises\n"
        "`make student` writes them anew"
    )
    assert names(folder / "student") == ["03_a.ipynb", "09_old.ipynb"]
    student.main([], folder)
    assert names(folder / "student") == ["03_a.ipynb", "04_b.ipynb"]


def test_exit_status_and_complaint_of_the_command(folder: Path) -> None:
    shutil.copy(SCRIPT, folder)
    run = [sys.executable, folder / "student.py", "--check"]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 1 and "03_a.ipynb is missing\n04_b.ipynb is missing\n" in done.stderr


def test_a_wrong_marker_leaves_the_files_alone(folder: Path) -> None:
    student.main([], folder)
    before = {path.name: path.read_bytes() for path in (folder / "student").iterdir()}
    nbformat.write(notebook(FUNCTION.replace("### END", "")), folder / "04_b.ipynb")
    for arguments in ([], ["--check"], ["--zip", str(folder / "x.zip")]):
        assert student.main(arguments, folder).startswith("04_b.ipynb, cell 2 of 3: the solution that begins in line 3")
    assert {path.name: path.read_bytes() for path in (folder / "student").iterdir()} == before
    assert not (folder / "x.zip").exists()


def test_bundle_holds_what_a_student_needs(folder: Path) -> None:
    for file in ("new/a.zip", "b.zip"):
        student.main(["--zip", str(folder / file)], folder)
    assert (folder / "new/a.zip").read_bytes() == (folder / "b.zip").read_bytes()
    assert not (folder / "student").exists()
    with zipfile.ZipFile(folder / "b.zip") as archive:
        assert not archive.testzip()
        files = {name.removeprefix("fastflow-exercises/"): archive.read(name) for name in archive.namelist()}
    package = {name: files.pop(name) for name in list(files) if name.startswith("fastflow_lite/")}
    assert {"fastflow_lite/__init__.py", "fastflow_lite/backbones/resnet18_formulas.safetensors"} < set(package)
    assert not any(name.endswith(".pyc") for name in package)
    ours = ["LICENSE", "README.md", "images/a.png", "notebooks/03_a.ipynb", "notebooks/04_b.ipynb", "pyproject.toml"]
    assert sorted(files) == ours
    assert files["images/a.png"] == b"a picture"
    assert b"| 03_a.ipynb | 3.1 |\n| 04_b.ipynb | 4.1 |" in files["README.md"]
    assert "SECRET" not in json.dumps({name: data.decode() for name, data in files.items()})


# The committed ones --------------------------------------------------------------------------------------------


def test_committed_student_notebooks_are_up_to_date() -> None:
    complaint = student.main(["--check"])
    assert complaint is None, complaint


@pytest.mark.parametrize("path", COMMITTED, ids=lambda p: p.stem)
def test_committed_student_notebook_is_blank_and_compiles(path: Path) -> None:
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert not any(cell.outputs for cell in code)
    assert any("your turn: " in cell.source for cell in code)
    for number, cell in enumerate(code, 1):
        compile(cell.source, f"{path.name}, code cell {number}", "exec")


@pytest.mark.parametrize("path", COMMITTED, ids=lambda p: p.stem)
def test_committed_student_notebook_says_what_is_done(path: Path) -> None:
    assert sum("checks.summary()" in cell.source for cell in nbformat.read(path, as_version=4).cells[1:]) == 1


def test_a_summary_that_is_there_is_not_repeated() -> None:
    source = notebook(FUNCTION)
    source.cells[-1].source += "\nchecks.summary()"
    assert sum("checks.summary()" in text for text in sources(student.student_version(source, "x"))[1:]) == 1
