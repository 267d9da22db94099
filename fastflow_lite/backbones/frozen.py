"""Frozen feature extractors: the four of the paper, any timm model, any module that returns maps."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from fastflow_lite.backbones.torchvision_fix import prepare_torchvision
from fastflow_lite.backbones.weights import build_with_weights, weights_of_module

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preset:
    """What the paper sets for one backbone (facts: input size, layers, steps, kernels, hidden width).

    `layers` index timm's feature levels: for ResNets 1, 2, 3 are layer1..layer3 (strides 4, 8, 16); for
    transformers the 0-based block (paper, table 6: 7 for DeiT, 40 for CaiT). `hidden` is the sub-nets'
    width; None means half the channels, at least `hidden_floor`. Widths are those that reproduce the
    paper's additional-parameter counts. `kernels` are the paper's; `FastFlow` alternates by default.
    """

    image_size: int
    layers: tuple[int, ...]
    steps: int
    kernels: tuple[int, ...]
    hidden: int | None = None
    hidden_floor: int = 0

    def hidden_for(self, channels: int) -> int:
        """Width of the sub-nets of a flow over `channels` channels."""
        return self.hidden or max(channels // 2, self.hidden_floor, 1)


PRESETS: dict[str, Preset] = {
    "resnet18": Preset(256, (1, 2, 3), steps=8, kernels=(3,), hidden_floor=64),
    "wide_resnet50_2": Preset(256, (1, 2, 3), steps=8, kernels=(3, 1)),
    "deit_base_distilled_patch16_384": Preset(384, (7,), steps=20, kernels=(3, 1), hidden=128),
    "cait_m48_448": Preset(448, (40,), steps=20, kernels=(3, 1), hidden=128),
}
OTHER = Preset(256, (), steps=8, kernels=(3, 1))  # what any other network gets until told otherwise


class Backbone(nn.Module):
    """A frozen network from images `(B, 3, H, W)` in [0, 1] to feature maps, finest first.

    `network` is a name of the paper (`PRESETS`), any timm name, or an `nn.Module` that returns a list of
    maps. It stays in eval mode, without gradients. `H` and `W` must be multiples of the largest
    stride; otherwise ValueError says the nearest sizes. `weights`: see `weights.build_with_weights`.

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
            self.name, self.preset = network, PRESETS.get(network) or preset_for(network)
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
        """Frozen: training mode would move the batch-norm statistics, so this stays in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> list[Tensor]:
        if images.dim() != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(
                f"images must be (B, 3, H, W) of floating point in [0, 1], got {tuple(images.shape)} of {images.dtype}"
            )
        self.check_size(images.shape[-2:])
        return list(self.network((images - self.mean) / self.std))

    def check_size(self, size: Sequence[int]) -> None:
        """Raise ValueError with the nearest sizes unless both sides are multiples of the stride."""
        stride = max(self.strides)
        if any(side % stride or side < 1 for side in size):
            below = [max(stride, side // stride * stride) for side in size]
            above = [max(1, math.ceil(side / stride)) * stride for side in size]
            raise ValueError(
                f"image size {tuple(size)} (height, width) is not a multiple of {self.name}'s largest stride "
                f"{stride}; the nearest sizes are {tuple(below)} and {tuple(above)}"
            )

    @torch.no_grad()
    def _probe(self) -> tuple[list[int], list[int]]:
        """Channels and strides, by asking the network for one blank image."""
        size = self.preset.image_size
        maps = self.network(torch.zeros(1, 3, size, size))
        if not isinstance(maps, list | tuple) or any(m.dim() != 4 for m in maps):
            raise ValueError(f"{self.name} must return a list of maps (B, C, H, W)")
        return [m.shape[1] for m in maps], [size // m.shape[2] for m in maps]


def timm_features(name: str, layers: Sequence[int], pretrained: bool = False) -> nn.Module:
    """timm's `name` as a network that returns the maps of `layers`, without the layers behind them.

    Convolutional networks go through timm's `features_only`; transformers return the tokens of a block as
    a map, prefix tokens dropped, after the model's own final norm. ValueError for an unknown name.
    """
    timm, facts = import_timm(), _facts(name)
    if not facts.is_transformer:
        options: dict[str, Any] = {"feature_cls": "getter"} if facts.channels_last else {}
        if facts.is_resnet and not pretrained:
            # timm silences every residual branch at the start, to help training. A network that stays as
            # it was drawn would see through 1x1 shortcuts only. Loaded weights overwrite this anyway.
            options["zero_init_last"] = False
        return timm.create_model(name, pretrained, features_only=True, out_indices=tuple(layers), **options)
    from timm.models._features import FeatureGetterNet

    is_cait = name.startswith("cait")
    size = {} if is_cait else {"dynamic_img_size": True}
    network = timm.create_model(name, pretrained, num_classes=0, **size)
    getter = FeatureGetterNet(network, out_indices=tuple(layers), norm=True)
    return AnySizeCaiT(getter) if is_cait else getter


class AnySizeCaiT(nn.Module):
    """CaiT for any input size: timm's has position embeddings for one grid, these are resampled."""

    model: Any  # a network of timm, whose parts have no types

    def __init__(self, getter: nn.Module) -> None:
        super().__init__()
        self.model = getter.model
        self.getter = [getter]  # in a list, so that its tensors are not registered twice
        self.positions = self.model.pos_embed.detach()
        self.model.patch_embed.strict_img_size = False

    def forward(self, x: Tensor) -> list[Tensor]:
        from timm.layers.pos_embed import resample_abs_pos_embed

        grid = self.model.patch_embed.dynamic_feat_size(x.shape[-2:])
        kept = self.model.pos_embed
        self.model.pos_embed = nn.Parameter(
            resample_abs_pos_embed(kept, list(grid), num_prefix_tokens=0), requires_grad=False
        )
        try:
            return self.getter[0](x)
        finally:
            self.model.pos_embed = kept


