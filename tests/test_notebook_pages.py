"""The notebooks as pages of the site: formulas, links, outputs, the menu. It does not run mkdocs."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path

import notebook_pages
import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def texts(notebook: Path) -> str:
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def write(folder: Path, *cells: dict[str, object]) -> str:
    notebook = folder / "01_a.ipynb"
    notebook.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return notebook_pages.write_page(notebook).read_text("utf-8")


def markdown(text: str) -> dict[str, object]:
    return {"cell_type": "markdown", "source": [text]}


def code(source: str, *outputs: dict[str, object], **metadata: object) -> dict[str, object]:
    return {"cell_type": "code", "source": [source], "metadata": metadata, "outputs": outputs}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_dollars_are_paired_in_each_paragraph_and_links_lead_to_files(notebook: Path) -> None:
    for paragraph in CODE.sub("", texts(notebook)).split("\n\n"):
        assert not paragraph.replace("$$", "").count("$") % 2 and not paragraph.count("$$") % 2, paragraph
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", texts(notebook)))]
    assert not [link for link in links if ":" not in link and not (notebook.parent / link).exists()]


def test_every_notebook_becomes_a_page_without_a_dollar_and_its_pictures_exist(tmp_path: Path) -> None:
    pytest.importorskip("latex2mathml", reason="formulas need it: pip install -e .[docs]")
    for notebook in NOTEBOOKS:
        shutil.copyfile(notebook, tmp_path / notebook.name)
    for notebook in NOTEBOOKS:
        page = notebook_pages.write_page(tmp_path / notebook.name).read_text("utf-8")
        text = re.sub(r"````python\n.*?\n````|<script>.*?</script>|<pre.*?</pre>", "", page, flags=re.DOTALL)
        assert "$" not in CODE.sub("", text), notebook.name
        formulas = re.findall(r"\$\$[^$]+\$\$|\$[^$]+\$", CODE.sub("", texts(notebook)))
        assert page.count("<math ") == len(formulas), notebook.name
        pictures = re.findall(r'<img src="(?!data:)([^"]+)" alt="[^"]+"', page)
        assert all((tmp_path / picture).stat().st_size for picture in pictures)
        assert f"]({notebook.name}){{ download }}" in page and page.count(".ipynb)") == 1, notebook.name


def test_the_menu_has_the_notebooks_in_the_order_of_the_course() -> None:
    menu = re.findall(r"- notebooks/(\w+)\.md$", (ROOT / "docs" / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    course = re.findall(
        r"^\| \[\w+\]\((\w+)\.ipynb\)", (ROOT / "notebooks" / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert [name for name in menu if name != "README"] == course == [path.stem for path in NOTEBOOKS]


def test_outputs_become_blocks_of_text_html_and_files(tmp_path: Path) -> None:
    image = base64.b64encode(b"pixels").decode()
    page = write(
        tmp_path,
        markdown("# 01 · A\n\nSee [itself](01_a.ipynb#b) and [none](02_b.ipynb)."),
        code("print('$A $B <b>')", {"output_type": "stream", "text": ["$A $B <b>\n"]}),
        code("figure", {"data": {"image/png": image, "text/plain": ""}, "metadata": {"image/png": {"alt": 'A "map"'}}}),
        code("drawing", {"data": {"image/svg+xml": ["<svg><title>A box</title></svg>"]}, "metadata": {}}),
        code("table", {"data": {"text/html": "<table></table>", "text/plain": "a"}, "metadata": {}}),
        code("# Set-up\nx", jupyter={"source_hidden": True}),
    )
    assert page.startswith("# 01 · A\n\n[Download this notebook](01_a.ipynb){ download }\n\n")
    assert "[itself](01_a.md#b)" in page and "[none](02_b.ipynb)" in page
    assert "````python\nprint('$A $B <b>')\n````" in page and '<pre class="output">$A $B &lt;b&gt;</pre>' in page
    assert 'src="01_a/2_0.png" alt="A &quot;map&quot;"' in page and 'src="01_a/3_0.svg" alt="A box"' in page
    assert (tmp_path / "01_a" / "2_0.png").read_bytes() == b"pixels"
    assert '<div class="output">\n<table></table>\n</div>' in page and "<summary>Set-up</summary>" in page


def test_a_formula_that_cannot_be_read_is_named_with_its_notebook(tmp_path: Path) -> None:
    pytest.importorskip("latex2mathml")
    with pytest.raises(SystemExit, match=r"01_a\.ipynb, cell 0: a formula cannot be read: \\nothing x"):
        write(tmp_path, markdown("# 01 · A\n\n$$\\nothing x$$"))
