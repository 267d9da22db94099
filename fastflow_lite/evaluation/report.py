"""A result as tables and as a paragraph, for people."""

from __future__ import annotations

import html
import json
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fastflow_lite.errors import printable
from fastflow_lite.evaluation.result import Record, Result
from fastflow_lite.files import METRIC_TITLES

if TYPE_CHECKING:
    import pandas as pd

# Titles of the table of one result: with what the short titles leave out.
LONG_TITLES = {
    "image_auroc": METRIC_TITLES["image_auroc"],
    "image_ap": METRIC_TITLES["image_ap"],
    "image_f1_max_oracle": "image F1-max (oracle)",
    "pixel_auroc": METRIC_TITLES["pixel_auroc"],
    "pixel_ap": METRIC_TITLES["pixel_ap"],
    "pixel_f1_max_oracle": "pixel F1-max (oracle)",
    "pixel_iou": METRIC_TITLES["pixel_iou"],
    "pixel_iou_oracle": METRIC_TITLES["pixel_iou_oracle"],
    "aupro": "AUPRO (FPR to 0.3)",
}


def metrics_table(result: Result) -> pd.DataFrame:
    """Return every metric for every kind of map. "Oracle": its threshold was chosen with the test labels."""
    import pandas as pd

    table = pd.DataFrame(result.variants).T.rename(columns=LONG_TITLES)
    own = result.record["model"]["map"]
    return table.rename(index=lambda kind: f"{kind} (used below)" if kind == own else kind).round(3)


def threshold_table(result: Result) -> pd.DataFrame:
    """Return what each threshold costs on the same test images, none of which set one."""
    import pandas as pd

    columns = ["value", "precision", "recall", "f1", "false_alarm_rate", "n_normal", "n_anomalous", "note"]
    table = pd.DataFrame(result.record["thresholds"]).set_index("strategy")
    return table.reindex(columns=[c for c in columns if c in table]).round(3)


def defect_table(result: Result) -> pd.DataFrame:
    """Return how each kind of defect is told from the good test images, hardest first."""
    import pandas as pd

    columns = ["defect", "images", "image_auroc", "pixel_auroc", "area_percent"]  # also where there is no defect
    rows = pd.DataFrame(result.record["per_defect"], columns=columns).set_index("defect")
    return rows.sort_values("image_auroc").round(3)


def summary_paragraph(result: Result) -> str:
    """Write a paragraph in Markdown about the numbers of this run; every number is one of the record."""
    metrics, data = result.record["metrics"], result.record["data"]
    normal = data["test_images"] - data["test_anomalous"]
    sentences = [
        f"On **{_name(data['category'])}** ({normal} normal and {data['test_anomalous']} anomalous test images) a "
        f"normal image gets a lower score than an anomalous one in **{_percent(metrics['image_auroc'])}** of all pairs "
        "(image AUROC)."
    ]
    if _defined(metrics["pixel_auroc"]):
        sentences.append(
            f"Of pixel pairs it is **{_percent(metrics['pixel_auroc'])}**; large defects weigh most there. Each "
            f"defect region counting the same, AUPRO is **{metrics['aupro']:.3f}**."
        )
    if _defined(metrics.get("pixel_iou")):
        sentences.append(
            f"The pixels above the level of normal images overlap the defects with a mean IoU of "
            f"**{metrics['pixel_iou']:.3f}**; the best level, chosen with the test labels, has "
            f"{metrics['pixel_iou_oracle']:.3f}."
        )
    return " ".join(sentences + _about_defects(result) + _about_maps(result) + _about_thresholds(result))


def _about_defects(result: Result) -> list[str]:
    rows = [row for row in result.record["per_defect"] if _defined(row["image_auroc"])]
    if len(rows) < 2:
        return []
    easy, hard = (f(rows, key=lambda row: row["image_auroc"]) for f in (max, min))
    if easy["image_auroc"] - hard["image_auroc"] < 0.005:
        return [f"All kinds of defect are about equally easy (image AUROC {hard['image_auroc']:.3f} or more)."]
    return [
        f"The easiest kind is *{_name(easy['defect'])}* (image AUROC {easy['image_auroc']:.3f}), the hardest "
        f"*{_name(hard['defect'])}* ({hard['image_auroc']:.3f})."
    ]


def _about_maps(result: Result) -> list[str]:
    pixel = {kind: m["pixel_auroc"] for kind, m in result.variants.items() if _defined(m["pixel_auroc"])}
    if not pixel:
        return ["There are no masks, so no metric of pixels is defined."]
    if len(result.variants) < 2:
        return []
    best, worst = max(pixel, key=pixel.__getitem__), min(pixel, key=pixel.__getitem__)
    return [
        f"From the same latents the `{best}` map has pixel AUROC {pixel[best]:.3f} and the `{worst}` map "
        f"{pixel[worst]:.3f}; to pick a map by this line would be to pick on test labels."
    ]


def _about_thresholds(result: Result) -> list[str]:
    sentences = []
    for row in result.record["thresholds"]:
        if row.get("value") is not None and _defined(row["recall"]) and _defined(row["false_alarm_rate"]):
            sentences.append(
                f"`{row['strategy']}` finds {_percent(row['recall'])} of the anomalies at "
                f"{_percent(row['false_alarm_rate'])} false alarms"
            )
    return [f"Thresholds, on images that set none of them: {'; '.join(sentences)}."] if sentences else []


def summary_line(record: Record) -> str:
    """Write one line about a result record."""
    shown = {key: name for key, name in LONG_TITLES.items() if "oracle" not in key}
    metrics = record["metrics"]
    numbers = (f"{name} {_number(metrics[key])}" for key, name in shown.items() if key in metrics)  # older: no IoU
    images, defects = record["data"]["test_images"], record["data"]["test_anomalous"]
    reason = f" ({defects} of {images} test images show a defect)" if defects in (0, images) else ""
    return printable(f"{record['data']['category']}: {', '.join(numbers)}{reason}")


def _name(text: str) -> str:
    """Return the name of a folder so that Markdown shows it as it is: no HTML, no formulas, no links."""
    return re.sub(r"([\\`*\[\]$~|])", r"\\\1", html.escape(printable(text).replace("\n", " "), quote=False))


def _number(value: float | None) -> str:
    return f"{value:.3f}" if _defined(value) else "undefined"


def _defined(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %" if _defined(value) else "an undefined share"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(summary_line(json.loads(Path(name).read_text())))
