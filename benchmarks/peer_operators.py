"""The architecture of anomalib 2.7's FastFlow in plain torch, for machines where anomalib is not installed.

`PeerModel` runs the same operators in the same order as anomalib's FastflowModel, with its flow block AllInOneBlock
(after FrEIA, MIT license), and its parameters have the same names, so a state dict fits both. It is written here to be
timed, not to be trained. The one difference: the frozen network is given, not built.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLAMP = 2.0
START = 10.0  # FrEIA's global scale: 0.1 * softplus(parameter, beta=0.5), 1 at the start


class PeerStep(nn.Module):
    """One AllInOneBlock with a hard permutation: coupling, global affine map, permutation as a 1x1 convolution."""

    def __init__(self, channels: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.split = [channels - channels // 2, channels // 2]
        scale = 2 * math.log(math.exp(0.5 * START) - 1)
        self.global_scale = nn.Parameter(torch.full((1, channels, 1, 1), scale))
        self.global_offset = nn.Parameter(torch.zeros(1, channels, 1, 1))
        permutation = torch.eye(channels)[torch.randperm(channels)]
        self.w_perm = nn.Parameter(permutation[..., None, None], requires_grad=False)
        self.w_perm_inv = nn.Parameter(permutation.t()[..., None, None].clone(), requires_grad=False)
        self.subnet = nn.Sequential(
            nn.Conv2d(self.split[0], hidden, kernel, padding="same"),
            nn.ReLU(),
            nn.Conv2d(hidden, 2 * self.split[1], kernel, padding="same"),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next map and log_det `(B,)`."""
        passive, active = torch.split(x, self.split, dim=1)
        predicted = self.subnet(passive)
        predicted *= 0.1  # in place, as in anomalib
        half = active.shape[1]
        log_scale = CLAMP * torch.tanh(predicted[:, :half])
        active = active * torch.exp(log_scale) + predicted[:, half:]
        log_det = torch.sum(log_scale, dim=(1, 2, 3))
        joined = torch.cat((passive, active), 1)
        scale = 0.1 * F.softplus(self.global_scale, beta=0.5)
        z = F.conv2d(joined * scale + self.global_offset, self.w_perm)
        return z, log_det + z[0, :1].numel() * torch.sum(torch.log(scale))


class PeerFlow(nn.Module):
    """The steps of one map, 3x3 and 1x1 kernels in turn."""

    def __init__(self, channels: int, steps: int, hidden: int) -> None:
        super().__init__()
        self.module_list = nn.ModuleList(PeerStep(channels, hidden, 1 if k % 2 else 3) for k in range(steps))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and log_det `(B,)`."""
        total: Any = 0
        for step in self.module_list:
            x, log_det = step(x)
            total = log_det + total
        return x, total


class PeerModel(nn.Module):
    """anomalib's FastflowModel over `network`, the frozen network of one of our backbones.

    Args:
        network: `Backbone.network`: timm's `features_only`, or a wrapper with the transformer as `model`.
        shapes: `(C, h, w)` of each of its maps, for images of `size`.
        size: Height and width of the images.
        steps: Steps of each flow.
        hidden: Width of the sub-nets of each flow.
    """

    def __init__(
        self, network: nn.Module, shapes: list[tuple[int, ...]], size: tuple[int, int], steps: int, hidden: list[int]
    ) -> None:
        super().__init__()
        inner = getattr(network, "model", None)
        self.is_transformer = hasattr(inner, "patch_embed")
        self.feature_extractor: Any = inner if self.is_transformer else network
        self.size, self.grid = size, shapes[0][1:]
        if not self.is_transformer:
            self.norms = nn.ModuleList(nn.LayerNorm(list(shape)) for shape in shapes)
        pairs = zip(shapes, hidden, strict=True)
        self.fast_flow_blocks = nn.ModuleList(PeerFlow(shape[0], steps, width) for shape, width in pairs)

    def _get_vit_features(self, images: Tensor) -> list[Tensor]:
        """Return the map behind the last block that is used: class and distillation tokens first, then dropped."""
        network = self.feature_extractor
        tokens = self._patches(images)
        prefix = [network.cls_token, getattr(network, "dist_token", None)]
        prefix = [token.expand(len(tokens), -1, -1) for token in prefix if token is not None]
        tokens = torch.cat((*prefix, tokens), dim=1)
        tokens = network.pos_drop(tokens + network.pos_embed)
        return self._as_map(tokens, len(prefix))

    def _get_cait_features(self, images: Tensor) -> list[Tensor]:
        network = self.feature_extractor
        return self._as_map(network.pos_drop(self._patches(images) + network.pos_embed), 0)

    def _patches(self, images: Tensor) -> Tensor:
        tokens = self.feature_extractor.patch_embed(images)
        return tokens.flatten(1, 2) if tokens.dim() == 4 else tokens

    def _as_map(self, tokens: Tensor, prefix: int) -> list[Tensor]:
        for block in self.feature_extractor.blocks:  # our network has no later ones
            tokens = block(tokens)
        tokens = self.feature_extractor.norm(tokens)[:, prefix:]
        return [tokens.permute(0, 2, 1).reshape(len(tokens), -1, *self.grid)]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return anomaly maps `(B, 1, H, W)` and scores `(B,)` of normalized images, as anomalib in eval mode."""
        if self.is_transformer:
            is_cait = type(self.feature_extractor).__name__ == "Cait"
            features = self._get_cait_features(images) if is_cait else self._get_vit_features(images)
        else:
            pairs = zip(self.norms, self.feature_extractor(images), strict=True)
            features = [norm(x) for norm, x in pairs]
        maps = []
        for flow, x in zip(self.fast_flow_blocks, features, strict=True):
            z, _ = flow(x)
            probability = torch.exp(-torch.mean(z**2, dim=1, keepdim=True) * 0.5)
            maps.append(F.interpolate(-probability, size=self.size, mode="bilinear", align_corners=False))
        mean = torch.mean(torch.stack(maps, dim=-1), dim=-1)
        return mean, torch.amax(mean, dim=(-2, -1))


def peer_loss(outputs: tuple[list[Tensor], list[Tensor]]) -> Tensor:
    """anomalib's loss: the mean over images of the negative log-likelihood but for a constant, scales added."""
    loss = torch.tensor(0.0, device=outputs[0][0].device)
    for z, log_det in zip(*outputs, strict=True):
        loss += torch.mean(0.5 * torch.sum(z**2, dim=(1, 2, 3)) - log_det)
    return loss
