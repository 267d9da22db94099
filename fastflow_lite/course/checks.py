"""The checks that tests and learners share. Each returns the error it measured, or raises AssertionError.

Run them in float64 on tiny sizes, and never at a flow's zero initialization: `perturb` first. There the
couplings are the identity and wrong formulas look right. What an AssertionError says names the mistake where
the numbers give it away, and only then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fastflow_lite.flows.transforms import Transform

Forward = Callable[[Tensor], tuple[Tensor, Tensor]]

_verdicts: dict[str, str] = {}  # exercise -> "passed", "not started" or "failed", of this kernel


def judge(name: str, check: Callable[[], object]) -> None:
    """Run `check`, which belongs to exercise `name`, and print the outcome.

    A check that raises NotImplementedError leaves the exercise "not started" and raises nothing, so a student's
    notebook runs to its end. Any other error is let through: an AssertionError says what is wrong. A check that
    returns a false truth value fails; one that returns a number or None has passed.

    >>> def answer() -> float:
    ...     raise NotImplementedError("your turn: 0.1")
    >>> judge("0.1", answer)
    0.1 not started
    """
    _verdicts[name] = "failed"
    try:
        found = check()
    except NotImplementedError:
        _verdicts[name] = "not started"
    else:
        is_truth_value = getattr(found, "dtype", type(found)) in (bool, torch.bool)  # NumPy's and torch's too
        assert not is_truth_value or found, f"{name}: this is not the answer that was asked for"
        _verdicts[name] = "passed"
    print(f"{name} {_verdicts[name]}")


def summary() -> None:
    """Print which exercises judged since the kernel started passed, are not started, or failed when last judged."""
    for verdict in ("passed", "not started", "failed"):
        names = [name for name, found in _verdicts.items() if found == verdict]
        print(f"{verdict} {len(names)} of {len(_verdicts)}" + (": " if names else "") + ", ".join(names))


def perturb(module: nn.Module, scale: float = 0.3, seed: int = 0) -> nn.Module:
    """Add noise to every parameter in place, since zeros hide wrong formulas. Return `module`."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(scale * noise.to(parameter.device))
    return module


def autograd_log_det(forward: Forward, x: Tensor) -> Tensor:
    """Compute log|det dz/dx| of each sample, `(B,)`, from autograd's whole Jacobian: slow, and without any formula."""
    found = []
    for sample in x:
        jacobian = torch.autograd.functional.jacobian(lambda v: forward(v[None])[0][0].flatten(), sample)
        found.append(torch.linalg.slogdet(jacobian.flatten(1)).logabsdet)
    return torch.stack(found)


def check_shapes(transform: Transform, x: Tensor) -> None:
    """Check that `z` has the shape of `x` and `log_det` that of `x` without channels, in both directions."""
    for direction in (transform, transform.inverse):
        _shaped(direction, x)


def check_inverse(transform: Transform, x: Tensor, tolerance: float = 1e-10) -> float:
    """Check that `inverse(forward(x))` and `forward(inverse(x))` are `x` and that the log-determinants cancel.

    Necessary, and blind: a log-determinant that is wrong in both directions passes.
    """
    check_shapes(transform, x)
    with torch.no_grad():
        z, forward_log_det = transform(x)
        back, inverse_log_det = transform.inverse(z)
        there = transform(transform.inverse(x)[0])[0]
    for trip, arrived in (("inverse(forward(x))", back), ("forward(inverse(x))", there)):
        assert _largest(arrived - x) <= tolerance, (
            f"{_name(transform)}: {trip} is not x: {_differing(arrived, x, tolerance)}"
            + _about_inverse(transform, x, z, back)
            + _about_rounding(x, _largest(arrived - x))
        )
    gap = _largest(forward_log_det + inverse_log_det)
    assert gap <= tolerance * max(1, x.shape[1]), (
        f"{_name(transform)}: the log_dets of both directions must add up to 0, they add up to {gap:.1e}"
        + _about_sum(forward_log_det, inverse_log_det)
        + _about_rounding(x, gap)
    )
    return max(_largest(back - x), _largest(there - x))


def check_log_det(transform: Transform, x: Tensor, tolerance: float = 1e-8) -> float:
    """Check that `log_det`, summed over positions, equals autograd's log|det J| of each sample, in both directions."""
    check_shapes(transform, x)
    worst = 0.0
    for name, direction in (("log_det", transform), ("inverse's log_det", transform.inverse)):
        claimed = direction(x)[1].detach().reshape(len(x), -1).sum(dim=1)
        true = autograd_log_det(direction, x)
        error = _largest(claimed - true)
        assert error <= tolerance, f"{_name(transform)}: {name} {_about_log_det(claimed, true, x, tolerance)}"
        worst = max(worst, error)
    return worst


