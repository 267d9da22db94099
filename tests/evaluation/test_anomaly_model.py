"""The protocol of models: a FastFlow and both baselines have all of it, and are evaluated alike."""

import inspect
import json
import math
from pathlib import Path
from typing import Any

import pytest
from tiny import TwoLevels

from fastflow_lite import FastFlow, evaluate
from fastflow_lite.baselines import BASELINES, FitHistory
from fastflow_lite.datasets import Data, open_dataset
from fastflow_lite.errors import ArgumentError, NotTrainedError
from fastflow_lite.evaluation import report, score_images
from fastflow_lite.evaluation.anomaly_model import AnomalyModel, TrainingHistory, size_in_mib
from fastflow_lite.training import History, Settings


@pytest.fixture
def data(category: Path) -> Data:
    return open_dataset(category.parent, category.name, image_size=(64, 48))


def names_of(protocol: type) -> set[str]:
    members = {name for name, _ in inspect.getmembers(protocol) if not name.startswith("_")}
    return members | set(protocol.__annotations__)


def test_all_models_and_histories_have_what_is_needed() -> None:
    assert {"map", "readout", "config", "input_format"} <= names_of(AnomalyModel)
    for model in (FastFlow(TwoLevels(), steps=1), *(kind(TwoLevels()) for kind in BASELINES.values())):
        assert not [name for name in names_of(AnomalyModel) if not hasattr(model, name)]
    for history in (History(Settings()), FitHistory()):
        assert not [name for name in names_of(TrainingHistory) if not hasattr(history, name)]


@pytest.mark.parametrize("kind", BASELINES.values(), ids=BASELINES)
def test_a_baseline_is_evaluated(kind: Any, data: Data, tmp_path: Path) -> None:
    model = kind(TwoLevels())
    with pytest.raises(NotTrainedError):
        evaluate(model, data.test)
    history = model.fit(data.train, progress=False)
    result = evaluate(model, data.test, normal=data.train, history=history)
    record = json.loads(result.to_json())
    assert list(record["variants"]) == ["distance"]
    assert record["model"] == json.loads(json.dumps(model.config.to_record()))
    assert record["metrics"]["test_bits_per_dim"] is None
    assert set(record["seconds"]) == {"features", "training", "scoring", "metrics"}
    sizes, learned = record["size_mib"], sum(tensor.nbytes for tensor in model.buffers()) / 2**20
    assert sizes["learned"] == pytest.approx(learned, abs=2e-3) and sizes["learned"] + sizes[
        "backbone"
    ] == pytest.approx(sizes["file"], abs=2e-3)
    model.save(tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").stat().st_size / 2**20 == pytest.approx(sizes["file"], abs=0.01)
    assert record["epochs"] == 1 and record["training"]["train_sha256"] == data.train.fingerprint()
    maps, scores = zip(*(model.predict(image[None]) for image, _ in data.test), strict=True)
    assert result.scores.tolist() == pytest.approx([float(score) for score in scores], rel=1e-4)
    assert result.maps[1].max() == pytest.approx(float(maps[1].max()), rel=1e-4)
    assert "From the same latents" not in report.summary_paragraph(result)
    assert report.metrics_table(result).index.tolist() == ["distance (used below)"]


def test_a_kind_of_map_that_a_model_does_not_have_is_named(data: Data) -> None:
    model = BASELINES["padim"](TwoLevels())
    model.fit(data.train, progress=False)
    assert math.isnan(score_images(model, data.test).bits_per_dim)
    with pytest.raises(ArgumentError, match="map must be one of 'distance', got 'nll'"):
        score_images(model, data.test, ("nll",))


def test_sizes_are_those_of_the_tensors_to_a_thousandth_of_a_mib(small_model: FastFlow) -> None:
    tensors = small_model.state_dict().items()
    learned = sum(tensor.nbytes for name, tensor in tensors if not name.startswith("backbone."))
    sizes = size_in_mib(small_model)
    assert sizes["learned"] == round(learned / 2**20, 3)
    assert sizes["file"] == round(sum(tensor.nbytes for _, tensor in tensors) / 2**20, 3)
