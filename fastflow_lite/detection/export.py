"""A detector as one program that runs without this package: by torch, by ONNX runtimes, or by OpenVINO.

The program computes, from images `(B, 3, H, W)` float32 in [0, 1] of one size and any number:

- `maps` `(B, 1, H, W)` and `scores` `(B,)`, 0 to 1 with 0.5 at the threshold, as `Finding.small_map` and `.score`;
- `raw_scores` `(B,)`, in the unit of the model's map;
- `alarms` `(B,)` bool, and `masks` `(B, 1, H, W)` bool: the pixels that reach the pixel threshold.

It has the backbone, the flows without `flows.fast`, the map, the ignored pixels, the image score, the thresholds and
the scale. An image with a value beyond [0, 1] or NaN, or with a map that is not finite, is an alarm, with an infinite
raw score and 1 everywhere in its map. An export is compared with its detector before it is written: see `tolerance`.
"""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fastflow_lite.datasets.input_format import HIGHEST, LOWEST, InputFormat
from fastflow_lite.detection.detector import Detector
from fastflow_lite.detection.export_formats import existing, format_of, without_deprecation_warnings
from fastflow_lite.detection.ignored_region import at_size
from fastflow_lite.detection.scorer import Scorer
from fastflow_lite.errors import ArgumentError, ExportError
from fastflow_lite.files import write_atomically
from fastflow_lite.model import FastFlow
from fastflow_lite.scoring.maps import image_score

MAX_BATCH = 4096  # images in one batch of an exported program
TOLERANCE = 1e-4  # the greatest difference between a program and its detector
ROUNDING = 5e-6  # of float32 in raw maps, as a fraction of the threshold or of 1: seen up to 4e-6 by other convolutions
BELOW_HALF = float(np.nextafter(np.float32(0.5), np.float32(0)))
STEEPEST = 1e30  # slope of a scale in float32, so that its product with 0 is 0
RESIZING = "bilinear with anti-aliasing"  # `datasets.image_files.resize`


