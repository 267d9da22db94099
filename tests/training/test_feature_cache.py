"""Features kept in memory and in a mapped file."""

import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from properties import given, settings, st
from tiny import Constant
from torch import Tensor, nn

from fastflow_lite import FastFlow, fit, open_dataset
from fastflow_lite.datasets import ImageSet
from fastflow_lite.devices.feature_storage import Place
from fastflow_lite.errors import DataError
from fastflow_lite.training.feature_cache import FeatureCache, cache_features, fit_normalization


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


class White(nn.Module):
    """Features of white images that float16 cannot keep, and zeros of all others."""

    def __init__(self, value: float = 1e8) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> list[Tensor]:
        level = nn.functional.avg_pool2d(x - 2.2, 16).clamp_min(0)
        return [torch.where(level > 0, self.value * level, level)]


def test_the_image_that_is_named_is_the_one_with_the_features(category: Path, device: torch.device) -> None:
    """The second of the second batch: another name would send its owner to a sound file."""
    train = open_dataset(category, image_size=(64, 48)).train
    Image.new("RGB", (48, 64), "white").save(train.samples[5].image)
    model = FastFlow(White(), steps=1, hidden=4, normalize="none").to(device)
    with pytest.raises(DataError, match=r"features of 1 image\(s\) are not finite in float16 \(\S*005\.png\)"):
        cache_features(model, train, 4)


class TwoScales(Constant):
    """Its maps, and maps of twice the size."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [nn.functional.interpolate(x, scale_factor=1 / 8), *super().forward(x)]


def test_the_fitted_normalization_has_the_statistics_of_all_features(category: Path, device: torch.device) -> None:
    """Per scale and channel over all images and positions, of batches that differ in size."""
    train = open_dataset(category, image_size=(64, 48)).train
    model = FastFlow(TwoScales(1.0, 2.0), steps=1, hidden=4, normalize="channel").to(device)
    cache = cache_features(model, train, 4)
    every = torch.stack([train[k][0] for k in range(len(train))]).to(device)
    scales = zip(cache[list(range(len(train)))], model.backbone(every), model.normalize, strict=True)
    for features, maps, normalize in scales:
        by_channel = maps.transpose(0, 1).flatten(1)
        deviation = by_channel.std(dim=1, correction=0).clamp_min(1e-3)
        torch.testing.assert_close(normalize.mean.flatten(), by_channel.mean(dim=1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(normalize.std.flatten(), deviation, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(features, normalize(maps), rtol=1e-2, atol=1e-2)
    assert len(model.normalize) == 2


@pytest.mark.parametrize("level", [0.5, 3000.0])  # the level is rounded to float16 by 1.0
@pytest.mark.parametrize("place", ["host", "device", "file"])
def test_one_pass_normalizes_as_two_do(
    level: float, place: Place, category: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = open_dataset(category, image_size=(64, 48)).train
    both = [FastFlow(TwoScales(level, 2.0), steps=1, hidden=4, normalize="channel").to(device) for _ in range(2)]
    fit_normalization(both[0], train, 4)
    seen, batches = [], type(train).batches

    def count(self: ImageSet, *args: Any, **options: Any) -> Any:
        seen.append(self)
        return batches(self, *args, **options)

    two = cache_features(both[0], train, 4, place=place)
    monkeypatch.setattr(type(train), "batches", count)
    one = cache_features(both[1], train, 4, place=place)
    assert len(seen) == 1
    for normalize, expected in zip(both[1].normalize, both[0].normalize, strict=True):
        torch.testing.assert_close(normalize.mean, expected.mean)
        torch.testing.assert_close(normalize.std, expected.std, rtol=1e-4, atol=1e-5)
    for x, y in zip(one[list(range(6))], two[list(range(6))], strict=True):
        torch.testing.assert_close(x, y, rtol=2e-3, atol=5e-3)


@pytest.mark.parametrize(("value", "names"), [(math.nan, r"\S*001\.png"), (1e8, r"\S*005\.png")])
def test_one_pass_names_the_image_with_the_features(value: float, names: str, category: Path) -> None:
    """A value that is not finite in the first batch, or one too large in the second."""
    train = open_dataset(category, image_size=(64, 48)).train
    Image.new("RGB", (48, 64), "white").save(train.samples[1 if math.isnan(value) else 5].image)
    model = FastFlow(White(value), steps=1, hidden=4, normalize="channel")
    with pytest.raises(DataError, match=rf"features of 1 image\(s\) are not finite in float16 \({names}\)"):
        cache_features(model, train, 4)


def test_a_cache_beyond_its_budget_is_in_files() -> None:
    """Two bytes a value: 3 images of 2 x 4 x 4 and 1 x 2 x 2 take 216."""
    shapes = [(2, 4, 4), (1, 2, 2)]
    assert [FeatureCache(3, shapes, budget).place for budget in (216, 215)] == ["host", "file"]


KINDS = ["layer", "map", "channel", "none"]  # of normalization
NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(NUMBERS | st.sampled_from([0.0, 1.0, 6e4, 7e4]), st.sampled_from([0.0, 1e-30, 1.0, 3e4]), st.sampled_from(KINDS))
@settings(max_examples=10)
def test_features_of_any_size_end_in_finite_weights_or_a_clear_error(
    category: Path, device: torch.device, level: float, gain: float, kind: str
) -> None:
    train = open_dataset(category, image_size=(64, 48)).train.subset([0, 1])
    model = FastFlow(Constant(level, gain), steps=2, hidden=4, normalize=kind).to(device)
    extreme = not math.isfinite(level) or abs(level) > 100 or gain > 100
    with pytest.raises((DataError, FloatingPointError), match=r"not finite|diverged") if extreme else nullcontext():
        history = fit(model, train, epochs=1, progress=False)
        assert math.isfinite(history.bits_per_dim[0])
        assert all(torch.isfinite(p).all() for p in model.parameters())
        if extreme:
            raise FloatingPointError("not finite, but the weights are: large and still usable")
