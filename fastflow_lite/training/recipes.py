"""Three recipes: ours; "v0.1", which is what ours was in version 0.1; and the paper's.

| | ours | v0.1 | paper |
| --- | --- | --- | --- |
| training | 200 optimizer steps or a little more, in whole passes, batch 8 | 8 epochs, batch 8 | 500 epochs, batch 32 |
| optimizer | Adam, one cycle to 3e-3, decay 1e-5, clipped | the same | Adam, 1e-3 throughout, decay 1e-5 |
| loss | mean over dimensions | the same | the same; its scale does not matter to Adam |
| augmentation | filled up to 640 images by views, computed once | none | flips and rotations, anew in every step |
| features | standardized per channel, then by position | layer norm per position | not stated; those of v0.1 |
| noise on features | deviation 0.4 in training | none | none |
| scales | the flow of each is given the features of the next coarser one | independent | independent |
| kernels | 3x3 and 1x1 in turn; EfficientNet-Lite0: 3x3 only | in turn | ResNet-18: 3x3 only; others in turn |
| anomaly map | `exp_energy`, smoothed by 3 pixels | `tempered` | `exp_energy` |
| image score | mean of the highest 1 % inside the frame | largest value | not stated; that of v0.1 |

What separates ours from v0.1 was measured lever by lever (benchmarks/README.md, "The choice of settings"). `FastFlow()`
and `fit` without a recipe are the plain method: the values of v0.1. `Detector.train`, `fastflow-lite train` and
notebook 10 take ours.

"v0.1" has every value written out, so that no later change of a default or of a preset reaches it. Its learning rate
is 3e-3 up to 8 flow steps and falls with the square of the depth beyond: that is `optimization.learning_rate`.

The paper states neither clamp, feature normalization, image score nor angles. Its figures are as transcribed by
several re-implementations.
"""

from __future__ import annotations

from dataclasses import replace

from fastflow_lite.backbones import preset_for
from fastflow_lite.config import FastFlowConfig
from fastflow_lite.datasets.augmentation import Augmentation
from fastflow_lite.errors import check_choice
from fastflow_lite.training.settings import Settings

RECIPES = ("ours", "v0.1", "paper")
UPDATES, NOISE, VIEWS = 200, 0.4, 640  # of our training: three passes over 640 images and views, 240 updates
# Networks of few channels, whose 3x3 kernels cost a training little more time; benchmarks/README.md has what they gain.
ONLY_3X3 = frozenset({"tf_efficientnet_lite0"})
NOT_TURNED = frozenset({"transistor"})  # where a flip or a turn is itself a defect; the paper's example
# Layers and flow steps of "v0.1"; those of another network follow from its strides, see `backbones.preset_for`.
V01_NETWORKS: dict[str, tuple[tuple[int, ...], int]] = {
    "resnet18": ((1, 2, 3), 8),
    "tf_efficientnet_lite0": ((1, 2, 3), 8),
    "wide_resnet50_2": ((1, 2, 3), 8),
    "deit_base_distilled_patch16_384": ((7,), 20),
    "cait_m48_448": ((40,), 20),
}


def training_settings(recipe: str, category: str = "") -> Settings:
    """Return the settings of `fit`. No augmentation for a `category` in which a turned part is a defect."""
    if check_choice("recipe", recipe, RECIPES) == "ours":
        return Settings(updates=UPDATES, noise=NOISE, views=VIEWS)
    if recipe == "v0.1":
        return Settings(
            epochs=8,
            batch_size=8,
            lr=None,  # by the number of flow steps, which a caller may change
            weight_decay=1e-5,
            clip=1.0,
            schedule="one_cycle",
            augment=None,
            precision="float32",
            halvings=3,
            noise=0.0,
            average=None,
            views=0,
        )
    augment = None if category in NOT_TURNED else Augmentation()
    return Settings(epochs=500, batch_size=32, lr=1e-3, schedule="constant", clip=None, augment=augment)


def model_config(recipe: str, backbone: str) -> FastFlowConfig:
    """Return the configuration of a FastFlow over `backbone`; steps and hidden width are the paper's in all."""
    network = backbone.partition(".")[0]
    if check_choice("recipe", recipe, RECIPES) == "ours":
        return FastFlowConfig(
            backbone,
            kernels=(3,) if network in ONLY_3X3 else (3, 1),
            normalize="channel",
            standardize_positions=True,
            couple_scales=True,
            map="exp_energy",
            image_score="top_inside",
            smoothing=3.0,
        )
    if recipe == "v0.1":
        layers, steps = V01_NETWORKS.get(network, (None, None))
        return FastFlowConfig(
            backbone,
            layers=layers,
            steps=steps,
            kernels=(3, 1),
            hidden=None,  # by the channels of each scale, which one width cannot state
            coupling="affine",
            clamp=2.0,
            normalize="layer",
            feature_mean=1,
            standardize_positions=False,
            couple_scales=False,
            uncounted_affine=None,
            map="tempered",
            image_score="max",
            smoothing=0.0,
            sharpness=1.0,
            scale_weights="equal",
        )
    return replace(model_config("v0.1", backbone), kernels=preset_for(backbone).kernels, map="exp_energy")


def image_size(backbone: str) -> int:
    """Return the side in pixels of the images that the paper feeds `backbone`."""
    return preset_for(backbone).image_size
