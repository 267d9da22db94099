"""Invertible transforms of channel vectors and maps, each with its exact log-determinant.

Every class here follows the contract of `Transform`; `tests/flows/test_laws.py` tests each of them against it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from fastflow_lite.errors import ArgumentError, check_number, check_whole

SubNet = Callable[[int, int], nn.Module]  # (channels in, channels out) -> network


class Transform(nn.Module):
    """An invertible map `x -> z` with the logarithm of its change of volume.

    `t(x)` returns `(z, log_det)` and `t.inverse(z)` returns `(x, log_det)`. Channels are dimension 1.

    - `z` MUST have the shape of `x`: `(B, C)` or `(B, C, H, W)`.
    - `log_det` MUST have the shape of `x` without the channels: `(B,)` or `(B, H, W)`. Its sum over
      positions MUST be log|det dz/dx| in nats, exactly. The value at one position is one term of that sum;
      to read it as the density at that position is a heuristic.
    - `inverse` MUST undo `forward`, and the two log-determinants MUST add up to zero.

    Source: equations 1 and 2 of FastFlow (arXiv 2111.07677).
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return `z` and log|det dz/dx|."""
        raise NotImplementedError

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return `x` and log|det dx/dz|."""
        raise NotImplementedError


class Sequential(Transform):
    """The composition of transforms, applied in order; their log-determinants are added.

    >>> t = Sequential(Permute(torch.tensor([1, 0])), ActNorm(2))
    >>> z, log_det = t.eval()(torch.tensor([[3.0, 5.0]]))
    >>> z.tolist(), log_det.tolist()
    ([[5.0, 3.0]], [0.0])
    """

    transforms: Sequence[Transform]

    def __init__(self, *transforms: Transform) -> None:
        super().__init__()
        self.register_module("transforms", nn.ModuleList(transforms))

    def forward(self, x: Tensor, *conditions: Tensor) -> tuple[Tensor, Tensor]:
        """Apply every transform, the first one first. `conditions` are those of the couplings, in order, or none."""
        total = _no_log_det(x)
        for transform, condition in zip(self.transforms, self._by_transform(conditions), strict=True):
            x, log_det = transform(x, *condition)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor, *conditions: Tensor) -> tuple[Tensor, Tensor]:
        """Apply every inverse, that of the last transform first."""
        total = _no_log_det(z)
        given = self._by_transform(conditions)
        for transform, condition in zip(reversed(self.transforms), reversed(given), strict=True):
            z, log_det = transform.inverse(z, *condition)
            total = total + log_det
        return z, total

    def _by_transform(self, conditions: Sequence[Tensor]) -> list[Sequence[Tensor]]:
        """Return the further arguments of each transform: its condition for a coupling, nothing for another one."""
        takes_one = [isinstance(transform, Coupling) for transform in self.transforms]
        if not conditions:
            return [()] * len(takes_one)
        if len(conditions) != sum(takes_one):
            raise ArgumentError(f"{sum(takes_one)} couplings take as many conditions, got {len(conditions)}")
        remaining = iter(conditions)
        return [(next(remaining),) if takes else () for takes in takes_one]


class ActNorm(Transform):
    """A learned scale and shift per channel: `z = x * exp(log_scale) + shift`.

    The first batch in training mode sets both so that each channel of `z` has mean 0 and standard
    deviation 1 (data-dependent initialization, Glow, arXiv 1807.03039, section 3.1). A deviation below
    `min_std` is replaced by `min_std`: a constant channel is not divided by zero.

    >>> t, x = ActNorm(2), torch.tensor([[0.0, 10.0], [2.0, 30.0]])
    >>> z, log_det = t.train()(x)
    >>> z.detach().round().tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """

    started: Tensor  # whether a batch has set scale and shift

    def __init__(self, channels: int, min_std: float = 1e-2) -> None:
        super().__init__()
        check_whole("channels", channels, 1)
        self.min_std = check_number("min_std", min_std, above=0)
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("started", torch.tensor(False))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scale, then shift; first set both from `x` if no batch has set them and this is training mode."""
        if self.training and not self.started and x.numel():  # an empty batch has no mean
            self.start(x)
        z = x * _per_channel(self.log_scale.exp(), x) + _per_channel(self.shift, x)
        return z, _no_log_det(x) + self.log_scale.sum()

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Subtract the shift, then divide by the scale."""
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
        """Return the arguments that `repr` shows."""
        return f"{self.log_scale.numel()}"


