"""Invertible transforms of channel vectors and maps, each with its exact log-determinant.

Every class here keeps one contract, `Transform`; `tests/test_transforms.py` holds all of them to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

SubNet = Callable[[int, int], nn.Module]  # (channels in, channels out) -> network


class Transform(nn.Module):
    """An invertible map `x -> z` that knows how it stretches volume.

    `t(x)` returns `(z, log_det)` and `t.inverse(z)` returns `(x, log_det)`. Channels are dimension 1.

    - `z` MUST have the shape of `x`: `(B, C)` or `(B, C, H, W)`.
    - `log_det` MUST have the shape of `x` without the channels: `(B,)` or `(B, H, W)`. Its sum over
      positions MUST be log|det dz/dx| in nats, exactly. One position alone is a share of that sum;
      to read it as the density at that position is a heuristic.
    - `inverse` MUST undo `forward`, and the two log-determinants MUST add up to zero.

    Source: equations 1 and 2 of FastFlow (arXiv 2111.07677).
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


class Sequential(Transform):
    """The composition of transforms: values pass through, log-determinants add up.

    >>> t = Sequential(Permute(torch.tensor([1, 0])), ActNorm(2))
    >>> z, log_det = t.eval()(torch.tensor([[3.0, 5.0]]))
    >>> z.tolist(), log_det.tolist()
    ([[5.0, 3.0]], [0.0])
    """

    def __init__(self, *transforms: Transform) -> None:
        super().__init__()
        self.transforms = cast("Sequence[Transform]", nn.ModuleList(transforms))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        total = _no_log_det(x)
        for transform in self.transforms:
            x, log_det = transform(x)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        total = _no_log_det(z)
        for transform in reversed(self.transforms):
            z, log_det = transform.inverse(z)
            total = total + log_det
        return z, total


class ActNorm(Transform):
    """A learned scale and shift per channel: `z = x * exp(log_scale) + shift`.

    The first batch seen in training mode sets both so that each channel leaves with mean 0 and standard
    deviation 1 (data-dependent start, Glow, arXiv 1807.03039, section 3.1). A deviation below
    `min_std` counts as `min_std`, so a dead channel is not blown up.

    >>> t, x = ActNorm(2), torch.tensor([[0.0, 10.0], [2.0, 30.0]])
    >>> z, log_det = t.train()(x)
    >>> z.detach().round().tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """

    started: Tensor

    def __init__(self, channels: int, min_std: float = 1e-2) -> None:
        super().__init__()
        self.min_std = min_std
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("started", torch.tensor(False))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.training and not self.started:
            self.start(x)
        z = x * _per_channel(self.log_scale.exp(), x) + _per_channel(self.shift, x)
        return z, _no_log_det(x) + self.log_scale.sum()

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = (z - _per_channel(self.shift, z)) * _per_channel((-self.log_scale).exp(), z)
        return x, _no_log_det(z) - self.log_scale.sum()

    @torch.no_grad()
    def start(self, x: Tensor) -> None:
        """Set scale and shift from one batch `(B, C, ...)`."""
        by_channel = x.transpose(0, 1).flatten(1)
        std = by_channel.std(dim=1, correction=0).clamp_min(self.min_std)
        self.log_scale.copy_(-std.log())
        self.shift.copy_(-by_channel.mean(dim=1) / std)
        self.started.fill_(True)

    def extra_repr(self) -> str:
        return f"{self.log_scale.numel()}"


