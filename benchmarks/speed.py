"""Training step and inference beside anomalib's FastFlow and beside what the machine can do.

    python benchmarks/speed.py [--backbones resnet18 wide_resnet50_2 deit_base_distilled_patch16_384] [--recipe v0.1]
    python benchmarks/speed.py --device cuda --dtype bfloat16 --compile

Both models have the same backbone weights, images, batch, threads, kernels (3x3 and 1x1 in turn) and widths. Each
lives in a process of its own; the two take turns, and a ratio is the median of the ratios of all turns. Ours has the
recipe `ours` or `v0.1`: its normalization, standardization of positions, noise, clipped gradients, map and score. Times
are milliseconds an image: of the wall's clock, and of the processor's (all threads together), which other programs
stretch less. The ceiling is the fastest convolution or matrix product of the shapes in use, measured in between;
"operators alone" is the flow's time if each of its convolutions and products ran at its own measured rate and nothing
else were to do (`ceiling.py`).
Without the extra `bench`, `peer_operators.py` takes anomalib's place. Records: results/speed.json.
"""

from __future__ import annotations

import argparse
from functools import partial
from importlib.util import find_spec
from typing import Any

import ceiling
import harness
import torch
from complexity import count_multiply_adds
from harness import markdown
from speed_sides import BATCH, SIDES, Ours, Side

from fastflow_lite.backbones import PRESETS
from fastflow_lite.machine import peak_memory_mib
from fastflow_lite.training.recipes import RECIPES

WORK = ("inference", "backbone", "flow", "training step", "flow training step")
WARMUP = 2


_here: dict[str, Side] = {}


def begin(side: str, args: argparse.Namespace, backbone: str) -> dict[str, Any]:
    """Build one side in this process; its learned parameters, multiply-adds of an image, shapes of its maps."""
    _here["side"] = here = SIDES[side](args, backbone)
    found: dict[str, Any] = {"parameters": here.parameters, "shapes": [list(x.shape[1:]) for x in here.features]}
    if isinstance(here, Ours):
        pairs = list(zip(here.model.flows, here.model.flow_inputs(here.features), strict=True))
        giga_flop = 2e-9 / len(here.images)  # an image, for each multiply-add of the batch
        with torch.no_grad():
            flows = [giga_flop * count_multiply_adds(partial(flow, *inputs)) for flow, inputs in pairs]
            whole = sum(flows) + giga_flop * count_multiply_adds(here.backbone)
        found["giga_flop"] = {"flows": flows, "flow": sum(flows), "whole": whole}
    return found


def once(work: str) -> tuple[float, float]:
    return _here["side"].once(work)


def peak() -> float:
    memory = peak_memory_mib()
    return memory.get("gpu", memory["host"])


def measure(args: argparse.Namespace, backbone: str, other: str) -> dict[str, Any]:
    """Everything about one backbone: ours and the side `other`, in turns."""
    batch = args.batch or BATCH[backbone]
    with (
        harness.Fresh(args.threads) as mine,
        harness.Fresh(args.threads) as beside,
        harness.Fresh(args.threads) as third,
    ):
        sides = {"ours": mine, other: beside}
        record: dict[str, Any] = {"batch": batch, "recipe": args.recipe} | mine(harness.provenance, args.device)
        record |= {name: fresh(begin, name, args, backbone) for name, fresh in sides.items()}
        rates: dict[str, list[float]] = {}
        for work in WORK:
            calls = {name: partial(fresh, once, work) for name, fresh in sides.items()}
            times = harness.in_turns(calls, args.repeats, WARMUP)
            wall, processor = ({name: [t[k] for t in taken] for name, taken in times.items()} for k in (0, 1))
            for name in sides:
                record[name][work] = {"wall": harness.spread(wall[name]), "processor": harness.spread(processor[name])}
            record.setdefault("ratio", {})[work] = {
                "wall": harness.ratios(wall[other], wall["ours"]),
                "processor": harness.ratios(processor[other], processor["ours"]),
            }
            for name, rate in third(ceiling.rates, record["ours"]["shapes"], batch, args.device, args.dtype).items():
                rates.setdefault(name, []).append(rate)
            for name, fresh in sides.items():
                record[name].setdefault("peak_mib", {})[work] = fresh(peak)
    record["giga_flop_per_second"] = {name: max(values) for name, values in rates.items()}
    return record


def rows(name: str, r: dict[str, Any], other: str) -> list[dict[str, Any]]:
    """One row for each thing timed."""
    rates, flop, found = r["giga_flop_per_second"], r["ours"]["giga_flop"], []
    amount = {"inference": flop["whole"], "flow": flop["flow"], "backbone": flop["whole"] - flop["flow"]}
    for work in WORK:
        ours, theirs = r["ours"][work], r[other][work]
        floor = 1000 * amount.get(work, 3 * flop["flow"]) / ceiling.fastest(rates)
        passes = ceiling.PASSES if "training" in work else ceiling.PASSES[:1]
        alone = ceiling.operators(rates, r["ours"]["shapes"], flop["flows"], passes) if "flow" in work else None
        found.append(
            {
                "backbone": name,
                "recipe": r["recipe"],
                "work": work,
                "ours, ms": harness.shown(ours["wall"]),
                f"{other}, ms": harness.shown(theirs["wall"]),
                "ratio": harness.shown(r["ratio"][work]["wall"], 2),
                "ratio, processor": harness.shown(r["ratio"][work]["processor"], 2),
                "floor, ms": f"{floor:.1f}",
                "of ceiling": f"{100 * floor / ours['wall']['median']:.0f} %",
                "operators alone, ms": f"{alone:.1f}" if alone else "",
                "peak MiB": f"{r['ours']['peak_mib'][work]:.0f} / {r[other]['peak_mib'][work]:.0f}",
            }
        )
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", choices=list(BATCH), default=list(BATCH))
    parser.add_argument("--recipe", choices=RECIPES[:2], default="ours", help="of our model and training step")
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
    parser.add_argument("--weights", help="of the backbone, a file or name; if not given bundled or random")
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
    other = "anomalib" if find_spec("anomalib") else "operators"
    for name in args.backbones:
        record = measure(args, name, other)
        setting = f"{args.device} {args.dtype}{' compiled' if args.compile else ''}"
        about = {"image_size": args.image_size or PRESETS[name].image_size}
        harness.keep("speed", {f"{name}, {args.recipe}, {setting}": record | about})
        lines += rows(name, record, other)
        rates = record["giga_flop_per_second"]
        print(f"{name}: {', '.join(f'{shape}: {rate:.0f}' for shape, rate in rates.items())} GFLOP/s", flush=True)
    print(markdown(lines))


if __name__ == "__main__":
    main()
