"""What is particular to one transform. The laws that all of them obey are in `test_laws.py`."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from flows.registry import linear_subnet
from tiny import defaults
from tolerances import tolerance
from torch import nn

from fastflow_lite.course import checks
from fastflow_lite.flows.transforms import ActNorm, AdditiveCoupling, AffineCoupling, Coupling, Permute, Sequential


@pytest.mark.parametrize("coupling", [AdditiveCoupling, AffineCoupling])
def test_density_integrates_to_one(coupling: type[Coupling], device: torch.device, dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    flow = Sequential(*[t for _ in range(3) for t in (ActNorm(2), Permute.random(2), coupling(2, linear_subnet))])
    flow = checks.perturb(flow.double().eval(), scale=0.2).to(device, dtype)
    checks.check_density(flow, reach=30.0, points=800)


def test_affine_coupling_by_hand(device: torch.device, dtype: torch.dtype) -> None:
    """One number each: s = 2 tanh(0.5 / 2), z_b = x_b exp(s) + 3."""
    coupling = AffineCoupling(2, lambda i, o: nn.Linear(i, o)).to(device, dtype)
    with torch.no_grad():
        coupling.subnet.weight.zero_()
        coupling.subnet.bias.copy_(torch.tensor([0.5, 3.0]))
    z, log_det = coupling(torch.tensor([[7.0, 2.0]], dtype=dtype, device=device))
    s = 2 * math.tanh(0.25)
    assert z.tolist() == [[7.0, pytest.approx(2 * math.exp(s) + 3)]]
    assert log_det.item() == pytest.approx(s)


def test_scale_never_leaves_the_clamp(device: torch.device) -> None:
    coupling = AffineCoupling(4, linear_subnet, clamp=1.5).to(device)
    _, log_det = coupling(torch.full((1, 4), 1e6, device=device))
    assert abs(log_det.item()) <= 1.5 * 2 + 1e-6


def test_act_norm_starts_from_the_first_training_batch_only(device: torch.device, dtype: torch.dtype) -> None:
    norm = ActNorm(3).to(device, dtype)
    x = torch.randn(16, 3, 5, 5, dtype=torch.float64) * torch.tensor([1.0, 10.0, 0.1]).view(1, 3, 1, 1) + 4
    x = x.to(device, dtype)
    norm.eval()(x)
    assert not norm.started
    z, _ = norm.train()(x)
    allowed = tolerance("standard", dtype)
    assert torch.allclose(z.mean(dim=(0, 2, 3)), torch.zeros(3).to(z), atol=allowed)
    assert torch.allclose(z.std(dim=(0, 2, 3), correction=0), torch.ones(3).to(z), atol=allowed)
    kept = norm.log_scale.clone()
    norm(x * 100)
    assert torch.equal(norm.log_scale, kept)


def test_act_norm_does_not_blow_up_a_dead_channel(device: torch.device) -> None:
    norm = ActNorm(2).train().to(device)
    z, _ = norm(torch.zeros(4, 2, 3, 3, device=device))
    assert torch.isfinite(z).all()
    assert norm.log_scale.max() <= math.log(100) + 1e-6


def test_permutation_moves_by_index_without_parameters() -> None:
    permute = Permute.random(64)
    assert not list(permute.parameters())
    assert all(buffer.dim() == 1 for buffer in permute.buffers())


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="once each"):
        Permute(torch.tensor([0, 0, 2]))
    with pytest.raises(ValueError, match="two channels"):
        AffineCoupling(1, linear_subnet)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (ActNorm, {"min_std": 1e-2}),
        (AffineCoupling, {"clamp": 2.0}),
    ],
)
def test_defaults(function: Callable[..., Any], expected: dict[str, Any]) -> None:
    assert defaults(function) == expected
