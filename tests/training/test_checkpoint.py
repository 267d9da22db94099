"""Checkpoint files that others wrote."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from fastflow_lite import FastFlow
from fastflow_lite.backbones.weights import read_state as read_weights
from fastflow_lite.errors import CheckpointError, WeightsError
from fastflow_lite.training import checkpoint as checkpoints
from fastflow_lite.training.checkpoint import Checkpoint


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.place,)


def test_no_file_is_unpickled(tmp_path: Path) -> None:
    sprung, bait = tmp_path / "sprung", tmp_path / "bait.pth"
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()  # the trap works
    sprung.unlink()
    torch.save({"state_dict": {"conv1.weight": Trap(sprung)}, "identity": {}, "state": Trap(sprung)}, bait)
    with pytest.raises(WeightsError, match=r"bait\.pth cannot be read"):
        read_weights(bait)
    content = bait.read_bytes()
    proof = checkpoints.hashlib.sha256(content).hexdigest().encode() + b"\n"  # whoever sets a trap can also add
    bait.write_bytes(checkpoints.MAGIC + proof + content)
    with pytest.raises(CheckpointError, match=r"bait\.pth holds more than tensors and numbers"):
        Checkpoint(bait, {}).load()
    with pytest.raises(CheckpointError, match=r"bait\.pth"):
        FastFlow.load(bait)
    assert not sprung.exists()
