"""Frozen networks that turn images into feature maps, their weights, and the normalization of those maps.

A backbone has no trainable parameter and stays in eval mode. This room does not know flows, scores or data sets.
"""

from fastflow_lite.backbones.frozen import IMAGENET_MEAN, IMAGENET_STD, Backbone
from fastflow_lite.backbones.imagenet_weights import IMAGENET_FOR
from fastflow_lite.backbones.normalization import Normalize, UncountedAffine
from fastflow_lite.backbones.presets import PRESETS, Preset, preset_for
from fastflow_lite.backbones.timm_networks import import_timm, timm_features
from fastflow_lite.backbones.weights import WeightsInfo, bundled_recipe, default_backbone, default_weights

__all__ = [
    "IMAGENET_FOR",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "PRESETS",
    "Backbone",
    "Normalize",
    "Preset",
    "UncountedAffine",
    "WeightsInfo",
    "bundled_recipe",
    "default_backbone",
    "default_weights",
    "import_timm",
    "preset_for",
    "timm_features",
]
