"""The stack of flow steps: where it starts, its arguments, and its size."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny import defaults

from fastflow_lite.errors import ArgumentError
from fastflow_lite.flows import conv_subnet, count_parameters, flow_steps
from fastflow_lite.flows.transforms import ActNorm, AffineCoupling, Permute


def test_a_new_flow_is_the_identity_up_to_order(device: torch.device, dtype: torch.dtype) -> None:
    x = torch.randn(2, 6, 4, 4, dtype=dtype).to(device)
    z, log_det = flow_steps(6, steps=4).to(x).eval()(x)
    assert torch.equal(z.sort(dim=1).values, x.sort(dim=1).values)
    assert not log_det.any()


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="odd"):
        conv_subnet(2, hidden=4)
    with pytest.raises(ValueError, match="coupling must be"):
        flow_steps(4, steps=1, coupling="afine")


@pytest.mark.parametrize(
    ("channels", "steps", "hidden", "kernels", "millions"),
    [
        ((256, 512, 1024), 8, "half", (3, 1), 41.3),
        ((256, 512, 1024), 8, "half", (3,), 74.4),  # this and 26.6 are counted; the paper's figure is not known
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
        total = sum(count_parameters(flow_steps(c, steps, kernels, width(c), permute=False)) for c in channels)
    assert abs(total / 1e6 - millions) < 0.1, f"{total:,} parameters, not {millions} M"


def test_a_flow_is_act_norm_permutation_and_coupling_in_turn_with_kernels_in_turn() -> None:
    flow = flow_steps(6, steps=3, kernels=(3, 1), clamp=1.5)
    assert [type(t) for t in flow.transforms] == [ActNorm, Permute, AffineCoupling] * 3
    couplings = list(flow.transforms)[2::3]
    assert [c.subnet[0].kernel_size for c in couplings] == [(3, 3), (1, 1), (3, 3)]
    assert [c.subnet[0].out_channels for c in couplings] == [3, 3, 3]
    assert [c.clamp for c in couplings] == [1.5] * 3
    bare = flow_steps(6, steps=2, permute=False, hidden=5)
    assert [type(t) for t in bare.transforms] == [ActNorm, AffineCoupling] * 2
    assert [c.subnet[0].out_channels for c in list(bare.transforms)[1::2]] == [5, 5]


def test_a_new_subnet_returns_zeros(device: torch.device) -> None:
    subnet = conv_subnet(3, hidden=8)(4, 6).to(device)
    assert not subnet(torch.randn(1, 4, 5, 5, device=device)).any()
    assert subnet[0].weight.any()
    assert subnet(torch.randn(1, 4, 5, 7, device=device)).shape == (1, 6, 5, 7)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (conv_subnet, {}),
        (flow_steps, {"kernels": (3, 1), "hidden": None, "coupling": "affine", "clamp": 2.0, "permute": True}),
    ],
)
def test_defaults(function: Callable[..., Any], expected: dict[str, Any]) -> None:
    assert defaults(function) == expected


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"steps": -1}, "steps must be a whole number of at least 1, got -1"),
        ({"kernels": ()}, "kernels must hold at least one odd size"),
        ({"kernels": (-3,)}, "kernel must be a whole number of at least 1, got -3"),
        ({"kernels": (2,)}, "kernel must be odd"),
        ({"hidden": 0}, "hidden must be a whole number of at least 1, got 0"),
        ({"clamp": 0.0}, "clamp must be a finite number above 0"),
        ({"clamp": float("nan")}, "clamp must be a finite number above 0"),
        ({"clamp": float("inf")}, "clamp must be a finite number above 0"),
        ({"channels": 0}, "channels must be a whole number of at least 1, got 0"),
        ({"channels": 1}, "a coupling needs two channels or more, got 1"),
        ({"coupling": "spline"}, "coupling must be one of"),
    ],
)
def test_wrong_arguments_are_refused_before_the_flow_computes(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        flow_steps(**({"channels": 4, "steps": 1} | given))


def test_a_flow_of_no_given_width_has_half_the_channels() -> None:
    convolution = flow_steps(channels=6, steps=1).transforms[-1].subnet[0]
    assert convolution.out_channels == 3
