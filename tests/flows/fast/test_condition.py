"""The condition of a step on channels-last maps, and a `ConditionalFlow` by the fast path, against torch's modules."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from flows.registry import MakeFlow
from tolerances import assert_same
from torch import Tensor
from torch.nn.functional import conv2d, interpolate

from fastflow_lite.errors import ArgumentError
from fastflow_lite.flows import ConditionalFlow
from fastflow_lite.flows.fast import apply_flow, precompute_weights
from fastflow_lite.flows.fast.condition import add_upsampled, coarse_conditions, upsampled, upsampling_gradient

Case = tuple[ConditionalFlow, Tensor, Tensor]  # with the maps of both scales
MakeCase = Callable[..., Case]


@pytest.mark.parametrize("size", [(6, 8), (7, 5), (3, 4)])
def test_values_and_gradient(size: tuple[int, int], device: torch.device, dtype: torch.dtype) -> None:
    x, weight = torch.randn(2, 5, 3, 4).to(device, dtype), torch.randn(8, 5, 1, 1).to(device, dtype)
    coarse = coarse_conditions(x, weight, None)
    assert_same(coarse.permute(0, 3, 1, 2), conv2d(x, weight))
    part = coarse.split(4, dim=-1)[1].detach().requires_grad_()
    wanted = interpolate(part.permute(0, 3, 1, 2), size, mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    hidden, g = (torch.randn(2, *size, 4).to(device, dtype) for _ in range(2))
    added = hidden.clone()
    add_upsampled(added, part.detach())
    assert_same(added, hidden + wanted.detach())
    assert_same(upsampling_gradient(g, (3, 4)), torch.autograd.grad(wanted, part, g)[0])


def test_maps_stay_channels_last_so_that_nothing_is_copied() -> None:
    part = coarse_conditions(torch.randn(2, 5, 3, 4), torch.randn(8, 5, 1, 1), None)[..., :4]
    large = upsampled(part, (6, 8))
    assert large.is_contiguous() and upsampling_gradient(large, (3, 4)).is_contiguous()


def test_the_product_is_in_its_own_type(device: torch.device) -> None:
    x, weight = torch.randn(2, 5, 3, 4).to(device), torch.randn(8, 5, 1, 1).to(device)
    rounded, exact = coarse_conditions(x, weight, torch.bfloat16), coarse_conditions(x, weight, None)
    assert (rounded.dtype, exact.dtype) == (torch.bfloat16, torch.float32)
    assert 1e-5 < (rounded - exact).norm() / exact.norm() < 0.02
    large = upsampled(rounded, (6, 8))
    assert large.dtype == upsampling_gradient(large, (3, 4)).dtype == torch.bfloat16


@pytest.fixture
def conditional(a_flow: MakeFlow) -> MakeCase:
    """Make conditional flows, 6 x 9 positions given 3 x 4 ones."""

    def made(dtype: torch.dtype, channels: int = 8, kernels: tuple[int, ...] = (3, 1)) -> Case:
        flow, x = a_flow(channels, kernels, dtype)
        coarser = torch.randn(2, 5, 3, 4, dtype=dtype).to(x.device)
        return ConditionalFlow(flow, coarser=5).to(x), x.requires_grad_(), coarser.requires_grad_()

    return made


def all_of(case: Case, output: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Return z, log_det, and the gradients of a loss that weighs each of their values differently."""
    flow, *maps = case
    loss = sum((y * torch.arange(y.numel(), dtype=y.dtype, device=y.device).view_as(y).sin()).sum() for y in output)
    return [*output, *torch.autograd.grad(loss, [*maps, *flow.parameters()])]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("kernels", [(3, 1), (1,)])
def test_values_and_gradients_equal_those_of_the_modules(
    conditional: MakeCase, dtype: torch.dtype, keep: bool, kernels: tuple[int, ...]
) -> None:
    flow, x, coarser = case = conditional(dtype, 7, kernels)
    plain, fast = (
        all_of(case, flow(x, coarser)), all_of(case, apply_flow(flow, x, coarser, keep_activations=keep))
    )  # fmt: skip
    for one, other in zip(plain, fast, strict=True):
        assert_same(other, one)
    assert not torch.equal(plain[0], fast[0])  # it was another path
    assert all(one.abs().max() > 1e-3 for one in (fast[3], fast[-1]))  # of the coarser map and of the convolution


