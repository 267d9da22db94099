"""Student notebooks: every notebook with exercises, without its solutions and outputs.

python notebooks/student.py               write notebooks/student/ anew
python notebooks/student.py --check       change nothing; exit 1 and name the files that are not what they should be
python notebooks/student.py --zip FILE    write a bundle to hand out instead

A solution stands in a function, between the lines `### BEGIN SOLUTION` and `### END SOLUTION`. What is between
them becomes `raise NotImplementedError("your turn: 3.1")`, named after the next `checks.judge("3.1", ...)`.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import zipfile
from collections.abc import Container
from pathlib import Path

from fastflow_lite.batch.quick_import import without_grammar

with without_grammar():
    import nbformat
    from nbformat import NotebookNode

HERE = Path(__file__).parent
# Looser than what authors are told, so that a slip of the pen does not hand out a solution.
MARKER = re.compile(r"^([ \t]*)#+[ \t]*(BEGIN|END)[ \t]+SOLUTION\b", re.IGNORECASE)
JUDGE = re.compile(r"""\bjudge\(\s*(["'])(.+?)\1""")
LINK = re.compile(r"""(\]\(|\b(?:src|href)=["'])([^)\s"']+)""")

TOP = """> **Student version**, made from `{name}`. Each exercise has a function that says `your turn`: write it, then
> run the check below it. Run `checks.summary()` in a new cell to see which exercises are done."""

SUMMARY = """from fastflow_lite.course import checks
checks.summary()"""

README = """# Exercises

Open a notebook of `notebooks/` with JupyterLab:

    .venv/bin/jupyter lab notebooks

Unfinished exercises say "not started", so every notebook runs from top to bottom before you have written a line. A
wrong answer stops at its check, with a sentence that says what is wrong.

| notebook | exercises |
| --- | --- |
{rows}

**Before the course, with a network.** You need Python 3.11 or newer. In this folder, which holds the package too:

    python -m venv .venv
    .venv/bin/pip install -e ".[notebooks]"

(On Windows it is `.venv\\Scripts\\pip`.) This should then print nothing:

    .venv/bin/python -c "import fastflow_lite, jupyterlab"

**In the room, without one.** With the parameters as they are, nothing is downloaded: images are drawn from formulas
and weights come with the package. What a notebook writes goes to `notebooks/runs/`.
"""


class MarkerError(ValueError):
    """A solution that cannot be taken out. The message names notebook and cell."""


def has_solutions(notebook: NotebookNode) -> bool:
    return any(MARKER.match(line) for cell in notebook.cells for line in cell.source.split("\n"))


def student_version(notebook: NotebookNode, name: str) -> NotebookNode:
    """The notebook `name` for students. Leaves `notebook` as it is."""
    cells = [NotebookNode(cell) for cell in notebook.cells]
    for k, cell in enumerate(cells):
        where = f"{name}.ipynb, cell {k + 1} of {len(cells)}"
        cell.source = blank(cell, exercise_after(cells[k:]), where)
        others = {name: value for name, value in cell.metadata.items() if name != "tags"}
        cell.metadata = others | ({"tags": tags} if (tags := kept_tags(cell)) else {})
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    cells.insert(0, nbformat.v4.new_markdown_cell(TOP.format(name=name)))
    if not any(cell.cell_type == "code" and "checks.summary()" in cell.source for cell in cells):
        cells.append(nbformat.v4.new_code_cell(SUMMARY))
    for k, cell in enumerate(cells):
        cell.id = f"cell-{k}"  # by place: the random ones of the source change when it is built anew
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)


def kept_tags(cell: NotebookNode) -> list[str]:
    """All but the promise of an output, because outputs are dropped."""
    return [tag for tag in cell.metadata.get("tags", []) if tag != "nbval-check-output"]


def exercise_after(cells: list[NotebookNode]) -> str | None:
    """The name of the first exercise that is judged in `cells`."""
    found = (JUDGE.search(cell.source) for cell in cells if cell.cell_type == "code")
    return next((match[2] for match in found if match), None)


def blank(cell: NotebookNode, exercise: str | None, where: str) -> str:
    """The source of `cell` with a stub for each solution, or MarkerError."""
    lines, stubs, began = [], [], None
    for number, line in enumerate(cell.source.split("\n"), 1):
        marker = MARKER.match(line)
        if marker and (marker[2].upper() == "BEGIN") != (began is None):
            raise MarkerError(f"{where}: line {number}, {line.strip()!r}, has no partner before it")
        if marker and began is None:
            began = number
            lines.append(f'{marker[1]}raise NotImplementedError("your turn: {exercise}")')
            stubs.append(len(lines))
        elif marker:
            began = None
        elif began is None:
            lines.append(line)
    if began is not None:
        raise MarkerError(f"{where}: the solution that begins in line {began} has no '### END SOLUTION'")
    if stubs:
        must_run("\n".join(lines), stubs, cell.cell_type, exercise, where)
    return "\n".join(lines)


def must_run(source: str, stubs: list[int], kind: str, exercise: str | None, where: str) -> None:
    """MarkerError where the student's cell would not compile, or would raise before it is judged."""
    if kind != "code":
        raise MarkerError(f"{where}: a solution in a {kind} cell; only code cells are made blank")
    if exercise is None:
        raise MarkerError(f"{where}: no checks.judge(...) follows this solution, so its exercise has no name")
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError as error:
        raise MarkerError(f"{where}: without its solution the cell does not compile: {error}") from error
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    if not all(any(f.lineno < stub <= (f.end_lineno or 0) for f in functions) for stub in stubs):
        raise MarkerError(f"{where}: a solution outside a function would stop the notebook; mark the function's body")


def student_versions(folder: Path) -> dict[str, str]:
    """File name -> text of every student notebook that the notebooks of `folder`, such as `06b_name.ipynb`, ask for."""
    read = {path.name: nbformat.read(path, as_version=4) for path in sorted(folder.glob("*_*.ipynb"))}
    read = {name: notebook for name, notebook in read.items() if has_solutions(notebook)}
    made = {}
    for name, notebook in read.items():
        version = student_version(notebook, Path(name).stem)
        for cell in version.cells:
            if cell.cell_type == "markdown":
                cell.source = LINK.sub(lambda link: link[1] + from_below(link[2], folder, read), cell.source)
        made[name] = nbformat.writes(version) + "\n"
    return made


def from_below(target: str, folder: Path, students: Container[str]) -> str:
    """A link from a notebook of `folder`, as it must be one folder deeper. Students link to each other."""
    file = target.partition("#")[0]
    return f"../{target}" if file and file not in students and (folder / file).is_file() else target


def drifted(folder: Path, made: dict[str, str]) -> list[str]:
    """What in `folder` differs from `made`, one sentence each: `05_x.ipynb is missing`."""
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.ipynb")}
    return sorted(
        [f"{name} is missing" for name in made.keys() - there.keys()]
        + [f"{name} has no source with exercises" for name in there.keys() - made.keys()]
        + [f"{name} is not what its source makes" for name in made.keys() & there.keys() if made[name] != there[name]]
    )


def write(folder: Path, made: dict[str, str]) -> None:
    """`made` into `folder`; notebooks that nothing asks for any more go."""
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.ipynb"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def bundle(file: Path, folder: Path, made: dict[str, str]) -> None:
    """A zip of README, the package, notebooks and the pictures they show from `folder`.

    The same bytes for the same content.
    """
    files = {"README.md": readme(made).encode()} | package()
    for name, text in made.items():
        files[f"notebooks/{name}"] = text.encode()
        shown = re.findall(r"\.\./(images/[\w./-]+\w)", text)
        files |= {picture: (folder / picture).read_bytes() for picture in shown}
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"fastflow-exercises/{name}")  # dated 1980, whenever it is made
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, files[name])


