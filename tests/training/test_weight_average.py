"""The average of the weights: its formula, its place in a training, and that an interruption changes nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TwoLevels

from fastflow_lite import FastFlow, fit
from fastflow_lite.errors import DivergedError
from fastflow_lite.training import History
from fastflow_lite.training.checkpoint import Checkpoint
from fastflow_lite.training.feature_cache import cache_features
from fastflow_lite.training.loop import TrainingLoop
from fastflow_lite.training.trainer import mean_bits_per_dim
from fastflow_lite.training.weight_average import WeightAverage

IMAGES = torch.rand(7, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def trained(**options: Any) -> tuple[FastFlow, History]:
    """Train a model for three epochs of two steps."""
    model = FastFlow(TwoLevels(), steps=1, hidden=4)
    settings = {"epochs": 3, "batch_size": 4, "average": 0.9, "progress": False, "held_out": IMAGES[:3]}
    return model, fit(model, IMAGES, **settings | options)


def same(a: FastFlow, b: FastFlow) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_it_is_the_mean_of_all_steps_with_weights_that_fall_by_the_decay() -> None:
    values = torch.randn(300, dtype=torch.float64)
    weight = torch.zeros((), dtype=torch.float64)
    average = WeightAverage([weight], 0.9)
    expected = 0.0
    for step, value in enumerate(values.tolist()):
        weight.fill_(value)
        average.update(step)
        decay = min(0.9, step / (step + 9))
        expected = decay * expected + (1 - decay) * value
        assert average.means[0].item() == pytest.approx(expected, rel=1e-9)
    falling = 0.9 ** torch.arange(299, -1, -1, dtype=torch.float64)  # the first steps' share is below 1e-6
    assert average.means[0].item() == pytest.approx((falling * values).sum().item() / falling.sum().item(), abs=1e-5)


def test_the_weights_come_back_after_the_block() -> None:
    weight = torch.ones(2)
    average = WeightAverage([weight], 0.5)
    weight += 1
    with pytest.raises(ZeroDivisionError), average.applied():
        assert weight.tolist() == [1, 1]
        raise ZeroDivisionError
    assert weight.tolist() == [2, 2]


def test_fit_leaves_the_average_of_the_weights_after_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    step, seen = TrainingLoop.step, []

    def note(loop: TrainingLoop, *args: Any) -> None:
        step(loop, *args)
        seen.append([p.detach().clone() for p in loop.parameters])

    with monkeypatch.context() as patch:
        patch.setattr(TrainingLoop, "step", note)
        raw, _ = trained(average=None)
    assert len(seen) == 6
    expected = seen[0]
    for count, weights in enumerate(seen[1:], 1):
        decay = count / (count + 9)
        expected = [decay * mean + (1 - decay) * w for mean, w in zip(expected, weights, strict=True)]
    model, history = trained()
    parameters = [p for p in model.parameters() if p.requires_grad]
    assert all(torch.allclose(p, mean, atol=1e-6) for p, mean in zip(parameters, expected, strict=True))
    assert not same(raw, model)
    held_out = mean_bits_per_dim(model, cache_features(model, trained_on(IMAGES[:3]), 4), 4)
    assert history.held_out[-1] == pytest.approx(held_out, rel=1e-6)


def trained_on(images: torch.Tensor) -> Any:
    from fastflow_lite.datasets.in_memory import training_sets

    return training_sets(images, None)[0]


@pytest.mark.parametrize("options", [{}, {"noise": 0.1}])
def test_an_interruption_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, float]
) -> None:
    whole, history = trained(**options)
    file, save = tmp_path / "run.ckpt", Checkpoint.save

    def save_then_stop(self: Checkpoint, state: dict[str, Any]) -> None:
        save(self, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "save", save_then_stop)
        trained(checkpoint=file, **options)
    resumed, resumed_history = trained(checkpoint=file, **options)
    assert same(whole, resumed) and resumed_history.held_out == history.held_out
    again, _ = trained(checkpoint=file, **options)  # of a finished run
    assert same(whole, again)


@pytest.mark.filterwarnings("ignore:epoch 2 is made anew")
def test_a_set_back_takes_the_average_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step of the second epoch is made, then the epoch diverges: that step is not in the average."""
    step, means = TrainingLoop.step, []

    def diverge_once(loop: TrainingLoop, *args: Any) -> None:
        assert loop.average is not None
        if len(means) == 3:
            means.append([])
            raise DivergedError("the loss is nan")
        means.append([mean.clone() for mean in loop.average.means])
        step(loop, *args)

    monkeypatch.setattr(TrainingLoop, "step", diverge_once)
    trained()
    before, again = means[2], means[4]
    assert all(torch.equal(a, b) for a, b in zip(before, again, strict=True))
