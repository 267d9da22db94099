"""Part d: the paper's table 5 on this card, images a second and the milliseconds that the flow adds; and from files.

Table 5: the model prepared for repeated predictions (`prepared_for_inference`), random weights, the paper's kernels,
batch 1 and 32, not compiled and, where time is left, compiled. From files: decoding, resizing, backbone, flow, map and
score, with copies to and from the card, of the test images as they are and of PNG files of 1024 pixels a side, which
are the same images enlarged.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from complexity import PAPER, timing
from harness import markdown
from PIL import Image

from fastflow_lite import FastFlow
from fastflow_lite.backbones.presets import preset_for
from fastflow_lite.datasets import ImageSet
from fastflow_lite.datasets.image_set import Sample
from gpu_parts import data
from gpu_parts.run import Record, Row, Run
from gpu_parts.speed import BACKBONES, TINY

BATCHES, TINY_BATCHES = (1, 32), (1, 2)
PRECISIONS = ("bf16", "float32")
REPEATS = 20
LARGE, LARGE_FILES = 1024, 128  # pixels a side and number of the enlarged files
IMAGES = 512  # so many are read from files, the same ones again if there are fewer


def measure(run: Run, record: Record) -> None:
    """From files first, then the four backbones."""
    from_files(run, record)
    for compiled in run.compiling:
        table_5(run, record, compiled)


def table_5(run: Run, record: Record, compiled: bool) -> None:
    """Add the rows of the backbones."""
    for name, size in (TINY if run.tiny else BACKBONES).items():
        if run.seconds_left < 5:
            record.add({"backbone": name, "compiled": compiled, "error": "not run: no time was left"})
            continue
        model = build(name, run.place)
        for batch in TINY_BATCHES if run.tiny else BATCHES:
            images = torch.rand(batch, 3, size, size, device=run.place)
            for precision in PRECISIONS:
                row: Row = {"backbone": name, "image_size": size, "batch": batch, "precision": precision}
                record.add(row | {"compiled": compiled} | measure_one(run, model, images, precision, compiled))
        del model


def build(name: str, device: torch.device) -> FastFlow:
    """Return the paper's model with random weights, built on the device."""
    with device:
        return FastFlow(name, None, kernels=preset_for(name).kernels).to(device).eval()


def measure_one(run: Run, model: FastFlow, images: torch.Tensor, precision: str, compiled: bool) -> Row:
    """Times of one batch size, or the error."""
    try:
        prepared = model.prepared_for_inference(precision=precision, compiled=compiled)
        found = timing(model, images, 2 if run.tiny else REPEATS, prepared)
        return found | {"images/s": 1000 / found["milliseconds_per_image"]["whole"]["median"]}
    except Exception as error:  # of one precision or batch: the others are measured
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def from_files(run: Run, record: Record) -> None:
    """Add a row for the files as they are and one for large files."""
    category = data.categories(run)[0]
    test = data.open_category(run, category).test
    model = FastFlow("resnet18", run.weights).to(run.place).eval()
    with tempfile.TemporaryDirectory() as folder:
        large = enlarge(test, Path(folder), 4 if run.tiny else LARGE_FILES, 128 if run.tiny else LARGE)
        for title, images in (("as they are", test), (f"PNG, {large[1]} pixels", large[0])):
            count = 8 if run.tiny else IMAGES
            images = images.subset([k % len(images) for k in range(count)])
            for precision in PRECISIONS:
                prepared = model.prepared_for_inference(precision=precision)
                seconds = min(score_files(prepared, model, images, 2 if run.tiny else 32) for _ in range(2))
                with Image.open(images.samples[0].image) as image:
                    about = f"{image.format}, {image.width}x{image.height}"
                files = {"files": title, "category": category, "first file": about, "images": count}
                record.add(files | {"precision": precision, "seconds": seconds, "images/s": count / seconds})


def enlarge(images: ImageSet, folder: Path, count: int, side: int) -> tuple[ImageSet, int]:
    """Write `count` of `images` as PNG files of `side` pixels."""

    def write(index: int) -> Sample:
        target = folder / f"{index:04d}.png"
        with Image.open(images.samples[index % len(images)].image) as image:
            image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC).save(target, compress_level=1)
        return Sample(target)

    with ThreadPoolExecutor() as pool:
        samples = list(pool.map(write, range(count)))
    return ImageSet(samples, images.size, folder, images.category), side


@torch.inference_mode()
def score_files(prepared: object, model: FastFlow, images: ImageSet, batch: int) -> float:
    """Seconds from files to maps and scores in the host's memory."""
    start = time.perf_counter()
    for pictures, _ in images.batches(batch, pin=model.device.type == "cuda"):
        maps, scores = model.maps_and_scores(prepared(pictures), images.size)  # type: ignore[operator]
        maps.cpu(), scores.cpu()
    return time.perf_counter() - start


def tables(record: Row) -> list[str]:
    """Table 5, then the rates from files."""
    backbones = [shown(row) for row in record["rows"] if "backbone" in row]
    files = [
        {"files": row["files"], "first file": row["first file"], "images": row["images"]}
        | {"precision": row["precision"], "images/s from files": f"{row['images/s']:.0f}"}
        for row in record["rows"]
        if "files" in row
    ]
    return [markdown(rows) for rows in (backbones, files) if rows]


def shown(row: Row) -> Row:
    """Return one row of table 5, beside the paper's figures (second-hand, see `complexity.PAPER`)."""
    ms, paper = row.get("milliseconds_per_image"), PAPER.get(row["backbone"], {})
    median = {part: f"{ms[part]['median']:.3f}" if ms else "" for part in ("backbone", "added")}
    cells = {name: row.get(name, "") for name in ("backbone", "image_size", "precision", "batch")}
    cells["compiled"] = "yes" if row.get("compiled") else ""
    cells |= {"backbone, ms an image": median["backbone"], "flow adds, ms": median["added"]}
    cells |= {"images/s": f"{row['images/s']:.0f}" if ms else ""}
    cells |= {"paper: flow adds, ms": paper.get("added", ""), "paper: images/s": paper.get("per_second", "")}
    return cells | {"": row.get("error", "")}
