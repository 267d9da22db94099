"""Frozen feature extractors: the four of the paper, any timm network, any module that returns maps."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from fastflow_lite.backbones.presets import OTHER, preset_for
from fastflow_lite.backbones.timm_networks import input_config
from fastflow_lite.backbones.weights import build_with_weights, weights_of_module
from fastflow_lite.errors import ArgumentError, first_line

TRIED_SIZES: Sequence[int] = (256, 224, 384, 448, 512, 128, 96, 64, 32)  # of images, for an own module
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Shapes = tuple[int, list[int], list[int], int]  # a size that a network takes, channels, strides, multiple of sides
_shapes: dict[tuple[str, tuple[int, ...]] | None, Shapes] = {}  # by name and layers: no weights change them


class Backbone(nn.Module):
    """A frozen network from images `(B, 3, H, W)` in [0, 1] to feature maps, finest first.

    `network` is a backbone of the paper (`PRESETS`), any timm name, or an `nn.Module` that returns a list of
    maps and comes with its weights and layers. It stays in eval mode, without gradients. `H` and `W` must be multiples
    of the largest stride; otherwise ArgumentError with the nearest sizes. ArgumentError, with the network's reason,
    too for a size that the network does not take. `weights`: see `weights.build_with_weights`.

    Attributes: `channels` and `strides` of the maps, `preset`, `weights_info`, `name`.
    """

    mean: Tensor
    std: Tensor
    layers: tuple[int, ...]
    channels: list[int]
    strides: list[int]

    def __init__(
        self,
        network: str | nn.Module = "resnet18",
        weights: str | Path | None = "bundled",
        layers: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        place = _device(network)
        mean, std, sizes = IMAGENET_MEAN, IMAGENET_STD, TRIED_SIZES
        if isinstance(network, nn.Module):
            if layers or weights not in ("bundled", None):
                own = f"{type(network).__name__} is used as it is given"
                raise ArgumentError(f"{own}, so leave weights={weights!r} and layers={layers!r} out")
            self.name, self.preset, self.layers = type(network).__name__, OTHER, ()
            self.network, self.weights_info = network, weights_of_module(network)
        else:
            self.name, self.preset = network, preset_for(network)
            self.layers = self.preset.layers if layers is None else tuple(layers)
            self.network, self.weights_info = build_with_weights(network, self.layers, weights)
            published = input_config(self.network)
            mean, std = published.get("mean", mean), published.get("std", std)
            sizes = (self.preset.image_size, published.get("input_size", (224,))[-1])
        self.register_buffer("mean", torch.tensor(mean, device=place).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, device=place).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()
        known = (self.name, self.layers) if isinstance(network, str) else None
        shapes = _shapes.get(known) or self._probe(sizes)
        if known:
            _shapes[known] = shapes
        size, channels, strides, self._multiple = shapes
        self.preset = replace(self.preset, image_size=size)
        self.channels, self.strides = list(channels), list(strides)

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
        size = images.shape[-2:]
        self.check_size(size)
        try:
            return list(self.network((images.to(self.mean.dtype) - self.mean) / self.std))
        except Exception as error:
            side = self.preset.image_size
            if tuple(size) == (side, side) or isinstance(error, torch.OutOfMemoryError):
                raise  # not because of the size
            raise ArgumentError(
                f"{self.name} does not take images of the size {tuple(size)} (height, width): {first_line(error)}. "
                f"It takes {(side, side)}"
            ) from error

    def with_network(self, network: nn.Module) -> Backbone:
        """Return a copy that shares everything except the network, which must return the same maps."""
        other = copy.copy(self)
        other._modules = self._modules | {"network": network}
        return other

    def check_size(self, size: Sequence[int]) -> None:
        """Raise ArgumentError with the nearest sizes unless both sides are multiples of the stride."""
        stride = self._multiple
        if any(side % stride or side < 1 for side in size):
            below = [max(stride, side // stride * stride) for side in size]
            above = [max(1, math.ceil(side / stride)) * stride for side in size]
            raise ArgumentError(
                f"image size {tuple(size)} (height, width) is not a multiple of {self.name}'s largest stride "
                f"{stride}; the nearest sizes are {tuple(below)} and {tuple(above)}"
            )

    @torch.no_grad()
    def _probe(self, sizes: Sequence[int]) -> Shapes:
        """Return what the maps of one blank image show, of the first of `sizes` that the network takes."""
        reasons = []
        for size in dict.fromkeys(sizes):  # each once
            try:
                maps = self.network(torch.zeros(1, 3, size, size, device=self.mean.device))
                break
            except Exception as error:  # whatever the code of a network raises for a size that it does not take
                reasons.append(f"{size}: {first_line(error)}")
        else:
            raise ArgumentError(
                f"{self.name} does not take images (1, 3, size, size) of any size tried; {'; '.join(reasons[:2])}"
            )
        is_list = isinstance(maps, list | tuple) and len(maps) > 0
        if not is_list or any(not isinstance(m, Tensor) or m.dim() != 4 or len(m) != 1 or 0 in m.shape for m in maps):
            raise ArgumentError(f"{self.name} must return a list of maps (B, C, H, W)")
        channels, strides = [m.shape[1] for m in maps], [max(1, size // m.shape[2]) for m in maps]
        # Without padding a map is smaller than the image's size divided by the stride, and no multiple is asked for.
        even = all(side * s == size for m, s in zip(maps, strides, strict=True) for side in m.shape[2:])
        return size, channels, strides, max(strides) if even else 1


def _device(network: object) -> torch.device:
    """Return the device of a network that is given as a module, else the default one. ArgumentError for meta."""
    if not isinstance(network, str | nn.Module):
        raise ArgumentError(f"backbone must be the name of a network or a module, got {network!r}")
    tensors = chain(network.parameters(), network.buffers()) if isinstance(network, nn.Module) else ()
    places = {tensor.device for tensor in tensors} or {torch.get_default_device()}
    if any(place.type == "meta" for place in (*places, torch.get_default_device())):
        raise ArgumentError("a backbone needs its weights: build it outside torch.device('meta'), on no meta tensors")
    return next(iter(places))
