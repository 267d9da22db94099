"""Evaluation and its record, also of sets that are empty, have one class only, or have values that are not finite."""

import json
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from tiny import defaults
from torch import Tensor
from torch.utils.data import Subset

from fastflow_lite import FastFlow, evaluate, fit
from fastflow_lite.datasets import Data, ImageSet, Sample, open_dataset
from fastflow_lite.errors import ArgumentError, DataError
from fastflow_lite.evaluation import compare_thresholds, report, score_images
from fastflow_lite.evaluation.evaluator import split_by_file
from fastflow_lite.scoring.pixel_iou import iou, mean_iou_oracle
from fastflow_lite.scoring.thresholds import split_validation


@pytest.fixture
def data(category: Path) -> Data:
    return open_dataset(category.parent, category.name, image_size=(64, 48))


def test_evaluation_finds_the_square_and_writes_its_record(data: Data, tmp_path: Path) -> None:
    model = FastFlow("resnet18", weights="bundled", steps=2, hidden=16, kernels=(3, 1))
    history = fit(model, data.train, epochs=6, batch_size=2, progress=False)
    result = evaluate(model, data.test, normal=data.train, history=history, parameters={"seed": 0})
    assert result.image_auroc == 1.0
    assert result.pixel_auroc > 0.8
    record = json.loads(result.to_json(tmp_path / "result.json"))
    assert record == json.loads((tmp_path / "result.json").read_text())
    assert record["metrics"]["image_auroc"] == 1.0
    assert set(record["variants"]) == {"tempered", "likelihood", "exp_energy", "energy", "nll"}
    assert record["weights"]["sha256"] == model.backbone.weights_info.sha256
    assert record["data"]["test_sha256"] == data.test.fingerprint()
    assert record["epochs"] == 6
    assert set(record["seconds"]) == {"features", "training", "scoring", "metrics"}
    assert [row["strategy"] for row in record["thresholds"]] == ["fixed", "quantile", "best_f1"]
    assert [row["defect"] for row in record["per_defect"]] == ["square"]
    assert record["peak_memory_mib"]["host"] > 50
    assert str(tmp_path) not in result.to_json()


def test_defaults() -> None:
    found = defaults(evaluate)
    assert (found["quantile"], found["seed"], found["batch_size"], found["precision"]) == (0.95, 0, 8, "float32")


def test_the_seconds_of_the_stages_are_no_more_than_all(data: Data) -> None:
    model, began = FastFlow("resnet18", weights="bundled", steps=1, hidden=4), time.monotonic()
    history = fit(model, data.train, epochs=1, batch_size=3, progress=False)
    seconds = evaluate(model, data.test, history=history).record["seconds"]
    assert all(value > 0 for value in seconds.values())
    assert sum(seconds.values()) < time.monotonic() - began


def test_the_record_states_a_precision_other_than_float32(data: Data, small_model: FastFlow) -> None:
    records = [evaluate(small_model, data.test, normal=data.train, precision=p).record for p in ("float32", "bf16")]
    assert "precision" not in records[0]["machine"]
    assert records[1]["machine"] == records[0]["machine"] | {"precision": "bf16"}
    assert records[0]["pixel_threshold"] != records[1]["pixel_threshold"]
    with pytest.raises(ArgumentError, match="precision must be one of 'float32', 'bf16', got 'half'"):
        evaluate(small_model, data.test, precision="half")


def test_all_thresholds_are_judged_on_images_that_set_none_of_them() -> None:
    """Scores that separate the validation half perfectly and the other half the wrong way round."""
    samples = [Sample(Path(f"{k}.png"), "good" if k % 2 else "bent") for k in range(40)]
    test = ImageSet(samples, (8, 8), Path())
    validation, judge = split_validation(test.labels, 0.5, 0, test.defects)
    scores = np.empty(40)
    scores[validation] = test.labels[validation]
    scores[judge] = ~test.labels[judge]
    rules, rows = compare_thresholds(test, scores, np.zeros(10), 0.5, 0.95, seed=0)
    assert [rule.strategy for rule in rules] == ["fixed", "quantile", "best_f1"]
    assert [(row["recall"], row["false_alarm_rate"]) for row in rows] == [(0.0, 1.0)] * 3


