"""How long a notebook takes to work through, by section, in minutes.

python notebooks/time_of_reading.py NOTEBOOK          reading and working, without the computing
python notebooks/time_of_reading.py NOTEBOOK --run    run it too, and count the seconds of its cells

Words of prose are read at 200 a minute; formulas count by their parts. A code cell takes one minute. Exercises take the
minutes that they state, their cells included.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

WORDS_A_MINUTE = 200
START = "title and set-up"  # what stands before the first section
SECTION = re.compile(r"^## +(.+)$", re.MULTILINE)
WORD = re.compile(r"\S*\w\S*")
TIME_BOX = re.compile(r"^\*\*\w+\.\d · [^*]+\*\* \((\d+) min", re.MULTILINE)


def minutes(notebook: NotebookNode, seconds: Sequence[float] = ()) -> dict[str, float]:
    """Return section -> minutes; `seconds` are those that each cell computes."""
    found, section, boxed = {START: 0.0}, START, False
    for cell in notebook.cells:
        if cell.cell_type == "code":
            found[section] += not boxed
            continue
        before, *rest = SECTION.split(cell.source)
        for title, text in ((section, before), *zip(rest[::2], rest[1::2], strict=True)):
            boxes = [int(box) for box in TIME_BOX.findall(text)]
            boxed = bool(boxes) or (boxed and title == section)  # until the next section, cells are in a time box
            section = title
            found[section] = found.get(section, 0.0) + len(WORD.findall(text)) / WORDS_A_MINUTE + sum(boxes)
    return found | ({"computing": sum(seconds) / 60} if seconds else {})


def table(notebook: NotebookNode, seconds: Sequence[float] = ()) -> str:
    """Return the rows of a Markdown table in whole minutes, and their sum; sections of less than half a minute go."""
    rounded = {section: round(spent) for section, spent in minutes(notebook, seconds).items()}
    rows = {section: spent for section, spent in rounded.items() if spent} | {"sum": sum(rounded.values())}
    return "\n".join(f"| {name} | {spent} |" for name, spent in rows.items())


def seconds_of_cells(notebook: NotebookNode, folder: Path) -> list[float]:
    """Run a notebook in `folder` and return the seconds of its code cells."""
    NotebookClient(notebook, timeout=3600, kernel_name="python3").execute(cwd=str(folder))
    times = [cell.metadata["execution"] for cell in notebook.cells if cell.cell_type == "code"]
    spans = [(t["iopub.execute_input"], t["shell.execute_reply"]) for t in times]
    begins_ends = [[datetime.fromisoformat(moment) for moment in span] for span in spans]
    return [(end - begin).total_seconds() for begin, end in begins_ends]


def main(arguments: list[str] | None = None) -> None:
    """Print the table of a notebook."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--run", action="store_true", help="run it in its folder, and count the time of its cells")
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    notebook = nbformat.read(options.notebook, as_version=4)
    seconds = seconds_of_cells(notebook, options.notebook.parent) if options.run else []
    print("| section | minutes |\n| --- | --- |\n" + table(notebook, seconds))


if __name__ == "__main__":
    main()
