"""Augmentation: each change, and how often it happens."""

import torch

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


def test_a_rotation_opens_no_black_corners() -> None:
    turned = Augmentation(**NEVER | {"rotation": 1.0})(torch.full((8, 3, 32, 32), 0.7), drawn(1))
    torch.testing.assert_close(turned, torch.full_like(turned, 0.7))


def test_changes_happen_as_often_as_the_paper_says() -> None:
    images = torch.arange(16.0).view(1, 1, 4, 4).expand(2000, 3, 4, 4)
    flipped = Augmentation(0.5, 0.0, 0.0)(images, drawn(2)) != images
    assert 0.46 < flipped.flatten(1).any(dim=1).float().mean() < 0.54
    upside_down = Augmentation(0.0, 0.3, 0.0)(images, drawn(2)) != images
    assert 0.26 < upside_down.flatten(1).any(dim=1).float().mean() < 0.34
