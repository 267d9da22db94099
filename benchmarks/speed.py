"""Training step and inference beside anomalib's FastFlow and beside what the machine can do.

    python benchmarks/speed.py [--backbones resnet18 wide_resnet50_2 deit_base_distilled_patch16_384]
    python benchmarks/speed.py --device cuda --dtype bfloat16 --compile

Both models have the same backbone weights, images, batch, threads, kernels (3x3 and 1x1 in turn) and widths. Each
lives in a process of its own; the two take turns, so that what else the machine does meets both. Times are
milliseconds an image: of the wall's clock, and of the processor's (all threads together), which other programs
stretch less. The ceiling is the fastest convolution or matrix product of the shapes in use, measured in between;
"operators alone" is the flow's time if each of its convolutions and products ran at its own measured rate and nothing
else were to do (`ceiling.py`).
Needs the extra `bench`. Records: results/speed.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import ceiling
import peer
import torch
from complexity import count_multiply_adds, mark, markdown, milliseconds
from torch import Tensor

from fastflow_lite.backbones import PRESETS
from fastflow_lite.flows.likelihood import nats_per_dim
from fastflow_lite.machine import peak_memory_mib
from fastflow_lite.model import FastFlow, PreparedModel
from fastflow_lite.training import adam

BATCH = {"resnet18": 8, "wide_resnet50_2": 4, "deit_base_distilled_patch16_384": 2}
WORK = ("inference", "backbone", "flow", "training step", "flow training step")
WARMUP = 2


class Side:
    """One model and what is timed of it, within its process."""

    adam: Callable[..., torch.optim.Optimizer] = torch.optim.Adam
    model: Any

    def __init__(self, args: argparse.Namespace, backbone: str) -> None:
        torch.manual_seed(0)
        self.device, self.dtype = torch.device(args.device), getattr(torch, args.dtype)
        size = args.image_size or PRESETS[backbone].image_size
        self.build(backbone, size, args.weights or "random")
        self.images = torch.rand(args.batch or BATCH[backbone], 3, size, size).to(self.device)
        self.prepare(args.compile)
        with torch.no_grad():
            self.features = [x.clone() for x in self.backbone()]
        learned = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = self.adam(learned, 1e-6)  # so small that nothing diverges on random images
        self.parameters = sum(p.numel() for p in learned)

    def build(self, backbone: str, size: int, weights: str) -> None:
        raise NotImplementedError

    def prepare(self, compiled: bool) -> None:
        """Choose how the flow is computed, once the model is there."""
        self.timed_flow: Callable[..., Any] = torch.compile(self.flow) if compiled else self.flow

    def products(self) -> AbstractContextManager[object]:
        """The context in which all is computed: autocast for bfloat16."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def backbone(self) -> list[Tensor]:
        raise NotImplementedError

    def flow(self, features: list[Tensor]) -> Any:
        raise NotImplementedError

    def loss(self, outputs: Any) -> Tensor:
        raise NotImplementedError

    def predict(self) -> None:
        raise NotImplementedError

    def once(self, work: str) -> tuple[float, float]:
        """Milliseconds an image on the wall's clock and the processor's."""
        self.model.train("training" in work)
        start = mark(self.device)
        with self.products():
            if "training" in work:
                self.step(work)
            else:
                with torch.inference_mode():
                    self.inference_of(work)()
        wall, processor = milliseconds(*start, *mark(self.device))
        return wall / len(self.images), processor / len(self.images)

    def inference_of(self, work: str) -> Callable[[], object]:
        """What is timed without gradients."""
        if work == "inference":
            return self.predict
        return self.backbone if work == "backbone" else partial(self.timed_flow, self.features)

    def step(self, work: str) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.timed_flow(self.for_step(work))).backward()
        self.optimizer.step()

    def for_step(self, work: str) -> list[Tensor]:
        """The features that a step of training begins with."""
        raise NotImplementedError


