"""Which flows the fast path supports: their steps, as tensors and numbers without modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from fastflow_lite.flows.conditional import ConditionalFlow
from fastflow_lite.flows.positions import StandardizePositions
from fastflow_lite.flows.steps import ConvSubNet
from fastflow_lite.flows.transforms import ActNorm, AffineCoupling, Permute, Sequential


@dataclass(frozen=True)
class StepLayout:
    """One step (ActNorm, permutation, affine coupling) without its weights."""

    order: Tensor
    inverse_order: Tensor
    a: slice  # channels of half a, after the permutation
    b: slice  # channels of half b
    clamp: float


class StepWeights(NamedTuple):
    """The weights of one step, or their gradients."""

    log_scale: Tensor  # (C,)
    shift: Tensor  # (C,)
    weight1: Tensor  # (hidden, C_a, k, k), or as `convolutions.precompute_weight` returns it
    bias1: Tensor
    weight2: Tensor  # (2 C_b, hidden, k, k), likewise
    bias2: Tensor

    def of_products(self, dtype: torch.dtype | None) -> StepWeights:
        """Return the same with the weights of the convolutions as `dtype`; None leaves their type."""
        if dtype is None:
            return self
        return self._replace(**{name: getattr(self, name).to(dtype) for name in self._fields[2:]})


def fusible_steps(flow: nn.Module) -> list[StepLayout] | None:
    """Return the layout of every step of `flow`; None if any step is unsupported.

    Supported is what `flow_steps` builds with affine couplings, permutations, and 1x1 or 3x3 kernels, with or without
    `StandardizePositions` in front, and a `ConditionalFlow` of it. A flow with hooks is not supported: the fast path
    does not call its modules.
    """
    inner: Any = unconditional(flow)
    if (
        type(inner) is not Sequential
        or not len(inner.transforms)
        or _has_any_global_hook()
        or any(map(_has_hooks, flow.modules()))
    ):
        return None
    modules: Any = steps_of(inner)
    kinds = [type(module) for module in modules]
    if not kinds or kinds != [ActNorm, Permute, AffineCoupling] * (len(kinds) // 3):
        return None
    layouts = []
    for permute, coupling in zip(modules[1::3], modules[2::3], strict=True):
        if not _is_supported_subnet(coupling.subnet):
            return None
        half = coupling.halves[0]
        layouts.append(StepLayout(permute.order, permute.back, slice(half), slice(half, None), coupling.clamp))
    return layouts


def unconditional(flow: nn.Module) -> nn.Module:
    """Return the flow of a `ConditionalFlow`, or the flow itself."""
    return flow.flow if type(flow) is ConditionalFlow else flow


def condition_weight(flow: nn.Module) -> Tensor | None:
    """Return the weight of the 1x1 convolution of a `ConditionalFlow`; None for another flow."""
    return flow.condition.weight if type(flow) is ConditionalFlow else None


def positions_of(flow: Any) -> StandardizePositions | None:
    """Return the `StandardizePositions` in front of the steps of a flow, or None."""
    first = flow.transforms[0]
    return first if type(first) is StandardizePositions else None


def steps_of(flow: Any) -> list[Any]:
    """Return the transforms of all steps, without the `StandardizePositions` in front of them."""
    first, *others = flow.transforms
    return others if type(first) is StandardizePositions else [first, *others]


def step_weights(flow: Any) -> list[StepWeights]:
    """Return the weights of every step of a supported flow."""
    weights = []
    for norm, coupling in zip(steps_of(flow)[::3], steps_of(flow)[2::3], strict=True):
        first, _, last = coupling.subnet
        weights.append(StepWeights(norm.log_scale, norm.shift, first.weight, first.bias, last.weight, last.bias))
    return weights


_initialized: WeakKeyDictionary[nn.Module, list[tuple[Tensor, int]]] = WeakKeyDictionary()  # flags read as True


def is_initialized(flow: Any) -> bool:
    """Return whether a batch has set every ActNorm of a supported flow."""
    flags = [norm.started for norm in steps_of(flow)[::3]]
    # Reading a flag waits for a GPU, so it is read again only after a change.
    known = _initialized.get(flow, [])
    if [id(flag) for flag in flags] != [id(flag) for flag, _ in known] or any(f._version != v for f, v in known):
        if not all(bool(flag) for flag in flags):
            return False
        _initialized[flow] = [(flag, flag._version) for flag in flags]
    return True


HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def _has_hooks(module: nn.Module) -> bool:
    """Return whether a call of `module` runs other code than the `forward` of its class."""
    attributes = vars(module)
    return "forward" in attributes or any(attributes[name] for name in HOOKS)


def _is_supported_subnet(subnet: Any) -> bool:
    """Return whether `subnet` is conv k, ReLU, conv k with k = 1 or k = 3, as `conv_subnet` builds it."""
    if type(subnet) is not ConvSubNet or [type(module) for module in subnet] != [nn.Conv2d, nn.ReLU, nn.Conv2d]:
        return False
    first, _, last = subnet
    kernels = {first.kernel_size, last.kernel_size}
    return kernels in ({(1, 1)}, {(3, 3)}) and _is_default_convolution(first) and _is_default_convolution(last)


def _is_default_convolution(conv: Any) -> bool:
    """Return whether a convolution has a bias, zero padding that keeps the size, stride, dilation and groups 1."""
    padding = tuple(side // 2 for side in conv.kernel_size)
    ones = conv.stride == conv.dilation == (1, 1) and conv.groups == 1
    return ones and conv.padding == padding and conv.padding_mode == "zeros" and conv.bias is not None