class Permute(Transform):
    """A fixed permutation of the channels: `z[:, i] = x[:, order[i]]`, log_det 0.

    `order` holds each of `0 .. C-1` once, else ArgumentError. Channels are copied by index: a product with a
    permutation matrix gives the same values with C * C multiplications per position.

    >>> Permute(torch.tensor([2, 0, 1]))(torch.tensor([[10, 11, 12]]))[0].tolist()
    [[12, 10, 11]]
    """

    order: Tensor
    back: Tensor  # the inverse permutation; the name is a key of saved models

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order.clone())
        self.register_buffer("back", order.argsort())
        self.check()

    @classmethod
    def random(cls, channels: int, generator: torch.Generator | None = None) -> Permute:
        """Draw a random order of `channels` channels from `generator`."""
        return cls(torch.randperm(channels, generator=generator))

    def check(self) -> None:
        """Raise ArgumentError unless `order` is a permutation and `back` its inverse."""
        order, back = self.order, self.order.argsort()
        ascending = torch.arange(len(order), device=order.device)
        if not order.is_meta and not (torch.equal(order.sort().values, ascending) and torch.equal(self.back, back)):
            raise ArgumentError(f"order must hold 0 .. {len(order) - 1} once each, got {order.tolist()}")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Put the channels into the fixed order."""
        return x.index_select(1, self.order), _no_log_det(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Put the channels back into their first order."""
        return z.index_select(1, self.back), _no_log_det(z)

    def extra_repr(self) -> str:
        """Return the arguments that `repr` shows."""
        return f"{len(self.order)}"


