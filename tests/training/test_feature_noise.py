"""Noise on features: its size, its repetition, and that parts of a batch get what the whole batch gets."""

from typing import Any

import pytest
import torch
from tiny import TwoLevels
from torch import Tensor

from fastflow_lite import FastFlow, fit
from fastflow_lite.training.feature_noise import FeatureNoise
from fastflow_lite.training.loop import TrainingLoop

CPU = torch.device("cpu")
IMAGES = torch.rand(7, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def noise(count: int, part: slice, deviation: float = 0.3) -> list[list[Tensor]]:
    """Return the noise of a part of two batches, two scales each, the second in the memory order of the cache."""
    drawn, images = FeatureNoise(deviation, CPU), len(range(count)[part])
    drawn.start_epoch(4)
    found = []
    for _ in range(2):
        maps = [torch.zeros(images, 4, 8, 8), torch.zeros(images, 4, 4, 6).permute(0, 3, 1, 2)] if images else []
        drawn.add(maps, count, part)
        found.append(maps)
    return found


def test_its_deviation_is_the_one_asked_for() -> None:
    for maps in noise(50, slice(0, 50)):
        for x in maps:
            assert x.std().item() == pytest.approx(0.3, rel=0.05) and abs(x.mean().item()) < 0.02
            assert not torch.equal(x[0], x[1])
    assert not any(x.any() for maps in noise(5, slice(0, 5), deviation=0.0) for x in maps)


def test_a_part_of_a_batch_gets_the_noise_that_it_has_in_the_whole_batch() -> None:
    """Also after a batch of which it took none."""
    whole = noise(5, slice(0, 5))
    for part in (slice(0, 2), slice(2, 5)):
        for maps, expected in zip(noise(5, part), whole, strict=True):
            assert all(torch.equal(x, y[part]) for x, y in zip(maps, expected, strict=True))
    drawn = FeatureNoise(0.3, CPU)
    drawn.start_epoch(4)
    drawn.add([], 5, slice(0, 0))
    second = [torch.zeros(3, 4, 8, 8)]
    drawn.add(second, 5, slice(2, 5))
    assert torch.equal(second[0], whole[1][0][2:5])


def trained(**options: Any) -> tuple[FastFlow, list[float]]:
    model = FastFlow(TwoLevels(), steps=1, hidden=4)
    history = fit(model, IMAGES, held_out=IMAGES[:2], epochs=2, batch_size=3, progress=False, **options)
    return model, history.bits_per_dim + history.held_out


def same(a: FastFlow, b: FastFlow) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_training_repeats_its_noise() -> None:
    first, losses = trained(noise=0.2)
    again, again_losses = trained(noise=0.2)
    assert same(first, again) and losses == again_losses
    assert not same(first, trained()[0]) and not same(first, trained(noise=0.2, seed=1)[0])


def test_noise_is_added_in_training_steps_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a rate of nearly zero, held-out likelihoods and medians are those of a training without noise."""
    steps, backward = [], TrainingLoop.backward

    def note(loop: TrainingLoop, features: list[Tensor], share: float) -> Tensor:
        steps.append(features[0].clone())
        return backward(loop, features, share)

    monkeypatch.setattr(TrainingLoop, "backward", note)
    trained(lr=1e-12, noise=0.2)
    noisy = list(steps)
    steps.clear()
    trained(lr=1e-12)
    differences = torch.cat([(a - b).flatten() for a, b in zip(noisy, steps, strict=True)])
    assert differences.std().item() == pytest.approx(0.2, rel=0.05)
    added = []
    monkeypatch.setattr(FeatureNoise, "add", lambda self, maps, count, part: added.append(count))
    trained(noise=0.2)
    assert added == [3, 3, 1] * 2
