"""EfficientNet-Lite0 up to stride 16 without timm, for weights that are read from a file.

The same tensors by the same names, and the same maps bit by bit, as timm's `tf_efficientnet_lite0`. It exists because
the import of timm takes longer than to judge the first image, and because each of its convolutions and normalizations
is a module of torch, which `batch_norm_folding` folds.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import pad, relu6

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
        self.conv_stem = nn.Conv2d(3, 32, 3, 2, bias=False)
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
        x = relu6(self.bn1(self.conv_stem(pad_same(x, 3))), inplace=True)
        first = self.blocks[:2](x)
        second = self.blocks[2](first)
        return [first, second, self.blocks[3:](second)]


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
        padding = kernel // 2 if stride == 1 else 0  # with a stride, `forward` pads
        self.conv_dw = nn.Conv2d(inside, inside, kernel, stride, padding, groups=inside, bias=False)
        self.bn2 = nn.BatchNorm2d(inside, EPS)
        self.conv_pwl = nn.Conv2d(inside, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width, EPS)
        self.kernel, self.stride, self.has_shortcut = kernel, stride, stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        """Return the map `(B, width, h, w)` of a map `(B, channels, H, W)`."""
        y = relu6(self.bn1(self.conv_pw(x)), inplace=True)
        y = y if self.stride == 1 else pad_same(y, self.kernel)
        y = self.bn3(self.conv_pwl(relu6(self.bn2(self.conv_dw(y)), inplace=True)))
        return y + x if self.has_shortcut else y


def pad_same(x: Tensor, kernel: int) -> Tensor:
    """Return `x` with the zeros that TensorFlow adds for a convolution of stride 2: more of them right and below.

    The weights were trained with it. With the same zeros on all sides the maps would be shifted by half a cell.
    """
    height, width = (kernel - 2 + side % 2 for side in x.shape[-2:])
    return pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))


def _stage(blocks: int, channels: int, width: int, kernel: int, stride: int) -> nn.Sequential:
    first = InvertedResidual(channels, width, kernel, stride)
    return nn.Sequential(first, *(InvertedResidual(width, width, kernel, 1) for _ in range(blocks - 1)))
