"""Levers that the library did not have, each tried on the flow of one scale: does it earn its place?

    python benchmarks/choose.py --runs RUNS --sets bottle screw --settings "no coupling" --backbones lite0 --seeds 0 1 2
    python benchmarks/levers.py --runs RUNS --sets bottle screw --seeds 0 1 2
    python benchmarks/levers.py --table

From a model that `choose.py` kept, the flow of one scale is trained anew, on the same features and views, for as many
updates and with the same noise, once without a change ("nothing") and once with each lever of
`choose_parts/lever_flow.py`; the other scales stay. It is the coarsest scale, but the one before it for the lever that
makes a flow conditional on the next. The map of all scales is then judged on the test images: the labels report, and
choose nothing. Bits per dimension of the held-out normal images, with noise as in training, are computed after every
quarter of the training; they show whether stopping earlier by the held-out likelihood would ever have stopped. Records:
benchmarks/results/levers.json.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from choose_parts.lever_flow import LEVERS, LeverFlow
from choose_parts.run import BATCH, METRICS
from choose_parts.sets import SETS, divide, open_set
from choose_parts.settings import SETTINGS
from harness import RESULTS, keep, provenance, read_json
from scipy import stats
from torch import Tensor, nn

from fastflow_lite import FastFlow
from fastflow_lite.datasets.views import FilledSet
from fastflow_lite.errors import ArgumentError
from fastflow_lite.flows.likelihood import bits, nats_per_dim
from fastflow_lite.flows.positions import StandardizePositions
from fastflow_lite.flows.transforms import Sequential as Transforms
from fastflow_lite.scoring.metrics import auroc, pixel_metrics
from fastflow_lite.training.optimization import DEFAULT_LR, adam, one_cycle

UPDATES, NOISE, VIEWS = (SETTINGS["ours"].training[name] for name in ("updates", "noise", "views"))
QUARTERS = 4


@dataclass
class Features:
    """Features of training, held-out and test images at all scales; masks `(N, H, W)` and labels of the test images."""

    train: list[Tensor]
    held_out: list[Tensor]
    test: list[Tensor]
    masks: np.ndarray
    labels: np.ndarray


@torch.inference_mode()
def features_of(model: FastFlow, images: Any) -> tuple[list[Tensor], np.ndarray]:
    """Compute the normalized features `(N, C, h, w)` of every scale, and return them with the masks."""
    found, masks = [], []
    for batch, batch_masks in images.batches(BATCH):
        found.append(model.features(batch))
        masks.append(batch_masks.reshape(len(batch), *batch.shape[-2:]).numpy().astype(bool))
    return [torch.cat(scale).clone() for scale in zip(*found, strict=True)], np.concatenate(masks)


def read(model: FastFlow, name: str, seed: int) -> Features:
    """Compute all features of one set, with the images held out that `choose.py` held out."""
    data = open_set(name, SETTINGS["ours"].image_size)
    train, held_out = divide(data, seed)
    test, masks = features_of(model, data.test)
    filled = FilledSet(train, VIEWS, seed)
    return Features(
        features_of(model, filled)[0], features_of(model, held_out)[0], test, masks, np.asarray(data.test.labels)
    )


class Scale:
    """The flow of one scale with one lever, and what it is trained on."""

    def __init__(self, model: FastFlow, index: int, lever: str) -> None:
        self.index, self.lever = index, LEVERS[lever]
        channels = model.backbone.channels
        self.flow = LeverFlow(channels[index], self.lever, channels[index + 1] if self.lever.next_scale else 0)
        first = cast("Transforms", model.flows[index]).transforms[0]
        stays = isinstance(first, StandardizePositions) and self.lever.standardize
        self.standardize = first if stays else None

    def __call__(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Compute z and log_det from the features of all scales."""
        x, log_det = maps[self.index], torch.zeros(())
        if self.standardize is not None:
            x, log_det = self.standardize(x)
        z, of_flow = self.flow(x, maps[self.index + 1] if self.lever.next_scale else None)
        return z, log_det + of_flow

    def train(self, features: Features, seed: int) -> list[float]:
        """Train as the recipe does; return bits per dimension of the held-out images after each quarter."""
        generator = torch.Generator().manual_seed(seed)
        parameters = list(self.flow.parameters())
        optimizer = adam(parameters, DEFAULT_LR)
        schedule = one_cycle(optimizer, DEFAULT_LR, UPDATES)
        curve = []
        for update, chosen in enumerate(batches(len(features.train[0]), generator), start=1):
            self.flow.train()
            optimizer.zero_grad()
            nats_per_dim([self(noisy([x[chosen] for x in features.train], generator))]).backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            if update % (UPDATES // QUARTERS) == 0:
                curve.append(self.held_out_bits(features))
            if update == UPDATES:
                return curve
        raise AssertionError("batches never end")

    @torch.inference_mode()
    def held_out_bits(self, features: Features) -> float:
        """Return the bits per dimension of held-out images with noise as in training, the same noise every time."""
        self.flow.eval()
        generator = torch.Generator().manual_seed(0)
        return bits(nats_per_dim([self(noisy(features.held_out, generator))]).item())


def batches(count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield batches of image numbers for ever, every image once a pass."""
    while True:
        yield from torch.randperm(count, generator=generator).split(BATCH)


def noisy(maps: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Add the recipe's noise to features."""
    return [x + NOISE * torch.randn(x.shape, generator=generator) for x in maps]


@torch.inference_mode()
def judge(model: FastFlow, scale: Scale, features: Features) -> dict[str, float]:
    """Return the metrics of the test images, with the other scales as they were."""
    scale.flow.eval()
    parts = []
    for chosen in torch.arange(len(features.labels)).split(BATCH):
        maps = [x[chosen] for x in features.test]
        outputs = model.flow(maps)
        outputs[scale.index] = scale(maps)
        parts.append(model.maps_and_scores(outputs, features.masks.shape[1:]))
    of_images = torch.cat([m[:, 0] for m, _ in parts]).numpy()
    of_pixels = pixel_metrics(features.masks, of_images)
    image_auroc = auroc(features.labels, torch.cat([s for _, s in parts]).numpy())
    return {"image_auroc": image_auroc} | {name: of_pixels[name] for name in METRICS[1:]}


def run(runs: Path, name: str, seed: int, levers: Sequence[str]) -> None:
    """Make the missing records of one kept model."""
    known = read_json(RESULTS / "levers.json")
    pairs = [(lever, 1 if LEVERS[lever].next_scale else 2) for lever in levers]
    if any(LEVERS[lever].next_scale for lever in levers):
        pairs.append(("nothing", 1))
    wanted = [pair for pair in dict.fromkeys(pairs) if key(name, seed, *pair) not in known]
    file = runs / name / "lite0" / "no coupling" / f"{seed}.safetensors"
    if not wanted:
        return
    if not file.exists():
        raise ArgumentError(f"there is no {file}: make it by choose.py, see --help")
    model = FastFlow.load(file).eval()
    features = read(model, name, seed)
    for lever, index in wanted:
        torch.manual_seed(seed)
        scale, began = Scale(model, index, lever), time.process_time()
        curve = scale.train(features, seed)
        record: dict[str, Any] = {"held_out_bits": curve, "training_cpu_s": time.process_time() - began}
        record |= judge(model, scale, features)
        keep("levers", {key(name, seed, lever, index): record | provenance()})
        print(name, seed, lever, index, {k: round(v, 4) for k, v in record.items() if k in METRICS}, flush=True)


def key(name: str, seed: int, lever: str, index: int) -> str:
    """Return the key of one record."""
    return f"{name}, seed {seed}, scale {index + 1}, {lever}"


def table(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a Markdown row for each set, scale and lever: the change against "nothing", seed by seed, and its cost."""
    found: dict[tuple[str, str, str], list[tuple[Any, Any]]] = defaultdict(list)
    for name, record in records.items():
        of_set, seed, scale, lever = name.split(", ", 3)
        found[of_set, scale, lever].append((record, records[f"{of_set}, {seed}, {scale}, nothing"]))
    lines = [
        "| set | scale | lever | seeds | image AUROC | pixel AUROC | AUPRO | bits held out, each quarter | time |",
        f"|{' --- |' * 9}",
    ]
    for (of_set, scale, lever), pairs in sorted(found.items(), key=lambda item: (item[0][0], item[0][1])):
        cells = [change([p[metric] for p, _ in pairs], [n[metric] for _, n in pairs], lever) for metric in METRICS]
        quarters = zip(*(p["held_out_bits"] for p, _ in pairs), strict=True)
        curve = ", ".join(f"{statistics.mean(of):.3f}" for of in quarters)
        cost = statistics.median(p["training_cpu_s"] / n["training_cpu_s"] for p, n in pairs)
        row = [of_set, scale.removeprefix("scale "), lever, len(pairs), *cells, curve, f"{cost:.2f}"]
        lines.append(f"| {' | '.join(map(str, row))} |")
    return "\n".join(lines)


def change(with_lever: Sequence[float], without: Sequence[float], lever: str) -> str:
    """Return the mean change with its 95 % interval of Student's t; for "nothing" the mean itself."""
    if lever == "nothing":
        return f"{statistics.mean(without):.3f}"
    changes = [a - b for a, b in zip(with_lever, without, strict=True)]
    if len(changes) < 2:
        return f"{changes[0]:+.3f}"
    half = stats.t.ppf(0.975, len(changes) - 1) * statistics.stdev(changes) / math.sqrt(len(changes))
    return f"{statistics.mean(changes):+.3f} ± {half:.3f}"


def main() -> None:
    """Make runs, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="the folder of choose.py's runs")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["bottle", "screw"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--levers", nargs="+", choices=LEVERS, default=list(LEVERS))
    parser.add_argument("--table", action="store_true", help="print the table of all records, and train nothing")
    args = parser.parse_args()
    if args.table:
        print(table(read_json(RESULTS / "levers.json")))
        return
    if args.runs is None:
        parser.error("--runs is needed to find trained models")
    for seed in args.seeds:
        for name in args.sets:
            run(args.runs, name, seed, args.levers)


if __name__ == "__main__":
    main()
