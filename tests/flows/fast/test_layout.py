"""Which flows the fast path supports; the others take `flow(x)`."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from fastflow_lite.flows import flow_steps
from fastflow_lite.flows.fast import apply_flow, precompute_weights
from fastflow_lite.flows.fast.layout import fusible_steps, is_initialized, step_weights
from fastflow_lite.flows.transforms import Sequential


def test_the_steps_of_a_supported_flow() -> None:
    flow = flow_steps(7, 2, clamp=1.5)
    layouts = fusible_steps(flow)
    assert len(layouts) == 2
    for permute, layout in zip(flow.transforms[1::3], layouts, strict=True):
        assert torch.equal(layout.order, permute.order) and torch.equal(layout.inverse_order, permute.order.argsort())
        assert (layout.a, layout.b, layout.clamp) == (slice(3), slice(3, None), 1.5)


def test_only_the_products_have_their_own_type() -> None:
    (weights,) = step_weights(flow_steps(8, 1))
    assert weights.of_products(None) is weights
    types = [tensor.dtype for tensor in weights.of_products(torch.bfloat16)]
    assert types == 2 * [torch.float32] + 4 * [torch.bfloat16]


@pytest.mark.parametrize(
    "make",
    [
        lambda: flow_steps(8, 2, (3,), coupling="additive"),
        lambda: flow_steps(8, 2, (3,), permute=False),
        lambda: flow_steps(8, 2, (5,)),
        lambda: Sequential(flow_steps(8, 2)),
        lambda: Sequential(),
    ],
)
def test_other_flows_are_unsupported(make: Callable[[], Sequential]) -> None:
    flow, x = make().eval(), torch.randn(2, 8, 6, 9)
    assert fusible_steps(flow) is None
    assert torch.equal(apply_flow(flow, x)[0], flow(x)[0])
    if list(flow.parameters()):
        assert precompute_weights(flow) is None


OTHER = {"padding_mode": "reflect", "dilation": 2, "groups": 2, "bias": False}


@pytest.mark.parametrize("setting", OTHER)
def test_a_sub_net_of_other_convolutions_is_unsupported(setting: str) -> None:
    flow, x = flow_steps(8, 2, (3,), hidden=8), torch.randn(2, 8, 6, 9)
    padding = 2 if setting == "dilation" else 1
    flow.transforms[2].subnet[2] = nn.Conv2d(8, 8, 3, padding=padding, **{setting: OTHER[setting]})
    assert fusible_steps(flow) is None
    for one, other in zip(flow.eval()(x), apply_flow(flow, x), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("change", ["another activation", "another class"])
def test_a_sub_net_of_other_layers_is_unsupported(change: str) -> None:
    flow, x = flow_steps(8, 2, (3,), hidden=8), torch.randn(2, 8, 6, 9)
    coupling = flow.transforms[2]
    if change == "another activation":
        coupling.subnet[1] = nn.Tanh()
    else:
        coupling.subnet = nn.Sequential(*coupling.subnet)
    assert fusible_steps(flow) is None
    for one, other in zip(flow.eval()(x), apply_flow(flow, x), strict=True):
        assert torch.equal(one, other)


HOOKS = (
    "register_forward_hook",
    "register_forward_pre_hook",
    "register_full_backward_hook",
    "register_full_backward_pre_hook",
)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("kind", HOOKS)
@pytest.mark.parametrize("name", ["", "transforms.0", "transforms.1", "transforms.2", "transforms.2.subnet.0"])
def test_hooks_are_called(name: str, kind: str) -> None:
    flow, x, seen = flow_steps(8, 2).eval(), torch.randn(2, 8, 6, 9), []
    apply_flow(flow, x)
    hook = getattr(flow.get_submodule(name), kind)(lambda *_: seen.append(1))
    apply_flow(flow, x.requires_grad_())[0].sum().backward()
    assert seen
    hook.remove()
    assert fusible_steps(flow)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("kind", ["forward_hook", "forward_pre_hook", "full_backward_hook", "full_backward_pre_hook"])
def test_hooks_of_all_modules_are_called(kind: str) -> None:
    flow, seen = flow_steps(8, 2).eval(), set()
    hook = getattr(nn.modules.module, f"register_module_{kind}")(lambda module, *_: seen.add(module))
    try:
        apply_flow(flow, torch.randn(2, 8, 6, 9, requires_grad=True))[0].sum().backward()
    finally:
        hook.remove()
    assert {flow, flow.transforms[0], flow.transforms[2].subnet[0]} <= seen


def test_a_replaced_forward_is_called() -> None:
    flow, x = flow_steps(8, 2).eval(), torch.randn(2, 8, 6, 9)
    flow.transforms[2].forward = lambda x: (2 * x, x.sum(dim=1))
    assert torch.equal(apply_flow(flow, x)[0], flow(x)[0])


def test_is_initialized_follows_the_flags_and_reads_them_once(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = flow_steps(8, 2).train()
    assert not is_initialized(flow)
    flow(torch.randn(2, 8, 6, 9))
    assert is_initialized(flow)
    fresh = flow_steps(8, 2).state_dict()
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "__bool__", lambda _: pytest.fail("reads a flag a second time"))
        assert is_initialized(flow)
    flow.load_state_dict(fresh)
    assert not is_initialized(flow)


def test_is_initialized_reads_flags_of_a_copy_and_replaced_flags() -> None:
    flow = flow_steps(8, 1).train()
    flow(torch.randn(2, 8, 6, 9))
    assert is_initialized(flow) and is_initialized(copy.deepcopy(flow))
    for _ in range(20):  # the memory of the flag is given to the next one
        del flow.transforms[0].started
        flow.transforms[0].register_buffer("started", torch.tensor(True))
        assert is_initialized(flow)
        del flow.transforms[0].started
        flow.transforms[0].register_buffer("started", torch.tensor(False))
        assert not is_initialized(flow)
