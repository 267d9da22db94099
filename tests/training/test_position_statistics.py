from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tiny import TwoLevels
from torch import Tensor

from fastflow_lite import FastFlow
from fastflow_lite.errors import NotTrainedError
from fastflow_lite.flows.positions import StandardizePositions
from fastflow_lite.training import fit
from fastflow_lite.training.position_statistics import PositionSums, fit_positions


def sums_of(x: Tensor, batch: int = 3) -> PositionSums:
    sums = PositionSums(x)
    for indices in torch.arange(len(x)).split(batch):
        sums.add(indices, x[indices])
    return sums


def aligned(count: int = 40, size: int = 8) -> Tensor:
    """Features that their position decides, with a little noise."""
    torch.manual_seed(0)
    return 3 * torch.randn(1, 2, size, size) + 0.1 * torch.randn(count, 2, size, size)


def test_the_position_explains_features_of_an_object_that_lies_still() -> None:
    smooth = torch.linspace(-3, 3, 8).expand(2, 8, 8)
    assert sums_of(smooth + 0.1 * torch.randn(40, 2, 8, 8)).share() > 0.9
    assert sums_of(torch.randn(40, 2, 8, 8)).share() < 0.05


def test_without_a_share_the_statistics_are_those_of_all_positions() -> None:
    torch.manual_seed(0)
    x = torch.randn(12, 2, 8, 8) + torch.tensor([1.0, -2.0]).view(2, 1, 1)
    mean, variance = sums_of(x).mean_and_variance()
    torch.testing.assert_close(mean, x.mean(dim=(0, 2, 3)).view(2, 1, 1).expand(2, 8, 8), atol=0.1, rtol=0)
    torch.testing.assert_close(variance, torch.ones(2, 8, 8), atol=0.2, rtol=0)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_few_images_give_finite_statistics(count: int) -> None:
    mean, variance = sums_of(aligned(count)).mean_and_variance()
    assert torch.isfinite(mean).all() and torch.isfinite(variance).all() and (variance >= 0).all()


class Kept:
    """Features in memory."""

    def __init__(self, maps: Sequence[Tensor]) -> None:
        self.maps = maps

    def __len__(self) -> int:
        return len(self.maps[0])

    def __getitem__(self, indices: Sequence[int]) -> list[Tensor]:
        return [x[list(indices)] for x in self.maps]


def test_each_scale_gets_its_own_statistics() -> None:
    model = FastFlow(TwoLevels(), steps=2, standardize_positions=True)
    maps = [torch.randn(6, c, 4, 4) + k for k, c in enumerate(model.backbone.channels)]
    fit_positions(model, Kept(maps), batch_size=4, count=len(maps[0]))  # type: ignore[arg-type]
    transforms = [module for module in model.modules() if isinstance(module, StandardizePositions)]
    assert len(transforms) == len(maps)
    for k, transform in enumerate(transforms):
        assert abs(transform.mean.mean().item() - k) < 0.2
    fit_positions(FastFlow(TwoLevels(), steps=2), Kept(maps), batch_size=4, count=len(maps[0]))  # type: ignore[arg-type]  # nothing to fit


def test_training_fits_them_and_a_saved_model_keeps_them(tmp_path: Path) -> None:
    model = FastFlow(TwoLevels(), steps=2, standardize_positions=True)
    with pytest.raises(NotTrainedError):
        model.check_trained()
    torch.manual_seed(0)
    images = torch.rand(6, 3, 64, 64)
    fit(model, images, epochs=1, batch_size=3, progress=False)
    model.check_trained()
    path = tmp_path / "model.safetensors"
    model.save(path)
    other = FastFlow.load(path, backbone=TwoLevels())
    torch.testing.assert_close(other.predict(images), model.eval().predict(images))
    smaller = images[:, :, :32]  # another size than that of the training: the statistics are resampled
    with pytest.warns(UserWarning, match="size"):
        assert other.predict(smaller)[0].shape == (6, 1, 32, 64)
