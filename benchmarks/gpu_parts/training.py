"""Part b: from image files to a result, in seconds, and the AUROCs of the last epoch. No epoch is chosen.

"ours" is `fit` with its defaults but for the number of epochs. "paper" is the paper's recipe: batch 32, a constant
rate, 3x3 kernels, images flipped and turned in every step, so that the backbone runs in every step. "paper, features
kept" is the same without that augmentation, so that features are computed once. The toy set, used where no images are
given, is drawn before the clock starts. The first training of a process also loads kernels and compiles; its row names
it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from harness import markdown

from fastflow_lite.config import FastFlowConfig
from fastflow_lite.evaluation import score_images
from fastflow_lite.model import FastFlow
from fastflow_lite.scoring.metrics import auroc
from fastflow_lite.training import Settings, fit
from fastflow_lite.training.recipes import model_config, training_settings
from gpu_parts import data
from gpu_parts.run import Record, Row, Run

EPOCHS, TINY_EPOCHS = (8, 24, 100, 500), (1, 2)
PROBES = 2, 6  # epochs of two short runs that tell how long a long one takes
FIRST, NOT_RUN = "first in its process", "not run, would need seconds"
PAPER, KEPT = "paper", "paper, features kept"


@dataclass(frozen=True)
class Training:
    """One training, but for its images."""

    recipe: str
    epochs: int
    precision: str = "float32"

    def settings(self, category: str) -> Settings:
        """Return the settings of `fit`."""
        settings = training_settings("ours" if self.recipe == "ours" else "paper", category)
        if self.recipe == KEPT:
            settings = settings.changed(augment=None)
        return settings.changed(epochs=self.epochs, precision=self.precision)

    def config(self) -> FastFlowConfig:
        """Return the configuration of the model."""
        return model_config("ours" if self.recipe == "ours" else "paper", "resnet18")


def plan(names: list[str], tiny: bool) -> list[tuple[str, Training]]:
    """Return categories and trainings in the order of their worth."""
    short, *middle, longest = TINY_EPOCHS if tiny else EPOCHS
    first = names[:1]
    every = [(name, Training("ours", short)) for name in names]
    every += [(name, Training(KEPT, longest, "bf16")) for name in first]
    every += [(name, Training("ours", count)) for count in middle for name in names]
    every += [(name, Training(KEPT, longest)) for name in first]
    every += [(name, Training("ours", longest, precision)) for name in names for precision in ("bf16", "float32")]
    return every + [(name, Training(PAPER, longest, precision)) for name in first for precision in ("bf16", "float32")]


def measure(run: Run, record: Record) -> None:
    """Train as planned. What the time left does not allow is recorded with the seconds that it would need."""
    probes = (1,) if run.tiny else PROBES
    rows: list[Row] = []
    for category, training in plan(data.categories(run), run.tiny):
        data.open_category(run, category)  # draws the toy set
        for row in needed_rows(run, category, training, rows, probes):
            rows.append(row)
            record.add(row)


def needed_rows(run: Run, category: str, training: Training, rows: list[Row], probes: tuple[int, ...]) -> Iterator[Row]:
    """Yield the rows of probes, if nothing yet tells how long `training` takes, and of the training itself."""
    if rows and estimate(rows, training) is None:
        for epochs in probes:
            probe, _ = train_once(run, category, replace(training, epochs=epochs))
            rows = [*rows, probe]
            yield probe
    expected = estimate(rows, training)
    if expected is not None and expected > run.seconds_left:
        yield describe(category, training) | {NOT_RUN: expected}
        return
    row, _ = train_once(run, category, training)
    yield row | ({} if rows else {FIRST: True})


def estimate(rows: list[Row], training: Training) -> float | None:
    """Seconds that `training` will take, by the longest finished one of its recipe and precision; None without any.

    The first training of the process counts only if there is no other: its seconds include what happens once.
    """
    kind = (training.recipe, training.precision)
    done = [r for r in rows if (r["training"]["recipe"], r["training"]["precision"]) == kind and "seconds" in r]
    done = [row for row in done if FIRST not in row] or done
    if not done:
        return None
    longest = max(done, key=lambda row: int(row["training"]["epochs"]))
    an_epoch = longest["stages"]["training"] / longest["training"]["epochs"]
    return float(longest["seconds"] + (training.epochs - longest["training"]["epochs"]) * an_epoch)


def describe(category: str, training: Training) -> Row:
    """Return the first cells of a row."""
    name = f"{training.recipe}, {training.epochs} epochs, {training.precision}"
    return {"category": category, "run": name, "training": asdict(training)}


def train_once(run: Run, category: str, training: Training) -> tuple[Row, FastFlow]:
    """Train and score one model from the files on; return its row and the model."""
    start = time.perf_counter()
    images = data.open_category(run, category)
    config = replace(training.config(), steps=1) if run.tiny else training.config()
    model = FastFlow("resnet18", run.weights, config).to(run.place)
    history = fit(model, images.train, training.settings(category), progress=False)
    fitted = time.perf_counter()
    scored = score_images(model, images.test, (model.map,), precision=training.precision)
    judged = time.perf_counter()
    aurocs = {
        "image_auroc": auroc(images.test.labels, scored.scores[model.map]),
        "pixel_auroc": auroc(scored.masks, scored.maps[model.map]),
    }
    end = time.perf_counter()
    stages = history.seconds | {"scoring": judged - fitted, "metrics": end - judged}
    rate = len(images.train) * training.epochs / history.seconds["training"]
    found = {"seconds": end - start, "train_images": len(images.train), "training images/s": rate, "stages": stages}
    return describe(category, training) | found | aurocs, model


def shown(row: Row) -> Row:
    """Return one row of the table."""
    training, stages = row["training"], row.get("stages", {})
    skipped = row.get(NOT_RUN)
    cells: Row = {
        "category": row["category"],
        "recipe": training["recipe"],
        "epochs": training["epochs"],
        "precision": training["precision"],
        "seconds": f"not run, would need {skipped:.0f}" if skipped is not None else f"{row['seconds']:.1f}",
    }
    cells |= {f"{name}, s": f"{stages[name]:.1f}" if stages else "" for name in ("features", "training", "scoring")}
    rate = row.get("training images/s")
    cells["training images/s"] = f"{rate:.0f}" if rate else ""
    cells |= {
        name.replace("_", " "): f"{row[name]:.4f}" if name in row else "" for name in ("image_auroc", "pixel_auroc")
    }
    return cells | {"": FIRST if FIRST in row else ""}


def tables(record: Row) -> list[str]:
    """One table of all trainings."""
    return [markdown([shown(row) for row in record["rows"]])]
