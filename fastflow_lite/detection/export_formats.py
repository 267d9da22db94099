"""The formats of exported programs: how each is written, run and read. A program is known by the suffix of its file."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from fastflow_lite.errors import ArgumentError, CheckpointError, check_choice

OUTPUTS = ("maps", "scores", "raw_scores", "alarms", "masks")
SECTION = "fastflow_lite"  # of the metadata in an OpenVINO file
ENTRY = "detector.json"  # the metadata in a .pt2 file


@dataclass(frozen=True)
class ExportFormat:
    """A format of exported programs.

    Attributes:
        name: Name on the command line.
        suffix: Of the file that holds the program; OpenVINO's weights lie beside it in a file `.bin`.
        extra: The extra of this package that installs `packages`, or "".
        packages: What writes and runs the format, beside torch.
        write: Writes a program and its metadata to a path.
        run: Computes the five `OUTPUTS` of images `(B, 3, H, W)` float32 by the program in a file, on the processor.
        read_metadata: Returns the metadata of a file.
    """

    name: str
    suffix: str
    extra: str
    packages: tuple[str, ...]
    write: Callable[[ExportedProgram, Path, Mapping[str, str]], object]
    run: Callable[[Path, Tensor], dict[str, Tensor]]
    read_metadata: Callable[[Path], dict[str, str]]

    def require_packages(self) -> None:
        """Raise ImportError, with what to install, unless all packages are installed."""
        if missing := [name for name in self.packages if find_spec(name) is None]:
            raise ImportError(
                f"a program of the format {self.name} needs {', '.join(missing)}: pip install "
                f"'fastflow-lite[{self.extra}]'"
            )


def format_of(path: str | Path) -> ExportFormat:
    """Return the format that the suffix of `path` names, with its packages installed; ArgumentError or ImportError."""
    suffix = Path(path).suffix.lower()
    found = next((form for form in FORMATS.values() if form.suffix == suffix), None)
    if found is None:
        known = ", ".join(f"{form.suffix} ({form.name})" for form in FORMATS.values())
        raise ArgumentError(f"the name of an exported program must end in one of {known}, got {str(path)!r}")
    found.require_packages()
    return found


def existing(path: str | Path) -> Path:
    """Return the path of an exported program; CheckpointError if there is no file."""
    if not Path(path).is_file():
        raise CheckpointError(f"there is no exported program {path}")
    return Path(path)


def format_named(name: str) -> ExportFormat:
    """Return the format of this name, whether its packages are installed or not."""
    return FORMATS[check_choice("format", name, tuple(FORMATS))]


@contextmanager
def without_deprecation_warnings() -> Iterator[None]:
    """Suppress the warnings of torch's exporter about torch's own code."""
    with warnings.catch_warnings():
        for kind in (FutureWarning, DeprecationWarning):
            warnings.simplefilter("ignore", kind)
        yield


def _write_torch(program: ExportedProgram, path: Path, metadata: Mapping[str, str]) -> None:
    torch.export.save(program, path, extra_files={ENTRY: json.dumps(dict(metadata))})


def _run_torch(path: Path, images: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        outputs: dict[str, Tensor] = torch.export.load(path).module()(images)
    return outputs


def _read_torch(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:  # torch.export.load would build the whole program
        name = next(name for name in archive.namelist() if name.endswith(f"/{ENTRY}"))
        metadata: dict[str, str] = json.loads(archive.read(name))
    return metadata


def _onnx_program(program: ExportedProgram) -> Any:
    with torch.no_grad(), without_deprecation_warnings():
        made = torch.onnx.export(
            program, (), dynamo=True, verbose=False, input_names=["images"], output_names=list(OUTPUTS)
        )
    assert made is not None  # it is None only when a file was asked for
    return made


def _write_onnx(program: ExportedProgram, path: Path, metadata: Mapping[str, str]) -> None:
    made = _onnx_program(program)
    made.model.metadata_props.update(metadata)
    made.save(str(path))


def _run_onnx(path: Path, images: Tensor) -> dict[str, Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(list(OUTPUTS), {"images": images.numpy()})
    return {name: torch.from_numpy(values) for name, values in zip(OUTPUTS, found, strict=True)}


def _read_onnx(path: Path) -> dict[str, str]:
    import onnx

    return {entry.key: entry.value for entry in onnx.load(str(path), load_external_data=False).metadata_props}


def _write_openvino(program: ExportedProgram, path: Path, metadata: Mapping[str, str]) -> None:
    import openvino

    # Not by openvino.convert_model, which reports its use to the maker over the network.
    model = openvino.Core().read_model(_onnx_program(program).model_proto.SerializeToString())
    for name, value in metadata.items():
        model.set_rt_info(value, [SECTION, name])
    openvino.save_model(model, str(path), compress_to_fp16=False)


def _run_openvino(path: Path, images: Tensor) -> dict[str, Tensor]:
    import openvino

    # Some processors would compute in bfloat16, whose scores differ by more than 1e-4.
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled({"images": images.numpy()})
    return {name: torch.from_numpy(found[name].copy()) for name in OUTPUTS}


def _read_openvino(path: Path) -> dict[str, str]:
    import openvino

    info = openvino.Core().read_model(str(path)).get_rt_info([SECTION]).astype(dict)
    return {name: str(value.value if hasattr(value, "value") else value) for name, value in info.items()}


FORMATS = {
    form.name: form
    for form in (
        ExportFormat(
            "onnx", ".onnx", "export", ("onnx", "onnxscript", "onnxruntime"), _write_onnx, _run_onnx, _read_onnx
        ),
        ExportFormat("torch", ".pt2", "", (), _write_torch, _run_torch, _read_torch),
        ExportFormat(
            "openvino", ".xml", "openvino", ("openvino", "onnx", "onnxscript"), _write_openvino, _run_openvino,
            _read_openvino,
        ),
    )
}  # fmt: skip
