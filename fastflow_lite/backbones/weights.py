"""Where a backbone's weights come from, and a checksum that identifies them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from fastflow_lite.backbones.imagenet_weights import IMAGENET_FOR, PROJECT, SHA256, imagenet_file, is_installed
from fastflow_lite.backbones.random_weights import settle_batch_norm
from fastflow_lite.backbones.timm_networks import features_to_fill, input_config, timm_features
from fastflow_lite.errors import ArgumentError, WeightsError, first_line, no_file
from fastflow_lite.files import is_plain, read_torch, sha256_of_file

BUNDLED = Path(__file__).with_name("resnet18_formulas.safetensors")  # benchmarks/pretrain made it
BUNDLED_SHA256 = "74037c87e251b611314637792c610f10f9c05cf8516994abb74e6bd41f63b4cc"
TO_FILL = "to fill"  # in place of weights: they will be loaded with the model
MADE_FOR = {"bundled": "resnet18", "imagenet": IMAGENET_FOR}
RANDOM_SEED = 2111_07677  # the paper's arXiv number: any fixed number would do


@dataclass(frozen=True)
class WeightsInfo:
    """Which weights a backbone has: `source`, a description in words, and a sha256.

    The sha256 is that of the file when there is one, else of the tensors in use, in order of name.
    """

    source: str
    description: str
    sha256: str

    @classmethod
    def from_record(cls, record: object) -> WeightsInfo:
        """Read what `vars` returned, after any trip through JSON. ArgumentError for anything else."""
        names = {field.name for field in fields(cls)}
        if not isinstance(record, dict) or set(record) != names or not all(isinstance(v, str) for v in record.values()):
            raise ArgumentError(f"weights are described by the texts {', '.join(sorted(names))}, got {record!r}")
        return cls(**record)


def build_with_weights(name: str, layers: Sequence[int], weights: str | Path | None) -> tuple[nn.Module, WeightsInfo]:
    """Build the timm network `name` up to its `layers` and load its weights.

    `weights` is "bundled" (ResNet-18 only, offline, learned from formula-made images), "imagenet" (EfficientNet-Lite0
    only, from the extra `imagenet`, learned from ImageNet's photographs), "timm" (downloaded from timm's hub or its
    cache), "random" (always the same, batch norm settled on noise), None (random, from torch's current random state),
    `TO_FILL` (not set: they will be loaded) or the path of a safetensors or torch file. Raises WeightsError when they
    cannot be had or do not fit.
    """
    if not isinstance(weights, str | Path | None):
        raise ArgumentError(f"weights must be 'bundled', 'imagenet', 'timm', 'random', a file or None, got {weights!r}")
    if weights in MADE_FOR and name != MADE_FOR[str(weights)]:
        raise WeightsError(
            f"the {weights} weights are for {MADE_FOR[str(weights)]}, there are none for {name}: give that backbone, "
            f"or for {name} weights='timm' (a download), a local file, or 'random' to try the mechanics"
        )
    if weights == "timm":
        network = _from_hub(partial(timm_features, name, layers, True))
        return network, WeightsInfo("timm", "pre-trained, from timm's hub", _digest(network.state_dict()))
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(RANDOM_SEED)
            network = timm_features(name, layers)
            try:
                settle_batch_norm(network)
            except Exception:  # a network that takes images of one size only
                settle_batch_norm(network, size=input_config(network)["input_size"][-1])
        text = "random initialization with a fixed seed, batch norm settled on noise, never trained on any image"
        return network, WeightsInfo("random", text, _digest(network.state_dict()))
    if weights is None:
        network = timm_features(name, layers)
        text = "random initialization from the current random state"
        return network, WeightsInfo("random", text, _digest(network.state_dict()))
    with torch.random.fork_rng(devices=[]):  # what is drawn here is overwritten at once
        network = features_to_fill(name, layers)
    if weights == TO_FILL:
        return network, WeightsInfo("", "", "")
    if weights == "bundled":
        sha256 = _fit_bundled(network)
        return network, WeightsInfo("bundled", "learned from formula-made images only, no photograph", sha256)
    if weights == "imagenet":
        sha256 = _fit_imagenet(network)
        return network, WeightsInfo("imagenet", f"learned from ImageNet's photographs, file of {PROJECT}", sha256)
    path = Path(weights)
    fit_state(network, read_state(path), path)
    return network, WeightsInfo("file", path.name, sha256_of_file(path))


def _fit_bundled(network: nn.Module) -> str:
    """Load the weights in the package into `network`, and return their sha256."""
    sha256 = sha256_of_file(BUNDLED)
    if sha256 != BUNDLED_SHA256:
        raise WeightsError(f"{BUNDLED} is not the file that belongs to this version; install the package anew")
    fit_state(network, read_state(BUNDLED), BUNDLED)
    return sha256


def _fit_imagenet(network: nn.Module) -> str:
    """Load the weights of the extra `imagenet` into `network`, and return their sha256.

    The tensors have other names than timm's, but the same order; those of the layers behind come last.
    """
    path = imagenet_file()
    tensors = read_state(path).values()
    fit_state(network, dict(zip(network.state_dict(), tensors, strict=False)), path)
    return SHA256


def default_backbone(weights: str | Path | None) -> str:
    """Return the network that is used with `weights` if none is named: the one that they are made for."""
    return MADE_FOR["imagenet" if weights == "imagenet" else "bundled"]


def default_weights(backbone: str | None = None) -> str:
    """Return "imagenet" where its package is installed and `backbone` is its network or None, else "bundled"."""
    fits = backbone is None or backbone.partition(".")[0] == IMAGENET_FOR
    return "imagenet" if fits and is_installed() else "bundled"


def bundled_recipe() -> dict[str, Any]:
    """Return how the bundled weights were made: settings, last losses, seconds and machine, from the file's header."""
    with safe_open(BUNDLED, framework="pt") as file:
        return json.loads(file.metadata()["made_by"])


def weights_of_module(network: nn.Module) -> WeightsInfo:
    """Return the record of a network that was given with its weights."""
    return WeightsInfo("module", f"as they were in the given {type(network).__name__}", _digest(network.state_dict()))


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file or of a torch state dict (nothing else is unpickled).

    A state dict may be nested under "state_dict" or "model", and its names may begin with "module.".
    """
    if not path.is_file():
        raise WeightsError(
            f"weights file {no_file(path, '*.safetensors')}; give a file, or weights='bundled', 'imagenet', 'timm' or "
            "'random'"
        )
    try:
        state: Any = _read_file(path)
    except Exception as error:  # torch's, safetensors' and zip's readers have no common error class
        raise WeightsError(f"weights file {path} cannot be read: {first_line(error)}") from error
    for key in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(k, str) and is_plain(v) for k, v in state.items()):
        raise WeightsError(f"weights file {path} holds no state dict (names with tensors)")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _read_file(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    with path.open("rb") as file:
        return read_torch(file)


def fit_state(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Copy `state` into `network`. It may hold layers that are not used; WeightsError if it lacks any that are."""
    wanted = network.state_dict()
    prefix = "model." if all(name.startswith("model.") for name in wanted) else ""
    state = {prefix + name: tensor for name, tensor in state.items()}
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}  # of no use in eval mode
    missing = sorted(set(wanted) - set(state) - counters)
    if missing:
        raise WeightsError(
            f"weights file {path} lacks {len(missing)} of {len(wanted)} tensors that this backbone uses, "
            f"first {missing[0]!r}; is it a file for another network?"
        )
    for name in set(wanted) & set(state):
        if wanted[name].shape != state[name].shape:
            raise WeightsError(
                f"weights file {path}: {name!r} has shape {tuple(state[name].shape)}, "
                f"this backbone needs {tuple(wanted[name].shape)}"
            )
    network.load_state_dict({name: state[name] for name in wanted if name in state}, strict=False)


def _from_hub(make: Callable[[], nn.Module]) -> nn.Module:
    try:
        return make()
    except Exception as error:  # the hub's client raises its own, its transport's and the system's errors
        raise WeightsError(
            f"timm could not provide the weights ({type(error).__name__}: {first_line(error)}). Without a "
            f"network, give weights=<a local file>, 'bundled' (resnet18), 'imagenet' ({IMAGENET_FOR}) or 'random'"
        ) from error


def _digest(state: Mapping[str, Tensor]) -> str:
    """Return the sha256 over names and bytes of all tensors."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