def check_gradients(transform: Transform, x: Tensor) -> None:
    """Check that a loss on `z` and `log_det` has a gradient for every parameter and for the input."""
    transform.zero_grad()
    x = x.detach().clone().requires_grad_()
    z, log_det = transform(x)
    loss = z.square().sum() - log_det.sum()
    assert loss.requires_grad, f"{_name(transform)}: z and log_det are cut off from the input: detach() or no_grad?"
    loss.backward()
    reached = [*transform.named_parameters(), ("the input", x)]
    unused = [name for name, p in reached if p.grad is None]
    assert not unused, f"{_name(transform)}: no gradient reaches {', '.join(unused)}: not used, or cut off by detach()"
    zero = [name for name, p in reached if p.grad is not None and not p.grad.any()]
    assert not zero, f"{_name(transform)}: the gradient is 0 at {', '.join(zero)}: `perturb` first if weights are 0"


def check_density(transform: Transform, reach: float = 8.0, points: int = 400, tolerance: float = 1e-3) -> float:
    """Check that the density of a flow over two channels integrates to 1 on a grid of [-reach, reach]^2.

    Volume that is stretched must thin out: with a wrong log-determinant the whole is no longer 1.
    """
    step = 2 * reach / points
    like = next(transform.parameters(), torch.empty(0, dtype=torch.float64))
    axis = torch.arange(points, dtype=like.dtype, device=like.device) * step - reach + step / 2
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        z, log_det = _shaped(transform, grid)
    log_normal = -z.square().sum(dim=1) / 2 - math.log(2 * math.pi)
    mass = (log_normal + log_det).exp() * step**2
    total = float(mass.sum())
    assert abs(total - 1) <= tolerance, (
        f"{_name(transform)}: the density integrates to {total:.4f}, not to 1: {_amount(total)}"
        + _about_mass(mass.view(points, points), log_normal, log_det, step, tolerance)
    )
    return total


