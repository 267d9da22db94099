"""The first code cell of every notebook, kept here once: on Google Colab it installs the project, elsewhere nothing.

python notebooks/first_cell.py            put it into all notebooks beside this file, executed as their cell 1
python notebooks/first_cell.py --check    change nothing; exit 1 and name the notebooks that lack it or have another
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

HERE = Path(__file__).parent
TAG = "colab"
FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}  # in Lab and on Colab: nobody comes to read it
CELL = """
# On Google Colab: installs the project, leaves torch as it is, shows the GPU. Anywhere else: does nothing.
import os, subprocess, sys
if "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ:
    from importlib import metadata, util
    source = os.environ.get("FASTFLOW_LITE_SOURCE", "")  # a wheel, a folder, or git+https://... of the project
    assert source, "say where the project is: os.environ['FASTFLOW_LITE_SOURCE'] = 'git+https://...', then run again"
    kept = [f"{name}=={metadata.version(name)}" for name in ("torch", "torchvision") if util.find_spec(name)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", source, "matplotlib", "pandas", "ipywidgets", *kept]
    subprocess.run(pip, check=True)
    print(subprocess.run("nvidia-smi -L || echo no GPU", shell=True, capture_output=True, text=True).stdout)
""".strip()


def is_first(cell: NotebookNode) -> bool:
    return TAG in cell.metadata.get("tags", [])


def with_cell(notebook: NotebookNode) -> bool:
    """Put the cell before all other code, or set its text anew; whether anything changed."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if code and is_first(code[0]):
        changed = wrong(notebook)
        code[0].source, code[0].metadata = CELL, nbformat.from_dict({"tags": [TAG]} | FOLDED)
        return changed
    for cell in code:
        shift(cell)
    made = nbformat.v4.new_code_cell(CELL, execution_count=1, metadata={"tags": [TAG]} | FOLDED, id="first-cell")
    notebook.cells.insert(notebook.cells.index(code[0]) if code else len(notebook.cells), made)
    return True


def shift(cell: NotebookNode) -> None:
    """Count an executed cell one higher, in its results and tracebacks too."""
    if cell.execution_count is None:
        return
    cell.execution_count += 1
    for output in cell.outputs:
        if output.output_type == "execute_result":
            output.execution_count = cell.execution_count
        elif output.output_type == "error":
            output.traceback = [
                re.sub(r"In\[(\d+)\]", lambda found: f"In[{int(found[1]) + 1}]", line) for line in output.traceback
            ]


def wrong(notebook: NotebookNode) -> bool:
    """Whether the first code cell is another, or the tag is on more than one."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not code or sum(map(is_first, code)) != 1 or not is_first(code[0]):
        return True
    return code[0].source != CELL or any(code[0].metadata.get(name) != value for name, value in FOLDED.items())


def main(arguments: list[str] | None = None, folder: Path = HERE) -> str | None:
    """Do what the command line asks for; the complaint, or None."""
    check = "--check" in (sys.argv[1:] if arguments is None else arguments)
    complaints = []
    for path in sorted(folder.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        if check and wrong(notebook):
            complaints.append(f"{path.name} lacks the first cell, or has another: python notebooks/first_cell.py")
        elif not check and with_cell(notebook):
            nbformat.write(notebook, path)
            print(path.name)
    return "\n".join(complaints) or None


if __name__ == "__main__":
    sys.exit(main())
