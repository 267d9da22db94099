"""The contract of `Transform`: laws that every entry of the registry obeys, in float64, with perturbed parameters."""

import pytest
import torch
from flows.registry import TRANSFORMS, build

from fastflow_lite.course import checks
from fastflow_lite.flows import transforms
from fastflow_lite.flows.transforms import Coupling, Transform

MAPS = [name for name, (_, shape) in TRANSFORMS.items() if len(shape) == 4]
every_transform = pytest.mark.parametrize("name", TRANSFORMS)


def an_input(name: str) -> torch.Tensor:
    return torch.randn(TRANSFORMS[name][1], dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_every_public_transform_is_in_the_registry() -> None:
    public = {
        c for c in vars(transforms).values()
        if isinstance(c, type) and issubclass(c, Transform) and c not in (Transform, Coupling)
    }  # fmt: skip
    assert public
    assert not public - {type(build(name)) for name in TRANSFORMS}


@every_transform
def test_shapes(name: str) -> None:
    checks.check_shapes(build(name), an_input(name))


@every_transform
def test_inverse_undoes_forward_and_log_dets_add_up_to_zero(name: str) -> None:
    checks.check_inverse(build(name), an_input(name), tolerance=1e-10)


@every_transform
def test_log_det_equals_autograd_in_both_directions(name: str) -> None:
    checks.check_log_det(build(name), an_input(name), tolerance=1e-8)


@every_transform
def test_gradient_reaches_every_parameter(name: str) -> None:
    checks.check_gradients(build(name), an_input(name))


@every_transform
def test_eval_equals_train_once_started(name: str) -> None:
    transform, x = build(name), an_input(name)
    in_train, in_eval = transform.train()(x), transform.eval()(x)
    assert all(torch.equal(a, b) for a, b in zip(in_train, in_eval, strict=True))


@every_transform
def test_state_dict_holds_everything(name: str) -> None:
    saved, other, x = build(name), build(name, seed=1), an_input(name)
    assert not torch.equal(saved(x)[0], other(x)[0])
    other.load_state_dict(saved.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(saved(x), other(x), strict=True))


@every_transform
def test_repr_names_the_class(name: str) -> None:
    transform = build(name)
    assert repr(transform).startswith(f"{type(transform).__name__}(")


@pytest.mark.parametrize("name", MAPS)
def test_log_det_of_a_position_depends_on_its_surroundings_alone(name: str) -> None:
    """Not only the sum over positions is right: a change far away does not change the value at a position."""
    transform, channels = build(name), TRANSFORMS[name][1][1]
    x = torch.randn(1, channels, 24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    changed = x.clone()
    changed[:, :, -1, -1] += 1.0
    assert torch.equal(transform(x)[1][:, :8, :8], transform(changed)[1][:, :8, :8])
