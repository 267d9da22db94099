"""Files and folders that are complete or absent: written under a temporary name, then renamed.

And tensors in files, which are read without trust: nothing that they hold is run, and their form is compared with what
is expected.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import stat
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fastflow_lite.errors import ArgumentError, CheckpointError, no_file

if TYPE_CHECKING:  # a batch writes files, and needs no second and no memory for torch
    from torch import Tensor

# The metrics in files of records: their names there, and their titles in tables and figures.
METRIC_TITLES = {
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO",
    "image_ap": "image AP",
    "pixel_ap": "pixel AP",
    "pixel_iou": "pixel IoU",
    "pixel_iou_oracle": "pixel IoU (oracle)",
}
LEFTOVER = re.compile(r"\..{1,40}\.[0-9a-f]{12}")  # a name that `unfinished_path` gives
CHECKSUM = "sha256"  # name of its entry in the header
TensorForms = dict[str, tuple[str, list[int]]]  # names of tensors in a file, their types and shapes
EXACT = {"torch.int64": "I64", "torch.bool": "BOOL"}  # safetensors' names of the types that are never converted
TORCH_ENTRY = re.compile(
    r"[^/]+/(data\.pkl|data/\d+|version|byteorder|\.data/serialization_id|\.format_version|\.storage_alignment)"
)
TORCH_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how files of torch before 1.6 begin


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary file in the same folder, then rename that to `path` in one step.

    A file that was at `path` stays until then, also when the disk is full or the process is killed. Its mode is kept; a
    new file has the mode that the umask gives. Where `path` is a link, the file it leads to is replaced; a device or a
    pipe is written directly. OSError names `path`.
    """
    place = Path(os.path.realpath(path))
    if place.exists() and not place.is_file() and not place.is_dir():
        write(place)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = unfinished_path(place)
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL, 0o666))  # the umask is taken off by the system
        mode = stat.S_IMODE((place if place.is_file() else temporary).stat().st_mode)
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(mode)
        os.replace(temporary, place)
    except OSError as error:
        raise OSError(
            error.errno, f"not written ({error.strerror or error}); what was there before stays", str(path)
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def unfinished_path(target: Path) -> Path:
    """Return a new hidden path beside `target`, for what will be renamed to it.

    It begins with the name of `target`, cut so that the whole is no longer than a file system allows (255 bytes).
    """
    return target.with_name(f".{target.name[:40]}.{secrets.token_hex(6)}")


def remove_leftovers(folder: Path, seconds: float = 3600) -> None:
    """Delete the temporary files of `write_atomically` in `folder` that are at least `seconds` old.

    Processes that were killed left them. A file that is being written is younger than an hour.
    """
    for path in folder.glob(".*"):
        with suppress(OSError):
            if LEFTOVER.fullmatch(path.name) and path.is_file() and time.time() - path.stat().st_mtime >= seconds:
                path.unlink()


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write a safetensors file with a header of strings and a sha256 over all else."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def write(place: Path) -> None:
        try:
            save_file(contiguous, place, dict(header) | {CHECKSUM: _digest(contiguous, header)})
        except SafetensorError as error:  # raised for a full disk, too
            raise OSError(errno.EIO, str(error)) from error

    write_atomically(path, write)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `write_tensors` wrote. CheckpointError names a file that is missing, damaged or of another program."""
    with _opened(path) as file:
        names = file.keys()  # a method of this reader, which is no dict
        tensors, header = {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    if CHECKSUM not in header:  # a damaged name of the entry must not pass for a file without one
        raise CheckpointError(f"{path} has no checksum: it is damaged, or not a file that FastFlow Lite wrote")
    if header.pop(CHECKSUM) != _digest(tensors, header):
        raise CheckpointError(f"{path} is damaged (the checksum differs); copy it or make it anew")
    return tensors, header


def _digest(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> str:
    import torch

    digest = hashlib.sha256(json.dumps(dict(header), sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}\n".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_header(path: Path) -> tuple[TensorForms, dict[str, str]]:
    """Read the types ("F32") and shapes of the tensors in a file of `write_tensors`, and the header; no values."""
    with _opened(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        return {name: (s.get_dtype(), s.get_shape()) for name, s in slices.items()}, dict(file.metadata() or {})


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(no_file(path, "*.safetensors"))
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged, cut short, or no file of FastFlow Lite ({error})") from error


def check_format(path: Path, header: Mapping[str, str], wanted: str, writer: str) -> None:
    """Raise CheckpointError unless the header's "format" is `wanted`, a name that ends in one digit, its version."""
    if (found := header.get("format", "")) != wanted:
        raise CheckpointError(
            f"{path} has the format {found!r} of another version; this version reads {wanted!r}"
            if found.startswith(wanted[:-1])
            else f"{path} is not a model written by {writer}"
        )


def check_forms(found: TensorForms, wanted: Mapping[str, Tensor], prefix: str = "") -> None:
    """Raise ArgumentError unless the tensors in `found` whose names begin with `prefix` have the forms of `wanted`.

    Floating point may have another precision, of 16 bits at least. `wanted` may be on the meta device: so the form of a
    file is compared before it costs memory.
    """
    if different := sorted({name for name in found if name.startswith(prefix)} ^ wanted.keys()):
        raise ArgumentError(f"it has or lacks {different[0]}")
    for name, tensor in wanted.items():
        names = ("F32", "F16", "BF16", "F64") if tensor.is_floating_point() else (EXACT[str(tensor.dtype)],)
        kind, shape = found[name]
        if kind not in names or tuple(shape) != tuple(tensor.shape):
            raise ArgumentError(f"{name} is {kind} {tuple(shape)} there, {names[0]} {tuple(tensor.shape)} here")


def read_torch(file: IO[bytes]) -> Any:
    """Return what `torch.save` wrote to `file`, on the processor; only tensors, numbers, texts and containers.

    ValueError for another content, before torch reads it: a TorchScript or torch.package archive holds code, and a
    compressed entry may unpack to any size.
    """
    import torch

    start = file.read(len(TORCH_LEGACY))
    if start.startswith(b"PK\3\4"):
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if not TORCH_ENTRY.fullmatch(entry.filename) or entry.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"{entry.filename!r} in it is nothing that torch.save writes")
    elif start != TORCH_LEGACY:
        raise ValueError("it does not begin as what torch.save writes")
    file.seek(0)
    return torch.load(file, map_location="cpu", weights_only=True)


