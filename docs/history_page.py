"""The part of docs/benchmarks.md that is made from the records: the last one as a table, and a drawing of each number.

The drawings are SVG within the page, so that they take its colors, in the dark too, and follow the width of the window.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import history
from history import Quantity, Record

WIDTH, HEIGHT = 320, 170
LEFT, RIGHT, TOP, BOTTOM = 46, 306, 14, 140
LABELS = 5  # revisions that fit below a drawing
COLUMNS = ("number", "verdict", "last", "now", "change", "noise")  # a phone shows the first four


def of_repository() -> str:
    """Return the sections of the records in benchmarks/results/history.jsonl."""
    return sections(history.read())


def sections(records: Sequence[Record]) -> str:
    """Return the table of the last record and the drawings, as Markdown; a sentence where there is no record."""
    if not records:
        return "\n## The last record\n\nThere is no record yet.\n"
    last, before = records[-1], records[:-1]
    found = history.rows(history.compare(last, before))
    rows = [{name: row[name] for name in COLUMNS} for row in found]
    head = "| " + " | ".join(rows[0]) + " |\n" + "| --- " * len(rows[0]) + "|\n"
    table = head + "".join("| " + " | ".join(row.values()) + " |\n" for row in rows)
    panels = "\n".join(panel(quantity, records) for quantity in history.QUANTITIES)
    about = f"{history.described(last)}. " + (f"Compared with {history.described(before[-1])}." if before else "")
    listed = "".join(f"{number}. {history.described(record)}\n" for number, record in enumerate(records, 1))
    drawn = f'<div class="history">\n{panels}\n</div>\n\nThe records, from left to right:\n\n{listed}'
    return f"\n## The last record\n\n{about}\n\n{table}\n## Over all records\n\n{drawn}"


def panel(quantity: Quantity, records: Sequence[Record]) -> str:
    """Return the drawing of one number over all records, with its name, as one piece of HTML without an empty line."""
    better = "higher is better" if quantity.higher_is_better else "lower is better"
    caption = f"<figcaption><b>{escape(quantity.name)}</b><br>{escape(quantity.meaning)}; {better}</figcaption>"
    found = [(index, record) for index, record in enumerate(records) if quantity.name in record.numbers]
    if not found:
        return f"<figure>{caption}<p>Not measured in any record.</p></figure>"
    return f"<figure>{caption}{drawing(quantity, records, found)}</figure>"


def drawing(quantity: Quantity, records: Sequence[Record], found: Sequence[tuple[int, Record]]) -> str:
    """Return an SVG: a point a record, a bar of three standard errors to each side, a line within one machine."""
    numbers = {index: record.numbers[quantity.name] for index, record in found}
    reach = {index: history.DEVIATIONS * number.error for index, number in numbers.items()}
    low = min(number.value - reach[index] for index, number in numbers.items())
    high = max(number.value + reach[index] for index, number in numbers.items())
    room = 0.15 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - room, high + room
    step = (RIGHT - LEFT) / max(len(records), 1)

    def x(index: int) -> float:
        return round(LEFT + step * (index + 0.5), 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low), 1)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(quantity.name)} over all records">']
    for value in (low + (high - low) * share for share in (0.1, 0.5, 0.9)):
        parts.append(f'<path class="grid" d="M{LEFT} {y(value)}H{RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4}" text-anchor="end">{shown(quantity, value)}</text>')
    for (index, record), (other, after) in pairwise(found):
        if record.machine == after.machine or not quantity.of_machine:
            ends = f"M{x(index)} {y(numbers[index].value)}L{x(other)} {y(numbers[other].value)}"
            parts.append(f'<path class="line" d="{ends}"/>')
    for index, record in found:
        value, far = numbers[index].value, reach[index]
        title = f"{shown(quantity, value)}, {history.described(record)}"
        bar = f'<path class="error" d="M{x(index)} {y(value - far)}V{y(value + far)}"/>'
        point = f'<circle cx="{x(index)}" cy="{y(value)}" r="4"/>'
        parts.append(f"<g><title>{escape(title)}</title>{bar}{point}</g>")
    for index, record in enumerate(records):
        if index % -(-len(records) // LABELS) == 0 or index == len(records) - 1:
            name = escape((record.revision or "unknown")[:7])
            parts.append(f'<text x="{x(index)}" y="{BOTTOM + 20}" text-anchor="middle">{name}</text>')
    return "".join([*parts, "</svg>"])


def shown(quantity: Quantity, value: float) -> str:
    """Return a value with the decimals of its quantity."""
    return format(value, f".{quantity.digits}f")
