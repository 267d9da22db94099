"""The machine of this process: versions, processor, memory, and a torchvision that can be imported."""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("fastflow-lite", "torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "pillow")


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return versions, device, processor and threads. Nothing that names a person, a host or a path."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def peak_memory_mib() -> dict[str, float]:
    """Return the largest memory this process has held so far, in MiB: on the host, and on the GPU if one is used."""
    peak = {}
    if sys.platform != "win32":
        import resource

        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak["host"] = round(largest / (1024**2 if sys.platform == "darwin" else 1024), 1)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        peak["gpu"] = round(torch.cuda.max_memory_allocated() / 1024**2, 1)
    return peak


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


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        return names[0] if names else platform.machine()
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