class Permute(Transform):
    """A fixed order of the channels, moved by index: `z[:, i] = x[:, order[i]]`, log_det 0.

    `order` holds each of `0 .. C-1` once, else ValueError. A permutation matrix would do the same with
    C * C multiplications per position.

    >>> Permute(torch.tensor([2, 0, 1]))(torch.tensor([[10, 11, 12]]))[0].tolist()
    [[12, 10, 11]]
    """

    order: Tensor
    back: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        if not torch.equal(order.sort().values, torch.arange(len(order))):
            raise ValueError(f"order must hold 0 .. {len(order) - 1} once each, got {order.tolist()}")
        self.register_buffer("order", order.clone())
        self.register_buffer("back", order.argsort())

    @classmethod
    def random(cls, channels: int, generator: torch.Generator | None = None) -> Permute:
        """A random fixed order of `channels` channels, drawn from `generator`."""
        return cls(torch.randperm(channels, generator=generator))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.index_select(1, self.order), _no_log_det(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z.index_select(1, self.back), _no_log_det(z)

    def extra_repr(self) -> str:
        return f"{len(self.order)}"


class Coupling(Transform):
    """Split, let half a say how half b moves, join. Half a is untouched, so the way back is known too.

    `subnet(C // 2, outputs_per_channel * (C - C // 2))` makes the network that reads half a. Derived
    classes say what its output does to half b, and fewer than two channels raise ValueError.
    """

    outputs_per_channel: int

    def __init__(self, channels: int, subnet: SubNet) -> None:
        super().__init__()
        if channels < 2:
            raise ValueError(f"a coupling needs two channels or more, got {channels}")
        self.halves = [channels // 2, channels - channels // 2]
        self.subnet = subnet(self.halves[0], self.outputs_per_channel * self.halves[1])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x_a, x_b = x.split(self.halves, dim=1)
        z_b, log_det = self.move(x_b, self.subnet(x_a))
        return torch.cat([x_a, z_b], dim=1), log_det

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        z_a, z_b = z.split(self.halves, dim=1)
        x_b, log_det = self.move_back(z_b, self.subnet(z_a))
        return torch.cat([z_a, x_b], dim=1), log_det

    def move(self, x_b: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
        """`z_b` and log_det from half b and what the sub-net said about it."""
        raise NotImplementedError

    def move_back(self, z_b: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
        """`x_b` and the log_det of the inverse."""
        raise NotImplementedError


class AdditiveCoupling(Coupling):
    """Half b is shifted: `z_a = x_a`, `z_b = x_b + t(x_a)`, log_det 0 (NICE, arXiv 1410.8516).

    It keeps volume, so mean z^2 / 2 is the negative log-likelihood up to ActNorm's constant.

    >>> t = AdditiveCoupling(2, subnet=nn.Linear)
    >>> x = torch.tensor([[1.0, 2.0]])
    >>> torch.allclose(t.inverse(t(x)[0])[0], x)
    True
    """

    outputs_per_channel = 1  # a shift

    def move(self, x_b: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
        return x_b + said, _no_log_det(x_b)

    def move_back(self, z_b: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
        return z_b - said, _no_log_det(z_b)


class AffineCoupling(Coupling):
    """Half b is scaled and shifted: `z_a = x_a`, `z_b = x_b * exp(s(x_a)) + t(x_a)`.

    The Jacobian is triangular with `exp(s)` on its diagonal, so log_det is the sum of `s` over channels
    (RealNVP, arXiv 1605.08803, section 3.3; FastFlow, equation 3). `s = clamp * tanh(raw / clamp)` is
    nearly `raw` when small and never beyond `clamp`: one odd feature cannot multiply by e^100 and end
    the training in NaN.

    >>> t = AffineCoupling(2, subnet=nn.Linear)
    >>> x = torch.tensor([[1.0, 2.0]])
    >>> torch.allclose(t.inverse(t(x)[0])[0], x)
    True
    """

    outputs_per_channel = 2  # a log-scale and a shift

    def __init__(self, channels: int, subnet: SubNet, clamp: float = 2.0) -> None:
        super().__init__(channels, subnet)
        self.clamp = clamp

    def move(self, x_b: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.scale_and_shift(said)
        return x_b * s.exp() + t, s.sum(dim=1)

    def move_back(self, z_b: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.scale_and_shift(said)
        return (z_b - t) * (-s).exp(), -s.sum(dim=1)

    def scale_and_shift(self, said: Tensor) -> tuple[Tensor, Tensor]:
        raw, t = said.chunk(2, dim=1)
        return self.clamp * torch.tanh(raw / self.clamp), t

    def extra_repr(self) -> str:
        return f"clamp={self.clamp}"


def _no_log_det(x: Tensor) -> Tensor:
    """Zeros of the shape of `x` without its channels."""
    return x.new_zeros(x.shape[0], *x.shape[2:])


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    """`(C,)` as `(1, C, 1, ...)`, to broadcast over `like`."""
    return values.view(1, -1, *[1] * (like.dim() - 2))
