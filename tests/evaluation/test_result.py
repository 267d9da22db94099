"""The metrics of a result are attributes, and its record is JSON."""

import json
from pathlib import Path

import numpy as np
import pytest

from fastflow_lite import FastFlow, evaluate
from fastflow_lite.datasets import open_dataset
from fastflow_lite.evaluation import Record, Result


@pytest.fixture
def result(category: Path, small_model: FastFlow) -> Result:
    return evaluate(small_model, open_dataset(category.parent, category.name, image_size=(64, 48)).test)


def test_every_metric_is_an_attribute(result: Result) -> None:
    metrics = result.record["metrics"]
    assert len(metrics) == 10
    assert set(metrics) <= set(dir(result))
    assert {name: getattr(result, name) for name in metrics} == metrics


def test_a_misspelled_metric_is_an_attribute_error(result: Result) -> None:
    assert not hasattr(result, "image_aurok")
    with pytest.raises(AttributeError, match="object has no attribute 'accuracy'"):
        _ = result.accuracy


def test_json_is_indented_and_ends_with_a_line(result: Result, tmp_path: Path) -> None:
    result.record["parameters"] = {"pair": (1.0, float("nan")), "of_numpy": np.float32(0.5)}
    text = result.to_json(tmp_path / "result.json")
    assert (tmp_path / "result.json").read_text() == text + "\n"
    assert text.startswith('{\n  "')
    assert json.loads(text)["parameters"] == {"pair": [1.0, None], "of_numpy": 0.5}


def test_json_has_the_keys_of_the_typed_record(result: Result) -> None:
    record = json.loads(result.to_json())
    assert list(record) == list(Record.__annotations__)
    assert record["pixel_threshold"] is None
