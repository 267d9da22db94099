"""One step on channels-last maps: values and gradients against those of its three transforms."""

import torch
from flows.registry import build
from tolerances import assert_same

from fastflow_lite.flows import Sequential
from fastflow_lite.flows.fast.layout import fusible_steps, step_weights
from fastflow_lite.flows.fast.step import backward_step, forward_step


def test_a_step_and_its_gradients_equal_those_of_the_transforms(device: torch.device, dtype: torch.dtype) -> None:
    flow = build("fast path").flow.to(device, dtype)
    x = torch.randn(2, 3, 2, 5, dtype=torch.float64).to(device, dtype)
    for k, (layout, weights) in enumerate(zip(fusible_steps(flow), step_weights(flow), strict=True)):
        maps = x.permute(0, 3, 1, 2).requires_grad_()
        wanted = Sequential(*flow.transforms[3 * k : 3 * k + 3])(maps)
        g_z, g_log_det = (torch.arange(y.numel(), dtype=y.dtype, device=device).view_as(y).sin() for y in wanted)
        slopes = torch.autograd.grad(wanted, [maps, *weights], (g_z, g_log_det))
        with torch.no_grad():
            log_det = x.new_zeros(2, 3, 2)
            z, activations = forward_step(x, layout, weights, log_det)
            g_x, g_weights = backward_step(
                g_z.permute(0, 2, 3, 1).contiguous(), g_log_det, activations, layout, weights
            )
        found = [z.permute(0, 3, 1, 2), log_det, g_x.permute(0, 3, 1, 2), *g_weights]
        for one, other in zip([*wanted, *slopes], found, strict=True):
            assert_same(other, one)
