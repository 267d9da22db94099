"""The inverse of one step on channels-last maps: it restores the input and the activations."""

import torch
from flows.registry import build
from tolerances import assert_same

from fastflow_lite.flows.fast.layout import fusible_steps, step_weights
from fastflow_lite.flows.fast.step import forward_step, invert_step


def test_invert_step_restores_input_and_activations(device: torch.device, dtype: torch.dtype) -> None:
    flow = build("fast path").flow.to(device, dtype)
    x = torch.randn(2, 3, 2, 5, dtype=torch.float64).to(device, dtype)
    with torch.no_grad():
        for layout, weights in zip(fusible_steps(flow), step_weights(flow), strict=True):
            log_det = x.new_zeros(2, 3, 2)
            z, activations = forward_step(x, layout, weights, log_det)
            restored, again = invert_step(z, layout, weights)
            assert_same(restored, x)
            for found, wanted in zip(again, activations, strict=True):
                assert_same(found, wanted)
            assert_same(log_det, activations.s.sum(dim=-1) + weights.log_scale.sum())
