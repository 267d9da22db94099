"""Two ways to train: ours, in a few epochs over features computed once, and the paper's.

| | ours | paper |
| --- | --- | --- |
| epochs, batch | 8, 8 | 500, 32 |
| optimizer | Adam, one cycle to 3e-3, weight decay 1e-5, gradients clipped | Adam, 1e-3 throughout, weight decay 1e-5 |
| loss | mean over dimensions | the same; its scale does not matter to Adam |
| augmentation | none, so that features are computed once | flips and rotations, features anew in every step |
| kernels | 3x3 and 1x1 in turn | ResNet-18: 3x3 only; others in turn |
| anomaly map | `tempered` | `prob` |

The paper states neither clamp, feature normalization, image score nor angles; there both use ours. Its figures are
as transcribed by several re-implementations.
"""

from __future__ import annotations

from typing import Any

from fastflow_lite.backbones.frozen import PRESETS as PAPER
from fastflow_lite.backbones.frozen import Preset, preset_for
from fastflow_lite.datasets.augmentation import Augmentation

PRESETS = ("ours", "paper")
NOT_TURNED = frozenset({"transistor"})  # where a flip or a turn is itself a defect; the paper's example


def fit_settings(preset: str, category: str = "") -> dict[str, Any]:
    """Keyword arguments of `fit`. `category` switches augmentation off where it would make defects."""
    _check(preset)
    if preset == "ours":
        return {}
    augment = None if category in NOT_TURNED else Augmentation()
    return {"epochs": 500, "batch_size": 32, "lr": 1e-3, "schedule": "constant", "clip": None, "augment": augment}


def model_settings(preset: str, backbone: str) -> dict[str, Any]:
    """Keyword arguments of `FastFlow` over `backbone`; steps and hidden width are the paper's in both."""
    _check(preset)
    return {} if preset == "ours" else {"kernels": _of(backbone).kernels, "map": "prob"}


def image_size(backbone: str) -> int:
    """Pixels a side that the paper feeds `backbone`."""
    return _of(backbone).image_size


def _check(preset: str) -> None:
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {PRESETS}, got {preset!r}")


def _of(backbone: str) -> Preset:
    return PAPER.get(backbone) or preset_for(backbone)
