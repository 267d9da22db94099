"""Features kept in memory and in a mapped file."""

from pathlib import Path

import pytest
import torch
from tiny import Constant

from fastflow_lite import FastFlow, open_dataset
from fastflow_lite.errors import DataError
from fastflow_lite.training.feature_cache import FeatureCache, cache_features


def test_features_in_memory_equal_those_in_a_mapped_file(category: Path, small_model: FastFlow) -> None:
    data = open_dataset(category, image_size=(64, 48))
    inside, mapped = (cache_features(small_model, data.train, 4, budget) for budget in (1 << 30, 0))
    assert (inside.place, mapped.place) == ("host", "file")
    for a, b in zip(inside[[4, 1]], mapped[[4, 1]], strict=True):
        assert torch.equal(a, b)
    direct = small_model.features(torch.stack([data.train[4][0], data.train[1][0]]).to(small_model.device))
    for a, b in zip(inside[[4, 1]], direct, strict=True):
        assert torch.allclose(a.to(b), b, atol=4e-3)
    assert FeatureCache(3, [(2, 4, 4)]).place == "host"


def test_features_on_the_device_equal_those_on_the_host(category: Path, small_model: FastFlow) -> None:
    data = open_dataset(category, image_size=(64, 48))
    host, device = (cache_features(small_model, data.train, 4, place=place) for place in ("host", "device"))
    assert (len(host), host.place, device.place) == (6, "host", "device")
    for a, b in zip(host[[4, 1, 5]], device[[4, 1, 5]], strict=True):
        assert torch.equal(a, b)
        assert a.dtype == b.dtype == torch.float32
        assert a.stride() == b.stride() and b.is_contiguous(memory_format=torch.channels_last)


def test_images_whose_features_are_too_large_are_named(category: Path, device: torch.device) -> None:
    train = open_dataset(category, image_size=(64, 48)).train
    model = FastFlow(Constant(0.0, 1e6), steps=1, hidden=4, normalize="none").to(device)
    with pytest.raises(DataError, match=r"features of 4 image\(s\) are not finite in float16 \(.*0\.png, .*1\.png, "):
        cache_features(model, train, 4)
