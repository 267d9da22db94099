"""The threshold of a detector, from the scores of normal images that the model was not trained on."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fastflow_lite.datasets.decoding import image_size
from fastflow_lite.datasets.image_inputs import is_one_image
from fastflow_lite.datasets.image_set import ImageSet
from fastflow_lite.datasets.listing import list_images
from fastflow_lite.detection.ignored_region import at_size
from fastflow_lite.detection.pixel_sample import PixelSample
from fastflow_lite.detection.scorer import Scorer
from fastflow_lite.errors import ArgumentError, DataError, check_choice, check_number
from fastflow_lite.evaluation.evaluator import NORMAL_PIXELS
from fastflow_lite.scoring import thresholds
from fastflow_lite.scoring.thresholds import Threshold, needed_images

RULES = ("conformal", "quantile", "best_f1")
ROUNDING = 1e-6  # of a score: in a batch of another size float32 moves it by 2e-7
MOST_PIXELS = 2**25  # of normal maps that the pixel threshold is computed from: 128 MiB


@dataclass(frozen=True)
class Calibration:
    """What the scores of normal images gave.

    Attributes:
        normal_scores: Raw scores `(N,)` of normal images, ascending, float64.
        threshold: The rule that decides.
        pixel_threshold: The level that 99.9 % of the pixels of their raw maps do not exceed.
        promised_rate: The rate of false alarms that the rule aims at; None where it promises nothing.
    """

    normal_scores: np.ndarray
    threshold: Threshold
    pixel_threshold: float
    promised_rate: float | None

    def to_record(self) -> dict[str, Any]:
        """Return JSON values."""
        scores, rule = self.normal_scores.tolist(), asdict(self.threshold)
        return vars(self) | {"normal_scores": scores, "threshold": rule}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Calibration:
        """Read what `to_record` returned; ValueError, KeyError or TypeError for anything else."""
        scores, rate = np.asarray(record["normal_scores"], np.float64), record["promised_rate"]
        if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
            raise ArgumentError("the scores of normal images must be finite numbers, at least one")
        threshold = Threshold(**record["threshold"])
        check_number("threshold", threshold.value)
        level = check_number("pixel_threshold", record["pixel_threshold"])
        return cls(np.sort(scores), threshold, level, None if rate is None else check_number("promised_rate", rate))


def check_rule(rule: str | float | Threshold, alpha: float, validation: Any = None) -> None:
    """Raise ArgumentError if one of these is nothing that `threshold_of` takes."""
    if not 0 < check_number("alpha", alpha, above=0) < 1:
        raise ArgumentError(f"alpha must be between 0 and 1, got {alpha}")
    if isinstance(rule, int | float) and not isinstance(rule, bool):
        check_number("rule", rule)
        return
    is_labeled = isinstance(validation, ImageSet) and thresholds.has_both_classes(validation.labels)
    if not isinstance(rule, Threshold) and check_choice("rule", rule, RULES) == "best_f1" and not is_labeled:
        raise ArgumentError('rule="best_f1" needs validation, a labeled ImageSet with good and bad images')


def threshold_of(
    scorer: Scorer, normal: Any, rule: str | float | Threshold, alpha: float, validation: Any = None
) -> Calibration:
    """Score normal images and set the thresholds.

    - "conformal": a new normal image is an alarm with probability at most `alpha`, if it is exchangeable with the
      `normal` ones, over draws of these too (`thresholds.conformal`). Too few normal images for `alpha`: the smallest
      rate that they allow, 1 / (n + 1), and a warning.
    - "quantile": at most a fraction `alpha` of the `normal` images are alarms. No guarantee for new ones.
    - "best_f1": the best F1 on `validation`, a labeled `ImageSet`.
    - a number, the raw score from which on an image is an alarm; or a `Threshold`.

    What "conformal" and "quantile" give is raised by `ROUNDING`, so that an image is not an alarm because it is judged
    in a batch of another size. Both promise at most so many alarms, and that stays.
    """
    check_rule(rule, alpha, validation)
    scored, pixels = [], PixelSample(MOST_PIXELS)
    for one in scorer(normal):
        scored.append(one.score)
        counted = None if scorer.ignore is None else ~at_size(scorer.ignore, (one.map.shape[0], one.map.shape[1]))
        pixels.add(one.map, counted)
        del one, counted  # before the map of the next image is computed
    if not scored:
        raise DataError("there is no normal image to set the threshold from")
    scores = np.sort(np.asarray(scored, np.float64))
    threshold, rate = _decide(scorer, scores, rule, alpha, validation)
    level = float(np.quantile(pixels.values(), NORMAL_PIXELS, overwrite_input=True))
    return Calibration(scores, threshold, level, rate)


def image_aspect(images: Any) -> float | None:
    """Return width by height of the first image, before it is resized; None where it is not known."""
    if isinstance(images, ImageSet):
        place = images.samples[0].image if len(images) else None
    elif isinstance(images, str | os.PathLike):
        place = Path(images) if is_one_image(images) else list_images(Path(images))[0]
    else:
        first = images[0] if isinstance(images, list | tuple) and images else None
        place = Path(first) if isinstance(first, str | os.PathLike) and is_one_image(first) else None
    if place is None:
        return None
    height, width = image_size(place)
    return width / height


def _decide(
    scorer: Scorer, scores: np.ndarray, rule: str | float | Threshold, alpha: float, validation: Any
) -> tuple[Threshold, float | None]:
    """Return the threshold and the rate that it promises, by a rule that `check_rule` took."""
    if isinstance(rule, Threshold):
        return rule, None
    if not isinstance(rule, str):
        return thresholds.fixed(rule), None
    if rule == "best_f1":
        return thresholds.best_f1(validation.labels, [one.score for one in scorer(validation)]), None
    if rule == "quantile":
        return _raised(thresholds.quantile(scores, 1 - alpha), scores), alpha
    if len(scores) < needed_images(alpha):
        warnings.warn(
            f"a false-alarm rate of {alpha:g} needs {needed_images(alpha)} normal images to set the threshold from, "
            f"got {len(scores)}: the threshold promises at most {1 / (len(scores) + 1):.3f}",
            stacklevel=4,
        )
        alpha = 1 / (len(scores) + 1)
    return _raised(thresholds.conformal(scores, alpha), scores), alpha


def _raised(threshold: Threshold, scores: np.ndarray) -> Threshold:
    """Return the threshold, higher by more than rounding moves a score; the median counts where it is near 0."""
    margin = ROUNDING * max(abs(threshold.value), abs(float(np.median(scores))))
    return replace(threshold, value=threshold.value + margin)
