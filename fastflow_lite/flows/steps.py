"""The stack of flow steps that FastFlow puts on one feature map."""

from __future__ import annotations

from torch import Tensor, nn

from fastflow_lite.errors import ArgumentError, check_choice, check_whole
from fastflow_lite.flows.transforms import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    Permute,
    Sequential,
    SubNet,
    Transform,
)

COUPLINGS = ("affine", "additive")


class ConvSubNet(nn.Sequential):
    """The two-layer network of a coupling: conv k, ReLU, conv k.

    A condition `(B, hidden, H, W)` is added before the ReLU. The last convolution is initialized with zeros, so a new
    coupling is the identity.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int, hidden: int) -> None:
        first = nn.Conv2d(channels_in, hidden, kernel, padding=kernel // 2)
        last = nn.Conv2d(hidden, channels_out, kernel, padding=kernel // 2)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        super().__init__(first, nn.ReLU(), last)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Compute the parameters of half b from half a, and from the condition if there is one."""
        first, relu, last = self
        hidden = first(x)
        return last(relu(hidden if condition is None else hidden + condition))


def conv_subnet(kernel: int, hidden: int) -> SubNet:
    """Return a function that builds a `ConvSubNet`, the network of a coupling, from its numbers of channels.

    >>> import torch
    >>> conv_subnet(3, hidden=8)(4, 6)(torch.zeros(1, 4, 5, 7)).shape
    torch.Size([1, 6, 5, 7])
    """
    check_whole("hidden", hidden, 1)
    if check_whole("kernel", kernel, 1) % 2 == 0:
        raise ArgumentError(f"kernel must be odd to keep the map's size, got {kernel}")

    return lambda channels_in, channels_out: ConvSubNet(channels_in, channels_out, kernel, hidden)


def flow_steps(
    channels: int,
    steps: int,
    kernels: tuple[int, ...] = (3, 1),
    hidden: int | None = None,
    *,
    coupling: str = "affine",
    clamp: float = 2.0,
    permute: bool = True,
) -> Sequential:
    """Build the 2D flow of one scale: `steps` times ActNorm, fixed permutation, coupling.

    The flow maps `(B, channels, H, W)` to the same shape, log_det is `(B, H, W)`. Weights and permutations are
    drawn from torch's global random state.

    Args:
        channels: channels of the feature map.
        steps: number of flow steps.
        kernels: odd kernel sizes of the sub-nets, used in turn: `(3, 1)` alternates as in the paper's section 3.3,
            `(3,)` is 3x3 only.
        hidden: width of the sub-nets in channels, default `channels // 2`.
        coupling: one of `COUPLINGS`, else ArgumentError.
        clamp: bound of the log-scale of an affine coupling.
        permute: `False` leaves the permutations out, to show that the halves must be mixed.

    >>> import torch
    >>> flow = flow_steps(channels=8, steps=2, kernels=(3, 1))
    >>> z, log_det = flow(torch.randn(2, 8, 5, 7))
    >>> z.shape, log_det.shape
    (torch.Size([2, 8, 5, 7]), torch.Size([2, 5, 7]))
    """
    check_choice("coupling", coupling, COUPLINGS)
    check_whole("channels", channels, 1)
    check_whole("steps", steps, 1)
    if not kernels:
        raise ArgumentError("kernels must hold at least one odd size, got none")
    width = max(1, channels // 2) if hidden is None else hidden
    transforms: list[Transform] = []
    for step in range(steps):
        subnet = conv_subnet(kernels[step % len(kernels)], width)
        transforms.append(ActNorm(channels))
        if permute:
            transforms.append(Permute.random(channels))
        if coupling == "affine":
            transforms.append(AffineCoupling(channels, subnet, clamp))
        else:
            transforms.append(AdditiveCoupling(channels, subnet))
    return Sequential(*transforms)


def count_parameters(module: nn.Module) -> int:
    """Count the trainable values in `module`: the paper's "additional parameters" (A.d. params).

    >>> count_parameters(flow_steps(channels=768, steps=20, kernels=(3, 1), hidden=128))
    14794240
    """
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