class Ours(Side):
    """Inference as `score_images` does it; a training step from the cache of float16 features, as `fit` takes it."""

    adam = staticmethod(adam)
    model: FastFlow

    def build(self, backbone: str, size: int, weights: str) -> None:
        self.model = peer.ours(backbone, weights).to(self.device).eval()
        self.prepared: PreparedModel | None = None  # during inference

    def prepare(self, compiled: bool) -> None:
        self.precision = "bf16" if self.dtype == torch.bfloat16 else "float32"
        self.compiled, self.timed_flow = compiled, self.flow

    def products(self) -> AbstractContextManager[object]:
        return nullcontext()  # the model itself has `precision`

    def working(self) -> FastFlow | PreparedModel:
        return self.prepared or self.model

    def backbone(self) -> list[Tensor]:
        return self.working().features(self.images)

    def flow(self, features: list[Tensor]) -> Any:
        if self.prepared:
            return self.prepared.flow(features)
        return self.model.flow(features, precision=self.precision, compiled=self.compiled)

    def loss(self, outputs: Any) -> Tensor:
        return nats_per_dim(outputs)

    def predict(self) -> None:
        self.model.maps_and_scores(self.working()(self.images), self.images.shape[-2:])

    def once(self, work: str) -> tuple[float, float]:
        if "training" in work:
            self.prepared = None
        elif self.prepared is None:
            self.prepared = self.model.prepared_for_inference(self.precision, self.compiled)
        return super().once(work)

    def for_step(self, work: str) -> list[Tensor]:
        if not hasattr(self, "kept"):
            self.kept = [x.half().cpu() for x in self.features]
        return [x.float().to(self.device) for x in self.kept]


class Theirs(Side):
    """anomalib's model. Its training has no cache: a step runs the backbone too."""

    def build(self, backbone: str, size: int, weights: str) -> None:
        network = peer.ours(backbone, weights, steps=1).backbone.network
        self.model = peer.theirs(backbone, size, network).to(self.device).eval()

    def backbone(self) -> list[Tensor]:
        return peer.their_backbone(self.model, self.images)

    def flow(self, features: list[Tensor]) -> Any:
        return peer.their_flow(self.model, features)

    def loss(self, outputs: Any) -> Tensor:
        return peer.their_loss(outputs)

    def predict(self) -> None:
        self.model(self.images)

    def for_step(self, work: str) -> list[Tensor]:
        if work == "training step":
            with torch.no_grad():
                return self.backbone()
        return self.features


SIDES = {"ours": Ours, "anomalib": Theirs}
_here: dict[str, Side] = {}


def begin(side: str, args: argparse.Namespace, backbone: str) -> dict[str, Any]:
    """Build one side in this process; its learned parameters, multiply-adds of an image, shapes of its maps."""
    _here["side"] = here = SIDES[side](args, backbone)
    found: dict[str, Any] = {"parameters": here.parameters, "shapes": [list(x.shape[1:]) for x in here.features]}
    if side == "ours":
        pairs = list(zip(here.model.flows, here.features, strict=True))
        giga_flop = 2e-9 / len(here.images)  # an image, for each multiply-add of the batch
        with torch.no_grad():
            flows = [giga_flop * count_multiply_adds(partial(flow, x)) for flow, x in pairs]
            whole = sum(flows) + giga_flop * count_multiply_adds(here.backbone)
        found["giga_flop"] = {"flows": flows, "flow": sum(flows), "whole": whole}
    return found


def once(work: str) -> tuple[float, float]:
    return _here["side"].once(work)


def peak() -> float:
    memory = peak_memory_mib()
    return memory.get("gpu", memory["host"])


