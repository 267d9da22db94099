"""The format of a model's images: a camera's white level, dark images, values beyond [0, 1], another size."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import Constant, started

from fastflow_lite import FastFlow, evaluate, fit
from fastflow_lite.datasets import ImageSet, Sample, open_dataset
from fastflow_lite.datasets.image_files import read_image
from fastflow_lite.datasets.in_memory import TensorSet
from fastflow_lite.datasets.input_format import InputFormat, find_white_level, warn_if_dark
from fastflow_lite.errors import ArgumentError, DataError
from fastflow_lite.files import read_tensors, write_tensors

SIZE = (64, 48)


def to_16_bits(folder: Path, shift: int) -> None:
    """Write the images of `folder` anew as gray files of 16 bits, as a camera of 8 + `shift` bits does."""
    for path in folder.rglob("*.png"):
        if "ground_truth" not in path.parts:
            Image.fromarray(np.asarray(Image.open(path).convert("L")).astype(np.uint16) << shift).save(path)


def small() -> FastFlow:
    return FastFlow(Constant(0.0, 1.0), steps=1, hidden=4)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_the_white_level_is_found_in_files_of_16_bits_only(tmp_path: Path, suffix: str) -> None:
    pixels = np.full((4, 4), 200)
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"8{suffix}")
    assert find_white_level(tmp_path.glob("*")) is None
    Image.fromarray((3 * pixels).astype(np.uint16)).save(tmp_path / f"16{suffix}")
    (tmp_path / f"broken{suffix}").write_bytes((tmp_path / f"16{suffix}").read_bytes()[:40])
    assert find_white_level([*tmp_path.glob("*"), tmp_path / "absent"]) == 1023


@pytest.mark.parametrize(("brightest", "level"), [(0, 65535), (1, 255), (255, 255), (256, 1023), (16384, 65535)])
def test_the_white_level_is_the_lowest_that_no_value_passes(tmp_path: Path, brightest: int, level: int) -> None:
    Image.fromarray(np.full((4, 4), brightest, np.uint16)).save(tmp_path / "deep.png")
    assert find_white_level([tmp_path / "deep.png"]) == level


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_white_level_of_a_camera_is_found_and_used_everywhere(category: Path, bits: int) -> None:
    before = torch.from_numpy(np.array(Image.open(category / "train/good/000.png").convert("L"))) / 255
    to_16_bits(category, bits - 8)
    data = open_dataset(category, image_size=SIZE)
    level = 2**bits - 1
    assert data.train.white_level == data.test.white_level == level
    assert data.train.split(0.5)[1].white_level == data.test.subset([0]).white_level == level
    assert (data.train[0][0][0] - before).abs().max() < 0.01
    assert data.test[5][0].max() > 0.99
    model = small()
    fit(model, data.train, epochs=1, progress=False)
    assert model.input_format == InputFormat(SIZE, level)


def test_the_white_level_may_be_given(category: Path) -> None:
    to_16_bits(category, 4)
    assert find_white_level(category.rglob("train/*/*.png")) == 4095
    data = open_dataset(category, image_size=SIZE, white_level=np.int64(8191))
    assert data.test[5][0].max() == pytest.approx(4080 / 8191)
    for wrong in (0, -1, 65536, 0.5, "4095"):
        with pytest.raises(ArgumentError, match="white_level must be"):
            open_dataset(category, white_level=wrong)


def test_values_above_the_white_level_are_refused(category: Path) -> None:
    to_16_bits(category, 4)
    Image.fromarray(np.full(SIZE, 5000, np.uint16)).save(category / "test/square/000.png")
    with pytest.raises(DataError, match=r"000\.png has values below 0 or above the white level 4095"):
        open_dataset(category).test[3]


def test_16_bits_among_training_images_of_8_are_refused(category: Path) -> None:
    to_16_bits(category / "test/square", 4)
    test = open_dataset(category).test
    with pytest.raises(DataError, match=r"square/000\.png has 16 bits, but no training image has.*white_level"):
        test[3]
    assert test[0][0].shape == (3, 256, 256)
    assert open_dataset(category, white_level=4095).test[3][0].max() > 0.99
    assert read_image(category / "test/square/000.png").max() < 0.07, "65535 where nothing is told"


def test_another_white_level_than_that_of_the_training_is_refused(category: Path) -> None:
    to_16_bits(category, 4)
    model, data = small(), open_dataset(category, image_size=SIZE)
    fit(model, data.train, epochs=1, progress=False)
    other = open_dataset(category, image_size=SIZE, white_level=65535)
    assert other.train.fingerprint() != data.train.fingerprint()
    for use in (
        lambda: evaluate(model, other.test),
        lambda: evaluate(model, data.test, normal=other.train),
        lambda: fit(model, data.train, held_out=other.train, epochs=1, progress=False),
    ):
        with pytest.raises(DataError, match=r"white level 65535.* white_level=4095"):
            use()
    assert evaluate(model, data.test).scores.shape == (6,)


def test_a_model_keeps_its_format(tmp_path: Path) -> None:
    model, file = small(), tmp_path / "m.safetensors"
    model.input_format = InputFormat((32, 48), 4095)
    model.save(file)
    assert FastFlow.load(file, Constant(0.0, 1.0)).input_format == InputFormat((32, 48), 4095)
    tensors, header = read_tensors(file)
    write_tensors(file, tensors, {name: text for name, text in header.items() if name != "images"})
    assert FastFlow.load(file, Constant(0.0, 1.0)).input_format == InputFormat(), "a file without one still loads"


@pytest.mark.hostile
@pytest.mark.parametrize(
    "record",
    [[], {"size": 3}, {"image_size": 3}, {"image_size": [3]}, {"image_size": [3, "x"]}, {"white_level": 1 << 70}],
)
def test_other_records_are_refused(record: Any) -> None:
    with pytest.raises(ArgumentError):
        InputFormat.from_record(record)
    for known in (InputFormat((1, 2), 3), InputFormat((2, 1), 1), InputFormat((1, 1), 65535), InputFormat()):
        assert InputFormat.from_record(asdict(known)) == known


def test_dark_training_images_are_named() -> None:
    dark = torch.full((3, 3, 32, 32), 0.12)
    with pytest.warns(UserWarning, match=r"brightest training pixel below train is 0\.120 of 1"):
        fit(small(), dark, epochs=1, progress=False)
    dark[2, 1, 3, 4] = 0.13
    warn_if_dark(TensorSet(dark, "train"))


WRONG_VALUES = {
    "0..255": 255 * torch.rand(2, 3, 32, 32),
    "-2..2": 4 * torch.rand(2, 3, 32, 32) - 2,
    "a little below": torch.full((2, 3, 32, 32), -0.02),
    "a little above": torch.full((2, 3, 32, 32), 1.02),
    "infinite": torch.full((2, 3, 32, 32), torch.inf),
}


@pytest.mark.parametrize("values", WRONG_VALUES.values(), ids=WRONG_VALUES)
def test_values_beyond_0_to_1_are_refused(values: torch.Tensor) -> None:
    model = started(small(), 32, 32)
    for use in (model, model.predict, model.prepared_for_inference(), model.prepared_for_inference().predict):
        with pytest.raises(
            ArgumentError, match=r"images must have finite values in \[0, 1\], got .*divide 8-bit images by 255"
        ):
            use(values)


def test_rounding_beyond_0_to_1_is_allowed_and_bytes_are_not() -> None:
    model = started(small(), 32, 32)
    assert model.predict(torch.tensor([-0.005, 1.005]).repeat(1, 3, 32, 16))[1].isfinite()
    InputFormat().check_batch(torch.tensor([-0.01, 1.01], dtype=torch.float64))
    with pytest.raises(ArgumentError, match=r"floating point in \[0, 1\], got .*uint8"):
        model.predict(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(ArgumentError, match=r"must be a tensor .* got ndarray"):
        model.predict(np.zeros((1, 3, 32, 32), np.float32))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_other_floating_point_is_converted(dtype: torch.dtype) -> None:
    model, images = started(small(), 32, 32), torch.rand(2, 3, 32, 32).half()
    expected = model.predict(images.float())
    for use in (model.predict, model.prepared_for_inference().predict):
        for a, b in zip(use(images.to(dtype)), expected, strict=True):
            assert a.dtype == torch.float32
            torch.testing.assert_close(a, b)


def test_another_size_than_the_trained_one_is_named(category: Path) -> None:
    data, model = open_dataset(category, image_size=SIZE), small()
    fit(model, data.train, epochs=1, progress=False)
    images = torch.rand(1, 3, 96, 64)
    for use in (model, model.predict, model.prepared_for_inference(), model.prepared_for_inference().predict):
        with pytest.warns(UserWarning, match=r"images of 96 x 64 pixels .* trained on 64 x 48: scores and thresholds"):
            use(images)
    with pytest.warns(UserWarning, match="images of 96 x 64"):
        fit(model, data.train, held_out=torch.rand(1, 3, 96, 64), epochs=1, progress=False)
    with pytest.warns(UserWarning, match="images of 96 x 64"):
        evaluate(model, open_dataset(category, image_size=(96, 64)).test)
    model.predict(torch.rand(1, 3, 64, 48))


def test_numbers_of_numpy_are_numbers(category: Path) -> None:
    size = np.int64(64)
    data = open_dataset(category, image_size=size)
    assert data.train.size == (64, 64) and all(type(side) is int for side in data.train.size)
    assert open_dataset(category, image_size=np.array([64, 48])).train.size == (64, 48)
    model = FastFlow(Constant(0.0, 1.0), steps=np.int64(1), hidden=np.int32(4), clamp=np.float32(2), seed=np.int64(1))
    fit(model, data.train, epochs=np.int64(1), batch_size=np.int64(2), lr=np.float32(1e-3), progress=False)
    assert evaluate(model, data.test, batch_size=np.int64(2), seed=np.int64(3)).scores.shape == (6,)
    for wrong in (0.5, "64", (64,), (1, 2, 3), (64, 0.5)):
        with pytest.raises(DataError, match="image_size must be"):
            open_dataset(category, image_size=wrong)


def test_a_set_made_by_hand_reads_16_bits_of_white(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 65535, np.uint16)).save(tmp_path / "a.png")
    assert ImageSet([Sample(tmp_path / "a.png")], (4, 4), tmp_path)[0][0].eq(1).all()
