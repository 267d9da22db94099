"""The flow of `flows.flow_steps`, faster and in less memory: the values and gradients of `transforms`, to rounding.

The plain path, `flow(x)`, is the one to read. This one does the same work in another order, on a processor:

- channels last, so that a permutation is one gather and a 1x1 convolution one matrix product;
- the gradient of a whole step by hand, in few passes over memory;
- 3x3 convolutions by `winograd`, where they are wide enough for that to pay;
- backwards, a step's input is computed from its output, since the flow is invertible: the memory of a training step
  does not grow with the number of steps (`keep=False`), or is kept, which is faster (`keep=True`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastflow_lite.flows.fast import winograd
from fastflow_lite.flows.transforms import ActNorm, AffineCoupling, Permute, Sequential

WIDE = 64  # channels of the input from which on Winograd's convolution was faster than a direct one
WEIGHTS = 6  # tensors a step learns: log_scale, shift, and two convolutions' weight and bias


@dataclass(frozen=True)
class Plan:
    """One step without its weights: where channels go, and what the sub-net is."""

    order: Tensor
    back: Tensor
    half: int  # channels of half a
    clamp: float
    kernel: int


def plans(flow: nn.Module) -> list[Plan] | None:
    """The steps of `flow`, or None where something is in it that only the plain path knows."""
    found = []
    if type(flow) is not Sequential or len(flow.transforms) % 3:
        return None
    modules: list[Any] = list(flow.transforms)  # their types are what is asked for here
    for norm, permute, coupling in zip(modules[::3], modules[1::3], modules[2::3], strict=True):
        kinds = (type(norm), type(permute), type(coupling))
        if kinds != (ActNorm, Permute, AffineCoupling) or not _is_subnet(coupling.subnet):
            return None
        kernel = coupling.subnet[0].kernel_size[0]
        found.append(Plan(permute.order, permute.back, coupling.halves[0], coupling.clamp, kernel))
    return found


def _is_subnet(subnet: Any) -> bool:
    if not isinstance(subnet, nn.Sequential) or [type(m) for m in subnet] != [nn.Conv2d, nn.ReLU, nn.Conv2d]:
        return False
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in subnet.modules())
    sizes = {subnet[0].kernel_size, subnet[2].kernel_size}
    return sizes in ({(1, 1)}, {(3, 3)}) and all(_is_plain(subnet[k]) for k in (0, 2)) and not hooked


def _is_plain(conv: Any) -> bool:
    """Whether a convolution is the one that `_convolve` makes: zeros around it, and a bias."""
    around = tuple(side // 2 for side in conv.kernel_size)
    ones = conv.stride == conv.dilation == (1, 1) and conv.groups == 1
    return ones and conv.padding == around and conv.padding_mode == "zeros" and conv.bias is not None


def prepare(flow: nn.Module) -> list[tuple[Tensor, ...]] | None:
    """What `run` needs of the flow's weights, with Winograd's transformation done: for many calls without gradients.

    It is a copy: prepare anew when the weights change. None for a flow that only the plain path knows.
    """
    steps, device = plans(flow), next(flow.parameters()).device
    if not steps or device.type != "cpu":
        return None
    with torch.no_grad():
        return [
            tuple(
                winograd.transform_weight(w) if w.dim() == 4 and _is_wide(plan.kernel, w) else w.detach() for w in step
            )
            for plan, step in zip(steps, _weights(flow), strict=True)
        ]


def run(
    flow: nn.Module, x: Tensor, keep: bool = True, prepared: list[tuple[Tensor, ...]] | None = None
) -> tuple[Tensor, Tensor]:
    """`flow(x)`: `(B, C, H, W)` to z of that shape and log_det `(B, H, W)`; the plain way where this one cannot.

    That is on a GPU, in half precision, for other transforms, and for the first batch, which sets ActNorm. `prepared`
    is what `prepare` made of the flow; with it there are no gradients.
    """
    steps = (
        plans(flow) if x.device.type == "cpu" and x.dim() == 4 and x.dtype in (torch.float32, torch.float64) else None
    )
    if not steps or (flow.training and not all(bool(norm.started) for norm in _modules(flow)[::3])):
        return flow(x)
    if prepared:
        with torch.no_grad():
            return _through(x, steps, prepared)
    return _Stack.apply(x, steps, keep, *(weight for step in _weights(flow) for weight in step))  # type: ignore[no-untyped-call]


def _modules(flow: Any) -> list[Any]:
    """The transforms of a flow that has `plans`."""
    return list(flow.transforms)


def _weights(flow: nn.Module) -> list[tuple[Tensor, ...]]:
    """What each step learns: log_scale, shift, and two convolutions' weight and bias."""
    modules = _modules(flow)
    found: list[tuple[Tensor, ...]] = []
    for norm, coupling in zip(modules[::3], modules[2::3], strict=True):
        first, last = coupling.subnet[0], coupling.subnet[2]
        found.append((norm.log_scale, norm.shift, first.weight, first.bias, last.weight, last.bias))
    return found


