"""Execute notebooks in place, top to bottom, and leave nothing in them but what a reader should see.

python notebooks/execute.py [NOTEBOOK ...]      default: all beside this file
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import nbformat
from first_cell import FOLDED
from nbclient import NotebookClient
from nbformat import NotebookNode

HERE = Path(__file__).parent
KEPT = {"tags", *FOLDED}


def execute(path: Path) -> None:
    """Run `path` in its own folder and write it back without times, widget state or machine details.

    What an earlier execution left in `runs/` goes first: its checkpoint would be continued instead of a training made.
    """
    shutil.rmtree(HERE / "runs" / path.stem, ignore_errors=True)
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=3600, kernel_name="python3", record_timing=False)
    client.execute(cwd=str(path.parent))
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in KEPT})
        if cell.cell_type == "code":
            cell.outputs = merge_streams(cell.outputs)
    nbformat.write(notebook, path)


def merge_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Lines that came in several messages as one output, as a live notebook shows them."""
    merged: list[NotebookNode] = []
    for output in outputs:
        if merged and output.output_type == merged[-1].output_type == "stream" and output.name == merged[-1].name:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


if __name__ == "__main__":
    for notebook_path in [Path(name) for name in sys.argv[1:]] or sorted(HERE.glob("*.ipynb")):
        print(f"executing {notebook_path.name}", flush=True)
        execute(notebook_path)
