"""A text file that grows by whole lines, whatever ends the process that writes it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Self

from fastflow_lite.errors import DataError, printable

STANDARD_OUTPUT = "-"


class LineFile:
    """Lines that are written to the system one by one, so that a killed process leaves whole lines only.

    A file that exists is emptied when the first line is written, and not before; with `append` it is kept, and a last
    line that a failure of power cut short is removed. `header` is the first line of a file that is empty. "-" is
    standard output. DataError, with the reason, for a place that cannot be written; OSError for a line that cannot be
    written later, such as on a full disk, and then no part of it stays.
    """

    def __init__(self, place: str | Path, header: str = "", *, append: bool = False) -> None:
        self.name, self._header, self._empties = str(place), header, not append
        self._is_output = self.name == STANDARD_OUTPUT
        try:
            self._file = -1 if self._is_output else _opened(Path(place))
        except OSError as error:
            raise DataError(f"{place} cannot be written: {error.strerror or error}") from error
        self._is_regular = not self._is_output and stat.S_ISREG(os.fstat(self._file).st_mode)
        if append and self._is_regular:
            _remove_cut_line(self._file)

    def write(self, line: str) -> None:
        """Write one line, without its end, to the system."""
        if self._is_output:
            if self._header:
                print(self._header)
            self._header = ""
            print(printable(line), flush=True)
            return
        if self._is_regular and self._empties:
            os.ftruncate(self._file, 0)
        self._empties = False
        size = os.fstat(self._file).st_size
        text = f"{self._header}\n{line}\n" if self._header and not size else f"{line}\n"
        self._header = self._header if self._is_regular else ""  # once into a pipe, whose size is always 0
        self._write_whole(text.encode("utf-8", "surrogateescape"), size)

    def close(self) -> None:
        """Close the file."""
        if not self._is_output:
            os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write_whole(self, data: bytes, size: int) -> None:
        """Write all bytes; where that fails, cut the file to its `size` of before."""
        try:
            written = os.write(self._file, data)
            while written < len(data):  # a full disk takes a part, and refuses the next
                written += os.write(self._file, data[written:])
        except OSError as error:
            if self._is_regular:
                os.ftruncate(self._file, size)
            raise OSError(error.errno, error.strerror, self.name) from error


def _opened(path: Path) -> int:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder, and a file is expected")
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)


def _remove_cut_line(file: int) -> None:
    """Cut a file behind its last end of line."""
    size = os.fstat(file).st_size
    with open(file, "rb", closefd=False) as reader:
        end = size
        while end:
            start = max(0, end - 2**16)
            reader.seek(start)
            if (found := reader.read(end - start).rfind(b"\n")) >= 0:
                end = start + found + 1
                break
            end = start
    if end < size:
        os.ftruncate(file, end)
