"""The doctor finds what was done to a flow, and leaves the flow as it was."""

import copy
import functools
import math
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fastflow_lite import FastFlow
from fastflow_lite.course import checks, doctor
from fastflow_lite.course.doctor import STANDARD_NORMAL_BITS, Doctor, Instrument
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
    return copy.deepcopy(trained(**options))


@functools.cache
def trained(**options: object) -> FastFlow:
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


RANGES = {  # for 6 steps
    "held-out bits": (-math.inf, STANDARD_NORMAL_BITS),
    "copied channels": (0, 1 / 64 + 0.1),
    "s at the clamp": (0, 0.1),
    "deviation of z": (0.7, 1.4),
    "largest |z|": (0, 1000),
    "uncounted log2 scale": (-0.05, 0.05),
    "round trip error": (0, 0.01),
}


def test_the_normal_ranges() -> None:
    tools = Doctor(FastFlow(Linear(), None, steps=6, hidden=8)).instruments()
    assert {tool.name: (tool.lowest, tool.highest) for tool in tools} == RANGES
    entropy = torch.distributions.Normal(0.0, 1.0).entropy().item()  # the mean of -log p of a standard normal, in nats
    assert pytest.approx(entropy / math.log(2)) == STANDARD_NORMAL_BITS


@pytest.mark.parametrize(("value", "normal"), [(1, True), (2, True), (0.99, False), (2.01, False), (math.nan, False)])
def test_both_ends_of_a_range_are_normal(value: float, normal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Doctor, "instruments", lambda self: [Instrument("a", lambda examined: value, 1, 2, "cause")])
    table = Doctor(FastFlow(Linear(), None, steps=2, hidden=8))(IMAGES)
    assert table.loc["a", "finding"] == ("" if normal else "cause")


def outputs(*maps: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(z, torch.zeros(len(z))) for z in maps]


def copied(x: torch.Tensor, *maps: torch.Tensor) -> float:
    return doctor._copied(SimpleNamespace(maps=[x] * len(maps), outputs=outputs(*maps)))


def test_a_channel_counts_as_copied_from_a_correlation_of_0_999() -> None:
    """The columns of Q are centered, of length 1 and orthogonal: with a second one a correlation is set exactly."""
    centered = torch.randn(64, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    first, second, third = torch.linalg.qr(centered - centered.mean(0))[0].T.reshape(3, 1, 1, 8, 8)
    x = torch.cat([first, third], dim=1)
    near, far = (r * first + math.sqrt(1 - r * r) * second for r in (0.9995, 0.9985))
    assert copied(x, torch.cat([near, far], dim=1)) == 0.5
    assert copied(x, torch.cat([third, -first], dim=1)) == 1  # moved to another place, and with another sign
    assert copied(x, x, torch.cat([second, second], dim=1)) == 0.5  # half of the channels of both scales


def test_copied_channels_have_no_share_where_a_scale_is_not_finite() -> None:
    x = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    assert math.isnan(copied(x, torch.full_like(x, math.inf), x))
    assert math.isnan(copied(x, x, torch.full_like(x, math.nan)))


def test_a_log_scale_is_at_the_clamp_above_nine_tenths_of_it() -> None:
    model = SimpleNamespace(config=SimpleNamespace(clamp=2.0))
    scales = [torch.tensor([0.1, -1.79, 1.81]), torch.tensor([-1.81])]
    assert doctor._at_clamp(SimpleNamespace(model=model, log_scales=scales)) == 0.5
    assert math.isnan(doctor._at_clamp(SimpleNamespace(model=model, log_scales=[*scales, torch.tensor([math.nan])])))


def test_the_uncounted_scale_is_the_mean_of_log2_and_0_without_an_affine() -> None:
    affine = [SimpleNamespace(scale=torch.tensor([[2.0, -8.0]])), SimpleNamespace(scale=torch.tensor([[0.25, 1.0]]))]
    assert doctor._uncounted(SimpleNamespace(model=SimpleNamespace(affine=affine))) == (1 + 3 - 2 + 0) / 4
    assert doctor._uncounted(SimpleNamespace(model=SimpleNamespace(affine=[]))) == 0
