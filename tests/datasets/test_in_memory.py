"""Images that are not files: what they must be, and that a model trains on them as on files."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from fastflow_lite import FastFlow, fit
from fastflow_lite.datasets import open_dataset
from fastflow_lite.datasets.in_memory import TensorSet, as_image_set, as_normal_set
from fastflow_lite.errors import DataError


class Images(Dataset[Tensor]):
    """A Dataset of images alone, without a tuple around them."""

    def __init__(self, images: list[Tensor]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def test_a_model_trains_on_a_tensor_and_on_a_dataset_as_on_files(category: Path) -> None:
    files = open_dataset(category, image_size=(64, 48)).train
    tensor = torch.stack([image for image, _ in files])
    weights = []
    for images in (files, tensor, TensorDataset(tensor), Images(list(tensor))):
        model = FastFlow("resnet18", "bundled", steps=1, hidden=8)
        history = fit(model, images, held_out=images, epochs=1, batch_size=3, progress=False)
        assert (history.train_images, len(history.held_out)) == (6, 1)
        weights.append(torch.cat([p.flatten() for p in model.flows.parameters()]))
    assert all(torch.equal(weights[0], other) for other in weights[1:])


def test_the_fingerprint_follows_the_values() -> None:
    images = torch.rand(3, 3, 8, 8)
    other = images.clone()
    other[2, 0, 0, 0] = 0.5
    prints = [TensorSet(source, "train").fingerprint() for source in (images, TensorDataset(images), other)]
    assert prints[0] == prints[1] != prints[2]


WRONG = [
    (torch.rand(3, 8, 8), r"train must be images \(N, 3, H, W\), got a tensor \(3, 8, 8\)"),
    (torch.rand(0, 3, 8, 8), "train holds no image"),
    (torch.rand(2, 1, 8, 8), "image 0 of train must be a tensor"),
    (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "of torch.uint8"),
    (torch.full((2, 3, 8, 8), 255.0), "divide 8-bit images by 255"),
    (torch.full((2, 3, 8, 8), 1.5), "outside"),
    (torch.full((2, 3, 8, 8), torch.nan), "outside"),
    (iter([1]), "must have a length"),
    (Images([torch.rand(3, 8, 8), torch.rand(3, 8, 9)]), r"image 1 of train is \(8, 9\), the first one \(8, 8\)"),
    (Images([[torch.rand(3, 8, 8), torch.ones(8, 8, dtype=torch.bool)]]), "image 0 of train has a mask that marks"),
]


@pytest.mark.parametrize(("source", "text"), WRONG)
def test_other_things_are_refused_by_name(source: Any, text: str) -> None:
    with pytest.raises(DataError, match=text):
        list(as_image_set(source, "train").batches(2))


def test_images_are_pinned_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(len(self)) or self)
    images = TensorSet(torch.rand(5, 3, 8, 8), "train")
    assert len(list(images.batches(2))) == 3 and not pinned
    assert torch.equal(torch.cat([batch for batch, _ in images.batches(2, pin=True)]), images.source)
    assert pinned == [2, 2, 1]


def test_defects_are_refused_in_a_subset_and_in_sets_joined_by_torch(category: Path) -> None:
    data = open_dataset(category, image_size=(64, 48))
    chosen = as_normal_set(Subset(Subset(data.test, [0, 1, 5]), [1, 0]), "train")
    assert chosen.samples == [data.test.samples[1], data.test.samples[0]]
    with pytest.raises(DataError, match=r"train must be normal images only, but 1 of 2 .*square/002\.png"):
        as_normal_set(Subset(data.test, [0, 5]), "train")
    joined = as_normal_set(ConcatDataset([data.train, data.test]), "train")
    assert len(joined) == 12 and joined[8][0].shape == (3, 64, 48)
    with pytest.raises(DataError, match=r"image 9 of train has a mask that marks a defect"):
        joined[9]
    with pytest.raises(DataError, match="held_out holds no image"):
        as_normal_set(data.train.subset([]), "held_out")