def test_undefined_is_null_never_a_number(data: Data, small_model: FastFlow) -> None:
    normal = data.test.subset([0, 1, 2])
    record = json.loads(evaluate(small_model, normal).to_json())
    assert record["metrics"]["image_auroc"] is None
    assert record["metrics"]["aupro"] is None
    reasons = {row["strategy"]: row.get("note", "") for row in record["thresholds"]}
    assert "lacks" in reasons["best_f1"]
    assert "held-out" in reasons["quantile"]
    with pytest.raises(DataError, match="no images to score"):
        evaluate(small_model, data.test.subset([]))


def test_one_defect_is_enough_for_the_threshold_of_the_best_f1(data: Data) -> None:
    few = data.test.subset([0, 1, 3, 4])
    _, rows = compare_thresholds(few, np.array([0.0, 0.0, 1.0, 1.0]), calibration=None, fixed=None, quantile=1, seed=0)
    assert [row["value"] for row in rows if row["strategy"] == "best_f1"] == [0.5]


def test_the_split_of_single_images_is_that_of_their_labels(data: Data) -> None:
    found = split_by_file(data.test, seed=3)
    for part, expected in zip(found, split_validation(data.test.labels, 0.5, 3, data.test.defects), strict=True):
        assert np.array_equal(part, expected)


def test_defects_set_no_threshold(data: Data, small_model: FastFlow) -> None:
    with pytest.raises(DataError, match=r"normal must be normal images only, but 3 of 6 .*square/000\.png"):
        evaluate(small_model, data.test, normal=data.test)
    with pytest.raises(DataError, match="normal holds no image"):
        evaluate(small_model, data.test, normal=data.train.subset([]))


def test_normal_images_alone_set_a_threshold(data: Data, small_model: FastFlow, tmp_path: Path) -> None:
    """A data set without a test part, as before the first defect: no metric, but the thresholds of held-out images."""
    full = evaluate(small_model, data.test, normal=data.train)
    result = evaluate(small_model, data.test.subset([]), normal=data.train)
    record = json.loads(result.to_json(tmp_path / "result.json"))
    assert set(record["metrics"].values()) == {None}
    assert record["data"]["test_images"] == 0
    assert [rule.strategy for rule in result.thresholds] == ["quantile"]
    assert result.thresholds == full.thresholds[:1]
    assert result.pixel_threshold == full.pixel_threshold
    assert "image AUROC undefined" in report.summary_line(result.record)
    assert "0 normal and 0 anomalous" in report.summary_paragraph(result)
    assert report.defect_table(result).empty


