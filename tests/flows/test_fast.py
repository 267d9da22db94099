"""The fast path against the plain one: values, gradients, inverse direction, memory."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fastflow_lite import FastFlow
from fastflow_lite.flows import flow_steps
from fastflow_lite.flows.fast import fused, winograd
from fastflow_lite.flows.transforms import Sequential


def a_flow(channels: int, kernels: tuple[int, ...], dtype: torch.dtype, steps: int = 3) -> tuple[Sequential, Tensor]:
    """A flow that has left its start, and maps whose sides are no multiples of a tile."""
    torch.manual_seed(0)
    flow, x = (
        flow_steps(channels, steps, kernels, hidden=channels).to(dtype),
        torch.randn(2, channels, 6, 9, dtype=dtype),
    )
    flow.train()(x)
    with torch.no_grad():
        for parameter in flow.parameters():
            spread = 0.3 / parameter[0].numel() ** 0.5  # by what one output adds up
            parameter.add_(spread * torch.randn_like(parameter))
    return flow, x


def all_of(flow: Sequential, x: Tensor, z: Tensor, log_det: Tensor) -> list[Tensor]:
    """z, log_det, and the gradients of something that depends on each of their values in another way."""
    weigh = [torch.arange(y.numel(), dtype=y.dtype).view_as(y).sin() for y in (z, log_det)]
    loss = (z * weigh[0]).sum() + (log_det * weigh[1]).sum()
    return [z, log_det, *torch.autograd.grad(loss, [x, *flow.parameters()])]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("kernels", [(3, 1), (3,), (1,)])
@pytest.mark.parametrize("channels", [7, 8])
@pytest.mark.parametrize("wide", [1, 64])
def test_values_and_gradients_are_those_of_the_plain_path(
    monkeypatch: pytest.MonkeyPatch, keep: bool, kernels: tuple[int, ...], channels: int, wide: int
) -> None:
    if wide == 1:  # Winograd's convolution in float64, where rounding hides nothing
        monkeypatch.setattr(fused, "_is_wide", lambda kernel, weight: weight.dim() == 3 or kernel == 3)
    flow, x = a_flow(channels, kernels, torch.float64)
    x.requires_grad_()
    plain, fast = all_of(flow, x, *flow(x)), all_of(flow, x, *fused.run(flow, x, keep))
    for one, other in zip(plain, fast, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-9)
    assert not torch.equal(plain[0], fast[0])  # it was another path


OTHER = {"padding_mode": "reflect", "dilation": 2, "groups": 2, "bias": False}


@pytest.mark.parametrize("setting", OTHER)
def test_a_sub_net_of_other_convolutions_takes_the_plain_path(setting: str) -> None:
    flow, x = a_flow(8, (3,), torch.float64)
    around = 2 if setting == "dilation" else 1
    other = torch.nn.Conv2d(8, 8, 3, padding=around, dtype=x.dtype, **{setting: OTHER[setting]})
    flow.transforms[2].subnet[2] = other
    for one, other in zip(flow(x), fused.run(flow, x), strict=True):
        assert torch.equal(one, other)


def test_the_way_back_undoes_the_fast_path() -> None:
    flow, x = a_flow(128, (3, 1), torch.float32)
    with torch.no_grad():
        z, log_det = fused.run(flow.eval(), x)
        back, log_det_back = flow.inverse(z)
        torch.testing.assert_close(back, x, rtol=1e-4, atol=3e-4)
        torch.testing.assert_close(log_det_back, -log_det, rtol=1e-4, atol=3e-4)


def test_prepared_weights_give_the_same_and_are_taken_when_given() -> None:
    flow, x = a_flow(128, (3, 1), torch.float32)
    prepared = fused.prepare(flow.eval())
    with torch.no_grad():
        for ready, plain in zip(fused.run(flow, x, prepared=prepared), flow(x), strict=True):
            torch.testing.assert_close(ready, plain, rtol=1e-4, atol=3e-4)
        next(p for p in flow.parameters() if p.dim() == 4).mul_(2)
        assert not torch.allclose(fused.run(flow, x, prepared=prepared)[0], flow(x)[0], atol=1e-3)


def test_what_it_does_not_know_goes_the_plain_way() -> None:
    flow, x = a_flow(128, (3,), torch.float32)
    for other in (
        flow_steps(128, 2, (3,), coupling="additive"),
        flow_steps(128, 2, (3,), permute=False),
        flow_steps(128, 2, (5,)),
    ):
        assert fused.plans(other) is None and fused.prepare(other) is None
        assert torch.equal(fused.run(other.eval(), x)[0], other(x)[0])
    seen = []
    flow.transforms[2].subnet[0].register_forward_hook(lambda *_: seen.append(1))
    fused.run(flow, x)
    assert seen  # whoever listens to a convolution hears it
    fresh = flow_steps(128, 2, (3,)).train()
    fused.run(fresh, x)
    assert fresh.transforms[0].started  # the first batch sets ActNorm


def test_a_training_step_without_kept_activations_holds_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted by what the graph holds between forward and backward: nothing of it grows with the steps."""

    def held(steps: int, keep: bool) -> int:
        flow, x = a_flow(128, (3, 1), torch.float32, steps)
        z, _ = fused.run(flow, x, keep)
        kept = [state for state in z.grad_fn.kept if state] if hasattr(z.grad_fn, "kept") else []
        if not kept:
            kept = [state for node in _nodes(z.grad_fn) for state in getattr(node, "kept", []) if state]
        return sum(t.numel() for state in kept for t in state.values())

    assert held(6, keep=False) == 0
    assert held(6, keep=True) == 2 * held(3, keep=True) > 0