def package() -> dict[str, bytes]:
    """Name -> content of every file that installing the package needs, but for its README: the bundle has its own."""
    project = HERE.parent
    inside = (path for path in (project / "fastflow_lite").rglob("*") if path.is_file())
    wanted = [project / "pyproject.toml", project / "LICENSE", *(p for p in inside if p.suffix != ".pyc")]
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in wanted}


def readme(made: dict[str, str]) -> str:
    rows = []
    for name, text in made.items():
        names = dict.fromkeys(re.findall(r'NotImplementedError\(\\"your turn: ([^\\"]+)', text))
        rows.append(f"| {name} | {', '.join(names)} |")
    return README.format(rows="\n".join(rows))


def main(arguments: list[str] | None = None, folder: Path = HERE) -> str | None:
    """Do what `arguments` ask for. The complaint, or None when all is well: both as sys.exit takes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="exit 1 and name what drifted; change nothing")
    what.add_argument("--zip", type=Path, metavar="FILE", help="write a bundle to hand out, nothing else")
    options = parser.parse_args(arguments)
    try:
        made = student_versions(folder)
    except MarkerError as error:
        return str(error)
    if options.check:
        wrong = drifted(folder / "student", made)
        return "\n".join([*wrong, "`make student` writes them anew"]) if wrong else None
    if options.zip:
        bundle(options.zip, folder, made)
    else:
        write(folder / "student", made)
    print(f"{len(made)} student notebooks: {', '.join(made) or 'no notebook has solutions'}")
    return None


if __name__ == "__main__":
    sys.exit(main())
