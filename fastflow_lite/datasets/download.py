"""`fastflow-lite fetch`: download a data set, check its sha256, unpack it below the data root.

A download that breaks off starts anew at the next call (or the next address); it is not resumed. Until its
sha256 is right it lies in a temporary folder `.fetch-<name>-*`, and so does what is unpacked until it is whole,
so that a killed run leaves nothing under the final names. Such a folder of a killed run may be deleted.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pooch
from tqdm import tqdm

from fastflow_lite.datasets.archives import extract
from fastflow_lite.datasets.opening import data_root
from fastflow_lite.datasets.sources import SOURCES, Source
from fastflow_lite.errors import DataError
from fastflow_lite.files import sha256_of_file
from fastflow_lite.progress import is_live


def fetch(
    name: str,
    root: str | Path | None = None,
    *,
    accept_license: bool = False,
    urls: Sequence[str] | None = None,
    sha256: str | None = None,
    archive: str | Path | None = None,
) -> Path:
    """Download and unpack a data set unless it is there already; return its folder `<root>/<name>`.

    `root` defaults to `data_root()`. `urls` replaces the addresses (so does the environment variable
    FASTFLOW_LITE_<NAME>_URL, separated by spaces), `sha256` the checksum. `archive` is a file downloaded by
    hand; one at `<root>/<name>.<suffix>` is found without it. DataError if the license has to be accepted first,
    if no address gives the right file, if the archive is unsafe, if the disk is too small, or if the
    folder holds something else, which is then left as it is.
    """
    if name not in SOURCES:
        raise DataError(f"there are the data sets {', '.join(SOURCES)}, not {name!r}")
    source, base = SOURCES[name], data_root(root)
    target = base / name
    if source.is_in(target):
        print(f"{name} is there already: {target}")
        return target
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise DataError(f"{target} holds something else than {source.title}: move it away, or choose another root")
    _check_license(source, accept_license)
    download = _Download(
        source, base, tuple(urls or os.environ.get(source.variable, "").split() or source.urls), sha256
    )
    try:
        base.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".fetch-{name}-", dir=base, ignore_cleanup_errors=True) as work:
            download.install(Path(work), Path(archive) if archive else None)
    except (DataError, OSError) as error:
        if not source.is_in(target):  # else another process was faster, and its data are as good
            raise error if isinstance(error, DataError) else DataError(f"{target}: {error}") from error
    print(f"{name} is ready: {target}")
    return target


def _check_license(source: Source, accepted: bool) -> None:
    print(f"{source.title}\nlicense: {source.license}")
    if source.must_accept and not accepted:
        raise DataError(
            "nothing was downloaded. Read the license above; if you accept it, call again with --accept-license "
            "(in Python accept_license=True)"
        )


@dataclass(frozen=True)
class _Download:
    """One data set, the addresses it comes from and the folder below which it is put."""

    source: Source
    base: Path
    urls: tuple[str, ...]
    other_sha256: str | None

    @property
    def sha256(self) -> str:
        digest = (self.other_sha256 or self.source.sha256).lower()
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise DataError(f"a sha256 has 64 hexadecimal digits, got {digest!r}")
        return digest

    def install(self, work: Path, given: Path | None) -> None:
        """Unpack the archive, wherever it comes from, and move the folder to its place in one step."""
        placed = self.base / self.source.archive
        archive = given or (placed if placed.exists() else None)
        self.check_space(self.source.unpacked_bytes + (0 if archive else self.source.archive_bytes))
        if archive:
            self.check(archive)
        else:
            self.download(work / placed.name)
            os.replace(work / placed.name, placed)  # kept if unpacking is killed: 5 GB are not fetched twice
        with _Bytes(f"unpacking {self.source.name}", self.source.unpacked_bytes) as progress:
            extract(
                archive or placed,
                work / "unpacked",
                max_bytes=2 * self.source.unpacked_bytes,
                max_entries=2 * self.source.entries,
                progress=progress.update,
            )
        self.put_in_place(work / "unpacked", archive or placed)
        if archive:
            print(f"{archive} is not needed any more; it stays until you delete it")
        else:
            placed.unlink(missing_ok=True)

    def check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.base).free
        if free < needed:
            raise DataError(f"{self.base} has {free / 1e9:.1f} GB free, {self.source.name} needs {needed / 1e9:.1f} GB")

    def check(self, archive: Path) -> None:
        if not archive.is_file():
            raise DataError(f"archive {archive} is not a file")
        print(f"checking {archive}")
        digest = sha256_of_file(archive)
        if digest != self.sha256:
            raise DataError(
                f"{archive} has sha256 {digest}, expected {self.sha256}: it may be cut short. Replace it, or delete "
                "it to have it downloaded; if you trust it, call again with --sha256 and its own"
            )

    def download(self, file: Path) -> None:
        """Try one address after the other until `file` has the right sha256."""
        expected, failures = self.sha256, []
        for url in self.urls:
            shown = _without_secrets(url)
            print(f"downloading {shown}")
            try:
                self.download_one(url, file)
                digest = sha256_of_file(file)
                if digest == expected:
                    return
                failure = f"sha256 of the {file.stat().st_size} bytes is {digest}, expected {expected}"
            except (OSError, ValueError) as error:  # all that requests raises is an OSError
                answer = getattr(error, "response", None)
                failure = type(error).__name__ if answer is None else f"HTTP {answer.status_code}"
                if answer is None and shown == url:  # else the error's text may have pieces of the secret
                    failure += f": {_without_secrets(str(error))}"
            print(f"failed: {failure}")
            failures.append(f"  {shown}\n    {failure}")
        raise DataError(
            f"{self.source.name} could not be downloaded:\n" + "\n".join(failures) + f"\nBy hand: get the archive from "
            f"{self.source.page}, save it as {self.base / self.source.archive} and call again, or leave it where it "
            f"is and call with --archive FILE. Other addresses: --url, or the variable {self.source.variable}"
        )

    def download_one(self, url: str, file: Path) -> None:
        """Write to `file` what `url` gives, no more than a quarter beyond the size of the archive."""
        most = self.source.archive_bytes * 5 // 4

        def check(response: Any, **_: object) -> None:
            # A .tar.gz that a server declares as a gzipped transfer would be unpacked: its sha256 would change.
            response.raw.headers.pop("Content-Encoding", None)
            _check_size(int(response.headers.get("Content-Length", 0)), most)

        with (
            _Bytes(f"downloading {self.source.name}", self.source.archive_bytes) as progress,
            file.open("wb") as target,
        ):
            ask = {"headers": {"Accept-Encoding": "identity"}, "hooks": {"response": check}}
            pooch.HTTPDownloader(progress, chunk_size=1 << 18, **ask)(url, _Bounded(target, most), None)

    def put_in_place(self, unpacked: Path, archive: Path) -> None:
        folders = [unpacked, *sorted(p for p in unpacked.iterdir() if p.is_dir())]
        folder = next((p for p in folders if self.source.is_in(p)), None)
        if folder is None:
            looked_for = " or ".join(" and ".join(patterns) for patterns in self.source.holds)
            raise DataError(f"{archive} does not hold {self.source.title} (looked for {looked_for})")
        for note in unpacked.iterdir() if folder != unpacked else ():
            if note.is_file() and not (folder / note.name).exists():
                note.rename(folder / note.name)  # the readme with the license stays with the data
        target = self.base / self.source.name
        if target.is_dir():
            shutil.copymode(target, folder)
            target.rmdir()  # it is empty; Windows does not rename onto a folder
        folder.rename(target)


def _without_secrets(text: str) -> str:
    """Return `text` with user names, passwords and queries of addresses as ***.

    >>> _without_secrets("https://me:word@host/a.zip?token=word")
    'https://***@host/a.zip?***'
    """
    return re.sub(r"\?[^\s'\")>]+", "?***", re.sub(r"(?<=//)\S*@", "***@", text))


def _check_size(count: int, most: int) -> None:
    if count > most:
        raise DataError(f"{count} bytes or more, but this archive has no more than {most}")


class _Bounded:
    """A file to write, of at most `most` bytes. A server without a Content-Length may send without end."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self.file, self.most, self.done = file, most, 0
        self.flush = file.flush

    def write(self, chunk: bytes) -> None:
        """Append `chunk`, or raise DataError."""
        self.done += len(chunk)
        _check_size(self.done, self.most)
        self.file.write(chunk)


class _Bytes:
    """Count bytes: a bar if a person watches, else a line every tenth. Has the interface that pooch expects."""

    def __init__(self, task: str, expected: int) -> None:
        self.task, self.expected = task, expected
        self.total, self.done, self.tenths = 0, 0, 0  # pooch sets `total`, to 0 where the server does not tell
        self.bar = tqdm(
            total=expected, desc=task, unit="B", unit_scale=True, file=sys.stdout, leave=False, disable=not is_live()
        )

    def __enter__(self) -> _Bytes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, count: int) -> None:
        """Add `count` bytes."""
        self.done += count
        self.bar.total = total = self.total or self.expected
        self.bar.update(count)
        if self.bar.disable and (tenths := min(10, 10 * self.done // total)) > self.tenths:
            self.tenths = tenths
            print(f"{self.task}: {10 * tenths} % of {total / 1e6:.0f} MB", flush=True)

    def reset(self) -> None:
        """Start counting from 0."""
        self.done = 0
        self.bar.reset()

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()
