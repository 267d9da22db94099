"""Which setting, without one test label? Held-out normal images with planted defects rank settings.

    python benchmarks/choose.py --runs RUNS --sets bottle part --settings v0.1 "steps 4" --seeds 0 1 2
    python benchmarks/choose.py --table --runs RUNS

Real sets lie below FASTFLOW_LITE_DATA. For each set, setting and seed a tenth of train/good, at least five images, is
held out, and a model learns from the rest. Then the held-out images are judged, as they are and with planted defects:
nine families, 20 images each, strengths from barely visible to plain (`choose_parts/planted.py`). The protocol's number
is the mean over families of image AUROC, pixel AUROC and AUPRO, and the mean of these three. The same model, that of
the last epoch, is judged on the real test images, for the report alone: `--table` prints the rank correlation of both,
which is what the protocol is worth. `choose_parts/settings.py` has the settings and the read-outs of a trained model.

A run that is in RUNS is not made again. A read-out that is new since then is judged by the model that was kept beside
the record. `--table` also writes the summary to benchmarks/results/choose.json.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from pathlib import Path
from typing import Any

from choose_parts.run import METRICS, run
from choose_parts.sets import add_places, available
from choose_parts.settings import BACKBONES, OWN, READOUTS, SETTINGS, Setting
from choose_parts.tables import options_of, read_runs, summarize, to_json, to_markdown
from harness import provenance

from fastflow_lite.errors import FastFlowError
from fastflow_lite.files import write_atomically

RESULTS = Path(__file__).parent / "results" / "choose.json"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_places(parser)
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=["v0.1"], metavar="SETTING")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--backbones", nargs="+", choices=list(BACKBONES), help="default: that of each setting")
    parser.add_argument("--readouts", nargs="*", choices=list(READOUTS), default=list(READOUTS), metavar="READOUT")
    parser.add_argument("--epochs", type=int, help="instead of the setting's; the name of the run gets them")
    parser.add_argument("--table", action="store_true", help="print the tables of RUNS and write the summary")
    parser.add_argument("--summary", type=Path, default=RESULTS, help="where --table writes it (default: %(default)s)")
    return parser.parse_args()


def asked_settings(args: argparse.Namespace) -> list[tuple[str, Setting]]:
    """Return the name and the setting of every training that is asked for."""
    found = []
    for name in args.settings:
        for backbone in args.backbones or [SETTINGS[name].backbone]:
            setting = SETTINGS[name].over(backbone)
            if args.epochs:
                found.append((f"{name}, {args.epochs} epochs", setting.changed(epochs=args.epochs)))
            else:
                found.append((name, setting))
    return found


def line(record: dict[str, Any], setting: str, backbone: str) -> str:
    """Return what is printed of a run: its own read-out, protocol and real, and the seconds of its training."""
    own = record["readouts"][OWN]
    figures = "  ".join(
        side + " " + " / ".join(f"{own[side][metric]:.4f}" for metric in METRICS) for side in ("protocol", "real")
    )
    seconds = record["cost"]["training_s"]
    return f"{record['set']}  {backbone}  {setting}  seed {record['seed']}  {figures}  {seconds:.0f} s"


def tables(runs: Path, sets: list[str], target: Path) -> None:
    """Print the tables of the runs in a folder, of some sets, and write their summary."""
    records = [record for record in read_runs(runs) if record["set"] in sets]
    if not records:
        raise SystemExit(f"no run of {', '.join(sets)} below {runs}: make some first, without --table")
    summary = summarize(records)
    print(to_markdown(summary))
    text = to_json(provenance() | {"options": options_of(records)}, summary)
    write_atomically(target, lambda place: place.write_text(text))


def main() -> None:
    args = arguments()
    if args.table:
        return tables(args.runs, args.sets, args.summary)
    failed = False
    readouts = {name: READOUTS[name] for name in args.readouts}
    for seed, name, (label, setting) in product(args.seeds, available(args.sets), asked_settings(args)):
        folder = args.runs / name / setting.backbone / label
        try:
            record = run(name, setting, seed, readouts, folder, args.cache)
        except FastFlowError as error:  # the others go on
            print(f"{name}  {setting.backbone}  {label}  seed {seed} failed: {error}", file=sys.stderr, flush=True)
            failed = True
            continue
        if record:
            print(line(record, label, setting.backbone), flush=True)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
