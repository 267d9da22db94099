"""Fetching against a server in this process: what is refused, what is left behind, what is never asked for."""

import gzip
import hashlib
import lzma
import os
import shutil
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from datasets.made_archives import BTAD, CIFAR10, MVTEC, tar, zipped
from local_server import Server

from fastflow_lite.cli.main import main
from fastflow_lite.datasets import download as module
from fastflow_lite.datasets.download import fetch
from fastflow_lite.errors import DataError

Offer = Callable[..., str]


def files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("mvtec", tar(MVTEC), {f"mvtec/{k}": v for k, v in MVTEC.items()}),
        ("btad", zipped(BTAD), {f"btad/{k.removeprefix('BTech_Dataset_transformed/')}": v for k, v in BTAD.items()}),
        ("cifar10", tar(CIFAR10), {f"cifar10/{k}": v for k, v in CIFAR10.items()}),
    ],
)
def test_a_good_file_becomes_a_folder_and_the_second_call_does_nothing(
    server: Server, offer: Offer, tmp_path: Path, name: str, content: bytes, found: dict[str, bytes]
) -> None:
    offer(name, content)
    root = tmp_path / "made" / "here"
    assert fetch(name, root, accept_license=True) == root / name
    assert files(root) == found  # nothing else: neither the archive nor a temporary file
    assert [p.name for p in root.iterdir()] == [name]
    assert server.seen == [f"/{name}"]
    assert fetch(name, root) == root / name
    assert server.seen == [f"/{name}"]


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("mvtec", ["screw/train/good"]),
        ("btad", ["01/train/ok", "02/train/ok", "03/train/ok"]),
        ("cifar10", ["train/airplane"]),
        ("cifar10", ["cifar-10-batches-py/data_batch_1"]),
    ],
)
def test_an_extracted_folder_is_accepted_as_it_is(tmp_path: Path, name: str, inside: list[str]) -> None:
    for part in inside:
        (tmp_path / name / part).mkdir(parents=True)
    assert fetch(name, tmp_path, urls=["http://127.0.0.1:1/"]) == tmp_path / name
    assert files(tmp_path) == {}


def test_a_folder_with_something_else_is_left_alone(server: Server, offer: Offer, tmp_path: Path) -> None:
    offer("btad", zipped(BTAD))
    (tmp_path / "btad/01/train/ok").mkdir(parents=True)
    (tmp_path / "btad/notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"btad holds something else .* move it away"):
        fetch("btad", tmp_path, accept_license=True)
    assert files(tmp_path) == {"btad/notes.txt": b"mine"} and server.seen == []


def test_an_empty_folder_is_filled_unless_a_file_appears_in_it(
    offer: Offer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer("cifar10", tar(CIFAR10))
    (tmp_path / "cifar10").mkdir()
    unpack = module.extract

    def meanwhile(*args: object, **kwargs: object) -> None:
        unpack(*args, **kwargs)
        (tmp_path / "cifar10/notes.txt").write_text("mine")

    with monkeypatch.context() as patch:
        patch.setattr(module, "extract", meanwhile)
        with pytest.raises(DataError, match=r"cifar10: .*not empty"):
            fetch("cifar10", tmp_path)
    assert files(tmp_path / "cifar10") == {"notes.txt": b"mine"}
    (tmp_path / "cifar10/notes.txt").unlink()
    assert files(fetch("cifar10", tmp_path)) == CIFAR10


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("missing", "HTTP 404"),
        ("short", "IncompleteRead|sha256 of the"),  # the second where an old urllib3 does not count
        ("wrong", r"sha256 of the 5 bytes is 2cf24d\w+, expected"),
        ("refused", "ConnectionError"),
        ("strange", "InvalidSchema"),
    ],
)
def test_an_address_that_fails_is_named_and_the_next_one_is_tried(
    server: Server, offer: Offer, tmp_path: Path, address: str, reason: str
) -> None:
    content = tar(MVTEC)
    good = offer("mvtec", content)
    server.put("short", content)
    server.put("wrong", b"hello")
    bad = {"refused": "http://127.0.0.1:1/refused", "strange": "gopher://127.0.0.1/"}.get(address, server.url(address))
    with pytest.raises(DataError, match=rf"(?s){bad}\s+.*({reason}).*mvtec-ad/downloads, save it as .*mvtec\.tar\.xz"):
        fetch("mvtec", tmp_path, accept_license=True, urls=[bad])
    assert list(tmp_path.iterdir()) == []
    assert files(fetch("mvtec", tmp_path, accept_license=True, urls=[bad, good])).keys() == MVTEC.keys()


