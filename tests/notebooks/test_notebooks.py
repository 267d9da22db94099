"""Notebooks: fit to be committed, and true when they are run again."""

import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import student
from forked_kernel import Kernels, execute
from jupyter_client.blocking.client import BlockingKernelClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
PATHS = re.compile(r"(?<![\w.])(/(home|root|tmp|work|Users|usr|opt|mnt)/|[A-Z]:\\)")
TIMES = re.compile(r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d")
KILOBYTE = 1024

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def lint(notebook: nbformat.NotebookNode) -> list[str]:
    """Everything that is wrong with a notebook, as sentences."""
    wrong, cells = [], code_cells(notebook)
    if [cell.execution_count for cell in cells] != list(range(1, len(cells) + 1)):
        wrong.append("was not executed top to bottom, once")
    if sum("parameters" in cell.metadata.get("tags", []) for cell in cells) != 1:
        wrong.append("must have one cell tagged parameters")
    if statistics.median(len(cell.source.splitlines()) for cell in cells) > 7:
        wrong.append("cells are too long: their median is above 7 lines")
    if "widgets" in notebook.metadata:
        wrong.append("holds widget state")
    for number, cell in enumerate(cells, 1):
        wrong += [f"cell {number} {what}" for what in lint_cell(cell)]
    if sum("nbval-skip" in cell.metadata.get("tags", []) for cell in cells) > 2:
        wrong.append("skips more than two cells under nbval")
    return wrong


def lint_cell(cell: nbformat.NotebookNode) -> list[str]:
    wrong, tags = [], cell.metadata.get("tags", [])
    if "nbval-check-output" in tags and not cell.outputs:
        wrong.append("promises its output, and has none")
    if "raises-exception" in tags and not any(o.output_type == "error" for o in cell.outputs):
        wrong.append("is tagged raises-exception, and raised none")
    if re.search(r"#\s*NBVAL_\w+[ \t]+\S", cell.source):
        wrong.append("has an NBVAL marker with words behind it, which nbval ignores")
    allowed = {"tags", "jupyter", "cellView"} if "colab" in tags else {"tags"}  # the first cell is folded
    if set(cell.metadata) - allowed:
        wrong.append(f"has metadata {sorted(set(cell.metadata) - allowed)}")
    text = "\n".join(_texts(cell.outputs))
    if PATHS.search(text) or PATHS.search(cell.source):
        wrong.append("names a place of some machine")
    if TIMES.search(text):
        wrong.append("prints a time stamp")
    if any(o.output_type == "stream" and o.name == "stderr" for o in cell.outputs):
        wrong.append("prints to stderr")
    if any(o.output_type == "error" for o in cell.outputs) and "raises-exception" not in tags:
        wrong.append("ended in an error")
    return wrong


def _texts(outputs: list) -> list[str]:
    return [o.get("text", "") for o in outputs] + [
        str(value) for o in outputs for kind, value in o.get("data", {}).items() if kind.startswith("text/")
    ]


EXERCISE = re.compile(r"^\*\*(\w+\.\d) · [^*]+\*\* \(\d+ min, (easy|medium|hard), \d+ lines?[\w ]*\)", re.MULTILINE)


@each
def test_exercises_say_how_long_how_hard_and_how_much(path: Path) -> None:
    """Two to four, from warm-up to stretch, each with a time box, a difficulty, a length and a folded hint."""
    prose = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    told = {found[1]: (found[2], source) for source in prose for found in EXERCISE.finditer(source)}
    code = "\n".join(cell.source for cell in code_cells(nbformat.read(path, as_version=4)))
    assert list(told) == [judged[2] for judged in student.JUDGE.finditer(code)]
    assert 2 <= len(told) <= 4 and all("<details><summary>Hint</summary>" in source for _, source in told.values())
    hardness = [("easy", "medium", "hard").index(level) for level, _ in told.values()]
    assert hardness == sorted(hardness) and len(set(hardness)) > 1


@each
def test_every_list_names_it(path: Path) -> None:
    folder = NOTEBOOKS[0].parent
    assert f"](notebooks/{path.name})" in (folder.parent / "README.md").read_text(encoding="utf-8")
    assert f"]({path.name})" in (folder / "README.md").read_text(encoding="utf-8")
    assert (folder / "teaching" / f"{path.stem.partition('_')[0]}.md").exists()


@each
def test_is_fit_to_be_committed(path: Path) -> None:
    assert not lint(nbformat.read(path, as_version=4))
    assert path.stat().st_size < 600 * KILOBYTE


def faulty(change: str) -> nbformat.NotebookNode:
    """A clean notebook with one fault."""
    cells = [nbformat.v4.new_code_cell(f"x = {k}", execution_count=k) for k in (1, 2)]
    cells[0].metadata["tags"] = ["parameters"]
    notebook = nbformat.v4.new_notebook(cells=cells)
    exec(change, {"nb": notebook, "cell": cells[1], "new_output": nbformat.v4.new_output})
    return notebook


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("pass", None),
        ("cell.execution_count = 7", "top to bottom"),
        ("cell.execution_count = None", "top to bottom"),
        ("cell.metadata['tags'] = ['parameters']", "one cell tagged parameters"),
        ("cell.metadata['tags'] = ['nbval-check-output']", "has none"),
        ("cell.metadata['tags'] = ['raises-exception']", "raised none"),
        ("cell.metadata['papermill'] = {}", "metadata"),
        ("cell.source = '# NBVAL_SKIP because slow'", "words behind"),
        ("cell.source = 'open(\"/home/me/x\")'", "some machine"),
        ("cell.outputs = [new_output('stream', text='at /tmp/x/y')]", "some machine"),
        ("cell.outputs = [new_output('stream', text='2026-01-02 03:04')]", "time stamp"),
        ("cell.outputs = [new_output('stream', name='stderr', text='!')]", "stderr"),
        ("cell.outputs = [new_output('error', ename='E', evalue='', traceback=[])]", "an error"),
        ("cell.source = '\\n'.join('abcdefghijklmnopqrst')", "too long"),
        ("nb.metadata['widgets'] = {}", "widget state"),
    ],
)
def test_lint_sees_each_fault(change: str, sentence: str | None) -> None:
    wrong = lint(faulty(change))
    assert bool(wrong) == bool(sentence), wrong
    assert sentence is None or any(sentence in said for said in wrong), wrong


