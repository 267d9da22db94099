"""What `make docs` makes of the code: rooms and their imports, reference, formulas. It does not run mkdocs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import build_site as site
import history_page
import pytest
import rooms
from history import Number, Record

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def test_the_drawing_has_the_imports_of_the_code_and_each_leads_down() -> None:
    edges = site.imports()
    assert list(edges) == [room for room in rooms.layers() if rooms.files(room)[0].exists()]
    assert {"flows", "backbones", "scoring"} <= edges["model"] and not edges["errors"]
    below = {room: set(list(edges)[number + 1 :]) for number, room in enumerate(edges)}
    assert all(edges[room] <= below[room] for room in edges)
    drawing = site.drawing(edges)
    assert drawing.count("<circle") == sum(map(len, edges.values())) and drawing.count("<rect") == len(edges)


def test_what_is_imported_for_types_alone_is_no_import() -> None:
    source = "from fastflow_lite.files import a\nif TYPE_CHECKING:\n    from fastflow_lite.model import FastFlow\n"
    assert site.imported(source + "def f():\n    import fastflow_lite.flows.steps\n") == {"files", "flows"}


def test_the_reference_has_every_file_and_every_public_name_a_docstring() -> None:
    pages = "".join(site.reference(room) for room in site.layers())
    files = [file for file in site.PACKAGE.rglob("*.py") if file.stem not in ("__init__", "__main__")]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    assert not [name for name in names if not re.search(rf"^::: {re.escape(name)}$", pages, re.MULTILINE)]
    for file in files:
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{file.name}: {node.name}"


def test_every_page_is_in_the_menu() -> None:
    menu = set(re.findall(r"- (docs/\S+\.md)$", (DOCS / "mkdocs.yml").read_text("utf-8"), re.MULTILINE))
    assert menu == {f"docs/{page.name}" for page in DOCS.glob("*.md")}


def test_formulas_become_mathml_and_code_stays() -> None:
    pytest.importorskip("latex2mathml")
    text = site.with_formulas("`$HOME` $x^2$\n```\necho $A $B\n```\n$$\na * b_i\n$$")
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in text and "`$HOME`" in text and "echo $A $B" in text
    assert '<span class="formula display"><math' in text and "*" not in text  # a sign of Markdown is a number
    for wrong in ("x^", r"\unknown{x}"):
        with pytest.raises(SystemExit, match=f"a formula cannot be read: {re.escape(wrong)}"):
            site.with_formulas(f"${wrong}$")


def made_up_records() -> list[Record]:
    """Two machines; the second record lacks a number that the others have."""
    values: list[dict[str, Number]] = [
        {"inference": Number(1.4, 0.02), "training memory": Number(900.0, 3.0)},
        {"training memory": Number(950.0, 3.0)},
        {"inference": Number(1.6, 0.02), "training memory": Number(800.0)},
    ]
    machines = ("one", "one", "two <b>")
    both = zip(machines, values, strict=True)
    return [Record("2026-01-01", f"abcdef{k}", machine, {}, found) for k, (machine, found) in enumerate(both)]


def test_the_page_of_benchmarks_draws_every_record_that_has_the_number() -> None:
    page = history_page.sections(made_up_records())
    names = ("inference", "training memory")
    speed, memory = (page.split(f'aria-label="{name} over')[1].split("</svg>")[0] for name in names)
    assert (speed.count("<circle"), memory.count("<circle")) == (2, 3)
    assert speed.count('class="line"') == 1, "a number that is a ratio is comparable between machines"
    assert memory.count('class="line"') == 1, "memory is not"
    assert "| inference | moved, better | 1.40 | 1.60 | +0.20 | 0.08 |" in page
    assert "two &lt;b&gt;" in speed and "Not measured in any record." in page
    assert "\n\n" not in page.split('<div class="history">')[1].split("</div>")[0], (
        "Markdown ends HTML at an empty line"
    )


def test_the_page_of_benchmarks_without_a_record_has_a_sentence() -> None:
    assert "There is no record yet." in history_page.sections([])


def test_a_larger_value_is_drawn_higher_and_one_record_alone_is_drawn() -> None:
    quantity = next(quantity for quantity in history_page.history.QUANTITIES if quantity.name == "inference")
    first, _, last = made_up_records()
    height = [float(y) for y in re.findall(r'cy="([\d.]+)"', history_page.panel(quantity, [first, last]))]
    assert history_page.TOP < height[1] < height[0] < history_page.BOTTOM
    assert history_page.panel(quantity, [first]).count("<circle") == 1
