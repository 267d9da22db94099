"""The rooms of the package, top to bottom: lines of each that are not blank, and those of the core.

    python benchmarks/rooms.py

The order is that of the layers contract in pyproject.toml: a room imports only from rooms below it.
"""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fastflow_lite"
CORE = ("training", "model", "config", "backbones", "scoring", "flows")  # flows without flows/fast
CORE_LIMIT = 3_800  # lines


def layers() -> list[str]:
    """Return the rooms in the order of the layers contract."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    names: list[str] = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [name.strip("()") for name in names]


def files(room: str) -> list[Path]:
    """Return the Python files of a room, a package or a module."""
    return sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]


def lines(paths: list[Path]) -> int:
    """Count the lines of files that are not blank: code, comments and docstrings."""
    return sum(bool(line.strip()) for path in paths for line in path.read_text(encoding="utf-8").splitlines())


def core_lines() -> int:
    """Count the lines of the core."""
    return sum(lines([path for path in files(room) if "fast" not in path.parts]) for room in CORE)


def purpose(room: str) -> str:
    """Return the first sentence of a room's docstring."""
    place = PACKAGE / room / "__init__.py"
    source = place if place.exists() else PACKAGE / f"{room}.py"
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).split(". ")[0].rstrip(".")


def main() -> None:
    """Print the table."""
    rows = [(room, files(room)) for room in layers() if files(room)[0].exists()]
    print("| room | files | lines | what it is for |\n| --- | --- | --- | --- |")
    for room, paths in rows:
        print(f"| {room} | {len(paths)} | {lines(paths)} | {purpose(room)} |")
    print(f"\nAll: {sum(lines(paths) for _, paths in rows)} lines. The core (flows without fast/, backbones, scoring, ")
    print(f"config, model, training): {core_lines()} lines, at most {CORE_LIMIT}.")


if __name__ == "__main__":
    main()
