"""Features kept in memory and in a mapped file."""

from pathlib import Path

import torch

from fastflow_lite import FastFlow, open_dataset
from fastflow_lite.training.feature_cache import FeatureCache, cache_features


def test_features_in_memory_equal_those_in_a_mapped_file(category: Path, small_model: FastFlow) -> None:
    data = open_dataset(category, image_size=(64, 48))
    inside, mapped = (cache_features(small_model, data.train, 4, budget) for budget in (1 << 30, 0))
    assert (inside.mapped, mapped.mapped) == (False, True)
    for a, b in zip(inside[[4, 1]], mapped[[4, 1]], strict=True):
        assert torch.equal(a, b)
    direct = small_model.features(torch.stack([data.train[4][0], data.train[1][0]]))
    for a, b in zip(inside[[4, 1]], direct, strict=True):
        assert torch.allclose(a, b, atol=4e-3)
    assert FeatureCache(3, [(2, 4, 4)]).mapped is False
