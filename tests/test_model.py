"""The model: who may score, and what may be changed after training."""

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from properties import given, st
from tiny import Constant, started
from torch import Tensor

from fastflow_lite import FastFlow, evaluate, fit
from fastflow_lite.config import FastFlowConfig
from fastflow_lite.datasets import ImageSet, open_dataset
from fastflow_lite.errors import (
    ArgumentError,
    CheckpointError,
    DataError,
    DivergedError,
    FastFlowError,
    NotTrainedError,
)
from fastflow_lite.files import read_tensors, write_tensors


def test_an_untrained_model_gives_no_scores(device: torch.device) -> None:
    model, images = FastFlow(Constant(0.0, 1.0), steps=1, hidden=4).to(device), torch.rand(2, 3, 32, 32)
    assert issubclass(NotTrainedError, FastFlowError)
    for use in (model.predict, model.prepared_for_inference().predict):
        with pytest.raises(NotTrainedError, match=r"call fit\(model, images\)"):
            use(images)
    with pytest.raises(NotTrainedError):
        evaluate(model, ImageSet([], (32, 32), None, "none"))
    assert len(started(model, 32, 32).predict(images)[1]) == 2


def test_an_unfitted_normalization_gives_no_scores(device: torch.device) -> None:
    model = FastFlow(Constant(0.0, 1.0), steps=1, hidden=4, normalize="channel").to(device)
    with pytest.raises(NotTrainedError):
        started(model, 32, 32).predict(torch.rand(2, 3, 32, 32))


def test_the_readout_may_be_changed_and_is_checked(small_model: FastFlow) -> None:
    images = torch.rand(2, 3, 64, 64)
    before = small_model.predict(images)[0]
    small_model.map = "energy"
    assert small_model.config.map == "energy"
    assert not torch.allclose(small_model.predict(images)[0], before)
    with pytest.raises(ArgumentError, match="map must be one of"):
        small_model.map = "engery"
    assert small_model.map == "energy"


def test_prepared_and_plain_operations_compute_the_same(small_model: FastFlow) -> None:
    images = torch.rand(2, 3, 64, 96)
    maps, scores = small_model.predict(images)
    others = small_model.prepared_for_inference().predict(images)
    with torch.no_grad():
        plain = small_model.eval().maps_and_scores(small_model(images.to(small_model.device), fast=False), (64, 96))
    for found in (others, plain):
        torch.testing.assert_close(found[0], maps, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found[1], scores, rtol=1e-4, atol=1e-5)


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="stepz"):
        FastFlow(Constant(0.0, 1.0), stepz=3)  # type: ignore[call-arg]


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


NAMES = ["with space", "Größe 画像", "a'b [0]* %41{b}", "-x\nline"]


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_work_from_images_to_a_saved_model(
    category: Path, name: str, tmp_path: Path, device: torch.device
) -> None:
    place = tmp_path / name / name
    place.parent.mkdir()
    category.rename(place)
    for image in sorted(place.rglob("*.png")):
        image.rename(image.with_name(f"{name} {image.name}"))
    data = open_dataset(place.parent, name, image_size=(32, 32))
    model = FastFlow(Constant(0.0, 1.0), steps=1, hidden=4).to(device)
    fit(model, data.train, epochs=1, progress=False, checkpoint=tmp_path / f"{name}.checkpoint")
    file = tmp_path / f"{name} model.safetensors"
    model.save(file)
    result = evaluate(FastFlow.load(file, Constant(0.0, 1.0)).to(device), data.test)
    result.to_json(tmp_path / f"{name}.json")
    assert json.loads((tmp_path / f"{name}.json").read_text())["data"]["category"] == name


Saved = tuple[dict[str, Tensor], dict[str, str]]  # tensors and header of a model


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    FastFlow(Constant(0.0, 1.0), steps=1, hidden=4).save(path)
    return read_tensors(path)


