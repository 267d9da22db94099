"""Raw maps and scores: the same for one image and many, errors at their place, ignored pixels, a warning of shape."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from detection.pictures_of_parts import SIZE, picture

from fastflow_lite import FastFlow
from fastflow_lite.detection.scorer import Scorer
from fastflow_lite.errors import ArgumentError, DataError


def test_scores_do_not_depend_on_the_batch(part_model: FastFlow) -> None:
    pictures = [picture(seed, spot=seed == 3) for seed in range(7)]
    scorer = Scorer(part_model, SIZE)
    many = list(scorer(pictures, batch_size=3))
    assert [one.name for one in many] == [f"image {k}" for k in range(7)]
    for image, one in zip(pictures, many, strict=True):
        alone = next(scorer(image))
        assert alone.score == pytest.approx(one.score, abs=1e-5) and alone.size == (40, 60)
        assert one.map.shape == SIZE and one.score == pytest.approx(one.map.max())
        np.testing.assert_allclose(alone.map, one.map, atol=1e-5)
    assert int(np.argmax([one.score for one in many])) == 3


def test_a_bad_image_raises_after_those_before_it_or_is_passed_over(part_model: FastFlow, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    sources = [picture(0), picture(1), tmp_path / "text.png", picture(2)]
    scorer, found = Scorer(part_model, SIZE), []
    with pytest.raises(DataError, match=r"text\.png"):
        found += [one.name for one in scorer(sources)]
    problems: list[str] = []
    assert [one.name for one in scorer(sources, on_error=lambda name, _: problems.append(name))] == [
        "image 0",
        "image 1",
        "image 3",
    ]
    assert problems == [str(tmp_path / "text.png")]


def test_findings_before_a_bad_image_are_not_lost(part_model: FastFlow) -> None:
    stream = Scorer(part_model, SIZE)([picture(0), picture(1), "missing.png"], batch_size=8)
    assert [next(stream).name, next(stream).name] == ["image 0", "image 1"]
    with pytest.raises(DataError, match=r"missing\.png does not exist"):
        next(stream)


def test_ignored_pixels_do_not_count(part_model: FastFlow) -> None:
    spot, plain = picture(0, spot=True), picture(0)
    ignore = np.zeros((10, 10), bool)
    ignore[:, :9] = True  # the spot changes the map up to a cell of 16 pixels around it
    all_pixels, without = Scorer(part_model, SIZE), Scorer(part_model, SIZE, ignore)
    assert next(all_pixels(spot)).score > 1.5 * next(all_pixels(plain)).score
    assert next(without(spot)).score <= next(all_pixels(plain)).score
    left_out = next(without(spot)).map[:, :43]
    assert (left_out == next(without(spot)).map.min()).all()


def test_images_of_another_shape_are_warned_of_once(part_model: FastFlow) -> None:
    scorer = Scorer(part_model, SIZE, aspect=1.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(scorer([picture(0), picture(0, 40, 70), picture(0, 80, 120)]))
        list(Scorer(part_model, SIZE, aspect=3.0)(picture(0, *SIZE)))  # has the size of the network already
    with pytest.warns(UserWarning, match="image 0 is 120 x 40 pixels, 3.00 times as wide as high") as caught:
        list(scorer([picture(0, 40, 120), picture(0, 120, 40)]))
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="0.33 times as wide as high"):
        list(Scorer(part_model, SIZE, aspect=1.5)(picture(0, 120, 40)))


def test_the_batch_size_is_checked(part_model: FastFlow) -> None:
    with pytest.raises(ArgumentError, match="batch_size"):
        list(Scorer(part_model, SIZE)(picture(0), batch_size=0))


def test_few_images_are_divided_among_the_workers(part_model: FastFlow, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, whole = [], Scorer._score
    monkeypatch.setattr(Scorer, "_score", lambda self, batch: (sizes.append(len(batch)), whole(self, batch))[1])
    monkeypatch.setattr("fastflow_lite.detection.scorer.worker_count", lambda _: 4)
    images = [picture(seed) for seed in range(10)]
    for count, expected in ((10, [1, 3, 3, 3]), (2, [1, 1])):
        sizes.clear()
        assert len(list(Scorer(part_model, SIZE)(images[:count]))) == count
        assert sorted(sizes) == expected
    assert Scorer(part_model, SIZE)._division(iter(images), 8) == (8, 1)  # what a camera has given is judged at once
