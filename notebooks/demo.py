"""What `make demo` runs: notebook 07 on the embedded set, told in a page instead of by the log of its cells.

python notebooks/demo.py [OUT]      default: runs/demo
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fastflow_lite.evaluation.report import summary_line
from fastflow_lite.evaluation.result import Record

NOTEBOOK = Path(__file__).with_name("07_fastflow.ipynb")
TOLD = re.compile(r"(epoch \d+/\d+ |\d+ to train, |weights: )")  # of what the cells print
FIGURES = {  # name: what it shows
    "examples": "what is trained on, and one test image of each kind",
    "loss": "the loss by epoch",
    "gallery": "image, true mask, anomaly map and marked region, for each kind: look here first",
    "scores": "the scores of good and bad images, and the thresholds",
    "defects": "which kind of defect is hard",
}
START = """\
A frozen ResNet-18 turns images of woven cloth into features (category weave of the embedded set, drawn by formulas).
A normalizing flow learns how likely the features of good cloth are. It sees no defect. This takes about two minutes
on two quiet cores. bits/dim is the loss: lower means that the flow finds good cloth more likely.
"""
NEXT = """\
Where to look next
  make lab                           the course: start with notebook 01; this was 07
  fastflow-lite train FOLDER         your own images: docs/from_folder_to_line.md
  docs/results.md                    what is measured on real parts, and what is not
"""


def told(lines: Iterable[str]) -> Iterator[str]:
    """Return the lines of a papermill log that a reader of the demo wants."""
    return (line.rstrip() for line in lines if TOLD.match(line))


def ending(out: Path) -> Iterator[str]:
    """Return what the run in the folder `out` left: numbers of its record, and its files."""
    record: Record = json.loads((out / "result.json").read_text(encoding="utf-8"))
    data = record["data"]
    yield f"\nOn {data['test_images']} images that it did not see, {data['test_anomalous']} of them with a defect:"
    yield f"  {summary_line(record)}"
    for row in record["thresholds"]:
        if row["strategy"] == "quantile":
            found, alarms = round(100 * row["recall"]), round(100 * row["false_alarm_rate"])
            yield f"  threshold from good images alone: {found} % of the defects found, {alarms} % false alarms"
    yield "\nFigures"
    yield from (f"  {out / name}.png  {text}" for name, text in FIGURES.items() if (out / f"{name}.png").exists())
    yield f"\nThe executed notebook: {out / NOTEBOOK.name}"
    yield f"The model and its record: {out}/model.safetensors, result.json\n"


def main(out: Path, command: list[str]) -> int:
    """Run `command`, which executes the notebook into `out`, and print the story. Returns its exit status."""
    out.mkdir(parents=True, exist_ok=True)
    print(START, flush=True)
    log = out / "demo.log"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        assert run.stdout is not None
        with log.open("w", encoding="utf-8") as file:
            for line in told(_kept(run.stdout, file)):
                print(f"  {line}", flush=True)
    if run.returncode:
        print(f"\nThe notebook stopped; {log} has its log, which ends:", file=sys.stderr)
        print("".join(log.read_text(encoding="utf-8").splitlines(keepends=True)[-15:]), file=sys.stderr)
        return run.returncode
    print("\n".join(ending(out)))
    print(NEXT, end="")
    return 0


def _kept(lines: Iterable[str], file: Any) -> Iterator[str]:
    for line in lines:
        file.write(line)
        yield line


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")
    papermill = [sys.executable, "-m", "papermill", "--no-progress-bar", "--log-output", "--kernel", "python3"]
    sys.exit(main(folder, [*papermill, str(NOTEBOOK), str(folder / NOTEBOOK.name), "-p", "out_dir", str(folder)]))