@given(st.data(), st.none() | JSON | st.binary(max_size=9))
def test_a_configuration_that_save_did_not_write_is_refused_or_harmless(
    saved: Saved, tmp_path: Path, data: st.DataObject, other: Any
) -> None:
    tensors, header = saved
    config = json.loads(header["config"])
    changes = data.draw(st.dictionaries(st.sampled_from([*config, "weights", "__class__"]), JSON, max_size=3))
    content = config | changes if other is None else other
    text = content.decode("latin1") if isinstance(content, bytes) else json.dumps(content)
    path = tmp_path / "odd.safetensors"
    write_tensors(path, tensors, header | {"config": text})
    with suppress(CheckpointError):  # anything else is a failure
        FastFlow.load(path, Constant(0.0, 1.0))
        assert set(content) <= set(config)
    assert list(tmp_path.iterdir()) == [path]


def test_a_model_of_numbers_that_are_none_is_refused(saved: Saved, tmp_path: Path) -> None:
    shift = "flows.0.transforms.0.shift"
    write_tensors(tmp_path / "nan.safetensors", saved[0] | {shift: saved[0][shift] * math.nan}, saved[1])
    with pytest.raises(CheckpointError, match=r"nan\.safetensors holds values that are not finite \(flows\.0"):
        FastFlow.load(tmp_path / "nan.safetensors", Constant(0.0, 1.0))


def test_damaged_model_files_are_refused_by_name(tmp_path: Path, small_model: FastFlow) -> None:
    file = tmp_path / "m.safetensors"
    with pytest.raises(CheckpointError, match=r"m\.safetensors does not exist"):
        FastFlow.load(file)
    small_model.save(file)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"m\.safetensors is damaged"):
        FastFlow.load(file)


def test_predict_leaves_the_model_as_it_was(small_model: FastFlow) -> None:
    small_model.train()
    maps, scores = small_model.predict(torch.rand(2, 3, 64, 96))
    assert small_model.training
    assert (maps.shape, scores.shape) == ((2, 1, 64, 96), (2,))
    assert torch.equal(maps.flatten(1).amax(dim=1), scores)


def test_a_prepared_model_is_a_copy(small_model: FastFlow, device: torch.device) -> None:
    images = torch.rand(1, 3, 64, 64, device=device)
    prepared = small_model.eval().prepared_for_inference()
    with torch.no_grad():
        small_model.flows[0].transforms[2].subnet[2].weight.add_(0.5)
    trained = small_model.prepared_for_inference()
    assert not torch.equal(prepared(images)[0][0], trained(images)[0][0])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("kind", ["tempered", "energy"])
def test_maps_that_are_not_finite_are_an_error(small_model: FastFlow, bad: float, kind: str) -> None:
    images = torch.rand(2, 3, 64, 64)
    images[1, :, :4, :4] = bad
    small_model.map = kind
    for use in (small_model.predict, small_model.prepared_for_inference().predict):
        with pytest.raises((DivergedError, DataError, ArgumentError), match=r"finite|NaN"):
            use(images)


def test_a_saved_model_keeps_every_option(tmp_path: Path) -> None:
    """The readout as well, which changes the scores and is no tensor."""
    options: Any = {
        "steps": 2, "kernels": (1,), "hidden": 5, "coupling": "additive", "clamp": 1.5, "normalize": "map", "seed": 3,
        "uncounted_affine": (32, 48), "map": "nll", "image_score": "top", "smoothing": 1.5, "save_memory": True,
    }  # fmt: skip
    model = started(FastFlow(Constant(0.0, 1.0), **options), 32, 48)
    plain = FastFlowConfig()
    assert {name for name in options if getattr(model.config, name) != getattr(plain, name)} == set(options)
    model.save(tmp_path / "model.safetensors")
    loaded = FastFlow.load(tmp_path / "model.safetensors", Constant(0.0, 1.0))
    assert loaded.config == replace(model.config, save_memory=False)  # which changes no result
    images = torch.rand(2, 3, 32, 48)
    for found, expected in zip(loaded.predict(images), model.predict(images), strict=True):
        torch.testing.assert_close(found, expected)
