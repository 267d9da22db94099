"""The peer's architecture in plain torch: anomalib's values where it is installed, and always its amount of work."""

import math

import peer
import pytest
import torch
from complexity import count_multiply_adds
from peer_operators import PeerFlow, PeerModel, PeerStep, peer_loss
from torch import nn

from fastflow_lite import FastFlow

pytestmark = pytest.mark.usefixtures("few_noise_images")

SHAPES: list[tuple[int, ...]] = [(64, 16, 16), (128, 8, 8), (256, 4, 4)]


def perturbed(module: nn.Module) -> nn.Module:
    """Add noise to every trainable parameter."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return module


def test_log_det_is_the_jacobians() -> None:
    flow = perturbed(PeerFlow(4, steps=3, hidden=5)).double()
    x = torch.randn(1, 4, 2, 3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: flow(v.view_as(x))[0].flatten(), x.flatten())
    assert flow(x)[1].item() == pytest.approx(torch.linalg.slogdet(jacobian)[1].item(), rel=1e-9)


def test_a_new_step_scales_by_one() -> None:
    """softplus(v, beta=1/2) / 10 is 1 for the initial v, so without a coupling only the permutation is left."""
    step = PeerStep(6, hidden=4, kernel=3)
    for parameter in step.subnet.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(2, 6, 3, 3)
    z, log_det = step(x)
    assert torch.allclose(z.sum(dim=1), x.sum(dim=1), atol=1e-5)
    assert log_det.abs().max() < 1e-4


def test_multiply_adds_are_ours_and_the_permutations() -> None:
    """A permutation is a product there: C x C for each position and step. Everything else is as much as ours."""
    model = peer.ours("resnet18", "random", steps=4)
    hidden = [shape[0] // 2 for shape in SHAPES]
    other = PeerModel(model.backbone.network, SHAPES, (64, 64), 4, hidden).eval()
    features = [torch.randn(1, *shape) for shape in SHAPES]
    ours = count_multiply_adds(lambda: model.flow(features, fast=False))
    permutations = sum(4 * c * c * h * w for c, h, w in SHAPES)
    assert count_multiply_adds(lambda: peer.their_flow(other, features)) == ours + permutations


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "cait_xxs24_224", "resnet18"])
def test_features_are_those_of_the_network(name: str) -> None:
    side = 64 if name == "resnet18" else 224
    model = FastFlow(name, None, steps=1).eval()
    images = torch.rand(1, 3, side, side)
    maps = model.backbone.network(images)
    shapes = [tuple(x.shape[1:]) for x in maps]
    other = PeerModel(model.backbone.network, shapes, (side, side), 1, [8] * len(shapes)).eval()
    with torch.no_grad():
        found = peer.their_backbone(other, images)
        anomaly_maps, scores = other(images)
    for x, y in zip(found, maps, strict=True):
        assert torch.equal(x, y)
    assert anomaly_maps.shape == (1, 1, side, side)
    assert scores.item() == anomaly_maps.max().item()


def test_loss_by_hand() -> None:
    z, log_det = torch.full((2, 3, 2, 2), 2.0), torch.tensor([1.0, 5.0])
    assert peer_loss(([z, z], [log_det, log_det])).item() == pytest.approx(2 * (0.5 * 4 * 12 - 3))


def test_values_are_anomalibs() -> None:
    """The same state dict in both: the same maps, scores and loss."""
    try:
        peer.anomalib_version()
    except SystemExit:
        pytest.skip("anomalib is not installed: pip install -e '.[bench]'")
    model = peer.ours("resnet18", "random", steps=4)
    theirs = perturbed(peer.theirs("resnet18", 64, model.backbone.network, steps=4)).eval()
    other = PeerModel(model.backbone.network, SHAPES, (64, 64), 4, [shape[0] // 2 for shape in SHAPES]).eval()
    other.load_state_dict(theirs.state_dict())
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        (maps, scores), reference = other(images), theirs(images)
        pairs = [peer.their_flow(side, peer.their_backbone(side, images)) for side in (other, theirs)]
    assert torch.allclose(maps, reference.anomaly_map, rtol=1e-6)
    assert torch.allclose(scores.flatten(), reference.pred_score.flatten(), rtol=1e-6)
    assert math.isclose(peer_loss(pairs[0]).item(), peer.their_loss(pairs[1]).item(), rel_tol=1e-6)
