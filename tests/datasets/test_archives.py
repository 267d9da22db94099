"""Unpacking: what a good archive becomes, and every trick that must not work."""

import gzip
import io
import lzma
import stat
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets.made_archives import MVTEC, tar, zipped

from fastflow_lite.datasets.archives import _BoundedTar, _RefusedError, extract
from fastflow_lite.errors import DataError

Pack = Callable[[dict[str, bytes]], bytes]


def unpack(content: bytes, tmp_path: Path, max_bytes: int = 10**6, max_entries: int = 10) -> dict[str, bytes]:
    (tmp_path / "archive").write_bytes(content)
    written: list[int] = []
    folder = tmp_path / "inside" / "out"
    folder.parent.mkdir()
    extract(tmp_path / "archive", folder, max_bytes=max_bytes, max_entries=max_entries, progress=written.append)
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert sum(written) == sum(map(len, found.values()))
    return found


@pytest.mark.parametrize("pack", [tar, zipped])
def test_files_and_folders_are_unpacked_without_hidden_ones_and_without_their_modes(pack: Pack, tmp_path: Path) -> None:
    hidden = {"__MACOSX/bottle/000.png": b"", "bottle/.DS_Store": b"", ".git/config": b""}
    assert unpack(pack(MVTEC | hidden), tmp_path) == MVTEC
    assert (tmp_path / "inside/out/license.txt").stat().st_mode & stat.S_IWUSR  # the zip here says 0


def test_read_only_and_repeated_folders_are_no_obstacle(tmp_path: Path) -> None:
    folder = special("bottle", tarfile.DIRTYPE, mode=0o500)
    assert unpack(tar(MVTEC, folder, folder), tmp_path) == MVTEC
    assert (tmp_path / "inside/out/bottle").stat().st_mode & stat.S_IWUSR


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "a/..", "ABSOLUTE/evil", "C:/evil", "C:evil", "..\\evil"])
@pytest.mark.parametrize("pack", [tar, zipped])
def test_a_name_that_leads_outside_is_refused(pack: Pack, tmp_path: Path, name: str) -> None:
    name = name.replace("ABSOLUTE", str(tmp_path / "inside"))
    with pytest.raises(DataError, match=r"refused at its member '.*': (its name leads|a backslash or a drive)"):
        unpack(pack({name: b"evil"} | MVTEC), tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [tmp_path / "archive"]


def special(name: str, kind: bytes, mode: int = 0o644) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode = kind, "train/good/000.png", mode
    return entry


def zipped_link() -> bytes:
    buffer = io.BytesIO(zipped(MVTEC))
    with zipfile.ZipFile(buffer, "a") as bundle:
        link = zipfile.ZipInfo("bottle/odd")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        bundle.writestr(link, "train")
    return buffer.getvalue()


KINDS = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE)


@pytest.mark.hostile
@pytest.mark.parametrize("content", [*(tar(MVTEC, special("bottle/odd", kind)) for kind in KINDS), zipped_link()])
def test_links_and_devices_are_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'bottle/odd': a link or device"):
        unpack(content, tmp_path)
    assert not (tmp_path / "inside/out/bottle/odd").exists()


@pytest.mark.hostile
@pytest.mark.parametrize("pack", [tar, zipped])
@pytest.mark.parametrize(
    "again",
    ["license.txt", "./bottle//train/good/000.png", "license.txt/a", "license.txt/a/b", "license.txt/", "bottle"],
)
def test_a_file_that_comes_twice_is_refused(pack: Pack, again: str, tmp_path: Path) -> None:
    content = {k: v for k, v in MVTEC.items() if k != again}
    if again in MVTEC:  # a dictionary cannot hold it twice
        content = {"./" + again: b""} | MVTEC
    with pytest.raises(DataError, match="the name comes twice"):
        unpack(pack(content | {again: b"again"}), tmp_path)


@pytest.mark.hostile
@pytest.mark.parametrize("pack", [tar, zipped])
def test_the_bounds_are_exact(pack: Pack, tmp_path: Path) -> None:
    size = sum(map(len, MVTEC.values()))
    for case, limits, reason in (
        ("1", (size - 1, 3), r"license\.txt': more bytes than"),
        ("2", (size, 2), r"license\.txt': more than 2 members"),
    ):
        (tmp_path / case).mkdir()
        with pytest.raises(DataError, match=reason):
            unpack(pack(MVTEC), tmp_path / case, *limits)
    assert unpack(pack(MVTEC), tmp_path, size, 3) == MVTEC


