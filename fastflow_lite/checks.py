"""The judges that tests and learners share. Each returns the error it measured, or raises AssertionError.

Run them in float64 on tiny sizes, and never at a flow's zero initialization: `perturb` first. There the
couplings are the identity and wrong formulas look right.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

Forward = Callable[[Tensor], tuple[Tensor, Tensor]]


def perturb(module: nn.Module, scale: float = 0.3, seed: int = 0) -> nn.Module:
    """Add noise to every parameter, in place, so that nothing hides behind zeros. Returns `module`."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(scale * noise)
    return module


def autograd_log_det(forward: Forward, x: Tensor) -> Tensor:
    """log|det dz/dx| of each sample, `(B,)`, from autograd's whole Jacobian: slow, and knows no formula."""
    found = []
    for sample in x:
        jacobian = torch.autograd.functional.jacobian(lambda v: forward(v[None])[0][0].flatten(), sample)
        found.append(torch.linalg.slogdet(jacobian.flatten(1)).logabsdet)
    return torch.stack(found)


def check_shapes(transform: nn.Module, x: Tensor) -> None:
    """`z` has the shape of `x`; `log_det` that of `x` without channels; the inverse alike."""
    for direction in (transform, transform.inverse):
        z, log_det = direction(x)
        assert z.shape == x.shape, f"{transform}: z is {tuple(z.shape)}, x is {tuple(x.shape)}"
        expected = (x.shape[0], *x.shape[2:])
        assert log_det.shape == expected, f"{transform}: log_det is {tuple(log_det.shape)}, must be {expected}"


def check_inverse(transform: nn.Module, x: Tensor, tolerance: float = 1e-10) -> float:
    """`inverse(forward(x))` is `x`, `forward(inverse(x))` too, and the log-determinants cancel.

    Necessary, and blind: a log-determinant that is wrong in both directions passes.
    """
    with torch.no_grad():
        z, forward_log_det = transform(x)
        back, inverse_log_det = transform.inverse(z)
        there = transform(transform.inverse(x)[0])[0]
    error = max(_largest(back - x), _largest(there - x))
    assert error <= tolerance, f"{transform}: the round trip is off by {error:.1e}, more than {tolerance:.0e}"
    gap = _largest(forward_log_det + inverse_log_det)
    assert gap <= tolerance * max(1, x.shape[1]), f"{transform}: the two log_dets add up to {gap:.1e}, not to 0"
    return error


def check_log_det(transform: nn.Module, x: Tensor, tolerance: float = 1e-8) -> float:
    """`log_det`, summed over positions, equals autograd's log|det J| of each sample, in both directions."""
    worst = 0.0
    for name, direction in (("log_det", transform), ("inverse's log_det", transform.inverse)):
        claimed = direction(x)[1].detach().flatten(1).sum(dim=1) if x.dim() > 2 else direction(x)[1].detach()
        true = autograd_log_det(direction, x)
        error = _largest(claimed - true)
        assert error <= tolerance, (
            f"{transform}: {name} says {claimed[0]:.6f}, autograd {true[0]:.6f}; off by {error:.1e}"
        )
        worst = max(worst, error)
    return worst


def check_gradients(transform: nn.Module, x: Tensor) -> None:
    """A loss on `z` and `log_det` reaches every parameter, and the input."""
    transform.zero_grad()
    x = x.detach().clone().requires_grad_()
    z, log_det = transform(x)
    (z.square().sum() - log_det.sum()).backward()
    reached = [*transform.named_parameters(), ("the input", x)]
    silent = [name for name, p in reached if p.grad is None or not p.grad.any()]
    assert not silent, f"{transform}: no gradient reaches {', '.join(silent)}"


def check_density(transform: nn.Module, reach: float = 8.0, points: int = 400, tolerance: float = 1e-3) -> float:
    """The density of a flow over two channels integrates to 1 on a grid of [-reach, reach]^2.

    Volume that is stretched must thin out: with a wrong log-determinant the whole is no longer 1.
    """
    step = 2 * reach / points
    axis = torch.arange(points, dtype=torch.float64) * step - reach + step / 2
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        z, log_det = transform(grid)
    log_density = -z.square().sum(dim=1) / 2 - math.log(2 * math.pi) + log_det
    total = float(log_density.exp().sum() * step**2)
    assert abs(total - 1) <= tolerance, f"{transform}: the density integrates to {total:.4f}, not to 1"
    return total


def _largest(values: Tensor) -> float:
    return float(values.abs().max())
