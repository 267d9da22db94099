"""Variants of FastFlow on the same images: each trained with every seed, every record kept, differences with intervals.

A variant is what differs from the plain model: arguments of `FastFlow` and of `fit`. A difference is taken seed by
seed: one seed gives all variants the same order of images.
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
from fastflow_lite.files import write_atomically
from fastflow_lite.flows.steps import count_parameters
from fastflow_lite.flows.transforms import Transform
from fastflow_lite.model import FastFlow
from fastflow_lite.training.history import History
from fastflow_lite.training.trainer import fit

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("image_auroc", "pixel_auroc", "aupro")


@dataclass(frozen=True)
class Variant:
    """What one experiment changes: keyword arguments of `FastFlow` and of `fit`."""

    name: str
    model: Mapping[str, Any] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """What all variants share; `backbone` and `weights` as in `FastFlow`, `device` as torch names it."""

    backbone: str = "resnet18"
    weights: str = "bundled"
    model: Mapping[str, Any] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"


def compare(
    data: Data, variants: Sequence[Variant], seeds: Sequence[int], folder: str | Path, setting: Setting
) -> pd.DataFrame:
    """Train and judge each variant with each seed; a row a run, with `METRICS` of the last epoch.

    Each run's record is kept in `folder`, and not made again while images, weights and arguments are the same. Where
    a training diverged the metrics are nan, and the printed line says so.
    """
    import pandas as pd

    rows = []
    for variant in variants:
        for seed in seeds:
            record = run(data, variant, seed, Path(folder), setting)
            row = {"category": data.category, "variant": variant.name, "seed": seed}
            row |= {name: _number(record["metrics"][name]) for name in METRICS}
            row["parameters"] = record["parameters"]["flow_parameters"]
            rows.append(row | {"training_seconds": record["seconds"]["training"]})
            figures = f"image {row['image_auroc']:.3f}, pixel {row['pixel_auroc']:.3f}"
            print(f"{data.category}, {variant.name}, seed {seed}: {record.get('diverged', figures)}", flush=True)
    return pd.DataFrame(rows)


def run(data: Data, variant: Variant, seed: int, folder: Path, setting: Setting) -> dict[str, Any]:
    """The record of one run, read where the same run was made before."""
    asked = {"variant": asdict(variant), "setting": asdict(setting), "seed": seed}
    identity = asked | {"weights": _identity_of(setting.weights)}
    identity |= {"images": [data.train.fingerprint(), data.test.fingerprint(), data.test.size]}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True, default=repr).encode()).hexdigest()[:12]
    name = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in variant.name)
    place = folder / f"{data.category}_{name}_seed{seed}_{key}.json"
    if not place.is_file():
        text = _measured(data, variant, seed, setting)
        write_atomically(place, lambda target: target.write_text(text, encoding="utf-8"))
    return json.loads(place.read_text(encoding="utf-8"))


def _measured(data: Data, variant: Variant, seed: int, setting: Setting) -> str:
    """A record as JSON. A training that diverged is a result too: its metrics are null."""
    about = {"category": data.category, "variant": variant.name, "seed": seed, "flow_parameters": None}
    try:
        model, history = train(data, variant, seed, setting)
        about["flow_parameters"] = count_parameters(model)
        return evaluate(model, data.test, history=history, parameters=about, seed=seed).to_json()
    except FloatingPointError as error:
        nothing = {"metrics": dict.fromkeys(METRICS), "variants": {}, "seconds": {"training": None}}
        return json.dumps({"parameters": about, "diverged": str(error)} | nothing)


def train(data: Data, variant: Variant, seed: int, setting: Setting) -> tuple[FastFlow, History]:
    """One variant's trained model and how it was trained."""
    chosen = dict(setting.model) | dict(variant.model)
    model = FastFlow(setting.backbone, setting.weights, seed=seed, **chosen).to(setting.device)
    settings = dict(setting.fit) | dict(variant.fit)
    return model, fit(model, data.train, seed=seed, progress=False, **settings)


def differences(rows: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """How far each variant is from `baseline`, seed by seed: mean and half-width of Student's 95 % interval.

    Columns category, variant, metric, seeds, difference, half_width. One seed has no interval (nan). The interval
    is about other seeds on the same images; it says nothing about other categories.
    """
    import pandas as pd

    found = []
    for category, group in rows.groupby("category", sort=False):
        by_seed = group.pivot(index="seed", columns="variant", values=list(METRICS))
        for name in (v for v in group["variant"].unique() if v != baseline):
            for metric in METRICS:
                apart = (by_seed[metric][name] - by_seed[metric][baseline]).dropna()
                n = len(apart)
                cells = {"category": category, "variant": name, "metric": metric, "seeds": n}
                found.append(cells | {"difference": apart.mean(), "half_width": half_width(apart.std(), n)})
    return pd.DataFrame(found)


@torch.inference_mode()
def milliseconds(
    flows: Mapping[str, Sequence[Transform]], sizes: Sequence[tuple[int, int]], rounds: int = 5
) -> dict[str, float]:
    """Median milliseconds that each model's `flows` take for one image, maps of `sizes`; all in turn in every round.

    In turn, so that whatever else the machine does falls on all alike.
    """
    maps = {name: [_noise(f, s) for f, s in zip(stack, sizes, strict=True)] for name, stack in flows.items()}
    seen: dict[str, list[float]] = {name: [] for name in flows}
    for _ in range(rounds + 1):  # the first round warms up
        for name, stack in flows.items():
            _wait(maps[name][0])
            began = time.perf_counter()
            for flow, x in zip(stack, maps[name], strict=True):
                flow(x)
            _wait(maps[name][0])
            seen[name].append(1000 * (time.perf_counter() - began))
    return {name: statistics.median(times[1:]) for name, times in seen.items()}


def _noise(flow: Transform, size: tuple[int, int]) -> torch.Tensor:
    scale = next(p for name, p in flow.named_parameters() if name.endswith("log_scale"))
    return torch.randn(1, len(scale), *size, device=scale.device)


def _wait(x: torch.Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)


def _identity_of(weights: str) -> str:
    """Weights by what is in them where that is at hand, else by their name."""
    if weights == "bundled":
        return BUNDLED_SHA256
    path = Path(weights)
    if not path.is_file():
        return weights
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _number(value: float | None) -> float:
    return math.nan if value is None else value
