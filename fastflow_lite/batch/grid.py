"""What a batch is made of: a notebook, a grid of its parameters, and one folder with a state for each run."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastflow_lite.errors import DataError
from fastflow_lite.files import write_atomically

OUT_DIR = "out_dir"  # the parameter that a batch sets itself
STATE = "run.json"
HIDDEN = ".batch"  # beside the runs: locks, and the last finished run that another notebook took the place of
LONGEST = 120  # characters of a run's name; file systems end at 255 bytes
QUOTED = r"""(?:[^"']|"[^"]*"|'[^']*')*"""  # text in which every quote ends
WORDS = {"True": True, "true": True, "False": False, "false": False, "None": None}


@dataclass(frozen=True)
class Notebook:
    """A notebook as JSON without its outputs. `sha256` covers code cells only: prose may change, results stay."""

    path: Path
    content: str = field(repr=False)
    sha256: str
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """One run, as it travels to a worker. Paths below `out` (absolute) are the batch's own.

    `shown` is the run's folder as the caller wrote it: what the notebook sees, so that no path of this machine
    ends up in it. `identity` tells whether a state on disk is that of this run.
    """

    name: str
    parameters: dict[str, Any]
    notebook: Notebook = field(repr=False)
    out: Path
    shown: Path
    cwd: Path
    threads: int | None
    batch: str

    @property
    def folder(self) -> Path:
        return self.out / self.name

    @property
    def lock(self) -> Path:
        return self.out / HIDDEN / "locks" / self.name

    @property
    def previous(self) -> Path:
        return self.out / HIDDEN / "previous" / self.name

    @property
    def executed(self) -> Path:
        return self.folder / self.notebook.path.name

    @property
    def identity(self) -> dict[str, str]:
        return {"parameters_sha256": sha256(self.parameters), "notebook_sha256": self.notebook.sha256}


def sha256(value: Any) -> str:
    """Of a value as JSON; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def read_notebook(path: Path) -> Notebook:
    """DataError when `path` is no notebook."""
    import nbformat
    import papermill

    try:
        content = nbformat.read(path, as_version=4)
    except (OSError, ValueError, KeyError, AttributeError, nbformat.ValidationError) as error:
        raise DataError(f"{path} cannot be read as a notebook: {error}") from error
    content.metadata.setdefault("kernelspec", {"display_name": "Python 3", "language": "python", "name": "python3"})
    code = [cell for cell in content.cells if cell.cell_type == "code"]
    for cell in code:
        cell.outputs, cell.execution_count = [], None
    source = [(cell.source, cell.metadata.get("tags", [])) for cell in code]
    declared = tuple(papermill.inspect_notebook(content))
    return Notebook(path, nbformat.writes(content), sha256(source), declared)


def literal(text: str) -> Any:
    """A value as papermill's `-p` reads it, `true` and `false` as well; in quotes it stays text.

    >>> [literal(text) for text in ("8", "1e-3", "true", "None", "none", "'8'", "bottle")]
    [8, 0.001, True, None, 'none', '8', 'bottle']
    """
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    if text in WORDS:
        return WORDS[text]
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else text  # "nan" and "infinity" may be names; JSON knows neither
    return text


def parse_settings(settings: Sequence[str]) -> dict[str, list[Any]]:
    """`name=value,value` lines as a grid. A comma in quotes separates nothing.

    >>> parse_settings(["category=bottle,screw", "seed=0,1", "data_root='a,b'"])
    {'category': ['bottle', 'screw'], 'seed': [0, 1], 'data_root': ['a,b']}

    DataError for a line without a name or with an open quote, and for a name given twice.
    """
    grid: dict[str, list[Any]] = {}
    for setting in settings:
        name, equals, values = (part.strip() for part in setting.partition("="))
        if not name or not equals:
            raise DataError(f"--set {setting} must look like name=value,value")
        if name in grid:
            raise DataError(f"{name} is set twice; write all its values after one --set, with commas")
        if not re.fullmatch(QUOTED, values):
            raise DataError(f"--set {setting} has a quote that does not end")
        pieces = [piece.strip() for piece in re.split(f",(?={QUOTED}$)", values)]
        if "" in pieces:
            raise DataError(f"--set {setting} has an empty value; for empty text write ''")
        grid[name] = [literal(piece) for piece in pieces]
    return grid


def expand(grid: Mapping[str, Sequence[Any]], declared: Sequence[str]) -> list[dict[str, Any]]:
    """All combinations, the last name varying fastest. `declared`: the notebook's own parameters.

    DataError for names the notebook does not have, for no values, for one given twice, and for values that
    are no text, number, truth value or None.
    """
    choices = [name for name in declared if name != OUT_DIR]
    for name, values in grid.items():
        if name == OUT_DIR:
            raise DataError("out_dir is the folder of each run and cannot be set; say --out")
        if name not in choices:
            known = ", ".join(choices) or "none: it has no cell tagged `parameters`"
            raise DataError(f"the notebook has no parameter {name}; its parameters are {known}")
        if not values or isinstance(values, str):
            raise DataError(f"{name} needs a list of one value or more")
        strange = [value for value in values if not isinstance(value, str | int | float | None)]
        if strange or not all(math.isfinite(value) for value in values if isinstance(value, float)):
            raise DataError(f"{name} can be text, finite numbers, True, False or None, not {strange or values}")
        if len({json.dumps(value) for value in values}) < len(values):
            raise DataError(f"{name} has a value twice: {', '.join(map(str, values))}")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def run_name(parameters: Mapping[str, Any], declared: Sequence[str]) -> str:
    """The name of a run's folder: its parameters in the notebook's order, whatever order they were given in.

    >>> run_name({"seed": 0, "category": "bottle"}, ["category", "seed"])
    'category=bottle,seed=0'

    A name that lost something on the way (odd characters, length, quotes) ends in a hash of the parameters.
    """
    if not parameters:
        return "defaults"
    ordered = sorted(parameters.items(), key=lambda item: declared.index(item[0]))
    plain = ",".join(f"{name}={value}" for name, value in ordered)
    safe = re.sub(r"[^A-Za-z0-9._+=,-]", "_", plain)
    unlike = any(isinstance(value, str) and (literal(value) != value or "," in value) for _, value in ordered)
    if safe == plain and len(safe) <= LONGEST and not unlike:
        return safe
    return f"{safe[:LONGEST]}~{sha256(dict(parameters))[:10]}"


def read_state(folder: Path) -> dict[str, Any]:
    """What the run's file says; nothing when there is none or it cannot be read."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return state if isinstance(state, dict) else {}


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """In one step: a reader sees the state before or after, never half of it."""
    text = json.dumps(state, indent=2) + "\n"
    write_atomically(folder / STATE, lambda place: place.write_text(text, encoding="utf-8"))


def same_run(job: Job, state: Mapping[str, Any]) -> bool:
    """Whether `state` belongs to these parameters and this notebook."""
    return all(state.get(key) == value for key, value in job.identity.items())


def is_finished(job: Job, state: Mapping[str, Any]) -> bool:
    """Whether nothing is left to do: done, by the same notebook with the same parameters, and its pages are there."""
    return state.get("state") == "done" and same_run(job, state) and job.executed.is_file()
