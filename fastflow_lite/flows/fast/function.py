"""A whole flow as one autograd function.

It does the work of `flow(x)` in another order:

- channels last, so that a permutation is one gather and a 1x1 convolution is one matrix product;
- the gradient of a whole step by hand, in few passes over memory;
- 3x3 convolutions by Winograd's method where it is faster;
- the activations are kept for the backward pass; or only those of the last few steps, and the input of every few steps,
  from which the others are computed again (gradient checkpointing, arXiv 1604.06174, section 4.1): the memory of a
  training step then grows with the square root of the number of steps. Nothing is computed by the inverse, whose
  rounding errors grow with the number of steps, so the gradients are the same for every input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd import forward_ad
from torch.func import functional_call

from fastflow_lite.flows.fast.condition import coarse_conditions, upsampled
from fastflow_lite.flows.fast.convolutions import precompute_weight, to_channels_last
from fastflow_lite.flows.fast.elementwise import Elementwise, elementwise
from fastflow_lite.flows.fast.layout import (
    StepLayout,
    StepWeights,
    condition_weight,
    fusible_steps,
    is_initialized,
    positions_of,
    step_weights,
    steps_of,
    unconditional,
)
from fastflow_lite.flows.fast.step import Activations, backward_step, forward_step
from fastflow_lite.flows.precision import autocast_dtype, product_dtype, products_as, products_in
from fastflow_lite.flows.transforms import Sequential


def apply_flow(
    flow: nn.Module,
    x: Tensor,
    coarser: Tensor | None = None,
    *,
    keep_activations: bool = True,
    precomputed: Precomputed | None = None,
    precision: str = "float32",
    compiled: bool = False,
) -> tuple[Tensor, Tensor]:
    """Compute `flow(x)`: z `(B, C, H, W)` and log_det `(B, H, W)` from `x` `(B, C, H, W)`.

    Of a `ConditionalFlow` it computes `flow(x, coarser)`. Falls back to the modules of the flow for maps in half
    precision, for an empty batch, for unsupported modules and modules with hooks, in training mode until a batch has
    set ActNorm, and where `torch.compile` or `torch.func` follow the operations.

    Args:
        flow: any flow; those of `flow_steps` are supported.
        x: feature maps.
        coarser: feature maps of the next coarser scale, for a `ConditionalFlow`.
        keep_activations: whether to keep all activations for the backward pass, or to compute most of them again.
        precomputed: the result of `precompute_weights(flow)`. No gradients are computed with it.
        precision: "bf16" computes the convolutions in bfloat16. All else stays in the type of `x`. With "float32" the
            type is that of `torch.autocast` where the caller has switched it on.
        compiled: whether what lies between the convolutions goes through `torch.compile`.
    """
    weight = precomputed.condition if precomputed else condition_weight(flow)
    is_complete = (weight is None) == (coarser is None)  # else the flow's own call raises the error
    layouts = fusible_steps(flow) if is_complete and _is_supported_call(x) else None
    steps = unconditional(flow)
    if not layouts or (flow.training and not is_initialized(steps)):
        with products_in(precision, x.device):
            return flow(x) if coarser is None else flow(x, coarser)
    products = product_dtype(precision)
    if products is None and x.dtype == torch.float32:
        products = autocast_dtype(x.device)
    plan = Plan(layouts, elementwise(x.device, compiled), products, keep_activations)
    condition = None
    if coarser is not None and weight is not None:
        with products_as(None, x.device):
            condition = coarse_conditions(coarser, weight, products)
    positions = positions_of(steps)
    if positions is not None:
        x, constant = positions(x)
        z, log_det = _apply_steps(x, condition, steps, plan, precomputed)
        return z, log_det + constant
    return _apply_steps(x, condition, steps, plan, precomputed)


def _apply_steps(
    x: Tensor, condition: Tensor | None, flow: nn.Module, plan: Plan, precomputed: Precomputed | None
) -> tuple[Tensor, Tensor]:
    """Apply all steps of a supported flow to the input of the first one."""
    weights = step_weights(flow)
    inputs = [x, condition, *(tensor for step in weights for tensor in step)]
    needs_gradients = any(tensor is not None and tensor.requires_grad for tensor in inputs)
    if not precomputed and torch.is_grad_enabled() and needs_gradients:
        return _FlowFunction.apply(flow, plan, *inputs)  # type: ignore[no-untyped-call]
    with torch.no_grad(), products_as(None, x.device):
        log_det = _no_log_det(x)
        weights = precomputed.steps if precomputed else plan.convert(weights)
        z, _ = _run_steps(x, condition, log_det, range(len(weights)), plan, weights, keep_activations=False)
    return z, log_det


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

    def segments(self) -> list[range]:
        """Return the parts of the flow whose activations are in memory at the same time, as numbers of steps."""
        count = len(self.layouts)
        length = count if self.keep_activations else math.isqrt(count)
        return [range(start, min(start + length, count)) for start in range(0, count, length)]


class Precomputed(NamedTuple):
    """The weights of a flow as repeated inference needs them."""

    steps: list[StepWeights]
    condition: Tensor | None  # the weight of `ConditionalFlow.condition`


def precompute_weights(flow: nn.Module, precision: str = "float32") -> Precomputed | None:
    """Precompute everything that depends on the weights alone, for repeated inference.

    The result does not follow later changes of the weights. None if the fast path does not support the flow.
    """
    if not fusible_steps(flow):
        return None
    dtype = product_dtype(precision)
    with torch.no_grad(), products_as(None, next(flow.parameters()).device):
        weights = [step.of_products(dtype) for step in step_weights(unconditional(flow))]
        steps = [StepWeights(*(precompute_weight(tensor.detach().clone()) for tensor in step)) for step in weights]
    weight = condition_weight(flow)
    return Precomputed(steps, None if weight is None else weight.detach().clone())


def _is_supported_call(x: Tensor) -> bool:
    follows = torch.compiler.is_compiling() or torch._C._is_tracing() or _is_transformed()
    return not follows and x.dim() == 4 and x.numel() > 0 and x.dtype in (torch.float32, torch.float64)


def _is_transformed() -> bool:
    """Return whether `torch.func` or forward-mode differentiation is at work, which have rules of their own."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def _no_log_det(x: Tensor) -> Tensor:
    return x.new_zeros(x.shape[0], *x.shape[2:])