def unsolved_first(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """`notebook` with each exercise as a student finds it, "not started", before its solution.

    A student's notebook differs from its source in the solutions only, so one run sees both.
    """
    cells, segment = [], []
    for k, cell in enumerate(notebook.cells):
        segment.append(cell)
        if not any(student.MARKER.match(line) for one in segment for line in one.source.split("\n")):
            cells, segment = [*cells, *segment], []
        elif cell.cell_type == "code" and (judged := student.JUDGE.search(cell.source)):
            cells, segment = [*cells, *(as_found(one, judged[2]) for one in segment), *segment], []
        assert not segment or k + 1 < len(notebook.cells), "a solution that nothing judges"
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)


def as_found(cell: nbformat.NotebookNode, exercise: str) -> nbformat.NotebookNode:
    """A cell of `exercise` without its solution; one that judges promises to say "not started"."""
    if cell.cell_type != "code":
        return nbformat.v4.new_markdown_cell(cell.source)
    source = student.blank(cell, exercise, "").replace("checks.summary()", "")
    found = nbformat.v4.new_code_cell(source, execution_count=1)
    if student.JUDGE.search(cell.source):
        found.metadata["tags"] = ["nbval-check-output"]
        found.outputs = [nbformat.v4.new_output("stream", text=f"{exercise} not started\n")]
    return found


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Kernels]:
    """All workers of a run make their kernels from one process."""
    folder = tmp_path_factory.getbasetemp()
    starter = Kernels((folder.parent if hasattr(request.config, "workerinput") else folder) / "kernels")
    yield starter
    starter.close()


