"""The loss of an epoch: read at each step, or summed on the device and read at the end, to the same result."""

import math

import pytest
import torch
from torch import nn

from fastflow_lite.errors import DivergedError
from fastflow_lite.training.epoch_loss import CheckedEpochLoss, DeferredEpochLoss, epoch_loss
from fastflow_lite.training.optimization import adam

CPU = torch.device("cpu")


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.ones(3))


def test_only_a_cuda_device_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastflow_lite.training.epoch_loss.DeferredEpochLoss", lambda optimizer, device: device.type)
    optimizer = adam([parameter()], 0.1)
    assert epoch_loss(optimizer, torch.device("cuda", 1)) == "cuda"
    for name in ("cpu", "mps", "xpu"):
        assert isinstance(epoch_loss(optimizer, torch.device(name)), CheckedEpochLoss)


def test_both_give_the_same_mean_bit_for_bit() -> None:
    checked, deferred = CheckedEpochLoss(), DeferredEpochLoss(adam([parameter()], 0.1), CPU)
    total, seen = 0.0, 0
    for loss, count in zip(torch.randn(50), torch.randint(1, 9, (50,)).tolist(), strict=True):
        total, seen = total + loss.item() * count, seen + count
        for losses in (checked, deferred):
            losses.add(loss, count)
            assert losses.mean() == total / seen


def test_both_give_the_loss_of_the_first_step() -> None:
    for losses in (CheckedEpochLoss(), DeferredEpochLoss(adam([parameter()], 0.1), CPU)):
        for value in (1.5, 2.5, 3.5):
            losses.add(torch.tensor(value), 4)
        assert losses.first() == 1.5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_an_error_at_once_or_when_the_mean_is_read(bad: float) -> None:
    checked, deferred = CheckedEpochLoss(), DeferredEpochLoss(adam([parameter()], 0.1), CPU)
    for losses in (checked, deferred):
        losses.add(torch.tensor(1.0), 8)
    with pytest.raises(DivergedError, match="training diverged"):
        checked.add(torch.tensor(bad), 8)
    deferred.add(torch.tensor(bad), 8)
    deferred.add(torch.tensor(1.0), 8)
    with pytest.raises(DivergedError, match=f"the loss is {bad}: the training diverged"):
        deferred.mean()


def test_weights_and_moments_stay_as_before_the_loss_that_was_not_finite() -> None:
    trained, expected = parameter(), parameter()
    optimizer, alone = adam([trained], 0.1), adam([expected], 0.1)
    losses = DeferredEpochLoss(optimizer, CPU)
    for value in (1.0, 2.0, math.nan, 3.0):
        trained.grad = torch.full((3,), value)
        losses.add(torch.tensor(value), 1)
        optimizer.step()
    for value in (1.0, 2.0):
        expected.grad = torch.full((3,), value)
        alone.step()
    assert torch.equal(trained, expected)
    assert not torch.equal(trained, torch.ones(3))
    for name, moment in alone.state[expected].items():
        assert torch.equal(optimizer.state[trained][name], moment), name
