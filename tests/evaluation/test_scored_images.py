"""Scores of a set: those of `predict`, in order, whatever the size of a batch."""

import numpy as np
import pytest
import torch

from fastflow_lite import FastFlow
from fastflow_lite.datasets import ImageSet
from fastflow_lite.devices.host_copy import HostCopy
from fastflow_lite.errors import ArgumentError, DivergedError
from fastflow_lite.evaluation import score_images, scored_images
from fastflow_lite.flows.likelihood import bits, nats_per_dim
from fastflow_lite.scoring.maps import MAPS


@pytest.mark.parametrize("batch_size", [1, 4, 8])
def test_maps_and_scores_are_those_of_the_model(images: ImageSet, small_model: FastFlow, batch_size: int) -> None:
    model = small_model.eval()
    everything = torch.stack([image for image, _ in images])
    maps, scores = model.predict(everything)
    found = score_images(model, images, (model.map, "nll"), batch_size)
    assert list(found.maps) == list(found.scores) == [model.map, "nll"]
    assert len(found.maps) == 2
    with pytest.raises(KeyError, match="energy"):
        found.maps["energy"]
    np.testing.assert_allclose(found.maps[model.map], maps[:, 0].cpu().numpy(), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.scores[model.map], scores.cpu().numpy(), rtol=1e-3, atol=1e-4)
    assert np.array_equal(found.masks, np.stack([mask.numpy() for _, mask in images]))
    assert 0 < found.seconds < 300
    with torch.no_grad():
        assert found.bits_per_dim == pytest.approx(
            bits(nats_per_dim(model(everything.to(model.device))).item()), rel=1e-5
        )


def test_results_are_stored_while_the_next_batch_is_computed(
    images: ImageSet, small_model: FastFlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []

    class Noted(HostCopy):
        def __init__(self, tensors: list[torch.Tensor], device: torch.device) -> None:
            super().__init__(tensors, device)
            self.size = len(tensors[1])
            notes.append(f"computed {self.size}")

        def wait(self) -> list[np.ndarray]:
            notes.append(f"stored {self.size}")
            return super().wait()

    monkeypatch.setattr(scored_images, "HostCopy", Noted)
    score_images(small_model, images.subset([0, 1, 2, 3, 4]), batch_size=2)
    assert notes == ["computed 2", "computed 2", "stored 2", "computed 1", "stored 2", "stored 1"]


def test_scores_in_bf16_are_those_of_the_model_in_bf16(images: ImageSet, small_model: FastFlow) -> None:
    model = small_model.eval()
    exact, rounded = (score_images(model, images, (model.map,), 6, p).scores[model.map] for p in ("float32", "bf16"))
    assert not np.array_equal(exact, rounded)
    np.testing.assert_allclose(rounded, exact, rtol=0.1)
    _, expected = model.predict(torch.stack([image for image, _ in images]), precision="bf16")
    np.testing.assert_allclose(rounded, expected.cpu().numpy(), rtol=0.05)


def test_every_kind_of_map_is_that_of_the_model(images: ImageSet, small_model: FastFlow) -> None:
    """Also after the model's medians and smoothing have changed: the maps are those of the call."""
    model = small_model.eval()
    model.training_medians.copy_(torch.tensor([[0.4, -0.1], [0.5, 0.1], [0.6, 0.2]]))
    model.smoothing = 2.0
    with torch.no_grad():
        outputs = model(torch.stack([image for image, _ in images]).to(model.device))
        expected = {kind: model.anomaly_map(outputs, images.size, kind)[:, 0].cpu().numpy() for kind in MAPS}
    found = score_images(model, images, batch_size=4)
    model.training_medians.zero_()
    model.smoothing = 0.0
    assert list(found.maps) == list(expected)
    for kind, maps in found.maps.items():
        np.testing.assert_allclose(maps, expected[kind], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found.scores[kind], expected[kind].max(axis=(1, 2)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_keeps_its_mode(images: ImageSet, small_model: FastFlow, training: bool) -> None:
    model = small_model.train(training)
    score_images(model, images)
    assert model.training == model.flows[0].training == training
    with pytest.raises(ArgumentError, match="precision"):
        score_images(model, images, precision="half")
    assert model.training == model.flows[0].training == training


def test_little_more_than_the_masks_is_kept_of_an_image(images: ImageSet, small_model: FastFlow) -> None:
    """Energy and log_det of strides 4, 8 and 16: a sixth of a map, where five maps were kept."""
    maps = score_images(small_model, images).maps
    pixels = len(images) * images.size[0] * images.size[1]
    assert sum(term.nbytes for term in maps.terms) == 4 * pixels * 2 * (1 / 16 + 1 / 64 + 1 / 256)
    assert maps["nll"].nbytes == 4 * pixels
    assert maps["nll"] is not maps["nll"]


def test_maps_that_are_not_finite_are_named(images: ImageSet, small_model: FastFlow) -> None:
    """An infinite energy is a likelihood of zero: those maps are finite."""
    with torch.no_grad():
        small_model.flows[1].transforms[0].shift.fill_(1e30)
    small_model.train()
    with pytest.raises(DivergedError, match="the maps energy, nll are not finite"):
        score_images(small_model, images.subset([0, 1]))
    assert small_model.training


@pytest.mark.parametrize("batch_size", [0, -1, 2.0])
def test_a_wrong_batch_size_is_named(images: ImageSet, small_model: FastFlow, batch_size: int) -> None:
    with pytest.raises(ArgumentError, match="batch_size must be a whole number of at least 1"):
        score_images(small_model, images, batch_size=batch_size)
