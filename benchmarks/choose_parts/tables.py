"""The tables of `choose.py`: settings by the protocol and by the real test images, and how well the two agree."""

from __future__ import annotations

import json
import math
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from choose_parts.run import METRICS
from choose_parts.settings import FASTFLOW

SCORE = "mean"  # of the three metrics: the number that ranks
COLUMNS = (*METRICS, SCORE)
SIDES = ("protocol", "real")
COSTS = {"training_s": "training s", "training_cpu_s": "processor s", "file_mib": "MiB", "images_per_s": "images/s"}
Row = tuple[str, str, str]  # backbone, setting, read-out
ALL = "all sets"


def read_runs(folder: Path) -> list[dict[str, Any]]:
    """Read the records of all runs below `folder`: set/backbone/setting/seed.json."""
    found = []
    for file in sorted(folder.glob("*/*/*/*.json")):
        _, backbone, setting = file.parent.parts[-3:]
        found.append(json.loads(file.read_text()) | {"backbone": backbone, "setting": setting})
    return found


def options_of(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what was trained and on which defects it was judged, by "backbone, setting": a name may change its sense.

    Runs of one name that differ are all given.
    """
    found: dict[str, list[Any]] = defaultdict(list)
    for one in runs:
        options = one["options"] | {"planted": one["planted"]}
        of_name = found[f"{one['backbone']}, {one['setting']}"]
        if options not in of_name:
            of_name.append(options)
    return {name: many[0] if len(many) == 1 else many for name, many in found.items()}


def summarize(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return `rows`, one a set and read-out of a setting, and the `rank_correlation` of each set.

    "all sets" has the means of what was run on all of them. Baselines have rows, but are no choice: the correlation is
    without them.
    """
    values: dict[tuple[str, Row], dict[int, dict[str, float]]] = defaultdict(dict)
    costs: dict[tuple[str, Row], list[Mapping[str, float]]] = defaultdict(list)
    for one in runs:
        for readout, judged in one["readouts"].items():
            key = one["set"], (one["backbone"], one["setting"], readout)
            values[key][one["seed"]] = flat(judged)
            costs[key].append(one["cost"])
    sets = list(dict.fromkeys(name for name, _ in values))
    for row in dict.fromkeys(row for _, row in values):
        of_sets = [(values[name, row], costs[name, row]) for name in sets if (name, row) in values]
        if len(of_sets) == len(sets) > 1:  # a mean over other sets cannot be compared
            seeds = sorted(set.intersection(*(set(by_seed) for by_seed, _ in of_sets)))
            if seeds:
                values[ALL, row] = {seed: mean_of([by_seed[seed] for by_seed, _ in of_sets]) for seed in seeds}
                costs[ALL, row] = [cost for _, many in of_sets for cost in many]
    rows = [described(name, row, list(by_seed.values()), costs[name, row]) for (name, row), by_seed in values.items()]
    controls = {(one["backbone"], one["setting"]) for one in runs if one["options"]["method"] != FASTFLOW}
    choices = [row for row in rows if (row["backbone"], row["setting"]) not in controls]
    names = dict.fromkeys(row["set"] for row in choices)
    return {"rows": rows, "rank_correlation": [correlation(name, choices) for name in names]}


def flat(judged: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of both sides of a read-out, and their means, by "side metric"."""
    found = {f"{side} {metric}": judged[side][metric] for side in SIDES for metric in METRICS}
    for side in SIDES:
        found[f"{side} {SCORE}"] = float(np.mean([judged[side][metric] for metric in METRICS]))
    return found


def described(
    name: str, row: Row, values: Sequence[Mapping[str, float]], costs: Sequence[Mapping[str, float]]
) -> dict[str, Any]:
    """Return one row: means over seeds, half the width of their 95 % interval (nan for one seed), median cost."""
    found: dict[str, Any] = dict(zip(("set", "backbone", "setting", "readout"), (name, *row), strict=True))
    found["seeds"] = len(values)
    for side in SIDES:
        of_side = {metric: [one[f"{side} {metric}"] for one in values] for metric in COLUMNS}
        found[side] = {metric: round(float(np.mean(of)), 5) for metric, of in of_side.items()}
        found[f"{side}_interval"] = {metric: interval(of) for metric, of in of_side.items()}
    found["cost"] = {key: round(float(np.median([cost[key] for cost in costs])), 2) for key in COSTS}
    return found


def interval(values: Sequence[float]) -> float | None:
    """Return half the width of the 95 % interval of the mean (Student's t); None for one value."""
    from scipy import stats

    if len(values) < 2:
        return None
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return round(float(half), 5)


def correlation(name: str, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return Spearman's rank correlation of protocol and real result over the rows of one set, by metric.
    `first` is the real mean of the row that the protocol ranks first, `best` the largest real mean of all rows.
    """
    from scipy import stats

    of_set = [row for row in rows if row["set"] == name]
    found: dict[str, Any] = {"set": name, "rows": len(of_set)}
    for metric in COLUMNS:
        one, other = ([row[side][metric] for row in of_set] for side in SIDES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where all values are equal it is nan
            value = float(stats.spearmanr(one, other).statistic) if len(of_set) > 2 else math.nan
        found[metric] = None if math.isnan(value) else round(value, 3)
    found["first"] = max(of_set, key=lambda row: row["protocol"][SCORE])["real"][SCORE]
    found["best"] = max(row["real"][SCORE] for row in of_set)
    return found


def mean_of(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def to_json(head: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """Return `head` and a summary as JSON, a row a line, its metrics and costs as lists in the order of `columns`."""

    def one_line(row: Mapping[str, Any]) -> str:
        return json.dumps({key: list(v.values()) if isinstance(v, Mapping) else v for key, v in row.items()})

    parts = {key: json.dumps(value) for key, value in head.items()}
    parts["columns"] = json.dumps({"metrics": COLUMNS, "cost": list(COSTS)})
    for key, rows in summary.items():
        parts[key] = "[\n" + ",\n".join(map(one_line, rows)) + "\n]"
    return "{\n" + ",\n".join(f'"{key}": {text}' for key, text in parts.items()) + "\n}\n"


def to_markdown(summary: Mapping[str, Any]) -> str:
    """Return the tables of a summary, best by the protocol first."""
    parts = []
    for name in dict.fromkeys(row["set"] for row in summary["rows"]):
        rows = sorted((r for r in summary["rows"] if r["set"] == name), key=lambda r: -r["protocol"][SCORE])
        head = ["setting", "backbone", "read-out", "seeds", "protocol: mean", "image / pixel / AUPRO"]
        head += ["real: mean", "image / pixel / AUPRO", *COSTS.values()]
        parts.append(f"**{name}**\n\n" + table([head, *(cells(row) for row in rows)]))
    head = [
        "set",
        "rows",
        "image AUROC",
        "pixel AUROC",
        "AUPRO",
        "mean of the three",
        "real mean of the protocol's first",
        "best",
    ]
    lines = [
        [
            c["set"],
            str(c["rows"]),
            *(shown(c[metric], 2) for metric in COLUMNS),
            shown(c["first"], 4),
            shown(c["best"], 4),
        ]
        for c in summary["rank_correlation"]
    ]
    parts.append("**Spearman's rank correlation of protocol and real result**\n\n" + table([head, *lines]))
    return "\n\n".join(parts)


def cells(row: Mapping[str, Any]) -> list[str]:
    found = [row["setting"], row["backbone"], row["readout"], str(row["seeds"])]
    for side in SIDES:
        half = row[f"{side}_interval"][SCORE]
        found.append(shown(row[side][SCORE], 4) + (f" ± {half:.4f}" if half is not None else ""))
        found.append(" / ".join(shown(row[side][metric], 4) for metric in METRICS))
    return found + [f"{row['cost'][key]:.3g}" for key in COSTS]


def shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def table(lines: Sequence[Sequence[str]]) -> str:
    lines = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
