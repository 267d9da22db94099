"""The file that lets an interrupted training continue."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fastflow_lite.errors import CheckpointError
from fastflow_lite.files import as_json, copy_like, largest_size, read_torch, write_atomically

MAGIC = b"fastflow-lite checkpoint 1\n"


class Checkpoint:
    """One file: a line with the format's name, a sha256, then torch's own format, unpickled with `weights_only`.

    `identity` (JSON values) names the run that it belongs to. `load` raises CheckpointError, naming the file,
    when it is damaged, cut short or of another run.
    """

    def __init__(self, path: str | Path, identity: dict[str, Any]) -> None:
        self.path = Path(path)
        self.identity = json.loads(json.dumps(identity))

    def exists(self) -> bool:
        """Return whether the file is there."""
        return self.path.exists()

    def save(self, state: dict[str, Any]) -> None:
        """Write `state`; the file before it is replaced in one step."""
        buffer = io.BytesIO()
        torch.save({"identity": self.identity, "state": state}, buffer)
        content = buffer.getvalue()
        proof = hashlib.sha256(content).hexdigest().encode() + b"\n"
        write_atomically(self.path, lambda place: place.write_bytes(MAGIC + proof + content))

    def load(self, like: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Read the state of the last `save`, a copy with the entries, types, shapes and strides of `like` if given.

        An optimizer writes to its state by the shapes of the parameters, so a state of other shapes would be written
        past its end. CheckpointError names what is missing, too much, of another kind or not finite.
        """
        if like and (size := self.path.stat().st_size) > (most := largest_size(like)):
            raise CheckpointError(f"checkpoint {self.path} has {size} bytes, this run needs {most} at most; delete it")
        magic, proof, content = self._parts(self.path.read_bytes())
        if magic != MAGIC:
            raise CheckpointError(f"{self.path} is not a training checkpoint; give another name or delete it")
        if hashlib.sha256(content).hexdigest().encode() + b"\n" != proof:
            raise CheckpointError(f"checkpoint {self.path} is damaged or cut short; delete it to train anew")
        try:
            kept = read_torch(io.BytesIO(content))
            identity, state = json.loads(as_json(kept.pop("identity"), "identity")), kept.pop("state")
        except Exception as error:  # torch's, zip's and the restricted unpickler's have no common class
            raise CheckpointError(f"checkpoint {self.path} holds more than tensors and numbers; delete it") from error
        different = sorted(_differences(identity, self.identity))
        if different:
            raise CheckpointError(
                f"checkpoint {self.path} belongs to a run with other settings: {'; '.join(different)}. "
                "Use its settings to continue it. For a new run choose another file or folder (in a notebook: out_dir)"
            )
        try:
            return state if like is None else copy_like(state, like, "state")
        except ValueError as error:
            raise CheckpointError(f"checkpoint {self.path} cannot be continued: {error}; delete it") from error

    @staticmethod
    def _parts(content: bytes) -> tuple[bytes, bytes, bytes]:
        body = len(MAGIC) + 65
        return content[: len(MAGIC)], content[len(MAGIC) : body], content[body:]


def _differences(kept: Any, wanted: Any, name: str = "") -> list[str]:
    """Return a text for each value that differs in two nested dicts."""
    if isinstance(kept, dict) and isinstance(wanted, dict):
        keys = sorted(set(kept) | set(wanted))
        return [d for k in keys for d in _differences(kept.get(k), wanted.get(k), f"{name}.{k}".strip("."))]
    return [] if kept == wanted else [f"{name} is {kept} there and {wanted} here"]
