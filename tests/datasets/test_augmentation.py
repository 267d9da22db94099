"""Augmentation: each change, and how often it happens."""

import pytest
import torch

from fastflow_lite.datasets import augmentation
from fastflow_lite.datasets.augmentation import Augmentation

NEVER = {"horizontal": 0.0, "vertical": 0.0, "rotation": 0.0}


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_change_is_the_one_it_is_named_for() -> None:
    images = torch.rand(3, 3, 16, 24)
    assert torch.equal(Augmentation(**NEVER)(images, drawn(0)), images)
    assert torch.equal(Augmentation(**NEVER | {"horizontal": 1.0})(images, drawn(0)), images.flip(-1))
    assert torch.equal(Augmentation(**NEVER | {"vertical": 1.0})(images, drawn(0)), images.flip(-2))
    turned = Augmentation(**NEVER | {"rotation": 1.0})(images, drawn(0))
    assert turned.shape == images.shape
    assert not torch.allclose(turned, images, atol=0.1)


@pytest.mark.parametrize("size", [(32, 32), (16, 40), (1, 1)])
def test_a_rotation_opens_no_black_corners(size: tuple[int, int]) -> None:
    turned = Augmentation(**NEVER | {"rotation": 1.0})(torch.full((8, 3, *size), 0.7), drawn(1))
    torch.testing.assert_close(turned, torch.full_like(turned, 0.7))


def test_the_angle_is_the_fourth_number_of_each_image(monkeypatch: pytest.MonkeyPatch) -> None:
    turn, angles = augmentation._rotate, []
    monkeypatch.setattr(augmentation, "_rotate", lambda image, angle: angles.append(angle) or turn(image, angle))
    Augmentation(0.0, 0.0, 1.0, degrees=90)(torch.rand(2, 3, 8, 8), drawn(0))
    assert angles == [90 * (2 * float(number) - 1) for number in torch.rand(8, generator=drawn(0))[3::4]]
    image = torch.rand(3, 9, 9)
    torch.testing.assert_close(turn(image, 90), torch.rot90(image, 1, (1, 2)), atol=1e-4, rtol=0)


def test_changes_happen_as_often_as_the_paper_says() -> None:
    assert Augmentation() == Augmentation(0.5, 0.3, 0.7, 180.0)
    images = torch.arange(16.0).view(1, 1, 4, 4).expand(2000, 3, 4, 4)
    flipped = Augmentation(0.5, 0.0, 0.0)(images, drawn(2)) != images
    assert 0.46 < flipped.flatten(1).any(dim=1).float().mean() < 0.54
    upside_down = Augmentation(0.0, 0.3, 0.0)(images, drawn(2)) != images
    assert 0.26 < upside_down.flatten(1).any(dim=1).float().mean() < 0.34
