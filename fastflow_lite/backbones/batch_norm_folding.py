"""A frozen network with each batch normalization folded into the convolution before it, and channels last.

In eval mode a batch normalization is an affine map with fixed numbers, so that it and the convolution before it are
together one convolution with other weights. The maps are the same to rounding, in about two thirds of the time on a
processor.

Which normalization follows which convolution is recorded by forward hooks, and not by `torch.fx`. On networks that it
can trace, torch.fx finds the same pairs in the same time. Several networks of timm cannot be traced (MobileViT,
TinyViT, NASNet), and a trace leaves torch.fx's own objects in the hooks of timm's `FeatureHookNet` (Xception), which
can then no longer be copied.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fastflow_lite.backbones.efficientnet_lite0 import SameConv2d
from fastflow_lite.backbones.frozen import Backbone
from fastflow_lite.errors import ArgumentError

TOLERANCE = 1e-3  # of the largest value of a map


def fold_batch_norm(backbone: Backbone) -> Backbone:
    """Return a copy of `backbone` with a folded network, or `backbone` itself if nothing can be folded.

    The copy shares everything except the network. It is used only if it returns the same maps of a random image.
    """
    norms = any(type(module) is nn.BatchNorm2d for module in backbone.network.modules())
    if not norms:
        return backbone
    whole = backbone.preset.image_size
    image = _random_image(backbone, min(4 * max(backbone.strides), whole))  # a small one takes a few milliseconds
    try:
        pairs, maps = _foldable_pairs(backbone, image)
    except ArgumentError:  # the network does not take it
        image = _random_image(backbone, whole)
        pairs, maps = _foldable_pairs(backbone, image)
    if not pairs:
        return backbone
    network: Any = copy.deepcopy(backbone.network)  # Any: the attributes of its modules are not typed
    for convolution, normalization in pairs:
        fused = fuse_conv_bn_eval(network.get_submodule(convolution), network.get_submodule(normalization))
        _replace(network, convolution, fused)
        _replace(network, normalization, nn.Identity())
    folded = backbone.with_network(network.to(memory_format=torch.channels_last))
    same = all((a - b).abs().max() <= TOLERANCE * a.abs().max() for a, b in zip(maps, folded(image), strict=True))
    return folded if same else backbone


def _random_image(backbone: Backbone, side: int) -> Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(backbone.mean)


def _foldable_pairs(backbone: Backbone, image: Tensor) -> tuple[list[tuple[str, str]], list[Tensor]]:
    """Return the names of each convolution and the normalization of its result, both called once, and the maps."""
    results: dict[int, tuple[str, Tensor]] = {}  # by id; the tensor is kept, so that no later one gets its id
    pairs: list[tuple[str, str]] = []
    calls: Counter[str] = Counter()

    def record(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            calls[name] += 1
            if isinstance(module, nn.Conv2d):
                results[id(output)] = name, output
            elif id(inputs[0]) in results and module.running_mean is not None:
                pairs.append((results[id(inputs[0])][0], name))

        return hook

    kinds = (nn.Conv2d, SameConv2d, nn.BatchNorm2d)
    modules = backbone.network.named_modules()
    hooks = [module.register_forward_hook(record(name)) for name, module in modules if type(module) in kinds]
    try:
        maps = backbone(image)
    finally:
        for hook in hooks:
            hook.remove()
    readers = Counter(convolution for convolution, _ in pairs)
    return [(a, b) for a, b in pairs if calls[a] == calls[b] == readers[a] == 1], maps


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` in the place of the submodule `name`."""
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)
