"""The images of the GPU benchmark: bottle and screw from a folder that was packed for it, or the toy set."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from PIL import Image

from fastflow_lite.datasets import open_dataset
from fastflow_lite.datasets.opening import Data
from fastflow_lite.synthetic import toy
from gpu_parts.run import Run

REAL, DRAWN = ("bottle", "screw"), "weave"
SIDE, TINY_SIDE = 256, 64
MOST_BYTES = 60_000_000
IMAGE_FILES, MASK_FOLDER = (".png", ".jpg"), "ground_truth"
TINY = {"size": 64, "train": 8, "test_good": 3, "test_defect": 2}


def side(run: Run) -> int:
    """Return the side of the images in pixels."""
    return TINY_SIDE if run.tiny else SIDE


def categories(run: Run) -> list[str]:
    """Return the real categories that the data folder holds, else the toy set's."""
    found = [name for name in REAL if run.data and (run.data / "mvtec" / name).is_dir()]
    return found or [DRAWN]


def open_category(run: Run, category: str) -> Data:
    """Open one category. The toy set is drawn once for each machine, into its temporary folder."""
    if category != DRAWN:
        return open_dataset("mvtec", category, root=run.data, image_size=side(run))
    folder = Path(tempfile.gettempdir()) / f"fastflow-lite-toy{'-tiny' if run.tiny else ''}"
    toy.generate(folder, categories=(DRAWN,), **(TINY if run.tiny else {}))
    return open_dataset(folder, DRAWN, image_size=side(run))


def pack(target: Path, weights: Path | None) -> int:
    """Copy bottle and screw from FASTFLOW_LITE_DATA into `target`, 256 pixels a side; return the bytes in `target`.

    Images become JPEG of quality 95, masks PNG. The file of the weights is copied too, and counts. SystemExit when
    something is missing or `target` would hold more than 60 MB.
    """
    source = Path(os.environ.get("FASTFLOW_LITE_DATA") or "data") / "mvtec"
    if missing := [name for name in REAL if not (source / name).is_dir()]:
        raise SystemExit(f"no {' and '.join(missing)} below {source}: set FASTFLOW_LITE_DATA to the folder of mvtec/")
    for name in REAL:
        for file in sorted((source / name).rglob("*")):
            if file.suffix.lower() in IMAGE_FILES:
                shrink(file, target / "mvtec" / file.relative_to(source))
    if weights:
        shutil.copy(weights, target / weights.name)
    total = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    if total > MOST_BYTES:
        raise SystemExit(f"{target} holds {total / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f} MB: do not carry it")
    return total


def shrink(file: Path, target: Path) -> None:
    """Write one image or mask at 256 pixels a side."""
    target.parent.mkdir(parents=True, exist_ok=True)
    is_mask = MASK_FOLDER in file.parts
    with Image.open(file) as image:
        resample = Image.Resampling.NEAREST if is_mask else Image.Resampling.BILINEAR  # as the library resizes
        small = image.resize((SIDE, SIDE), resample)
        if is_mask:
            small.save(target.with_suffix(".png"))
        else:
            small.convert("L" if image.mode == "L" else "RGB").save(target.with_suffix(".jpg"), quality=95)
