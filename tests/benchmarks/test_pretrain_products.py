"""The pictures of the pre-training, and its loss, which moves odd places far from the normal ones of a product."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks" / "pretrain"


@pytest.fixture(autouse=True)
def folder_of_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for name in ("pictures", "oddity"):
        sys.modules.pop(name, None)


def test_magnified_labels_stay_on_their_pixels() -> None:
    from pictures import magnify

    labels = (torch.arange(32) // 8 + 4 * (torch.arange(32)[:, None] // 8)).expand(2, 32, 32)
    images = labels[:, None].expand(2, 3, 32, 32).float()
    kinds = []
    for seed in range(5):
        large, (moved,) = magnify(images, [labels], 2.0, 32, torch.Generator().manual_seed(seed))
        assert large.shape == images.shape and moved.shape == labels.shape
        assert (large[:, 0] == moved).float().mean() > 0.6  # between two fields the image blends, labels do not
        assert (large[:, 0] - moved).abs().max() <= 4
        kinds.append(len(moved.unique()))
    assert min(kinds) < 16, "no window left a field out"


def test_light_differs_from_picture_to_picture_but_the_camera_is_one() -> None:
    from pictures import expose, relight

    images = torch.full((4, 3, 16, 16), 0.5)
    taken = expose(images, torch.Generator().manual_seed(0), same=2).mean((2, 3))
    assert (taken[0] - taken[1]).abs().max() < 0.01 < (taken[1] - taken[2]).abs().max()
    lit = relight(images, torch.Generator().manual_seed(0))
    assert (lit.mean((1, 2, 3)).diff().abs() > 1e-3).all()
    assert ((lit[:, 0] - lit[:, 0].mean((1, 2), keepdim=True)).abs().amax((1, 2)) > 1e-3).all()


def test_distance_is_that_of_mahalanobis() -> None:
    from oddity import SHRINK, log_distance

    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(5, 5, generator=generator)
    normal = torch.randn(400, 5, generator=generator) @ mix + 3
    asked = 2 * torch.randn(3, 7, 5, generator=generator)
    covariance = torch.from_numpy(np.cov(normal.T.numpy(), bias=True)).float()
    covariance += SHRINK * covariance.diagonal().mean() * torch.eye(5)
    away = asked - normal.mean(0)
    expected = torch.einsum("abi,ij,abj->ab", away, torch.linalg.inv(covariance), away) / 5
    torch.testing.assert_close(log_distance(normal, asked).exp(), expected, rtol=1e-3, atol=1e-4)


def test_loss_counts_the_hardest_normal_place_most_and_skips_what_is_half_spoilt() -> None:
    from oddity import find_odd

    covered = torch.tensor([[[1.0, 0.1, 0.0, 0.0]]])
    easy = find_odd(torch.tensor([[[2.0, 9.0, 0.0, -1.0]]]), covered)
    hard = find_odd(torch.tensor([[[2.0, 9.0, 0.0, 2.0]]]), covered)
    assert easy < 0.01
    assert hard == pytest.approx(np.log(2), abs=0.01)
    assert find_odd(torch.zeros(1, 1, 4), torch.zeros(1, 1, 4)) == 0


def test_oddity_compares_a_product_with_itself_only() -> None:
    from oddity import GOOD, SPOILT, oddity

    generator = torch.Generator().manual_seed(0)
    count = GOOD + SPOILT
    layers = [torch.randn(2 * count, 6, side, side, generator=generator) for side in (16, 8, 4)]
    flaw = torch.zeros(2 * count, 64, 64, dtype=torch.bool)
    flaw[GOOD:count, :16, :16] = flaw[count + GOOD :, 48:, 48:] = True
    hidden = oddity(layers, flaw)
    for x in layers:
        side = x.shape[-1] // 4
        x[count:, 0] += 8  # one product's places are all alike in this, which is odd for the other
        x[GOOD:count, 0, :side, :side] += 8
        x[count + GOOD :, 0, -side:, -side:] -= 8
    both = oddity(layers, flaw)
    assert both < 0.6 * hidden
    each = [oddity([x[k : k + count] for x in layers], flaw[k : k + count]) for k in (0, count)]
    torch.testing.assert_close(both, sum(each) / 2)
