"""The work between the convolutions: in parts, and through `torch.compile` with what happens where that fails."""

import warnings

import pytest
import torch
from flows.fast.test_function import all_of
from flows.registry import MakeFlow
from tolerances import assert_same

from fastflow_lite import machine
from fastflow_lite.flows.fast import apply_flow, elementwise


@pytest.fixture(autouse=True)
def forget_what_was_found() -> None:
    machine.can_compile.cache_clear()


def test_parts_of_the_batch_cover_it_and_change_nothing(
    monkeypatch: pytest.MonkeyPatch, a_flow: MakeFlow, dtype: torch.dtype
) -> None:
    x = torch.zeros(5, 2, 2, 3)
    parts = elementwise.ON_PROCESSOR._replace(part_values=24).parts(x)
    assert [range(5)[part] for part in parts] == [range(2), range(2, 4), range(4, 5)]
    assert [len(x[part]) for part in elementwise.ON_GPU.parts(x)] == [5]
    flow, x = a_flow(8, (3, 1), dtype)
    x.requires_grad_()
    whole = all_of(flow, x, *apply_flow(flow, x))
    for place in ("ON_PROCESSOR", "ON_GPU"):
        monkeypatch.setattr(elementwise, place, elementwise.ON_PROCESSOR._replace(part_values=1))
    for one, other in zip(whole, all_of(flow, x, *apply_flow(flow, x)), strict=True):
        assert_same(other, one)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch.compile itself uses what torch deprecates
def test_compiled_values_and_gradients_equal_the_others(device: torch.device, a_flow: MakeFlow) -> None:
    if not machine.can_compile(device.type):
        pytest.skip("torch.compile does not work on this machine")
    flow, x = a_flow(8, (3, 1), torch.float32)
    x.requires_grad_()
    plain, compiled = all_of(flow, x, *apply_flow(flow, x)), all_of(flow, x, *apply_flow(flow, x, compiled=True))
    for one, other in zip(plain, compiled, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)


def test_where_nothing_can_be_compiled_one_warning_says_why_and_the_values_are_the_same(
    monkeypatch: pytest.MonkeyPatch, a_flow: MakeFlow
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("no C++ compiler was found\nmore lines")

    monkeypatch.setattr(torch, "compile", fail)
    flow, x = a_flow(8, (3,), torch.float32)
    with pytest.warns(UserWarning, match="nothing is compiled: no C.. compiler was found$"):
        compiled = apply_flow(flow, x, compiled=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(apply_flow(flow, x, compiled=True)[0], compiled[0])
    assert torch.equal(apply_flow(flow, x)[0], compiled[0])
