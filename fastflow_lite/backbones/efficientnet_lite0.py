"""EfficientNet-Lite0 up to stride 16 without timm, for weights that are read from a file.

The same tensors by the same names, and the same maps to rounding, as timm's `tf_efficientnet_lite0`. It exists because
the import of timm takes longer than to judge the first image, and because its normalizations can be folded: in timm's
network each is one module with its activation.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, relu6

NAME, LAYERS = "tf_efficientnet_lite0", (1, 2, 3)
EPS = 1e-3  # TensorFlow's, in every normalization
EXPANSION = 6


class EfficientNetLite0(nn.Module):
    """The stem and five of seven stages; the maps of 24, 40 and 112 channels at the strides 4, 8 and 16 are returned.

    Source: Tan and Le, arXiv 1905.11946, table 1, and "lite" of its repository: neither squeeze-and-excitation nor
    swish, but relu6. The initial weights are not timm's.
    """

    pretrained_cfg: ClassVar = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}  # timm's name, see `input_config`

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = SameConv2d(3, 32, 3)
        self.bn1 = nn.BatchNorm2d(32, EPS)
        self.blocks = nn.Sequential(
            nn.Sequential(SeparableBlock(32, 16)),
            _stage(2, 16, 24, kernel=3, stride=2),
            _stage(2, 24, 40, kernel=5, stride=2),
            _stage(3, 40, 80, kernel=3, stride=2),
            _stage(3, 80, 112, kernel=5, stride=1),
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of the second, third and fifth stage of normalized images `(B, 3, H, W)`."""
        x = relu6(self.bn1(self.conv_stem(x)), inplace=True)
        first = self.blocks[:2](x)
        second = self.blocks[2](first)
        return [first, second, self.blocks[3:](second)]


class SameConv2d(nn.Conv2d):
    """A convolution of stride 2 with the padding of TensorFlow: on an even side one zero more behind than in front.

    The weights were trained with it; with as many zeros in front the maps would differ. The kernel gets the missing
    zeros in place of the map: the same result to rounding, without a copy of the largest maps.
    """

    def __init__(self, channels: int, width: int, kernel: int, groups: int = 1) -> None:
        super().__init__(channels, width, kernel, stride=2, padding=kernel // 2, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map `(B, width, h, w)` of a map `(B, channels, H, W)`, with half its sides, rounded up."""
        above, left = (1 - side % 2 for side in x.shape[-2:])
        weight = pad(self.weight, (left, 0, above, 0))
        return conv2d(x, weight, self.bias, self.stride, self.padding, groups=self.groups)


class SeparableBlock(nn.Module):
    """A convolution 3x3 of each channel, then a linear one 1x1."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels, EPS)
        self.conv_pw = nn.Conv2d(channels, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map `(B, width, h, w)` of a map `(B, channels, h, w)`."""
        return self.bn2(self.conv_pw(relu6(self.bn1(self.conv_dw(x)), inplace=True)))


class InvertedResidual(nn.Module):
    """1x1 to six times the channels, a convolution of each channel, a linear one 1x1, and a shortcut.

    The shortcut exists only where the shape does not change.
    """

    def __init__(self, channels: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        inside = EXPANSION * channels
        self.conv_pw = nn.Conv2d(channels, inside, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inside, EPS)
        if stride == 1:
            self.conv_dw = nn.Conv2d(inside, inside, kernel, padding=kernel // 2, groups=inside, bias=False)
        else:
            self.conv_dw = SameConv2d(inside, inside, kernel, groups=inside)
        self.bn2 = nn.BatchNorm2d(inside, EPS)
        self.conv_pwl = nn.Conv2d(inside, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width, EPS)
        self.has_shortcut = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        """Return the map `(B, width, h, w)` of a map `(B, channels, H, W)`."""
        y = relu6(self.bn1(self.conv_pw(x)), inplace=True)
        y = self.bn3(self.conv_pwl(relu6(self.bn2(self.conv_dw(y)), inplace=True)))
        return y + x if self.has_shortcut else y


def _stage(blocks: int, channels: int, width: int, kernel: int, stride: int) -> nn.Sequential:
    first = InvertedResidual(channels, width, kernel, stride)
    return nn.Sequential(first, *(InvertedResidual(width, width, kernel, 1) for _ in range(blocks - 1)))
