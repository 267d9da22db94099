"""What the schematics of the method state is what backbone and model do."""

import pytest
import torch

from fastflow_lite import FastFlow
from fastflow_lite.figures import method_schematics

pytestmark = pytest.mark.usefixtures("few_noise_images")


@pytest.fixture(scope="module")
def model() -> FastFlow:
    return FastFlow("resnet18", "random", steps=1)


def test_shapes_are_those_of_resnet18(model: FastFlow) -> None:
    text = method_schematics.method().svg()
    for maps in model.features(torch.rand(1, 3, 256, 256)):
        assert " × ".join(str(side) for side in maps.shape[1:]) in text


def test_receptive_fields_are_those_of_resnet18(model: FastFlow) -> None:
    """A cell changes with the outermost pixels of its field, and with none beyond."""
    image = torch.rand(1, 3, 256, 256)
    before = model.backbone(image)
    for layer, (stride, field) in enumerate(method_schematics.FIELDS.values()):
        middle = 128 // stride
        inner, edge = slice(128 - field // 2 + 1, 128 + field // 2), slice(128 - field // 2, 128 + field // 2 + 1)
        for kept, same in ((edge, True), (inner, False)):
            changed = torch.rand(1, 3, 256, 256)
            changed[..., kept, kept] = image[..., kept, kept]
            after = model.backbone(changed)[layer][0, :, middle, middle]
            assert 256 // before[layer].shape[-1] == stride
            assert torch.equal(after, before[layer][0, :, middle, middle]) == same, (stride, field)


def test_the_areas_of_mistakes_are_drawn_on_their_sides() -> None:
    text = method_schematics.threshold().svg()
    false_alarms, misses = (text.split('fill-opacity="0.4"')[k].rsplit('points="', 1)[1] for k in (0, 1))
    assert min(float(point.split(",")[0]) for point in false_alarms.split('"')[0].split()) >= 440
    assert max(float(point.split(",")[0]) for point in misses.split('"')[0].split()) < 440