def measure(args: argparse.Namespace, backbone: str) -> dict[str, Any]:
    """Everything about one backbone: both sides, in turns."""
    batch = args.batch or BATCH[backbone]
    with peer.Fresh(args.threads) as mine, peer.Fresh(args.threads) as other, peer.Fresh(args.threads) as third:
        sides = {"ours": mine, "anomalib": other}
        record: dict[str, Any] = {"batch": batch, "machine": mine(peer.machine, args.device)}
        record |= {name: fresh(begin, name, args, backbone) for name, fresh in sides.items()}
        rates: dict[str, list[float]] = {}
        for work in WORK:
            for _ in range(WARMUP):
                for fresh in sides.values():
                    fresh(once, work)
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
            for _ in range(args.repeats):
                for name, fresh in sides.items():
                    times[name].append(fresh(once, work))
            for name, taken in times.items():
                wall, processor = zip(*taken, strict=True)
                record[name][work] = {"wall": peer.spread(wall), "processor": peer.spread(processor)}
            for name, rate in third(ceiling.rates, record["ours"]["shapes"], batch, args.device, args.dtype).items():
                rates.setdefault(name, []).append(rate)
            for name, fresh in sides.items():
                record[name].setdefault("peak_mib", {})[work] = fresh(peak)
    record["giga_flop_per_second"] = {name: max(values) for name, values in rates.items()}
    return record


def rows(name: str, r: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each thing timed."""
    rates, flop, found = r["giga_flop_per_second"], r["ours"]["giga_flop"], []
    amount = {"inference": flop["whole"], "flow": flop["flow"], "backbone": flop["whole"] - flop["flow"]}
    for work in WORK:
        ours, theirs = r["ours"][work], r["anomalib"][work]
        floor = 1000 * amount.get(work, 3 * flop["flow"]) / ceiling.fastest(rates)
        passes = ceiling.PASSES if "training" in work else ceiling.PASSES[:1]
        alone = ceiling.operators(rates, r["ours"]["shapes"], flop["flows"], passes) if "flow" in work else None
        found.append(
            {
                "backbone": name,
                "work": work,
                "ours, ms": peer.shown(ours["wall"]),
                "anomalib, ms": peer.shown(theirs["wall"]),
                "ratio": f"{theirs['wall']['median'] / ours['wall']['median']:.2f}",
                "ratio, processor": f"{theirs['processor']['median'] / ours['processor']['median']:.2f}",
                "floor, ms": f"{floor:.1f}",
                "of ceiling": f"{100 * floor / ours['wall']['median']:.0f} %",
                "operators alone, ms": f"{alone:.1f}" if alone else "",
                "peak MiB": f"{r['ours']['peak_mib'][work]:.0f} / {r['anomalib']['peak_mib'][work]:.0f}",
            }
        )
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", choices=list(BATCH), default=list(BATCH))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        default="float32",
        help="bfloat16: ours by precision='bf16', anomalib by autocast",
    )
    parser.add_argument(
        "--compile", action="store_true", help="ours by compiled=True, anomalib's flow through torch.compile"
    )
    parser.add_argument("--weights", help="of the backbone, a file or name; random if not given (it changes no time)")
    parser.add_argument("--batch", type=int, help=f"images in a pass; if not given {BATCH}")
    parser.add_argument("--image-size", type=int, help="side in pixels; the paper's of each backbone if not given")
    parser.add_argument("--repeats", type=int, default=7, help=f"timed passes of each side, after {WARMUP} others")
    parser.add_argument("--threads", type=int, help="torch's, in both; all cores if not given")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no CUDA device here; use --device cpu")
    return args


def main() -> None:
    args, lines = arguments(), []
    for name in args.backbones:
        record = measure(args, name)
        setting = f"{args.device} {args.dtype}{' compiled' if args.compile else ''}"
        peer.keep("speed", {f"{name}, {setting}": record | {"image_size": args.image_size or PRESETS[name].image_size}})
        lines += rows(name, record)
        rates = record["giga_flop_per_second"]
        print(f"{name}: {', '.join(f'{shape}: {rate:.0f}' for shape, rate in rates.items())} GFLOP/s", flush=True)
    print(markdown(lines))


if __name__ == "__main__":
    main()
