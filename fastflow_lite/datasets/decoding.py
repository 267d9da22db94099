"""Decode image files by Pillow, and refuse those that would be read wrongly. Every error names the file."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

from fastflow_lite.errors import ArgumentError, DataError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")  # for other formats Pillow may start programs, such as Ghostscript
DEPTH_16 = {"I;16", "I;16L", "I;16B", "I;16N", "I"}  # Pillow's modes for 16 bits; "I" holds them in 32
DEPTH_8 = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX"}
LIMIT_VARIABLE = "FASTFLOW_LITE_MAX_PIXELS"
MAX_PIXELS = 2**28  # 268 million: line scans of 200 million are below
ORIENTATION, NEW_SUBFILE_TYPE, BITS_PER_SAMPLE = 0x0112, 254, 258  # numbers of tags


def open_image(path: Path) -> Image.Image:
    """Open and decode an image file, turned as its EXIF orientation demands.

    Raises DataError if it is missing, cannot be decoded, has more pixels than the limit, several pages or frames, or
    several channels of 16 bits. The environment variable FASTFLOW_LITE_MAX_PIXELS sets the limit, by default 2^28.
    """
    with _opened(path) as image:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return image


def turn_upright(path: Path, picture: Image.Image) -> Image.Image:
    """Return a decoded copy of an image in memory, turned as its EXIF orientation demands; refuse what files are for.

    `path` is its name in messages.
    """
    with _named(path), PILLOW_LIMIT.lifted():
        _check_header(path, picture, max_pixels())
        return ImageOps.exif_transpose(picture)


def open_reduced(path: Path, side: int) -> Image.Image:
    """Open an image file as `open_image` does, but decode a JPEG only to sides of `side` pixels or more."""
    with _opened(path) as image:
        image.draft(None, (side, side))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode not in DEPTH_8 | DEPTH_16:
            raise DataError(f"image {path} has mode {image.mode}; convert it to RGB or gray, 8 or 16 bits")
        return image


class Header(NamedTuple):
    """The size of an upright image, and the mode that Pillow decodes it to."""

    height: int
    width: int
    mode: str


def read_header(path: Path) -> Header:
    """Return size and mode of what `open_image` would give, without decoding where that is possible."""
    with _opened(path) as image:
        is_turned = image.height != image.width and _is_turned(path, image)
        size, mode, is_jpeg = (image.height, image.width), image.mode, image.format in ("JPEG", "MPO")
    if is_turned and is_jpeg:
        size = size[::-1]
    elif is_turned:  # whether Pillow exchanges the sides before it decodes depends on the format
        turned = open_image(path)
        size = turned.height, turned.width
    if mode not in DEPTH_8 | DEPTH_16:
        raise DataError(f"image {path} has mode {mode}; convert it to RGB or gray, 8 or 16 bits")
    return Header(*size, mode)


def _is_turned(path: Path, image: Image.Image) -> bool:
    """Return whether an opened image lies on its side by its metadata; a PNG is decoded only if some come after it."""
    exif = image.getexif if image.format != "PNG" or _ends_with_metadata(path) else partial(Image.Image.getexif, image)
    return bool(exif().get(ORIENTATION, 1) >= 5)


def _ends_with_metadata(path: Path) -> bool:
    """Return whether a PNG file has metadata that may hold an orientation after its pixels."""
    is_past_pixels = False
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            is_past_pixels |= kind == b"IDAT"
            start = file.read(min(length, 17)) if is_past_pixels and kind != b"IDAT" else b""
            if start and (kind == b"eXIf" or start in (b"Raw profile type ", b"XML:com.adobe.xmp")):
                return True
            file.seek(length - len(start) + 4, os.SEEK_CUR)
    return False


def image_size(path: Path) -> tuple[int, int]:
    """Return the height and width that `open_image` would give, without decoding where that is possible."""
    return read_header(path)[:2]


def has_16_bits(path: Path) -> bool:
    """Return whether an image file holds gray values of 16 bits; OSError or DataError if it cannot be read."""
    with path.open("rb") as file:
        head = file.read(26)
    if head.startswith(b"\x89PNG"):
        return head[24:] == b"\x10\x00"  # bits and kind of color
    if not head.startswith((b"II", b"MM")):  # no TIFF
        return False
    with _opened(path) as image:
        return image.mode in DEPTH_16


def max_pixels() -> int:
    """Return the largest number of pixels that an image may have."""
    text = os.environ.get(LIMIT_VARIABLE) or str(MAX_PIXELS)
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentError(f"the environment variable {LIMIT_VARIABLE} must be a whole number above 0, got {text!r}")
    return int(text)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file, check what its header holds, and name the file in every error of the block."""
    limit = max_pixels()
    with _named(path), PILLOW_LIMIT.lifted(), Image.open(path, formats=FORMATS) as image:
        _check_header(path, image, limit)
        yield image


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn every error of the block into a DataError that names the file."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"image {path} does not exist") from None
    except Exception as error:  # Pillow's decoders raise almost any kind
        raise DataError(
            f"image {path} cannot be decoded as {', '.join(FORMATS)} ({error}); replace or remove it"
        ) from error


def _check_header(path: Path, image: Image.Image, limit: int) -> None:
    pixels = image.width * image.height
    if pixels > limit:
        raise DataError(
            f"image {path} has {image.width} x {image.height} pixels, more than the limit of {limit}; if it is meant "
            f"to, set the environment variable {LIMIT_VARIABLE} to {pixels}"
        )
    if (pages := _pages(image)) > 1:
        raise DataError(f"image {path} holds {pages} pages or frames, only one can be used; save each in its own file")
    if image.mode in DEPTH_8 and _bits_per_channel(image) > 8:
        raise DataError(
            f"image {path} has several channels of 16 bits, which would be cut to 8; convert it to 8 bits a channel, "
            "scaled by the camera's white level, or to one gray channel of 16 bits"
        )


def _pages(image: Image.Image) -> int:
    """Count the pages or frames of a file, without previews: smaller copies in a TIFF, further pictures of an MPO."""
    count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if image.format != "TIFF" or count == 1:
        return count
    pages = 0
    for page in reversed(range(count)):
        image.seek(page)
        pages += not image.tag_v2.get(NEW_SUBFILE_TYPE, 0) & 1  # type: ignore[attr-defined]
    return pages


def _bits_per_channel(image: Image.Image) -> int:
    if image.format == "PNG":
        return 16 if ";16" in str(getattr(image, "tile", "")) else 8
    return max(getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,)))


class _PillowLimit:
    """Pillow's own limit on pixels, global and lower than ours; lifted while at least one thread decodes."""

    def __init__(self) -> None:
        self._lock, self._users, self._kept = threading.Lock(), 0, Image.MAX_IMAGE_PIXELS

    @contextmanager
    def lifted(self) -> Iterator[None]:
        with self._lock:
            if not self._users:
                self._kept, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    Image.MAX_IMAGE_PIXELS = self._kept


PILLOW_LIMIT = _PillowLimit()
