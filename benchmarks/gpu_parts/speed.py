"""Part c: training step and inference at real size, beside anomalib's model or, without it, its operators.

Both sides have the same frozen network, images, widths, kernels (3x3 and 1x1 in turn) and batch, and live in one
process. "training step": ours from kept float16 features, as `fit` takes them; anomalib's with its backbone, as it
trains. "flow training step" and "flow" start from features on both sides. "inference" is images to maps and scores.
bf16 is `precision="bf16"` on our side and autocast on the other. No side is compiled, which is the default of both;
last come rows of ours through `torch.compile`, which takes up to a minute for each, beside the times of the other side
in the rows before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from complexity import count_multiply_adds
from harness import markdown

from gpu_parts import card
from gpu_parts.run import Record, Row, Run
from gpu_parts.sides import ANOMALIB, Ours, Theirs

BACKBONES = {
    "resnet18": 256,
    "wide_resnet50_2": 256,
    "deit_base_distilled_patch16_384": 384,
    "cait_m48_448": 448,
}
TINY = {"resnet18": 64, "deit_tiny_distilled_patch16_224": 224}
WORK = ("training step", "inference", "flow training step", "flow")
PRECISIONS = ("bf16", "float32")
BATCH, REPEATS = 32, 10


def measure(run: Run, record: Record) -> None:
    """Every backbone gets an equal share of the time that is left; what does not fit is named."""
    rates = card.rates(run.place, run.tiny)
    record.set(rates=rates, tf32=card.tf32_setting(), beside=ANOMALIB if Theirs.has_anomalib() else "its operators")
    sizes = TINY if run.tiny else BACKBONES
    passes = [(name, compiled) for compiled in run.compiling for name in sizes]
    for k, (name, compiled) in enumerate(passes):
        until = time.time() + run.seconds_left / (len(passes) - k)
        try:
            measure_backbone(run, record, name, sizes[name], until, compiled)
        except (RuntimeError, ImportError) as error:  # memory that does not suffice, a network that cannot be built
            record.add({"backbone": name, "error": f"{type(error).__name__}: {error}"[:500]})
        card.forget_peak(run.place)


def measure_backbone(run: Run, record: Record, name: str, size: int, until: float, compiled: bool) -> None:
    """Add a row for each work and precision of one backbone, ours through `torch.compile` or not."""
    ours = Ours(name, size, 2 if run.tiny else BATCH, run.place)
    theirs = Theirs(ours, name, size)
    facts: Row = {"backbone": name, "image_size": size, "batch": len(ours.images), "compiled": compiled}
    work_of = multiply_adds(ours)
    for work in WORK:
        for precision in PRECISIONS:
            if time.time() > until:
                record.add(facts | {"work": work, "precision": precision, "error": "not run: no time was left"})
                continue
            row = facts | {"work": work, "precision": precision}
            same = {"backbone": name, "work": work, "precision": precision}.items()
            known = [r["other"] for r in record.facts["rows"] if "other" in r and same <= r.items()]
            other = known[0] if known else measure_once(run, partial(theirs.work, work, precision))
            row |= measure_work(run, ours, other, work, precision, compiled)
            record.add(row | of_the_card(row, record.facts["rates"], ours, work_of))


def measure_work(run: Run, ours: Ours, other: Row, work: str, precision: str, compiled: bool) -> Row:
    """Milliseconds of a batch and the peak memory of ours, beside those of the `other`; also with save_memory."""
    row: Row = {"other": other, "ours": measure_once(run, partial(ours.work, work, precision, compiled))}
    if "training" in work and not compiled:
        row["ours, save_memory"] = measure_once(run, partial(ours.work, work, precision, False, save_memory=True))
    if "median" in row["ours"]:
        row["images/s"] = 1000 * len(ours.images) / row["ours"]["median"]
        if "median" in other:
            row["ratio"] = other["median"] / row["ours"]["median"]
    return row


def measure_once(run: Run, make: Callable[[], Callable[[], object]]) -> Row:
    """Milliseconds and peak memory of one variant, or its error, so that the other variants are measured."""
    card.forget_peak(run.place)
    try:
        times: dict[str, Any] = card.timed(make(), run.place, 2 if run.tiny else REPEATS)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}
    return times | {"peak_mib": card.peak_mib(run.place)}


def multiply_adds(ours: Ours) -> dict[str, int]:
    """Multiply-adds of one image, of the flow and of the backbone."""
    with torch.no_grad():
        image, features = ours.images[:1], [x[:1] for x in ours.features]
        flow = count_multiply_adds(partial(ours.model.flow, features, fast=False))
        return {"flow": flow, "backbone": count_multiply_adds(partial(ours.model.backbone, image))}


def of_the_card(row: Row, rates: dict[str, float], ours: Ours, work_of: dict[str, int]) -> Row:
    """Percent of the card's matrix rate and, for the flow alone, of its memory bandwidth that ours reaches."""
    if "median" not in row["ours"]:
        return {}
    seconds, training = row["ours"]["median"] / 1000 / row["batch"], "training" in row["work"]
    amount = work_of["flow"] * (3 if training else 1) + (work_of["backbone"] if row["work"] == "inference" else 0)
    name = card.rate_name(row["precision"])
    found: Row = {"rate of": name, "of the matrix rate, %": 200 * amount / seconds / rates[name]}
    if row["work"] != "inference":
        shapes = [tuple(x.shape[1:]) for x in ours.features]
        moved = card.flow_bytes(shapes, ours.hidden, ours.steps, row["precision"], training)
        found["of the bandwidth, %"] = 100 * moved / seconds / rates["bytes"]
    return found


def tables(record: Row) -> list[str]:
    """What the card can do, and one row for each work."""
    rates = record["rates"]
    text = ", ".join(f"{name} {rates[name] / 1e12:.3g} TFLOP/s" for name in card.FORMATS)
    allowed = ", ".join(f"{what} {'yes' if on else 'no'}" for what, on in record["tf32"].items())
    head = f"Measured on this card: {text}, copy {rates['bytes'] / 1e9:.0f} GB/s. TF32 allowed in float32: {allowed}."
    return [head, markdown([shown(row, record["beside"]) for row in record["rows"]])]


def shown(row: Row, beside: str) -> Row:
    """Return one row of the table. Times are of a batch: median (smallest to largest)."""
    cells = {name: row.get(name, "") for name in ("backbone", "image_size", "work", "precision", "batch")}
    cells["compiled"] = "yes" if row.get("compiled") else ""
    sides = {"ours": "ours", "other": beside}
    cells |= {f"{title}, ms": milliseconds_text(row.get(name)) for name, title in sides.items()}
    for name, digits in (("ratio", 2), ("images/s", 0), ("of the matrix rate, %", 0), ("of the bandwidth, %", 0)):
        cells[name] = f"{row[name]:.{digits}f}" if name in row else ""
    peaks = [(row.get(name) or {}).get("peak_mib") for name in ("ours", "ours, save_memory", "other")]
    text = " / ".join("-" if p is None else f"{p:.0f}" for p in peaks)
    cells["peak MiB, ours / save_memory / other"] = text if any(peaks) else ""
    return cells | {"": row.get("error", "")}


def milliseconds_text(values: dict[str, Any] | None) -> str:
    """Return a median with its range, or nothing."""
    if not values or "median" not in values:
        return "failed" if values else ""
    return f"{values['median']:.2f} ({values['low']:.2f} to {values['high']:.2f})"
