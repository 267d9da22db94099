"""What lies in a folder of images: the files that count as images, and the entries that count at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fastflow_lite.errors import DataError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
# Images that are not read: refused, since they would be missed.
OTHER_SUFFIXES = {".avif", ".dng", ".gif", ".heic", ".jfif", ".jp2", ".jxl", ".pbm", ".pgm", ".pnm", ".ppm", ".tga"}
# What systems put beside files, in lower case; hidden entries need no name here.
SYSTEM_FOLDERS = {"__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found"}


def list_images(folder: Path, other_formats: bool = False) -> list[Path]:
    """Return the image files in `folder` and its subfolders, sorted, hidden ones left out.

    Raises DataError if there is none, for an image of another format, and for a link to a folder that holds the link or
    was read already. With `other_formats` images of other formats are listed too: decoding them raises the error.
    """
    if not folder.is_dir():
        raise DataError(f"folder {folder} is missing")
    found = []
    for place, entries in _walk(folder, set(folder.resolve().parents)):
        if entries is None:
            raise DataError(f"folder {place} is a link to a folder that is read already, or holds it: remove the link")
        others = [entry for entry in entries if entry.suffix.lower() in OTHER_SUFFIXES and not entry.is_dir()]
        if others and not other_formats:
            raise DataError(f"image {others[0]} is none of {', '.join(sorted(SUFFIXES))}: convert or remove it")
        found += [entry for entry in entries if is_image_file(entry)] + others
    if not found:
        raise DataError(f"folder {folder} holds no image ({', '.join(sorted(SUFFIXES))})")
    return sorted(found)


def holds_image(folder: Path) -> bool:
    """Return whether an image lies in `folder` or below it, where `list_images` looks; False if it is no folder.

    True also for an image of another format and for what cannot be read: `list_images` then tells what is wrong.
    """
    if not folder.is_dir():
        return False
    below = (entry for _, entries in _walk(folder, set()) for entry in entries or [])
    try:
        return any(entry.suffix.lower() in SUFFIXES | OTHER_SUFFIXES and not entry.is_dir() for entry in below)
    except DataError:
        return True


def _walk(folder: Path, seen: set[Path]) -> Iterator[tuple[Path, list[Path] | None]]:
    """Yield `folder` and all folders below with what is visible in them, or None where one is in `seen`.

    `seen` are resolved folders; each that was read is added.
    """
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        entries = None if place.resolve() in seen else visible_entries(place)
        seen.add(place.resolve())
        yield place, entries
        waiting += [entry for entry in entries or [] if entry.is_dir()]


def visible_entries(folder: Path) -> list[Path]:
    """Return what is in `folder`, sorted, without hidden entries and folders that systems make.

    Raises DataError if the folder cannot be read and for a broken link.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"folder {folder} cannot be read: {error}") from error
    entries = [entry for entry in entries if entry.name[0] != "." and entry.name.lower() not in SYSTEM_FOLDERS]
    if broken := [entry for entry in entries if entry.is_symlink() and not entry.exists()]:
        raise DataError(f"{broken[0]} is a link to {broken[0].readlink()}, which is missing: mend or remove the link")
    return entries


def is_image_file(path: Path) -> bool:
    """Return whether `path` has the suffix of an image and is no folder."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()
