"""The contract of `Transform`: laws that every entry of the registry obeys, with perturbed parameters."""

import pytest
import torch
from flows.registry import TRANSFORMS, build
from tolerances import tolerance

from fastflow_lite.course import checks
from fastflow_lite.flows import transforms
from fastflow_lite.flows.transforms import Coupling, Transform

MAPS = [name for name, (_, shape) in TRANSFORMS.items() if len(shape) == 4]
every_transform = pytest.mark.parametrize("name", TRANSFORMS)


Case = tuple[Transform, torch.Tensor]


@pytest.fixture
def case(name: str, device: torch.device, dtype: torch.dtype) -> Case:
    """The transform `name` and an input for it."""
    x = torch.randn(TRANSFORMS[name][1], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return build(name).to(device, dtype), x.to(device, dtype)


def test_every_public_transform_is_in_the_registry() -> None:
    public = {
        c for c in vars(transforms).values()
        if isinstance(c, type) and issubclass(c, Transform) and c not in (Transform, Coupling)
    }  # fmt: skip
    assert public
    assert not public - {type(build(name)) for name in TRANSFORMS}


@every_transform
def test_shapes(case: Case) -> None:
    checks.check_shapes(*case)


@every_transform
def test_inverse_undoes_forward_and_log_dets_add_up_to_zero(case: Case, dtype: torch.dtype) -> None:
    checks.check_inverse(*case, tolerance=tolerance("inverse", dtype))


@every_transform
def test_log_det_equals_autograd_in_both_directions(case: Case, dtype: torch.dtype) -> None:
    checks.check_log_det(*case, tolerance=tolerance("log_det", dtype))


@every_transform
def test_gradient_reaches_every_parameter(case: Case) -> None:
    checks.check_gradients(*case)


@every_transform
def test_eval_equals_train_once_started(case: Case) -> None:
    transform, x = case
    in_train, in_eval = transform.train()(x), transform.eval()(x)
    assert all(torch.equal(a, b) for a, b in zip(in_train, in_eval, strict=True))


@every_transform
def test_state_dict_holds_everything(name: str, case: Case) -> None:
    saved, x = case
    other = build(name, seed=1).to(x)
    assert not torch.equal(saved(x)[0], other(x)[0])
    other.load_state_dict(saved.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(saved(x), other(x), strict=True))


@every_transform
def test_repr_names_the_class(name: str) -> None:
    transform = build(name)
    assert repr(transform).startswith(f"{type(transform).__name__}(")


@pytest.mark.parametrize("name", MAPS)
def test_log_det_of_a_position_depends_on_its_surroundings_alone(
    name: str, device: torch.device, dtype: torch.dtype
) -> None:
    """Not only the sum over positions is right: a change far away does not change the value at a position."""
    transform, channels = build(name).to(device, dtype), TRANSFORMS[name][1][1]
    x = torch.randn(1, channels, 24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    x = x.to(device, dtype)
    changed = x.clone()
    changed[:, :, -1, -1] += 1.0
    assert torch.equal(transform(x)[1][:, :8, :8], transform(changed)[1][:, :8, :8])
