"""A file of lines: whole lines only, whatever happens."""

import errno
import os
from pathlib import Path

import pytest

from fastflow_lite.detection.line_file import LineFile
from fastflow_lite.errors import DataError


def test_an_earlier_file_stays_until_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old\n")
    with LineFile(path, "head") as file:
        assert path.read_text() == "old\n"
        file.write("1")
        file.write("2")
    assert path.read_text() == "head\n1\n2\n"


def test_each_line_is_written_at_once(tmp_path: Path) -> None:
    with LineFile(tmp_path / "new" / "today" / "a.csv", "head") as file:
        file.write("b\udcff")
        assert (tmp_path / "new" / "today" / "a.csv").read_bytes() == b"head\nb\xff\n"


@pytest.mark.parametrize(
    ("before", "after"), [("", "head\n1\n"), ("head\n0\n", "head\n0\n1\n"), ("head\n0\ncut", "head\n0\n1\n")]
)
def test_lines_of_earlier_runs_are_kept_but_for_a_cut_one(before: str, after: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(before)
    with LineFile(path, "head", append=True) as file:
        file.write("1")
    assert path.read_text() == after


def test_a_cut_line_is_found_far_from_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("0\n" + "x" * 200_000)
    LineFile(path, append=True).close()
    assert path.read_text() == "0\n"


def test_no_part_of_a_line_stays_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write = tmp_path / "a.csv", os.write
    with LineFile(path) as file:
        file.write("first")
        space = iter([3])

        def full(where: int, data: bytes) -> int:
            if (left := next(space, 0)) == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(where, data[:left])

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
            file.write("second")
        monkeypatch.setattr(os, "write", write)
        assert path.read_text() == "first\n"
        file.write("third")
    assert path.read_text() == "first\nthird\n"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="it is a folder, and a file is expected"):
        LineFile(tmp_path)
    with pytest.raises(DataError, match=r"file.a\.csv cannot be written: "):
        LineFile(tmp_path / "file" / "a.csv")


def test_a_pipe_gets_its_header_once(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with LineFile(f"/dev/fd/{writer}", "head") as file:
        file.write("1")
        file.write("2")
    assert os.read(reader, 100) == b"head\n1\n2\n"
    os.close(reader)
    os.close(writer)


def test_standard_output_gets_printable_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with LineFile("-", "head") as file:
        file.write("b\udcff")
        file.write("2")
    assert capsys.readouterr().out == "head\nb\\udcff\n2\n"
