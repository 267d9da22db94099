"""The normalization of feature maps before the flow.

It has no trainable parameters and is no part of the flow, so the likelihood is that of the normalized features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from fastflow_lite.errors import ArgumentError, DataError, NotTrainedError, check_choice

NORMALIZATIONS = ("layer", "map", "channel", "none")


class Normalize(nn.Module):
    """Normalize maps `(B, C, H, W)` of any size.

    `kind` is "layer" (mean 0 and deviation 1 over the channels of each position), "map" (over channels
    and positions of each image), "channel" (by the training features' mean and deviation per channel,
    for which `fit` must be called once, else NotTrainedError) or "none". ArgumentError for another kind.

    >>> x = torch.randn(2, 64, 5, 7) * 3 + 1
    >>> Normalize("layer", 64)(x).std(dim=1, correction=0).round(decimals=2).unique().tolist()
    [1.0]
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(self, kind: str, channels: int) -> None:
        super().__init__()
        self.kind = check_choice("normalize", kind, NORMALIZATIONS)
        self.is_ready = kind != "channel"  # `fitted` without a transfer from the device; torch.export needs it, too
        if kind == "channel":
            self.register_buffer("mean", torch.zeros(channels, 1, 1))
            self.register_buffer("std", torch.ones(channels, 1, 1))
            self.register_buffer("fitted", torch.tensor(False))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized maps, of the same shape."""
        if self.kind == "layer":
            return layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1)
        if self.kind == "map":
            return layer_norm(x, x.shape[1:])
        if self.kind == "channel":
            if self.needs_fit():
                raise NotTrainedError('normalize="channel" has no statistics yet: call fit(model, images) first')
            return (x - self.mean) / self.std
        return x

    def needs_fit(self) -> bool:
        """Return whether `fit` must still be called."""
        self.is_ready = self.is_ready or bool(self.fitted)
        return not self.is_ready

    def fit(self, mean: Tensor, mean_of_squares: Tensor) -> None:
        """Set the per-channel statistics `(C,)` of the training features. DataError if they are not finite."""
        if not torch.isfinite(mean_of_squares).all():
            raise DataError("training features are not finite; check the backbone's weights")
        std = (mean_of_squares - mean.square()).clamp_min(0).sqrt()
        self.mean.copy_(mean.view(-1, 1, 1))
        self.std.copy_(std.clamp_min(1e-3).view(-1, 1, 1))
        self.fitted.fill_(True)

    def extra_repr(self) -> str:
        """Return the kind, for `repr` of the module."""
        return repr(self.kind)


class UncountedAffine(nn.Module):
    """A trainable scale and shift `(C, H, W)` before a flow, whose log-determinant is left out of the likelihood.

    Other implementations train such an affine map (the weight and bias of a layer norm over C, H, W) in this way.
    Because log|det| = sum of log|scale| is not added, a smaller scale lowers the loss without a better fit, and the
    loss is no negative log-likelihood. The model also works for one map size only. It exists for an ablation.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, height, width))
        self.shift = nn.Parameter(torch.zeros(channels, height, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x * scale + shift`. ArgumentError for maps of another size."""
        if x.shape[1:] != self.scale.shape:
            raise ArgumentError(
                f"uncounted_affine was built for maps {tuple(self.scale.shape)}, got {tuple(x.shape[1:])}; "
                "it works for one image size only"
            )
        return x * self.scale + self.shift