def _through(x: Tensor, steps: list[Plan], weights: list[tuple[Tensor, ...]]) -> tuple[Tensor, Tensor]:
    """z and log_det, nothing kept on the way."""
    x = x.permute(0, 2, 3, 1).contiguous()
    log_det = x.new_zeros(x.shape[:3])
    for plan, step in zip(steps, weights, strict=True):
        x = _forward(x, plan, step, log_det)["z"]
    return x.permute(0, 3, 1, 2), log_det


class _Stack(torch.autograd.Function):
    """All steps of one flow at once. Maps inside are `(B, H, W, C)`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, steps: list[Plan], keep: bool, *weights: Tensor) -> tuple[Tensor, Tensor]:
        x = x.permute(0, 2, 3, 1).contiguous()
        needs = any(ctx.needs_input_grad)
        log_det, kept = x.new_zeros(x.shape[:3]), []
        for k, plan in enumerate(steps):
            state = _forward(x, plan, weights[WEIGHTS * k : WEIGHTS * (k + 1)], log_det)
            x = state.pop("z")
            kept.append(state if needs and keep else None)
        ctx.steps, ctx.kept, ctx.weights = steps, kept, weights
        if needs and not keep:
            ctx.z = x
        return x.permute(0, 3, 1, 2), log_det

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g_z: Tensor, g_log_det: Tensor) -> tuple[Any, ...]:
        g = g_z.permute(0, 2, 3, 1).contiguous()
        g_weights: list[Tensor] = []
        z: Any = getattr(ctx, "z", None)
        for k in reversed(range(len(ctx.steps))):
            plan, weights = ctx.steps[k], ctx.weights[WEIGHTS * k : WEIGHTS * (k + 1)]
            state = ctx.kept[k] or _undo(z, plan, weights)
            ctx.kept[k] = None  # as soon as it is used: the rest of the way needs the room
            z = state.pop("x", None)
            g, g_step = _backward(g, g_log_det, state, plan, weights)
            g_weights = g_step + g_weights
        ctx.z = None
        return g.permute(0, 3, 1, 2), None, None, *g_weights


State = dict[str, Tensor]


def _forward(x: Tensor, plan: Plan, weights: tuple[Tensor, ...], log_det: Tensor) -> State:
    """One step; what its gradient needs, and its result `z`. Adds to `log_det`."""
    log_scale, shift = weights[:2]
    scale, shift = log_scale.exp()[plan.order], shift[plan.order]
    a, b = (
        torch.addcmul(shift[half], _gather(x, plan.order[half]), scale[half])
        for half in (slice(plan.half), slice(plan.half, None))
    )
    hidden, s, t = _subnet(a, plan, weights)
    log_det += s.sum(dim=-1)
    log_det += log_scale.sum()
    scaled = b.mul_(s.exp())  # b * exp(s) is all that the gradient needs of b
    # Into its place at once: joining the halves afterwards would be one more pass.
    z = torch.empty_like(x)
    z[..., : plan.half] = a
    torch.add(scaled, t, out=z[..., plan.half :])
    return {"a": a, "hidden": hidden, "s": s, "scaled": scaled, "z": z}


def _undo(z: Tensor, plan: Plan, weights: tuple[Tensor, ...]) -> State:
    """What `_forward` kept, and its input `x`, from its result: the inverse of the step."""
    log_scale, shift = weights[:2]
    a = z[..., : plan.half].contiguous()
    hidden, s, t = _subnet(a, plan, weights)
    scaled = z[..., plan.half :] - t
    y = torch.cat([a, scaled * (-s).exp()], dim=-1)
    x = _gather((y - shift[plan.order]) * (-log_scale).exp()[plan.order], plan.back)
    return {"a": a, "hidden": hidden, "s": s, "scaled": scaled, "x": x}


def _subnet(a: Tensor, plan: Plan, weights: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """What the sub-net says about half a: its hidden layer, the log-scale s after the clamp, the shift t."""
    w1, b1, w2, b2 = weights[2:]
    (hidden,) = _convolve(a, [w1], [b1], plan.kernel)
    raw, t = _convolve(hidden.relu_(), _halves(w2), b2.chunk(2), plan.kernel)
    # clamp * tanh(raw / clamp), by tanh(u) = 2 sigmoid(2 u) - 1: torch's sigmoid is three times faster than its tanh.
    low, width = raw.new_tensor(-plan.clamp), raw.new_tensor(2 * plan.clamp)
    s = torch.addcmul(low, raw.mul_(2 / plan.clamp).sigmoid_(), width, out=raw)
    return hidden, s, t


def _backward(
    g: Tensor, g_log_det: Tensor, state: State, plan: Plan, weights: tuple[Tensor, ...]
) -> tuple[Tensor, list[Tensor]]:
    """The gradient of a step's input, and of its six weights, from that of its result."""
    log_scale, shift, w1, _, w2, _ = weights
    s, scaled, hidden = state["s"], state["scaled"], state["hidden"]
    g_a, g_t = g[..., : plan.half], g[..., plan.half :].contiguous()
    g_s = torch.addcmul(g_log_det.unsqueeze(-1), g_t, scaled)
    sums_b = _per_channel(g_s)
    g_raw = g_s.mul_(torch.addcmul(torch.ones((), dtype=s.dtype), s, s, value=-1 / plan.clamp**2))
    g_hidden, g_w2 = _gradients([g_raw, g_t], hidden, w2.chunk(2), plan.kernel)
    torch.ops.aten.threshold_backward.grad_input(g_hidden, hidden, 0, grad_input=g_hidden)  # of ReLU
    g_first, g_w1 = _gradients([g_hidden], state["a"], [w1], plan.kernel)
    g_y = torch.empty_like(g)
    torch.add(g_first, g_a, out=g_y[..., : plan.half])
    torch.mul(g_t, s.exp(), out=g_y[..., plan.half :])
    # y = x * exp(log_scale) + shift, so d y / d log_scale = y - shift, and log_det has log_scale at every place. Half b
    # of y is scaled / exp(s), and half b of g_y is g_t * exp(s): their product has no exp(s), and with log_det is g_s.
    sums_a = _per_channel(g_y[..., : plan.half] * state["a"]) + g_log_det.sum()
    g_shift = _per_channel(g_y)
    g_log_scale = (torch.cat([sums_a, sums_b]) - g_shift * shift[plan.order])[plan.back]
    g_x = _gather(g_y.mul_(log_scale.exp()[plan.order]), plan.back)
    g_b2 = torch.cat([_per_channel(g_raw), _per_channel(g_t)])
    return g_x, [g_log_scale, g_shift[plan.back], g_w1[0], _per_channel(g_hidden), torch.cat(g_w2), g_b2]


