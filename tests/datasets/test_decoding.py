"""Decoding: which files are refused by name before they are read wrongly, and how pictures are turned."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fastflow_lite.datasets import decoding
from fastflow_lite.datasets.decoding import image_size, open_image, open_reduced, read_header
from fastflow_lite.datasets.image_files import read_image
from fastflow_lite.datasets.masks import read_mask
from fastflow_lite.errors import ArgumentError, DataError

EPS = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


def picture(seed: int = 0, size: tuple[int, int] = (24, 40)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8))


def png_header(width: int, height: int, depth: int = 8, color: int = 0, content: bytes = b"") -> bytes:
    """Return a PNG file that claims a size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


@pytest.mark.hostile
def test_a_postscript_file_does_not_start_ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import EpsImagePlugin

    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: started.append(a))
    path = tmp_path / "000.png"
    path.write_text(EPS)
    for use in (read_image, decoding.image_size, lambda p: read_mask(p, p, (10, 10))):
        with pytest.raises(DataError, match=r"000\.png cannot be decoded as PNG, JPEG"):
            use(path)
    assert not started


@pytest.mark.hostile
@pytest.mark.parametrize("kind", ["GIF", "PPM", "TGA", "ICO", "PCX"])
def test_other_formats_are_refused_whatever_the_name(tmp_path: Path, kind: str) -> None:
    picture().save(tmp_path / "a.png", kind)
    with pytest.raises(DataError, match=r"a\.png cannot be decoded as PNG"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_pictures_are_turned_as_viewers_show_them(tmp_path: Path, orientation: int, suffix: str) -> None:
    raw = picture()
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned{suffix}"
    raw.save(path, exif=exif, **({"quality": 95, "subsampling": 0} if suffix == ".jpg" else {}), lossless=True)
    a = np.asarray(raw)
    shown = [a, a[:, ::-1], a[::-1, ::-1], a[::-1], a.swapaxes(0, 1), np.rot90(a, -1)][: orientation + 1]
    shown += [a[::-1, ::-1].swapaxes(0, 1), np.rot90(a)]
    expected = torch.from_numpy(shown[orientation - 1].copy()).permute(2, 0, 1) / 255
    found = read_image(path)
    assert found.shape == expected.shape
    assert decoding.image_size(path) == tuple(found.shape[1:])
    others = [float((found - expected.flip(dims)).abs().mean()) for dims in ((1,), (2,), (1, 2))]
    assert float((found - expected).abs().mean()) < min(others) / 2


def test_a_reduced_jpeg_has_the_sides_asked_for_or_more(tmp_path: Path) -> None:
    picture(0, (400, 640)).save(tmp_path / "large.jpg")
    assert decoding.open_reduced(tmp_path / "large.jpg", 90).size == (160, 100)
    picture(0).save(tmp_path / "small.png")
    assert decoding.open_reduced(tmp_path / "small.png", 8).size == (40, 24)
    Image.fromarray(np.full((4, 4), 4095, np.uint16)).save(tmp_path / "deep.png")
    assert np.asarray(decoding.open_reduced(tmp_path / "deep.png", 4)).max() == 4095
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "numbers.tif")
    with pytest.raises(DataError, match=r"numbers\.tif has mode F; convert it to RGB or gray, 8 or 16 bits"):
        decoding.open_reduced(tmp_path / "numbers.tif", 4)


def test_later_pages_are_not_dropped_in_silence(tmp_path: Path) -> None:
    for name in ("a.tif", "a.png", "a.webp"):
        picture(0).save(tmp_path / name, save_all=True, append_images=[picture(1), picture(2)])
        for use in (read_image, lambda p: read_mask(p, p, (24, 40))):
            with pytest.raises(DataError, match=rf"{name} holds 3 pages or frames"):
                use(tmp_path / name)
    picture(0).save(tmp_path / "two.tif", save_all=True, append_images=[picture(1)])
    with pytest.raises(DataError, match=r"two\.tif holds 2 pages"):
        read_image(tmp_path / "two.tif")


def test_previews_are_no_pages(tmp_path: Path) -> None:
    from PIL import TiffImagePlugin

    small = picture(1, (6, 10))
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[254] = 1
    small.encoderinfo = {"tiffinfo": tags}
    picture(0).save(tmp_path / "a.tif", save_all=True, append_images=[small])
    with Image.open(tmp_path / "a.tif") as image:
        assert image.n_frames == 2
    assert torch.equal(read_image(tmp_path / "a.tif"), torch.from_numpy(np.array(picture(0))).permute(2, 0, 1) / 255)
    picture(0).save(tmp_path / "phone.jpg", "MPO", save_all=True, append_images=[small])
    assert read_image(tmp_path / "phone.jpg").shape == (3, 24, 40)


