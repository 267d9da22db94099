"""A notebook as a page of the site: its text, its code, and the outputs that were committed with it."""

from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

from formulas import with_formulas

PICTURES = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg"}
LINK = re.compile(r"\]\((?P<path>[^)#\s]+)\.ipynb(?P<anchor>#[^)\s]*)?\)")


def write_page(notebook: Path) -> Path:
    """Write the page of a notebook beside it and its pictures in a folder of that name; return the page."""
    page = notebook.with_suffix(".md")
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    parts: list[str] = []
    section = notebook.stem
    for number, cell in enumerate(cells):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            section = (re.findall(r"^#+ +(.+)$", source, re.MULTILINE) or [section])[-1]
            parts.append(with_formulas(linked_to_pages(source, page.parent), f"{notebook.name}, cell {number}"))
        elif cell["cell_type"] == "code":
            parts.append(_code(cell, source))
            for place, output in enumerate(cell["outputs"]):
                picture = notebook.with_suffix("") / f"{number}_{place}"
                parts.append(_output(output, picture, f"A figure in the section: {section}"))
    title, _, text = parts[0].partition("\n")
    download = f"[Download this notebook]({notebook.name}){{ download }}"
    page.write_text("\n\n".join([title, download, text, *parts[1:]]) + "\n", encoding="utf-8")
    return page


def linked_to_pages(text: str, folder: Path) -> str:
    """Return a page of `folder` with the links to notebooks that exist leading to their pages."""

    def linked(match: re.Match[str]) -> str:
        if not (folder / f"{match['path']}.ipynb").exists():
            return match[0]
        return f"]({match['path']}.md{match['anchor'] or ''})"

    return LINK.sub(linked, text)


def _code(cell: dict[str, Any], source: str) -> str:
    """Return a code cell in a fence; one that Jupyter shows folded is folded here."""
    block = f"````python\n{source}\n````"
    if not cell["metadata"].get("jupyter", {}).get("source_hidden"):
        return block
    first = html.escape(source.splitlines()[0].lstrip("# "))
    return f'<details markdown="1"><summary>{first}</summary>\n\n{block}\n\n</details>'


def _output(output: dict[str, Any], picture: Path, alt: str) -> str:
    """Return an output: pictures become files, HTML and Markdown stay as they are, all else is a block of text."""
    data: dict[str, Any] = output.get("data", {})
    kind = next((kind for kind in PICTURES if kind in data), "")
    if "text/html" in data:
        return f'<div class="output">\n{"".join(data["text/html"])}\n</div>'
    if kind:
        return _picture("".join(data[kind]), kind, output["metadata"].get(kind, {}), picture, alt)
    if "text/markdown" in data:
        return with_formulas("".join(data["text/markdown"]))
    text = "".join(output.get("text") or output.get("traceback") or data.get("text/plain", ""))
    return f'<pre class="output">{html.escape(text.rstrip())}</pre>'


def _picture(content: str, kind: str, shown: dict[str, Any], picture: Path, alt: str) -> str:
    """Write a picture into a file; return its tag, with the size and the description that the notebook has."""
    file = picture.with_suffix(f".{PICTURES[kind]}")
    file.parent.mkdir(exist_ok=True)
    if kind == "image/svg+xml":
        file.write_text(content, encoding="utf-8")
        title = re.search(r"<title>(.*?)</title>", content, re.DOTALL)
        alt = html.unescape(title[1]) if title else alt
    else:
        file.write_bytes(base64.b64decode(content))
    sides = "".join(f' {side}="{shown[side]}"' for side in ("width", "height") if side in shown)
    source = f"{file.parent.name}/{file.name}"
    alt = html.escape(" ".join(shown.get("alt", alt).split()))
    return f'<div class="output"><img src="{source}" alt="{alt}"{sides} loading="lazy"></div>'
