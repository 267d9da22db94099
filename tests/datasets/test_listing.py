"""Which files of a folder are images: suffixes of any case, subfolders, hidden files, links."""

from pathlib import Path

import pytest
from PIL import Image

from fastflow_lite.datasets.listing import holds_image, list_images
from fastflow_lite.errors import DataError


def put(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(path, "png")


def test_images_of_subfolders_are_listed_in_order(tmp_path: Path) -> None:
    names = ["000.png", "camera 2/000.JPG", "camera 2/day.png/001.TIFF", "zebra.BMP"]
    put(*(tmp_path / name for name in reversed(names)))
    assert list_images(tmp_path) == [tmp_path / name for name in names]


def test_what_systems_leave_behind_is_no_image(tmp_path: Path) -> None:
    put(*(tmp_path / name for name in ("0.png", "._0.png", ".hidden/1.png", ".ipynb_checkpoints/0-checkpoint.png")))
    put(*(tmp_path / name for name in ("@eaDir/0.png/thumb.jpg", "__MACOSX/0.png", "#recycle/2.png")))
    for name in (".DS_Store", "Thumbs.db", "notes.txt"):
        (tmp_path / name).write_text("")
    assert list_images(tmp_path) == [tmp_path / "0.png"]


@pytest.mark.hostile
def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere/0.png", tmp_path / "good/1.png")
    (tmp_path / "good/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "all").symlink_to(tmp_path / "good")
    assert [path.name for path in list_images(tmp_path / "all")] == ["1.png", "0.png"]
    for target in (tmp_path, tmp_path / "good", tmp_path / "elsewhere"):  # test images, itself, the same images again
        (tmp_path / "good/turn").symlink_to(target)
        with pytest.raises(DataError, match=r"good/(turn|more) is a link to a folder"):
            list_images(tmp_path / "good")
        (tmp_path / "good/turn").unlink()


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["0.png", "more"])
def test_a_broken_link_is_refused(tmp_path: Path, name: str) -> None:
    put(tmp_path / "1.png")
    (tmp_path / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=rf"{name} is a link to .*nowhere, which is missing"):
        list_images(tmp_path)


def test_a_folder_without_images_or_a_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "empty/sub").mkdir(parents=True)
    with pytest.raises(DataError, match="empty holds no image"):
        list_images(tmp_path / "empty")
    put(tmp_path / "good")
    with pytest.raises(DataError, match=r"folder .*good is missing"):
        list_images(tmp_path / "good")


@pytest.mark.parametrize("name", ["001.gif", "deep/001.PGM"])
def test_an_image_of_another_format_is_not_missed_in_silence(tmp_path: Path, name: str) -> None:
    put(tmp_path / "000.png", tmp_path / name)
    with pytest.raises(DataError, match=rf"image .*{name} is none of .*\.png.*convert or remove it"):
        list_images(tmp_path)
    assert list_images(tmp_path, other_formats=True) == [tmp_path / "000.png", tmp_path / name]


@pytest.mark.hostile
def test_whether_a_folder_holds_an_image_is_seen_where_images_are_listed(tmp_path: Path) -> None:
    put(tmp_path / "store/deep/0.png", tmp_path / "thumbs/@eaDir/0.png", tmp_path / "hidden/.cache/0.png")
    put(tmp_path / "other/0.HEIC")
    (tmp_path / "linked/a").mkdir(parents=True)
    (tmp_path / "linked/a/store").symlink_to(tmp_path / "store")
    (tmp_path / "turn").mkdir()
    (tmp_path / "turn/self").symlink_to(tmp_path / "turn")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/0.png").symlink_to(tmp_path / "nowhere")
    holding = {entry.name for entry in tmp_path.iterdir() if holds_image(entry)}
    assert holding == {"store", "linked", "other", "broken"}  # the last one so that listing it tells what is wrong
    assert not holds_image(tmp_path / "store/deep/0.png") and not holds_image(tmp_path / "nowhere")
