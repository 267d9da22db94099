"""PatchCore: distances by brute force, the weight of the image score by its equation, and the memory bank."""

import numpy as np
import pytest
import torch
from tiny import TwoLevels

from fastflow_lite.baselines import PatchCore, patchcore
from fastflow_lite.baselines.patchcore import nearest_distances
from fastflow_lite.scoring.maps import blur


@pytest.mark.parametrize("most", [2**24, 100, 1])
def test_the_nearest_distances_are_those_of_brute_force(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patchcore, "MOST_DISTANCES", most)
    points, bank = torch.randn(30, 7), torch.randn(20, 7)
    distances = np.linalg.norm(points.numpy()[:, None] - bank.numpy()[None], axis=2)
    np.testing.assert_allclose(nearest_distances(points, bank).numpy(), distances.min(axis=1), rtol=1e-5)


def fitted(**options: object) -> PatchCore:
    model = PatchCore(TwoLevels(), share=0.25, **options)
    model.fit(torch.rand(6, 3, 32, 48), batch_size=4, progress=False)
    return model


def test_the_embedding_is_both_maps_averaged_at_the_finer_size() -> None:
    model = PatchCore(TwoLevels())
    fine, coarse = model.backbone(torch.rand(2, 3, 32, 48))
    embedding = model.embed([fine, coarse])
    assert embedding.shape == (2, 10, 8, 12)
    torch.testing.assert_close(embedding[:, :4, 3, 5], fine[:, :, 2:5, 4:7].mean(dim=(2, 3)))
    assert PatchCore(TwoLevels(), levels=1).embed([fine, coarse]).shape == (2, 6, 4, 6)


def test_the_bank_is_a_share_of_the_training_positions() -> None:
    images = torch.rand(6, 3, 32, 48)
    model = PatchCore(TwoLevels(), share=0.25)
    history = model.fit(images, progress=False)
    points = model.embed(model.backbone(images)).permute(0, 2, 3, 1).reshape(-1, 10)
    assert model.bank.shape == (6 * 8 * 12 // 4, 10)
    assert torch.cdist(model.bank.float(), points).amin(dim=1).max() < 2e-3  # float16
    assert history.train_images == 6


def test_maps_are_upsampled_distances_smoothed() -> None:
    model, images = fitted(smoothing=2.0), torch.rand(3, 3, 32, 48)
    distances, weights = model(images)
    maps, scores = model.predict(images)
    points = model.embed(model.backbone(images)).permute(0, 2, 3, 1)
    bank = model.bank.float()
    expected = torch.cdist(points.flatten(0, 2), bank).amin(dim=1).view(3, 8, 12)
    torch.testing.assert_close(distances, expected, rtol=1e-4, atol=1e-4)
    large = expected.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2).unsqueeze(1)
    torch.testing.assert_close(maps, blur(large, 2.0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(scores, distances.amax(dim=(1, 2)) * weights)


@pytest.mark.parametrize("neighbors", [2, 9])
def test_the_weight_is_that_of_the_paper(neighbors: int) -> None:
    """1 - exp(d(m, m*)) / sum over the neighbors of m* of exp(d(m, m)); m* is the nearest of the farthest point."""
    model, images = fitted(neighbors=neighbors), torch.rand(3, 3, 32, 48)
    _, weights = model(images)
    bank = model.bank.double().numpy()
    for image, weight in zip(images, weights, strict=True):
        points = model.embed(model.backbone(image[None])).double()[0].flatten(1).T.numpy()
        distances = np.linalg.norm(points[:, None] - bank[None], axis=2)
        farthest = distances.min(axis=1).argmax()
        nearest = distances[farthest].argmin()
        around = np.linalg.norm(bank - bank[nearest], axis=1).argsort()[:neighbors]
        powers = np.exp(distances[farthest, around])
        assert weight.item() == pytest.approx(1 - powers[0] / powers.sum(), rel=1e-4)


def test_with_one_neighbor_the_score_is_the_largest_distance() -> None:
    model, images = fitted(neighbors=1), torch.rand(3, 3, 32, 48)
    assert torch.equal(model.predict(images)[1], model(images)[0].amax(dim=(1, 2)))
