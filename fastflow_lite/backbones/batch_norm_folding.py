"""A frozen network with each batch normalization folded into the convolution before it, and channels last.

Both are constant when nothing is learned, so that `normalize(convolve(x))` is one convolution with other weights.
Same maps to rounding, in about two thirds of the time on a processor. Only `FastFlow.fused` uses this.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fastflow_lite.backbones.frozen import Backbone


def fold(backbone: Backbone) -> Backbone:
    """A copy of `backbone` that shares all but its network, which is folded; `backbone` itself if nothing folds.

    Which normalization follows which convolution is seen from one pass of an image, not guessed from names, and a
    copy that says something else about that image is not used.
    """
    size, device = max(backbone.strides) * 2, backbone.mean.device
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    network = backbone.network
    pairs = _pairs(network, image) if device.type == "cpu" else []
    if not pairs:
        return backbone
    folded: Any = copy.deepcopy(network)  # whose parts are known by their names only
    for before, after in pairs:
        fused = fuse_conv_bn_eval(folded.get_submodule(before), folded.get_submodule(after))
        for name, module in ((before, fused), (after, nn.Identity())):
            parent, _, child = name.rpartition(".")
            setattr(folded.get_submodule(parent), child, module)
    folded.to(memory_format=torch.channels_last)
    quick = copy.copy(backbone)
    quick._modules = backbone._modules | {"network": folded}
    maps = zip(backbone(image), quick(image), strict=True)
    return quick if all((a - b).abs().max() <= 1e-3 * a.abs().max() for a, b in maps) else backbone


def _pairs(network: nn.Module, image: Tensor) -> list[tuple[str, str]]:
    """Names of convolutions and of the normalizations that read their results, used once each."""
    made: dict[int, tuple[str, Tensor]] = {}  # by identity; the tensors are kept, so that none takes another's
    found: list[tuple[str, str]] = []
    calls: dict[str, int] = {}

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            calls[name] = calls.get(name, 0) + 1
            if isinstance(module, nn.Conv2d):
                made[id(output)] = name, output
            elif id(inputs[0]) in made and module.running_mean is not None:
                found.append((made[id(inputs[0])][0], name))

        return hook

    kinds = (nn.Conv2d, nn.BatchNorm2d)
    watched = [(name, m) for name, m in network.named_modules() if type(m) in kinds]
    hooks = [m.register_forward_hook(watch(name)) for name, m in watched]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    readers = [before for before, _ in found]
    return [(a, b) for a, b in found if calls[a] == calls[b] == 1 and readers.count(a) == 1]