@pytest.mark.parametrize("keep", [True, False])
def test_fixed_features_and_weights_get_no_gradient(conditional: MakeCase, dtype: torch.dtype, keep: bool) -> None:
    flow, x, coarser = conditional(dtype)
    for part in (flow.flow, flow.condition):
        flow.requires_grad_(False)
        part.requires_grad_()
        z, log_det = apply_flow(flow, x.detach(), coarser.detach(), keep_activations=keep)
        (z.square().sum() - log_det.sum()).backward()
    found = [parameter.grad for parameter in flow.requires_grad_().parameters()]
    z, log_det = flow(x, coarser)
    wanted = torch.autograd.grad(z.square().sum() - log_det.sum(), [*flow.parameters()])
    for one, other in zip(found, wanted, strict=True):
        assert_same(one, other)


def test_gradients_of_gradients_equal_those_of_the_modules(conditional: MakeCase, dtype: torch.dtype) -> None:
    flow, x, coarser = conditional(dtype)
    found = []
    for z, _ in (flow(x, coarser), apply_flow(flow, x, coarser)):
        slopes = torch.autograd.grad(z.square().mean(), [x, coarser], create_graph=True)
        penalty = sum((slope.norm() - 1).square() for slope in slopes)
        found.append(torch.autograd.grad(penalty, [coarser, *flow.parameters()]))
    for one, other in zip(*found, strict=True):
        assert_same(other, one)


@pytest.mark.filterwarnings("ignore:`torch.jit")  # torch itself uses what it deprecates
def test_functional_transforms_equal_those_of_the_modules(conditional: MakeCase, dtype: torch.dtype) -> None:
    flow, x, coarser = conditional(dtype)
    wanted = torch.autograd.functional.jacobian(lambda c: flow(x, c)[1][:, 0, 0], coarser)
    assert_same(torch.func.jacrev(lambda c: apply_flow(flow, x, c)[1][:, 0, 0])(coarser), wanted)
    assert wanted.abs().max() > 1e-3


@pytest.mark.parametrize("keep", [True, False])
def test_products_in_bf16_are_near_as_by_autocast_and_precomputed(conditional: MakeCase, keep: bool) -> None:
    flow, x, coarser = case = conditional(torch.float32, 64)
    computed = partial(apply_flow, flow, x, coarser, keep_activations=keep)
    plain, rounded = all_of(case, flow(x, coarser)), all_of(case, computed(precision="bf16"))
    for one, other in zip(plain, rounded, strict=True):
        assert other.dtype == torch.float32
        assert 1e-5 < (other - one).norm() / one.norm() < 0.1
    with torch.autocast(x.device.type, torch.bfloat16):
        cast = computed()
    ready = computed(precision="bf16", precomputed=precompute_weights(flow, "bf16"))
    for one, *others in zip(rounded, cast, ready, strict=False):
        for other in others:
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_precomputed_weights_give_the_same_and_are_a_copy(conditional: MakeCase) -> None:
    flow, x, coarser = conditional(torch.float32)
    precomputed = precompute_weights(flow.eval())
    wanted = flow(x, coarser)
    with torch.no_grad():
        flow.condition.weight.mul_(2)
    for one, other in zip(wanted, apply_flow(flow, x, coarser, precomputed=precomputed), strict=True):
        assert_same(other, one)
    assert not torch.allclose(flow(x, coarser)[0], wanted[0], atol=1e-3)


def test_a_missing_or_needless_coarser_map_raises(conditional: MakeCase) -> None:
    flow, x, coarser = conditional(torch.float32)
    for one, maps in ((flow, [x]), (flow.flow, [x, coarser])):
        with pytest.raises((TypeError, ArgumentError), match=r"'coarser'|3 couplings take as many conditions, got 1"):
            apply_flow(one.eval(), *maps)


@pytest.mark.parametrize("part", ["condition", "flow.transforms.2.subnet.1"])
def test_hooks_are_called(conditional: MakeCase, dtype: torch.dtype, part: str) -> None:
    flow, x, coarser = conditional(dtype)
    seen: list[int] = []
    flow.get_submodule(part).register_forward_hook(lambda *_: seen.append(1))
    apply_flow(flow, x, coarser)
    assert seen


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_compiled_call_is_the_modules_themselves(conditional: MakeCase) -> None:
    flow, x, coarser = case = conditional(torch.float32)
    compiled = torch.compile(partial(apply_flow, flow.eval()), backend="aot_eager", fullgraph=True)
    for one, other in zip(all_of(case, flow(x, coarser)), all_of(case, compiled(x, coarser)), strict=True):
        assert_same(other, one)