def test_images_that_are_not_numbers_have_no_score(
    small_model: FastFlow, category: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test, read = open_dataset(category, image_size=(64, 48)).test.subset([0]), ImageSet.__getitem__
    monkeypatch.setattr(ImageSet, "__getitem__", lambda self, k: (read(self, k)[0] * math.nan, read(self, k)[1]))
    with pytest.raises(FloatingPointError, match="not finite"):
        evaluate(small_model, test)


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
    pixel = {"pixel_auroc", "pixel_ap", "pixel_f1_max_oracle", "aupro", "pixel_iou_oracle"}
    undefined = set() if kept == [0, 3] else image if kept == [3, 4] else image | pixel
    undefined = undefined | {"pixel_iou"}  # no normal images, so no threshold
    assert {name for name, value in found.items() if value is None} == undefined
    assert all(math.isnan(getattr(result, name)) for name in undefined)
    assert all(0 <= found[name] <= 1 for name in (image | pixel) - undefined)


class FailingSet(ImageSet):
    """The file of every image is gone."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        raise DataError(f"{self.samples[index].image} is gone")


def test_the_mode_of_the_model_is_restored(data: Data, small_model: FastFlow) -> None:
    for training in (True, False):
        model = small_model.train(training)
        evaluate(model, data.test, normal=data.train)
        assert model.training == model.flows[0].training == training
        broken = FailingSet(data.train.samples, data.test.size, data.test.root)
        for wrong in ({"normal": broken}, {"test": broken}):
            with pytest.raises(DataError, match="is gone"):
                evaluate(model, **({"test": data.test} | wrong))
            assert model.training == model.flows[0].training == training


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"quantile": 0.0}, "quantile must be above 0 and at most 1, got 0.0"),
        ({"quantile": 1.5}, "quantile must be above 0 and at most 1, got 1.5"),
        ({"quantile": math.nan}, "quantile must be above 0 and at most 1, got nan"),
        ({"fixed": math.nan}, "fixed must be a finite number, got nan"),
        ({"fixed": math.inf}, "fixed must be a finite number, got inf"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_named_before_an_image_is_read(
    data: Data, small_model: FastFlow, given: dict[str, Any], text: str
) -> None:
    broken = FailingSet(data.test.samples, data.test.size, data.test.root)
    with pytest.raises(ArgumentError, match=text):
        evaluate(small_model, broken, **given)


def test_sets_may_be_of_any_kind_that_fit_takes(data: Data, small_model: FastFlow) -> None:
    known = evaluate(small_model, data.test.subset([0, 5]), normal=data.train)
    tensor = torch.stack([image for image, _ in data.train])
    for normal in (tensor, Subset(data.train, range(len(data.train)))):
        found = evaluate(small_model, Subset(data.test, [0, 5]), normal=normal)
        assert found.pixel_threshold == pytest.approx(known.pixel_threshold, rel=1e-5)
        assert found.scores.tolist() == known.scores.tolist()


@pytest.mark.parametrize("kind", ["data", "tensor", "path"])
def test_what_has_no_labels_is_no_test_set(kind: str, data: Data, small_model: FastFlow) -> None:
    test: Any = {"data": data, "tensor": torch.rand(2, 3, 64, 48), "path": "toy"}[kind]
    with pytest.raises(ArgumentError, match=r"test must be an ImageSet, got .*test"):
        evaluate(small_model, test)


def test_the_level_of_pixels_is_exceeded_by_one_normal_pixel_in_a_thousand(data: Data, small_model: FastFlow) -> None:
    """Of held-out normal images, so not by one in twenty."""
    result = evaluate(small_model, data.test, normal=data.train)
    maps = score_images(small_model, data.train, (small_model.map,)).maps[small_model.map]
    assert (maps > result.pixel_threshold).mean() == pytest.approx(0.001, abs=0.0001)


def test_the_iou_is_that_of_the_level_of_normal_pixels(data: Data, small_model: FastFlow) -> None:
    result = evaluate(small_model, data.test, normal=data.train)
    marked = result.maps >= result.pixel_threshold
    parts = [iou(mask, found) for mask, found in zip(result.masks[3:], marked[3:], strict=True)]
    assert result.pixel_iou == pytest.approx(np.mean(parts))
    assert result.pixel_iou <= result.pixel_iou_oracle == mean_iou_oracle(result.masks, result.maps)[0] < 1


def test_the_variants_and_defects_are_measured_on_all_their_pixels(data: Data, small_model: FastFlow) -> None:
    """Against scikit-learn, on the maps of `score_images`."""
    result, scored = evaluate(small_model, data.test), score_images(small_model, data.test)
    assert np.array_equal(result.maps, scored.maps[small_model.map])
    for kind, maps in scored.maps.items():
        expected = roc_auc_score(scored.masks.ravel(), maps.ravel())
        assert result.variants[kind]["pixel_auroc"] == pytest.approx(expected, abs=1e-9)
        assert result.variants[kind]["image_auroc"] == roc_auc_score(data.test.labels, scored.scores[kind])
    (row,) = result.record["per_defect"]
    assert row["pixel_auroc"] == result.pixel_auroc  # one kind of defect: all images are chosen
    assert row["image_auroc"] == result.image_auroc
    assert (row["images"], row["area_percent"]) == (3, pytest.approx(100 * 16 * 20 / (64 * 48)))


MEMORY = """
import os, resource, sys
from pathlib import Path
import torch
from tiny import Constant, started
from fastflow_lite import FastFlow, evaluate
from fastflow_lite.datasets import ImageSet, Sample

class Drawn(ImageSet):
    def __getitem__(self, index):
        mask = torch.zeros(self.size, dtype=torch.bool)
        mask[:32, :32] = bool(index % 2)
        return (torch.arange(self.size[1]) / self.size[1] * torch.ones(3, *self.size) + index % 7 / 9 * mask), mask
    def fingerprint(self):
        return ""

model = started(FastFlow(Constant(0.0, 1.0), steps=1, hidden=4))
def peak(count):
    samples = [Sample(Path(f"{k}"), ("good", "bent")[k % 2], Path()) for k in range(count)]
    evaluate(model, Drawn(samples, (256, 256), Path("drawn")))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
if os.fork():  # a program that was started counts the memory of the one that started it; a copy does not
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
first, second = peak(8), peak(108)
print((second - first) / (100 * 4 * 256 * 256))
"""


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.cpu_only
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a copy of a process is measured")
def test_a_few_maps_of_each_image_are_in_memory() -> None:
    """Of four bytes a pixel: 2.5, where it was nine. 1,000 images of 512 pixels a side take 3.1 GB."""
    place = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]), "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-c", MEMORY], env=os.environ | place, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 4