def preset_for(name: str) -> Preset:
    """A preset for a network that the paper does not use.

    Levels of strides 4, 8 and 16, the last of each; or, of a transformer, one block two thirds of the way
    up, since all its blocks see the whole image (paper, section 3.2).
    """
    facts = _facts(name)
    if facts.is_transformer:
        layers = (max(0, len(facts.strides) * 2 // 3 - 1),)
        return replace(OTHER, image_size=facts.image_size, layers=layers)
    last = {stride: level for level, stride in enumerate(facts.strides)}
    return replace(OTHER, layers=tuple(last[stride] for stride in (4, 8, 16) if stride in last))


def import_timm() -> ModuleType:
    """timm, imported only when a timm network is asked for."""
    prepare_torchvision()
    import timm

    return timm


@dataclass(frozen=True)
class _Facts:
    is_transformer: bool
    is_resnet: bool
    channels_last: bool
    strides: tuple[int, ...]
    image_size: int


@functools.cache
def _facts(name: str) -> _Facts:
    """What timm knows about `name`, from a copy without memory. ValueError for an unknown name."""
    timm = import_timm()
    if name not in timm.list_models():
        near = timm.list_models(f"*{name}*")[:5]
        raise ValueError(f"timm has no model {name!r}" + (f"; near: {', '.join(near)}" if near else ""))
    with torch.device("meta"):
        model = timm.create_model(name)
    strides = tuple(level["reduction"] for level in model.feature_info)
    return _Facts(
        is_transformer=hasattr(model, "blocks") and hasattr(model, "patch_embed") and len(set(strides)) == 1,
        is_resnet=type(model).__name__ == "ResNet",
        channels_last=getattr(model, "output_fmt", "NCHW") == "NHWC",
        strides=strides,
        image_size=model.default_cfg["input_size"][-1],
    )
