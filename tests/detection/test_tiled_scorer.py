"""Large images in tiles: the score of the joined map, in bounded memory, and what resizing would lose."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import Constant, started

from fastflow_lite import FastFlow
from fastflow_lite.config import FastFlowConfig
from fastflow_lite.datasets import ImageSet, Sample, open_dataset
from fastflow_lite.datasets.input_format import InputFormat
from fastflow_lite.detection import Detector, TiledSet, evaluate_detector, predict_tiled, tiled_scorer
from fastflow_lite.detection.tiled_scorer import TiledScorer
from fastflow_lite.detection.tiling import Tiles, tile_corners
from fastflow_lite.errors import ArgumentError, CheckpointError, DataError

pytestmark = pytest.mark.usefixtures("few_views", "few_noise_images")

SIDE = 64


@pytest.fixture(scope="module")
def tile_model() -> FastFlow:
    """Over a backbone whose features are means of 16 x 16 pixels."""
    model = started(FastFlow(Constant(0.0, 10.0), steps=1, hidden=4, map="energy", normalize="none"), SIDE, SIDE)
    model.input_format = InputFormat((SIDE, SIDE), 4095)
    return model.eval()


@pytest.fixture
def scorer(tile_model: FastFlow) -> TiledScorer:
    return TiledScorer(tile_model, (SIDE, SIDE), tiles=Tiles(SIDE, 16))


def scan(seed: int, height: int, width: int, spot: int = 0) -> np.ndarray:
    """A gray line scan `(height, width)`, slowly brighter and darker, with noise; a bright spot in its middle."""
    values = np.random.default_rng(seed).integers(100, 110, (height, width), np.uint8)
    values += (10 + 10 * np.sin(seed + np.arange(width) / 500)).astype(np.uint8)
    values[height // 2 : height // 2 + spot, width // 2 : width // 2 + spot] += 60
    return values


def test_an_image_is_scored_as_by_predict_tiled(scorer: TiledScorer) -> None:
    images = [scan(0, 64, 64), scan(1, 70, 200), scan(2, 130, 90, 20), scan(3, 64, 100)]
    found = list(scorer(images, batch_size=5))
    assert [one.name for one in found] == ["image 0", "image 1", "image 2", "image 3"]
    for image, one in zip(images, found, strict=True):
        joined, score = predict_tiled(
            scorer.model, torch.from_numpy(image / np.float32(255)).expand(3, -1, -1), SIDE, 16
        )
        assert one.size == one.map.shape == image.shape
        np.testing.assert_allclose(one.map, joined[0], rtol=1e-4, atol=1e-4)
        assert one.score == pytest.approx(float(score), rel=1e-4) == pytest.approx(float(one.map.max()))


def test_a_batch_holds_tiles_of_several_images(scorer: TiledScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, whole = [], TiledScorer._maps
    monkeypatch.setattr(TiledScorer, "_maps", lambda self, tiles: (sizes.append(len(tiles)), whole(self, tiles))[1])
    monkeypatch.setattr(tiled_scorer, "worker_count", lambda _: 1)
    images = [scan(seed, 64, 110) for seed in range(5)]  # two tiles each
    assert len(list(scorer(images, batch_size=8))) == 5
    assert sizes == [8, 2]
    sizes.clear()
    assert len(list(scorer(iter(images), batch_size=8))) == 5
    assert sizes == [2, 2, 2, 2, 2, 0], "a frame waited for the next one"


def test_one_map_is_in_memory_at_a_time(scorer: TiledScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[tiled_scorer.JoinedMap]] = []

    class Counted(tiled_scorer.JoinedMap):
        def add(self, part: torch.Tensor, corner: tuple[int, int]) -> None:
            if self._total is None:
                made.append(weakref.ref(self))
                assert sum(one() is not None for one in made) == 1
            super().add(part, corner)

    monkeypatch.setattr(tiled_scorer, "JoinedMap", Counted)
    found = scorer([scan(seed, 64, 150) for seed in range(6)], batch_size=8)
    for number in range(6):
        one = next(found)
        assert len(made) == number + 1 and one.map.shape == (64, 150)
        del one
    gc.collect()
    assert not list(found) and made[-1]() is None


def test_a_file_is_decoded_ahead_and_not_two(scorer: TiledScorer) -> None:
    taken: list[int] = []

    def frames() -> Iterator[np.ndarray]:
        for index in range(8):
            taken.append(index)
            yield scan(index, 64, 64)

    found = scorer(frames(), batch_size=1)
    next(found)
    assert len(taken) <= 3, "the one in use, the next, and the one that a thread waits to decode"
    assert len(list(found)) == 7


def test_errors_come_in_their_place(scorer: TiledScorer, tmp_path: Path) -> None:
    bright = tmp_path / "bright.png"
    Image.fromarray(np.full((64, 200), 4096, np.uint16)).save(bright)
    images = [scan(0, 64, 150), scan(1, 63, 150), bright, tmp_path / "none.png", scan(2, 64, 150)]
    found = scorer(images)
    assert next(found).name == "image 0"
    with pytest.raises(DataError, match=r"image 1 is 150 x 63 pixels, smaller than a tile of 64: take smaller"):
        next(found)
    problems: list[str] = []
    assert [one.name for one in scorer(images, 8, lambda _, error: problems.append(str(error)))] == [
        "image 0",
        "image 4",
    ]
    assert "smaller" in problems[0] and "above the white level 4095" in problems[1] and "none.png" in problems[2]


def test_ignored_pixels_are_those_of_the_whole_image(tile_model: FastFlow) -> None:
    ignore = np.zeros((4, 6), bool)
    ignore[1:3, 2:4] = True
    scorer = TiledScorer(tile_model, (SIDE, SIDE), ignore, tiles=Tiles(SIDE, 16))
    plain, spot = (next(scorer(scan(0, 160, 240, size))) for size in (0, 20))
    assert spot.score == pytest.approx(plain.score, rel=0.2)
    assert (spot.map[40:120, 80:160] == spot.map.min()).all() and spot.map[:40].min() > spot.map.min()


def test_a_small_defect_of_a_line_scan_is_found_in_tiles_alone() -> None:
    size, defect = (1000, 4000), 20
    model = started(FastFlow(Constant(0.0, 10.0), steps=1, hidden=4, map="energy", normalize="none"), 512, 512)
    normal = [scan(seed, *size) for seed in range(3)]
    for options, seen in (({"size": (256, 256)}, False), ({"tile": 512, "overlap": 32}, True)):
        model.input_format = InputFormat(options.get("size", (512, 512)))
        detector = Detector.calibrate(model.eval(), normal, rule="quantile", alpha=0.1, **options)
        finding = detector(scan(9, *size, defect))
        assert finding.alarm == seen and not detector(scan(10, *size)).alarm
        assert len(detector.normal_scores) == 3, "images count, not tiles"
    assert finding.map.shape == size
    region, *others = finding.regions
    assert region.peak > 0.5 and all(other.peak < 0.5 for other in others)
    assert abs(region.top + region.height / 2 - 510) < 20 and abs(region.left + region.width / 2 - 2010) < 20


def test_a_detector_with_tiles_is_saved_and_evaluated(category: Path, tmp_path: Path) -> None:
    data = open_dataset(category)
    model = started(FastFlow("resnet18", weights="random", steps=1, hidden=4), 32, 32)
    model.input_format = InputFormat((32, 32))
    detector = Detector.calibrate(model.eval(), data.train, alpha=0.2, tile=32, ignore=[[(0, 0), (1, 0), (0, 0.2)]])
    detector.save(tmp_path / "part.safetensors")
    again = Detector.load(tmp_path / "part.safetensors")
    assert (
        (again.tile, again.overlap, again.size) == (detector.tile, detector.overlap, detector.size) == (32, 8, (32, 32))
    )
    found = evaluate_detector(again, data.test)
    assert found.raw_scores.tolist() == pytest.approx(evaluate_detector(detector, data.test).raw_scores.tolist())
    assert len(found.labels) == 6 and 0 <= found.metrics["pixel_auroc"] <= 1
    plain = Detector.calibrate(model, data.train, alpha=0.2)
    assert plain.tile is None and plain.overlap is None
    assert again.to("cpu").tile == 32


def test_arguments_that_exclude_each_other(tile_model: FastFlow, category: Path) -> None:
    normal = open_dataset(category).train
    with pytest.raises(ArgumentError, match=r"size=\(64, 64\) or tile=64, not both"):
        Detector.calibrate(tile_model, normal, size=(64, 64), tile=64)
    with pytest.raises(ArgumentError, match="give tile too"):
        Detector.calibrate(tile_model, normal, overlap=8)
    with pytest.raises(ArgumentError, match="overlap 64 and tile 64"):
        Detector.calibrate(tile_model, normal, tile=64, overlap=64)
    with pytest.raises(ArgumentError, match="set of tiles"):
        Detector.calibrate(tile_model, TiledSet(normal, 32, 8), tile=32)
    with pytest.raises(DataError, match="smaller than a tile of 64"):
        Detector.calibrate(tile_model, normal, tile=64)
    with pytest.raises(ArgumentError, match="size must be that of a tile"):
        TiledScorer(tile_model, (32, 32), tiles=Tiles(64, 0))
    with pytest.raises(ArgumentError, match="batch_size"):
        next(TiledScorer(tile_model, (64, 64), tiles=Tiles(64, 0))(scan(0, 64, 64), 0))


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    (tmp_path / "train/good").mkdir(parents=True)
    for index in range(6):
        Image.fromarray(scan(index, 70, 150)).save(tmp_path / f"train/good/{index}.png")
    return tmp_path


OPTIONS = {
    "weights": "random",
    "config": FastFlowConfig(steps=1, hidden=4),
    "tile": 64,
    "epochs": 1,
    "alpha": 0.4,
    "progress": False,
    "device": "cpu",
}


def test_a_detector_is_trained_on_tiles_and_divided_by_images(scans: Path) -> None:
    detector = Detector.train(scans, overlap=0, **OPTIONS)
    assert detector.tile == 64 and detector.size == (64, 64) and detector.model.input_format.image_size == (64, 64)
    held = len(detector.normal_scores)
    assert 1 <= held < 6
    assert detector.history is not None
    assert detector.history.train_images == (6 - held) * len(tile_corners((70, 150), 64, 0))
    assert detector(scans / "train/good/0.png").map.shape == (70, 150)
    arrays = [scan(index, 70, 150) for index in range(6)]
    from_memory = Detector.train(arrays, overlap=0, **OPTIONS)
    assert from_memory.history is not None
    assert from_memory.history.train_images == detector.history.train_images


def test_images_that_cannot_be_cut_stop_before_the_training(scans: Path) -> None:
    Image.fromarray(scan(0, 60, 150)).save(scans / "train/good/6.png")
    with pytest.raises(DataError, match=r"6\.png is 150 x 60 pixels, smaller than a tile of 64"):
        Detector.train(scans, **OPTIONS)
    with pytest.raises(ArgumentError, match="image_size=64 or tile=64, not both"):
        Detector.train(scans, image_size=64, **OPTIONS)
    with pytest.raises(DataError, match=r"image 1 is 150 x 80 pixels, and others are not"):
        Detector.train([scan(0, 70, 150), scan(1, 80, 150)], **OPTIONS)
    with pytest.raises(DataError, match="smaller than a tile"):
        Detector.train([scan(0, 60, 150), scan(1, 60, 150)], **OPTIONS)
    with pytest.raises(ArgumentError, match="set of tiles"):
        samples = [Sample(scans / f"train/good/{k}.png") for k in range(3)]
        Detector.train(TiledSet(ImageSet(samples, (64, 64), scans), 64, 0), **OPTIONS)


def test_a_file_with_wrong_tiles_is_refused(tile_model: FastFlow, tmp_path: Path, scans: Path) -> None:
    detector = Detector.calibrate(
        started(FastFlow("resnet18", weights="random", steps=1, hidden=4)).eval(), scans, tile=32, alpha=0.2
    )
    object.__setattr__(detector.scorer, "size", (64, 64))
    detector.save(tmp_path / "wrong.safetensors")
    with pytest.raises(CheckpointError, match="size must be that of a tile"):
        Detector.load(tmp_path / "wrong.safetensors")


def test_few_tiles_are_divided_among_the_workers(scorer: TiledScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, whole = [], TiledScorer._maps
    monkeypatch.setattr(TiledScorer, "_maps", lambda self, tiles: (sizes.append(len(tiles)), whole(self, tiles))[1])
    monkeypatch.setattr(tiled_scorer, "worker_count", lambda _: 3)
    assert len(list(scorer([scan(seed, 64, 110) for seed in range(5)], batch_size=8))) == 5
    assert sorted(sizes) == [2, 4, 4]
    assert TiledScorer(scorer.model, (256, 256)).tiles == (256, 64)
