"""Scores of a set: those of `predict`, in order, whatever the size of a batch."""

import numpy as np
import pytest
import torch

from fastflow_lite import FastFlow
from fastflow_lite.datasets import ImageSet
from fastflow_lite.devices.host_copy import HostCopy
from fastflow_lite.evaluation import score_images, scored_images
from fastflow_lite.flows.likelihood import bits, nats_per_dim


@pytest.mark.parametrize("batch_size", [1, 4, 8])
def test_maps_and_scores_are_those_of_the_model(images: ImageSet, small_model: FastFlow, batch_size: int) -> None:
    model = small_model.eval()
    everything = torch.stack([image for image, _ in images])
    maps, scores = model.predict(everything)
    found = score_images(model, images, (model.map, "nll"), batch_size)
    assert list(found.maps) == list(found.scores) == [model.map, "nll"]
    np.testing.assert_allclose(found.maps[model.map], maps[:, 0].cpu().numpy(), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.scores[model.map], scores.cpu().numpy(), rtol=1e-3, atol=1e-4)
    assert np.array_equal(found.masks, np.stack([mask.numpy() for _, mask in images]))
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
