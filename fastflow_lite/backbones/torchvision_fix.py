"""Prepare the import of torchvision where its compiled operators do not load."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import torch


@functools.cache
def prepare_torchvision() -> torch.library.Library | None:
    """Make `import torchvision` (and so timm) work beside a torch built without CUDA.

    A torchvision wheel built for CUDA cannot load its operator library there, and then stops at
    "operator torchvision::nms does not exist". This package calls none of these operators, so it is enough
    to declare two of them. Returns the declarations, which live as long as the process, or None if none are needed.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ImportError("torchvision is missing: pip install torchvision")
    try:
        for library in Path(spec.origin).parent.glob("_C.*"):
            torch.ops.load_library(str(library))
        return None
    except OSError:
        declared = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return declared