def test_a_gz_file_that_the_server_calls_a_gzipped_transfer_arrives_as_it_is(
    server: Server, offer: Offer, tmp_path: Path
) -> None:
    content = gzip.compress(lzma.decompress(tar(CIFAR10)))
    offer("cifar10", content, server.put("labelled.gz", content))
    assert files(fetch("cifar10", tmp_path)) == CIFAR10


@pytest.mark.parametrize("by_flag", [True, False])
def test_an_archive_downloaded_by_hand_needs_no_network_and_stays(
    server: Server, offer: Offer, tmp_path: Path, by_flag: bool
) -> None:
    offer("btad", zipped(BTAD))
    place = tmp_path / ("Downloads.bin" if by_flag else "data/btad.zip")
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(zipped(BTAD))
    fetch("btad", tmp_path / "data", accept_license=True, archive=place if by_flag else None)
    assert "data/btad/02/train/ok/0.bmp" in files(tmp_path)
    assert place.is_file() and server.seen == []


@pytest.mark.hostile
def test_an_archive_by_hand_with_another_checksum_is_refused_unless_it_is_trusted(
    server: Server, offer: Offer, tmp_path: Path
) -> None:
    offer("mvtec", tar(MVTEC))
    place, other = tmp_path / "mvtec.tar.xz", tar({"screw/train/good/1.png": b"1"})
    place.write_bytes(other)
    for archive in (None, place):
        with pytest.raises(DataError, match=r"mvtec\.tar\.xz has sha256 .* --sha256"):
            fetch("mvtec", tmp_path, accept_license=True, archive=archive)
    with pytest.raises(DataError, match="nowhere is not a file"):
        fetch("mvtec", tmp_path, accept_license=True, archive=tmp_path / "nowhere")
    with pytest.raises(DataError, match="64 hexadecimal digits"):
        fetch("mvtec", tmp_path, accept_license=True, sha256="abc")
    assert files(tmp_path) == {"mvtec.tar.xz": other}
    fetch("mvtec", tmp_path, accept_license=True, sha256=hashlib.sha256(other).hexdigest().upper())
    assert (tmp_path / "mvtec/screw").is_dir() and server.seen == []


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tar(MVTEC)[:-400], "is damaged, or no archive"),
        (tar(MVTEC | {"../evil": b"evil"}), r"refused at its member '\.\./evil'"),
        (zipped(MVTEC | {"../evil": b"evil"}), r"refused at its member '\.\./evil'"),
        (tar(dict.fromkeys(map(str, range(21)), b"")), "refused at its member '20': more than 20 members"),
        (tar(MVTEC | {"bottle/more.png": bytes(4_000_000)}), r"more\.png': more bytes than"),
        (tar({"readme.txt": b""}), r"does not hold MVTec AD.* \(looked for \*/train/good\)"),
    ],
)
def test_a_damaged_unsafe_or_foreign_archive_leaves_no_data(
    offer: Offer, tmp_path: Path, content: bytes, reason: str
) -> None:
    offer("mvtec", content)
    with pytest.raises(DataError, match=reason):
        fetch("mvtec", tmp_path / "data", accept_license=True)
    assert files(tmp_path) == {"data/mvtec.tar.xz": content}  # the archive alone, for whoever wants to look
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["mvtec.tar.xz"]