@pytest.mark.hostile
def test_no_read_and_no_jump_passes_the_bound_of_a_tar_file() -> None:
    content = _BoundedTar(io.BytesIO(bytes(20)), most=10)
    assert (content.read(6), content.read(4), content.seek(6)) == (bytes(6), bytes(4), 6)
    for use in (lambda: content.read(5), lambda: content.seek(11)):
        with pytest.raises(_RefusedError, match="more bytes than this data set has"):
            use()
    assert content.tell() == 6


@pytest.mark.hostile
def test_bytes_are_counted_while_they_are_written(tmp_path: Path) -> None:
    """A bomb: 5 kB of archive that would become 30 MB. Nothing is written beyond the bound."""
    with pytest.raises(DataError, match="more bytes than"):
        unpack(tar({"bomb": bytes(3 * 10**7)}), tmp_path, max_bytes=5 * 10**6)
    assert (tmp_path / "inside/out/bomb").stat().st_size <= 5 * 10**6


ENCRYPTED = bytearray(zipped({"a": b"secret"}))
ENCRYPTED[ENCRYPTED.index(b"PK\1\2") + 8] |= 1  # the flag in the directory


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ReadError"),
        (b"<html>not found</html>", "ReadError"),
        (tar(MVTEC)[:-400], "EOFError|ReadError"),
        (zipped(MVTEC)[:-10], "ReadError"),
        (zipped(MVTEC).replace(b"terms", b"terns"), "CRC"),
        (bytes(ENCRYPTED), "encrypted"),
        (gzip.compress(lzma.decompress(tar(MVTEC))[:5000])[:-8] + bytes(8), "BadGzipFile"),
    ],
    ids=["empty", "page", "short tar", "short zip", "checksum", "encrypted", "short gz"],
)
def test_what_cannot_be_read_is_an_error_of_ours(content: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"archive is damaged, or no archive .*({reason})"):
        unpack(content, tmp_path)


def with_header(kind: bytes, size: int, repeated: int = 1) -> bytes:
    """A tar file whose first member comes after `repeated` headers of `size` bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as bundle:
        for number in range(repeated):
            entry = tarfile.TarInfo(f"././@{number}")
            entry.type, entry.size = kind, size
            text = (
                b"a" * size
                if kind == tarfile.GNUTYPE_LONGNAME
                else f"{size} k{number}=".encode().ljust(size - 1) + b"\n"
            )
            bundle.addfile(entry, io.BytesIO(text))
        entry = tarfile.TarInfo("a.png")
        entry.size = 3
        bundle.addfile(entry, io.BytesIO(b"abc"))
    return buffer.getvalue()


LONG_HEADERS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE)


@pytest.mark.hostile
@pytest.mark.parametrize("kind", LONG_HEADERS)
def test_a_long_header_is_refused_before_it_costs_memory(kind: bytes, tmp_path: Path) -> None:
    content = with_header(kind, 50_000_000)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"archive is refused at its member '': a header of 500\d+ bytes"):
        unpack(content, tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


@pytest.mark.hostile
@pytest.mark.parametrize("kind", [tarfile.XGLTYPE, tarfile.XHDTYPE])
def test_many_headers_count_within_the_bound_on_size(kind: bytes, tmp_path: Path) -> None:
    assert unpack(with_header(kind, 1000, 5), tmp_path) == {"a.png": b"abc"}
    (tmp_path / "many").mkdir()
    with pytest.raises(DataError, match="more bytes than this data set has"):
        unpack(with_header(kind, 10_000, 200), tmp_path / "many")


@pytest.mark.hostile
def test_what_is_left_out_counts_within_the_bound_on_size(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="more bytes than this data set has"):
        unpack(tar({".hidden": bytes(3 * 10**7)} | MVTEC), tmp_path)
    assert not list((tmp_path / "inside/out").iterdir())


@pytest.mark.parametrize("pack", ["w:", "w:gz", "w:bz2", "w:xz"])
def test_every_packing_of_a_tar_file_with_long_names_is_unpacked(pack: str, tmp_path: Path) -> None:
    buffer, name = io.BytesIO(), "/".join(["é" * 60] * 5)
    with tarfile.open(fileobj=buffer, mode=pack, format=tarfile.PAX_FORMAT) as bundle:  # type: ignore[call-overload]
        entry = tarfile.TarInfo(name)
        entry.size = len(MVTEC["license.txt"])
        bundle.addfile(entry, io.BytesIO(MVTEC["license.txt"]))
    assert unpack(buffer.getvalue(), tmp_path) == {name: MVTEC["license.txt"]}
