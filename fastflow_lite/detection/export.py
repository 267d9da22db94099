"""A trained detector as one file that needs no FastFlow Lite: by torch.export for torch, by ONNX for anything else.

What is exported is the plain path from images `(B, 3, H, W)` in [0, 1], of one size and any number, to anomaly maps
`(B, 1, H, W)` and scores `(B,)`: backbone, flows, the model's own map and image score. A test holds both to 1e-4.
Needs torch 2.5 or newer; ONNX also needs the extra `export`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fastflow_lite.files import write_atomically
from fastflow_lite.model import FastFlow

MOST = 4096  # images in one batch of an exported program
NEEDED = ("onnx", "onnxscript", "onnxruntime")


class Detector(nn.Module):
    """`model.predict` for images of one `size` (height, width), in operations that can be exported."""

    def __init__(self, model: FastFlow, size: tuple[int, int]) -> None:
        super().__init__()
        model.backbone.check_size(size)
        self.model, self.size = model, size

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.maps_and_scores(self.model(images, fast=False), self.size)


def program(model: FastFlow, size: tuple[int, int]) -> torch.export.ExportedProgram:
    """The detector as a graph of torch's own operations; `model` stays as it is.

    ValueError, with the nearest sizes, where `size` does not fit the backbone.
    """
    training = model.training
    example = torch.zeros(2, 3, *size, device=model.device)
    batch = torch.export.Dim("batch", min=1, max=MOST)
    try:
        with torch.no_grad(), _quiet():
            return torch.export.export(Detector(model, size).eval(), (example,), dynamic_shapes=({0: batch},))
    finally:
        model.train(training)


def write_torch(model: FastFlow, path: str | Path, size: tuple[int, int]) -> None:
    """A `.pt2` file. `torch.export.load(path).module()(images)` runs it, without this package.

    Load only files that you wrote: torch does not promise that loading a stranger's is safe.
    """
    exported = program(model, size)

    def write(place: Path) -> None:
        with place.open("wb") as file:
            torch.export.save(exported, file)

    write_atomically(Path(path), write)


def write_onnx(
    model: FastFlow, path: str | Path, size: tuple[int, int], facts: Mapping[str, str] | None = None
) -> None:
    """An ONNX file with input `images` and outputs `maps` and `scores`, all float32.

    `facts` go into its metadata, beside `height` and `width`: a threshold belongs there, for a file without one tells
    nobody what is an alarm. ImportError, with what to install, where the extra is missing.
    """
    needs("onnx", "onnxscript")
    inputs, outputs = ["images"], ["maps", "scores"]
    with torch.no_grad(), _quiet():
        made = torch.onnx.export(
            program(model, size), (), dynamo=True, verbose=False, input_names=inputs, output_names=outputs
        )
    assert made is not None  # it is None only when a file was asked for
    made.model.metadata_props.update({"height": str(size[0]), "width": str(size[1])} | dict(facts or {}))
    write_atomically(Path(path), lambda place: made.save(str(place)))


def run_onnx(path: str | Path, images: Tensor) -> tuple[Tensor, Tensor]:
    """Maps `(B, 1, H, W)` and scores `(B,)` of `images` by onnxruntime, on the processor."""
    needs("onnxruntime")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    maps, found = session.run(["maps", "scores"], {"images": images.numpy().astype(np.float32)})
    return torch.from_numpy(maps), torch.from_numpy(found)


def facts_of(path: str | Path) -> dict[str, str]:
    """The metadata of an ONNX file: what `write_onnx` was given as `facts`, and the size."""
    needs("onnx")
    import onnx

    return {entry.key: entry.value for entry in onnx.load(str(path), load_external_data=False).metadata_props}


def missing() -> list[str]:
    """The packages of the extra `export` that are not installed."""
    return [name for name in NEEDED if find_spec(name) is None]


def needs(*names: str) -> None:
    """ImportError, with what to install, unless all packages are there."""
    if absent := [name for name in names if name in missing()]:
        raise ImportError(f"{', '.join(absent)} missing: pip install 'fastflow-lite[export]'")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that torch's exporter raises about torch's own code."""
    with warnings.catch_warnings():
        for kind in (FutureWarning, DeprecationWarning):
            warnings.simplefilter("ignore", kind)
        yield
