"""The flow that notebooks 03, 05 and 06b build, in about 100 lines: layers, loss, training and the anomaly map.

Notebooks 04, 05, 07 and 08 import it. A test compares this file with the cells of the notebooks: the code is the same,
without docstrings and type annotations. The names of the parameters are those of `fastflow_lite.flows`, so weights can
be copied by `load_state_dict`. It is written to be read; the library computes the same faster. It repeats some lines of
`fastflow_lite.flows` on purpose: what the course builds imports nothing of the flows that it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastflow_lite.backbones.frozen import Backbone
from fastflow_lite.datasets.image_set import ImageSet

Output = tuple[Tensor, Tensor]  # z (B, C, H, W) and log_det (B, H, W)


class MyCoupling(nn.Module):
    """An affine coupling of vectors or maps: half a passes through and decides how half b is scaled and shifted."""

    def __init__(self, channels: int, subnet: Callable[[int, int], nn.Module], clamp: float = 2.0) -> None:
        super().__init__()
        self.halves, self.clamp = [channels // 2, channels - channels // 2], clamp
        self.subnet = subnet(self.halves[0], 2 * self.halves[1])

    def forward(self, x: Tensor) -> Output:
        """Return z and log_det."""
        x_a, x_b = x.split(self.halves, dim=1)
        z_b, log_det = self.transform_half(x_b, self.subnet(x_a))
        return torch.cat([x_a, z_b], dim=1), log_det

    def inverse(self, z: Tensor) -> Output:
        """Return x and the log_det of the inverse."""
        z_a, z_b = z.split(self.halves, dim=1)
        x_b, log_det = self.invert_half(z_b, self.subnet(z_a))
        return torch.cat([z_a, x_b], dim=1), log_det

    def scale_and_shift(self, subnet_output: Tensor) -> Output:
        """Split the output of the sub-net into the clamped log-scale s and the shift t."""
        raw, t = subnet_output.chunk(2, dim=1)
        return self.clamp * torch.tanh(raw / self.clamp), t

    def transform_half(self, x_b: Tensor, subnet_output: Tensor) -> Output:
        """Scale, then shift."""
        s, t = self.scale_and_shift(subnet_output)
        return x_b * s.exp() + t, s.sum(dim=1)

    def invert_half(self, z_b: Tensor, subnet_output: Tensor) -> Output:
        """Subtract the shift, then divide by the scale."""
        s, t = self.scale_and_shift(subnet_output)
        return (z_b - t) * (-s).exp(), -s.sum(dim=1)


class MyActNorm(nn.Module):
    """A scale and a shift per channel, set by the first batch in training mode and trained from then on."""

    started: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("started", torch.tensor(False))

    def forward(self, x: Tensor) -> Output:
        """Return z and log_det; the first batch in training mode sets scale and shift."""
        if self.training and not self.started:
            self.start(x)
        log_scale, shift = self.like(x)
        return x * log_scale.exp() + shift, self.log_scale.sum().expand(x[:, 0].shape)

    def inverse(self, z: Tensor) -> Output:
        """Return x and the log_det of the inverse."""
        log_scale, shift = self.like(z)
        return (z - shift) * (-log_scale).exp(), -self.log_scale.sum().expand(z[:, 0].shape)

    def like(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-scale and shift in a shape that broadcasts over x."""
        shape = (1, -1, *[1] * (x.dim() - 2))
        return self.log_scale.view(shape), self.shift.view(shape)

    @torch.no_grad()
    def start(self, x: Tensor) -> None:
        """Set scale and shift so that each channel of z has mean 0 and deviation 1 in this batch."""
        by_channel = x.transpose(0, 1).flatten(1)
        std = by_channel.std(dim=1, correction=0).clamp_min(0.01)
        self.log_scale.copy_(-std.log())
        self.shift.copy_(-by_channel.mean(dim=1) / std)
        self.started.fill_(True)


class MyPermutation(nn.Module):
    """A fixed order of the channels; its log-determinant is 0."""

    order: Tensor
    back: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)
        self.register_buffer("back", order.argsort())

    def forward(self, x: Tensor) -> Output:
        """Return z and log_det."""
        return x[:, self.order], torch.zeros_like(x[:, 0])

    def inverse(self, z: Tensor) -> Output:
        """Return x and the log_det of the inverse."""
        return z[:, self.back], torch.zeros_like(z[:, 0])


