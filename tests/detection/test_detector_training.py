"""From images to a detector: how they are divided, and that each kind of source trains."""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detection.pictures_of_parts import picture
from PIL import Image
from torch.utils.data import TensorDataset

from fastflow_lite import FastFlowConfig
from fastflow_lite.backbones.imagenet_weights import IMAGENET_FOR, INSTALL, PACKAGE
from fastflow_lite.datasets import ImageSet, open_dataset
from fastflow_lite.datasets.image_set import Sample
from fastflow_lite.datasets.in_memory import TensorSet
from fastflow_lite.detection import Detector, detector_training
from fastflow_lite.detection.detector_training import divide, normal_images, share_for
from fastflow_lite.errors import ArgumentError, DataError

pytestmark = pytest.mark.usefixtures("few_views")

NARROW = FastFlowConfig("resnet18", steps=1, hidden=8)
TINY: dict[str, Any] = {"epochs": 1, "progress": False, "rule": "quantile", "held_out": 0.25, "device": "cpu"}


def test_the_share_that_sets_the_threshold() -> None:
    assert [share_for(count, 0.05) for count in (10, 76, 95, 1000)] == [0.25, 0.25, 0.2, 0.1]


def test_a_tensor_set_is_divided_without_a_shared_image() -> None:
    images = torch.arange(8.0).div(8)[:, None, None, None].expand(-1, 3, 4, 4)
    rest, held = divide(TensorSet(images, "it"), 0.25, seed=1)
    values = [{float(part[k][0][0, 0, 0]) for k in range(len(part))} for part in (rest, held)]
    assert [len(v) for v in values] == [6, 2] and not values[0] & values[1]
    assert [len(part) for part in divide(TensorSet(images[:2], "it"), 0.9, 0)] == [1, 1]  # one is left to train on
    with pytest.raises(DataError, match="two images or more"):
        divide(TensorSet(images[:1], "it"), 0.5, 0)
    with pytest.raises(ArgumentError, match="held_out"):
        divide(TensorSet(images, "it"), 1.0, 0)


