"""ResNet-18 up to layer3 without timm, for weights that are read from a file.

The same tensors by the same names, and the same maps bit by bit, as timm's. It exists because the import of timm takes
longer than to judge the first image.
"""

from __future__ import annotations

from torch import Tensor, nn

NAME, LAYERS = "resnet18", (1, 2, 3)


class ResNet18(nn.Module):
    """The stem and the layers 1 to 3, whose maps `(B, C, h, w)` of 64, 128 and 256 channels are returned.

    Source: He et al., arXiv 1512.03385, table 1. The initial weights are not timm's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of the layers 1 to 3 of normalized images `(B, 3, H, W)`."""
        x = nn.functional.max_pool2d(nn.functional.relu(self.bn1(self.conv1(x)), inplace=True), 3, 2, 1)
        first = self.layer1(x)
        second = self.layer2(first)
        return [first, second, self.layer3(second)]


class BasicBlock(nn.Module):
    """Two convolutions 3x3 and a shortcut, which is a convolution 1x1 where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the map `(B, width, h, w)` of a map `(B, channels, H, W)`."""
        y = self.bn2(self.conv2(nn.functional.relu(self.bn1(self.conv1(x)), inplace=True)))
        y += x if self.downsample is None else self.downsample(x)
        return nn.functional.relu(y, inplace=True)