FAST = {"FASTFLOW_LITE_FAST": "1"}


def faults(client: BlockingKernelClient, notebook: nbformat.NotebookNode) -> list[str]:
    """What goes wrong when the cells run again, as sentences: asserts decide, and the outputs that cells promise."""
    wrong = []
    for number, cell in enumerate(code_cells(notebook), 1):
        tags, outputs = cell.metadata.get("tags", []), execute(client, cell.source)
        errors = [output for output in outputs if output.output_type == "error"]
        if errors and "raises-exception" not in tags:
            wrong.append(f"cell {number} raises:\n" + "\n".join(errors[0].traceback))
        if not errors and "raises-exception" in tags:
            wrong.append(f"cell {number} is tagged raises-exception, and raises none")
        if "nbval-check-output" in tags and (shown := _shown(outputs)) != (promised := _shown(cell.outputs)):
            wrong.append(f"cell {number} promises {promised}, shows {shown}")
    return wrong


def _shown(outputs: list) -> dict[str, str]:
    """Outputs by their kind, the pieces of a stream joined; errors by name and message."""
    shown: dict[str, str] = {}
    for output in outputs:
        pieces = {"stream": lambda o: {o.name: o.text}, "error": lambda o: {o.ename: o.evalue}}
        for kind, text in pieces.get(output.output_type, lambda o: o.data)(output).items():
            shown[kind] = shown.get(kind, "") + str(text)
    return shown


@each
def test_runs_again_and_its_asserts_hold(path: Path, tmp_path: Path, kernels: Kernels) -> None:
    """In its fast form, its exercises both unsolved and solved."""
    notebook = unsolved_first(nbformat.read(path, as_version=4))
    with kernels.start(tmp_path, FAST) as client:
        wrong = faults(client, notebook)
    assert not wrong, "\n".join(wrong)


def test_faults_of_a_run_are_seen(tmp_path: Path, kernels: Kernels) -> None:
    """Each of them, also behind another; a stream that comes in pieces is as good as whole."""
    notebook = nbformat.v4.new_notebook()
    output = nbformat.v4.new_output
    for source, tags, outputs in [
        ("import sys, pathlib\nassert __name__ == '__main__' and pathlib.Path('connection.json').exists()", [], []),
        ("assert 1 > 2, 'not larger'", [], []),
        ("1 / 0", ["raises-exception"], []),
        ("1 / 1", ["raises-exception"], []),
        ("print('a')\nsys.stdout.flush()\nprint('b')", ["nbval-check-output"], [output("stream", text="a\nb\n")]),
        ("print('a')", ["nbval-check-output"], [output("stream", text="b\n")]),
        ("'a'", ["nbval-check-output"], [output("stream", text="a")]),
        ("'a'", ["nbval-check-output"], [output("execute_result", data={"text/plain": "'a'"})]),
        ("input()", [], []),
    ]:
        notebook.cells.append(nbformat.v4.new_code_cell(source, metadata={"tags": tags}, outputs=outputs))
    with kernels.start(tmp_path, FAST) as client:
        wrong = faults(client, notebook)
    assert [re.match(r"cell (\d+) (\w+)", fault).groups() for fault in wrong] == [
        ("2", "raises"), ("4", "is"), ("6", "promises"), ("7", "promises"), ("9", "raises"),
    ]  # fmt: skip
    assert "not larger" in wrong[0] and "input" in wrong[-1]


@pytest.mark.long
def test_one_passes_nbval_with_a_kernel_of_jupyter(tmp_path: Path) -> None:
    """The kernels of the other tests are copies of one process; this is started as a reader's is."""
    path = next(path for path in NOTEBOOKS if path.stem.startswith("14"))
    run = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-cell-timeout=300", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*run, "-c", os.devnull, "--rootdir", tmp_path, path],
        cwd=tmp_path,
        env=os.environ | FAST | {"PYTHONWARNINGS": "default"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(rf"\b{len(code_cells(nbformat.read(path, as_version=4)))} passed", done.stdout), done.stdout[-400:]
