"""The coreset: the points of a search that computes one product a center, and a better cover than a random choice."""

import pytest
import torch
from torch import Tensor

from fastflow_lite.baselines import coreset
from fastflow_lite.baselines.coreset import greedy_coreset, random_projection


def one_by_one(points: Tensor, first: int, count: int) -> list[int]:
    """Farthest-first traversal as it is defined."""
    chosen, nearest = [first], torch.full((len(points),), torch.inf, dtype=points.dtype)
    while len(chosen) < count:
        nearest = torch.minimum(nearest, (points - points[chosen[-1]]).square().sum(dim=1))
        chosen.append(int(nearest.argmax()))
    return chosen


@pytest.mark.parametrize(("pool", "block"), [(4096, 2048), (20, 64), (1, 7)])
def test_it_is_farthest_first_traversal(pool: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreset, "POOL", pool)
    monkeypatch.setattr(coreset, "BLOCK", block)
    points, rounds = torch.randn(300, 5, dtype=torch.float64), []
    found = greedy_coreset(points, 90, 3, rounds.append).tolist()
    assert found == one_by_one(points, found[0], 90)
    assert sum(rounds) == 89
    assert len(rounds) <= 89 if pool == 1 else len(rounds) < 60


def test_it_covers_better_than_a_random_choice() -> None:
    points = torch.randn(2000, 16)
    ours = torch.cdist(points, points[greedy_coreset(points, 200, 0)]).amin(dim=1).max()
    for seed in range(5):
        chosen = torch.randperm(2000, generator=torch.Generator().manual_seed(seed))[:200]
        assert ours < torch.cdist(points, points[chosen]).amin(dim=1).max()


def test_copies_are_taken_only_when_nothing_else_is_left() -> None:
    points = torch.arange(5.0).repeat(4).unsqueeze(1)
    found = greedy_coreset(points, 8, 0)
    assert len(set(found.tolist())) == 8
    assert set(points[found[:5], 0].tolist()) == {0, 1, 2, 3, 4}
    assert len(set(greedy_coreset(points, 20, 0).tolist())) == 20


def test_the_seed_fixes_the_choice() -> None:
    points = torch.randn(100, 3)
    assert torch.equal(greedy_coreset(points, 9, 1), greedy_coreset(points, 9, 1))
    assert greedy_coreset(points, 1, 1) != greedy_coreset(points, 1, 2)


def test_the_projection_nearly_keeps_distances() -> None:
    points = torch.randn(40, 600)
    ratio = torch.pdist(points @ random_projection(600, 0)) / torch.pdist(points)
    assert 0.7 < ratio.min() < ratio.max() < 1.3 and ratio.mean() == pytest.approx(1, abs=0.03)
    assert torch.equal(random_projection(128, 0), torch.eye(128))
