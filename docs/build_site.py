"""Build the documentation as a site: pages, notebooks, names from docstrings, rooms from imports, records as drawings.

python docs/build_site.py [FOLDER]      default: build/site

Needs the extra `docs` and no network. The pages are copied into one tree as they lie here, so that their links are the
same on the site and in the repository. Fails on a link that leads nowhere and on a formula that cannot be drawn.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import history_page
from formulas import with_formulas
from notebook_pages import linked_to_pages, write_page

HERE = Path(__file__).parent
ROOT = HERE.parent
PACKAGE = ROOT / "fastflow_lite"
PAGES = (
    *(
        "*.md",
        "docs/*.md",
        "docs/*.css",
        "docs/*.js",
        "benchmarks/README.md",
        "benchmarks/pretrain/*.md",
        "data/*.md",
        "tests/*.md",
    ),
    *("notebooks/README.md", "notebooks/*.ipynb", "notebooks/teaching/*.md", "notebooks/images/*"),
)
IMPORTS = """
## The imports, drawn from the code

A line leads down from each room; a dot stands where it meets a room that the first one imports.

![The rooms and what each imports](rooms.svg)
"""


def layers() -> list[str]:
    """Return the rooms, top to bottom, in the order of the layers contract."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import rooms

    return [room for room in rooms.layers() if rooms.files(room)[0].exists()]


def imported(source: str) -> set[str]:
    r"""Return the rooms that a file of the package imports, where it does so for more than types.

    >>> sorted(imported("from fastflow_lite.flows import x\\nimport fastflow_lite.errors"))
    ['errors', 'flows']
    """
    found: set[str] = set()
    for node in ast.walk(_without_type_checking(ast.parse(source))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {name.split(".")[1] for name in names if name.startswith("fastflow_lite.")}
    return found


def _without_type_checking(tree: ast.Module) -> ast.Module:
    tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")]
    return tree


def room_files(room: str) -> list[Path]:
    """Return the files of a room, a package or a module."""
    return sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]


def imports() -> dict[str, set[str]]:
    """Return which rooms each room imports, top to bottom."""
    known = layers()
    return {
        room: {name for file in room_files(room) for name in imported(file.read_text("utf-8"))} & set(known) - {room}
        for room in known
    }


def drawing(edges: dict[str, set[str]]) -> str:
    """Return the rooms as an SVG: a box and a line down for each; a dot where the line meets a room that it imports."""
    rooms, step, left = list(edges), 30, 150
    place = {room: 24 + step * number for number, room in enumerate(rooms)}
    width = left + 26 * len(rooms)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {24 + step * len(rooms)}" role="img" '
        f'font-family="sans-serif" font-size="14" aria-label="The rooms and what each imports">'
    ]
    parts += [f'<path d="M136 {y}H{width - 8}" stroke="gray" stroke-opacity=".25"/>' for y in place.values()]
    for number, (room, below) in enumerate(edges.items()):
        x, top, color = left + 26 * number, place[room], f"hsl({(number * 47) % 360} 55% 42%)"
        parts.append(f'<g stroke="{color}"><title>{room} imports {", ".join(sorted(below)) or "nothing"}</title>')
        parts.append(f'<rect x="6" y="{top - 12}" width="130" height="24" rx="4" fill="none"/>')
        parts.append(f'<text x="71" y="{top + 5}" text-anchor="middle" fill="{color}" stroke="none">{room}</text>')
        if below:
            parts.append(f'<path d="M136 {top}H{x}V{max(place[name] for name in below)}" fill="none"/>')
            parts += [f'<circle cx="{x}" cy="{place[name]}" r="4" fill="{color}"/>' for name in sorted(below)]
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def public_modules(room: str) -> Iterator[str]:
    """Return the module of a room and the files in it that have a public name."""
    for file in room_files(room):
        parts = file.relative_to(ROOT).with_suffix("").parts
        if parts[-1] != "__main__":
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def reference(room: str) -> str:
    """Return the page of a room: mkdocstrings fills it from the docstrings."""
    blocks = [f"# {room}\n"]
    for module in public_modules(room):
        of_room = module == f"fastflow_lite.{room}"
        members = "\n    options:\n      members: false" if of_room and (PACKAGE / room).is_dir() else ""
        blocks.append(f"::: {module}{members}\n")
    return "\n".join(blocks)


def copy_pages(folder: Path) -> None:
    """Copy every page and what it shows, and write those that are made from the code."""
    for pattern in PAGES:
        for source in ROOT.glob(pattern):
            target = folder / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    (folder / "README.md").rename(folder / "index.md")
    for page in folder.rglob("*.md"):  # the start has another name on the site
        text = page.read_text("utf-8").replace("../README.md#", "../index.md#")
        text = linked_to_pages(text, page.parent)
        page.write_text(with_formulas(text, str(page.relative_to(folder))), encoding="utf-8")
    for notebook in (folder / "notebooks").glob("*.ipynb"):
        write_page(notebook)
    shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")
    (folder / "docs" / "rooms.svg").write_text(drawing(imports()), encoding="utf-8")
    page = folder / "docs" / "architecture.md"
    page.write_text(page.read_text("utf-8") + IMPORTS, encoding="utf-8")
    page = folder / "docs" / "benchmarks.md"
    page.write_text(page.read_text("utf-8") + history_page.of_repository(), encoding="utf-8")
    api = folder / "docs" / "api"
    api.mkdir()
    for room in layers():
        (api / f"{room}.md").write_text(reference(room), encoding="utf-8")


def configuration(pages: Path, site: Path) -> str:
    """Return mkdocs.yml with the folders, and the reference's pages in the order of the rooms."""
    text = (HERE / "mkdocs.yml").read_text("utf-8")
    names = "".join(f"      - docs/api/{room}.md\n" for room in layers())
    folders = f"docs_dir: {pages}\nsite_dir: {site}\n"
    return folders + text.replace("      - REFERENCE\n", names).replace("PACKAGE_FOLDER", str(ROOT))


def main(site: Path) -> int:
    """Build the site; return the exit status of mkdocs."""
    work = ROOT / "build" / "pages"
    shutil.rmtree(work, ignore_errors=True)
    (work / "docs").mkdir(parents=True)
    copy_pages(work)
    settings = ROOT / "build" / "mkdocs.yml"
    settings.write_text(configuration(work, site.resolve()), encoding="utf-8")
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--config-file", str(settings)]
    status = subprocess.run(build, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}).returncode
    if not status:
        print(f"The site: {site / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "site"))
