"""Image files: read and resize them. Every error names the file that caused it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fastflow_lite.errors import DataError

DEPTH_16 = {"I;16", "I;16L", "I;16B", "I;16N", "I"}  # Pillow's modes for 16 bits; "I" holds them in 32


def read_image(path: Path) -> Tensor:
    """Read an image file as `(3, H, W)` float32 in [0, 1].

    Gray is repeated to three channels, 16 bits are divided by 65535, palettes are looked up, transparency is dropped.
    Raises DataError for other modes (CMYK, floating point), for a missing file and for one that cannot be decoded.
    """
    image = open_image(path)
    if image.mode in DEPTH_16:
        values = np.asarray(image).astype(np.float32) / 65535
        if values.min() < 0 or values.max() > 1:
            raise DataError(f"image {path} has values beyond 16 bits; convert it to 8 or 16 bits a channel")
        return torch.from_numpy(values).expand(3, -1, -1).contiguous()
    if image.mode not in {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX"}:
        raise DataError(f"image {path} has mode {image.mode}; convert it to RGB or gray, 8 or 16 bits")
    values = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    return torch.from_numpy(values).permute(2, 0, 1) / 255  # float32: division by a number keeps torch's default


def resize(image: Tensor, size: tuple[int, int], nearest: bool = False) -> Tensor:
    """Resize `(C, h, w)` to `(C, *size)`: bilinear with anti-aliasing, or nearest neighbor for masks."""
    if tuple(image.shape[1:]) == size:
        return image
    from fastflow_lite.machine import prepare_torchvision

    prepare_torchvision()
    from torchvision.transforms.v2 import InterpolationMode, functional

    mode = InterpolationMode.NEAREST_EXACT if nearest else InterpolationMode.BILINEAR
    return functional.resize(image, list(size), interpolation=mode, antialias=not nearest)


def open_image(path: Path) -> Image.Image:
    """Open and decode an image file. Raise DataError if it is missing or cannot be decoded."""
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise DataError(f"image {path} does not exist") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"image {path} cannot be decoded ({error}); replace or remove it") from error
