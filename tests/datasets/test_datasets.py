"""Reading image sets: what is accepted, what is converted, and what each error says."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fastflow_lite.datasets import cifar10, open_dataset
from fastflow_lite.datasets.image_files import read_image
from fastflow_lite.errors import DataError


def open_small(category: Path, size: int | tuple[int, int] = (64, 48)):  # noqa: ANN201
    return open_dataset(category.parent, category.name, image_size=size)


def test_layout_is_read(category: Path) -> None:
    data = open_small(category)
    assert (data.name, data.category) == ("set", "stripes")
    assert len(data.train) == 6
    assert not data.train.labels.any()
    assert data.test.labels.tolist() == [False] * 3 + [True] * 3
    assert data.test.defects == ["good"] * 3 + ["square"] * 3
    image, mask = data.test[4]
    assert image.shape == (3, 64, 48)
    assert image.dtype == torch.float32
    assert mask.sum() == 16 * 20
    assert torch.equal(image[:, mask], torch.ones(3, 320))


def test_resizing_keeps_the_mask_on_its_defect(category: Path) -> None:
    image, mask = open_small(category, (32, 96)).test[5]
    assert image.shape == (3, 32, 96)
    assert mask.dtype == torch.bool
    assert mask[11:17, 22:58].all()
    assert not mask[:9].any()
    assert image[:, 12:16, 25:55].min() > 0.95


def test_a_folder_may_have_no_masks_at_all(category: Path) -> None:
    shutil.rmtree(category / "ground_truth")
    assert not open_small(category).test.has_masks


def test_split_is_disjoint_exhaustive_and_fixed_by_its_seed(category: Path) -> None:
    train = open_small(category).train
    rest, held = train.split(0.34, seed=1)
    assert len(held) == 2
    assert sorted(s.image for s in rest.samples + held.samples) == [s.image for s in train.samples]
    assert held.samples == train.split(0.34, seed=1)[1].samples
    assert any(held.samples != train.split(0.34, seed=k)[1].samples for k in range(2, 6))
    with pytest.raises(DataError, match="cannot hold out"):
        train.subset([0]).split(0.5)


def test_fingerprint_sees_one_changed_pixel_and_a_name(category: Path) -> None:
    before = open_small(category).test.fingerprint()
    assert before == open_small(category).test.fingerprint()
    path = category / "test/good/001.png"
    pixels = np.array(Image.open(path))
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    changed = open_small(category).test.fingerprint()
    assert changed != before
    path.rename(path.with_name("009.png"))
    assert open_small(category).test.fingerprint() != changed


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data set in MVTec layout at .*mvtec/bottle.*FASTFLOW_LITE_DATA"):
        open_dataset("mvtec", "bottle", root=tmp_path)


def test_wrong_category_lists_those_that_are_there(category: Path) -> None:
    with pytest.raises(DataError, match="there are the categories stripes"):
        open_dataset(category.parent, "spots")


def test_toy_category_that_does_not_exist() -> None:
    with pytest.raises(DataError, match=r"weave.*not 'bottle'"):
        open_dataset("toy", "bottle")


@pytest.mark.parametrize("part", ["train/good", "test/good"])
def test_empty_folder(category: Path, part: str) -> None:
    for file in (category / part).iterdir():
        file.unlink()
    with pytest.raises(DataError, match=f"{part} holds no image"):
        open_small(category)


def test_no_test_folder(category: Path) -> None:
    shutil.rmtree(category / "test")
    with pytest.raises(DataError, match="test is missing"):
        open_small(category)


def test_image_without_its_mask(category: Path) -> None:
    (category / "ground_truth/square/001_mask.png").unlink()
    with pytest.raises(DataError, match=r"test/square/001\.png has no mask.*001_mask\.png is missing"):
        open_small(category)


def test_mask_of_another_size(category: Path) -> None:
    Image.new("L", (48, 60)).save(category / "ground_truth/square/002_mask.png")
    with pytest.raises(DataError, match=r"002_mask\.png is 48 x 60 pixels, its image .*002\.png is 48 x 64"):
        open_small(category).test[5]


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_image_that_does_not_decode(category: Path, content: bytes | None) -> None:
    path = category / "train/good/003.png"
    path.write_bytes(path.read_bytes()[:200] if content is None else content)
    with pytest.raises(DataError, match=r"train/good/003\.png cannot be decoded"):
        open_small(category).train[3]


def test_grey_16_bit_palette_and_transparent_images_are_converted(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)
    grey = Image.fromarray(ramp)
    grey.save(tmp_path / "grey.png")
    Image.fromarray(ramp.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    grey.convert("P").save(tmp_path / "palette.png")
    clear = Image.merge("RGBA", [grey, grey, grey, Image.new("L", (8, 8), 7)])
    clear.save(tmp_path / "clear.png")
    expected = torch.from_numpy(ramp / np.float32(255)).expand(3, -1, -1)
    for name in ("grey", "deep", "palette", "clear"):
        assert torch.allclose(read_image(tmp_path / f"{name}.png"), expected, atol=1e-6), name


def test_other_modes_are_refused_by_name(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 4)).save(tmp_path / "print.jpg")
    with pytest.raises(DataError, match=r"print\.jpg has mode CMYK"):
        read_image(tmp_path / "print.jpg")
    Image.new("F", (4, 4)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match=r"float\.tif has mode F"):
        read_image(tmp_path / "float.tif")


@pytest.mark.realdata
def test_mvtec_bottle(real_data: Path) -> None:
    data = open_dataset("mvtec", "bottle", root=real_data)
    assert (len(data.train), len(data.test), int(data.test.labels.sum())) == (209, 83, 63)
    image, mask = data.test[0]
    assert image.shape == (3, 256, 256)
    assert 0 < mask.float().mean() < 0.5


# ---- BTAD and CIFAR-10 -----------------------------------------------------------------------------


def test_btad_says_ok_and_ko_mixes_suffixes_and_names_masks_as_images(tmp_path: Path) -> None:
    folder = tmp_path / "btad" / "01"
    for place in ("train/ok/0.bmp", "test/ok/0.bmp", "test/ko/0.bmp", "test/ko/1.png", "ground_truth/ko/1.bmp"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (200, 0, 0)).save(folder / place)
    Image.new("L", (32, 32), 255).save(folder / "ground_truth/ko/0.png")
    data = open_dataset("btad", "01", root=tmp_path, image_size=32)
    assert (data.name, data.category) == ("btad", "01")
    assert not data.train.labels.any()
    assert data.test.defects == ["ko", "ko", "good"]
    assert [s.mask.name for s in data.test.samples[:2]] == ["0.png", "1.bmp"]
    assert data.test[0][1].all() and not data.test[2][1].any()


def cifar_folder(root: Path) -> Path:
    for part, count in (("train", 3), ("test", 2)):
        for k, name in enumerate(cifar10.CLASSES):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (32, 32), (20 * k, i, 0)).save(root / part / name / f"{i}.png")
    return root


def test_cifar10_protocols_are_each_others_opposite(tmp_path: Path) -> None:
    cifar_folder(tmp_path / "cifar10")
    one = open_dataset("cifar10", "dog", root=tmp_path, image_size=32)
    assert (one.category, one.test.category, len(one.train), len(one.test)) == ("dog", "dog", 3, 20)
    assert {s.image.parent.name for s in one.train.samples} == {"dog"}
    assert [s.image.parent.name != "dog" for s in one.test.samples] == one.test.labels.tolist()
    out = open_dataset("cifar10", "dog", root=tmp_path, image_size=32, protocol="leave_one_out")
    assert len(out.train) == 27 and not any(s.image.parent.name == "dog" for s in out.train.samples)
    assert (out.test.labels == ~one.test.labels).all()
    with pytest.raises(DataError, match="protocol must be one of"):
        open_dataset("cifar10", "dog", root=tmp_path, protocol="both")
    with pytest.raises(DataError, match="has the classes airplane"):
        open_dataset("cifar10", "wolf", root=tmp_path)


def test_cifar10_from_torchvisions_files_is_written_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "cifar10"
    with pytest.raises(DataError, match="fastflow-lite fetch cifar10"):
        open_dataset("cifar10", root=tmp_path)
    (root / cifar10.ARCHIVE_FOLDER).mkdir(parents=True)
    with pytest.raises(DataError, match="not CIFAR-10 as published"):
        open_dataset("cifar10", root=tmp_path)
    assert [p.name for p in root.iterdir()] == [cifar10.ARCHIVE_FOLDER]  # nothing half-made stays
    pictures = [(Image.new("RGB", (32, 32), (k, 7, 9)), k % 10) for k in range(30)]
    calls = []
    monkeypatch.setattr("torchvision.datasets.CIFAR10", lambda *a, **k: calls.append(k) or pictures)
    data = open_dataset("cifar10", "cat", root=tmp_path, image_size=32)
    open_dataset("cifar10", "cat", root=tmp_path, image_size=32)
    assert calls == [{"train": True}, {"train": False}]
    assert [s.image.name for s in data.train.samples] == ["00003.png", "00013.png", "00023.png"]
    assert torch.equal((data.train[1][0][:, 0, 0] * 255).round(), torch.tensor([13.0, 7, 9]))


def test_the_stand_in_for_cifar10_is_drawn_once_and_told_apart_by_its_folders(tmp_path: Path) -> None:
    data = open_dataset("formulas", "leaves", root=tmp_path, image_size=32)
    assert (data.name, data.category, len(data.train), len(data.test)) == ("formulas", "leaves", 150, 240)
    assert (~data.test.labels).sum() == 40
    first = data.test.fingerprint()
    data.train.samples[0].image.touch()
    assert open_dataset("formulas", "leaves", root=tmp_path, image_size=32).test.fingerprint() == first
    with pytest.raises(DataError, match="has the classes noise, lattice"):
        open_dataset("formulas", "cat", root=tmp_path)


@pytest.mark.realdata
def test_cifar10_images(real_data: Path) -> None:
    data = open_dataset("cifar10", "ship", root=real_data, image_size=64)
    assert (len(data.train), len(data.test), int(data.test.labels.sum())) == (500, 1000, 900)