class Coupling(Transform):
    """Predict the transform of half b from half a; half a passes through, so the inverse can repeat the prediction.

    A derived class defines how the output of the sub-net transforms half b: `transform_half` and `invert_half`.

    Args:
        channels: C, at least 2, else ArgumentError. Half a is the first C // 2 channels, half b the other ones.
        subnet: called once as `subnet(C // 2, outputs_per_channel * (C - C // 2))`; returns the network that
            maps half a to the parameters of the transform of half b. With a condition, `forward` and `inverse` call it
            with half a and the condition, as `steps.ConvSubNet`.
    """

    outputs_per_channel: int  # parameters that the sub-net predicts for each channel of half b

    def __init__(self, channels: int, subnet: SubNet) -> None:
        super().__init__()
        if check_whole("channels", channels, 1) < 2:
            raise ArgumentError(f"a coupling needs two channels or more, got {channels}")
        self.halves = [channels // 2, channels - channels // 2]
        self.subnet = subnet(self.halves[0], self.outputs_per_channel * self.halves[1])

    def forward(self, x: Tensor, *condition: Tensor) -> tuple[Tensor, Tensor]:
        """Split, transform half b, join."""
        x_a, x_b = x.split(self.halves, dim=1)
        z_b, log_det = self.transform_half(x_b, self.subnet(x_a, *condition))
        return torch.cat([x_a, z_b], dim=1), log_det

    def inverse(self, z: Tensor, *condition: Tensor) -> tuple[Tensor, Tensor]:
        """Split, invert the transform of half b, join."""
        z_a, z_b = z.split(self.halves, dim=1)
        x_b, log_det = self.invert_half(z_b, self.subnet(z_a, *condition))
        return torch.cat([z_a, x_b], dim=1), log_det

    def transform_half(self, x_b: Tensor, subnet_output: Tensor) -> tuple[Tensor, Tensor]:
        """Return `z_b` and log_det from half b and the sub-net's output for half a."""
        raise NotImplementedError

    def invert_half(self, z_b: Tensor, subnet_output: Tensor) -> tuple[Tensor, Tensor]:
        """Return `x_b` and the log_det of the inverse."""
        raise NotImplementedError


class AdditiveCoupling(Coupling):
    """A shift of half b: `z_a = x_a`, `z_b = x_b + t(x_a)`, log_det 0 (NICE, arXiv 1410.8516).

    It preserves volume, so the mean of z^2 / 2 is the negative log-likelihood up to ActNorm's constant.

    >>> t = AdditiveCoupling(2, subnet=nn.Linear)
    >>> x = torch.tensor([[1.0, 2.0]])
    >>> torch.allclose(t.inverse(t(x)[0])[0], x)
    True
    """

    outputs_per_channel = 1  # a shift

    def transform_half(self, x_b: Tensor, subnet_output: Tensor) -> tuple[Tensor, Tensor]:
        """Add the shift."""
        return x_b + subnet_output, _no_log_det(x_b)

    def invert_half(self, z_b: Tensor, subnet_output: Tensor) -> tuple[Tensor, Tensor]:
        """Subtract the shift."""
        return z_b - subnet_output, _no_log_det(z_b)


class AffineCoupling(Coupling):
    """A scale and shift of half b: `z_a = x_a`, `z_b = x_b * exp(s(x_a)) + t(x_a)`.

    The Jacobian is triangular with `exp(s)` on its diagonal, so log_det is the sum of `s` over channels
    (RealNVP, arXiv 1605.08803, section 3.3; FastFlow, equation 3). `s = clamp * tanh(raw / clamp)` is
    close to `raw` when `raw` is small, and its absolute value never exceeds `clamp`: a single extreme feature
    cannot scale half b by e^100 and turn the loss into NaN.

    >>> t = AffineCoupling(2, subnet=nn.Linear)
    >>> x = torch.tensor([[1.0, 2.0]])
    >>> torch.allclose(t.inverse(t(x)[0])[0], x)
    True
    """

    outputs_per_channel = 2  # a log-scale and a shift

    def __init__(self, channels: int, subnet: SubNet, clamp: float = 2.0) -> None:
        super().__init__(channels, subnet)
        self.clamp = check_number("clamp", clamp, above=0)

    def transform_half(self, x_b: Tensor, subnet_output: Tensor) -> tuple[Tensor, Tensor]:
        """Scale, then shift."""
        s, t = self.scale_and_shift(subnet_output)
        return x_b * s.exp() + t, s.sum(dim=1)

    def invert_half(self, z_b: Tensor, subnet_output: Tensor) -> tuple[Tensor, Tensor]:
        """Subtract the shift, then divide by the scale."""
        s, t = self.scale_and_shift(subnet_output)
        return (z_b - t) * (-s).exp(), -s.sum(dim=1)

    def scale_and_shift(self, subnet_output: Tensor) -> tuple[Tensor, Tensor]:
        """Split the sub-net's output into the clamped log-scale `s` and the shift `t`, both shaped as half b."""
        raw, t = subnet_output.chunk(2, dim=1)
        return self.clamp * torch.tanh(raw / self.clamp), t

    def extra_repr(self) -> str:
        """Return the arguments that `repr` shows."""
        return f"clamp={self.clamp}"


def _no_log_det(x: Tensor) -> Tensor:
    """Return zeros of the shape of `x` without its channels."""
    return x.new_zeros(x.shape[0], *x.shape[2:])


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    """Reshape `(C,)` to `(1, C, 1, ...)`, to broadcast over `like`."""
    return values.view(1, -1, *[1] * (like.dim() - 2))