def is_plain(value: Any) -> bool:
    """Return whether `value` is a tensor with values of its own in memory: not sparse, quantized or without data."""
    import torch

    return (
        isinstance(value, torch.Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def copy_like(found: Any, like: Any, name: str) -> Any:
    """Return a copy of `found` with the structure of `like`; ValueError names the entry that has another one.

    An empty list in `like` stands for any list of JSON values without NaN. Texts, and whole numbers in lists (the order
    of parameters), must be equal; other numbers finite.
    """
    import torch

    if isinstance(like, torch.Tensor):
        if not is_plain(found) or (found.shape, found.dtype) != (like.shape, like.dtype):
            raise ValueError(f"{name} is no tensor {tuple(like.shape)} of {like.dtype}")
        if not torch.isfinite(found).all():
            raise ValueError(f"{name} has values that are not finite")
        return torch.empty_like(like, device="cpu", requires_grad=False).copy_(found)
    if type(found) is not type(like):
        raise ValueError(f"{name} is of type {type(found).__name__}, not {type(like).__name__}")
    if isinstance(like, dict):
        if different := [str(key) for key in (*found, *like) if (key in found) != (key in like)]:
            raise ValueError(f"{name} has or lacks the entry {different[0]}")
        return {key: copy_like(found[key], value, f"{name}.{key}") for key, value in like.items()}
    if like == []:
        return json.loads(as_json(found, name))
    if isinstance(like, list | tuple):
        whole = like and all(type(value) is int for value in like)
        if len(like) != len(found) or (whole and found != like):
            raise ValueError(f"{name} has other values than {like}")
        return type(like)(copy_like(a, b, f"{name}.{k}") for k, (a, b) in enumerate(zip(found, like, strict=True)))
    number = isinstance(like, int | float) and not isinstance(like, bool)
    if (number and not math.isfinite(found)) or (not number and found != like):
        raise ValueError(f"{name} is {found!r}, not {like!r}")
    return found


def as_json(value: Any, name: str) -> str:
    """Return `value` as JSON; ValueError for NaN and for what JSON does not have."""
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{name} holds what is no text or finite number") from error


def largest_size(like: Any) -> int:
    """Return twice the bytes of the tensors in `like`, and room for what is around them and for the losses."""
    from torch import Tensor

    if isinstance(like, Tensor):
        return 4096 + 2 * like.nbytes
    parts = like.values() if isinstance(like, Mapping) else like if isinstance(like, list | tuple) else ()
    return 4096 + sum(map(largest_size, parts)) + (2**20 if parts == [] else 0)


def sha256_of_file(path: Path) -> str:
    """Return the sha256 of a file's content as hexadecimal digits, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def build_folder(target: Path) -> Iterator[Path]:
    """Give an empty temporary folder beside `target`, and rename it to `target` when the block ends.

    So `target` is complete or absent, also when the process is killed. Where another process made `target` meanwhile,
    its folder stays and this one is dropped. Whatever the block raises drops the temporary folder.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = unfinished_path(target)
    unfinished.mkdir()
    try:
        yield unfinished
        try:
            os.replace(unfinished, target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def fingerprint(root: Path, files: Iterable[Path]) -> str:
    """Compute the sha256 over names (relative to `root`) and contents of files, in order of name."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(os.fsencode(file.relative_to(root).as_posix()) + b"\0")  # a name may be no UTF-8
        digest.update(bytes.fromhex(sha256_of_file(file)))
    return digest.hexdigest()


def natural_sort_key(place: Path) -> list[Any]:
    """Return a sort key by which seed=2 comes before seed=10."""
    pieces = re.split(r"(\d+)", place.as_posix())
    return [int(piece) if k % 2 else piece for k, piece in enumerate(pieces)]
