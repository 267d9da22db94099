"""The model: who may score, and what may be changed after training."""

import pytest
import torch
from tiny import Constant, started

from fastflow_lite import FastFlow, evaluate
from fastflow_lite.datasets import ImageSet
from fastflow_lite.errors import ArgumentError, FastFlowError, NotTrainedError


def test_an_untrained_model_gives_no_scores() -> None:
    model, images = FastFlow(Constant(0.0, 1.0), steps=1, hidden=4), torch.rand(2, 3, 32, 32)
    assert issubclass(NotTrainedError, FastFlowError)
    for use in (model.predict, model.prepared_for_inference().predict):
        with pytest.raises(NotTrainedError, match=r"call fit\(model, images\)"):
            use(images)
    with pytest.raises(NotTrainedError):
        evaluate(model, ImageSet([], (32, 32), None, "none"))
    assert len(started(model, 32, 32).predict(images)[1]) == 2


def test_an_unfitted_normalization_gives_no_scores() -> None:
    model = FastFlow(Constant(0.0, 1.0), steps=1, hidden=4, normalize="channel")
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
        plain = small_model.eval().maps_and_scores(small_model(images, fast=False), (64, 96))
    for found in (others, plain):
        torch.testing.assert_close(found[0], maps, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found[1], scores, rtol=1e-4, atol=1e-5)


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="stepz"):
        FastFlow(Constant(0.0, 1.0), stepz=3)  # type: ignore[call-arg]