def _nodes(node: object) -> list[object]:
    """The graph behind `node`."""
    found = [node]
    for node in found:
        found += [before for before, _ in node.next_functions if before is not None]
    return found


def test_a_model_trains_alike_with_little_memory_and_predicts_alike_fused() -> None:
    images = torch.rand(2, 3, 64, 64)
    gradients = []
    for save_memory in (False, True):
        model = FastFlow("resnet18", "bundled", steps=4, save_memory=save_memory, seed=1).train()
        features = [x.clone() for x in model.features(images)]
        model.flow(features)
        sum(z.square().sum() - 2 * log_det.sum() for z, log_det in model.flow(features)).backward()
        gradients.append([p.grad for p in model.parameters() if p.requires_grad])
    largest = max(float(one.abs().max()) for one in gradients[0])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-5 * largest)
    plain = model.predict(images)
    ready = model.prepared_for_inference().predict(images)
    for one, other in zip(plain, ready, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (6, 9), (1, 3)])
def test_winograd_is_the_convolution(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "CHUNK", 1000)  # several parts
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, *size, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    weights = [torch.randn(c, 5, 3, 3, dtype=torch.float64, generator=generator, requires_grad=True) for c in (4, 2)]
    ys = [F.conv2d(x.permute(0, 3, 1, 2), w, padding=1).permute(0, 2, 3, 1) for w in weights]
    gs = [torch.randn(y.shape, dtype=torch.float64, generator=generator) for y in ys]
    torch.autograd.backward(ys, gs)
    with torch.no_grad():
        transformed = [winograd.transform_weight(w) for w in weights]
        for mine, theirs in zip(winograd.convolve(x, transformed), ys, strict=True):
            torch.testing.assert_close(mine, theirs)
        g_x, g_weights = winograd.gradients(gs, x, transformed)
    torch.testing.assert_close(g_x, x.grad)
    for g, w in zip(g_weights, weights, strict=True):
        torch.testing.assert_close(winograd.weight_gradient(g), w.grad)


def test_winograd_rounds_little() -> None:
    """As the docstring has it: a few times the error of a direct convolution in float32."""
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(1, 32, 32, 64, generator=generator), torch.randn(64, 64, 3, 3, generator=generator) / 24
    exact = F.conv2d(x.double().permute(0, 3, 1, 2), w.double(), padding=1).permute(0, 2, 3, 1)
    (mine,) = winograd.convolve(x, [winograd.transform_weight(w)])
    assert (mine - exact).abs().max() < 1e-4
    assert (mine - exact).square().mean().sqrt() < 1e-5
