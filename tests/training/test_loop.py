"""A training whose loss is summed on the device ends as one whose loss is read at each step."""

import math
from collections.abc import Callable
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


Trained = Callable[..., tuple[FastFlow, list[float]]]


@pytest.fixture
def trained(train: ImageSet, device: torch.device) -> Trained:
    """Train a small model; return it and all losses."""

    def made(**options: Any) -> tuple[FastFlow, list[float]]:
        model = FastFlow("resnet18", weights="bundled", steps=2, hidden=16, kernels=(3, 1)).to(device)
        history = fit(model, train, epochs=3, batch_size=2, progress=False, held_out=train.subset([0, 3, 5]), **options)
        return model, history.bits_per_dim + history.held_out

    return made


@pytest.fixture
def deferred(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    """The losses of a processor are treated as those of a CUDA device."""
    if device.type not in ("cpu", "cuda"):
        pytest.skip("needs Adam in one pass")
    monkeypatch.setattr("fastflow_lite.training.loop.epoch_loss", DeferredEpochLoss)


def diverge_at(monkeypatch: pytest.MonkeyPatch, step: int) -> list[int]:
    """Make the loss NaN from the step number `step` on; return the list of the steps that follow."""
    backward, made = TrainingLoop.backward, []

    def spoil(loop: TrainingLoop, features: list[torch.Tensor], share: float) -> torch.Tensor:
        made.append(len(made))
        return backward(loop, features, share) * (math.nan if len(made) > step else 1.0)

    monkeypatch.setattr(TrainingLoop, "backward", spoil)
    return made


def test_a_deferred_loss_changes_no_bit(request: pytest.FixtureRequest, trained: Trained) -> None:
    model, losses = trained()
    request.getfixturevalue("deferred")
    again, again_losses = trained()
    assert losses == again_losses
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


@pytest.mark.cpu_only
def test_a_processor_stops_at_the_step_that_diverges(monkeypatch: pytest.MonkeyPatch, trained: Trained) -> None:
    made = diverge_at(monkeypatch, 4)  # the second of three steps of epoch 2
    with pytest.raises(DivergedError, match="the loss is nan: the training diverged"):
        trained(halvings=0)
    assert len(made) == 5


@pytest.mark.usefixtures("deferred")
def test_a_gpu_stops_before_the_epoch_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Trained
) -> None:
    whole, losses = trained()
    with monkeypatch.context() as patch:
        made = diverge_at(patch, 4)
        with pytest.raises(DivergedError, match="the loss is nan: the training diverged"):
            trained(checkpoint=tmp_path / "run.ckpt", halvings=0)
        assert len(made) == 6
    resumed, resumed_losses = trained(checkpoint=tmp_path / "run.ckpt", halvings=0)
    assert resumed_losses == losses
    state = resumed.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in whole.state_dict().items())


@pytest.mark.usefixtures("deferred")
def test_a_step_does_not_wait_for_the_device(monkeypatch: pytest.MonkeyPatch, trained: Trained) -> None:
    """No value of a tensor is read between two batches; on a GPU each such read would wait for all work before it."""
    monkeypatch.setattr("fastflow_lite.flows.fast.function.is_initialized", lambda flow: True)
    step, reads = TrainingLoop.step, []

    def watch(loop: TrainingLoop, batch: list[int], losses: Any) -> None:
        with monkeypatch.context() as patch:
            for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__"):
                patch.setattr(torch.Tensor, name, _noted(getattr(torch.Tensor, name), name, reads))
            step(loop, batch, losses)
        reads.append("step")

    monkeypatch.setattr(TrainingLoop, "step", watch)
    trained()
    assert reads == ["step"] * 9


def _noted(method: Callable[..., Any], name: str, notes: list[str]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        notes.append(name)
        return method(*args, **options)

    return call


def test_the_settings_choose_how_flows_are_computed(monkeypatch: pytest.MonkeyPatch, trained: Trained) -> None:
    flow, seen = FastFlow.flow, []

    def note(
        self: FastFlow, features: Any, fast: bool = True, precision: str = "float32", compiled: bool = False
    ) -> Any:
        seen.append((self.training, precision, compiled))
        return flow(self, features, fast, precision)

    monkeypatch.setattr(FastFlow, "flow", note)
    trained(precision="bf16", compile=True)
    assert set(seen[:-3]) == {(True, "bf16", True), (False, "bf16", True)}
    assert set(seen[-3:]) == {(False, "float32", False)}, "the medians are computed as the reference"
    seen.clear()
    trained()
    assert set(seen) == {(True, "float32", False), (False, "float32", False)}


def test_seed_and_epoch_fix_the_order_and_the_augmentation(monkeypatch: pytest.MonkeyPatch, trained: Trained) -> None:
    """Also from one version to the next: a checkpoint continues, and published results are reached again."""
    batches, found = TrainingLoop.batches, []

    def note(loop: TrainingLoop, epoch: int) -> list[list[int]]:
        monkeypatch.setattr(type(loop.features), "start_epoch", lambda _, seed: found.append(seed))
        found.append(batches(loop, epoch))
        return found[-1]

    monkeypatch.setattr(TrainingLoop, "batches", note)
    trained(seed=7)
    for epoch in range(3):
        seed, order = found[2 * epoch : 2 * epoch + 2]
        assert seed == 7_000_021 + epoch
        expected = torch.randperm(6, generator=torch.Generator().manual_seed(seed)).split(2)
        assert order == [batch.tolist() for batch in expected]


def test_bf16_trains_to_nearly_the_same_loss(trained: Trained) -> None:
    losses, rounded = trained()[1], trained(precision="bf16")[1]
    assert rounded != losses
    assert rounded == pytest.approx(losses, abs=0.02)
