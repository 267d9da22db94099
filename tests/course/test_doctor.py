"""The doctor finds what was done to a flow, and leaves the flow as it was."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from fastflow_lite import FastFlow
from fastflow_lite.course import checks
from fastflow_lite.course.doctor import Doctor
from fastflow_lite.flows.likelihood import nats_per_dim
from fastflow_lite.flows.transforms import AffineCoupling, Permute

GENERATOR = torch.Generator().manual_seed(1)
COARSE = torch.rand(12, 3, 8, 8, generator=GENERATOR).repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
TRAINING, IMAGES = (0.7 * COARSE + 0.3 * torch.rand(12, 3, 32, 32, generator=GENERATOR)).split(6)


class Linear(nn.Module):
    """A backbone of one map with 8 channels, stride 4, whose features are correlated and nearly Gaussian."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.fine = nn.Conv2d(3, 8, 4, 4, bias=False)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [self.fine(x - 0.5)]


def patient(**options: object) -> FastFlow:
    """A flow of six steps after a short training, whose couplings are not the identity."""
    model = FastFlow(Linear(), None, steps=6, hidden=8, normalize="map", **options)
    checks.perturb(model.get_submodule("flows"), 0.1)
    model.train()
    optimizer, features = torch.optim.Adam(model.parameters(), 3e-3), model.features(TRAINING)
    for _ in range(20):
        optimizer.zero_grad()
        nats_per_dim(model.flow(features)).backward()
        optimizer.step()
    return model.eval()


def findings(model: FastFlow) -> dict[str, str]:
    table = Doctor(model)(IMAGES)
    return {name: cause for name, cause in table["finding"].items() if cause}


def without_permutations(model: FastFlow) -> None:
    for flow in model.flows:
        for part in (p for p in flow.modules() if isinstance(p, Permute)):
            part.order.copy_(torch.arange(len(part.order)))


def at_the_clamp(model: FastFlow) -> None:
    for part in (p for p in model.modules() if isinstance(p, AffineCoupling)):
        nn.init.normal_(part.subnet[-1].weight, std=20.0)


def shrunk(model: FastFlow) -> None:
    for affine in model.affine:
        nn.init.constant_(affine.scale, 0.5)


def without_numbers(model: FastFlow) -> None:
    next(model.flows[0].parameters()).data.fill_(math.nan)


def test_a_flow_without_a_fault_has_no_finding() -> None:
    assert findings(patient()) == {}


@pytest.mark.parametrize(
    ("fault", "instrument"),
    [
        (without_permutations, "copied channels"),
        (at_the_clamp, "s at the clamp"),
        (shrunk, "uncounted log2 scale"),
        (without_numbers, "held-out bits"),
        (without_numbers, "round trip error"),
    ],
)
def test_the_instrument_of_each_fault_notices_it(fault: Callable[[FastFlow], None], instrument: str) -> None:
    model = patient(uncounted_affine=(32, 32) if fault is shrunk else None)
    with torch.no_grad():
        fault(model)
    assert instrument in findings(model)


def test_raw_features_with_a_constant_channel_are_noticed_without_training() -> None:
    """ActNorm counts a deviation of 0 as 0.01 in each step, so that a later value is multiplied by 100 ^ steps."""
    model = FastFlow(Linear(), None, steps=6, hidden=8, normalize="none")
    with torch.no_grad():
        model.train()(torch.full((4, 3, 32, 32), 0.5))
    assert {"deviation of z", "largest |z|"} <= findings(model).keys()


def test_the_model_stays_as_it_was() -> None:
    model = patient().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    Doctor(model)(IMAGES)
    assert model.training and not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_additive_couplings_have_no_log_scales_at_the_clamp() -> None:
    assert Doctor(patient(coupling="additive"))(IMAGES).loc["s at the clamp", "value"] == 0
