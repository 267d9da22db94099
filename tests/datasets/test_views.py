"""Views of images: what changes, how much, and that the same are made again."""

import math
from pathlib import Path

import pytest
import torch
from tiny import TwoLevels
from torch import Tensor

from fastflow_lite import FastFlow, fit
from fastflow_lite.datasets import views
from fastflow_lite.datasets.augmentation import Augmentation
from fastflow_lite.datasets.image_set import ImageSet, Sample
from fastflow_lite.datasets.in_memory import TensorSet
from fastflow_lite.datasets.views import FilledSet, view
from fastflow_lite.errors import ArgumentError, DataError
from fastflow_lite.flows.positions import StandardizePositions
from fastflow_lite.training import History

IMAGES = torch.rand(3, 3, 16, 24, generator=torch.Generator().manual_seed(0))


def filled(count: int, seed: int = 0) -> FilledSet:
    return FilledSet(TensorSet(IMAGES, "train"), count, seed)


@pytest.fixture
def sharp_and_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take blur, noise and tint out of views, so that place and light are all that changes."""
    for name in ("FOCUS", "GRAIN", "TINT"):
        monkeypatch.setattr(views, name, 0.0)


def many_views(image: Tensor, count: int = 30) -> list[Tensor]:
    return [view(image, torch.Generator().manual_seed(k)) for k in range(count)]


def smooth_image(height: int, width: int) -> Tensor:
    """Return an image whose red is its x and whose green is its y, in pixels over 100."""
    x, y = torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")
    return torch.stack([x, y, torch.full_like(x, 50)]).float() / 100


def test_the_images_come_first_and_views_fill_the_set() -> None:
    images = filled(8)
    assert len(images) == 8 and len(filled(2)) == 3
    assert all(torch.equal(images[k][0], IMAGES[k]) for k in range(3))
    for k in range(3, 8):
        seen, mask = images[k]
        assert not torch.equal(seen, IMAGES[k % 3]) and not mask.any()
        assert seen.min() >= 0 and seen.max() <= 1
    assert not torch.equal(images[3][0], images[6][0])
    assert images.name_of(7) == images.name_of(1) == "image 1 of train"


def test_the_same_seed_makes_the_same_views() -> None:
    whole = torch.cat([batch for batch, _ in filled(8).batches(3)])
    assert torch.equal(whole, torch.stack([filled(8)[k][0] for k in range(8)]))
    assert not torch.equal(whole[3], filled(8, seed=1)[3][0])
    assert torch.equal(whole[3], FilledSet(TensorSet(IMAGES, "train"), 8)[3][0]), "the default is seed 0"


@pytest.mark.parametrize(
    ("count", "room", "reads"), [(8, 3, 3), (8, None, 3), (8, 2, 2 + 2 * 2), (3, 3, 2 * 3), (8, 0, 2 * 8)]
)
def test_files_are_read_once_where_there_is_room(
    monkeypatch: pytest.MonkeyPatch, count: int, room: int | None, reads: int
) -> None:
    """Twice through the set. Of eight images and views two are of the last image; without views nothing is kept."""
    read: list[int] = []

    class Counted(TensorSet):
        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            read.append(index)
            return super().__getitem__(index)

    if room is not None:
        monkeypatch.setattr(views, "KEPT_BYTES", room * 13 * 16 * 24)
    images = FilledSet(Counted(IMAGES, "train"), count)
    read.clear()  # the size of the set is that of its first image
    first, second = ([images[k][0] for k in range(count)] for _ in range(2))
    assert len(read) == reads
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.usefixtures("sharp_and_clean")
@pytest.mark.parametrize("seed", range(3))
def test_a_view_by_hand(seed: int) -> None:
    """At most 5 degrees, a fortieth of a side and 3 % of the size; the light by 12 % and 0.03."""
    angle, right, down, scale, gain, offset = (
        2 * torch.rand(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1
    ).tolist()
    light = view(torch.full((3, 8, 8), 0.5), torch.Generator().manual_seed(seed))
    assert light.mean().item() == pytest.approx(0.5 + 0.5 * 0.12 * gain + 0.03 * offset, abs=1e-6)
    height, width = 40, 60
    seen = view(smooth_image(height, width), torch.Generator().manual_seed(seed))
    seen = 100 * (seen - 0.03 * offset) / (1 + 0.12 * gain)
    inside = seen[:2, 15:25, 20:40]
    turn, zoom = math.radians(5 * angle), 1 + 0.03 * scale
    expected = torch.tensor([zoom * math.cos(turn), zoom * math.sin(turn)])
    assert torch.allclose(inside.diff(dim=2).mean(dim=(1, 2)), expected, atol=1e-3)
    middle = inside.mean(dim=(1, 2)) - torch.tensor([(width - 1) / 2, (height - 1) / 2])
    assert torch.allclose(middle, torch.tensor([right * 0.025 * width, down * 0.025 * height]), atol=1e-2)


@pytest.mark.usefixtures("sharp_and_clean")
@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 80)])
def test_a_part_keeps_its_form(monkeypatch: pytest.MonkeyPatch, height: int, width: int) -> None:
    """Lengths change by one factor within SCALE, in oblong images too, angles stay, and the middle moves by MOVE."""
    monkeypatch.setattr(views, "GAIN", 0.0)
    monkeypatch.setattr(views, "OFFSET", 0.0)
    for seed in range(8):
        seen = 100 * view(smooth_image(height, width), torch.Generator().manual_seed(seed))
        inside = seen[:2, height // 4 : -height // 4, width // 4 : -width // 4]
        along_x, along_y = (inside.diff(dim=dim).mean(dim=(1, 2)) for dim in (2, 1))  # what one step stands for
        assert along_x.norm().item() == pytest.approx(along_y.norm().item(), rel=1e-3)
        assert abs(along_x @ along_y) < 1e-3
        assert abs(along_x.norm().item() - 1) <= views.SCALE + 1e-3
        assert abs(torch.atan2(along_x[1], along_x[0]).rad2deg()) <= views.DEGREES + 0.1
        middle = seen[:2, height // 2 - 1 : height // 2 + 1, width // 2 - 1 : width // 2 + 1].mean(dim=(1, 2))
        moved = (middle - torch.tensor([(width - 1) / 2, (height - 1) / 2])).abs() / torch.tensor([width, height])
        assert moved.max() <= views.MOVE + 1e-3 and moved.max() > 0


@pytest.mark.usefixtures("sharp_and_clean")
def test_no_border_is_black_and_light_changes_as_stated() -> None:
    gray = many_views(torch.full((3, 24, 24), 0.5))
    assert all(torch.allclose(seen, seen[0, 0, 0].expand_as(seen), atol=1e-6) for seen in gray)
    change = torch.stack([seen.mean() for seen in gray]) - 0.5
    assert 0.02 < change.abs().max() <= 0.5 * views.GAIN + views.OFFSET
    assert change.min() < 0 < change.max()


def test_noise_and_color_change_as_stated() -> None:
    """Noise on gray differs from pixel to pixel, its deviation up to GRAIN; each color has a light of its own."""
    gray = torch.stack(many_views(torch.full((3, 32, 32), 0.5)))
    grain = (gray - gray.mean(dim=(2, 3), keepdim=True)).std(dim=(1, 2, 3))
    assert grain.min() < 0.2 * views.GRAIN and 0.8 * views.GRAIN < grain.max() < 1.1 * views.GRAIN
    tint = gray.mean(dim=(2, 3)) - gray.mean(dim=(1, 2, 3)).unsqueeze(1)
    assert 0.3 * views.TINT < tint.abs().max() <= 0.5 * 2 * views.TINT
    assert tint.min() < 0 < tint.max()


@pytest.mark.parametrize("side", [256, 512])
def test_a_view_is_less_sharp_by_a_share_of_the_image(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    """A point becomes a Gaussian of at most FOCUS pixels of an image of 256."""
    for name in ("GRAIN", "TINT", "GAIN", "OFFSET", "DEGREES", "MOVE", "SCALE"):
        monkeypatch.setattr(views, name, 0.0)
    monkeypatch.setattr(views, "FOCUS", 2.0)  # many pixels, where a Gaussian of values on pixels has its deviation
    image = torch.zeros(3, side, side)
    image[:, side // 2, side // 2] = 1
    distance = torch.arange(side) - side // 2
    seen = torch.stack(many_views(image, 10))
    spread = (seen[:, 0].sum(dim=1) * distance**2).sum(dim=1).sqrt()
    assert spread.min() < side / 256 < spread.max() <= 2 * side / 256
    assert torch.allclose(seen, seen.mT, atol=1e-6), "blurred along rows as along columns"
    assert torch.allclose(seen.sum(dim=(2, 3)), torch.ones(10, 3), atol=1e-4)


def test_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images"):
        FilledSet(ImageSet([], (32, 32), tmp_path), 4)
    missing = FilledSet(ImageSet([Sample(tmp_path / "a.png")], (32, 32), tmp_path), 4)
    assert missing.name_of(3) == str(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png"):
        list(missing.batches(2))


def test_a_training_on_few_images_takes_views_of_them() -> None:
    """The steps are those of the filled set; what is measured on training images is measured on the images alone."""
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    seen: dict[int, History] = {}
    models = {}
    for count in (0, 3, 10):
        models[count] = FastFlow(TwoLevels(), steps=1, hidden=4, standardize_positions=True)
        seen[count] = fit(models[count], images, updates=6, batch_size=2, views=count, progress=False)
    assert [seen[count].epochs for count in (0, 3, 10)] == [3, 3, 2]  # passes of 2, 2 and 5 steps
    assert seen[10].train_images == 3
    positions = [[p.mean for p in models[v].modules() if isinstance(p, StandardizePositions)] for v in (0, 3, 10)]
    assert all(torch.equal(x, y) and torch.equal(x, z) for x, y, z in zip(*positions, strict=True))
    assert torch.equal(models[0].training_medians, models[3].training_medians)
    with pytest.raises(ArgumentError, match="give augment or views=10, not both"):
        fit(models[0], images, augment=Augmentation(), views=10)
