"""Where data sets come from: addresses without their secrets, licenses, and the sizes that bound a download."""

import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets.made_archives import BTAD, CIFAR10, MVTEC, tar, zipped
from local_server import Server

from fastflow_lite.datasets.download import fetch
from fastflow_lite.datasets.sources import SOURCES
from fastflow_lite.errors import DataError

Offer = Callable[..., str]


def test_addresses_come_from_the_call_else_the_environment_else_the_table(
    server: Server, offer: Offer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer("cifar10", tar(CIFAR10), server.url("table"))
    with pytest.raises(DataError, match="/table\n"):
        fetch("cifar10", tmp_path)
    monkeypatch.setenv("FASTFLOW_LITE_CIFAR10_URL", f"{server.url('one')}  {server.url('two')}")
    with pytest.raises(DataError, match=r"(?s)/one\n.*/two\n.*FASTFLOW_LITE_CIFAR10_URL"):
        fetch("cifar10", tmp_path)
    fetch("cifar10", tmp_path, urls=[server.url("cifar10")])
    assert server.seen == ["/table", "/one", "/two", "/cifar10"]


def test_the_license_is_shown_and_must_be_accepted_before_anything_is_asked_for(
    server: Server, offer: Offer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in (("mvtec", tar(MVTEC)), ("btad", zipped(BTAD))):
        offer(name, content)
        with pytest.raises(DataError, match="--accept-license"):
            fetch(name, tmp_path / "new")
        assert "creativecommons.org/licenses/by-nc-sa/4.0" in capsys.readouterr().out
    assert server.seen == [] and not (tmp_path / "new").exists()
    offer("cifar10", tar(CIFAR10))
    fetch("cifar10", tmp_path)
    assert "license: none stated" in capsys.readouterr().out


@pytest.mark.hostile
def test_a_download_ends_a_quarter_beyond_the_size_of_the_archive(server: Server, offer: Offer, tmp_path: Path) -> None:
    offer("mvtec", tar(MVTEC))
    long, endless = server.put("long", bytes(10**7)), server.put("endless", bytes(10**5))
    for url, reason in ((long, "10000000 bytes or more"), (endless, r"\d{4,7} bytes or more")):
        with pytest.raises(DataError, match=rf"(?s){url}\n.*DataError: {reason}, but this archive has no more than"):
            fetch("mvtec", tmp_path, accept_license=True, urls=[url])
    assert server.sent < 10**8
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "where", ["//me:pass%40word@127.0.0.1:1/", "//me:pass/word@127.0.0.1:1/", "//127.0.0.1:1/?t=pass"]
)
def test_secrets_in_an_address_are_never_printed(
    offer: Offer, tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    offer("mvtec", tar(MVTEC))
    with pytest.raises(DataError, match=r"http://(\*\*\*@)?127\.0\.0\.1:1/(\?\*\*\*)?\n") as raised:
        fetch("mvtec", tmp_path, accept_license=True, urls=["http:" + where])
    printed = capsys.readouterr()
    for text in (printed.out, printed.err, "".join(traceback.format_exception(raised.value))):
        assert "pass" not in text and "word" not in text


def test_secrets_in_the_address_that_a_server_leads_to_are_never_printed(
    server: Server, offer: Offer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offer("mvtec", tar(MVTEC), server.redirect("short", "http://me:word@127.0.0.1:1/a?signature=pass"))
    with pytest.raises(DataError, match="ConnectionError") as raised:
        fetch("mvtec", tmp_path, accept_license=True)
    for text in (capsys.readouterr().out, str(raised.value)):
        assert "pass" not in text and "word" not in text


def test_the_sizes_of_the_published_archives() -> None:
    """Bytes packed and unpacked, and the number of members: each bounds what a download or an archive may cost."""
    assert {name: (s.archive_bytes, s.unpacked_bytes, s.entries) for name, s in SOURCES.items()} == {
        "mvtec": (5_264_982_680, 5_300_000_000, 7_000),
        "btad": (1_229_193_337, 7_000_000_000, 4_000),
        "cifar10": (170_498_071, 186_400_000, 9),
    }
