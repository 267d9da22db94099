"""One run of `choose.py`: a training, and the trained model judged on planted defects and on the real test images."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from choose_parts.planted import VERSION
from choose_parts.sets import Planted, divide, open_set, planted, to_tensor
from choose_parts.settings import FASTFLOW, OWN, Options, Setting
from fastflow_lite import FastFlow, fit
from fastflow_lite.baselines import BASELINES, Baseline, FitHistory
from fastflow_lite.datasets import ImageSet
from fastflow_lite.devices.thread_choice import ThreadChoice
from fastflow_lite.files import write_atomically
from fastflow_lite.flows.likelihood import bits, nats_per_dim
from fastflow_lite.machine import describe_machine
from fastflow_lite.scoring import metrics
from fastflow_lite.training import History

METRICS = ("image_auroc", "pixel_auroc", "aupro")
BATCH = 8
MIB = 2**20
Metrics = dict[str, float]
Model = FastFlow | Baseline
CLASSES: dict[str, Any] = {FASTFLOW: FastFlow} | BASELINES


@dataclass
class Scored:
    """Maps `(N, H, W)` and scores `(N,)` of some images."""

    maps: NDArray[np.float32]
    scores: NDArray[np.float32]


class Judge:
    """Maps and scores of a trained model by every read-out, from one pass; counts bits, images and seconds."""

    def __init__(self, model: Model, readouts: Mapping[str, Options]) -> None:
        self.model: Any = model.eval()  # the outputs of a baseline are others than those of a flow
        self.readouts, self.own = readouts, model.config
        self.prepared: Any = model.prepared_for_inference()
        self.images, self.seconds, self.bits = 0, 0.0, 0.0

    @torch.inference_mode()
    def __call__(self, batches: Iterable[Tensor]) -> dict[str, Scored]:
        """Score batches `(B, 3, H, W)`. `bits` is then their mean in bits per dimension, 0 for a baseline."""
        found: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in self.readouts}
        nats, count = 0.0, 0
        with ThreadChoice(self.model.device):
            for batch in batches:
                began = time.monotonic()
                outputs = self.prepared(batch)
                self.model.maps_and_scores(outputs, batch.shape[-2:])
                self.seconds += time.monotonic() - began
                self.images += len(batch)
                if isinstance(self.model, FastFlow):
                    nats += nats_per_dim(outputs).item() * len(batch)
                count += len(batch)
                for name, options in self.readouts.items():
                    self.model.config = replace(self.own, **options)
                    found[name].append(self.model.maps_and_scores(outputs, batch.shape[-2:]))
                self.model.config = self.own
        self.bits = bits(nats / count)
        return {
            name: Scored(torch.cat([maps[:, 0] for maps, _ in of]).numpy(), torch.cat([s for _, s in of]).numpy())
            for name, of in found.items()
        }


def run(
    name: str,
    setting: Setting,
    seed: int,
    readouts: Mapping[str, Options],
    folder: Path,
    cache: Path,
    train_by: Callable[[Setting, int, ImageSet], tuple[Model, dict[str, Any]]] | None = None,
) -> dict[str, Any] | None:
    """Make one run, or what it lacks, in `folder`; return its record, or None if nothing was to be done.

    A read-out that the record lacks is judged by the model that was kept beside it. SystemExit if the record is of
    another setting of the same name. `train_by` takes the place of `train_model`.
    """
    file, model_file = folder / f"{seed}.json", folder / f"{seed}.safetensors"
    record = json.loads(file.read_text()) if file.exists() else {}
    asked = setting.to_record()
    if record and (record["options"] != asked or record["planted"] != VERSION):
        raise SystemExit(f"{file} was made with other options or defects than now: delete {folder} or rename it")
    asked_readouts: dict[str, Options] = {OWN: {}} | (dict(readouts) if setting.method == FASTFLOW else {})
    lacking = {key: options for key, options in asked_readouts.items() if key not in record.get("readouts", {})}
    if not lacking:
        return None
    data = open_set(name, setting.image_size)
    train, held_out = divide(data, seed)
    defects = planted(name, held_out, seed, cache)
    if record and model_file.exists():
        model = CLASSES[setting.method].load(model_file)
    else:
        model, record = (train_by or train_model)(setting, seed, train)
        record |= {"set": name, "seed": seed, "options": asked, "planted": VERSION, "readouts": {}}
        model_file.parent.mkdir(parents=True, exist_ok=True)
        model.save(model_file)
        record["cost"]["file_mib"] = model_file.stat().st_size / MIB
    judge = Judge(model, lacking)
    record["readouts"] |= judge_all(judge, defects, data.test.batches(BATCH), record)
    record["cost"].setdefault("images_per_s", judge.images / judge.seconds)
    text = json.dumps(record, indent=1)
    write_atomically(file, lambda place: place.write_text(text + "\n"))
    return record


def train_model(setting: Setting, seed: int, train: ImageSet) -> tuple[Model, dict[str, Any]]:
    """Train a model on normal images; return it and the beginning of its record."""
    model = CLASSES[setting.method](setting.network, setting.weights, seed=seed, **setting.config)
    cpu = time.process_time()
    history: History | FitHistory
    if isinstance(model, FastFlow):
        history = fit(model, train, seed=seed, progress=False, **setting.training)
    else:
        history = model.fit(train, progress=False)
    seconds = sum(history.seconds.values())
    return model, {
        "config": model.config.to_record(),
        "training": history.to_record(),
        "weights": asdict(model.backbone.weights_info),
        "machine": describe_machine(model.device),
        "cost": {"training_s": seconds, "training_cpu_s": time.process_time() - cpu},
    }


def judge_all(
    judge: Judge, defects: Planted, test: Iterator[tuple[Tensor, Tensor]], record: dict[str, Any]
) -> dict[str, Any]:
    """Return for every read-out the metrics of each family, of the protocol (their mean) and of the test images."""
    normal = judge(batches_of(defects.normal))
    record["held_out_bits_per_dim"] = judge.bits
    found: dict[str, Any] = {name: {"families": {}} for name in judge.readouts}
    for family, images in defects.images.items():
        scored = judge(batches_of(images))
        masks = np.concatenate([np.zeros(defects.normal.shape[:3], bool), defects.masks[family]])
        for name, of in found.items():
            of["families"][family] = judge_one(masks, joined(normal[name], scored[name]))
    for of in found.values():
        of["protocol"] = mean_of(of["families"].values())
    masks_of_test: list[Tensor] = []

    def images_of_test() -> Iterator[Tensor]:
        for images, masks in test:
            masks_of_test.append(masks)
            yield images

    for name, scored_test in judge(images_of_test()).items():
        found[name]["real"] = judge_one(torch.cat(masks_of_test).numpy(), scored_test)
    return found


def judge_one(masks: NDArray[np.bool_], scored: Scored) -> Metrics:
    """Compute the three metrics; an image is a defect if its mask `(H, W)` marks a pixel."""
    found = metrics.pixel_metrics(masks, scored.maps)
    found["image_auroc"] = metrics.auroc(masks.any(axis=(1, 2)), scored.scores)
    return {name: found[name] for name in METRICS}


def joined(one: Scored, other: Scored) -> Scored:
    return Scored(np.concatenate([one.maps, other.maps]), np.concatenate([one.scores, other.scores]))


def mean_of(rows: Iterable[Metrics]) -> Metrics:
    """Return the mean of each metric over rows."""
    rows = list(rows)
    return {name: float(np.mean([row[name] for row in rows])) for name in METRICS}


def batches_of(images: NDArray[np.uint8]) -> Iterator[Tensor]:
    return (to_tensor(images[start : start + BATCH]) for start in range(0, len(images), BATCH))