@pytest.mark.parametrize("color", [2, 4, 6])
def test_several_channels_of_16_bits_are_refused(tmp_path: Path, color: int) -> None:
    row = b"\0" + bytes(2 * {2: 3, 4: 2, 6: 4}[color] * 4)
    (tmp_path / "deep.png").write_bytes(png_header(4, 2, 16, color, 2 * row))
    with Image.open(tmp_path / "deep.png") as image:
        image.load()  # a whole file
    with pytest.raises(DataError, match=r"deep\.png has several channels of 16 bits"):
        read_image(tmp_path / "deep.png")


def test_a_tiff_of_several_channels_of_16_bits_is_refused(tmp_path: Path) -> None:
    from PIL import TiffImagePlugin

    tags = {256: (4, 4), 257: (4, 2), 258: (3, (16, 16, 16)), 259: (3, 1), 262: (3, 2), 277: (3, 3), 278: (4, 2)}
    tags |= {273: (4, 8), 279: (4, 48)}
    file = io.BytesIO()
    ifd = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    for tag, (_, value) in tags.items():
        ifd[tag] = value
    file.write(b"II*\0" + struct.pack("<I", 56) + bytes(48))
    file.write(ifd.tobytes(56))
    (tmp_path / "deep.tif").write_bytes(file.getvalue())
    with pytest.raises(DataError, match=r"deep\.tif has several channels of 16 bits"):
        read_image(tmp_path / "deep.tif")


def test_a_colored_bmp_of_16_bits_a_pixel_is_read(tmp_path: Path) -> None:
    header = struct.pack("<2sIHHI", b"BM", 54 + 16, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, 16, *[0] * 6)
    (tmp_path / "small.bmp").write_bytes(header + b"\xff\x7f" * 8)
    assert read_image(tmp_path / "small.bmp").eq(1).all()


@pytest.mark.hostile
def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert decoding.max_pixels() == 2**28
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(40000, 40000))
    with pytest.raises(DataError, match=r"bomb\.png has 40000 x 40000 pixels.* FASTFLOW_LITE_MAX_PIXELS to 1600000000"):
        read_image(path)
    picture().save(path)
    monkeypatch.setenv("FASTFLOW_LITE_MAX_PIXELS", "959")
    for use in (read_image, decoding.image_size, lambda p: read_mask(p, p, (24, 40))):
        with pytest.raises(DataError, match="more than the limit of 959"):
            use(path)
    monkeypatch.setenv("FASTFLOW_LITE_MAX_PIXELS", "960")
    assert read_image(path).shape == (3, 24, 40)
    monkeypatch.setenv("FASTFLOW_LITE_MAX_PIXELS", "many")
    with pytest.raises(ArgumentError, match="FASTFLOW_LITE_MAX_PIXELS must be a whole number"):
        read_image(path)


def test_pillows_own_limit_is_lifted_while_reading_and_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    picture().save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif").shape == (3, 24, 40)
    with pytest.raises(DataError):
        read_image(tmp_path / "absent.tif")
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_header_is_read_without_the_pixels(tmp_path: Path) -> None:
    noise = Image.effect_noise((40, 90), 90)
    noise.save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:300])
    assert read_header(tmp_path / "a.png") == (90, 40, "L")
    assert image_size(tmp_path / "a.png") == (90, 40)


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_a_header_is_that_of_the_upright_image(suffix: str, place: str, tmp_path: Path) -> None:
    path, exif = tmp_path / f"a.{suffix}", Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 90)).save(path, exif=exif)
    if suffix == "png" and place == "after":
        data = path.read_bytes()
        start = data.index(b"eXIf") - 4
        chunk = data[start : start + 12 + int.from_bytes(data[start : start + 4], "big")]
        rest, end = data.replace(chunk, b""), data.index(b"IEND") - 4 - len(chunk)
        path.write_bytes(rest[:end] + chunk + rest[end:])
    assert read_header(path) == (40, 90, "RGB")
    assert open_image(path).size == (90, 40)


def test_a_mode_that_cannot_be_used_is_refused_by_its_header(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8)).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg has mode CMYK; convert it"):
        read_header(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg has mode CMYK; convert it"):
        open_reduced(tmp_path / "a.jpg", 4)
