"""PaDiM: mean and covariance by numpy, distances by scipy."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from tiny import TwoLevels

from fastflow_lite.baselines import PaDiM
from fastflow_lite.errors import ArgumentError


@pytest.mark.parametrize("batch_size", [1, 4, 20])
def test_distances_are_those_of_scipy(batch_size: int) -> None:
    images, others = torch.rand(13, 3, 16, 24), torch.rand(3, 3, 16, 24)
    model = PaDiM(TwoLevels(), channels=5, seed=1)
    model.fit(images, batch_size=batch_size, progress=False)
    normal, tested = (model.embed(model.backbone(x)).double().numpy() for x in (images, others))
    (found,) = model(others)
    assert found.shape == (3, 4, 6)
    for y in range(4):
        for x in range(6):
            inverse = np.linalg.inv(np.cov(normal[:, :, y, x].T) + 0.01 * np.eye(5))
            mean = normal[:, :, y, x].mean(axis=0)
            expected = [mahalanobis(one, mean, inverse) for one in tested[:, :, y, x]]
            np.testing.assert_allclose(found[:, y, x].numpy(), expected, rtol=1e-4)


def test_channels_are_drawn_by_the_seed() -> None:
    first, again, other = (PaDiM(TwoLevels(), channels=5, seed=seed).chosen.tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert len(set(first)) == 5 and set(first) < set(range(10))
    assert sorted(PaDiM(TwoLevels()).chosen.tolist()) == list(range(10))
    with pytest.raises(ArgumentError, match="channels must be at most the 10 of TwoLevels's maps, got 11"):
        PaDiM(TwoLevels(), channels=11)


def test_the_papers_number_of_channels() -> None:
    assert PaDiM("resnet18").config.channels == 100


def test_the_embedding_has_the_values_of_both_maps() -> None:
    model = PaDiM(TwoLevels(), seed=3)
    fine, coarse = model.backbone(torch.rand(2, 3, 16, 24))
    embedding = model.embed([fine, coarse])
    together = torch.cat([fine[:, :, 3, 4], coarse[:, :, 1, 2]], dim=1)
    assert torch.equal(embedding[:, :, 3, 4], together[:, model.chosen])


def test_another_size_and_a_single_image_are_refused() -> None:
    model = PaDiM(TwoLevels())
    with pytest.raises(ArgumentError, match="two training images"):
        model.fit(torch.rand(1, 3, 16, 24), progress=False)
    model.fit(torch.rand(3, 3, 16, 24), progress=False)
    with (
        pytest.warns(UserWarning, match="trained on 16 x 24"),
        pytest.raises(ArgumentError, match=r"the size that it was fitted to: maps are \(6, 4\), not \(4, 6\)"),
    ):
        model.predict(torch.rand(1, 3, 24, 16))
