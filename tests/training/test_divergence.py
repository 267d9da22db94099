"""A training that diverges: noticed, mended from the last good epoch, or refused; and the medians that it ends with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TwoLevels, started

from fastflow_lite import FastFlow, History, fit
from fastflow_lite.course.checks import perturb
from fastflow_lite.datasets import ImageSet, open_dataset
from fastflow_lite.errors import DivergedError
from fastflow_lite.scoring.maps import per_dimension
from fastflow_lite.training.loop import TrainingLoop
from fastflow_lite.training.trainer import set_training_medians

Trained = Callable[..., tuple[FastFlow, History]]


@pytest.fixture
def train(category: Path) -> ImageSet:
    return open_dataset(category, image_size=(64, 48)).train


@pytest.fixture
def trained(train: ImageSet, device: torch.device) -> Trained:
    """Train a small model for four epochs of three steps."""

    def made(**options: Any) -> tuple[FastFlow, History]:
        model = FastFlow("resnet18", weights="bundled", steps=2, hidden=16, kernels=(3, 1)).to(device)
        return model, fit(model, train, **({"epochs": 4, "batch_size": 2, "progress": False} | options))

    return made


@pytest.fixture
def spoiled(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Add 5e12 to the weights of the flows before the seventh step, the first of epoch 3; return the rates of all."""
    step, rates = TrainingLoop.step, []

    def spoil(loop: TrainingLoop, *rest: Any) -> None:
        rates.append(loop.optimizer.param_groups[0]["lr"])
        if len(rates) == 7:
            with torch.no_grad():
                for parameter in loop.parameters:
                    parameter.add_(5e12)
        step(loop, *rest)

    monkeypatch.setattr(TrainingLoop, "step", spoil)
    return rates


def same(a: FastFlow, b: FastFlow) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("schedule", ["one_cycle", "constant"])
def test_it_goes_back_to_the_last_good_epoch_with_half_the_rate(
    trained: Trained, request: pytest.FixtureRequest, schedule: str
) -> None:
    _, healthy = trained(schedule=schedule)
    rates = request.getfixturevalue("spoiled")
    with pytest.warns(UserWarning, match="epoch 3 is made anew .*, with half the learning rate"):
        model, history = trained(schedule=schedule)
    assert [back.epoch for back in history.set_backs] == [3] and history.set_backs[0].lr_factor == 0.5
    assert history.bits_per_dim[:2] == healthy.bits_per_dim[:2] and len(history.bits_per_dim) == 4
    assert history.bits_per_dim[-1] < history.bits_per_dim[1]
    assert history.to_record()["set_backs"][0]["epoch"] == 3
    first, again = rates[6], rates[-6]
    assert again == pytest.approx(first / 2) and len(rates) in (13, 15)
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_a_loss_far_above_its_start_is_refused_where_nothing_mends_it(
    monkeypatch: pytest.MonkeyPatch, trained: Trained
) -> None:
    backward = TrainingLoop.backward
    calls: list[int] = []

    def rise(loop: TrainingLoop, features: list[torch.Tensor], share: float) -> torch.Tensor:
        calls.append(0)
        return backward(loop, features, share) + (2.2 if len(calls) > 3 else 0)  # 2.2 nats are 3.2 bits

    monkeypatch.setattr(TrainingLoop, "backward", rise)
    set_back, factors = TrainingLoop.set_back, []

    def note(loop: TrainingLoop, good: dict[str, Any], history: History, error: DivergedError) -> None:
        set_back(loop, good, history, error)
        factors.append(history.set_backs[-1].lr_factor)

    monkeypatch.setattr(TrainingLoop, "set_back", note)
    with (
        pytest.warns(UserWarning, match="made anew"),
        pytest.raises(DivergedError, match=r"the loss of epoch 2 is .* bits per dimension, at the start it was"),
    ):
        trained(halvings=2)
    assert len(calls) == 3 + 3 * 3, "epoch 1, then epoch 2 with the whole rate, a half and a quarter"
    assert factors == [0.5, 0.25]


@pytest.mark.filterwarnings("ignore:epoch 3 is made anew")
def test_an_interruption_after_a_set_back_changes_nothing(
    trained: Trained, spoiled: list[float], tmp_path: Path
) -> None:
    whole, history = trained()
    spoiled.clear()
    epoch = TrainingLoop.epoch

    def stop(loop: TrainingLoop, number: int, bar: Any) -> float:
        if number == 3:
            raise KeyboardInterrupt
        return epoch(loop, number, bar)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingLoop, "epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            trained(checkpoint=tmp_path / "run.ckpt")
    resumed, resumed_history = trained(checkpoint=tmp_path / "run.ckpt")
    assert same(whole, resumed)
    assert resumed_history.set_backs == history.set_backs


def test_a_training_without_one_has_the_record_of_before(trained: Trained) -> None:
    assert "set_backs" not in trained(epochs=1)[1].to_record()


@torch.inference_mode()
def test_medians_are_those_of_the_first_images_by_default_of_all() -> None:
    model = started(FastFlow(TwoLevels(), steps=1, hidden=4)).eval()
    perturb(model.get_submodule("flows"), 0.1)
    maps = model.features(torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0)))

    class Stored:
        def __len__(self) -> int:
            return 6

        def __getitem__(self, chosen: list[int]) -> list[torch.Tensor]:
            return [values[chosen] for values in maps]

    for count, images in ((None, 6), (2, 2)):
        set_training_medians(model, Stored(), 4, count)
        outputs = model.flow([values[:images] for values in maps])
        expected = [torch.stack(per_dimension(*output)).flatten(1).median(dim=1).values for output in outputs]
        assert torch.allclose(model.training_medians, torch.stack(expected))
