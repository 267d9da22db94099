"""The table of baselines beside anomalib's: means over seeds, and differences that are too large are marked."""

from typing import Any

import baselines


def record(auroc: float) -> dict[str, Any]:
    metrics = {"image_auroc": auroc, "pixel_auroc": 0.9, "aupro": 0.8}
    seconds = {"fit": 1.0, "scoring": 2.0}
    return {"train_images": 3, "metrics": metrics, "processor_seconds": seconds, "fit_peak_mib": 9, "learned_mib": 1.0}


def test_the_table_compares_means_over_the_seeds_of_both() -> None:
    lines = baselines.table(
        {
            "a | padim | ours | seed 0": record(0.98),
            "a | padim | ours | seed 1": record(0.96),
            "a | padim | anomalib | seed 0": record(0.974),
            "b | padim | ours | seed 0": record(0.98),
            "b | padim | anomalib | seed 0": record(0.976),
        }
    ).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [(row[0], row[3], row[4], row[5], row[-1]) for row in rows] == [
        ("a", "anomalib", "1", "0.9740", "0.0060 (more than .005)"),
        ("a", "ours", "2", "0.9700", ""),
        ("b", "anomalib", "1", "0.9760", "0.0040"),
        ("b", "ours", "1", "0.9800", ""),
    ]
