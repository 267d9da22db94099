"""Reading image files and masks: what is converted, and the error for each file that cannot be used."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets.pictures import picture
from datasets.small_category import open_small
from PIL import Image
from properties import given, st

from fastflow_lite.datasets import image_files
from fastflow_lite.datasets.image_files import ImageFile, read_image, resize
from fastflow_lite.errors import DataError
from fastflow_lite.machine import prepare_torchvision


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


MODES = {
    "1": ".png", "L": ".png", "LA": ".png", "P": ".png", "RGB": ".bmp", "RGBA": ".png", "I;16": ".png",
    "I": ".tif", "F": ".tif", "CMYK": ".tif", "YCbCr": ".jpg", "LAB": ".tif",
}  # fmt: skip


HEADS = [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM", b"II*\0", b"GIF89a"]  # of image files


NAMES = ["with space", "Größe 画像", "a'b [0]* %41{b}", "-x\nline"]


@pytest.mark.hostile
@given(
    st.sampled_from(sorted(MODES)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([(0, 255), (0, 65535), (-5, 70000), (7, 7)]),
    st.sampled_from(NAMES),
)
def test_an_image_of_any_mode_is_read_or_refused_by_name(
    tmp_path: Path, mode: str, size: tuple[int, int], ends: tuple[int, int], name: str
) -> None:
    path = tmp_path / (name + MODES[mode])
    values = np.random.default_rng(0).integers(ends[0], ends[1] + 1, size)
    picture(mode, values).save(path)
    too_wide = mode == "I" and (values.min() < 0 or values.max() > 65535)
    if mode in ("F", "CMYK", "LAB") or too_wide:
        with pytest.raises(DataError, match=re.escape(str(path))):
            read_image(path)
        return
    image = read_image(path)
    assert image.shape == (3, *size)
    assert image.dtype == torch.float32
    assert 0 <= image.min() <= image.max() <= 1
    if mode in ("I", "I;16"):
        np.testing.assert_allclose(image[0].numpy() * 65535, values.clip(0, 65535), atol=0.01)


@pytest.mark.hostile
@pytest.mark.filterwarnings("ignore")  # Pillow warns on the way to its error
@given(st.binary(max_size=300), st.sampled_from(HEADS))
def test_bytes_that_are_no_image_are_refused_by_name(tmp_path: Path, content: bytes, head: bytes) -> None:
    path = tmp_path / "odd.png"
    path.write_bytes(head + content)
    with pytest.raises(DataError, match=r"odd\.png"):
        read_image(path)


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16", "P"])
@pytest.mark.parametrize("size", [(48, 64), (64, 48), (96, 64), (32, 300)])
def test_a_large_image_is_resized_by_bands_as_at_once(
    tmp_path: Path, mode: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    picture(mode, np.random.default_rng(0).integers(0, 256, (207, 190))).save(path)
    whole = read_image(path)
    at_once = resize(whole, size)
    monkeypatch.setattr(image_files, "BAND", 1000)
    file = ImageFile(path)
    assert torch.equal(file.whole(), whole)
    found = file.resized(size)
    assert torch.equal(found, at_once) if 4 * size[0] > 207 else torch.allclose(found, at_once, atol=1e-6)
    assert torch.equal(file.part(7, 11, 20, 30), whole[:, 7:27, 11:41])


def test_a_narrow_image_is_resized_by_bands_of_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    picture("L", np.random.default_rng(0).integers(0, 256, (400, 30))).save(path)
    at_once = resize(read_image(path), (64, 48))
    monkeypatch.setattr(image_files, "BAND", 1000)
    assert torch.allclose(ImageFile(path).resized((64, 48)), at_once, atol=1e-6)


MEMORY = """
import os, resource, sys
from pathlib import Path
from fastflow_lite.datasets import ImageSet, Sample
from fastflow_lite.datasets.image_files import resize
import torch
for place in map(Path, sys.argv[1:]):
    if os.fork():  # a program that was started counts the memory of the one that started it; a copy does not
        os.wait()
        continue
    resize(torch.rand(3, 100, 100), (64, 64))
    read = lambda name: ImageSet([Sample(place / name)], (256, 256), place)[0]
    read("small.png")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read("large.png")
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, flush=True)
    os._exit(0)
"""


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="copies of one process are measured")
def test_reading_takes_little_more_memory_than_the_decoded_image(tmp_path: Path) -> None:
    side, bytes_a_pixel = 5000, {"L": 1, "RGB": 3, "I;16": 2}
    for mode in bytes_a_pixel:
        (tmp_path / mode).mkdir()
        picture(mode, np.zeros((60, 60))).save(tmp_path / mode / "small.png")
        picture(mode, np.zeros((side, side))).save(tmp_path / mode / "large.png")
    command = [sys.executable, "-c", MEMORY, *(tmp_path / mode for mode in bytes_a_pixel)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for mode, used in zip(bytes_a_pixel, printed.split(), strict=True):
        assert int(used) < 3 * side * side * bytes_a_pixel[mode], mode


@pytest.mark.parametrize("size", [(7, 11), (40, 9), (64, 96)])
def test_resizing_is_torchvisions_bit_by_bit(size: tuple[int, int]) -> None:
    prepare_torchvision()
    from torchvision.transforms.v2 import InterpolationMode, functional

    image, mask = torch.rand(3, 32, 48), torch.rand(1, 32, 48) > 0.5
    theirs = functional.resize(image, list(size), interpolation=InterpolationMode.BILINEAR, antialias=True)
    assert torch.equal(resize(image, size), theirs)
    theirs = functional.resize(mask, list(size), interpolation=InterpolationMode.NEAREST_EXACT)
    assert torch.equal(resize(mask, size, nearest=True), theirs)
