"""The records below a folder, one row for each finished run.

`result.json` holds what a notebook measured, `run.json` holds the state that a batch keeps of the run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastflow_lite.batch.grid import OUT_DIR, STATE
from fastflow_lite.batch.secrets import masked
from fastflow_lite.batch.view import short_error
from fastflow_lite.errors import DataError
from fastflow_lite.files import METRIC_TITLES, natural_sort_key

RESULT = "result.json"
SEED = "seed"
FACTS = (
    "seconds",
    "memory_mib",
    "file_mib",
    "epochs_made",
    "weights_used",
)  # not `epochs` and `weights`: these are parameters
OWN = {"run", *METRIC_TITLES, *FACTS}  # columns; a parameter of that name gets an underscore


@dataclass
class Records:
    """All records below a folder. Rows and failures name their run by its folder."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    parameters: dict[str, None] = field(default_factory=dict)  # an ordered set of names


def locate(folder: str | Path) -> Path:
    """Return `folder` if it exists, else the folder of that name in the repository that holds this package."""
    places = (Path(folder), Path(__file__).parents[2] / folder)
    for place in places:
        if place.is_dir():
            return place
    raise DataError(f"there is no folder {folder} with records, neither here nor beside the package; name one")


def read_records(folder: Path) -> Records:
    """Read all records below `folder` except in hidden folders. DataError when there are none."""
    found = {path.parent for name in (STATE, RESULT) for path in folder.rglob(name) if path.is_file()}
    places = [place for place in found if not any(part[0] == "." for part in place.relative_to(folder).parts)]
    if not places:
        raise DataError(f"there is no {RESULT} or {STATE} below {folder}")
    records = Records()
    for place in sorted(places, key=natural_sort_key):
        try:
            _add(records, place.relative_to(folder).as_posix(), _load(place / STATE), _load(place / RESULT))
        except Exception as error:  # whatever one file holds, the other runs are shown
            records.unreadable.append(str(error) if str(place) in str(error) else f"{place}: {error!r}")
    return records


def _load(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, empty when there is no file. ValueError names a file that holds none."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: no record")
    return content


def _add(records: Records, run: str, state: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    parameters = _parameters(state, result)
    if state.get("state", "done") == "done":
        records.rows.append({"run": run, **parameters, **_numbers(state, result)})
        records.parameters |= dict.fromkeys(parameters)
    elif state["state"] == "failed":
        records.failed.append({"run": run, "error": short_error(state), "attempts": state.get("attempts")})
    else:
        records.unfinished.append(run)


def _parameters(state: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a run. Values set by the batch go before those of the record."""
    model, data = _part(result, "model"), _part(result, "data")
    elsewhere = {"category": data.get("category"), "backbone": model.get("backbone"), SEED: model.get(SEED)}
    values = {name: value for name, value in elsewhere.items() if value is not None}
    values |= _part(result, "parameters") | _part(state, "parameters")
    ordered = {name: values[name] for name in (*_part(state, "parameters"), *values) if name != OUT_DIR}
    plain = {name: _scalar(value) for name, value in masked(ordered).items()}
    return {f"{name}_" if name in OWN else name: value for name, value in plain.items()}


def _numbers(state: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    metrics, stages = _part(result, "metrics"), _part(result, "seconds")
    measured = {name: _number(metrics.get(name)) for name in METRIC_TITLES}
    seconds = _number(state.get("seconds", sum(map(_number, stages.values())) if stages else math.nan))
    weights = _part(result, "weights").get("description")
    memory = _part(result, "peak_memory_mib")  # of the GPU where one was used
    sizes = {"memory_mib": memory.get("gpu", memory.get("host")), "file_mib": _part(result, "size_mib").get("file")}
    facts = {"seconds": seconds} | {name: _number(size) for name, size in sizes.items()}
    return measured | facts | {"epochs_made": result.get("epochs"), "weights_used": weights}


def _scalar(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else json.dumps(value)


def _part(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = record.get(name)
    return part if isinstance(part, dict) else {}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
