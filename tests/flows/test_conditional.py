"""A flow given the next coarser scale: exact for the maps of all scales together, and undone by its inverse."""

import pytest
import torch
from tiny import TwoLevels
from torch import Tensor, nn
from torch.nn.functional import interpolate

from fastflow_lite import FastFlow
from fastflow_lite.course import checks
from fastflow_lite.errors import ArgumentError
from fastflow_lite.flows import AffineCoupling, ConditionalFlow, Permute, Sequential, flow_steps

SHAPES = ((4, 4, 2), (6, 2, 1))  # of both scales of `TwoLevels`


def coupled(**options: object) -> FastFlow:
    """A model of two scales with noise on every parameter, as after training."""
    model = FastFlow(TwoLevels(), steps=2, hidden=4, couple_scales=True, **options).eval()
    checks.perturb(model.flows, seed=0)
    for started in (buffer for name, buffer in model.named_buffers() if name.endswith("started")):
        started.fill_(True)
    return model


def maps_from(vector: Tensor) -> list[Tensor]:
    parts = vector.split([c * h * w for c, h, w in SHAPES])
    return [part.reshape(1, *shape) for part, shape in zip(parts, SHAPES, strict=True)]


@pytest.mark.parametrize("fast", [True, False])
def test_the_log_dets_add_up_to_that_of_all_maps_together(fast: bool) -> None:
    torch.manual_seed(0)
    model, x = coupled().double(), torch.randn(44, dtype=torch.float64)
    total = sum(log_det.sum() for _, log_det in model.flow(maps_from(x)))
    matrix = torch.autograd.functional.jacobian(
        lambda v: torch.cat([z.flatten() for z, _ in model.flow(maps_from(v), fast)]), x
    )
    assert torch.allclose(total, torch.linalg.slogdet(matrix)[1], atol=1e-10)
    assert matrix[:32, 32:].abs().max() > 0.01 and not matrix[32:, :32].any()  # the finer z by both maps
    assert abs(total) > 0.1


@pytest.mark.parametrize("coupling", ["affine", "additive"])
def test_the_inverse_undoes_it_for_the_same_coarser_map(coupling: str) -> None:
    torch.manual_seed(0)
    flow = ConditionalFlow(flow_steps(5, 2, hidden=6, coupling=coupling), coarser=3).double()
    checks.perturb(flow, seed=0)
    x, coarser = torch.randn(2, 5, 6, 9).double(), torch.randn(2, 3, 3, 4).double()
    z, log_det = flow.eval()(x, coarser)
    back, back_log_det = flow.inverse(z, coarser)
    assert torch.allclose(back, x, atol=1e-12)
    assert torch.allclose(back_log_det, -log_det, atol=1e-12)
    assert not torch.allclose(flow.inverse(z, coarser + 1)[0], x, atol=0.01)


def test_each_coupling_is_given_a_convolution_of_the_up_sampled_map() -> None:
    flow, coarser = ConditionalFlow(flow_steps(4, 3, hidden=6), coarser=5), torch.randn(2, 5, 3, 2)
    found = flow.conditions(coarser, (6, 7))
    large = flow.condition(interpolate(coarser, (6, 7), mode="bilinear", align_corners=False))
    assert [one.shape for one in found] == 3 * [(2, 6, 6, 7)]
    assert torch.allclose(torch.cat(found, dim=1), large, atol=1e-5)


def test_a_new_one_computes_what_its_flow_computes() -> None:
    plain, x = flow_steps(4, 2, hidden=6).eval(), torch.randn(2, 4, 4, 6)
    flow = ConditionalFlow(plain, coarser=5)
    for one, other in zip(flow(x, torch.randn(2, 5, 2, 3)), plain(x), strict=True):
        assert torch.equal(one, other)
    assert flow.condition.weight.abs().max() > 0.1  # so that the first gradients of the sub-nets see the coarser map


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ArgumentError, match="coarser"):
        ConditionalFlow(flow_steps(4, 1), coarser=0)
    for flow in (Sequential(Permute.random(4)), Sequential(AffineCoupling(4, nn.Linear))):
        with pytest.raises(ArgumentError, match="sub-nets are those of conv_subnet"):
            ConditionalFlow(flow, coarser=3)


@pytest.mark.parametrize("options", [{}, {"coupling": "additive"}, {"uncounted_affine": (32, 32)}])
def test_a_model_computes_it_on_every_path(options: dict[str, object]) -> None:
    model = coupled(**options)
    features = model.features(torch.rand(2, 3, 32, 32))
    (x, coarser), (coarsest,) = model.flow_inputs(features)
    assert coarser is coarsest
    wanted = [model.flows[0](x, coarser), model.flows[1](coarsest)]
    kept = model.flow(features)
    little = coupled(**options, save_memory=True).flow(features)
    for path in (model.flow(features, fast=False), kept, little, model.prepared_for_inference().flow(features)):
        for one, other in zip(wanted, path, strict=True):
            assert torch.allclose(one[0], other[0], atol=1e-4) and torch.allclose(one[1], other[1], atol=1e-3)
    others = model.flow([features[0], features[1] + 1])
    assert not torch.allclose(kept[0][0], others[0][0], atol=1e-3)


def test_the_first_weights_are_those_of_a_model_without_it() -> None:
    plain, model = (FastFlow(TwoLevels(), steps=2, hidden=4, couple_scales=on).flows for on in (False, True))
    assert isinstance(plain[0], Sequential) and isinstance(model[0], ConditionalFlow)
    for one, other in ((plain[0], model[0].flow), (plain[1], model[1])):
        states = one.state_dict(), other.state_dict()
        assert states[0].keys() == states[1].keys()
        assert all(map(torch.equal, states[0].values(), states[1].values()))
