"""The laws that every public transform keeps, in float64, with perturbed parameters."""

import math

import pytest
import torch
from torch import nn

from fastflow_lite import flows
from fastflow_lite.course import checks
from fastflow_lite.flows import conv_subnet, flow_steps, transforms
from fastflow_lite.flows.transforms import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    Coupling,
    Permute,
    Sequential,
    Transform,
)


def linear_subnet(channels_in: int, channels_out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(channels_in, 8), nn.Tanh(), nn.Linear(8, channels_out))


def instances() -> list[tuple[Transform, tuple[int, ...]]]:
    """Every public transform with the shape of one input, vectors and maps, even and odd channels."""
    torch.manual_seed(0)
    conv = conv_subnet(3, hidden=6)
    found = [
        (ActNorm(5), (3, 5)),
        (ActNorm(4), (2, 4, 3, 2)),
        (Permute.random(5), (3, 5)),
        (Permute.random(4), (2, 4, 3, 2)),
        (AdditiveCoupling(5, linear_subnet), (3, 5)),
        (AdditiveCoupling(4, conv), (2, 4, 3, 2)),
        (AffineCoupling(5, linear_subnet), (3, 5)),
        (AffineCoupling(4, conv), (2, 4, 3, 2)),
        (AffineCoupling(5, conv, clamp=0.5), (2, 5, 2, 3)),
        (Sequential(ActNorm(4), Permute.random(4), AffineCoupling(4, linear_subnet)), (3, 4)),
        (flow_steps(4, steps=3, kernels=(3, 1), hidden=6), (2, 4, 3, 2)),
        (flow_steps(6, steps=2, kernels=(3,), coupling="additive"), (2, 6, 2, 3)),
        (flow_steps(4, steps=1, kernels=(5,), hidden=6), (2, 4, 5, 5)),
        (flow_steps(4, steps=2, permute=False), (2, 4, 2, 2)),
    ]
    for k, (transform, _) in enumerate(found):
        checks.perturb(transform.double().eval(), seed=k)
    return found


LAWS = pytest.mark.parametrize(("transform", "shape"), instances(), ids=lambda v: type(v).__name__)


