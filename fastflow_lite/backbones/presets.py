"""The paper's values for each of its four backbones, ours for EfficientNet-Lite0, and defaults for all others."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fastflow_lite.backbones.timm_networks import network_traits


@dataclass(frozen=True)
class Preset:
    """The values of one backbone in the paper: input size, layers, steps, kernels and hidden width.

    `layers` index timm's feature levels: for ResNets 1, 2, 3 are layer1..layer3 (strides 4, 8, 16); for
    transformers the 0-based block (paper, table 6: 7 for DeiT, 40 for CaiT). `hidden` is the width of the
    sub-nets; None means half the channels, at least `hidden_floor`. The widths reproduce the paper's
    additional-parameter counts. `kernels` are the paper's; `FastFlow` alternates by default.
    """

    image_size: int
    layers: tuple[int, ...]
    steps: int
    kernels: tuple[int, ...]
    hidden: int | None = None
    hidden_floor: int = 0

    def hidden_for(self, channels: int) -> int:
        """Return the width of the sub-nets of a flow over `channels` channels."""
        return self.hidden or max(channels // 2, self.hidden_floor, 1)


PRESETS: dict[str, Preset] = {
    "resnet18": Preset(256, (1, 2, 3), steps=8, kernels=(3,), hidden_floor=64),
    "wide_resnet50_2": Preset(256, (1, 2, 3), steps=8, kernels=(3, 1)),
    "deit_base_distilled_patch16_384": Preset(384, (7,), steps=20, kernels=(3, 1), hidden=128),
    "cait_m48_448": Preset(448, (40,), steps=20, kernels=(3, 1), hidden=128),
}
BESIDE_THE_PAPER = {"tf_efficientnet_lite0": Preset(256, (1, 2, 3), steps=8, kernels=(3, 1), hidden_floor=64)}
OTHER = Preset(256, (), steps=8, kernels=(3, 1))  # the start for any network that the paper does not use


def preset_for(name: str) -> Preset:
    """Return the preset of the timm network `name`: a known one, whatever the tag, or one made by the paper's rules.

    A network that the paper does not use gets the last level of each of the strides 4, 8 and 16. If all its
    levels have one stride (transformers), it gets one block two thirds of the way up, since each of its blocks
    sees the whole image (paper, section 3.2). ArgumentError for a name that timm does not have.
    """
    known = PRESETS | BESIDE_THE_PAPER
    if (architecture := name.partition(".")[0]) in known:
        return known[architecture]
    traits = network_traits(name)
    if traits.has_one_stride:
        layers = (max(0, len(traits.strides) * 2 // 3 - 1),)
        return replace(OTHER, image_size=traits.image_size, layers=layers)
    last = {stride: level for level, stride in enumerate(traits.strides)}
    return replace(OTHER, layers=tuple(last[stride] for stride in (4, 8, 16) if stride in last))
