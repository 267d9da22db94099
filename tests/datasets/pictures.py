"""Pictures of any of Pillow's modes, for several tests."""

import numpy as np
from PIL import Image


def picture(mode: str, values: np.ndarray) -> Image.Image:
    wide = {"I": np.int32, "F": np.float32, "I;16": np.uint16}
    if mode in wide:
        return Image.fromarray((values.clip(0, 65535) if mode == "I;16" else values).astype(wide[mode]))
    plane = Image.fromarray(values.astype(np.uint8))
    bands = Image.getmodebands(mode)
    return Image.merge(mode, [plane] * bands) if bands > 1 else plane.convert(mode)
