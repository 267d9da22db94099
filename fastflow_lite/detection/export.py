"""A trained model as one file that runs without this package: by torch.export for torch, by ONNX for other runtimes.

The exported graph computes anomaly maps `(B, 1, H, W)` and scores `(B,)` from images `(B, 3, H, W)` in [0, 1], of one
size and any number. It has the backbone, the flows without `flows.fast`, the model's own map and its image score. An
image with a value beyond [0, 1] or NaN gets an infinite map and an infinite score, which every threshold makes an
alarm. A test compares both results with `model.predict`, to 1e-4. ONNX needs the extra `export`.
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

from fastflow_lite.datasets.input_format import HIGHEST, LOWEST, InputFormat
from fastflow_lite.errors import ArgumentError
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
        model.input_format.check_size(size)
        self.model, self.size = model, size

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return maps `(B, 1, *size)` and scores `(B,)` of images `(B, 3, *size)`."""
        maps, found = self.model.maps_and_scores(self.model(images, fast=False), self.size)
        is_valid = ((images >= LOWEST) & (images <= HIGHEST)).flatten(1).all(dim=1)
        return torch.where(is_valid[:, None, None, None], maps, torch.inf), torch.where(is_valid, found, torch.inf)


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

    `metadata` is stored in the file, beside the format of its images (`height`, `width`, `value_range`, and what is
    known of the training images: `trained_height`, `trained_width`, `white_level` of files of 16 bits). Store the
    threshold there: without it the scores alone do not decide what is an alarm. ImportError, with what to install, if
    the extra `export` is missing.
    """
    require_packages("onnx", "onnxscript")
    inputs, outputs = ["images"], ["maps", "scores"]
    with torch.no_grad(), _without_deprecation_warnings():
        made = torch.onnx.export(
            export_program(model, size), (), dynamo=True, verbose=False, input_names=inputs, output_names=outputs
        )
    assert made is not None  # it is None only when a file was asked for
    made.model.metadata_props.update(_image_metadata(model, size) | dict(metadata or {}))
    write_atomically(Path(path), lambda place: made.save(str(place)))


def run_onnx(path: str | Path, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return maps `(B, 1, H, W)` and scores `(B,)` of `images` by onnxruntime, on the processor.

    ArgumentError for images of another size than the file's or values beyond [0, 1], DivergedError for maps that are
    not finite, as `FastFlow.predict`. The file itself raises no errors: a program that runs it elsewhere must compare
    with `not score < threshold`.
    """
    require_packages("onnxruntime")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    InputFormat().check_batch(images)
    if list(images.shape[1:]) != session.get_inputs()[0].shape[1:]:
        raise ArgumentError(
            f"images must be (B, {', '.join(map(str, session.get_inputs()[0].shape[1:]))}) for {path}, got "
            f"{tuple(images.shape)}"
        )
    maps, found = session.run(["maps", "scores"], {"images": images.numpy().astype(np.float32)})
    return check_finite(torch.from_numpy(maps), torch.from_numpy(found))


def _image_metadata(model: FastFlow, size: tuple[int, int]) -> dict[str, str]:
    """Return what a file tells about its images; without what is not known."""
    trained, level = model.input_format.image_size or (None, None), model.input_format.white_level
    names = ("height", "width", "value_range", "trained_height", "trained_width", "white_level")
    values = (*size, "0 to 1", *trained, level)
    return {name: str(value) for name, value in zip(names, values, strict=True) if value is not None}


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return the metadata of an ONNX file: the `metadata` that `write_onnx` was given, and the format of its images."""
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