def test_a_run_killed_while_unpacking_leaves_the_archive_and_no_data(
    server: Server, offer: Offer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer("mvtec", tar(MVTEC))

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fastflow_lite.datasets.archives._safe_parts", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch("mvtec", tmp_path, accept_license=True)
    assert [p.name for p in tmp_path.iterdir()] == ["mvtec.tar.xz"]
    fetch("mvtec", tmp_path, accept_license=True)
    assert server.seen == ["/mvtec"]


def test_two_at_once_end_with_one_data_set(offer: Offer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer("mvtec", tar(MVTEC))
    both = threading.Barrier(2, timeout=300)
    unpack = module.extract

    def together(*args: object, **kwargs: object) -> None:
        unpack(*args, **kwargs)
        both.wait()  # now each has the data, and both want the same place

    monkeypatch.setattr(module, "extract", together)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(fetch, "mvtec", tmp_path, accept_license=True) for _ in range(2)]
        assert [run.result() for run in runs] == [tmp_path / "mvtec"] * 2
    assert files(tmp_path / "mvtec") == MVTEC
    assert not list(tmp_path.glob(".fetch-*"))


def test_a_full_disk_is_noticed_before_the_download(
    server: Server, offer: Offer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer("mvtec", tar(MVTEC), unpacked=3_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**10, 8 * 10**9, 2 * 10**9))
    with pytest.raises(DataError, match=r"has 2\.0 GB free, mvtec needs 3\.0 GB"):
        fetch("mvtec", tmp_path, accept_license=True)
    assert server.seen == []


def test_a_root_that_cannot_be_written_is_an_error_of_ours(offer: Offer, tmp_path: Path) -> None:
    offer("cifar10", tar(CIFAR10))
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file/cifar10"):
        fetch("cifar10", tmp_path / "file")
    with pytest.raises(DataError, match="there are the data sets mvtec, btad, cifar10, not 'toy'"):
        fetch("toy", tmp_path)


@pytest.mark.parametrize("live", [False, True])
def test_progress_is_lines_or_a_bar(
    offer: Offer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    offer("mvtec", zipped(MVTEC), unpacked=400_000)  # less than there is: no line may come twice
    monkeypatch.setattr(module, "is_live", lambda: live)
    fetch("mvtec", tmp_path, accept_license=True)
    out = capsys.readouterr().out
    assert ("\rdownloading mvtec:" in out) == live
    for task in ("downloading", "unpacking"):
        assert out.count(f"{task} mvtec: 100 % of ") == (not live)


def test_the_command(server: Server, offer: Offer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = offer("mvtec", tar(MVTEC), server.url("missing"))
    command = ["fetch", "mvtec", "--root", str(tmp_path)]
    assert main(command) == 2
    assert "fastflow-lite fetch: nothing was downloaded" in capsys.readouterr().err
    assert main([*command, "--accept-license", "--url", server.url("none"), "--url", url]) == 0
    assert server.seen == ["/none", "/mvtec"]
    (tmp_path / "again.tar.xz").write_bytes(server.files["/mvtec"])
    sha256 = hashlib.sha256(server.files["/mvtec"]).hexdigest()
    there = ["--archive", str(tmp_path / "again.tar.xz"), "--sha256", sha256, "--accept-license"]
    assert main(["fetch", "mvtec", "--root", str(tmp_path / "2"), *there]) == 0
    assert files(tmp_path / "2/mvtec") == MVTEC


def test_the_mode_of_an_empty_folder_stays(offer: Offer, tmp_path: Path) -> None:
    offer("cifar10", tar(CIFAR10))
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10").chmod(0o2775)
    assert stat.S_IMODE(fetch("cifar10", tmp_path).stat().st_mode) == 0o2775


@pytest.mark.parametrize("umask", [0o022, 0o002])
def test_what_is_fetched_is_readable_by_those_it_is_shared_with(offer: Offer, tmp_path: Path, umask: int) -> None:
    offer("cifar10", tar(CIFAR10))
    before = os.umask(umask)
    try:
        folder = fetch("cifar10", tmp_path)
    finally:
        os.umask(before)
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o777 if path.is_dir() else 0o666) & ~umask, path
