"""A training whose loss is summed on the device ends as one whose loss is read at each step."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from fastflow_lite import FastFlow, fit
from fastflow_lite.datasets import ImageSet, open_dataset
from fastflow_lite.errors import DivergedError
from fastflow_lite.training.epoch_loss import DeferredEpochLoss
from fastflow_lite.training.loop import TrainingLoop


@pytest.fixture
def train(category: Path) -> ImageSet:
    return open_dataset(category, image_size=(64, 48)).train


def trained(train: ImageSet, **options: Any) -> tuple[FastFlow, list[float]]:
    model = FastFlow("resnet18", weights="bundled", steps=2, hidden=16, kernels=(3, 1))
    history = fit(model, train, epochs=3, batch_size=2, progress=False, held_out=train.subset([0, 3, 5]), **options)
    return model, history.bits_per_dim + history.held_out


@pytest.fixture
def deferred(monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses of a processor are treated as those of a CUDA device."""
    monkeypatch.setattr("fastflow_lite.training.loop.epoch_loss", DeferredEpochLoss)


def diverge_at(monkeypatch: pytest.MonkeyPatch, step: int) -> list[int]:
    """Make the loss NaN from the step number `step` on; return the list of the steps that follow."""
    backward, made = TrainingLoop.backward, []

    def spoil(loop: TrainingLoop, features: list[torch.Tensor], share: float) -> torch.Tensor:
        made.append(len(made))
        return backward(loop, features, share) * (math.nan if len(made) > step else 1.0)

    monkeypatch.setattr(TrainingLoop, "backward", spoil)
    return made


def test_a_deferred_loss_changes_no_bit(train: ImageSet, request: pytest.FixtureRequest) -> None:
    model, losses = trained(train)
    request.getfixturevalue("deferred")
    again, again_losses = trained(train)
    assert losses == again_losses
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


def test_a_processor_stops_at_the_step_that_diverges(train: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    made = diverge_at(monkeypatch, 4)  # the second of three steps of epoch 2
    with pytest.raises(DivergedError, match="the loss is nan: the training diverged"):
        trained(train)
    assert len(made) == 5


@pytest.mark.usefixtures("deferred")
def test_a_gpu_stops_before_the_epoch_is_kept(train: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, losses = trained(train)
    with monkeypatch.context() as patch:
        made = diverge_at(patch, 4)
        with pytest.raises(DivergedError, match="the loss is nan: the training diverged"):
            trained(train, checkpoint=tmp_path / "run.ckpt")
        assert len(made) == 6
    resumed, resumed_losses = trained(train, checkpoint=tmp_path / "run.ckpt")
    assert resumed_losses == losses
    state = resumed.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in whole.state_dict().items())
