"""The model: who may score, and what may be changed after training."""

import copy
import json
import math
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from properties import given, st
from tiny import Constant, started
from torch import Tensor

from fastflow_lite import FastFlow, evaluate, fit
from fastflow_lite.datasets import ImageSet, open_dataset
from fastflow_lite.errors import (
    ArgumentError,
    DataError,
    DivergedError,
    FastFlowError,
    NotTrainedError,
)
from fastflow_lite.flows import nats_per_dim


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


def test_a_model_prepared_in_bf16_computes_what_bf16_computes(small_model: FastFlow) -> None:
    images = torch.rand(2, 3, 64, 96)
    whole, rounded = (small_model.predict(images, precision)[0] for precision in ("float32", "bf16"))
    ready = small_model.prepared_for_inference("bf16")
    assert (ready.predict(images)[0] - whole).abs().max() > 1e-3 * whole.abs().max()
    torch.testing.assert_close(ready.predict(images)[0], rounded, rtol=0.1, atol=0.05)
    features = [small_model.features(images, precision)[0] for precision in ("float32", "bf16")]
    assert (ready.features(images)[0] - features[0]).abs().max() > 1e-3 * features[0].abs().max()
    with pytest.raises(ArgumentError, match="precision must be one of"):
        small_model.prepared_for_inference("bf15")


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


def gradients_of(model: FastFlow, images: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(nats_per_dim(model(images.to(model.device))), list(model.flows.parameters()))


@pytest.mark.cpu_only  # equal to the last digit
def test_predictions_in_other_threads_leave_mode_and_gradients_as_they_are(small_model: FastFlow) -> None:
    model, images = small_model.train(), torch.rand(2, 3, 64, 64)
    wanted, maps = gradients_of(model, images), model.predict(images)[0]

    def predictions() -> bool:
        found = [use(images)[0] for use in (model.predict, model.prepared_for_inference().predict)]
        return all(torch.allclose(one, maps, rtol=1e-4, atol=1e-5) for one in found)

    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(predictions) for _ in range(6)]
        while not all(job.done() for job in jobs):
            assert model.training
            assert all(map(torch.equal, gradients_of(model, images), wanted))
    assert all(job.result() for job in jobs)


def test_copies_of_a_model_that_was_prepared_have_their_own_weights_and_gradients(small_model: FastFlow) -> None:
    model, images = small_model.train(), torch.rand(1, 3, 64, 64)
    prepared = model.prepared_for_inference()
    before = prepared.predict(images)[0]
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), copy.deepcopy(prepared).model):
        with torch.no_grad():
            other.flows[0].transforms[2].subnet[2].weight.add_(0.5)
        assert all(slope.isfinite().all() for slope in gradients_of(other, images))
        assert not torch.equal(other.predict(images)[0], before)
    assert torch.equal(prepared.predict(images)[0], before)


@pytest.mark.parametrize("save_memory", [False, True])
def test_a_model_is_trained_and_predicts_under_autocast(save_memory: bool, device: torch.device) -> None:
    model = FastFlow("resnet18", "bundled", steps=2, hidden=16, save_memory=save_memory).to(device)
    images = torch.rand(2, 3, 32, 32)
    with torch.autocast(device.type, torch.bfloat16):
        first, last = fit(model, images, epochs=2, progress=False).bits_per_dim
        assert last < first
        found = [use(images)[0] for use in (model.predict, model.prepared_for_inference().predict)]
    for maps in found:
        torch.testing.assert_close(maps, model.predict(images)[0], rtol=0.1, atol=0.1)


def test_an_empty_batch_gives_no_maps_and_no_scores(small_model: FastFlow) -> None:
    for use in (small_model.predict, small_model.prepared_for_inference().predict):
        maps, scores = use(torch.zeros(0, 3, 64, 96))
        assert (maps.shape, scores.shape) == ((0, 1, 64, 96), (0,))
