"""Unpack an archive that is not trusted: only into one folder, without links, within bounds on size and number."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from fastflow_lite.errors import DataError

CHUNK = 1 << 16  # bytes of one read; a header of a tar file may be no longer
HEADERS = 4096  # bytes of headers and padding for each member of a tar file: the usual ones are below 2,048
PACKED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
DAMAGED = (  # zipfile raises the last for a file that is encrypted
    tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError
)  # fmt: skip


class _RefusedError(Exception):
    """Why a member is not unpacked."""


class _BoundedTar:
    """The unpacked bytes of a tar file, as `tarfile` reads them: no more than `most`, and only in small pieces.

    So headers and members that are left out count too. tarfile reads a long name or a PAX header at once, whatever
    size it declares.
    """

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self.stream, self.most = stream, most
        self.tell = stream.tell

    def read(self, count: int) -> bytes:
        if count > CHUNK:
            raise _RefusedError(f"a header of {count} bytes follows it")
        return self.stream.read(self._within(count))

    def seek(self, place: int) -> int:
        self._within(place - self.tell())
        return self.stream.seek(place)

    def _within(self, count: int) -> int:
        if self.tell() + count > self.most:
            raise _RefusedError("more bytes than this data set has")
        return count


@dataclass(frozen=True)
class _Member:
    name: str
    kind: str  # "file", "folder" or what else it is
    open: Callable[[], IO[bytes]]


def extract(
    archive: Path, folder: Path, *, max_bytes: int, max_entries: int, progress: Callable[[int], object]
) -> None:
    """Unpack the zip or tar file `archive` into `folder`, which must not exist yet.

    Only files and folders are unpacked; those whose names start with a dot, and `__MACOSX`, are left out. `progress` is
    called with the number of bytes after each write. `folder` is incomplete after an error: remove it.

    Raises:
        DataError: the archive is damaged; or, naming the member, for a name that leads out of `folder`, a link, a
            device, a file that comes twice, more than `max_entries` members or more than `max_bytes` bytes. In a tar
            file headers and what is left out count, too, beyond `HEADERS` bytes a member.
        OSError: the disk is full or cannot be written.
    """
    folder.mkdir()
    name, left = "", max_bytes
    try:
        for number, member in enumerate(_members(archive, folder, max_bytes + (max_entries + 20) * HEADERS), 1):
            name = member.name
            parts = _safe_parts(member)
            if number > max_entries:
                raise _RefusedError(f"more than {max_entries} members")
            if any(part.startswith(".") or part == "__MACOSX" for part in parts):
                continue
            left -= _write(member, folder.joinpath(*parts), left, progress)
    except _RefusedError as why:
        raise DataError(f"{archive} is refused at its member {name!r}: {why}") from None
    except DAMAGED as error:
        raise DataError(f"{archive} is damaged, or no archive ({type(error).__name__}: {error})") from error


def _members(archive: Path, folder: Path, most: int) -> Iterator[_Member]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as bundle:
            for info in bundle.infolist():
                mode = stat.S_IFMT(info.external_attr >> 16)  # 0 where the writer knows no Unix modes
                kind = "folder" if info.is_dir() else "file" if mode in (0, stat.S_IFREG) else "link or device"
                yield _Member(info.filename, kind, partial(bundle.open, info))
    else:
        with archive.open("rb") as file:
            start = file.read(6)
        opener = next((opener for magic, opener in PACKED.items() if start.startswith(magic)), Path.open)
        with opener(archive, "rb") as stream:
            tar = tarfile.TarFile(fileobj=cast(IO[bytes], _BoundedTar(stream, most)))  # it has what TarFile calls
            for entry in tar:
                kind = "folder" if entry.isdir() else "file" if entry.isreg() else "link or device"
                yield _Member(entry.name, kind, partial(_open_screened, tar, entry, folder))


def _open_screened(bundle: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path) -> IO[bytes]:
    """Open a member of a tar file after Python's own checks of it, which came with 3.11.4."""
    if hasattr(tarfile, "data_filter"):
        tarfile.data_filter(entry, str(folder))
    return cast(IO[bytes], bundle.extractfile(entry))  # None for what is no file; that is refused before


def _safe_parts(member: _Member) -> list[str]:
    """Split the name into parts that stay in the folder on every system. Raises _RefusedError."""
    if member.kind not in ("file", "folder"):
        raise _RefusedError(f"a {member.kind}, not a file")
    if "\\" in member.name or ":" in member.name:
        raise _RefusedError("a backslash or a drive letter in its name")
    if member.name.startswith("/") or ".." in member.name.split("/"):
        raise _RefusedError("its name leads out of the folder")
    return [part for part in member.name.split("/") if part not in ("", ".")]


def _write(member: _Member, place: Path, most: int, progress: Callable[[int], object]) -> int:
    """Write one member and count its bytes: a declared size may be false.

    Modes and times of the archive are not taken over: archives exist whose folders are read-only.
    """
    written = 0
    try:
        if member.kind == "folder":
            place.mkdir(parents=True, exist_ok=True)
            return 0
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as file, member.open() as stream:
            while chunk := stream.read(CHUNK):
                written += len(chunk)
                if written > most:
                    raise _RefusedError("more bytes than this data set has")
                file.write(chunk)
                progress(len(chunk))
    except (FileExistsError, NotADirectoryError):  # also a file where a folder is, and the reverse
        raise _RefusedError("the name comes twice") from None
    return written