def test_copies_of_an_image_are_not_divided(tmp_path: Path) -> None:
    samples = []
    for index in range(12):
        name = f"{index}.png"
        Image.fromarray(picture(index // 2, spot=index // 2 % 2 == 1)).save(tmp_path / name)  # each twice
        samples.append(Sample(tmp_path / name))
    parts = divide(ImageSet(samples, (32, 48), tmp_path), 0.3, seed=0)
    pairs = [{int(sample.image.stem) // 2 for sample in part.samples} for part in parts if isinstance(part, ImageSet)]
    assert pairs[0] and pairs[1] and not pairs[0] & pairs[1]


def test_weights_choose_the_backbone_that_is_not_named() -> None:
    if find_spec(PACKAGE) is None:
        pytest.skip(f"needs {INSTALL}")
    options = TINY | {"image_size": (64, 64), "weights": "imagenet"}
    detector = Detector.train([picture(seed) for seed in range(8)], **options)
    assert detector.model.backbone.name == IMAGENET_FOR


def test_images_in_memory_are_brought_to_one_size() -> None:
    images = normal_images([picture(0), Image.fromarray(picture(1, 30, 90))], (32, 48), None)
    assert images.size == (32, 48) and len(images) == 2


def of_12_bits(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1500, 4096, (64, 64), np.uint16)


def test_images_of_16_bits_in_memory_are_read_as_those_of_a_folder(tmp_path: Path) -> None:
    arrays = [of_12_bits(seed) for seed in range(8)]
    for index, array in enumerate(arrays):
        Image.fromarray(array).save(tmp_path / f"{index}.png")
    paths = sorted(tmp_path.iterdir())
    by_folder = normal_images(tmp_path, 64, None)
    for source in (arrays, paths, [Image.open(path) for path in paths], iter(arrays)):
        found = normal_images(source, 64, None)
        assert found.white_level == by_folder.white_level == 4095
        assert torch.allclose(found[3][0], by_folder[3][0], atol=1e-6)
    given = normal_images([picture(0, 64, 64), *paths], 64, 16383)
    assert given.white_level == 16383 and torch.equal(given[4][0], normal_images(tmp_path, 64, 16383)[3][0])
    assert normal_images([picture(0)], 64, None).white_level is None
    with pytest.raises(ArgumentError, match="white_level must be at most 65535"):
        normal_images(arrays, 64, 70000)


def test_a_detector_of_images_of_16_bits_in_memory_judges_such_images() -> None:
    arrays = [of_12_bits(seed) for seed in range(8)]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="the brightest training pixel")
        detector = Detector.train(arrays, **TINY, image_size=64, white_level=16383, config=NARROW)
        by_tiles = Detector.train(arrays, **TINY, tile=32, config=NARROW)
    assert (detector.model.input_format.white_level, by_tiles.model.input_format.white_level) == (16383, 4095)
    assert np.isfinite([detector(arrays[0]).score, by_tiles(arrays[0]).score]).all()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"rule": "conformall"}, "rule must be one of .* got 'conformall'"),
        ({"rule": float("nan")}, "rule must be a finite number, got nan"),
        ({"rule": "best_f1"}, "needs validation"),
        ({"alpha": 5}, "alpha must be between 0 and 1, got 5"),
        ({"alpha": 0}, "alpha must be a finite number above 0"),
        ({"alpha": float("nan")}, "alpha must be a finite number above 0"),
        ({"ignore": "nomask.png"}, "nomask.png"),
        ({"ignore": [[(0, 0), (1, 1)]]}, "polygons of three or more points"),
    ],
)
def test_a_wrong_argument_is_found_before_the_training(
    wrong: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector_training, "fit", lambda *_, **__: pytest.fail("it was trained"))
    options = TINY | {"held_out": None, "image_size": 64, "config": NARROW} | wrong
    with pytest.raises((ArgumentError, DataError), match=why):
        Detector.train([picture(seed) for seed in range(8)], **options)


def test_what_contradicts_the_set_or_the_configuration_is_refused(category: Path) -> None:
    data, options = open_dataset(category, image_size=64, white_level=4095), TINY | {"config": NARROW}
    for source in (data, data.train):
        with pytest.raises(ArgumentError, match=r"image_size=\(32, 64\) .* 64 x 64"):
            Detector.train(source, image_size=(32, 64), **options)
        with pytest.raises(ArgumentError, match=r"white_level=1023 .* 4095"):
            Detector.train(source, white_level=1023, **options)
    with pytest.raises(ArgumentError, match=r"white_level=1023 .* None"):
        Detector.train(TensorDataset(torch.rand(4, 3, 64, 64)), white_level=1023, **options)
    with pytest.raises(ArgumentError, match=r"backbone='wide_resnet50_2' .* 'resnet18'"):
        Detector.train(data, backbone="wide_resnet50_2", **options)
    detector = Detector.train(data, image_size=64, white_level=4095, backbone="resnet18", **options)
    assert detector.size == (64, 64) and detector.model.input_format.white_level == 4095


def test_a_folder_and_its_pictures_in_memory_give_the_same_kind_of_detector(tmp_path: Path) -> None:
    (tmp_path / "train" / "good").mkdir(parents=True)
    pictures = [picture(seed, 64, 64) for seed in range(8)]
    for index, array in enumerate(pictures):
        Image.fromarray(array).save(tmp_path / "train" / "good" / f"{index}.png")
    options = TINY | {"image_size": (64, 96)}
    by_folder = Detector.train(tmp_path, **options)
    assert by_folder.size == (64, 96) and len(by_folder.train_sha256) == 64 and len(by_folder.normal_scores) == 2
    assert by_folder.history is not None and by_folder.history.epochs == 1 and by_folder.scorer.aspect == 1.0
    by_list = Detector.train(pictures, **options)
    assert by_list.size == (64, 96) and by_list.scorer.aspect is None
    assert np.isfinite(by_list(pictures[0]).score)
