"""Files and folders that are complete or absent: names, modes and links of what is written."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastflow_lite.files import build_folder, fingerprint, write_atomically


@pytest.fixture(params=[0o022, 0o002, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, text: str) -> None:
    write_atomically(path, lambda place: place.write_text(text))


def test_a_new_file_and_a_new_folder_have_the_mode_of_the_umask(tmp_path: Path, umask: int) -> None:
    write(tmp_path / "record.json", "{}")
    assert mode(tmp_path / "record.json") == 0o666 & ~umask
    with build_folder(tmp_path / "set") as unfinished:
        (unfinished / "0.png").touch()
    assert mode(tmp_path / "set") == 0o777 & ~umask


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o664, 0o444])
def test_a_file_that_is_written_anew_keeps_its_mode(tmp_path: Path, kept: int) -> None:
    write(tmp_path / "record.json", "first")
    (tmp_path / "record.json").chmod(kept)
    write(tmp_path / "record.json", "second")
    assert (mode(tmp_path / "record.json"), (tmp_path / "record.json").read_text()) == (kept, "second")


def test_a_link_stays_and_the_file_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/real.json").write_text("first")
    (tmp_path / "link.json").symlink_to("shared/real.json")
    (tmp_path / "new.json").symlink_to("shared/not yet.json")
    for link in ("link.json", "new.json"):
        write(tmp_path / link, "second")
        assert (tmp_path / link).is_symlink() and (tmp_path / link).resolve().read_text() == "second"
    assert sorted(p.name for p in (tmp_path / "shared").iterdir()) == ["not yet.json", "real.json"]


def test_a_pipe_is_written_and_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write(tmp_path / "pipe", "text")
    assert os.read(reader, 10) == b"text" and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    os.close(reader)


LONG = ["a" * 255, "画" * 85, "🙂" * 63 + "abc"]  # as long as Linux allows


@pytest.mark.hostile
@pytest.mark.parametrize("name", [*LONG, os.fsdecode(b"no \xff utf-8")])
def test_a_name_may_be_long_and_need_not_be_text(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, "text")
    assert (tmp_path / name).read_text() == "text"
    (tmp_path / name).unlink()
    with build_folder(tmp_path / name):
        pass
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.hostile
def test_the_fingerprint_of_names_that_are_no_text(tmp_path: Path) -> None:
    first, second = (tmp_path / os.fsdecode(name) for name in (b"\xff.png", b"\xfe.png"))
    for file in (first, second):
        file.write_bytes(b"the same")
    assert fingerprint(tmp_path, [first]) != fingerprint(tmp_path, [second])


def test_nothing_is_left_of_a_write_that_fails(tmp_path: Path) -> None:
    write(tmp_path / "record.json", "first")

    def fail(place: Path) -> None:
        place.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device.*what was there before stays.*record\.json"):
        write_atomically(tmp_path / "record.json", fail)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("record.json", "first")]
