"""The table of accuracies: sets, backbones and methods, three seeds, with seconds, memory, size and images a second.

    python benchmarks/accuracy.py --runs RUNS --sets bottle screw --backbones resnet18 --methods ours anomalib
    python benchmarks/accuracy.py --runs RUNS --table

A run is one of `choose.py` (the same training images, a tenth of train/good is held out; the same record), but in a
process of its own, so that its peak memory is that of reading, features and training alone. Runs that `choose.py` made
count where the methods are the same; they lack the peak memory. A run that is in RUNS is not made again, so a call that
was ended goes on. The figures are those of the real test images after the last epoch; no test label chooses anything.

"ours" and "v0.1" are the recipes of these names. "anomalib" is anomalib's FastFlow on the
same backbone weights and images, with its loss, its optimizer and its map (`choose_parts/anomalib_fastflow.py`), for as
many optimizer updates, of as many images each, as ours has; it has no held-out choice of an epoch either.

--table prints mean and standard deviation over seeds, and writes them to benchmarks/results/accuracy.json. It needs no
anomalib, and neither do the other methods.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import harness
from choose_parts import run as runs
from choose_parts.run import METRICS
from choose_parts.sets import SETS, add_places, available
from choose_parts.settings import BACKBONES, OWN, RESNET, SETTINGS, Setting
from choose_parts.tables import options_of, read_runs
from harness import markdown, provenance

from fastflow_lite.errors import FastFlowError
from fastflow_lite.files import write_atomically
from fastflow_lite.machine import peak_memory_mib
from fastflow_lite.training import Settings

ANOMALIB = "anomalib"
COSTS = {
    "training_s": "training, s",
    "training_cpu_s": "processor, s",
    "peak_memory_mib": "peak, MiB",
    "file_mib": "file, MiB",
    "images_per_s": "images/s",
}
RESULTS = Path(__file__).parent / "results" / "accuracy.json"


def methods() -> dict[str, Setting]:
    """Return the setting of every method of the table."""
    found = {name: SETTINGS[name] for name in ("ours", "v0.1", "patchcore", "padim")}
    same = {"epochs": None, "updates": SETTINGS["ours"].training["updates"], "batch_size": Settings.batch_size}
    return found | {ANOMALIB: Setting(same, method=ANOMALIB)}


def run_alone(name: str, setting: Setting, seed: int, folder: Path, cache: Path) -> dict[str, Any] | None:
    """Make one run, or return None if it is there, in a process that makes no other: its peak memory is the run's."""

    def train(*asked: Any) -> tuple[runs.Model, dict[str, Any]]:
        model, record = runs.train_model(*asked)
        record["cost"]["peak_memory_mib"] = peak_memory_mib().get("host")
        return model, record

    if setting.method == ANOMALIB:
        from choose_parts.anomalib_fastflow import AnomalibFastFlow

        runs.CLASSES[ANOMALIB] = AnomalibFastFlow
    return runs.run(name, setting, seed, {}, folder, cache, train)


def is_made(folder: Path, setting: Setting, seed: int) -> bool:
    """Return whether a run is there, without a process for it. Its options are compared by `run_alone`."""
    file = folder / f"{seed}.json"
    return file.exists() and json.loads(file.read_text())["options"] == setting.to_record()


def rows(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each set, backbone and method: mean and standard deviation over seeds, median costs."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for one in records:
        groups[one["set"], one["backbone"], one["setting"]].append(one)
    names = list(methods())
    found = []
    for key in sorted(groups, key=lambda k: (SETS.index(k[0]), list(BACKBONES).index(k[1]), names.index(k[2]))):
        row: dict[str, Any] = dict(zip(("set", "backbone", "method"), key, strict=True))
        row["seeds"] = len(groups[key])
        for metric in METRICS:
            values = [one["readouts"][OWN]["real"][metric] for one in groups[key]]
            spread = statistics.stdev(values) if len(values) > 1 else None
            row[metric] = [round(statistics.mean(values), 5), spread and round(spread, 5)]
        for cost in COSTS:
            known = [one["cost"][cost] for one in groups[key] if one["cost"].get(cost) is not None]
            row[cost] = round(statistics.median(known), 1) if known else None
        found.append(row)
    return found


def to_markdown(found: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a table in Markdown."""
    lines = []
    for row in found:
        line = {name: row[name] for name in ("set", "backbone", "method", "seeds")}
        for metric in METRICS:
            mean, spread = row[metric]
            line[metric.replace("_", " ")] = f"{mean:.4f}" + (f" ± {spread:.4f}" if spread is not None else "")
        lines.append(line | {title: "" if row[cost] is None else row[cost] for cost, title in COSTS.items()})
    return markdown(lines)


def print_table(folder: Path, sets: Sequence[str], target: Path) -> None:
    """Print the table of the runs in a folder, and write its rows, one a line."""
    asked = methods()
    records = [one for one in read_runs(folder) if one["set"] in sets and one["setting"] in asked]
    current = [one for one in records if is_current(one, asked[one["setting"]])]
    if len(current) < len(records):
        print(f"{len(records) - len(current)} runs of other options than today's are left out", file=sys.stderr)
    if not current:
        raise SystemExit(f"no run of {', '.join(sets)} below {folder}: make some first, without --table")
    found = rows(current)
    print(to_markdown(found))
    machines = list({json.dumps(one["machine"]): one["machine"] for one in current}.values())
    parts = {"machines": machines} | provenance() | {"options": options_of(current)}
    head = ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in parts.items())
    text = "{\n" + head + ',\n"rows": [\n' + ",\n".join(map(json.dumps, found)) + "\n]\n}\n"
    write_atomically(target, lambda place: place.write_text(text))


def is_current(record: Mapping[str, Any], setting: Setting) -> bool:
    """Return whether a run has today's options; the file of its weights need not be at hand."""
    asked = setting.over(record["backbone"]).to_record()
    return {**record["options"], "weights": None} == {**asked, "weights": None}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_places(parser)
    parser.add_argument("--backbones", nargs="+", choices=list(BACKBONES), default=list(BACKBONES))
    parser.add_argument("--methods", nargs="+", choices=list(methods()), default=list(methods()))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="print the table of RUNS and write the summary")
    parser.add_argument("--summary", type=Path, default=RESULTS, help="where --table writes it (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if args.table:
        return print_table(args.runs, args.sets, args.summary)
    failed, asked = False, methods()
    backbones = [name for name in args.backbones if name != "resnet18" or RESNET != "bundled"]
    if len(backbones) < len(args.backbones):
        print("resnet18 is left out: set FASTFLOW_LITE_WEIGHTS to a file with its weights", flush=True)
    for seed, name, backbone, method in product(args.seeds, available(args.sets), backbones, args.methods):
        setting, folder = asked[method].over(backbone), args.runs / name / backbone / method
        if is_made(folder, setting, seed):
            continue
        try:
            with harness.Fresh() as process:
                record = process(run_alone, name, setting, seed, folder, args.cache)
        except (FastFlowError, SystemExit) as error:  # the others go on
            print(f"{name}  {backbone}  {method}  seed {seed} failed: {error}", file=sys.stderr, flush=True)
            failed = True
            continue
        of_run = rows([record | {"backbone": backbone, "setting": method}])
        print(f"seed {seed}  " + to_markdown(of_run).splitlines()[-1], flush=True)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
