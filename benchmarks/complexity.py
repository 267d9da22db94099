"""What does the flow cost on top of its backbone? Parameters, multiply-adds, milliseconds, memory.

    python benchmarks/complexity.py [--device cuda] [--backbones resnet18 ...] [--batch 8] [--repeats 30]
    python benchmarks/complexity.py --real-size

For each backbone of the paper at its image size, with random weights (they change no cost) and the paper's kernels.
With --real-size instead: maps, one training step, save and load, which must give the same maps again. Every backbone
runs in a process of its own, so that its peak memory is its own. Records go to benchmarks/results/complexity.json,
where a new one replaces that of the same setting and machine. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import RESULTS, Fresh, mark, markdown, milliseconds, provenance, read_json, write_json
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fastflow_lite import FastFlow
from fastflow_lite.backbones import PRESETS
from fastflow_lite.flows import count_parameters, flow_steps
from fastflow_lite.flows.likelihood import nats_per_dim
from fastflow_lite.machine import peak_memory_mib
from fastflow_lite.model import PreparedModel
from fastflow_lite.scoring.maps import image_score

RECORDS = RESULTS / "complexity.json"
WARMUP = 3
QUARTILES = {"low": 0.25, "median": 0.5, "high": 0.75}
MACHINE = ("device", "processor", "threads")
KERNELS = {"3-1": (3, 1), "3x3 only": (3,)}

# The paper's complexity table and, for ResNet-18's 3-1, its ablation. Second-hand: from transcriptions and quotations
# that agree with one another, the paper's text was not at hand. None: not found. Millions of additional parameters,
# milliseconds that the flow adds, images a second, on a GTX 1080 Ti with a Xeon E5-2680 v4.
PAPER: dict[str, dict[str, float | None]] = {
    "resnet18": {"3-1": 2.7, "3x3 only": 4.9, "added": 27, "per_second": 30.8},
    "wide_resnet50_2": {"3-1": 41.3, "3x3 only": None, "added": 34, "per_second": 21.8},
    "deit_base_distilled_patch16_384": {"3-1": 14.8, "3x3 only": None, "added": 8, "per_second": 30.14},
    "cait_m48_448": {"3-1": 14.8, "3x3 only": None, "added": 9, "per_second": 3.08},
}
NOTE = '"Paper": second-hand, from transcriptions that agree. Times there: GTX 1080 Ti, batch size unknown.'


def measure(name: str, size: int, batch: int, device: str, repeats: int) -> dict[str, Any]:
    """Counts and times of one backbone with the paper's flow."""
    model, images = build(name, size, batch, device)
    counts = count(model, images[:1])
    kernels = next(label for label, kernels in KERNELS.items() if kernels == PRESETS[name].kernels)
    return {"kernels": kernels, "repeats": repeats} | counts | timing(model, images, repeats)


def build(name: str, size: int, batch: int, device: str) -> tuple[FastFlow, Tensor]:
    """The paper's model with random weights, in eval mode, and images to run it on."""
    model = FastFlow(name, "random", kernels=PRESETS[name].kernels).eval()
    images = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    return model.to(device), images.to(device)


@torch.no_grad()
def count(model: FastFlow, image: Tensor) -> dict[str, dict[str, Any]]:
    """Parameters and multiply-adds of the backbone and of the flow, the latter with either choice of kernels."""
    maps: list[Tensor] = []
    parameters: dict[str, Any] = {"backbone": sum(p.numel() for p in model.backbone.parameters()), "flow": {}}
    backbone = count_multiply_adds(lambda: maps.extend(model.backbone(image)))
    multiply_adds: dict[str, Any] = {"backbone": backbone, "flow": {}}
    features = model.normalized(maps)
    for label, kernels in KERNELS.items():
        preset, channels = model.backbone.preset, model.backbone.channels
        flows = nn.ModuleList(flow_steps(c, preset.steps, kernels, preset.hidden_for(c)) for c in channels)
        pairs = list(zip(flows.to(image.device).eval(), features, strict=True))
        parameters["flow"][label] = count_parameters(flows)
        multiply_adds["flow"][label] = count_multiply_adds(partial(apply_each, pairs))
    return {"parameters": parameters, "multiply_adds_per_image": multiply_adds}


def apply_each(pairs: Iterable[tuple[nn.Module, Tensor]]) -> None:
    """Run each flow on its features."""
    for flow, x in pairs:
        flow(x)


def count_multiply_adds(work: Callable[[], object]) -> int:
    """Multiply-adds of the convolutions and matrix products in `work`, counted by torch, which counts each as two."""
    # Fused attention kernels are unknown to the counter of some torch versions; plain products are known to all.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() // 2


