"""Whatever comes from outside: it is used as it is meant, or refused by an error that names it; nothing in between."""

import json
import math
import re
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny import Constant

from fastflow_lite import FastFlow, evaluate, fit
from fastflow_lite.datasets import ImageSet, open_dataset
from fastflow_lite.datasets.image_files import read_image, read_mask
from fastflow_lite.errors import DataError
from fastflow_lite.scoring import maps as scores
from fastflow_lite.scoring import metrics, thresholds

few = settings(max_examples=10)

MODES = {
    "1": ".png", "L": ".png", "LA": ".png", "P": ".png", "RGB": ".bmp", "RGBA": ".png", "I;16": ".png",
    "I": ".tif", "F": ".tif", "CMYK": ".tif", "YCbCr": ".jpg", "LAB": ".tif",
}  # fmt: skip
HEADS = [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM", b"II*\0", b"GIF89a"]  # of image files
NAMES = ["with space", "Größe 画像", "a'b [0]* %41{b}", "-x\nline"]
KINDS = ["layer", "map", "channel", "none"]  # of normalization
NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=32)


# ---- images --------------------------------------------------------------------------------------


@given(
    st.sampled_from(sorted(MODES)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([(0, 255), (0, 65535), (-5, 70000), (7, 7)]),
    st.sampled_from(NAMES),
)
def test_an_image_of_any_mode_is_read_or_refused_by_name(
    tmp_path: Path, mode: str, size: tuple[int, int], ends: tuple[int, int], name: str
) -> None:
    path = tmp_path / (name + MODES[mode])
    values = np.random.default_rng(0).integers(ends[0], ends[1] + 1, size)
    picture(mode, values).save(path)
    too_wide = mode == "I" and (values.min() < 0 or values.max() > 65535)
    if mode in ("F", "CMYK", "LAB") or too_wide:
        with pytest.raises(DataError, match=re.escape(str(path))):
            read_image(path)
        return
    image = read_image(path)
    assert image.shape == (3, *size)
    assert image.dtype == torch.float32
    assert 0 <= image.min() <= image.max() <= 1
    if mode in ("I", "I;16"):
        np.testing.assert_allclose(image[0].numpy() * 65535, values.clip(0, 65535), atol=0.01)


def picture(mode: str, values: np.ndarray) -> Image.Image:
    wide = {"I": np.int32, "F": np.float32, "I;16": np.uint16}
    if mode in wide:
        return Image.fromarray((values.clip(0, 65535) if mode == "I;16" else values).astype(wide[mode]))
    plane = Image.fromarray(values.astype(np.uint8))
    bands = Image.getmodebands(mode)
    return Image.merge(mode, [plane] * bands) if bands > 1 else plane.convert(mode)


@pytest.mark.filterwarnings("ignore")  # Pillow warns on the way to its error
@given(st.binary(max_size=300), st.sampled_from(HEADS))
def test_bytes_that_are_no_image_are_refused_by_name(tmp_path: Path, content: bytes, head: bytes) -> None:
    path = tmp_path / "odd.png"
    path.write_bytes(head + content)
    with pytest.raises(DataError, match=r"odd\.png"):
        read_image(path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_mask_of_any_mode_marks_the_same_pixels(tmp_path: Path, mode: str) -> None:
    white = np.zeros((6, 9), np.uint8)
    white[2:4, 3:7] = 255
    path = tmp_path / "mask.png"
    picture(mode, white.astype(np.int64) * (257 if mode == "I;16" else 1)).save(path)
    assert torch.equal(read_mask(path, path, (6, 9)), torch.from_numpy(white > 0))


def test_a_mask_painted_too_dark_is_refused(tmp_path: Path) -> None:
    """Class numbers instead of white: taken as they are, they would mark nothing and pixel metrics would be wrong."""
    path = tmp_path / "mask.png"
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(path)
    with pytest.raises(DataError, match=r"mask\.png is never brighter than 1 of 255"):
        read_mask(path, path, (4, 4))


# ---- what a model is given -----------------------------------------------------------------------

SIDES = st.sampled_from([0, 1, 20, 32, 48])
SHAPES = st.tuples(st.integers(1, 2), st.integers(1, 4), SIDES, SIDES) | st.lists(st.integers(0, 5), max_size=5)


@given(SHAPES, st.sampled_from([torch.float32, torch.uint8, torch.int64]))
def test_images_of_a_wrong_shape_or_type_are_refused(
    small_model: FastFlow, shape: Sequence[int], dtype: torch.dtype
) -> None:
    images = torch.zeros(tuple(shape), dtype=dtype)
    if dtype == torch.float32 and len(shape) == 4 and shape[1] == 3 and all(s in (32, 48) for s in shape[2:]):
        assert small_model.predict(images)[0].shape == (shape[0], 1, *shape[2:])
    else:
        with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\)|nearest sizes"):
            small_model.predict(images)


@given(st.tuples(st.integers(-3, 70), st.integers(-3, 70)))
@few
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


@given(NUMBERS | st.sampled_from([0.0, 1.0, 6e4, 7e4]), st.sampled_from([0.0, 1e-30, 1.0, 3e4]), st.sampled_from(KINDS))
@few
def test_features_of_any_size_end_in_finite_weights_or_a_clear_error(
    category: Path, level: float, gain: float, kind: str
) -> None:
    train = open_dataset(category, image_size=(64, 48)).train.subset([0, 1])
    model = FastFlow(Constant(level, gain), steps=2, hidden=4, normalize=kind)
    extreme = not math.isfinite(level) or abs(level) > 100 or gain > 100
    with pytest.raises((DataError, FloatingPointError), match=r"not finite|diverged") if extreme else nullcontext():
        history = fit(model, train, epochs=1, progress=False)
        assert math.isfinite(history.bits_per_dim[0])
        assert all(torch.isfinite(p).all() for p in model.parameters())
        if extreme:
            raise FloatingPointError("not finite, but the weights are: large and still usable")


def test_images_that_are_not_numbers_have_no_score(
    small_model: FastFlow, category: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test, read = open_dataset(category, image_size=(64, 48)).test.subset([0]), ImageSet.__getitem__
    monkeypatch.setattr(ImageSet, "__getitem__", lambda self, k: (read(self, k)[0] * math.nan, read(self, k)[1]))
    with pytest.raises(FloatingPointError, match="not finite"):
        evaluate(small_model, test)


# ---- sets ----------------------------------------------------------------------------------------


def test_an_empty_set_is_refused(small_model: FastFlow, tmp_path: Path) -> None:
    empty = ImageSet([], (64, 48), tmp_path)
    for use in (lambda: fit(small_model, empty, progress=False), lambda: evaluate(small_model, empty)):
        with pytest.raises(DataError, match=re.escape(str(tmp_path))):
            use()


@pytest.mark.parametrize("kept", [[0], [0, 1, 2], [3, 4], [0, 3]])
def test_one_class_alone_is_undefined_in_the_record(small_model: FastFlow, category: Path, kept: list[int]) -> None:
    """Images 0 to 2 are normal, 3 to 5 anomalous. A test set of one class has no AUROC, whichever class it is."""
    test = open_dataset(category, image_size=(64, 48)).test.subset(kept)
    assert test.labels.tolist() == [k >= 3 for k in kept]
    result = evaluate(small_model, test)
    found = json.loads(result.to_json())["metrics"]
    image = {"image_auroc", "image_ap", "image_f1_max_oracle"}
    pixel = {"pixel_auroc", "pixel_ap", "pixel_f1_max_oracle", "aupro"}
    undefined = set() if kept == [0, 3] else image if kept == [3, 4] else image | pixel
    assert {name for name, value in found.items() if value is None} == undefined
    assert all(math.isnan(getattr(result, name)) for name in undefined)
    assert all(0 <= found[name] <= 1 for name in (image | pixel) - undefined)


@given(st.lists(NUMBERS, min_size=1, max_size=8), st.integers(0, 255))
def test_metrics_are_in_their_range_undefined_or_refused(values: list[float], bits: int) -> None:
    labels = [bits >> k & 1 for k in range(len(values))]
    if not all(map(math.isfinite, values)):
        for use in (metrics.image_metrics, metrics.f1_max, lambda _, values: thresholds.quantile(values)):
            with pytest.raises(ValueError, match="NaN or infinite"):
                use(labels, values)
        return
    both = 0 < sum(labels) < len(labels)
    masks, maps = np.array(labels)[None, None], np.array(values)[None, None]
    for value in (metrics.image_metrics(labels, values) | metrics.pixel_metrics(masks, maps)).values():
        assert 0 <= value <= 1 if both else math.isnan(value)


@given(st.sampled_from(sorted(scores.MAPS)), st.floats(-1e4, 1e4, width=32), st.floats(-50, 50, width=32))
def test_maps_of_constant_and_extreme_latents_keep_their_order(kind: str, level: float, log_det: float) -> None:
    """A constant latent gives a constant map; one that is farther out never scores lower."""
    z, spread = torch.full((1, 2, 4, 4), level), torch.full((1, 4, 4), log_det)
    near, far = (scores.anomaly_map([(factor * z, spread)], (8, 8), kind) for factor in (1, 2))
    assert torch.allclose(near, near.mean(), rtol=1e-5)
    assert (far >= near - 1e-5 * near.abs()).all()


# ---- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_work_from_images_to_a_saved_model(category: Path, name: str, tmp_path: Path) -> None:
    place = tmp_path / name / name
    place.parent.mkdir()
    category.rename(place)
    for image in sorted(place.rglob("*.png")):
        image.rename(image.with_name(f"{name} {image.name}"))
    data = open_dataset(place.parent, name, image_size=(32, 32))
    model = FastFlow(Constant(0.0, 1.0), steps=1, hidden=4)
    fit(model, data.train, epochs=1, progress=False, checkpoint=tmp_path / f"{name}.checkpoint")
    file = tmp_path / f"{name} model.safetensors"
    model.save(file)
    result = evaluate(FastFlow.load(file, Constant(0.0, 1.0)), data.test)
    result.to_json(tmp_path / f"{name}.json")
    assert json.loads((tmp_path / f"{name}.json").read_text())["data"]["category"] == name


@pytest.mark.parametrize("name", ["../other", "..", "a/../../b", "/etc"])
def test_a_category_does_not_lead_out_of_its_data_set(category: Path, name: str) -> None:
    for data_set in (category.parent, "mvtec", "btad", "toy", "cifar10"):
        with pytest.raises(DataError, match="leads out of the data set"):
            open_dataset(data_set, name, root=category.parent)
