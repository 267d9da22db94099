"""Did speed, memory or accuracy move since the last record by more than the noise? In under five minutes.

    python benchmarks/quick.py [--record]            or: make bench-quick [RECORD=--record]

ResNet-18, bundled weights, the recipe `ours`, float32, one thread of the processor; nothing but this package is needed.
Speed is a ratio to a fixed peer in the same run, in turns and by processor time, so that another machine and other work
on it change little: anomalib's operators in plain torch (`peer_operators.py`), anomalib itself where it is installed,
SciPy, scikit-learn. Memory is the peak of a process that does nothing else. Accuracy is that of short trainings on the
toy weave and part, seeds 0 to 2. `history.py` has the numbers and how a change is judged; --record appends a line to
results/history.jsonl, which docs/benchmarks.md draws. A part that fails is named, and the exit status is then 1.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # of every process that begins here, and read before torch is loaded

import harness
import history
import metrics
import speed
import torch
from history import Number, Record
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score

from fastflow_lite import FastFlow, evaluate, fit, open_dataset
from fastflow_lite.files import write_atomically
from fastflow_lite.machine import peak_memory_mib
from fastflow_lite.scoring.metrics import pixel_metrics
from fastflow_lite.training.recipes import model_config, training_settings

BACKBONE, SIZE, BATCH = "resnet18", 256, 8
SIDE = argparse.Namespace(
    device="cpu", dtype="float32", recipe="ours", weights="bundled", batch=BATCH, image_size=SIZE, compile=False
)
TURNS = {"step": 9, "import": 5, "memory": 3, "other": 7}
SEEDS, CATEGORIES, TOY_SIZE, UPDATES = (0, 1, 2), ("weave", "part"), 128, 24
METRICS = {"image AUROC": "image_auroc", "pixel AUROC": "pixel_auroc", "AUPRO": "aupro"}
MAPS = 20  # that the metrics are computed of
SMOOTHING = 3.0  # pixels, of SciPy's filter: that of the recipe when it was made
MIB = 2**20
Numbers = dict[str, Number]
IMPORTS = {"torch": "import torch", "ours": "from fastflow_lite import Detector, FastFlow, evaluate, fit"}


def number(values: Sequence[float], of: Callable[[Sequence[float]], float] = statistics.median) -> Number:
    """The median (or mean) of repetitions, and its standard error as if they were normal."""
    factor = 1.25 if of is statistics.median else 1.0  # the median of normal values is that much less certain
    return Number(of(values), factor * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0)


def ratio(taken: dict[str, list[float]], ours: str = "ours") -> Number:
    """How many times ours is as fast as the other side, from seconds in turns."""
    (other,) = (values for name, values in taken.items() if name != ours)
    return number([b / a for a, b in zip(taken[ours], other, strict=True)])


def steps(other: str) -> Numbers:
    """Training step and inference beside the side `other` of `speed.py`, by processor time."""
    suffix = ", anomalib" if other == "anomalib" else ""
    with harness.Fresh(1) as mine, harness.Fresh(1) as beside:
        sides = {"ours": mine, other: beside}
        for name, fresh in sides.items():
            fresh(speed.begin, name, SIDE, BACKBONE)
        found = {}
        for work in ("training step", "inference"):
            calls = {name: partial(fresh, speed.once, work) for name, fresh in sides.items()}
            turns = harness.in_turns(calls, TURNS["step"], speed.WARMUP)
            found[work + suffix] = ratio({name: [processor for _, processor in each] for name, each in turns.items()})
    return found


def processor_seconds(work: Callable[[], object]) -> float:
    """Of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def maps_and_scores() -> Numbers:
    """Maps, smoothing and image scores from latents, beside SciPy's filter of maps as large."""
    model = FastFlow(BACKBONE, "bundled", model_config("ours", BACKBONE)).eval()
    generator = torch.Generator().manual_seed(0)
    sides = [SIZE // stride for stride in model.backbone.strides]
    shapes = [(BATCH, c, side, side) for c, side in zip(model.backbone.channels, sides, strict=True)]
    latents = [(torch.randn(shape, generator=generator), torch.zeros(shape[0], *shape[2:])) for shape in shapes]
    maps = torch.rand(BATCH, SIZE, SIZE, generator=generator).numpy()
    work: dict[str, Callable[[], object]] = {
        "ours": lambda: model.maps_and_scores(latents, (SIZE, SIZE)),
        "SciPy": lambda: gaussian_filter(maps, (0, SMOOTHING, SMOOTHING)),
    }
    calls = {name: partial(processor_seconds, each) for name, each in work.items()}
    with torch.inference_mode():
        return {"maps and scores": ratio(harness.in_turns(calls, TURNS["other"], 2))}


def pixels() -> Numbers:
    """Pixel AUROC and AUPRO, beside scikit-learn's AUROC and AUPRO by one argsort in float64."""
    masks, maps = metrics.draw(MAPS, SIZE)

    def slow() -> None:
        roc_auc_score(masks.ravel(), maps.ravel())
        metrics.aupro_by_argsort(masks, maps)

    calls = {
        "ours": partial(processor_seconds, lambda: pixel_metrics(masks, maps)),
        "slow": partial(processor_seconds, slow),
    }
    return {"pixel metrics": ratio(harness.in_turns(calls, TURNS["other"], 1))}


def imports() -> Numbers:
    """The import of the package beside that of torch, each in a new process."""
    turns = harness.in_turns({name: partial(in_process, code) for name, code in IMPORTS.items()}, TURNS["import"], 1)
    return {"import": ratio(turns, "torch")}


def in_process(code: str) -> float:
    """Processor seconds of a new process that runs `code`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(harness.ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def trained(path: Path) -> float:
    """Train two steps on random images, save the model; the peak memory of this process so far."""
    model = FastFlow(BACKBONE, "bundled", model_config("ours", BACKBONE))
    images = torch.rand(2 * BATCH, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    fit(model, images, training_settings("ours").changed(updates=2, views=0), progress=False)
    peak = peak_memory_mib()["host"]
    model.save(path)
    return peak


def predicted(path: Path) -> float:
    """Load the model and score a batch twice; the peak memory of this process."""
    model = FastFlow.load(path).prepared_for_inference()
    for _ in range(2):
        model.predict(torch.rand(BATCH, 3, SIZE, SIZE))
    return peak_memory_mib()["host"]


def memory() -> Numbers:
    """Peak memory of a process that trains and of one that predicts, and the size of the file."""
    peaks: dict[str, list[float]] = {"training memory": [], "prediction memory": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        for _ in range(TURNS["memory"]):
            for name, work in zip(peaks, (trained, predicted), strict=True):
                with harness.Fresh(1) as fresh:
                    peaks[name].append(fresh(work, path))
        size = path.stat().st_size / MIB
    return {name: number(values) for name, values in peaks.items()} | {"model file": Number(size)}


def accuracy() -> Numbers:
    """Short trainings, last step, which differ by their seed; of each seed the mean over the categories."""
    found = [{name: statistics.mean(one[name] for one in of_seed) for name in METRICS} for of_seed in judged()]
    return {name: number([one[name] for one in found], statistics.mean) for name in METRICS}


def judged() -> list[list[dict[str, float]]]:
    """The metrics of each category, by seed."""
    settings = training_settings("ours").changed(updates=UPDATES, views=0)
    sets = [open_dataset("toy", category, image_size=TOY_SIZE) for category in CATEGORIES]
    found: list[list[dict[str, float]]] = []
    for seed in SEEDS:
        found.append([])
        for data in sets:
            model = FastFlow(BACKBONE, "bundled", model_config("ours", BACKBONE), seed=seed)
            fit(model, data.train, settings, seed=seed, progress=False)
            variant: Any = evaluate(model, data.test).record["variants"][model.map]
            found[-1].append({name: variant[key] for name, key in METRICS.items()})
    return found


def parts() -> dict[str, Callable[[], Numbers]]:
    """What is measured, by the words that a reader sees meanwhile."""
    found: dict[str, Callable[[], Numbers]] = {"steps beside anomalib's operators": partial(steps, "operators")}
    if find_spec("anomalib"):
        found["steps beside anomalib"] = partial(steps, "anomalib")
    others = {"maps and scores": maps_and_scores, "pixel metrics": pixels, "import": imports}
    return found | others | {"memory": memory, "accuracy": accuracy}


def measure() -> tuple[Numbers, dict[str, str]]:
    """All numbers, and why parts of them are missing."""
    numbers: Numbers = {}
    missing: dict[str, str] = {}
    for name, part in parts().items():
        began = time.monotonic()
        try:
            numbers |= part()
        except Exception as error:  # the other parts are worth their time
            missing[name] = f"{type(error).__name__}: {error}"[:300]
        print(f"{name}: {missing.get(name) or 'done'}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return numbers, missing


def record_of(numbers: Numbers, missing: dict[str, str]) -> Record:
    """The record of these numbers, made here and now."""
    made = harness.provenance()
    machine = made["machine"]
    words = f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"
    versions = {"python": machine["python"]} | machine["versions"]
    rounded = {name: Number(float(f"{n.value:.6g}"), float(f"{n.error:.3g}")) for name, n in numbers.items()}
    return Record(made["date"], made["revision"], words, versions, rounded, missing)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append the numbers to results/history.jsonl")
    args = parser.parse_args()
    torch.set_num_threads(1)
    records = history.read()
    now = record_of(*measure())
    print(harness.markdown(history.rows(history.compare(now, records))))
    if records:
        print(f"\nThe last record: {history.described(records[-1])}\nNow: {history.described(now)}")
    if args.record:
        lines = "".join(record.to_line() + "\n" for record in [*records, now])
        write_atomically(history.HISTORY, lambda place: place.write_text(lines, "utf-8"))
    return 1 if now.missing else 0


if __name__ == "__main__":
    sys.exit(main())
