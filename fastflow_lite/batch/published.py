"""Published figures to compare results with. The column `standing` of `published.csv` rates how certain each is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastflow_lite.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

TABLE = Path(__file__).with_name("published.csv")
OURS = "FastFlow Lite"


def published(dataset: str, backbone: str | None = None) -> pd.DataFrame:
    """Return the rows source, backbone, dataset, category, image_auroc, pixel_auroc (nan: not published), standing.

    The paper's text was not at hand: its figures come from transcriptions that agree with one another. The
    re-implementations' are from their own pages; most chose their epoch by test labels.

    >>> published("mvtec", "resnet18").query("source == 'paper'")[["category", "image_auroc", "pixel_auroc"]].values
    array([['mean', 0.979, 0.972]], dtype=object)
    """
    import pandas as pd

    rows = pd.read_csv(TABLE, dtype={"category": str})
    rows = rows[rows["dataset"] == dataset]
    return rows[rows["backbone"].isin([backbone, "unstated"])] if backbone else rows


def compare_with_published(runs: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return our runs on `dataset` and the published figures for the same categories and backbones, one row a figure.

    `runs` is what `batch.table` returns. Columns category, backbone, source, image_auroc, pixel_auroc, their
    `_half_width` (Student's 95 % interval over seeds, nan for one run and for published figures), seeds, standing.
    Runs that differ in more than the seed count as seeds of one setting: choose rows before. DataError for a table
    without a run on `dataset`.
    """
    import pandas as pd

    from fastflow_lite.batch.table import half_width, means

    for column in ("dataset", "category", "backbone"):
        if column not in runs:
            raise DataError(f"the table has no column {column}: give what batch.table returns, with its parameters")
    known, runs = runs["dataset"], runs[runs["dataset"] == dataset]
    if runs.empty:
        there = ", ".join(sorted(map(str, known.dropna().unique()))) or "none"
        raise DataError(f"no run is on the data set {dataset!r}, but on {there}: give one of these, or other runs")
    rows = []
    for _, row in means(runs, ["category", "backbone"]).iterrows():
        found = {"category": row["category"], "backbone": row["backbone"], "source": OURS, "seeds": row["runs"]}
        for name in ("image_auroc", "pixel_auroc"):
            found |= {name: row[name], f"{name}_half_width": half_width(row[f"{name}_std"], row[f"{name}_n"])}
        rows.append(found | {"standing": "these records"})
    others = pd.concat([published(dataset, name) for name in dict.fromkeys(runs["backbone"])])
    others = others[others["category"].isin(set(runs["category"]))].drop(columns="dataset")
    return pd.concat([pd.DataFrame(rows), others]).sort_values(["category", "source"], ignore_index=True)
