"""A folded backbone returns the maps of the backbone, and only safe pairs are folded."""

import pytest
import torch
from torch import Tensor, nn

from fastflow_lite import FastFlow
from fastflow_lite.backbones import Backbone
from fastflow_lite.backbones.batch_norm_folding import fold_batch_norm
from fastflow_lite.errors import ArgumentError


class Net(nn.Module):
    """Two convolutions, each with a normalization that has learned something; `shared` reads the second one's too."""

    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.later, self.sooner = nn.BatchNorm2d(6), nn.BatchNorm2d(4)  # not in the order of their use
        self.shared = shared
        for norm in (self.later, self.sooner):
            for tensor in (norm.running_mean, norm.weight.data, norm.bias.data):
                tensor.normal_()
            norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> list[Tensor]:
        raw = self.second(self.sooner(self.first(x)).relu())
        return [self.later(raw) + (raw if self.shared else 0)]


def norms(backbone: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())


def test_a_folded_network_gives_the_same_maps_without_normalizations() -> None:
    torch.manual_seed(0)
    backbone, images = Backbone(Net(shared=False), None), torch.rand(2, 3, 16, 24)
    before = backbone(images)[0]
    quick = fold_batch_norm(backbone)
    torch.testing.assert_close(quick(images)[0], before, rtol=1e-4, atol=1e-5)
    assert norms(quick) == 0 and norms(backbone) == 2  # the backbone itself keeps its own
    assert torch.equal(backbone(images)[0], before)


def test_a_network_that_reads_a_convolution_twice_is_left_alone() -> None:
    torch.manual_seed(0)
    backbone = Backbone(Net(shared=True), None)
    assert fold_batch_norm(backbone) is backbone


class Twice(Net):
    """One convolution and its normalization, called two times."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.sooner(self.first(self.sooner(self.first(x))[:, :3]))]


def test_a_pair_that_is_called_twice_is_left_alone() -> None:
    backbone = Backbone(Twice(shared=False))
    assert fold_batch_norm(backbone) is backbone


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "wide_resnet50_2"])
def test_the_resnets_of_the_paper_have_no_normalization_left(name: str) -> None:
    backbone, images = Backbone(name, None), torch.rand(1, 3, 32, 64)
    for norm in backbone.modules():
        if isinstance(norm, nn.BatchNorm2d):  # as if it had learned something: weights="random" takes seconds
            nn.init.uniform_(norm.running_mean, -0.1, 0.1)
            nn.init.uniform_(norm.running_var, 0.5, 2)
    folded = fold_batch_norm(backbone)
    assert norms(folded) == 0 < norms(backbone)
    for one, other in zip(backbone(images), folded(images), strict=True):
        assert (one - other).abs().max() < 1e-4 * one.abs().max()


class Large(Net):
    """A network that cannot take images of four times its stride."""

    def forward(self, x: Tensor) -> list[Tensor]:
        fine = super().forward(x)[0]
        return [fine, nn.functional.conv2d(fine, torch.ones(1, 6, 13, 13), stride=2, padding=1)]


def test_a_network_that_needs_larger_images_is_folded() -> None:
    backbone = Backbone(Large(shared=False))
    with pytest.raises(ArgumentError, match="does not take images"):
        backbone(torch.rand(1, 3, 4 * max(backbone.strides), 4 * max(backbone.strides)))
    assert norms(fold_batch_norm(backbone)) == 0 < norms(backbone)


class Extreme(Net):
    """Maps of large values, whose rounding is large too, and of zeros."""

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = super().forward(x)[0]
        return [1e6 * maps, 0 * maps]


def test_the_maps_are_compared_by_their_largest_value() -> None:
    torch.manual_seed(0)
    backbone = Backbone(Extreme(shared=False))
    assert norms(fold_batch_norm(backbone)) == 0 < norms(backbone)


def test_a_model_predicts_alike_with_its_folded_backbone() -> None:
    model, images = FastFlow("resnet18", "bundled", steps=1).eval(), torch.rand(2, 3, 64, 96)
    names = list(model.state_dict())
    plain = model.features(images)
    prepared = model.prepared_for_inference()
    ready = prepared.features(images)
    assert norms(prepared.backbone) == 0 and list(model.state_dict()) == names
    for one, other in zip(plain, ready, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4)
