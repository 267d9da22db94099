"""Frozen feature extractors: the four of the paper, any timm network, any module that returns maps."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from fastflow_lite.backbones.presets import OTHER, preset_for
from fastflow_lite.backbones.timm_networks import timm_features
from fastflow_lite.backbones.weights import build_with_weights, weights_of_module
from fastflow_lite.errors import ArgumentError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A frozen network from images `(B, 3, H, W)` in [0, 1] to feature maps, finest first.

    `network` is a backbone of the paper (`PRESETS`), any timm name, or an `nn.Module` that returns a list of
    maps. It stays in eval mode, without gradients. `H` and `W` must be multiples of the largest
    stride; otherwise ArgumentError with the nearest sizes. `weights`: see `weights.build_with_weights`.

    Attributes: `channels` and `strides` of the maps, `preset`, `weights_info`, `name`.
    """

    mean: Tensor
    std: Tensor
    layers: tuple[int, ...]

    def __init__(
        self,
        network: str | nn.Module = "resnet18",
        weights: str | Path | None = "bundled",
        layers: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        mean, std = IMAGENET_MEAN, IMAGENET_STD
        if isinstance(network, nn.Module):
            self.name, self.preset, self.layers = type(network).__name__, OTHER, ()
            self.network, self.weights_info = network, weights_of_module(network)
        else:
            self.name, self.preset = network, preset_for(network)
            self.layers = tuple(layers or self.preset.layers)
            self.network, self.weights_info = build_with_weights(
                network, lambda pretrained: timm_features(network, self.layers, pretrained), weights
            )
            timm_config = getattr(getattr(self.network, "model", self.network), "pretrained_cfg", {})
            mean, std = timm_config.get("mean", mean), timm_config.get("std", std)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()
        self.channels, self.strides = self._probe()

    def train(self, mode: bool = True) -> Backbone:
        """Stay in eval mode, whatever `mode` is: training mode would change the batch-norm statistics."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps `(B, C, h, w)` of images `(B, 3, H, W)` in [0, 1], finest first."""
        if images.dim() != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ArgumentError(
                f"images must be (B, 3, H, W) of floating point in [0, 1], got {tuple(images.shape)} of {images.dtype}"
            )
        self.check_size(images.shape[-2:])
        return list(self.network((images.to(self.mean.dtype) - self.mean) / self.std))

    def with_network(self, network: nn.Module) -> Backbone:
        """Return a copy that shares everything except the network, which must return the same maps."""
        other = copy.copy(self)
        other._modules = self._modules | {"network": network}
        return other

    def check_size(self, size: Sequence[int]) -> None:
        """Raise ArgumentError with the nearest sizes unless both sides are multiples of the stride."""
        stride = max(self.strides)
        if any(side % stride or side < 1 for side in size):
            below = [max(stride, side // stride * stride) for side in size]
            above = [max(1, math.ceil(side / stride)) * stride for side in size]
            raise ArgumentError(
                f"image size {tuple(size)} (height, width) is not a multiple of {self.name}'s largest stride "
                f"{stride}; the nearest sizes are {tuple(below)} and {tuple(above)}"
            )

    @torch.no_grad()
    def _probe(self) -> tuple[list[int], list[int]]:
        """Return the channels and the strides of the maps of one blank image."""
        size = self.preset.image_size
        maps = self.network(torch.zeros(1, 3, size, size))
        if not isinstance(maps, list | tuple) or any(m.dim() != 4 for m in maps):
            raise ArgumentError(f"{self.name} must return a list of maps (B, C, H, W)")
        return [m.shape[1] for m in maps], [size // m.shape[2] for m in maps]