class MyStack(nn.Module):
    """Transforms one after the other; their log-determinants are added."""

    transforms: Sequence[MyStep]

    def __init__(self, *transforms: MyStep) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)  # type: ignore[assignment]  # annotated by what it holds

    def forward(self, x: Tensor) -> Output:
        """Return z and log_det."""
        total = torch.zeros_like(x[:, 0])
        for transform in self.transforms:
            x, log_det = transform(x)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor) -> Output:
        """Return x and the log_det of the inverse."""
        total = torch.zeros_like(z[:, 0])
        for transform in reversed(self.transforms):
            z, log_det = transform.inverse(z)
            total = total + log_det
        return z, total


MyStep = MyCoupling | MyActNorm | MyPermutation | MyStack


def convolutions(kernel: int, hidden: int) -> Callable[[int, int], nn.Module]:
    """Return a function that makes the sub-net of a coupling of maps; its last convolution is 0 at the start."""

    def make(channels_in: int, channels_out: int) -> nn.Module:
        first = nn.Conv2d(channels_in, hidden, kernel, padding=kernel // 2)
        last = nn.Conv2d(hidden, channels_out, kernel, padding=kernel // 2)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        return nn.Sequential(first, nn.ReLU(), last)

    return make


def make_flow(channels: int, steps: int, hidden: int, kernels: Sequence[int] = (3, 1)) -> MyStack:
    """Make the flow of one feature map: `steps` times ActNorm, random permutation, coupling."""
    transforms: list[MyStep] = []
    for step in range(steps):
        subnet = convolutions(kernels[step % len(kernels)], hidden)
        order = torch.randperm(channels)
        transforms += [MyActNorm(channels), MyPermutation(order), MyCoupling(channels, subnet)]
    return MyStack(*transforms)


def normalized(maps: Tensor) -> Tensor:
    """Bring the channels of each position to mean 0 and deviation 1."""
    mean = maps.mean(dim=1, keepdim=True)
    variance = maps.var(dim=1, keepdim=True, correction=0)
    return (maps - mean) / (variance + 1e-5).sqrt()


@torch.no_grad()
def features_of(backbone: Backbone, images: ImageSet) -> list[Tensor]:
    """Compute the normalized maps `(N, C, H, W)` of each scale, as float16 to halve the memory."""
    device = backbone.mean.device
    batches = [[normalized(maps).half() for maps in backbone(batch.to(device))] for batch, _ in images.batches(8)]
    return [torch.cat(scale) for scale in zip(*batches, strict=True)]


def nats_of(outputs: Sequence[Output]) -> Tensor:
    """Compute the loss: the negative log-likelihood of all scales, in nats per dimension."""
    nats = torch.stack([(z.square() / 2).sum() - log_det.sum() for z, log_det in outputs]).sum()
    dimensions = sum(z.numel() for z, _ in outputs)
    return nats / dimensions + math.log(2 * math.pi) / 2


def train_flows(flows: Sequence[MyStack], features: Sequence[Tensor], epochs: int, seed: int = 0) -> Iterator[float]:
    """Train the flows in place; yield the mean loss of each epoch in bits per dimension when it is done."""
    count, parameters = len(features[0]), [p for flow in flows for p in flow.parameters()]
    optimizer = torch.optim.Adam(parameters, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * math.ceil(count / 8))
    for epoch in range(epochs):
        total = 0.0
        generator = torch.Generator().manual_seed(1_000_003 * seed + epoch)
        for batch in torch.randperm(count, generator=generator).split(8):
            loss = nats_of([flow(x[batch].float()) for flow, x in zip(flows, features, strict=True)])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        yield total / count / math.log(2)


def fused_map(outputs: Sequence[Output], size: tuple[int, int]) -> Tensor:
    """Compute the map `(B, 1, *size)`: minus exp(-energy) of each scale, up-sampled, then the mean over scales."""
    scales = [-torch.exp(-z.square().mean(dim=1, keepdim=True) / 2) for z, _ in outputs]
    return torch.stack([F.interpolate(scale, size, mode="bilinear") for scale in scales]).mean(dim=0)
