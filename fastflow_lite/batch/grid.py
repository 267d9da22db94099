"""The parts of a batch: a notebook, a grid of its parameters, and one folder with a state for each run."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastflow_lite.batch.quick_import import without_grammar
from fastflow_lite.batch.secrets import is_secret, masked
from fastflow_lite.errors import DataError
from fastflow_lite.files import write_atomically

OUT_DIR = "out_dir"  # the parameter that a batch sets itself
STATE = "run.json"
LOCKS = "locks"
HIDDEN = ".batch"  # beside the runs: locks, and runs of an earlier version of the notebook
MAX_NAME = 120  # characters of a run's name; file systems allow 255 bytes
NUMBER = r"[+-]?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][+-]?[0-9]+)?"  # 01 and 1_000 are names
QUOTED = r"""(?:[^"']|"[^"]*"|'[^']*')*"""  # text in which every quote is closed
WORDS = {"True": True, "true": True, "False": False, "false": False, "None": None}


@dataclass(frozen=True)
class Notebook:
    """A notebook as JSON without its outputs. `sha256` covers code cells only: prose may change, results stay.

    `texts` are those of its `parameters` that are declared as `str`.
    """

    path: Path
    content: str = field(repr=False)
    sha256: str
    parameters: tuple[str, ...]
    texts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Job:
    """One run, in the form that is sent to a worker. `out` is absolute.

    `shown` is the run's folder as the caller wrote it. The notebook gets this path, so that no path of this machine
    ends up in it.
    """

    name: str
    parameters: dict[str, Any] = field(repr=False)  # dask writes the repr to its log, and they may hold secrets
    notebook: Notebook = field(repr=False)
    out: Path
    shown: Path
    cwd: Path
    threads: int | None
    batch: str
    timeout: float | None = None

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.out / self.name

    @property
    def lock(self) -> Path:
        """The file that is locked while the run is executed."""
        return self.out / HIDDEN / LOCKS / self.name

    @property
    def previous(self) -> Path:
        """The folder that keeps the run of an earlier version of the notebook."""
        return self.out / HIDDEN / "previous" / self.name

    @property
    def executed(self) -> Path:
        """The executed notebook of a finished run."""
        return self.folder / self.notebook.path.name

    @property
    def identity(self) -> dict[str, str]:
        """Two checksums by which a state on disk is recognized as a state of this run."""
        return {"parameters_sha256": sha256(masked(self.parameters)), "notebook_sha256": self.notebook.sha256}


def sha256(value: Any) -> str:
    """Return the sha256 of a value as JSON; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def read_notebook(path: Path) -> Notebook:
    """Read a notebook and drop its outputs. DataError when `path` is no notebook."""
    with without_grammar():
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
    declared = papermill.inspect_notebook(content)
    texts = frozenset(name for name, facts in declared.items() if facts["inferred_type_name"] == "str")
    return Notebook(path, nbformat.writes(content), sha256(source), tuple(declared), texts)


def literal(text: str) -> Any:
    """Convert a value as papermill's `-p` does, and also `true` and `false`; text in quotes stays text.

    A number with zeros before it, such as the category `01`, stays text too.

    >>> [literal(text) for text in ("8", "1e-3", "true", "None", "none", "'8'", "bottle", "01")]
    [8, 0.001, True, None, 'none', '8', 'bottle', '01']
    """
    if (plain := unquoted(text)) != text:
        return plain
    if text in WORDS:
        return WORDS[text]
    if not re.fullmatch(NUMBER, text):
        return text
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else text  # "nan" and "infinity" may be names, and JSON has neither
    return text


def unquoted(text: str) -> str:
    """Return `text` without the quotes around it, if there are any."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def parse_settings(settings: Sequence[str], texts: Collection[str] = ()) -> dict[str, list[Any]]:
    """Convert `name=value,value` lines to a grid. A comma in quotes does not separate values.

    Values of the parameters named in `texts` stay text; `literal` converts the others.

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
            raise DataError(f"--set {setting} has a quote that is not closed")
        pieces = [piece.strip() for piece in re.split(f",(?={QUOTED}$)", values)]
        if "" in pieces:
            raise DataError(f"--set {setting} has an empty value; for empty text write ''")
        grid[name] = [(unquoted if name in texts else literal)(piece) for piece in pieces]
    return grid


def expand(grid: Mapping[str, Sequence[Any]], declared: Sequence[str]) -> list[dict[str, Any]]:
    """Return all combinations; the last name varies fastest. `declared` are the notebook's own parameters.

    DataError for a name that the notebook does not have, for what is no list of one value or more, for a value given
    twice, for a value that is no text, finite number, truth value or None, and for several values of a secret: the
    folders of their runs would have the same name.
    """
    if not isinstance(grid, Mapping):
        raise DataError(f"grid must be names with lists of values, such as {{'seed': [0, 1]}}, got {grid!r}")
    choices = [name for name in declared if name != OUT_DIR]
    for name, values in grid.items():
        if name == OUT_DIR:
            raise DataError("out_dir is the folder of each run and cannot be set; use --out")
        if name not in choices:
            available = ", ".join(choices) or "none: it has no cell tagged `parameters`"
            raise DataError(f"the notebook has no parameter {name}; its parameters are {available}")
        if not isinstance(values, Sequence) or isinstance(values, str) or not values:
            raise DataError(f"{name} needs a list of one value or more, got {values!r}")
        invalid = [value for value in values if not isinstance(value, str | int | float | None)]
        if invalid or not all(math.isfinite(value) for value in values if isinstance(value, float)):
            raise DataError(f"{name} can be text, finite numbers, True, False or None, not {invalid or values}")
        if len({json.dumps(value) for value in values}) < len(values):
            raise DataError(f"{name} has a value twice: {', '.join(map(str, values))}")
        if is_secret(name) and len(values) > 1:
            raise DataError(f"{name} has the name of a secret, which is not part of a run's name; give it one value")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def run_name(parameters: Mapping[str, Any], declared: Sequence[str]) -> str:
    """Return the name of a run's folder: its parameters, in the order in which the notebook declares them.

    >>> run_name({"seed": 0, "category": "bottle"}, ["category", "seed"])
    'category=bottle,seed=0'

    Secrets are masked. Where characters were replaced, the name was cut, or quotes were lost, a hash of the
    parameters is added.
    """
    if not parameters:
        return "defaults"
    ordered = sorted(masked(parameters).items(), key=lambda item: declared.index(item[0]))
    plain = ",".join(f"{name}={value}" for name, value in ordered)
    safe = re.sub(r"[^A-Za-z0-9._+=,-]", "_", plain)
    ambiguous = any(isinstance(value, str) and (literal(value) != value or "," in value) for _, value in ordered)
    if safe == plain and len(safe) <= MAX_NAME and not ambiguous:
        return safe
    return f"{safe[:MAX_NAME]}~{sha256(masked(parameters))[:10]}"


def read_state(folder: Path) -> dict[str, Any]:
    """Return the state of the run in `folder`, empty when its file is missing or cannot be read."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return state if isinstance(state, dict) else {}


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the state in one step: a reader gets the old or the new state, never a part."""
    text = json.dumps(state, indent=2) + "\n"
    write_atomically(folder / STATE, lambda place: place.write_text(text, encoding="utf-8"))


def same_run(job: Job, state: Mapping[str, Any]) -> bool:
    """Return whether `state` belongs to these parameters and this notebook."""
    return all(state.get(key) == value for key, value in job.identity.items())


def is_finished(job: Job, state: Mapping[str, Any]) -> bool:
    """Return whether the same notebook finished with the same parameters and its executed notebook exists."""
    return state.get("state") == "done" and same_run(job, state) and job.executed.is_file()
