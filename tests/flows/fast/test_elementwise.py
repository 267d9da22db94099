"""The work between the convolutions: its functions, and through `torch.compile` with what happens where that fails."""

import warnings

import pytest
import torch
from flows.fast.test_function import all_of
from flows.registry import MakeFlow

from fastflow_lite import machine
from fastflow_lite.flows.fast import apply_flow, elementwise


@pytest.fixture(autouse=True)
def forget_what_was_found() -> None:
    machine.can_compile.cache_clear()


def test_exp_and_clamped_equal_the_functions_of_torch(device: torch.device) -> None:
    x = torch.linspace(-20, 20, 1001, dtype=torch.float64, device=device)
    torch.testing.assert_close(elementwise.exp(x), x.exp(), rtol=1e-13, atol=0)
    torch.testing.assert_close(elementwise.clamped(x, 1.5), 1.5 * torch.tanh(x / 1.5), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(elementwise.exp(x.float()), x.exp().float(), rtol=3e-6, atol=0)


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
