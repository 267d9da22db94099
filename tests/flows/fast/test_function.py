"""The fast path against `flow(x)`: values, gradients, inverse direction, memory, autograd's rules."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from flows.registry import MakeFlow
from tolerances import assert_same
from torch import Tensor

from fastflow_lite import FastFlow
from fastflow_lite.flows import flow_steps
from fastflow_lite.flows.fast import apply_flow, convolutions, function, precompute_weights
from fastflow_lite.flows.transforms import Sequential


def all_of(flow: Sequential, x: Tensor, z: Tensor, log_det: Tensor) -> list[Tensor]:
    """Return z, log_det, and the gradients of a loss that weighs each of their values differently."""
    weigh = [torch.arange(y.numel(), dtype=y.dtype, device=y.device).view_as(y).sin() for y in (z, log_det)]
    loss = (z * weigh[0]).sum() + (log_det * weigh[1]).sum()
    return [z, log_det, *torch.autograd.grad(loss, [x, *flow.parameters()])]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("kernels", [(3, 1), (3,), (1,)])
@pytest.mark.parametrize("channels", [7, 8])
@pytest.mark.parametrize("by_winograd", [True, False])
def test_values_and_gradients_equal_those_of_the_flow(
    monkeypatch: pytest.MonkeyPatch,
    a_flow: MakeFlow,
    dtype: torch.dtype,
    keep: bool,
    kernels: tuple[int, ...],
    channels: int,
    by_winograd: bool,
) -> None:
    if by_winograd:  # in float64 rounding hides nothing
        monkeypatch.setattr(convolutions, "uses_winograd", lambda weight: weight.dim() == 3 or weight.shape[-1] == 3)
    flow, x = a_flow(channels, kernels, dtype)
    x.requires_grad_()
    plain, fast = all_of(flow, x, *flow(x)), all_of(flow, x, *apply_flow(flow, x, keep_activations=keep))
    for one, other in zip(plain, fast, strict=True):
        assert_same(other, one)
    assert not torch.equal(plain[0], fast[0])  # it was another path


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("kernels", [(3, 1), (3,), (1,)])
def test_products_in_bf16_are_near_and_all_else_is_float32(
    a_flow: MakeFlow, keep: bool, kernels: tuple[int, ...]
) -> None:
    flow, x = a_flow(64, kernels, torch.float32)
    x.requires_grad_()
    plain, fast = (
        all_of(flow, x, *flow(x)),
        all_of(flow, x, *apply_flow(flow, x, keep_activations=keep, precision="bf16")),
    )
    for one, other in zip(plain, fast, strict=True):
        assert other.dtype == torch.float32
        assert 1e-5 < (other - one).norm() / one.norm() < 0.1  # bf16 rounds by up to 0.4 %, in each of six products
    flow.eval().requires_grad_(False)
    ready = apply_flow(flow, x, precomputed=precompute_weights(flow, "bf16"), precision="bf16")
    for one, other in zip(ready, fast[:2], strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-3, atol=1e-3)


def test_an_unsupported_flow_has_its_products_in_bf16_too(device: torch.device) -> None:
    flow, x = flow_steps(8, 1, (5,), hidden=8).eval().to(device), torch.randn(2, 8, 6, 9).to(device)
    with torch.no_grad():
        flow.transforms[-1].subnet[-1].weight.normal_(0, 0.1)
    plain, rounded = apply_flow(flow, x)[0], apply_flow(flow, x, precision="bf16")[0]
    assert rounded.dtype == torch.float32
    assert 1e-5 < (rounded - plain).norm() / plain.norm() < 0.05


def test_the_inverse_of_the_flow_undoes_the_fast_path(a_flow: MakeFlow) -> None:
    flow, x = a_flow(128, (3, 1), torch.float32)
    with torch.no_grad():
        z, log_det = apply_flow(flow.eval(), x)
        back, log_det_back = flow.inverse(z)
        torch.testing.assert_close(back, x, rtol=1e-4, atol=3e-4)
        torch.testing.assert_close(log_det_back, -log_det, rtol=1e-4, atol=3e-4)


def test_precomputed_weights_give_the_same_and_are_used_when_given(a_flow: MakeFlow) -> None:
    flow, x = a_flow(128, (3, 1), torch.float32)
    precomputed = precompute_weights(flow.eval())
    with torch.no_grad():
        for ready, plain in zip(apply_flow(flow, x, precomputed=precomputed), flow(x), strict=True):
            torch.testing.assert_close(ready, plain, rtol=1e-4, atol=3e-4)
        next(p for p in flow.parameters() if p.dim() == 4).mul_(2)
        assert not torch.allclose(apply_flow(flow, x, precomputed=precomputed)[0], flow(x)[0], atol=1e-3)


def test_the_first_batch_in_training_mode_sets_act_norm(a_flow: MakeFlow) -> None:
    _, x = a_flow(128, (3,), torch.float32)
    fresh = flow_steps(128, 2, (3,)).train().to(x.device)
    apply_flow(fresh, x)
    assert fresh.transforms[0].started


def test_without_kept_activations_the_memory_of_a_training_step_grows_with_the_square_root_of_the_steps(
    a_flow: MakeFlow,
) -> None:
    """Counted are the maps that the graph holds between forward and backward: inputs of segments, and activations."""

    def held(steps: int, keep: bool) -> tuple[int, int]:
        flow, x = a_flow(128, (3, 1), torch.float32, steps)
        z = apply_flow(flow, x, keep_activations=keep)[0]  # torch 2.10 frees what a node saved with its output
        node = z.grad_fn
        maps = [tensor for tensor in node.saved_tensors if tensor is not None and tensor.shape == x.shape]
        assert maps[0].data_ptr() == x.data_ptr()
        return len(maps), len(node.kept)

    assert [held(steps, keep=False) for steps in (1, 2, 9, 20, 40)] == [(1, 1), (2, 1), (3, 3), (5, 4), (7, 4)]
    assert [held(steps, keep=True) for steps in (1, 6)] == [(1, 1), (1, 6)]


@pytest.mark.parametrize("steps", [1, 5, 20, 40])
def test_without_kept_activations_the_gradients_are_the_same_for_every_image(
    a_flow: MakeFlow, dtype: torch.dtype, steps: int
) -> None:
    """Also where the inverse is far from the input: many steps, and a constant map, which training has not seen."""
    flow, x = a_flow(8, (3, 1), dtype, steps)
    for image in (x, torch.zeros_like(x), 100 * x):
        losses = [
            z.square().mean() - log_det.mean()
            for z, log_det in (apply_flow(flow, image, keep_activations=k) for k in (True, False))
        ]
        kept, again = (torch.autograd.grad(loss, list(flow.parameters())) for loss in losses)
        assert all(torch.isfinite(one).all() for one in kept)
        for one, other in zip(kept, again, strict=True):
            assert (other - one).norm() <= 1e-6 * one.norm()


def test_nothing_is_kept_without_gradients(
    monkeypatch: pytest.MonkeyPatch, a_flow: MakeFlow, dtype: torch.dtype
) -> None:
    flow, x = a_flow(8, (3, 1), dtype)
    expected = apply_flow(flow, x)
    monkeypatch.delattr(function, "_FlowFunction")
    run, kept = function._run_steps, []
    monkeypatch.setattr(function, "_run_steps", lambda *a, **k: kept.append(run(*a, **k)) or kept[-1])
    with torch.no_grad():
        for found, wanted in zip(apply_flow(flow, x), expected, strict=True):
            assert torch.equal(found, wanted)
    assert [activations for _, activations in kept] == [[]]


@pytest.mark.parametrize("keep", [True, False])
def test_a_weight_changed_before_the_backward_pass_raises(keep: bool, a_flow: MakeFlow, dtype: torch.dtype) -> None:
    flow, x = a_flow(8, (3, 1), dtype)
    z, _ = apply_flow(flow, x, keep_activations=keep)
    with torch.no_grad():
        flow.transforms[2].subnet[0].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_a_permutation_changed_before_the_backward_pass_raises(a_flow: MakeFlow, dtype: torch.dtype) -> None:
    flow, x = a_flow(8, (3, 1), dtype)
    z, _ = apply_flow(flow, x)
    flow.transforms[1].load_state_dict(flow_steps(8, 1).transforms[1].state_dict())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def loss_of(output: tuple[Tensor, Tensor]) -> Tensor:
    return output[0].square().sum() - output[1].sum()


@pytest.mark.parametrize("keep", [True, False])
def test_a_second_backward_pass_gives_the_same_gradients(keep: bool, a_flow: MakeFlow, dtype: torch.dtype) -> None:
    flow, x = a_flow(8, (3, 1), dtype, 40)
    weights, loss = list(flow.parameters()), loss_of(apply_flow(flow, torch.zeros_like(x), keep_activations=keep))
    first = torch.autograd.grad(loss, weights, retain_graph=True)
    for one, other in zip(first, torch.autograd.grad(loss, weights), strict=True):
        assert (other - one).norm() <= 1e-6 * one.norm()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


@pytest.mark.cpu_only  # equal to the last digit
@pytest.mark.parametrize("keep", [True, False])
def test_backward_passes_of_one_graph_in_several_threads(keep: bool, a_flow: MakeFlow) -> None:
    flow, x = a_flow(8, (3, 1), torch.float32, 6)
    weights, loss = list(flow.parameters()), loss_of(apply_flow(flow, x, keep_activations=keep))
    wanted = torch.autograd.grad(loss_of(apply_flow(flow, x, keep_activations=keep)), weights)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: torch.autograd.grad(loss, weights, retain_graph=True), range(8)):
            assert all(map(torch.equal, found, wanted))


@pytest.mark.parametrize("keep", [True, False])
def test_gradients_of_gradients_equal_those_of_the_flow(keep: bool, a_flow: MakeFlow, dtype: torch.dtype) -> None:
    flow, x = a_flow(8, (3, 1), dtype)
    x.requires_grad_()
    found = []
    for output in (flow(x), apply_flow(flow, x, keep_activations=keep)):
        (slope,) = torch.autograd.grad(output[0].mean(), x, create_graph=True)
        penalty = (slope.norm() - 1).square() + output[0].square().mean()
        found.append(torch.autograd.grad(penalty, list(flow.parameters()), allow_unused=True, materialize_grads=True))
    for one, other in zip(*found, strict=True):
        assert_same(other, one)


def test_gradients_of_gradients_of_a_shared_sub_net(a_flow: MakeFlow, dtype: torch.dtype) -> None:
    flow, x = a_flow(8, (3, 3), dtype, 2)
    flow.transforms[5].subnet = flow.transforms[2].subnet
    x.requires_grad_()
    found = []
    for output in (flow(x), apply_flow(flow, x)):
        (slope,) = torch.autograd.grad(loss_of(output), x, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), list(flow.parameters())))
    for one, other in zip(*found, strict=True):
        assert_same(other, one)


@pytest.mark.filterwarnings("ignore:`torch.jit")  # torch itself uses what it deprecates
def test_functional_transforms_equal_those_of_the_flow(a_flow: MakeFlow, dtype: torch.dtype) -> None:
    flow, x = a_flow(4, (3, 1), dtype, 1)
    x, flow = x[:1, :, :2, :2].contiguous(), flow.eval()
    fast, plain = (lambda x: apply_flow(flow, x)[0]), (lambda x: flow(x)[0])
    wanted = torch.autograd.functional.jacobian(plain, x)
    assert_same(torch.autograd.functional.jacobian(fast, x, vectorize=True), wanted)
    assert_same(torch.autograd.functional.jacobian(fast, x, vectorize=True, strategy="forward-mode"), wanted)
    assert_same(torch.func.jacrev(fast)(x), wanted)
    with torch.no_grad():
        assert_same(torch.func.vmap(fast)(torch.stack([x, 2 * x]))[1], plain(2 * x))
        for one, other in zip(torch.func.jvp(plain, (x,), (x,)), torch.func.jvp(fast, (x,), (x,)), strict=True):
            assert_same(other, one)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("backward_too", [True, False])
def test_autocast_computes_what_precision_bf16_computes(keep: bool, backward_too: bool, a_flow: MakeFlow) -> None:
    flow, x = a_flow(64, (3, 1), torch.float32)
    weights, cast = list(flow.parameters()), partial(torch.autocast, x.device.type, torch.bfloat16)
    wanted = apply_flow(flow, x, keep_activations=keep, precision="bf16")
    with cast():
        found = apply_flow(flow, x, keep_activations=keep)
        with torch.no_grad():
            again = apply_flow(flow, x)
    with cast(enabled=backward_too):
        slopes = [torch.autograd.grad(loss_of(output), weights) for output in (wanted, found)]
    for one, other in [*zip(wanted, found, strict=True), *zip(wanted, again, strict=True), *zip(*slopes, strict=True)]:
        torch.testing.assert_close(other, one)
    with cast():
        ready = apply_flow(flow, x, precomputed=precompute_weights(flow))
        assert apply_flow(flow.double(), x.double())[0].dtype == torch.float64
    with torch.no_grad():
        assert_same(ready[0], apply_flow(flow.float(), x)[0])


@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_gives_empty_maps_and_gradients_of_zero(training: bool, device: torch.device) -> None:
    flow = flow_steps(256, 2, (3, 1)).train(training).to(device)
    z, log_det = apply_flow(flow, torch.zeros(0, 256, 6, 9, device=device))
    assert (z.shape, log_det.shape) == ((0, 256, 6, 9), (0, 6, 9))
    (z.sum() + log_det.sum()).backward()
    assert all(not p.grad.any() for p in flow.parameters())
    assert not flow.transforms[0].started


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.cpu_only  # Winograd's method
def test_a_compiled_call_is_the_flow_itself(a_flow: MakeFlow) -> None:
    flow, x = a_flow(128, (3,), torch.float32, 1)
    compiled = torch.compile(partial(apply_flow, flow.eval()), backend="aot_eager", fullgraph=True)
    found, wanted = all_of(flow, x.requires_grad_(), *compiled(x)), all_of(flow, x, *flow(x))
    for one, other in zip(wanted, found, strict=True):
        assert_same(other, one)
    flow.requires_grad_(False)
    # torch's own check compares with a call that is not traced, Winograd's, by a tolerance narrower than its rounding
    traced = torch.jit.trace(lambda x: apply_flow(flow, x), (x.detach(),), check_trace=False)
    assert_same(traced(x)[0], wanted[0])


def test_a_model_trains_alike_with_little_memory_and_predicts_alike_fused(device: torch.device) -> None:
    images = torch.rand(2, 3, 64, 64).to(device)
    gradients = []
    for save_memory in (False, True):
        model = FastFlow("resnet18", "bundled", steps=4, save_memory=save_memory, seed=1).to(device).train()
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