@torch.inference_mode()
def timing(model: FastFlow, images: Tensor, repeats: int, prepared: PreparedModel | None = None) -> dict[str, Any]:
    """Milliseconds an image of the backbone, of what comes behind it, of both: median and quartiles.

    Also the median of the processor's milliseconds, all threads together, which other programs stretch less, and
    `cores_at_work`: how many cores this process had. Less than its threads: others had the rest.
    """
    for _ in range(WARMUP):
        one_pass(model, images, prepared)
    passes = [one_pass(model, images, prepared) for _ in range(repeats)]
    backbone, added = np.array(passes).transpose(1, 2, 0) / len(images)
    parts = {"backbone": backbone, "added": added, "whole": backbone + added}  # (clocks, repeats) each
    wall, processor = parts["whole"].sum(axis=1)
    quartiles = {part: {k: float(np.quantile(ms[0], q)) for k, q in QUARTILES.items()} for part, ms in parts.items()}
    medians = {part: float(np.median(ms[1])) for part, ms in parts.items()}
    times = {"milliseconds_per_image": quartiles, "processor_milliseconds_per_image": medians}
    return times | {"cores_at_work": processor / wall}


def one_pass(model: FastFlow, images: Tensor, prepared: PreparedModel | None = None) -> tuple[tuple[float, float], ...]:
    """`milliseconds` of the backbone and of all that `FastFlow.predict` does behind it.

    Both from the same pass. The difference of two runs would drown a small flow in the noise of a large backbone.
    With the `prepared` model of `model`, whose normalization counts as the backbone's, its times are taken.
    """
    start = mark(images.device)
    maps = prepared.features(images) if prepared else model.backbone(images)
    middle = mark(images.device)
    outputs = prepared.flow(maps) if prepared else model.flow(model.normalized(maps))
    anomaly_maps = model.anomaly_map(outputs, images.shape[-2:])
    image_score(anomaly_maps, model.image_score)
    end = mark(images.device)
    return milliseconds(*start, *middle), milliseconds(*middle, *end)


def exercise(name: str, size: int, batch: int, device: str) -> dict[str, Any]:
    """Maps, one training step, save, load. Seconds of each stage, and the process's peak memory when it is over."""
    stages: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        images, before, finite = train_and_save(stages, path, name, size, batch, device)
        gc.collect()  # one model at a time, as for somebody who loads a file
        model = staged(stages, "load", lambda: FastFlow.load(path).to(device))
        file_mib = round(path.stat().st_size / 1024**2, 1)
    difference = (model.predict(images)[0] - before).abs().max().item()
    return {"stages": stages, "file_mib": file_mib, "finite_gradients": finite, "difference_after_load": difference}


def train_and_save(stages: dict[str, Any], path: Path, *setting: Any) -> tuple[Tensor, Tensor, dict[str, int]]:
    """The images, their maps after one training step, and how many values got a finite gradient."""
    model, images = staged(stages, "build", lambda: build(*setting))
    with torch.inference_mode():  # not `predict`, which refuses a model that was never trained
        staged(stages, "maps", lambda: model.maps_and_scores(model.eval()(images), images.shape[-2:]))
    # The flow starts as the identity but for a permutation. One step of Adam gives the file something to lose.
    optimizer = torch.optim.Adam(model.flows.parameters(), lr=1e-3)
    model.train()
    loss = staged(stages, "training forward", lambda: nats_per_dim(model(images)))
    staged(stages, "backward", loss.backward)
    finite = {"flow": finite_gradients(model.flows), "backbone": finite_gradients(model.backbone)}
    staged(stages, "Adam", optimizer.step)
    staged(stages, "save", lambda: model.save(path))
    return images, model.predict(images)[0], finite


def staged(stages: dict[str, dict[str, Any]], name: str, work: Callable[[], Any]) -> Any:
    """Do `work` and note its seconds, those of all cores together, and the peak memory so far."""
    start, processor = time.perf_counter(), time.process_time()
    result = work()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    took = {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - processor}
    stages[name] = took | {"peak_memory_mib": peak_memory_mib()}
    return result


def finite_gradients(module: nn.Module) -> int:
    """How many parameters, counted singly, have a finite gradient."""
    return sum(int(p.grad.isfinite().sum()) for p in module.parameters() if p.grad is not None)


