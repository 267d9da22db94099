"""timm's networks as modules that return the feature maps of chosen layers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from fastflow_lite.backbones import efficientnet_lite0, resnet18
from fastflow_lite.backbones.efficientnet_lite0 import EfficientNetLite0
from fastflow_lite.backbones.resnet18 import ResNet18
from fastflow_lite.errors import ArgumentError, first_line
from fastflow_lite.machine import prepare_torchvision

WITHOUT_TIMM: dict[tuple[str, tuple[int, ...]], Callable[[], nn.Module]] = {
    (resnet18.NAME, resnet18.LAYERS): ResNet18,
    (efficientnet_lite0.NAME, efficientnet_lite0.LAYERS): EfficientNetLite0,
}


def import_timm() -> ModuleType:
    """Import timm, on first use only, and return it."""
    prepare_torchvision()
    import timm

    return timm


@dataclass(frozen=True)
class NetworkTraits:
    """The metadata of a timm network that decides how its maps are taken.

    `strides` has one entry per feature level, finest first. `resamples_positions` is True for a network whose
    constructor has the option `dynamic_img_size`: its position embeddings are then resampled to each image's size.
    """

    strides: tuple[int, ...]
    image_size: int
    channels_last: bool
    is_resnet: bool
    is_cait: bool
    resamples_positions: bool

    @property
    def has_one_stride(self) -> bool:
        """Whether all of several levels have the same stride, as the blocks of a transformer have."""
        return len(self.strides) > 1 and len(set(self.strides)) == 1


@functools.cache
def network_traits(name: str) -> NetworkTraits:
    """Return timm's metadata of the network `name`, which may end in a tag such as `.tv_in1k`.

    ArgumentError if timm has no such network, with similar names, or no such tag.

    timm publishes the strides in `feature_info` and the input size in `default_cfg`, of a network that is
    built. It is built on the meta device, without memory for its weights.
    """
    timm = import_timm()
    if not timm.is_model(name):
        near = timm.list_models(f"*{name}*")[:5]
        raise ArgumentError(f"timm has no model {name!r}" + (f"; near: {', '.join(near)}" if near else ""))
    try:
        with torch.device("meta"):
            model = timm.create_model(name)
    except Exception as error:  # a wrong tag, or what the code of that network cannot do
        raise ArgumentError(f"timm cannot build {name!r}: {first_line(error)}") from error
    return NetworkTraits(
        strides=tuple(level["reduction"] for level in getattr(model, "feature_info", ())),
        image_size=input_config(model).get("input_size", (3, 224, 224))[-1],
        channels_last=getattr(model, "output_fmt", "NCHW") == "NHWC",  # timm sets it where the maps are not NCHW
        is_resnet=isinstance(model, timm.models.ResNet),
        is_cait=isinstance(model, timm.models.Cait),
        resamples_positions=hasattr(model, "dynamic_img_size"),
    )


def features_to_fill(name: str, layers: Sequence[int]) -> nn.Module:
    """Build the network of `timm_features` for weights that will be loaded; those of `WITHOUT_TIMM` need no timm."""
    build = WITHOUT_TIMM.get((name, tuple(layers)))
    return build() if build else timm_features(name, layers)


def timm_features(name: str, layers: Sequence[int], pretrained: bool = False) -> nn.Module:
    """Build timm's network `name` so that it returns the maps of `layers`, without the layers behind them.

    A network with levels of several strides goes through timm's `features_only`. If all levels have one stride
    (transformers), the tokens of each chosen block become a map: prefix tokens are dropped, after the network's
    own final norm. ArgumentError for a name that timm does not have, for layers that the network does not have, and for
    a network whose layers timm cannot return.
    """
    traits = network_traits(name)
    _check_layers(name, layers, traits)
    try:
        return _network_of_layers(name, traits, layers, pretrained)
    except Exception as error:
        if pretrained:  # the download may have failed
            raise
        raise ArgumentError(
            f"timm cannot return maps of the layers {list(layers)} of {name}: {first_line(error)}"
        ) from error


def input_config(network: Any) -> dict[str, Any]:
    """Return what timm publishes about the images of a network that it built: `input_size`, `mean` and `std`."""
    return getattr(getattr(network, "model", network), "pretrained_cfg", None) or {}


def _check_layers(name: str, layers: Sequence[int], traits: NetworkTraits) -> None:
    if not layers:
        raise ArgumentError(f"choose layers of {name}: its feature levels have the strides {list(traits.strides)}")
    if len(set(layers)) < len(layers) or not all(0 <= layer < len(traits.strides) for layer in layers):
        raise ArgumentError(
            f"layers of {name} must be different numbers from 0 to {len(traits.strides) - 1}, got {list(layers)}"
        )


def _network_of_layers(name: str, traits: NetworkTraits, layers: Sequence[int], pretrained: bool) -> nn.Module:
    timm = import_timm()
    if traits.has_one_stride:
        return _block_features(name, traits, layers, pretrained)
    options: dict[str, Any] = {"feature_cls": "getter"} if traits.channels_last else {}
    if traits.is_resnet and not pretrained:
        # By default timm initializes the last normalization of every residual branch with zero, to help training.
        # In a network with random weights only the 1x1 shortcuts would then have an effect. Loaded weights
        # overwrite it.
        options["zero_init_last"] = False
    network: Any = timm.create_model(name, pretrained, features_only=True, out_indices=tuple(layers), **options)
    if isinstance(network, timm.models.efficientnet.EfficientNetFeatures):
        # timm leaves the stages behind the last layer in the network and computes them, too.
        del network.blocks[max(level["stage"] for level in network.feature_info.get_dicts()) :]
    return network


def _block_features(name: str, traits: NetworkTraits, layers: Sequence[int], pretrained: bool) -> nn.Module:
    """Build a network whose blocks `layers` are returned as maps."""
    from timm.models._features import FeatureGetterNet

    options = {"dynamic_img_size": True} if traits.resamples_positions else {}
    network = import_timm().create_model(name, pretrained, num_classes=0, **options)
    getter = FeatureGetterNet(network, out_indices=tuple(layers), norm=True)
    return AnySizeCaiT(getter) if traits.is_cait else getter


class AnySizeCaiT(nn.Module):
    """CaiT for any input size, by position embeddings that are resampled to the grid of each image.

    timm's CaiT has the position embeddings of one grid only.
    """

    model: Any  # a network of timm, whose parts have no types

    def __init__(self, getter: nn.Module) -> None:
        super().__init__()
        self.model = getter.model
        self.getter = [getter]  # in a list, so that its tensors are not registered twice
        self.model.patch_embed.strict_img_size = False

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of images `(B, 3, H, W)`."""
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
