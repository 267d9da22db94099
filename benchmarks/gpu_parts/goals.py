"""What the whole is to reach on a card of the H100's class, beside what the records hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from harness import markdown

from gpu_parts.correctness import LARGEST_DIFFERENCE
from gpu_parts.run import Row
from gpu_parts.training import KEPT

BOTH = ("training step", "inference")
Records = dict[str, Any]


def table(records: Records) -> str:
    """Return one row for each goal. The value is the worst of all backbones; nothing where it was not measured."""
    rows = []
    for goal, value, text, reached in GOALS:
        found = value(records)
        if found is not None:
            rows.append({"goal": goal, "measured": text.format(found), "reached": "yes" if reached(found) else "no"})
    return markdown(rows) if rows else "No goal was measured."


def ratio_in(precision: str, over: str) -> Callable[[Records], float | None]:
    """The smallest time of the other side in `over` divided by ours in `precision`, of training steps and inference."""

    def find(records: Records) -> float | None:
        plain = [row for row in _rows(records, "c") if not row.get("compiled")]
        rows = {(row["backbone"], row.get("work"), row.get("precision")): row for row in plain}
        ratios = []
        for (backbone, work, ours_in), row in rows.items():
            beside = rows.get((backbone, work, over), {})
            if work in BOTH and ours_in == precision and _median(row, "ours") and _median(beside, "other"):
                ratios.append(_median(beside, "other") / _median(row, "ours"))
        return min(ratios, default=None)

    return find


def images_a_second(records: Records) -> float | None:
    """The best rate of ResNet-18's training step from kept features."""
    wanted = {"backbone": "resnet18", "work": "training step"}
    return max(
        (r["images/s"] for r in _rows(records, "c") if "images/s" in r and wanted.items() <= r.items()), default=None
    )


def bandwidth(records: Records) -> float | None:
    """The smallest share of the bandwidth, in percent, that a backbone's flow reaches in its better precision."""
    best: dict[str, float] = {}
    for row in _rows(records, "c"):
        if row.get("work") == "flow" and "of the bandwidth, %" in row:
            best[row["backbone"]] = max(best.get(row["backbone"], 0.0), row["of the bandwidth, %"])
    return min(best.values(), default=None)


def largest_difference(records: Records) -> float | None:
    """The larger difference of the two AUROCs in bf16 from float32's."""
    found = [d for row in _rows(records, "a") for d in row.get("differs from float32 by", {}).values()]
    return max(map(abs, found), default=None)


def seconds_of_the_paper(records: Records) -> float | None:
    """Seconds of the paper's 500 epochs over kept features, in the faster precision."""
    rows = [r for r in _rows(records, "b") if "seconds" in r and r["training"]["recipe"] == KEPT]
    return min((r["seconds"] for r in rows if r["training"]["epochs"] == 500), default=None)


GOALS: tuple[tuple[str, Callable[[Records], float | None], str, Callable[[float], bool]], ...] = (
    (
        "training step and inference in float32, 2 times anomalib's rate",
        ratio_in("float32", "float32"),
        "{:.2f}",
        lambda v: v >= 2,
    ),
    ("the same in bf16, 2 times anomalib's rate in bf16", ratio_in("bf16", "bf16"), "{:.2f}", lambda v: v >= 2),
    ("the same in bf16, 4 times anomalib's rate in float32", ratio_in("bf16", "float32"), "{:.2f}", lambda v: v >= 4),
    ("ResNet-18's training step, more than 10,000 images/s", images_a_second, "{:.0f}", lambda v: v > 10_000),
    ("the flows, 50 % of the memory bandwidth", bandwidth, "{:.0f}", lambda v: v >= 50),
    ("AUROCs in bf16, within 0.002 of float32's", largest_difference, "{:.4f}", lambda v: v <= LARGEST_DIFFERENCE),
    ("the paper's 500 epochs, features kept, less than 300 s", seconds_of_the_paper, "{:.0f}", lambda v: v < 300),
)


def _rows(records: Records, part: str) -> Iterable[Row]:
    return records.get(part, {}).get("rows", [])


def _median(row: Row, side: str) -> float:
    return float(row.get(side, {}).get("median", 0.0))