def _shaped(direction: Forward, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return `direction(x)` after a check of both shapes."""
    found, name = direction(x), _name(direction)
    pair = isinstance(found, tuple) and len(found) == 2 and all(isinstance(part, Tensor) for part in found)
    assert pair, f"{name} must return two tensors, values and log_det, got {_kind(found)}"
    z, log_det = found
    assert z.shape == x.shape, f"{name} makes values of shape {tuple(z.shape)} from {tuple(x.shape)}"
    expected = (x.shape[0], *x.shape[2:])
    about = _about_shape(log_det, x)
    assert log_det.shape == expected, f"{name}: log_det has shape {tuple(log_det.shape)}, must be {expected}{about}"
    return z, log_det


def _largest(values: Tensor) -> float:
    """Return the largest absolute value; infinity if a value is NaN."""
    return float(values.abs().nan_to_num(nan=math.inf).max())


def _name(what: Callable[..., Any]) -> str:
    """Return `Coupling` for a module, `Coupling.inverse` for its method, the name for a function."""
    return getattr(what, "__qualname__", type(what).__name__)


def _kind(found: object) -> str:
    return f"({', '.join(map(_kind, found))})" if isinstance(found, tuple) else type(found).__name__


def _about_shape(log_det: Tensor, x: Tensor) -> str:
    batch, *_ = x.shape
    known = {
        tuple(x.shape): "; sum it over the channels, dim=1",
        (batch, 1, *x.shape[2:]): "; drop the channel dimension, without keepdim",
        (batch,): "; the sum over positions is taken already, sum over dim=1 alone",
        (): "; this is one number for the whole batch, sum over dim=1 alone",
        (x.shape[1],): "; this is one number for each channel, sum over dim=1",
    }
    return known.get(tuple(log_det.shape), "")


def _differing(found: Tensor, wanted: Tensor, tolerance: float) -> str:
    """Describe which share of the values differs, in which channels, and by how much."""
    off = ~((found - wanted).abs() <= tolerance)
    channels = off.transpose(0, 1).flatten(1).any(dim=1).nonzero().flatten().tolist()
    where = f", all in channels {channels}" if len(channels) < wanted.shape[1] else ""
    largest = _largest(found - wanted)
    return f"{int(off.sum())} of {off.numel()} values ({off.double().mean():.0%}) differ, by up to {largest:.1e}{where}"


@torch.no_grad()
def _about_inverse(transform: Transform, x: Tensor, z: Tensor, back: Tensor) -> str:
    if not torch.equal(transform(x)[0], z):
        return "; forward answers the same x in another way each time: dropout in training mode?"
    if torch.equal(back, z):
        return "; inverse returns what it was given"
    return "; inverse does what forward does" if _close(back, transform(z)[0]) else ""


def _about_sum(forward: Tensor, inverse: Tensor) -> str:
    if not inverse.any() or not forward.any():
        return f"; {'forward' if inverse.any() else 'inverse'}'s is 0 everywhere"
    return "; inverse's has the sign of forward's" if torch.allclose(forward, inverse) else ""


def _about_rounding(x: Tensor, error: float) -> str:
    small = x.dtype != torch.float64 and error < 1e3 * torch.finfo(x.dtype).eps
    return f"; this may be rounding alone: judge in float64, x and transform .double(), not {x.dtype}" if small else ""


def _about_log_det(claimed: Tensor, true: Tensor, x: Tensor, tolerance: float) -> str:
    """Name the mistake that explains every sample, else describe the first sample that differs."""
    off = ~((claimed - true).abs() <= tolerance)
    share, first = f"{int(off.sum())} of {len(off)} samples", int(off.nonzero()[0])
    if not claimed.isfinite().all():
        return f"is not finite in {int((~claimed.isfinite()).sum())} of {len(off)} samples"
    if not true.isfinite().all():
        return "cannot be judged: log|det J| is -inf by autograd; are values cut off by detach(), or a channel lost?"
    if not _close(claimed, true):  # what is right up to rounding is not a mistake
        for mistake, expected in _mistakes(true, x):
            if _close(claimed, expected):
                return mistake
        if _close(claimed.abs(), true.abs()):
            return f"has the wrong sign in {share}"
    return (
        f"is wrong in {share}: sample {first} has {claimed[first]:.6f}, autograd {true[first]:.6f}; "
        f"the largest error is {_largest(claimed - true):.1e}" + _about_rounding(x, _largest(claimed - true))
    )


def _close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=1e-6 if found.dtype == torch.float64 else 1e-3, atol=1e-9)


def _mistakes(true: Tensor, x: Tensor) -> list[tuple[str, Tensor]]:
    """Yield each common mistake, most likely first, and the log_det `(B,)` that it would give."""
    channels, positions = x.shape[1], math.prod(x.shape[2:])
    halves = {channels, channels // 2, channels - channels // 2} - {0, 1}
    return [
        ("is 0 everywhere: the change of volume is not counted", 0 * true),
        ("is the determinant: take its logarithm", true.exp()),
        ("is in bits: take the natural logarithm", true / math.log(2)),
        *((f"is 1/{k} of what it must be: a mean over {k} channels, not their sum?", true / k) for k in halves),
        ("is twice what it must be", 2 * true),
        ("is half of what it must be", true / 2),
        (f"holds the sum over all {positions} positions at each of them", true * positions),
        (f"is 1/{positions} of what it must be: a mean over positions, not their sum?", true / positions),
        (f"is the sum over the {len(true)} samples, the same for each", true.sum().expand(len(true))),
        (f"is the mean over the {len(true)} samples, the same for each", true.mean().expand(len(true))),
    ]


def _amount(total: float) -> str:
    return f"{1 - total:.1%} of the mass is missing" if total < 1 else f"{total - 1:.1%} too much"


def _about_mass(mass: Tensor, log_normal: Tensor, log_det: Tensor, step: float, tolerance: float) -> str:
    """Describe whether the grid is too coarse or too small, else which change of log_det would make the mass 1."""
    border = torch.cat([mass[0], mass[-1], mass[:, 0], mass[:, -1]]).max()
    if mass.sum() < 1 and border > 1e-3 * mass.max():  # of a normal density, 1e-3 lies 3.7 deviations out
        return "; the density goes on beyond the grid, make `reach` larger"
    if mass.max() > 0.1:
        return "; the density is narrower than a cell of the grid, make `points` more or `reach` smaller"
    for mistake, factor in (("with the other sign", -1.0), ("half as large", 0.5), ("twice as large", 2.0)):
        if abs(float((log_normal + factor * log_det).exp().sum() * step**2) - 1) <= tolerance:
            return f"; with log_det {mistake} it would be 1"
    return "; log_det is 0 everywhere" if not log_det.any() else ""