def _run_steps(
    x: Tensor,
    condition: Tensor | None,
    log_det: Tensor,
    steps: range,
    plan: Plan,
    weights: list[StepWeights],
    keep_activations: bool,
) -> tuple[Tensor, list[Activations]]:
    """Apply some of the steps to `x` `(B, C, H, W)`, and add to `log_det` in place.

    `condition` is what `coarse_conditions` returned, for all steps of the flow.

    Returns the result in the shape of `x`, channels last in memory, and the activations of each step or an empty list.
    """
    x, kept, conditions = to_channels_last(x), [], _of_steps(condition, weights)
    for k in steps:
        x, activations = forward_step(x, plan.layouts[k], weights[k], log_det, plan.ops, conditions[k])
        if keep_activations:
            kept.append(activations)
        del activations  # frees their memory before the next step, if they are not kept
    return x.permute(0, 3, 1, 2), kept


def _of_steps(condition: Tensor | None, weights: list[StepWeights]) -> Sequence[Tensor | None]:
    """Return the part of each step of a map of the conditions of all steps, or of its gradient."""
    if condition is None:
        return [None] * len(weights)
    return condition.split([step.bias1.numel() for step in weights], dim=-1)


class _FlowFunction(torch.autograd.Function):
    """All steps of one flow. `tensors` are the fields of every step's `StepWeights`, in order."""

    @staticmethod
    def forward(
        ctx: Any, flow: nn.Module, plan: Plan, x: Tensor, condition: Tensor | None, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        log_det, weights, segments = _no_log_det(x), plan.convert(_by_step(tensors)), plan.segments()
        z, inputs = x, []
        with products_as(None, x.device):
            for segment in segments:
                inputs.append(z)
                z, ctx.kept = _run_steps(z, condition, log_det, segment, plan, weights, segment is segments[-1])
        ctx.flow, ctx.plan = flow, plan
        # A tensor that is changed in place before the backward pass raises torch's error there: also the permutations.
        orders = (order for layout in plan.layouts for order in (layout.order, layout.inverse_order))
        ctx.save_for_backward(condition, *inputs, *tensors, *orders)
        return z, log_det

    @staticmethod
    def backward(ctx: Any, g_z: Tensor, g_log_det: Tensor) -> tuple[Any, ...]:
        plan: Plan = ctx.plan
        segments = plan.segments()
        count = len(segments) + len(plan.layouts) * len(StepWeights._fields)
        condition, *saved = ctx.saved_tensors[: count + 1]
        inputs, tensors = saved[: len(segments)], saved[len(segments) :]
        if torch.is_grad_enabled() or _is_transformed() or any(map(is_legacy_batchedtensor, (g_z, g_log_det))):
            return _differentiable_gradients(ctx, inputs[0], condition, tensors, (g_z, g_log_det))
        # Taken from `ctx`, so that each step's memory is freed for the next, and a second backward pass with
        # `retain_graph`, in this or another thread, computes its own.
        kept: list[Activations] = vars(ctx).pop("kept", [])
        weights = plan.convert(_by_step(tensors))
        g = to_channels_last(g_z)
        g_condition = torch.empty_like(condition) if ctx.needs_input_grad[3] else None
        g_conditions = _of_steps(g_condition, weights)
        g_weights: list[Tensor] = []
        with products_as(None, g_z.device):
            for segment, x in zip(reversed(segments), reversed(inputs), strict=True):
                if not kept:
                    _, kept = _run_steps(x, condition, torch.zeros_like(g_log_det), segment, plan, weights, True)
                for k in reversed(segment):
                    step = (plan.layouts[k], weights[k], plan.ops, g_conditions[k])
                    g, g_step = backward_step(g, g_log_det, kept.pop(), *step)
                    g_weights = [*(g.to(g_z.dtype) for g in g_step), *g_weights]
        return None, None, g.permute(0, 3, 1, 2), g_condition, *g_weights


def _differentiable_gradients(
    ctx: Any, x: Tensor, condition: Tensor | None, tensors: Sequence[Tensor], gradients: tuple[Tensor, Tensor]
) -> tuple[Tensor | None, ...]:
    """Compute what `_FlowFunction.backward` returns by the modules, whose gradients can be differentiated again."""
    flow = Sequential(*steps_of(ctx.flow))
    names = [name for name, _ in flow.named_parameters(remove_duplicate=False)]  # in the order of `StepWeights`
    with torch.enable_grad(), products_as(ctx.plan.product_dtype, x.device):
        parts = () if condition is None else _of_steps(condition, _by_step(tensors))
        conditions = [upsampled(part, x.shape[-2:]).permute(0, 3, 1, 2) for part in parts if part is not None]
        outputs = functional_call(flow, dict(zip(names, tensors, strict=True)), (x, *conditions))
    needed = ctx.needs_input_grad[2:]
    inputs: Any = [tensor for tensor, is_needed in zip((x, condition, *tensors), needed, strict=True) if is_needed]
    found = iter(torch.autograd.grad(outputs, inputs, gradients, create_graph=torch.is_grad_enabled()))
    return None, None, *(next(found) if is_needed else None for is_needed in needed)


def _by_step(tensors: Sequence[Tensor]) -> list[StepWeights]:
    """Group the tensors of all steps by step."""
    size = len(StepWeights._fields)
    return [StepWeights(*tensors[start : start + size]) for start in range(0, len(tensors), size)]
