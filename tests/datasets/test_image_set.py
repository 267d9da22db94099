"""Image sets: resized images with their masks, splits, and a fingerprint that changes with the files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets.small_category import open_small
from PIL import Image
from properties import given, settings, st

from fastflow_lite.datasets import ImageSet, Sample, open_dataset
from fastflow_lite.errors import DataError


def test_resizing_keeps_the_mask_on_its_defect(category: Path) -> None:
    image, mask = open_small(category, (32, 96)).test[5]
    assert image.shape == (3, 32, 96)
    assert mask.dtype == torch.bool
    assert mask[11:17, 22:58].all()
    assert not mask[:9].any()
    assert image[:, 12:16, 25:55].min() > 0.95


def test_split_is_disjoint_exhaustive_and_fixed_by_its_seed(category: Path) -> None:
    train = open_small(category).train
    rest, held = train.split(0.34, seed=1)
    assert len(held) == 2
    assert sorted(s.image for s in rest.samples + held.samples) == [s.image for s in train.samples]
    assert held.samples == train.split(0.34, seed=1)[1].samples
    assert any(held.samples != train.split(0.34, seed=k)[1].samples for k in range(2, 6))
    with pytest.raises(DataError, match="cannot hold out"):
        train.subset([0]).split(0.5)


def test_a_part_has_one_file_at_least_and_the_seed_is_zero_by_default(category: Path) -> None:
    train = open_small(category).train
    assert [len(train.split(fraction)[1]) for fraction in (0.01, 0.5, 0.99)] == [1, 3, 5]
    assert [len(part) for part in train.subset([0, 1]).split(0.5)] == [1, 1]
    assert train.split(0.34)[1].samples == train.split(0.34, seed=0)[1].samples
    for wrong in (0, 1, -0.5, 1.5):
        with pytest.raises(DataError, match=f"cannot hold out a fraction {wrong} of 6 images"):
            train.split(wrong)


def test_masks_are_there_if_every_defect_has_one(category: Path) -> None:
    test = open_small(category).test
    assert test.has_masks and test.subset([0]).has_masks
    defect = Sample(test.samples[4].image, "square")
    assert not ImageSet([*test.samples, defect], test.size, test.root).has_masks


def test_fingerprint_sees_a_white_level_other_than_that_of_16_bits(category: Path) -> None:
    test = open_small(category).test
    found = [ImageSet(test.samples, test.size, test.root, "", level).fingerprint() for level in (None, 65535, 4095)]
    assert found[0] == found[1] != found[2]


def test_fingerprint_sees_one_changed_pixel_and_a_name(category: Path) -> None:
    before = open_small(category).test.fingerprint()
    assert before == open_small(category).test.fingerprint()
    path = category / "test/good/001.png"
    pixels = np.array(Image.open(path))
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    changed = open_small(category).test.fingerprint()
    assert changed != before
    path.rename(path.with_name("009.png"))
    assert open_small(category).test.fingerprint() != changed


@given(st.tuples(st.integers(-3, 70), st.integers(-3, 70)))
@settings(max_examples=10)
def test_images_of_any_size_are_resized_to_it(category: Path, size: tuple[int, int]) -> None:
    if min(size) < 1:
        with pytest.raises(DataError, match="image_size must be 1 or more"):
            open_dataset(category, image_size=size)
        return
    image, mask = open_dataset(category, image_size=size).test[-1]
    assert image.shape == (3, *size)
    assert mask.shape == size
    assert image.min() >= -1e-6
    assert image.max() <= 1 + 1e-6  # but for rounding


def test_a_sample_named_as_normal_is_normal(tmp_path: Path) -> None:
    kinds = ["OK", "Good", "normal", "bent", "n.i.O."]
    images = ImageSet([Sample(tmp_path / f"{k}.png", kind) for k, kind in enumerate(kinds)], (8, 8), tmp_path)
    assert images.labels.tolist() == [False, False, False, True, True]
    assert images.defects == ["good"] * 3 + ["bent", "n.i.O."]


def test_a_split_keeps_what_comes_from_one_file_together(tmp_path: Path) -> None:
    samples = [Sample(tmp_path / f"{k // 4}.png") for k in range(20)]
    for seed in range(5):
        rest, held = ImageSet(samples, (8, 8), tmp_path).split(0.4, seed)
        assert (len(rest), len(held)) == (12, 8)
        assert not {s.image for s in rest.samples} & {s.image for s in held.samples}
    with pytest.raises(DataError, match=r"of 1 images"):
        ImageSet(samples[:4], (8, 8), tmp_path).split(0.5)


def test_samples_of_one_file_are_one_member_of_a_set(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    assert len({Sample(path), Sample(path, "ok"), Sample(path, "hole")}) == 2
