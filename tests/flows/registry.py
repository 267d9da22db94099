"""Every transform that `test_laws.py` tests, by name. A new transform is tested by one more line here."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fastflow_lite.course import checks
from fastflow_lite.flows import ConditionalFlow, conv_subnet, flow_steps
from fastflow_lite.flows.fast import apply_flow
from fastflow_lite.flows.positions import StandardizePositions
from fastflow_lite.flows.transforms import ActNorm, AdditiveCoupling, AffineCoupling, Permute, Sequential, Transform

MakeFlow = Callable[..., tuple[Sequential, Tensor]]  # of channels, kernels and dtype; the fixture `a_flow` is one


class FastPath(Transform):
    """A flow whose forward direction is computed by the fast path."""

    def __init__(self, flow: Sequential, keep_activations: bool) -> None:
        super().__init__()
        self.flow, self.keep_activations = flow, keep_activations

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return apply_flow(self.flow, x, keep_activations=self.keep_activations)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.flow.inverse(z)


class GivenCoarser(Transform):
    """A conditional flow as a transform of the finer map, with one coarser map for all images."""

    coarser: Tensor

    def __init__(self, flow: Sequential, path: str = "modules") -> None:
        super().__init__()
        self.flow, self.path = ConditionalFlow(flow, coarser=3), path
        self.register_buffer("coarser", torch.randn(1, 3, 2, 2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        coarser = self.coarser.expand(len(x), -1, -1, -1)
        if self.path == "modules":
            return self.flow(x, coarser)
        return apply_flow(self.flow, x, coarser, keep_activations=self.path == "fast")

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.flow.inverse(z, self.coarser.expand(len(z), -1, -1, -1))


def positions(channels: int) -> StandardizePositions:
    """The transform with statistics that differ between positions."""
    transform = StandardizePositions(channels)
    transform.fit(torch.randn(channels, 4, 3), torch.rand(channels, 4, 3))
    return transform


def linear_subnet(channels_in: int, channels_out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(channels_in, 8), nn.Tanh(), nn.Linear(8, channels_out))


conv = conv_subnet(3, hidden=6)

# name: (how it is made, the shape of one input). Vectors and maps, even and odd channels.
TRANSFORMS: dict[str, tuple[Callable[[], Transform], tuple[int, ...]]] = {
    "ActNorm, vectors": (lambda: ActNorm(5), (3, 5)),
    "ActNorm, maps": (lambda: ActNorm(4), (2, 4, 3, 2)),
    "Permute, vectors": (lambda: Permute.random(5), (3, 5)),
    "Permute, maps": (lambda: Permute.random(4), (2, 4, 3, 2)),
    "AdditiveCoupling, vectors": (lambda: AdditiveCoupling(5, linear_subnet), (3, 5)),
    "AdditiveCoupling, maps": (lambda: AdditiveCoupling(4, conv), (2, 4, 3, 2)),
    "AffineCoupling, vectors": (lambda: AffineCoupling(5, linear_subnet), (3, 5)),
    "AffineCoupling, maps": (lambda: AffineCoupling(4, conv), (2, 4, 3, 2)),
    "AffineCoupling, small clamp": (lambda: AffineCoupling(5, conv, clamp=0.5), (2, 5, 2, 3)),
    "Sequential, vectors": (
        lambda: Sequential(ActNorm(4), Permute.random(4), AffineCoupling(4, linear_subnet)),
        (3, 4),
    ),
    "flow_steps, kernels 3 and 1": (lambda: flow_steps(4, steps=3, kernels=(3, 1), hidden=6), (2, 4, 3, 2)),
    "flow_steps, additive": (lambda: flow_steps(6, steps=2, kernels=(3,), coupling="additive"), (2, 6, 2, 3)),
    "flow_steps, kernel 5": (lambda: flow_steps(4, steps=1, kernels=(5,), hidden=6), (2, 4, 5, 5)),
    "flow_steps, without permutations": (lambda: flow_steps(4, steps=2, permute=False), (2, 4, 2, 2)),
    "StandardizePositions": (lambda: positions(4), (2, 4, 3, 2)),
    "StandardizePositions, larger map": (lambda: positions(2), (1, 2, 5, 40)),
    "ConditionalFlow": (lambda: GivenCoarser(flow_steps(4, 2, hidden=6)), (2, 4, 4, 3)),
    "ConditionalFlow, additive": (lambda: GivenCoarser(flow_steps(5, 2, coupling="additive")), (2, 5, 4, 3)),
    "ConditionalFlow, positions": (
        lambda: GivenCoarser(Sequential(positions(4), *flow_steps(4, 1, hidden=6).transforms)),
        (2, 4, 4, 3),
    ),
    "positions and steps": (lambda: Sequential(positions(4), *flow_steps(4, 2, hidden=6).transforms), (2, 4, 3, 2)),
    "fast path, positions": (
        lambda: FastPath(Sequential(positions(4), *flow_steps(4, 2, hidden=6).transforms), keep_activations=True),
        (2, 4, 3, 2),
    ),
    "fast path": (lambda: FastPath(flow_steps(5, steps=3, hidden=6), keep_activations=True), (2, 5, 3, 2)),
    "fast path, little memory": (lambda: FastPath(flow_steps(5, steps=3), keep_activations=False), (2, 5, 3, 2)),
    "fast path, ConditionalFlow": (lambda: GivenCoarser(flow_steps(5, 3, hidden=6), "fast"), (2, 5, 4, 3)),
    "fast path, ConditionalFlow, little memory": (
        lambda: GivenCoarser(Sequential(positions(4), *flow_steps(4, 3, hidden=6).transforms), "little memory"),
        (2, 4, 4, 3),
    ),
}


def build(name: str, seed: int = 0) -> Transform:
    """Make a transform in float64 and evaluation mode, with noise added to every parameter, as after training."""
    torch.manual_seed(seed)
    transform = TRANSFORMS[name][0]().double().eval()
    for module in transform.modules():
        if isinstance(module, ActNorm):
            module.started.fill_(True)
    checks.perturb(transform, seed=seed)
    return transform