class ExportableDetector(nn.Module):
    """The computation of a detector for images of its size, in operations that torch can export."""

    left_out: Tensor

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.model, self.size, scale = _flow_of(detector), detector.size, detector.scale
        self.model.check_trained()  # it reads the flags of fitted statistics, which no trace can
        ignored = np.zeros(self.size, bool) if detector.ignore is None else at_size(detector.ignore, self.size)
        self.register_buffer("left_out", torch.from_numpy(ignored), persistent=False)
        self.readout = self.model.readout()
        self.threshold = float32_from(detector.threshold.value)
        self.pixel_threshold = float32_from(detector.pixel_threshold)
        # The center in two parts, since its rounding to float32 would move all scores of a steep scale.
        self.center = float(np.float32(scale.threshold))
        self.rest, self.slope = scale.threshold - self.center, min(scale.slope, STEEPEST)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the five outputs of images `(B, 3, *size)`."""
        model, readout = self.model, self.readout
        raw = readout.maps(readout.terms(model(images, fast=False)), self.size, model.map)
        raw = torch.where(self.left_out, raw.amin(dim=(1, 2, 3), keepdim=True), raw)
        found = image_score(raw, model.image_score)
        in_range = ((images >= LOWEST) & (images <= HIGHEST)).flatten(1).all(dim=1)
        is_valid = in_range & (raw.abs() < torch.inf).flatten(1).all(dim=1)  # a comparison with NaN is False
        raw = torch.where(is_valid[:, None, None, None], raw, torch.inf)
        found = torch.where(is_valid, found, torch.inf)
        return {
            "maps": self.scaled(raw),
            "scores": self.scaled(found),
            "raw_scores": found,
            "alarms": found >= self.threshold,
            "masks": raw >= self.pixel_threshold,
        }

    def scaled(self, raw: Tensor) -> Tensor:
        """Return what `ScoreScale` returns, in float32."""
        scores = torch.sigmoid(self.slope * ((raw - self.center) - self.rest))
        return torch.where(raw >= self.threshold, scores.clamp(min=0.5), scores.clamp(max=BELOW_HALF))


def float32_from(value: float) -> float:
    """Return the smallest float32 that is at least `value`: float32 numbers reach both or neither.

    >>> float32_from(0.5), float32_from(0.5 + 1e-12)
    (0.5, 0.5000000596046448)
    """
    with np.errstate(over="ignore"):
        nearest = np.float32(value)
    return float(nearest if float(nearest) >= value else np.nextafter(nearest, np.float32(np.inf)))


def export_program(detector: Detector) -> torch.export.ExportedProgram:
    """Export a detector as a graph of torch's own operations. It is not changed.

    ArgumentError for a detector that judges in tiles, whose number depends on the image, or over a baseline.
    """
    model, training = _flow_of(detector), detector.model.training
    if detector.tile is not None:
        raise ArgumentError(
            f"this detector judges images in tiles of {detector.tile} pixels and joins their maps, which an exported "
            "program cannot; use Detector.load and detector(...), or train a detector without tiles"
        )
    example = torch.zeros(2, 3, *detector.size, device=model.device)
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    try:
        with torch.no_grad(), without_deprecation_warnings():
            module = ExportableDetector(detector).to(model.device).eval()
            return torch.export.export(module, (example,), dynamic_shapes=({0: batch},))
    finally:
        model.train(training)


def export_detector(detector: Detector, path: str | Path) -> float:
    """Write a detector as a program, and return the greatest difference between both on drawn images.

    Args:
        detector: The detector; one on a GPU is copied to the processor.
        path: The file: `.onnx`, `.pt2` for `torch.export.load(path).module()(images)`, or `.xml` for OpenVINO, which
            writes a second file `.bin` beside it.

    Raises:
        ArgumentError: The suffix is another one, or the detector judges in tiles or by a baseline.
        ImportError: The packages that the format needs are not installed; the message has what to install.
        ExportError: The program differs from the detector by more than `tolerance`. Nothing is written.
        OSError: The file cannot be written.
    """
    form, target = format_of(path), Path(path)
    detector = _on_processor(detector)
    program = export_program(detector)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as folder:
        made = Path(folder) / target.with_suffix(form.suffix).name
        form.write(program, made, metadata_of(detector))
        difference = greatest_difference(detector, made)
        if not difference <= tolerance(detector):
            raise ExportError(
                f"the program in the format {form.name} differs from its detector by {difference:.1e}, more than "
                f"{tolerance(detector):g}: {path} is not written"
            )
        for part in sorted(Path(folder).iterdir()):  # .bin before .xml
            place = target if part == made else target.with_suffix(part.suffix)
            write_atomically(place, lambda temporary, part=part: shutil.copyfile(part, temporary))  # type: ignore[misc]
    return difference


def run_exported(path: str | Path, images: Tensor) -> dict[str, Tensor]:
    """Return the five outputs for images `(B, 3, H, W)`, computed on the processor from the file alone.

    Load only files that you wrote: torch does not guarantee that loading a file `.pt2` of unknown origin is safe.
    ArgumentError for images of another size than the file's or values beyond [0, 1]. The program itself raises no
    error: such an image is an alarm.
    """
    form = format_of(path)
    metadata = form.read_metadata(existing(path))
    InputFormat().check_batch(images)
    wanted = (3, int(metadata["height"]), int(metadata["width"]))
    if tuple(images.shape[1:]) != wanted:
        shape = ", ".join(map(str, wanted))
        raise ArgumentError(f"images must be (B, {shape}) for {path}, got {tuple(images.shape)}")
    return form.run(Path(path), images.detach().cpu().float().contiguous())


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return the metadata of an exported program, see `metadata_of`."""
    return format_of(path).read_metadata(existing(path))


