"""A trained model as one file that runs without this package: by torch.export for torch, by ONNX for other runtimes.

The exported graph computes anomaly maps `(B, 1, H, W)` and scores `(B,)` from images `(B, 3, H, W)` in [0, 1], of one
size and any number. It has the backbone, the flows without `flows.fast`, the model's own map and its image score. A
test compares both results with `model.predict`, to 1e-4. ONNX needs the extra `export`.
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
from fastflow_lite.model import FastFlow, check_finite

MAX_BATCH = 4096  # images in one batch of an exported program
REQUIRED = ("onnx", "onnxscript", "onnxruntime")


class ExportableModel(nn.Module):
    """The computation of `model.predict` for images of one `size` (height, width), in operations torch can export."""

    def __init__(self, model: FastFlow, size: tuple[int, int]) -> None:
        super().__init__()
        model.check_trained()
        model.backbone.check_size(size)
        self.model, self.size = model, size

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return maps `(B, 1, *size)` and scores `(B,)` of images `(B, 3, *size)`."""
        return self.model.maps_and_scores(self.model(images, fast=False), self.size)


def export_program(model: FastFlow, size: tuple[int, int]) -> torch.export.ExportedProgram:
    """Export the model as a graph of torch's own operations. `model` is not changed.

    ArgumentError, with the nearest sizes, if `size` (height, width) does not fit the backbone. NotTrainedError for a
    model that `fit` has not trained.
    """
    training = model.training
    example = torch.zeros(2, 3, *size, device=model.device)
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    try:
        with torch.no_grad(), _without_deprecation_warnings():
            return torch.export.export(ExportableModel(model, size).eval(), (example,), dynamic_shapes=({0: batch},))
    finally:
        model.train(training)


def write_torch(model: FastFlow, path: str | Path, size: tuple[int, int]) -> None:
    """Write a `.pt2` file. `torch.export.load(path).module()(images)` runs it, without this package.

    Load only files that you wrote: torch does not guarantee that loading a file of unknown origin is safe.
    """
    exported = export_program(model, size)

    def write(place: Path) -> None:
        with place.open("wb") as file:
            torch.export.save(exported, file)

    write_atomically(Path(path), write)


def write_onnx(
    model: FastFlow, path: str | Path, size: tuple[int, int], metadata: Mapping[str, str] | None = None
) -> None:
    """Write an ONNX file with input `images` and outputs `maps` and `scores`, all float32.

    `metadata` is stored in the file, beside `height` and `width`. Store the threshold there: without it the scores
    alone do not decide what is an alarm. ImportError, with what to install, if the extra `export` is missing.
    """
    require_packages("onnx", "onnxscript")
    inputs, outputs = ["images"], ["maps", "scores"]
    with torch.no_grad(), _without_deprecation_warnings():
        made = torch.onnx.export(
            export_program(model, size), (), dynamo=True, verbose=False, input_names=inputs, output_names=outputs
        )
    assert made is not None  # it is None only when a file was asked for
    made.model.metadata_props.update({"height": str(size[0]), "width": str(size[1])} | dict(metadata or {}))
    write_atomically(Path(path), lambda place: made.save(str(place)))


def run_onnx(path: str | Path, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return maps `(B, 1, H, W)` and scores `(B,)` of `images` by onnxruntime, on the processor.

    DivergedError for maps that are not finite, as `FastFlow.predict`. The file itself has no such check: a program that
    runs it elsewhere must compare with `not score < threshold`.
    """
    require_packages("onnxruntime")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    maps, found = session.run(["maps", "scores"], {"images": images.numpy().astype(np.float32)})
    return check_finite(torch.from_numpy(maps), torch.from_numpy(found))


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return the metadata of an ONNX file: the `metadata` that `write_onnx` was given, and the size."""
    require_packages("onnx")
    import onnx

    return {entry.key: entry.value for entry in onnx.load(str(path), load_external_data=False).metadata_props}


def missing_packages() -> list[str]:
    """Return the packages of the extra `export` that are not installed."""
    return [name for name in REQUIRED if find_spec(name) is None]


def require_packages(*names: str) -> None:
    """Raise ImportError, with what to install, unless all packages are installed."""
    if absent := [name for name in names if name in missing_packages()]:
        raise ImportError(f"{', '.join(absent)} missing: pip install 'fastflow-lite[export]'")


@contextmanager
def _without_deprecation_warnings() -> Iterator[None]:
    """Suppress the warnings of torch's exporter about torch's own code."""
    with warnings.catch_warnings():
        for kind in (FutureWarning, DeprecationWarning):
            warnings.simplefilter("ignore", kind)
        yield
