"""What the files of all models over a backbone have in common when they are read without trust."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from fastflow_lite.backbones.timm_networks import features_to_fill
from fastflow_lite.errors import CheckpointError
from fastflow_lite.files import TensorForms, check_forms


def check_network_forms(tensors: TensorForms, name: str, layers: tuple[int, ...]) -> None:
    """Raise ArgumentError unless the backbone's tensors of a file have the types and shapes of the network `name`.

    The network is made on the meta device, so this costs no memory.
    """
    with torch.device("meta"):
        network = features_to_fill(name, layers)
    check_forms(tensors, {f"backbone.network.{key}": t for key, t in network.state_dict().items()}, "backbone.")


@contextmanager
def refuse_what_does_not_fit(path: Path, backbone: str, kind: str) -> Iterator[None]:
    """Raise CheckpointError for whatever the block raises while it makes a model of the class `kind` from `path`."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # timm and torch raise whatever a configuration that nobody saved leads to
        raise CheckpointError(
            f"{path} holds a model over {backbone!r} that does not fit: {error}; for your own network give "
            f"{kind}.load(path, backbone=<that module>)"
        ) from error
