"""Which flows the fast path supports; the others take `flow(x)`."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from fastflow_lite.flows import flow_steps
from fastflow_lite.flows.fast import apply_flow, precompute_weights
from fastflow_lite.flows.fast.layout import fusible_steps, is_initialized
from fastflow_lite.flows.transforms import Sequential


def test_the_steps_of_a_supported_flow() -> None:
    flow = flow_steps(7, 2, clamp=1.5)
    layouts = fusible_steps(flow)
    assert len(layouts) == 2
    for permute, layout in zip(flow.transforms[1::3], layouts, strict=True):
        assert torch.equal(layout.order, permute.order) and torch.equal(layout.inverse_order, permute.order.argsort())
        assert (layout.a, layout.b, layout.clamp) == (slice(3), slice(3, None), 1.5)


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


@pytest.mark.parametrize("name", ["", "transforms.2", "transforms.2.subnet.0"])
def test_forward_hooks_are_called(name: str) -> None:
    flow, x, seen = flow_steps(8, 2).eval(), torch.randn(2, 8, 6, 9), []
    apply_flow(flow, x)
    flow.get_submodule(name).register_forward_hook(lambda *_: seen.append(1))
    apply_flow(flow, x)
    assert seen


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
