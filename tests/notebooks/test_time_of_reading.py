"""The time that a notebook takes: counted as stated, and an hour for the notebook that promises an hour."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
import time_of_reading
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

SCRIPT = Path(__file__).parents[2] / "notebooks" / "time_of_reading.py"
HOUR = SCRIPT.parent / "00_in_one_hour.ipynb"
COMPUTING = 2  # minutes, as the notebook states


def notebook(*cells: str) -> NotebookNode:
    """A notebook of code cells where a text begins with `>`, else of markdown cells."""
    return new_notebook(cells=[new_code_cell(c[1:]) if c[0] == ">" else new_markdown_cell(c) for c in cells])


def test_words_cells_and_seconds_are_counted_by_section() -> None:
    made = notebook("word " * 100, ">1", ">2", "end\n\n## 1 · A title\n\n" + "word " * 400, ">3")
    found = time_of_reading.minutes(made, seconds=[30, 45, 15])
    assert found == {"title and set-up": pytest.approx(2.505), "1 · A title": 3.0, "computing": 1.5}


def test_a_time_box_stands_for_the_cells_of_its_exercise() -> None:
    box = "**0.1 · Name** (7 min, easy, 1 line)."
    made = notebook("## Exercises\n\n" + box, ">1", ">2", box.replace("0.1", "0.2"), ">3", "## References", ">4")
    found = time_of_reading.minutes(made)
    assert found["Exercises"] == pytest.approx(14 + 14 / 200) and found["References"] == 1.0


def test_the_hour_is_an_hour_and_its_table_is_what_is_counted() -> None:
    hour = nbformat.read(HOUR, as_version=4)
    assert sum(time_of_reading.minutes(hour).values()) + COMPUTING <= 60
    title = hour.cells[0].source
    assert time_of_reading.table(hour) in title, "write the rows of python notebooks/time_of_reading.py into cell 1"
    assert f"{COMPUTING} minutes of computing" in title
