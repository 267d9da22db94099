"""Two recipes: ours, a few epochs over features computed once, and the paper's.

| | ours | paper |
| --- | --- | --- |
| epochs, batch | 8, 8 | 500, 32 |
| optimizer | Adam, one cycle to 3e-3, weight decay 1e-5, clipped | Adam, 1e-3 throughout, weight decay 1e-5 |
| loss | mean over dimensions | the same; its scale does not matter to Adam |
| augmentation | none, so that features are computed once | flips and rotations, features anew in every step |
| kernels | 3x3 and 1x1 in turn | ResNet-18: 3x3 only; others in turn |
| anomaly map | `tempered` | `exp_energy` |

The paper states neither clamp, feature normalization, image score nor angles; there both use ours. Its figures are
as transcribed by several re-implementations.
"""

from __future__ import annotations

from fastflow_lite.backbones import preset_for
from fastflow_lite.config import FastFlowConfig
from fastflow_lite.datasets.augmentation import Augmentation
from fastflow_lite.errors import check_choice
from fastflow_lite.training.settings import Settings

RECIPES = ("ours", "paper")
NOT_TURNED = frozenset({"transistor"})  # where a flip or a turn is itself a defect; the paper's example


def training_settings(recipe: str, category: str = "") -> Settings:
    """Return the settings of `fit`. No augmentation for a `category` in which a turned part is a defect."""
    if check_choice("recipe", recipe, RECIPES) == "ours":
        return Settings()
    augment = None if category in NOT_TURNED else Augmentation()
    return Settings(epochs=500, batch_size=32, lr=1e-3, schedule="constant", clip=None, augment=augment)


def model_config(recipe: str, backbone: str) -> FastFlowConfig:
    """Return the configuration of a FastFlow over `backbone`; steps and hidden width are the paper's in both."""
    if check_choice("recipe", recipe, RECIPES) == "ours":
        return FastFlowConfig(backbone)
    return FastFlowConfig(backbone, kernels=preset_for(backbone).kernels, map="exp_energy")


def image_size(backbone: str) -> int:
    """Return the side in pixels of the images that the paper feeds `backbone`."""
    return preset_for(backbone).image_size