def metadata_of(detector: Detector) -> dict[str, str]:
    """Return what a program tells about itself as texts, without what is not known.

    `height`, `width`, `channels`, `value_range` and `resizing` are those of its images, `white_level` that of files of
    16 bits. `threshold`, `pixel_threshold`, `scale_threshold` and `scale_median` are in the unit of `raw_scores`;
    `pixel_score` is the pixel threshold in the scale of `maps`.
    """
    height, width = detector.size
    facts = {
        "format": "fastflow-lite detector 1",
        "height": height,
        "width": width,
        "channels": "RGB",
        "value_range": "0 to 1",
        "resizing": RESIZING,
        "white_level": detector.model.input_format.white_level,
        "threshold": detector.threshold.value,
        "rule": detector.threshold.strategy,
        "note": detector.threshold.note,
        "promised_rate": detector.promised_rate,
        "normal_images": len(detector.normal_scores),
        "pixel_threshold": detector.pixel_threshold,
        "pixel_score": float(detector.scale(detector.pixel_threshold)),
        "scale_threshold": detector.scale.threshold,
        "scale_median": detector.scale.median,
        "backbone": detector.model.config.backbone,
        "map": detector.model.map,
        "image_score": detector.model.image_score,
        "train_sha256": detector.train_sha256 or None,
        "versions": json.dumps(detector.versions),
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def greatest_difference(detector: Detector, path: str | Path) -> float:
    """Return the greatest difference between a detector and a program on drawn images, in the scale of scores.

    The scale flattens far from the threshold, so raw scores are compared too: as fractions of their distance from the
    threshold, or of 1 / slope of the scale where that is larger.
    """
    images = drawn_images(detector.size)
    outputs, findings = run_exported(path, images), list(detector(images))
    scores, raw = (np.array([getattr(f, name) for f in findings]) for name in ("score", "raw_score"))
    distance = np.maximum(np.abs(raw - detector.threshold.value), 1 / detector.scale.slope)
    differences = (
        outputs["maps"].numpy()[:, 0] - np.stack([f.small_map for f in findings]),
        outputs["scores"].numpy() - scores,
        (outputs["raw_scores"].numpy() - raw) / distance,
    )
    return float(max(np.abs(values).max() for values in differences))


def tolerance(detector: Detector) -> float:
    """Return the greatest difference between a program and its detector that is accepted: 1e-4.

    More for a scale that is so steep, with a median of normal scores so close to the threshold, that the rounding of
    raw maps alone moves scores further.
    """
    return max(TOLERANCE, detector.scale.slope * ROUNDING * max(1.0, abs(detector.threshold.value)))


def drawn_images(size: tuple[int, int]) -> Tensor:
    """Return plain images `(4, 3, *size)`: white, and gray, black and a ramp with a little noise.

    Real images of parts lie on plain grounds: on these, not on noise alone, maps have values on both sides of the
    threshold.
    """
    height, width = size
    noise = 0.05 * torch.rand(3, 3, height, width, generator=torch.Generator().manual_seed(0))
    ramp = torch.linspace(0, 1, width).expand(3, height, width)
    grounds = torch.stack([torch.full_like(ramp, 0.5), torch.zeros_like(ramp), ramp])
    return torch.cat([torch.ones(1, 3, height, width), (grounds + noise).clamp(0, 1)])


def _flow_of(detector: Detector) -> FastFlow:
    """Return the model; ArgumentError for a baseline."""
    if not isinstance(detector.model, FastFlow):
        raise ArgumentError(
            f"this detector judges by {type(detector.model).__name__}, and only one over a FastFlow can be exported; "
            "use Detector.load and detector(...), or train a FastFlow"
        )
    return detector.model


def _on_processor(detector: Detector) -> Detector:
    """Return the detector, or a copy if it is on another device."""
    if detector.model.device.type == "cpu":
        return detector
    scorer = Scorer(copy.deepcopy(detector.model).to("cpu"), detector.size, detector.ignore, detector.scorer.aspect)
    return Detector(scorer, detector.calibration, detector.train_sha256, detector.versions)
