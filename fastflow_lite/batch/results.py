"""The records below a folder as one table: a row a run, and over several seeds their mean and spread.

    fastflow-lite table runs/mvtec --by category,backbone --csv mvtec.csv

Nothing is looked up elsewhere: `result.json` is what a notebook found, `run.json` what a batch knows of the run.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastflow_lite.batch.grid import OUT_DIR, STATE
from fastflow_lite.batch.view import short_error
from fastflow_lite.errors import DataError
from fastflow_lite.scoring.metrics import METRIC_TITLES

if TYPE_CHECKING:
    import pandas as pd

RESULT = "result.json"
SEED = "seed"
FACTS = ("seconds", "epochs_made", "weights_used")  # not `epochs` and `weights`: these are parameters
OWN = {"run", *METRIC_TITLES, *FACTS}  # columns; a parameter of that name gets an underscore


@dataclass
class Records:
    """What lies below a folder. Rows and failures name their run by its folder."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    parameters: dict[str, None] = field(default_factory=dict)  # an ordered set of names


def locate(folder: str | Path) -> Path:
    """`folder` as it is, else the one of that name in the repository that this package was installed from."""
    places = (Path(folder), Path(__file__).parents[2] / folder)
    for place in places:
        if place.is_dir():
            return place
    raise DataError(f"there is no folder {folder} with records, neither here nor beside the package; name one")


def table(folder: str | Path) -> pd.DataFrame:
    """One row a finished run below `folder`: run, parameters, metrics, seconds, epochs made, weights used.

    Undefined metrics are nan. A file that cannot be read is named in a warning and its run left out. DataError
    when there is no record at all.
    """
    records = read_records(Path(folder))
    for problem in records.unreadable:
        warnings.warn(f"left out: {problem}", stacklevel=2)
    return frame(records)


def means(runs: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Mean, standard deviation (of n - 1) and n of each metric over the rows of `table` that agree in `by`.

    An undefined metric counts in none of the three; a single run has no spread (nan). Nothing in `by`: all rows.
    """
    import pandas as pd

    rows = []
    for values, group in runs.groupby(list(by), dropna=False, sort=False) if by else [((), runs)]:
        row = dict(zip(by, values, strict=True)) | {"runs": len(group)}
        for name in METRIC_TITLES:
            metric = group[name].astype(float)
            row |= {name: metric.mean(), f"{name}_std": metric.std(), f"{name}_n": int(metric.count())}
        rows.append(row)
    return pd.DataFrame(rows)


def half_width(std: float, n: int, confidence: float = 0.95) -> float:
    """Half of Student's interval for the mean of `n` runs with standard deviation `std` (of n - 1); nan for one run.

    >>> round(half_width(0.01, 3), 4)
    0.0248
    """
    from scipy.stats import t

    return float(t.ppf((1 + confidence) / 2, n - 1) * std / math.sqrt(n)) if n > 1 else math.nan


def varying(runs: pd.DataFrame) -> list[str]:
    """The parameters in which the rows of `table` differ."""
    return [name for name in parameter_names(runs) if runs[name].map(repr).nunique() > 1]


def parameter_names(runs: pd.DataFrame) -> list[str]:
    """Return the columns of `table` that are parameters, and `run`."""
    return [name for name in runs.columns if name not in OWN]


def read_records(folder: Path) -> Records:
    """Everything below `folder` but hidden folders. DataError when that is nothing."""
    found = {path.parent for name in (STATE, RESULT) for path in folder.rglob(name)}
    places = [place for place in found if not any(part[0] == "." for part in place.relative_to(folder).parts)]
    if not places:
        raise DataError(f"there is no {RESULT} or {STATE} below {folder}")
    records = Records()
    for place in sorted(places, key=_as_counted):
        try:
            _add(records, place.relative_to(folder).as_posix(), _load(place / STATE), _load(place / RESULT))
        except (OSError, ValueError, RecursionError) as error:
            records.unreadable.append(str(error))
    return records


def frame(records: Records) -> pd.DataFrame:
    """The rows of `records`. Parameters keep their types: a seed stays a whole number where others have none."""
    import pandas as pd

    runs = pd.DataFrame(records.rows, columns=["run", *records.parameters, *METRIC_TITLES, *FACTS], dtype=object)
    numbers = [*METRIC_TITLES, "seconds"]
    runs[numbers] = runs[numbers].astype(float)
    return runs


def _as_counted(place: Path) -> list[Any]:
    """So that seed=2 comes before seed=10."""
    pieces = re.split(r"(\d+)", place.as_posix())
    return [int(piece) if k % 2 else piece for k, piece in enumerate(pieces)]


def _load(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when there is no file. ValueError, naming the file, when it is none."""
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
    """What the batch set, before what the record says; the rest where the record has it elsewhere."""
    model, data = _part(result, "model"), _part(result, "data")
    elsewhere = {"category": data.get("category"), "backbone": model.get("backbone"), SEED: model.get(SEED)}
    known = {name: value for name, value in elsewhere.items() if value is not None}
    known |= _part(result, "parameters") | _part(state, "parameters")
    ordered = {name: known[name] for name in (*_part(state, "parameters"), *known) if name != OUT_DIR}
    plain = {name: _scalar(value) for name, value in ordered.items()}
    return {f"{name}_" if name in OWN else name: value for name, value in plain.items()}


def _numbers(state: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    metrics, stages = _part(result, "metrics"), _part(result, "seconds")
    measured = {name: _number(metrics.get(name)) for name in METRIC_TITLES}
    seconds = _number(state.get("seconds", sum(map(_number, stages.values())) if stages else math.nan))
    weights = _part(result, "weights").get("description")
    return measured | {"seconds": seconds, "epochs_made": result.get("epochs"), "weights_used": weights}


def _scalar(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else json.dumps(value)


def _part(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = record.get(name)
    return part if isinstance(part, dict) else {}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def markdown(frame: pd.DataFrame) -> str:
    """A table for a README: three decimals for metrics, `-` for what is undefined."""
    head = [METRIC_TITLES.get(name, name.replace("_", " ")) for name in frame.columns]
    lines = [head, ["---"] * len(head)]
    for _, row in frame.iterrows():
        lines.append([_cell(name, value) for name, value in row.items()])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(name: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if name in METRIC_TITLES else f"{value:.0f}" if name == "seconds" else f"{value:g}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def with_spread(summary: pd.DataFrame) -> pd.DataFrame:
    """`means` for people: "0.981 ± 0.004" in one cell, with n where it is not that of all runs."""
    shown = summary.drop(columns=[f"{name}_{what}" for name in METRIC_TITLES for what in ("std", "n")])
    for name in METRIC_TITLES:
        columns = zip(summary[name], summary[f"{name}_std"], summary[f"{name}_n"], summary["runs"], strict=True)
        shown[name] = [_spread(*cells) for cells in columns]
    return shown


def _spread(mean: float, std: float, n: int, runs: int) -> str:
    spread = "" if math.isnan(std) else f" ± {std:.3f}"
    return "-" if not n else f"{mean:.3f}{spread}{f' (n={n})' if n < runs else ''}"
