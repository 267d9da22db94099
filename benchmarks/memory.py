"""Peak memory of a training step against the number of flow steps, beside anomalib's.

    python benchmarks/memory.py [--steps 1 5 10 20]
    python benchmarks/memory.py --maps 256x64 512x32 1024x16 --steps 8    # the three flows of WRN50 at 256 pixels

By default the flow of the paper's transformers: a map of 768 channels, 24x24 (images of 384 pixels), hidden width 128;
with other maps half the channels. 3x3 and 1x1 in turn, random features. Ours keeps its activations
(`save_memory=False`), computes most of them again from the inputs of every few steps (`save_memory=True`), or is the
plain path. Every measurement is a process of its own: three training steps with Adam; memory is by how much the
process's peak exceeds what it held when model, optimizer with its state, and features were there (on CUDA: the
allocator's peak), so what a step needs for activations and gradients. The weights' gradients grow with the steps, in
all alike, and are also counted apart. glibc is told to give freed blocks back at once: else holes in its heap count
too. Records: results/memory.json.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import harness
import peer
import torch
from harness import markdown
from torch import nn

from fastflow_lite.flows import flow_steps
from fastflow_lite.flows.fast import apply_flow
from fastflow_lite.flows.likelihood import nats_per_dim
from fastflow_lite.machine import peak_memory_mib

SIDES = ("ours", "ours, save_memory", "ours, plain", "anomalib")
Shape = tuple[int, int]  # channels, pixels a side
TRANSFORMER, HIDDEN = (768, 24), 128


def held_mib() -> float:
    """What this process has in memory now, or the GPU's allocator gave out."""
    if torch.cuda.is_initialized():
        return torch.cuda.memory_allocated() / 1024**2
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1024**2


def measure(side: str, steps: int, batch: int, maps: list[Shape], device: str) -> dict[str, float]:
    """MiB of a training step beyond weights and Adam's state; of it the weights' gradients, and the rest."""
    torch.manual_seed(0)
    flows = nn.ModuleList([build(side, steps, *one) for one in maps]).to(device).train()
    features = [torch.randn(batch, channels, width, width).to(device) for channels, width in maps]
    optimizer = torch.optim.Adam(flows.parameters(), lr=1e-5)
    learned = [p for p in flows.parameters() if p.requires_grad]
    for parameter in learned:  # Adam's state is there before the count begins, gradients are not
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if side != "anomalib":
        with torch.no_grad():
            for flow, x in zip(flows, features, strict=True):
                flow(x[:1])  # ActNorm takes its values from its first batch
    before = held_mib()
    for _ in range(3):
        optimizer.zero_grad(set_to_none=True)
        loss(side, flows, features).backward()
        optimizer.step()
    peak = peak_memory_mib()
    weights = sum(p.numel() * p.element_size() for p in learned) / 1024**2
    grew = peak.get("gpu", peak["host"]) - before
    return {"step_mib": grew, "gradients_mib": weights, "activations_mib": grew - weights, "held_before_mib": before}


def shape(text: str) -> Shape:
    channels, width = map(int, text.split("x"))
    return channels, width


def hidden_of(channels: int, width: int) -> int:
    return HIDDEN if (channels, width) == TRANSFORMER else channels // 2


def build(side: str, steps: int, channels: int, width: int) -> nn.Module:
    hidden = hidden_of(channels, width)
    if side != "anomalib":
        return flow_steps(channels, steps, (3, 1), hidden)
    peer.anomalib_version()
    from anomalib.models.image.fastflow.torch_model import create_fast_flow_block

    return create_fast_flow_block([channels, width, width], False, (hidden + 0.5) / (channels // 2), steps)


def loss(side: str, flows: nn.ModuleList, features: list[torch.Tensor]) -> torch.Tensor:
    pairs = list(zip(flows, features, strict=True))
    if side == "anomalib":
        zs, log_dets = zip(*(flow(x) for flow, x in pairs), strict=True)
        return peer.their_loss((list(zs), list(log_dets)))
    if side == "ours, plain":
        return nats_per_dim([flow(x) for flow, x in pairs])
    return nats_per_dim([apply_flow(flow, x, keep_activations=side == "ours") for flow, x in pairs])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 5, 10, 15, 20])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--maps", type=shape, nargs="+", default=[TRANSFORMER], help="channels x pixels a side of each")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    args = parser.parse_args()
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"  # read by glibc when a process starts
    found: dict[str, dict[int, dict[str, float]]] = {}
    for side in SIDES:
        for steps in args.steps:
            with harness.Fresh() as fresh:
                found.setdefault(side, {})[steps] = fresh(measure, side, steps, args.batch, args.maps, args.device)
    names = [f"{channels}x{width}" for channels, width in args.maps]
    setting = {"maps": names, "hidden": [hidden_of(*one) for one in args.maps], "batch": args.batch}
    name = f"{args.device} {' '.join(names)} batch {args.batch}"
    harness.keep("memory", {name: harness.provenance(args.device) | {"setting": setting, "mib": found}})
    print(markdown([row(steps, found) for steps in args.steps]))


def row(steps: int, found: dict[str, dict[int, dict[str, Any]]]) -> dict[str, Any]:
    """MiB beyond weights and Adam's state; gradients of the weights alone; ratios to anomalib's."""
    step = {side: found[side][steps]["step_mib"] for side in SIDES}
    shown: dict[str, Any] = {"steps": steps, "gradients alone, MiB": f"{found['ours'][steps]['gradients_mib']:.0f}"}
    shown |= {f"{side}, MiB": f"{mib:.0f}" for side, mib in step.items()}
    shown |= {"save_memory without gradients, MiB": f"{found[SIDES[1]][steps]['activations_mib']:.0f}"}
    return shown | {f"ratio, {side}": f"{step['anomalib'] / step[side]:.1f}" for side in SIDES[:-1]}


if __name__ == "__main__":
    main()