def _convolve(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], kernel: int) -> list[Tensor]:
    """`x` `(B, H, W, C)` with each of `weights` `(C_out, C, kernel, kernel)` and its bias, zeros around."""
    if kernel == 1:
        return [F.linear(x, weight.flatten(1), bias) for weight, bias in zip(weights, biases, strict=True)]
    if _is_wide(kernel, weights[0]):
        results = winograd.convolve(x, [w if w.dim() == 3 else winograd.transform_weight(w) for w in weights])
        return [result.add_(bias) for result, bias in zip(results, biases, strict=True)]
    x, pad = x.permute(0, 3, 1, 2), kernel // 2
    return [_last(F.conv2d(x, weight, bias, padding=pad)) for weight, bias in zip(weights, biases, strict=True)]


def _gradients(gs: Sequence[Tensor], x: Tensor, weights: Sequence[Tensor], kernel: int) -> tuple[Tensor, list[Tensor]]:
    """Of `x` and of each weight, from the gradients of what `_convolve` returned."""
    if kernel == 1:
        g_x = gs[0].flatten(0, 2) @ weights[0].flatten(1)
        for g, weight in zip(gs[1:], weights[1:], strict=True):
            g_x.addmm_(g.flatten(0, 2), weight.flatten(1))
        # An image at a time, each on one thread: quicker than all rows in one product.
        g_weights = [torch.bmm(g.flatten(1, 2).transpose(1, 2), x.flatten(1, 2)).sum(dim=0) for g in gs]
        return g_x.view_as(x), [g.view_as(weight) for g, weight in zip(g_weights, weights, strict=True)]
    if _is_wide(kernel, weights[0]):
        g_x, g_weights = winograd.gradients(gs, x, [winograd.transform_weight(weight) for weight in weights])
        return g_x, [winograd.weight_gradient(g) for g in g_weights]
    both = torch.cat(list(gs), dim=-1) if len(gs) > 1 else gs[0]
    weight = torch.cat(list(weights)) if len(weights) > 1 else weights[0]
    pad, one = [kernel // 2] * 2, [1, 1]
    g_x, g_weight, _ = torch.ops.aten.convolution_backward(
        both.permute(0, 3, 1, 2),
        x.permute(0, 3, 1, 2),
        weight,
        None,
        one,
        pad,
        one,
        False,
        [0, 0],
        1,
        [True, True, False],
    )
    return _last(g_x), list(g_weight.chunk(len(gs)))


def _is_wide(kernel: int, weight: Tensor) -> bool:
    """Whether Winograd's convolution pays: its weight is `(C_out, C_in, 3, 3)`, or transformed `(36, C_out, C_in)`."""
    return weight.dim() == 3 or (kernel == 3 and weight.shape[1] >= WIDE and weight.dtype == torch.float32)


def _halves(weight: Tensor) -> tuple[Tensor, ...]:
    """The outputs that become s, and those that become t."""
    return weight.chunk(2, dim=1 if weight.dim() == 3 else 0)


def _gather(x: Tensor, channels: Tensor) -> Tensor:
    """`x[..., channels]`, which indexing does five times slower."""
    return x.gather(-1, channels.expand(*x.shape[:-1], -1))


def _last(x: Tensor) -> Tensor:
    """`(B, C, H, W)` as `(B, H, W, C)`."""
    return x.permute(0, 2, 3, 1).contiguous()


def _per_channel(x: Tensor) -> Tensor:
    return x.flatten(0, 2).sum(dim=0)
