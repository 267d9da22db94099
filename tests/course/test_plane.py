"""Flows of points in the plane: the points, the training loop, the density."""

import pytest
import torch
from tiny import defaults

from fastflow_lite.course import checks
from fastflow_lite.course import plane as course_plane
from fastflow_lite.flows import log_density, sample, stages
from fastflow_lite.flows.transforms import ActNorm, AffineCoupling, Permute, Sequential


def a_flow(steps: int = 2) -> Sequential:
    swap = torch.tensor([1, 0])
    parts = [
        Sequential(ActNorm(2), Permute(swap), AffineCoupling(2, course_plane.mlp_subnet(16))) for _ in range(steps)
    ]
    return Sequential(*parts)


@pytest.mark.parametrize("shape", course_plane.SHAPES)
def test_points_are_those_of_their_seed_and_share_one_scale(shape: str) -> None:
    x, part = course_plane.points(shape, 2000, seed=3)
    assert x.shape == (2000, 2) and x.dtype == torch.float32
    assert x.mean(dim=0).abs().max() < 0.1
    assert (part == 0).float().mean() == 0.5
    torch.testing.assert_close(course_plane.points(shape, 2000, seed=3)[0], x)
    assert not torch.equal(course_plane.points(shape, 2000, seed=4)[0], x)


def test_an_unknown_shape_is_named() -> None:
    with pytest.raises(ValueError, match="'moons', 'rings'"):
        course_plane.points("stars", 10)


def test_a_new_subnet_returns_zero_and_receives_gradients() -> None:
    coupling = AffineCoupling(2, course_plane.mlp_subnet(8))
    x = torch.randn(5, 2)
    torch.testing.assert_close(coupling(x)[0], x)
    checks.check_gradients(checks.perturb(coupling), x)


def test_the_loop_learns_what_a_gaussian_cannot_and_repeats_itself() -> None:
    x, _ = course_plane.points("moons", 1000)
    new, _ = course_plane.points("moons", 1000, seed=1)
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        flow = a_flow(4)
        runs.append(course_plane.fit_points(flow, x, 60, lr=1e-2))
    assert runs[0] == runs[1]
    assert not flow.training
    assert course_plane.nats(flow, new) < course_plane.gaussian_nats(x, new) - 0.1


def test_who_watches_a_training_sees_the_flow_before_and_after_each_update() -> None:
    x, _ = course_plane.points("moons", 100)
    flow, seen = a_flow(2), []
    course_plane.fit_points(flow, x, 2, watch=lambda updates: seen.append((updates, course_plane.nats(flow, x))))
    assert [updates for updates, _ in seen] == [0, 1, 2]
    assert len({nats for _, nats in seen}) == 3, "each update changes the flow"


def test_nats_of_an_affine_flow_are_those_of_its_gaussian() -> None:
    x = torch.randn(4000, 2) * torch.tensor([2.0, 0.5]) + 3
    flow = ActNorm(2)
    flow.train()(x)
    assert course_plane.nats(flow.eval(), x) == pytest.approx(course_plane.gaussian_nats(x, x), abs=2e-3)


def test_density_integrates_to_one_and_samples_follow_it() -> None:
    flow = checks.perturb(a_flow().eval(), 0.1)
    axis = torch.linspace(-12, 12, 481)
    plane = torch.cartesian_prod(axis, axis)
    density = log_density(flow, plane).exp() * (axis[1] - axis[0]) ** 2
    assert float(density.sum()) == pytest.approx(1, abs=1e-2)
    center = (density[:, None] * plane).sum(dim=0)
    assert defaults(sample) == {"channels": 2, "seed": 0}
    torch.testing.assert_close(sample(flow, 40_000).mean(dim=0), center, atol=0.05, rtol=0)


def test_stages_begin_with_the_input_and_end_with_z() -> None:
    flow, x = checks.perturb(a_flow(3).eval()), torch.randn(7, 2)
    found = stages(flow, x)
    assert len(found) == 4 and found[0] is x
    torch.testing.assert_close(found[-1], flow(x)[0].detach())
