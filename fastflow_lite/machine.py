"""The machine of this process: its devices, versions, processor, memory, and a torchvision that can be imported."""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import sys
import threading
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from fastflow_lite.errors import ArgumentError

PACKAGES = ("fastflow-lite", "torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "pillow")
GPUS = ("cuda", "xpu", "mps")  # NVIDIA and AMD, Intel, Apple; "auto" takes the first that is there
DEVICES = ("auto", "cpu", *GPUS)
_PREPARING = threading.Lock()


def choose_device(name: str = "auto") -> torch.device:
    """Return the device `name`, such as "cpu", "mps" or "cuda:1"; "auto" is the first GPU, without one the CPU.

    Raises:
        ArgumentError: There is no such device here.

    >>> choose_device("cpu")
    device(type='cpu')
    """
    counts = count_devices()
    if name == "auto":
        return torch.device(next(kind for kind in (*GPUS, "cpu") if counts[kind]))
    kind, colon, number = str(name).partition(":")
    if kind not in counts or (colon and not number.isdecimal()):
        raise ArgumentError(f"device must be one of {', '.join(map(repr, DEVICES))}, or 'cuda:1', got {name!r}")
    if int(number or 0) >= counts[kind]:
        here = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        raise ArgumentError(
            f"device {name!r} is not there: torch {torch.__version__} finds {here}. Use device='auto', or install the "
            "driver and a torch built for the device"
        )
    return torch.device(name)


def count_devices() -> dict[str, int]:
    """Return how many devices of each kind torch finds here."""
    return {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "xpu": torch.xpu.device_count() if torch.xpu.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all its work, before a clock is read. The CPU has nothing to wait for."""
    if device.type == "mps":
        torch.mps.synchronize()
    elif device.type in GPUS:
        getattr(torch, device.type).synchronize(device)


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return versions, device, processor and threads. Nothing that names a person, a host or a path."""
    has_name = device.type in ("cuda", "xpu")
    return {
        "device": getattr(torch, device.type).get_device_name(device) if has_name else device.type,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def peak_memory_mib() -> dict[str, float]:
    """Return the largest memory this process has held so far, in MiB: on the host, and on the GPU if one is used.

    Torch keeps no peak for MPS; there it is the memory that the driver holds now, which rarely shrinks.
    """
    peak = {}
    if sys.platform != "win32":
        import resource

        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak["host"] = round(largest / (1024**2 if sys.platform == "darwin" else 1024), 1)
    for gpu in (torch.cuda, torch.xpu):
        if gpu.is_available() and gpu.is_initialized():
            peak["gpu"] = round(gpu.max_memory_allocated() / 1024**2, 1)
    if torch.backends.mps.is_available() and (held := torch.mps.driver_allocated_memory()):
        peak["gpu"] = round(held / 1024**2, 1)
    return peak


@functools.cache
def can_compile(device_type: str) -> bool:
    """Return whether `torch.compile` works on this kind of device; if not, warn once with the reason.

    It needs a C++ compiler on a processor, and Triton on a GPU.
    """
    try:
        torch.compile(torch.sigmoid)(torch.zeros(2, device=device_type))
    except Exception as error:  # whatever a compiler, a driver or a missing package raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(f"torch.compile does not work here, so nothing is compiled: {reason}", stacklevel=2)
        return False
    # One version for each shape: every scale, and the last batch of an epoch. torch gives up after 8 by default.
    torch._dynamo.config.cache_size_limit = max(64, torch._dynamo.config.cache_size_limit)
    return True


def prepare_torchvision() -> torch.library.Library | None:
    """Make `import torchvision` (and so timm) work beside a torch built without CUDA.

    A torchvision wheel built for CUDA cannot load its operator library there, and then stops at
    "operator torchvision::nms does not exist". This package calls none of these operators, so it is enough
    to declare two of them. Returns the declarations, which live as long as the process, or None if none are needed.
    Threads may call it at the same time.
    """
    with _PREPARING:  # a cache alone lets two threads that come first declare the operators twice, which is an error
        return _prepare_torchvision()


@functools.cache
def _prepare_torchvision() -> torch.library.Library | None:
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
