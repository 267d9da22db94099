"""A coupling over scales: exact for the maps of all scales together, and undone by its inverse."""

import pytest
import torch
from tiny import TwoLevels
from torch import Tensor

from fastflow_lite import FastFlow
from fastflow_lite.course import checks
from fastflow_lite.errors import ArgumentError
from fastflow_lite.flows import ScaleCoupling, ScaleCouplings

SHAPES = ((3, 4, 4), (2, 2, 2), (4, 1, 1))  # of three scales


@pytest.fixture
def couplings() -> ScaleCouplings:
    torch.manual_seed(0)
    made = ScaleCouplings([channels for channels, *_ in SHAPES]).double()
    checks.perturb(made, seed=0)
    return made


def maps_from(vector: Tensor) -> list[Tensor]:
    parts = vector.split([c * h * w for c, h, w in SHAPES])
    return [part.reshape(1, *shape) for part, shape in zip(parts, SHAPES, strict=True)]


def test_the_log_dets_add_up_to_that_of_all_maps_together(couplings: ScaleCouplings) -> None:
    x = torch.randn(60, dtype=torch.float64)
    outputs = couplings(maps_from(x))
    total = sum(log_det.sum() for _, log_det in outputs[:-1])
    assert outputs[-1][1] == 0
    matrix = torch.autograd.functional.jacobian(
        lambda v: torch.cat([z.flatten() for z, _ in couplings(maps_from(v))]), x
    )
    assert torch.allclose(total, torch.linalg.slogdet(matrix)[1], atol=1e-10)
    assert all(log_det.shape == z[:, 0].shape for z, log_det in outputs[:-1])
    assert abs(total) > 0.1


def test_the_inverse_undoes_it(couplings: ScaleCouplings) -> None:
    x, coarser, _ = maps_from(torch.randn(60, dtype=torch.float64))
    z, log_det = couplings[0](x, coarser)
    back, back_log_det = couplings[0].inverse(z, coarser)
    assert torch.allclose(back, x, atol=1e-12)
    assert torch.allclose(back_log_det, -log_det, atol=1e-12)
    assert not torch.allclose(z, x, atol=0.1)


def test_a_new_one_is_the_identity() -> None:
    x = torch.randn(2, 3, 4, 6)
    z, log_det = ScaleCoupling(3, coarser=5)(x, torch.randn(2, 5, 2, 3))
    assert torch.equal(z, x) and not log_det.any()


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ArgumentError, match="coarser"):
        ScaleCoupling(3, coarser=0)
    with pytest.raises(ArgumentError, match="clamp"):
        ScaleCoupling(3, coarser=2, clamp=0)


def test_a_model_counts_them_on_every_path() -> None:
    model = FastFlow(TwoLevels(), steps=2, hidden=4, couple_scales=True)
    plain = FastFlow(TwoLevels(), steps=2, hidden=4)
    checks.perturb(model.scale_couplings, seed=0)
    features = model.features(torch.rand(2, 3, 32, 32))
    slow, fast = model.train().flow(features, fast=False), model.flow(features)
    prepared = model.eval().prepared_for_inference().flow(features)
    coupled, extra = model.scale_couplings[0](features[0], features[1])
    assert torch.allclose(slow[0][1], model.flows[0](coupled)[1] + extra, atol=1e-5)
    assert torch.equal(model.flow_inputs(features)[0], coupled)
    for path in (fast, prepared):
        for (z, log_det), (other_z, other_log_det) in zip(slow, path, strict=True):
            assert torch.allclose(z, other_z, atol=1e-4) and torch.allclose(log_det, other_log_det, atol=1e-3)
    assert not len(plain.scale_couplings)
    assert torch.equal(plain.flows[1].state_dict()["transforms.2.subnet.0.weight"],
                       model.flows[1].state_dict()["transforms.2.subnet.0.weight"])  # fmt: skip
