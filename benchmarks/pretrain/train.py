"""Teach a ResNet-18 (stem to layer3) to see, from formulas alone.

    python benchmarks/pretrain/train.py --out resnet18_formulas.safetensors

Renders its materials once (into --work, about half a minute a hundred materials), then makes new scenes for every
epoch and trains. Every epoch is kept: the same command goes on after an interruption. README.md beside this file
tells which recipe made the bundled weights, and how the alternatives fared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from oddity import GROUP, oddity
from pictures import OBJECTIVES, epoch_of_scenes, expose, magnify, relight, render_tiles
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from fastflow_lite.backbones import IMAGENET_MEAN, IMAGENET_STD, timm_features
from fastflow_lite.files import write_atomically
from fastflow_lite.machine import describe_machine
from fastflow_lite.progress import Progress
from fastflow_lite.synthetic.scenes import GROUND
from fastflow_lite.training.checkpoint import Checkpoint

CHANNELS, STRIDES = (64, 128, 256), (4, 8, 16)


# ---- network and loss ----------------------------------------------------------------------------------------------


class Guesser(nn.Module):
    """The backbone, and on each layer one linear map per kind of label."""

    mean: Tensor
    std: Tensor

    def __init__(self, labels: tuple[str, ...], materials: int, outlines: int) -> None:
        super().__init__()
        self.backbone = timm_features("resnet18", (1, 2, 3))
        self.labels = [label for label in labels if label != "odd"]
        self.oddity = "odd" in labels
        widths = {"picture": materials, "material": materials, "outline": outlines + 1, "flaw": 1, "contrast": 3}
        self.heads = nn.ModuleDict(
            {label: nn.ModuleList(nn.Conv2d(c, widths[label], 1) for c in CHANNELS) for label in self.labels}
        )
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.backbone((images - self.mean) / self.std)

    def head(self, label: str, level: int) -> nn.Conv2d:
        """The linear map from one layer to the guesses of one kind of label."""
        found = self.heads[label].get_submodule(str(level))
        assert isinstance(found, nn.Conv2d)
        return found

    def losses(self, images: Tensor, material: Tensor, outline: Tensor, flaw: Tensor) -> dict[str, Tensor]:
        """Cross-entropy in nats of each kind of label, the mean of the layers that guess it.

        Of `contrast`, the place's color less the picture's, it is the mean absolute error in standard deviations of
        the channel as ImageNet has it.
        """
        layers = self(images)
        found: dict[str, list[Tensor]] = {label: [] for label in self.labels}
        if self.oddity:
            found["odd"] = [oddity(layers, flaw)]
        for level, (features, stride) in enumerate(zip(layers, STRIDES, strict=True)):
            step = 2 * stride if level == 0 else stride  # of the finest layer every fourth place will do
            places, middle = features[..., :: step // stride, :: step // stride], slice(stride // 2, None, step)
            spoilt = F.max_pool2d(flaw[:, None].float(), stride)[..., :: step // stride, :: step // stride]
            for label in self.labels:
                head = self.head(label, level)
                if label == "picture" and level == 2:
                    whole = features.mean((2, 3), keepdim=True)
                    found[label].append(F.cross_entropy(head(whole)[..., 0, 0], material[:, 0, 0]))
                elif label == "material":
                    found[label].append(F.cross_entropy(head(places), material[:, middle, middle]))
                elif label == "outline" and level:
                    weight = torch.ones(head.out_channels, device=features.device)
                    weight[GROUND] = 0.1  # most places, and the easiest
                    found[label].append(F.cross_entropy(head(places), outline[:, middle, middle], weight))
                elif label == "flaw":
                    found[label].append(F.binary_cross_entropy_with_logits(head(places), spoilt))
                elif label == "contrast":
                    color = F.avg_pool2d((images - images.mean((2, 3), keepdim=True)) / self.std, stride)
                    found[label].append(F.l1_loss(head(places), color[..., :: step // stride, :: step // stride]))
        return {label: torch.stack(values).mean() for label, values in found.items()}


# ---- training ------------------------------------------------------------------------------------------------------


class Run:
    """The moving parts of one pre-training."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        torch.manual_seed(args.seed)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.weights: dict[str, float] = OBJECTIVES[args.objective]["weights"]
        self.model = Guesser(tuple(self.weights), args.materials, args.outlines).to(device)
        if args.start:  # batch norms count their batches anew, which nothing reads
            self.model.backbone.load_state_dict(load_file(args.start), strict=False)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # documented, but not in its types
        self.steps = args.scenes // args.batch
        self.optimizer = torch.optim.AdamW(self.model.parameters(), args.lr, weight_decay=args.weight_decay)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, args.lr, total_steps=args.epochs * self.steps, pct_start=0.2
        )
        self.log: list[dict[str, float]] = []

    def batches(self, scenes: tuple[Tensor, ...], epoch: int) -> Iterator[list[Tensor]]:
        generator = torch.Generator().manual_seed(self.args.seed * 1_000_003 + epoch)
        group = GROUP if self.model.oddity else 1
        order = torch.randperm(len(scenes[0]) // group, generator=generator)
        order = (order[:, None] * group + torch.arange(group)).flatten()  # pictures of a product stay together
        for chosen in order.split(self.args.batch):
            images, labels = scenes[0][chosen].float() / 255, [s[chosen] for s in scenes[1:]]
            if self.args.zoom > 1:
                size = self.args.look or self.args.size
                images, labels = magnify(images, labels, self.args.zoom, size, generator)
            images = expose(images, generator, group)
            if self.model.oddity:
                images = relight(images, generator)
            batch = [images.contiguous(memory_format=torch.channels_last), *labels]
            yield [x.to(next(self.model.parameters()).device) for x in batch]

    def epoch(self, scenes: tuple[Tensor, ...], epoch: int, bar: Progress) -> None:
        self.model.train()
        if self.model.oddity:  # a batch shows two products: no sample to take means and deviations from
            self.model.backbone.eval()
        totals: dict[str, float] = {}
        for step, (images, material, outline, flaw) in enumerate(self.batches(scenes, epoch), 1):
            losses = self.model.losses(images, material.long(), outline.long(), flaw)
            self.optimizer.zero_grad(set_to_none=True)
            torch.stack([self.weights[label] * loss for label, loss in losses.items()]).sum().backward()
            self.optimizer.step()
            self.schedule.step()
            for label, loss in losses.items():
                totals[label] = totals.get(label, 0.0) + loss.item()
            mean = {label: total / step for label, total in totals.items()}
            bar.step(epoch, partial(describe, mean))
        self.log.append(mean)

    def state(self) -> dict[str, object]:
        parts = {name: getattr(self, name).state_dict() for name in ("model", "optimizer", "schedule")}
        return parts | {"log": self.log}

    def load(self, state: dict[str, Any]) -> None:
        for name in ("model", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(state[name])
        self.log = state["log"]


def describe(losses: dict[str, float]) -> str:
    return ", ".join(f"{label} {loss:.3f}" for label, loss in losses.items())


def recipe(args: argparse.Namespace) -> dict[str, object]:
    """All arguments that the weights depend on; of `start` what is in it, not where it lies."""
    chosen = {k: v for k, v in vars(args).items() if k not in ("out", "work")}
    return chosen | {"start": args.start and hashlib.sha256(args.start.read_bytes()).hexdigest()}


def export(run: Run, path: Path, seconds: float) -> None:
    """The backbone alone, float16, with the recipe in the file's header."""
    state = {k: v.half().contiguous() for k, v in run.model.backbone.state_dict().items() if "num_batches" not in k}
    device = next(run.model.parameters()).device
    about = {
        "recipe": recipe(run.args),
        "losses": run.log[-1],
        "seconds": round(seconds),
        "machine": describe_machine(device),
    }
    write_atomically(path, lambda place: save_file(state, place, {"made_by": json.dumps(about, sort_keys=True)}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/pretrain"), help="tiles and checkpoints")
    parser.add_argument("--objective", choices=OBJECTIVES, default="flaws")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--scenes", type=int, default=4096, help="new scenes an epoch, a multiple of 64")
    parser.add_argument("--size", type=int, default=96, help="pixels a side of a scene")
    parser.add_argument("--materials", type=int, default=480)
    parser.add_argument("--pictures", type=int, default=16, help="pictures of each material")
    parser.add_argument("--outlines", type=int, default=120)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--zoom", type=float, default=1.0, help="enlarge windows of the scenes up to so many times")
    parser.add_argument("--look", type=int, help="pixels a side that such a window is brought to, instead of --size")
    parser.add_argument("--start", type=Path, help="go on from these weights, written by an earlier call")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name, pixels in (("size", args.size), ("look", args.look)):
        if pixels and pixels % STRIDES[-1]:
            parser.error(f"--{name} is {pixels}, and has to be a multiple of {STRIDES[-1]}")
    return args


def main() -> None:
    args = arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    tiles = args.work / f"materials_{args.materials}x{args.pictures}_seed{args.seed}.npy"
    identity = recipe(args)
    keeper = Checkpoint(args.work / f"{args.out.stem}.ckpt", identity)
    run, spent = Run(args), 0.0
    if keeper.exists():
        state = keeper.load()
        run.load(state)
        spent = state["seconds"]
    began = time.monotonic() - spent
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        render_tiles(tiles, pool, args.seed, args.materials, args.pictures)
        with Progress(args.epochs, run.steps, len(run.log)) as bar:
            for epoch in range(len(run.log), args.epochs):
                run.epoch(epoch_of_scenes(tiles, pool, args, epoch), epoch, bar)
                keeper.save(run.state() | {"seconds": time.monotonic() - began})
                bar.end_epoch(epoch, describe(run.log[-1]))
    export(run, args.out, time.monotonic() - began)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB, {(time.monotonic() - began) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
