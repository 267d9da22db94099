"""Ablations: variants of FastFlow trained on the same images with the same seeds, and their differences with intervals.

A variant lists the arguments of `FastFlow` and of `fit` that differ from the baseline. Differences are paired by seed,
because one seed gives all variants the same order of images.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fastflow_lite.backbones.weights import BUNDLED_SHA256
from fastflow_lite.batch.table import half_width
from fastflow_lite.datasets import Data
from fastflow_lite.evaluation.evaluator import evaluate
from fastflow_lite.files import sha256_of_file, write_atomically
from fastflow_lite.flows.steps import count_parameters
from fastflow_lite.flows.transforms import Transform
from fastflow_lite.machine import synchronize
from fastflow_lite.model import FastFlow
from fastflow_lite.training.history import History
from fastflow_lite.training.trainer import fit

if TYPE_CHECKING:
    import pandas as pd

COMPARED_METRICS = ("image_auroc", "pixel_auroc", "aupro")


@dataclass(frozen=True)
class Variant:
    """The arguments of `FastFlow` and of `fit` that one experiment changes."""

    name: str
    model: Mapping[str, Any] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """The arguments that all variants share; `backbone` and `weights` as in `FastFlow`, `device` as torch names it."""

    backbone: str = "resnet18"
    weights: str = "bundled"
    model: Mapping[str, Any] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"


def compare(
    data: Data, variants: Sequence[Variant], seeds: Sequence[int], folder: str | Path, setting: Setting
) -> pd.DataFrame:
    """Train and evaluate each variant with each seed; return one row per run with `COMPARED_METRICS` of the last epoch.

    Each run's record is kept in `folder` and read from there while images, weights and arguments are the same. The
    metrics of a training that diverged are nan, and the printed line gives the reason.
    """
    import pandas as pd

    rows = []
    for variant in variants:
        for seed in seeds:
            record = run(data, variant, seed, Path(folder), setting)
            row = {"category": data.category, "variant": variant.name, "seed": seed}
            row |= {name: _number(record["metrics"][name]) for name in COMPARED_METRICS}
            row["parameters"] = record["parameters"]["flow_parameters"]
            rows.append(row | {"training_seconds": record["seconds"]["training"]})
            figures = f"image {row['image_auroc']:.3f}, pixel {row['pixel_auroc']:.3f}"
            print(f"{data.category}, {variant.name}, seed {seed}: {record.get('diverged', figures)}", flush=True)
    return pd.DataFrame(rows)


def run(data: Data, variant: Variant, seed: int, folder: Path, setting: Setting) -> dict[str, Any]:
    """Return the record of one run; read it from `folder` if the same run was made before."""
    arguments = {"variant": asdict(variant), "setting": asdict(setting), "seed": seed}
    identity = arguments | {"weights": _identity_of(setting.weights)}
    identity |= {"images": [data.train.fingerprint(), data.test.fingerprint(), data.test.size]}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True, default=repr).encode()).hexdigest()[:12]
    name = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in variant.name)
    place = folder / f"{data.category}_{name}_seed{seed}_{key}.json"
    if not place.is_file():
        text = _make_record(data, variant, seed, setting)
        write_atomically(place, lambda target: target.write_text(text, encoding="utf-8"))
    return json.loads(place.read_text(encoding="utf-8"))


def _make_record(data: Data, variant: Variant, seed: int, setting: Setting) -> str:
    """Train and evaluate one variant; return the record as JSON. The metrics of a training that diverged are null."""
    about = {"category": data.category, "variant": variant.name, "seed": seed, "flow_parameters": None}
    try:
        model, history = train(data, variant, seed, setting)
        about["flow_parameters"] = count_parameters(model)
        return evaluate(model, data.test, history=history, parameters=about, seed=seed).to_json()
    except FloatingPointError as error:
        nothing = {"metrics": dict.fromkeys(COMPARED_METRICS), "variants": {}, "seconds": {"training": None}}
        return json.dumps({"parameters": about, "diverged": str(error)} | nothing)


def train(data: Data, variant: Variant, seed: int, setting: Setting) -> tuple[FastFlow, History]:
    """Train one variant; return the model and the history of its training. DivergedError without another try."""
    chosen = dict(setting.model) | dict(variant.model)
    model = FastFlow(setting.backbone, setting.weights, seed=seed, **chosen).to(setting.device)
    settings = {"halvings": 0} | dict(setting.fit) | dict(variant.fit)  # a lower rate would be another variant
    return model, fit(model, data.train, seed=seed, progress=False, **settings)


def differences(rows: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Return the differences from `baseline`, paired by seed: mean and half-width of Student's 95 % interval.

    Columns category, variant, metric, seeds, difference, half_width. One seed has no interval (nan). The interval
    covers other seeds on the same images, not other categories.
    """
    import pandas as pd

    cells_of_rows = []
    for category, group in rows.groupby("category", sort=False):
        by_seed = group.pivot(index="seed", columns="variant", values=list(COMPARED_METRICS))
        for name in (v for v in group["variant"].unique() if v != baseline):
            for metric in COMPARED_METRICS:
                paired = (by_seed[metric][name] - by_seed[metric][baseline]).dropna()
                n = len(paired)
                cells = {"category": category, "variant": name, "metric": metric, "seeds": n}
                cells_of_rows.append(cells | {"difference": paired.mean(), "half_width": half_width(paired.std(), n)})
    return pd.DataFrame(cells_of_rows)


@torch.inference_mode()
def milliseconds(
    flows: Mapping[str, Sequence[Transform]], sizes: Sequence[tuple[int, int]], rounds: int = 5
) -> dict[str, float]:
    """Return the median milliseconds that each model's `flows` take for one image with maps of `sizes`.

    Every round times each model once, so that other work on the machine affects all of them alike.
    """
    maps = {name: [_random_map(f, s) for f, s in zip(stack, sizes, strict=True)] for name, stack in flows.items()}
    times: dict[str, list[float]] = {name: [] for name in flows}
    for _ in range(rounds + 1):  # the first round warms up
        for name, stack in flows.items():
            synchronize(maps[name][0].device)
            began = time.perf_counter()
            for flow, x in zip(stack, maps[name], strict=True):
                flow(x)
            synchronize(maps[name][0].device)
            times[name].append(1000 * (time.perf_counter() - began))
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def _random_map(flow: Transform, size: tuple[int, int]) -> torch.Tensor:
    scale = next(p for name, p in flow.named_parameters() if name.endswith("log_scale"))
    return torch.randn(1, len(scale), *size, device=scale.device)


def _identity_of(weights: str) -> str:
    """Return the sha256 of bundled weights or of a file with weights; other weights are identified by their name."""
    if weights == "bundled":
        return BUNDLED_SHA256
    path = Path(weights)
    return sha256_of_file(path) if path.is_file() else weights


def _number(value: float | None) -> float:
    return math.nan if value is None else value
