"""A whole flow as one autograd function.

It does the work of `flow(x)` in another order:

- channels last, so that a permutation is one gather and a 1x1 convolution is one matrix product;
- the gradient of a whole step by hand, in few passes over memory;
- 3x3 convolutions by Winograd's method where it is faster;
- in the backward pass each step's input is computed from its output, since the flow is invertible: the memory of a
  training step does not grow with the number of steps. Or the activations are kept, which is faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fastflow_lite.flows.fast.convolutions import precompute_weight, to_channels_last
from fastflow_lite.flows.fast.elementwise import Elementwise, elementwise
from fastflow_lite.flows.fast.layout import StepLayout, StepWeights, fusible_steps, is_initialized, step_weights
from fastflow_lite.flows.fast.step import Activations, backward_step, forward_step, invert_step
from fastflow_lite.flows.precision import product_dtype, products_in


def apply_flow(
    flow: nn.Module,
    x: Tensor,
    keep_activations: bool = True,
    precomputed: list[StepWeights] | None = None,
    precision: str = "float32",
    compiled: bool = False,
) -> tuple[Tensor, Tensor]:
    """Compute `flow(x)`: z `(B, C, H, W)` and log_det `(B, H, W)` from `x` `(B, C, H, W)`.

    Falls back to `flow(x)` for maps in half precision, for unsupported modules, and in training mode until a batch has
    set ActNorm.

    Args:
        flow: any flow; those of `flow_steps` are supported.
        x: feature maps.
        keep_activations: whether to keep the activations for the backward pass, or to compute them again.
        precomputed: the result of `precompute_weights(flow)`. No gradients are computed with it.
        precision: "bf16" computes the convolutions in bfloat16. All else stays in the type of `x`.
        compiled: whether what lies between the convolutions goes through `torch.compile`.
    """
    layouts = fusible_steps(flow) if _is_supported_input(x) else None
    if not layouts or (flow.training and not is_initialized(flow)):
        with products_in(precision, x.device):
            return flow(x)
    plan = Plan(layouts, elementwise(x.device, compiled), product_dtype(precision), keep_activations)
    if precomputed or not torch.is_grad_enabled():
        with torch.no_grad():
            z, log_det, _ = _forward(x, plan, precomputed or plan.convert(step_weights(flow)), keep_activations=False)
        return z.permute(0, 3, 1, 2), log_det
    tensors = [tensor for step in step_weights(flow) for tensor in step]
    return _FlowFunction.apply(x, plan, *tensors)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Plan:
    """How one call computes a flow: its steps, the functions and the type of the products."""

    layouts: list[StepLayout]
    ops: Elementwise
    product_dtype: torch.dtype | None
    keep_activations: bool

    def convert(self, weights: list[StepWeights]) -> list[StepWeights]:
        """Return the weights with those of the products in their type."""
        return [step.of_products(self.product_dtype) for step in weights]


def precompute_weights(flow: nn.Module, precision: str = "float32") -> list[StepWeights] | None:
    """Precompute everything that depends on the weights alone, for repeated inference.

    The result does not follow later changes of the weights. None if the fast path does not support the flow.
    """
    if not fusible_steps(flow):
        return None
    dtype = product_dtype(precision)
    with torch.no_grad():
        weights = [step.of_products(dtype) for step in step_weights(flow)]
        return [StepWeights(*(precompute_weight(tensor.detach().clone()) for tensor in step)) for step in weights]


def _is_supported_input(x: Tensor) -> bool:
    return x.dim() == 4 and x.dtype in (torch.float32, torch.float64)


def _forward(
    x: Tensor, plan: Plan, weights: list[StepWeights], keep_activations: bool
) -> tuple[Tensor, Tensor, list[Activations]]:
    """Return z `(B, H, W, C)`, log_det, and the activations of every step, or an empty list."""
    x = to_channels_last(x)
    log_det, kept = x.new_zeros(x.shape[:3]), []
    for layout, step in zip(plan.layouts, weights, strict=True):
        x, activations = forward_step(x, layout, step, log_det, plan.ops)
        if keep_activations:
            kept.append(activations)
        del activations  # frees their memory before the next step, if they are not kept
    return x, log_det, kept


class _FlowFunction(torch.autograd.Function):
    """All steps of one flow. `tensors` are the fields of every step's `StepWeights`, in order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, plan: Plan, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        keep_activations = plan.keep_activations and any(ctx.needs_input_grad)
        z, log_det, ctx.kept = _forward(x, plan, plan.convert(_by_step(tensors)), keep_activations)
        ctx.plan = plan
        ctx.save_for_backward(z, *tensors)  # an in-place change of a weight before `backward` raises an error
        return z.permute(0, 3, 1, 2), log_det

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_z: Tensor, g_log_det: Tensor) -> tuple[Any, ...]:
        z, *tensors = ctx.saved_tensors
        plan: Plan = ctx.plan
        weights = plan.convert(_by_step(tensors))
        g = to_channels_last(g_z)
        g_weights: list[Tensor] = []
        for k in reversed(range(len(plan.layouts))):
            if ctx.kept:
                # Not among the saved tensors, which live until the end: here each step's memory is freed for the next.
                activations = ctx.kept.pop()
            else:  # not kept, or used by a first backward pass with `retain_graph`
                z, activations = invert_step(z, plan.layouts[k], weights[k])
            g, g_step = backward_step(g, g_log_det, activations, plan.layouts[k], weights[k], plan.ops)
            g_weights = [*(g.to(g_z.dtype) for g in g_step), *g_weights]
        return g.permute(0, 3, 1, 2), None, *g_weights


def _by_step(tensors: Sequence[Tensor]) -> list[StepWeights]:
    """Group the tensors of all steps by step."""
    size = len(StepWeights._fields)
    return [StepWeights(*tensors[start : start + size]) for start in range(0, len(tensors), size)]
