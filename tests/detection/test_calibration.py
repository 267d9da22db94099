"""The threshold of a detector by each rule, what it promises, and its record."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detection.pictures_of_parts import SIZE, picture
from PIL import Image

from fastflow_lite import FastFlow
from fastflow_lite.datasets import ImageSet
from fastflow_lite.datasets.image_set import Sample
from fastflow_lite.detection.calibration import Calibration, image_aspect, threshold_of
from fastflow_lite.detection.score_scale import ScoreScale
from fastflow_lite.detection.scorer import Scorer
from fastflow_lite.errors import ArgumentError, DataError
from fastflow_lite.scoring.thresholds import Threshold, needed_images

NORMAL = [picture(seed) for seed in range(20)]


@pytest.fixture(scope="module")
def scorer(part_model: FastFlow) -> Scorer:
    return Scorer(part_model, SIZE)


def test_rules_and_their_promises(scorer: Scorer) -> None:
    scores = np.sort([one.score for one in scorer(NORMAL)])
    conformal = threshold_of(scorer, NORMAL, "conformal", 0.1)
    assert conformal.promised_rate == 0.1 and conformal.threshold.decide(scores).sum() == 1
    np.testing.assert_allclose(conformal.normal_scores, scores, rtol=1e-6)
    quantile = threshold_of(scorer, NORMAL, "quantile", 0.25)
    assert quantile.promised_rate == 0.25 and quantile.threshold.decide(scores).sum() == 5
    by_hand = threshold_of(scorer, NORMAL, 3, 0.05)
    assert by_hand.threshold.value == 3.0 and by_hand.promised_rate is None
    rule = Threshold(2.0, "fixed", "from elsewhere")
    assert threshold_of(scorer, NORMAL, rule, 0.05).threshold is rule


def test_best_f1_takes_labeled_images(scorer: Scorer, folder: Path) -> None:
    samples = [Sample(folder / f"{k}.png", "spot" if k == 2 else "good") for k in range(5)]
    found = threshold_of(scorer, NORMAL, "best_f1", 0.05, ImageSet(samples, SIZE, folder))
    assert found.threshold.strategy == "best_f1" and found.promised_rate is None
    assert found.threshold.decide([one.score for one in scorer(folder)]).tolist() == [False, False, True, False, False]
    for validation in (None, ImageSet(samples[:2], SIZE, folder)):
        with pytest.raises(ArgumentError, match="needs validation"):
            threshold_of(scorer, NORMAL, "best_f1", 0.05, validation)


def test_too_few_images_promise_what_they_can(scorer: Scorer) -> None:
    assert [needed_images(alpha) for alpha in (0.05, 0.1, 0.5)] == [19, 9, 1]
    with pytest.warns(UserWarning, match="needs 19 normal images.*got 4.*at most 0.200"):
        found = threshold_of(scorer, NORMAL[:4], "conformal", 0.05)
    assert found.promised_rate == 0.2
    assert not found.threshold.decide(found.normal_scores).any()


@pytest.mark.parametrize(("rule", "alarms"), [("conformal", 1), ("quantile", 2)])
@pytest.mark.parametrize("images", [NORMAL, [NORMAL[0]] * 20], ids=["distinct", "identical"])
def test_rounding_in_a_batch_of_another_size_is_no_alarm(
    scorer: Scorer, images: list[np.ndarray], rule: str, alarms: int
) -> None:
    """The promise of the rule stays exact, and what is clearly higher is an alarm."""
    found = threshold_of(scorer, images, rule, 0.1)
    scores = found.normal_scores
    expected = alarms if images is NORMAL else 0
    for moved in (0, 2e-7, -2e-7):
        assert found.threshold.decide(scores + moved * abs(scores)).sum() == expected
    assert found.threshold.decide(found.threshold.value) and found.threshold.value < scores[-1] + 1e-5 * abs(scores[-1])
    scale = ScoreScale(found.threshold.value, float(np.median(scores)))
    assert scale(scores + 2e-7 * abs(scores))[: 20 - alarms].max() < 0.5


def test_the_pixel_threshold_leaves_out_a_thousandth_of_the_pixels_that_count(scorer: Scorer) -> None:
    maps = np.concatenate([one.map.ravel() for one in scorer(NORMAL)])
    found = threshold_of(scorer, NORMAL, "quantile", 0.05)
    assert found.pixel_threshold == pytest.approx(np.quantile(maps, 0.999), rel=1e-6)
    ignore = np.zeros(SIZE, bool)
    ignore[:, :24] = True
    counted = np.concatenate([one.map[:, 24:].ravel() for one in scorer(NORMAL)])
    ignoring = threshold_of(Scorer(scorer.model, SIZE, ignore), NORMAL, "quantile", 0.05)
    assert ignoring.pixel_threshold == pytest.approx(np.quantile(counted, 0.999), rel=1e-6)


def test_wrong_arguments_are_refused(scorer: Scorer) -> None:
    for rule, alpha, reason in (("median", 0.05, "rule"), ("quantile", 1.0, "alpha"), ("quantile", 0, "alpha")):
        with pytest.raises(ArgumentError, match=reason):
            threshold_of(scorer, NORMAL, rule, alpha)
    with pytest.raises(DataError, match="no normal image"):
        threshold_of(scorer, [], "quantile", 0.05)


def test_a_record_goes_through_json(scorer: Scorer) -> None:
    found = threshold_of(scorer, NORMAL, "conformal", 0.1)
    back = Calibration.from_record(json.loads(json.dumps(found.to_record())))
    assert np.array_equal(back.normal_scores, found.normal_scores)
    assert (back.threshold, back.pixel_threshold, back.promised_rate) == (found.threshold, found.pixel_threshold, 0.1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("normal_scores", []), ("normal_scores", [float("nan")]), ("pixel_threshold", None), ("promised_rate", "x")],
)
def test_a_wrong_record_is_refused(name: str, value: Any, scorer: Scorer) -> None:
    record = threshold_of(scorer, NORMAL, "conformal", 0.1).to_record() | {name: value}
    with pytest.raises((ValueError, TypeError)):
        Calibration.from_record(record)


def test_the_aspect_is_that_of_the_first_file(tmp_path: Path) -> None:
    Image.fromarray(picture(0, 20, 50)).save(tmp_path / "a.png")
    images = ImageSet([Sample(tmp_path / "a.png")], SIZE, tmp_path)
    assert [image_aspect(x) for x in (images, tmp_path, str(tmp_path / "a.png"), [tmp_path / "a.png"])] == [2.5] * 4
    assert image_aspect([picture(0)]) is None and image_aspect([]) is None
