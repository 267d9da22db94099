"""What `make docs` makes of the code: rooms and their imports, reference, formulas. It does not run mkdocs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import build_site as site
import pytest
import rooms

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