def an_input(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_every_public_transform_is_held_to_the_laws() -> None:
    public = {
        c for c in vars(transforms).values()
        if isinstance(c, type) and issubclass(c, Transform) and c not in (Transform, Coupling)
    }  # fmt: skip
    assert public == {type(t) for t, _ in instances()}


@LAWS
def test_shapes(transform: Transform, shape: tuple[int, ...]) -> None:
    checks.check_shapes(transform, an_input(shape))


@LAWS
def test_inverse(transform: Transform, shape: tuple[int, ...]) -> None:
    checks.check_inverse(transform, an_input(shape), tolerance=1e-10)


@LAWS
def test_log_det_equals_autograd_in_both_directions(transform: Transform, shape: tuple[int, ...]) -> None:
    checks.check_log_det(transform, an_input(shape), tolerance=1e-8)


@LAWS
def test_gradient_reaches_every_parameter(transform: Transform, shape: tuple[int, ...]) -> None:
    checks.check_gradients(transform, an_input(shape))


@LAWS
def test_eval_equals_train_once_started(transform: Transform, shape: tuple[int, ...]) -> None:
    x = an_input(shape)
    for module in transform.modules():
        if isinstance(module, ActNorm):
            module.started.fill_(True)
    in_train = transform.train()(x)
    in_eval = transform.eval()(x)
    assert all(torch.equal(a, b) for a, b in zip(in_train, in_eval, strict=True)), transform


@LAWS
def test_state_round_trip(transform: Transform, shape: tuple[int, ...]) -> None:
    x = an_input(shape)
    kept = {name: t.clone() for name, t in transform.state_dict().items()}
    before = transform(x)
    twin = next(t for t, _ in instances() if repr(t) == repr(transform))
    checks.perturb(twin, seed=99)
    twin.load_state_dict(kept)
    assert all(torch.equal(a, b) for a, b in zip(before, twin(x), strict=True)), transform


@LAWS
def test_repr_names_the_class(transform: Transform, shape: tuple[int, ...]) -> None:
    assert type(transform).__name__ in repr(transform)


@pytest.mark.parametrize(
    ("transform", "shape"), [i for i in instances() if len(i[1]) == 4], ids=lambda v: type(v).__name__
)
def test_each_position_has_its_share_of_log_det(transform: Transform, shape: tuple[int, ...]) -> None:
    """Not only the sum: a position's share is the sum of `s` there, so a change far away leaves it alone."""
    wide = torch.randn(1, shape[1], 24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    changed = wide.clone()
    changed[:, :, -1, -1] += 1.0
    here, there = transform(wide)[1], transform(changed)[1]
    assert torch.equal(here[:, :8, :8], there[:, :8, :8]), transform


@pytest.mark.parametrize("coupling", [AdditiveCoupling, AffineCoupling])
def test_density_integrates_to_one(coupling: type[Coupling]) -> None:
    torch.manual_seed(3)
    flow = Sequential(*[t for _ in range(3) for t in (ActNorm(2), Permute.random(2), coupling(2, linear_subnet))])
    checks.check_density(checks.perturb(flow.double().eval(), scale=0.2), reach=30.0, points=800)


def test_affine_coupling_by_hand() -> None:
    """One number each: s = 2 tanh(0.5 / 2), z_b = x_b exp(s) + 3."""
    coupling = AffineCoupling(2, lambda i, o: nn.Linear(i, o)).double()
    with torch.no_grad():
        coupling.subnet.weight.zero_()
        coupling.subnet.bias.copy_(torch.tensor([0.5, 3.0]))
    z, log_det = coupling(torch.tensor([[7.0, 2.0]], dtype=torch.float64))
    s = 2 * math.tanh(0.25)
    assert z.tolist() == [[7.0, pytest.approx(2 * math.exp(s) + 3)]]
    assert log_det.item() == pytest.approx(s)


def test_scale_never_leaves_the_clamp() -> None:
    coupling = AffineCoupling(4, linear_subnet, clamp=1.5)
    _, log_det = coupling(torch.full((1, 4), 1e6))
    assert abs(log_det.item()) <= 1.5 * 2 + 1e-6


def test_a_new_flow_is_the_identity_up_to_order() -> None:
    x = an_input((2, 6, 4, 4))
    z, log_det = flow_steps(6, steps=4).double().eval()(x)
    assert torch.equal(z.sort(dim=1).values, x.sort(dim=1).values)
    assert not log_det.any()


def test_act_norm_starts_from_the_first_training_batch_only() -> None:
    norm = ActNorm(3).double()
    x = an_input((16, 3, 5, 5)) * torch.tensor([1.0, 10.0, 0.1]).view(1, 3, 1, 1) + 4
    norm.eval()(x)
    assert not norm.started
    z, _ = norm.train()(x)
    assert torch.allclose(z.mean(dim=(0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(z.std(dim=(0, 2, 3), correction=0), torch.ones(3, dtype=torch.float64))
    kept = norm.log_scale.clone()
    norm(x * 100)
    assert torch.equal(norm.log_scale, kept)


def test_act_norm_does_not_blow_up_a_dead_channel() -> None:
    norm = ActNorm(2).train()
    z, _ = norm(torch.zeros(4, 2, 3, 3))
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
    with pytest.raises(ValueError, match="odd"):
        conv_subnet(2, hidden=4)
    with pytest.raises(ValueError, match="coupling must be"):
        flow_steps(4, steps=1, coupling="afine")


@pytest.mark.parametrize(
    ("channels", "steps", "hidden", "kernels", "millions"),
    [
        ((256, 512, 1024), 8, "half", (3, 1), 41.3),
        ((256, 512, 1024), 8, "half", (3,), 74.4),
        ((768,), 20, "128", (3, 1), 14.8),
        ((768,), 20, "128", (3,), 26.6),
        ((64, 128, 256), 8, "half, at least 64", (3, 1), 2.7),
        ((64, 128, 256), 8, "half, at least 64", (3,), 4.9),
    ],
)
def test_additional_parameters_of_the_paper(
    channels: tuple[int, ...], steps: int, hidden: str, kernels: tuple[int, ...], millions: float
) -> None:
    width = {"half": lambda c: c // 2, "128": lambda c: 128, "half, at least 64": lambda c: max(c // 2, 64)}[hidden]
    with torch.device("meta"):
        total = sum(flows.count_parameters(flow_steps(c, steps, kernels, width(c), permute=False)) for c in channels)
    assert abs(total / 1e6 - millions) < 0.1, f"{total:,} parameters, the paper has {millions} M"