def count_row(r: dict[str, Any]) -> dict[str, Any]:
    """Parameters in millions and multiply-adds of an image in thousand millions."""
    parameters, work, paper = r["parameters"], r["multiply_adds_per_image"], PAPER[r["backbone"]]
    return {
        "backbone": r["backbone"],
        "image": r["image_size"],
        "backbone, M parameters": f"{parameters['backbone'] / 1e6:.1f}",
        **{f"flow {k}, M parameters": f"{parameters['flow'][k] / 1e6:.2f}" for k in KERNELS},
        **{f"paper: {k}": paper[k] or "not found" for k in KERNELS},
        "backbone, G multiply-adds": f"{work['backbone'] / 1e9:.2f}",
        **{f"flow {k}, G multiply-adds": f"{work['flow'][k] / 1e9:.2f}" for k in KERNELS},
    }


def time_row(r: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds an image: median (quartiles)."""
    machine, paper = r["machine"], PAPER[r["backbone"]]
    ms, processor = r["milliseconds_per_image"], r["processor_milliseconds_per_image"]
    return {
        "backbone": r["backbone"],
        "image": r["image_size"],
        "kernels": r["kernels"],
        "device": machine["device"],
        "batch": r["batch"],
        "passes": r["repeats"],
        "cores at work": f"{r['cores_at_work']:.2f} of {machine['threads']}",
        "backbone, ms": show(ms["backbone"]),
        "with flow, ms": show(ms["whole"]),
        "flow adds, ms": show(ms["added"]),
        "processor ms, backbone + flow": " + ".join(f"{processor[part]:.1f}" for part in ("backbone", "added")),
        "images/s": f"{1000 / ms['whole']['median']:.3g}",
        "paper: flow adds, ms": paper["added"],
        "paper: images/s": paper["per_second"],
    }


def show(values: dict[str, float]) -> str:
    return f"{values['median']:.1f} ({values['low']:.1f} to {values['high']:.1f})"


def exercise_row(r: dict[str, Any]) -> dict[str, Any]:
    """Seconds of each stage, and the process's peak memory up to the end of three of them."""
    place = "gpu" if r["device"] == "cuda" else "host"
    total, processor = (sum(stage[k] for stage in r["stages"].values()) for k in ("seconds", "processor_seconds"))
    peak = {name: stage["peak_memory_mib"].get(place, float("nan")) for name, stage in r["stages"].items()}
    return {
        "backbone": r["backbone"],
        "image": r["image_size"],
        "device": r["machine"]["device"],
        "cores at work": f"{processor / total:.2f} of {r['machine']['threads']}",
        **{f"{name}, s": f"{stage['seconds']:.2f}" for name, stage in r["stages"].items()},
        **{f"peak to {name}, MiB": f"{peak[name]:.0f}" for name in ("maps", "Adam", "load")},
        "file, MiB": r["file_mib"],
        "finite gradients, flow / backbone": " / ".join(map(str, r["finite_gradients"].values())),
        "maps after load differ by": f"{r['difference_after_load']:g}",
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--backbones", nargs="+", choices=list(PRESETS), default=list(PRESETS))
    parser.add_argument("--batch", type=int, default=1, help="images in a pass")
    parser.add_argument("--repeats", type=int, default=10, help=f"timed passes, after {WARMUP} others")
    parser.add_argument("--image-size", type=int, help="side in pixels; the paper's of each backbone if not given")
    parser.add_argument("--real-size", action="store_true", help="maps, training step, save and load instead of times")
    parser.add_argument("--records", type=Path, default=RECORDS)
    args = parser.parse_args()
    if args.batch < 1 or args.repeats < 1:
        parser.error("--batch and --repeats must be 1 or more")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no CUDA device here; use --device cpu")
    return args


def main() -> None:
    args = arguments()
    part = "real_size" if args.real_size else "complexity"
    work, more = (exercise, ()) if args.real_size else (measure, (args.repeats,))
    records, made = read_json(args.records), provenance(args.device)
    for name in args.backbones:
        print(f"{part}: {name} ...", flush=True)
        size = args.image_size or PRESETS[name].image_size
        new = {"backbone": name, "image_size": size, "batch": args.batch, "device": args.device} | made
        with Fresh() as fresh:
            new |= fresh(work, name, size, args.batch, args.device, *more)
        key = f"{name}, {size} px, batch {args.batch}, {' '.join(str(made['machine'][k]) for k in MACHINE)} threads"
        records.setdefault(part, {})[key] = new
        write_json(args.records, records)
    print(tables(records))


def tables(records: dict[str, dict[str, Any]]) -> str:
    """Every table that there are records for."""
    measured, exercised = (list(records.get(part, {}).values()) for part in ("complexity", "real_size"))
    made = [markdown([row(r) for r in measured]) for row in (count_row, time_row) if measured]
    made += [NOTE] if measured else []
    made += [markdown([exercise_row(r) for r in exercised])] if exercised else []
    return "\n\n".join(made)


if __name__ == "__main__":
    main()
