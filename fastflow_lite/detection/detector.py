"""`Detector`: a trained model with all that a decision needs, in one file."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fastflow_lite import __version__
from fastflow_lite.datasets.image_inputs import is_one_image
from fastflow_lite.datasets.opening import height_and_width
from fastflow_lite.detection.any_model import load_model
from fastflow_lite.detection.calibration import Calibration, image_aspect, threshold_of
from fastflow_lite.detection.finding import Finding
from fastflow_lite.detection.ignored_region import Ignored, from_text, read_ignored, to_text
from fastflow_lite.detection.score_scale import ScoreScale
from fastflow_lite.detection.scorer import OnError, Scored, Scorer
from fastflow_lite.detection.tiled_scorer import TiledScorer, make_scorer
from fastflow_lite.detection.tiled_set import TiledSet
from fastflow_lite.detection.tiling import Tiles
from fastflow_lite.errors import ArgumentError, CheckpointError, DataError
from fastflow_lite.evaluation.anomaly_model import AnomalyModel
from fastflow_lite.files import read_header
from fastflow_lite.machine import choose_device
from fastflow_lite.scoring.thresholds import Threshold
from fastflow_lite.training.history import History

ENTRY, FORMAT = "detector", 1  # in the header of the model's file
POLYGONS_AT = (1024, 1024)  # the resolution in which ignored polygons are drawn, where images have no common size


class Detector:
    """Judges images: a model, the size of its images, the threshold and the rule that set it, and the scale of scores.

    Made by `Detector.train` from a folder, by `Detector.calibrate` from a model, or by `Detector.load` from a file. Not
    changed by use, and several threads may call it.

    Attributes:
        model: The `FastFlow`, or a baseline, in eval mode.
        calibration: The scores of normal images, the threshold, and what it promises.
        train_sha256: Fingerprint of the training images, or "".
        versions: Versions of this package, torch and Python when the detector was made.
        history: The history of the training, until the detector is saved and loaded.

    >>> detector = Detector.load("part.safetensors")  # doctest: +SKIP
    >>> finding = detector("new/0001.jpg")  # doctest: +SKIP
    >>> finding.alarm, finding.score, finding.regions  # doctest: +SKIP
    """

    def __init__(
        self,
        scorer: Scorer,
        calibration: Calibration,
        train_sha256: str = "",
        versions: Mapping[str, str] | None = None,
    ) -> None:
        self.scorer, self.calibration, self.train_sha256 = scorer, calibration, train_sha256
        self.versions = dict(versions or current_versions())
        self.scale = ScoreScale(calibration.threshold.value, float(np.median(calibration.normal_scores)))
        self.history: History | None = None
        scorer.model.train(False)

    @classmethod
    def train(cls, source: Any, **options: Any) -> Detector:
        """Train a detector on normal images; see `detector_training.train_detector`, which has the options."""
        from fastflow_lite.detection.detector_training import train_detector

        return train_detector(source, **options)

    @classmethod
    def calibrate(
        cls,
        model: AnomalyModel,
        normal: Any,
        *,
        rule: str | float | Threshold = "conformal",
        alpha: float = 0.05,
        validation: Any = None,
        ignore: Ignored | None = None,
        size: int | tuple[int, int] | None = None,
        tile: int | None = None,
        overlap: int | None = None,
        train_sha256: str = "",
    ) -> Detector:
        """Make a detector from a trained model and normal images that it was not trained on.

        Args:
            model: The trained `FastFlow`, or a fitted baseline.
            normal: Normal images, in any form that `detector(...)` takes.
            rule: How the threshold is set: "conformal", "quantile", "best_f1", a raw score, or a `Threshold`; see
                `detection.calibration.threshold_of`.
            alpha: The rate of false alarms that "conformal" and "quantile" aim at.
            validation: A labeled `ImageSet` with both kinds of images, for "best_f1". Not the test set.
            ignore: The part of all images that is left out; see `ignored_region.read_ignored`.
            size: A number or (height, width) that images are brought to; default: those of the training.
            tile: Judge images at their own size in square tiles of this many pixels a side, as the model was trained
                on, and join the maps. The threshold is for whole images. Not together with `size`.
            overlap: How many pixels neighboring tiles share at least; default a quarter of `tile`.
            train_sha256: Fingerprint of the training images.

        Raises:
            ArgumentError: An argument has a value that it cannot have.
            DataError: There is no normal image, or one cannot be read.
            NotTrainedError: The model was never trained.
        """
        model.check_trained()
        sides = None if size is None else height_and_width(size)
        scorer = _scorer(model, normal, ignore, sides, Tiles.checked(tile, overlap))
        was_training = model.training
        model.train(False)
        try:
            return cls(scorer, threshold_of(scorer, normal, rule, alpha, validation), train_sha256)
        finally:
            model.train(was_training)

    @property
    def model(self) -> AnomalyModel:
        """The model."""
        return self.scorer.model

    @property
    def size(self) -> tuple[int, int]:
        """Height and width that images are brought to; of a tile, where there are tiles."""
        return self.scorer.size

    @property
    def tile(self) -> int | None:
        """The side of the tiles in which images are judged at their own size; None where they are resized."""
        return self.scorer.tiles.side if isinstance(self.scorer, TiledScorer) else None

    @property
    def overlap(self) -> int | None:
        """How many pixels neighboring tiles share at least; None where there are no tiles."""
        return self.scorer.tiles.overlap if isinstance(self.scorer, TiledScorer) else None

    @property
    def ignore(self) -> np.ndarray | None:
        """Pixels that are left out, bool in any resolution, or None."""
        return self.scorer.ignore

    @property
    def threshold(self) -> Threshold:
        """The rule that decides, in the unit of raw scores."""
        return self.calibration.threshold

    @property
    def pixel_threshold(self) -> float:
        """The value of raw maps from which on a pixel belongs to a mask."""
        return self.calibration.pixel_threshold

    @property
    def normal_scores(self) -> np.ndarray:
        """Raw scores `(N,)` of the normal images that the threshold comes from, ascending, float64."""
        return self.calibration.normal_scores

    @property
    def promised_rate(self) -> float | None:
        """The rate of false alarms among normal images that the rule aims at; None where it promises nothing."""
        return self.calibration.promised_rate

    def __call__(self, source: Any) -> Any:
        """Return the `Finding` of one image, or an iterator of the findings of several.

        One image: a path, a PIL image, an array (H, W) or (H, W, 3) of uint8, uint16 or floating point, a tensor
        (3, H, W); floating point in [0, 1], channels red, green, blue. Several: a folder, a list, a batch, an image
        set, or a generator such as the frames of a camera. DataError, with its name, for an image that cannot be used.
        """
        return next(self.findings(source)) if is_one_image(source) else self.findings(source)

    def findings(self, source: Any, *, batch_size: int = 8, on_error: OnError | None = None) -> Iterator[Finding]:
        """Yield the findings of all images of `source` in order, while threads read the next images.

        The memory does not grow with the number of images. `on_error` is called with name and error for an image that
        cannot be used, and the others go on; without it the error is raised after the findings before.
        """
        level = float(self.scale(self.pixel_threshold))
        for scored in self.scorer(source, batch_size, on_error):
            yield self._finding(scored, level)
            del scored  # its map, before that of the next image is computed

    def to(self, device: str | torch.device) -> Detector:
        """Return this detector on another device. ArgumentError if it is not there."""
        scorer = replace(self.scorer, model=self.model.to(choose_device(str(device))))
        return Detector(scorer, self.calibration, self.train_sha256, self.versions)

    def save(self, path: str | Path) -> None:
        """Write the detector as one safetensors file, whole or not at all. The model's own `load` reads its model."""
        record = {
            "format": FORMAT,
            "size": list(self.size),
            "aspect": self.scorer.aspect,
            "ignore": None if self.ignore is None else to_text(self.ignore),
            "calibration": self.calibration.to_record(),
            "train_sha256": self.train_sha256,
            "versions": self.versions,
        }
        if self.tile is not None:
            record |= {"tile": self.tile, "overlap": self.overlap}
        self.model.save(path, {ENTRY: json.dumps(record)})

    def export(self, path: str | Path) -> float:
        """Write a program that runs without this package; return its greatest difference from this detector.

        The suffix of `path` is the format: `.onnx`, `.pt2` (torch) or `.xml` (OpenVINO). See `export.export_detector`.
        """
        from fastflow_lite.detection.export import export_detector

        return export_detector(self, path)

    @classmethod
    def load(cls, path: str | Path, backbone: torch.nn.Module | None = None) -> Detector:
        """Read the detector that `save` wrote. One over an own network needs it as `backbone`.

        CheckpointError for a file that is missing, damaged, of another version, or a model without a threshold.
        """
        header = read_header(Path(path))[1]
        model = load_model(path, backbone)
        if ENTRY not in header:
            raise CheckpointError(f"{path} holds a model without a threshold: make Detector.calibrate(model, images)")
        try:
            record = json.loads(header[ENTRY])
            if (found := record.get("format")) != FORMAT:
                made = ", ".join(f"{name} {version}" for name, version in record.get("versions", {}).items())
                raise CheckpointError(
                    f"{path} holds a detector of format {found!r}, of another version ({made or 'not named'}); this "
                    f"version, {__version__}, reads format {FORMAT}"
                )
            ignore = None if record["ignore"] is None else from_text(record["ignore"])
            height, width = (int(side) for side in record["size"])
            tiles = Tiles.checked(record.get("tile"), record.get("overlap"))
            scorer = make_scorer(model, (height, width), ignore, record["aspect"], tiles)
            calibration = Calibration.from_record(record["calibration"])
            return cls(scorer, calibration, str(record["train_sha256"]), record["versions"])
        except CheckpointError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{path} holds a detector that cannot be used: {error!r}") from error

    def _finding(self, scored: Scored, level: float) -> Finding:
        return Finding(
            name=scored.name,
            score=float(self.scale(scored.score)),
            raw_score=scored.score,
            alarm=bool(self.threshold.decide(scored.score)),
            size=scored.size,
            small_map=self.scale.rescale(scored.map),
            pixel_level=level,
        )


def _scorer(
    model: AnomalyModel, normal: Any, ignore: Ignored | None, size: tuple[int, int] | None, tiles: Tiles | None
) -> Scorer:
    """Return the scorer that `Detector.calibrate` describes."""
    if isinstance(normal, TiledSet):
        raise ArgumentError("normal is a set of tiles: give the images that they were cut from, and tile=...")
    if tiles is not None:
        if size is not None:
            raise ArgumentError(f"give size={size} or tile={tiles.side}, not both")
        model.backbone.check_size((tiles.side, tiles.side))
    found = (tiles.side, tiles.side) if tiles is not None else size or model.input_format.image_size
    if found is None:
        raise DataError("the model has no size of images, since an older version saved it: give size=(256, 256)")
    mask = None if ignore is None else read_ignored(ignore, POLYGONS_AT if tiles is not None else found)
    return make_scorer(model, found, mask, None if tiles is not None else image_aspect(normal), tiles)


def current_versions() -> dict[str, str]:
    """Return the versions of what computes."""
    return {"fastflow_lite": __version__, "torch": str(torch.__version__), "python": platform.python_version()}
