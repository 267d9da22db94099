"""A watched folder: which image files are new and complete, and which were judged before, also by an earlier run.

The folder is listed five times a second. No service of the system is used, so network drives work too.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np

from fastflow_lite.datasets.listing import OTHER_SUFFIXES, SUFFIXES, SYSTEM_FOLDERS
from fastflow_lite.detection.line_file import LineFile
from fastflow_lite.errors import DataError
from fastflow_lite.files import sha256_of_file, write_atomically

if TYPE_CHECKING:
    from fastflow_lite.detection.detector import Detector
    from fastflow_lite.detection.finding import Finding

POLL, LONGEST_POLL = 0.2, 0.4  # seconds between two listings; more where one takes long
SETTLED = 0.2  # seconds that a file is unchanged before it is read
PATIENCE = 2.0  # seconds that a file which cannot be decoded is unchanged before it counts as damaged
AT_ONCE = 64  # files that are judged before the folder is listed again
ALL_SUFFIXES = SUFFIXES | OTHER_SUFFIXES  # images of other formats are reported as damaged
MANY = 100_000  # records from which on those of files that are gone are dropped


class Mark(NamedTuple):
    """What changes when a file is written: its size in bytes and its time of modification in nanoseconds."""

    size: int
    time: int


class JudgedFiles:
    """The marks of files that were judged, by their names in the folder, kept as lines of JSON in a file.

    A line that cannot be read is left out. Where the file cannot be written there is a warning, and a later run judges
    all files again.
    """

    def __init__(self, path: Path) -> None:
        self.marks = _read_marks(path)
        self._file: LineFile | None = None
        lines = "".join(f"{_line(name, mark)}\n" for name, mark in self.marks.items())
        try:
            if lines:  # the last line of each file alone
                write_atomically(path, lambda place: place.write_text(lines, "utf-8"))
            self._file = LineFile(path, append=True)
        except (DataError, OSError) as error:
            warnings.warn(f"{error}; so a restart will judge the files of this folder again", stacklevel=2)

    def add(self, name: str, mark: Mark) -> None:
        """Keep that a file was judged."""
        self.marks[name] = mark
        if self._file is not None:
            self._file.write(_line(name, mark))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class FolderWatch:
    """The image files of a folder and its subfolders that are complete and not judged.

    A file is complete when its size and time have not changed for `SETTLED` seconds and it can be decoded, which the
    caller finds out. A file that changes after it was judged is a new one. Hidden files and other suffixes are left
    out, so a file may be written under such a name and renamed. Links to folders are not followed.

    Args:
        folder: The folder.
        judged: The files that were judged.
        clock: Seconds that only grow.
    """

    def __init__(self, folder: Path, judged: JudgedFiles, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder, self.clock = folder, clock
        self._judged = judged
        self._waiting: dict[str, tuple[Mark, float]] = {}  # mark, and when the file first had it
        self._names: dict[str, str] = {}  # in the folder, of the paths that were ready

    def ready(self) -> list[Path]:
        """List the folder once and return the files that are to be read, in the order of their times."""
        now = self.clock()
        try:
            present = _image_files(str(self.folder))
        except OSError as error:
            warnings.warn(f"folder {self.folder} cannot be read ({error.strerror}); waiting for it", stacklevel=2)
            return []
        waiting = {}
        for name, mark in present.items():
            if self._judged.marks.get(name) != mark:
                before, since = self._waiting.get(name, (None, now))
                waiting[name] = (mark, since if before == mark else now)
        self._waiting = waiting
        if len(self._judged.marks) > MANY + 2 * len(present):
            self._judged.marks = {name: mark for name, mark in self._judged.marks.items() if name in present}
        found = [(mark.time, name) for name, (mark, since) in waiting.items() if now - since >= SETTLED]
        ready = {self.folder / name: name for _, name in sorted(found)}
        self._names = {str(path): name for path, name in ready.items()}
        return list(ready)

    def judged(self, path: str) -> None:
        """Keep that the file at `path`, as `ready` returned it, was judged."""
        name = self._names[path]
        self._judged.add(name, self._waiting.pop(name)[0])

    def is_damaged(self, path: str) -> bool:
        """Return whether a file that cannot be decoded is damaged, and keep that it was judged then.

        It is not if it has gone, or if it may still be written: it has changed less than `PATIENCE` seconds ago.
        """
        _, since = self._waiting[self._names[path]]
        if self.clock() - since < PATIENCE or not os.path.exists(path):
            return False
        self.judged(path)
        return True


def judge_new_files(
    detector: Detector,
    watch: FolderWatch,
    add: Callable[[Finding], object],
    fail: Callable[[str, DataError], object],
    batch_size: int = 8,
    sleep: Callable[[float], object] = time.sleep,
) -> NoReturn:
    """Judge each file of `watch` once it is complete, until an exception such as KeyboardInterrupt.

    `add` is called with each finding, `fail` with the name and the error of each damaged file. A file counts as judged
    when these have returned: after a process was killed, at most one file is judged again.
    """

    def failed(name: str, error: DataError) -> None:
        if watch.is_damaged(name):
            fail(name, error)

    _warm_up(detector)
    while True:
        began = watch.clock()
        ready = watch.ready()[:AT_ONCE]
        seconds = watch.clock() - began
        for finding in detector.findings(ready, batch_size=batch_size, on_error=failed):
            try:
                add(finding)
            except DataError as error:
                failed(finding.name, error)
            else:
                watch.judged(finding.name)
        sleep(0.0 if len(ready) == AT_ONCE else min(LONGEST_POLL, max(POLL, 8 * seconds)))


def _warm_up(detector: Detector) -> None:
    """Judge a black image, so that the first one of the folder does not wait for what is made once."""
    height, width = detector.size
    wide = round(height * (detector.scorer.aspect or width / height))
    _ = next(detector.findings([np.zeros((height, max(1, wide), 3), np.uint8)])).regions


def record_path(folder: Path, detector_file: Path) -> Path:
    """Return where the files of `folder` that this detector judged are kept: hidden in the folder."""
    return folder / f".fastflow-lite-watch-{sha256_of_file(detector_file)[:12]}.jsonl"


def _image_files(folder: str, prefix: str = "") -> dict[str, Mark]:
    """Return the names and marks of the image files in a folder and its subfolders; OSError if it cannot be listed."""
    found: dict[str, Mark] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name[0] == ".":
                continue
            if entry.is_dir(follow_symlinks=False):
                if entry.name.lower() not in SYSTEM_FOLDERS:
                    with suppress(OSError):  # a subfolder that has gone, or that may not be read
                        found |= _image_files(entry.path, f"{prefix}{entry.name}/")
            elif os.path.splitext(entry.name)[1].lower() in ALL_SUFFIXES:
                with suppress(OSError):  # it has gone since the folder was listed
                    status = entry.stat()
                    found[prefix + entry.name] = Mark(status.st_size, status.st_mtime_ns)
    return found


def _read_marks(path: Path) -> dict[str, Mark]:
    marks = {}
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    for line in lines:
        try:
            name, size, modified = json.loads(line)
        except (ValueError, TypeError):
            continue
        marks[str(name)] = Mark(size, modified)
    return marks


def _line(name: str, mark: Mark) -> str:
    return json.dumps([name, *mark])
