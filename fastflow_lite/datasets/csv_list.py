"""Lists of images as CSV files: the columns path, label, mask and split, of which only path is required.

Case and order of the columns do not matter. Paths are relative to the folder of the file. A label is a usual name of
normal images or the name of a defect; 0 and false are normal, 1 and true a defect. Refused as unclear are other numbers
and words such as none, n/a and unknown, which may say that there is no defect or that nobody looked. A split is train
or test.
"""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastflow_lite.datasets.image_set import GOOD, CategorySamples, Sample, is_normal_name, plain_name
from fastflow_lite.datasets.listing import SUFFIXES
from fastflow_lite.errors import DataError

COLUMNS = ("path", "label", "mask", "split")
LABELS = {"0": GOOD, "0.0": GOOD, "false": GOOD, "1": "defect", "1.0": "defect", "true": "defect"}
# Letters and digits of labels that may mean normal, a defect or not known.
UNCLEAR = frozenset({"", "none", "na", "nan", "null", "nil", "unknown", "unlabeled", "unlabelled", "no", "yes"})
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
OTHER_SPLITS = ("val", "valid", "validation", "dev")


@dataclass(frozen=True)
class Row:
    """One line of the file: `where` names it in messages, `split` is "" where the file has no such column."""

    where: str
    sample: Sample
    split: str


def csv_samples(file: Path, to_train: bool = True) -> CategorySamples:
    """List the samples of a CSV file, without `to_train` not those of the split train.

    DataError names the file and the line of what cannot be used.
    """
    header, rows = _table(file)
    samples = [_row(file, line, cells, header) for line, cells in rows]
    if not samples:
        raise DataError(f"{file} lists no image")
    _check_once(samples)
    parts: dict[str, list[Sample]] = {"train": [], "test": [], "undivided": [], "other": []}
    defects = []
    for row in samples:
        part = row.split or ("undivided" if row.sample.defect == GOOD else "test")
        if part == "train" and row.sample.defect != GOOD:
            defects.append(row)
        else:
            parts[part].append(row.sample)
    _warn(file, header, defects, parts, to_train)
    if "label" not in header and parts["test"]:
        raise DataError(f"{file} has images of the split test but no column label, so which are normal is unknown")
    folder = _common_folder(file.parent, [s for samples in parts.values() for s in samples])
    layout = f"a CSV file with the columns {', '.join(name for name in COLUMNS if name in header)}"
    normal = parts["train"] if to_train else []
    return CategorySamples(folder, file.stem, normal, parts["test"], parts["undivided"], layout)


def _table(file: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Return the names of the columns in lower case, and the lines with their numbers."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 ({error.reason} at byte {error.start}): save it as CSV UTF-8") from None
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from error
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    lines = _lines(file, reader)
    header = [cell.strip().casefold() for cell in next(lines, (1, []))[1]]
    if "path" not in header:
        raise DataError(f"{file}, line 1: no column is named path, there are {', '.join(header) or 'none'}")
    if twice := [name for name in header if name and header.count(name) > 1]:
        raise DataError(f"{file}, line 1: two columns are named {twice[0]}")
    return header, lines


def _lines(file: Path, reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that are not empty."""
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells  # type: ignore[attr-defined]
    except csv.Error as error:
        raise DataError(f"{file}, line {reader.line_num}: {error}") from error  # type: ignore[attr-defined]


def _row(file: Path, line: int, cells: list[str], header: list[str]) -> Row:
    where = f"{file}, line {line}"
    if len(cells) > len(header):
        raise DataError(f"{where}: {len(cells)} values, but {len(header)} columns; put values with commas in quotes")
    row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
    image, defect = _existing(file, where, "path", row["path"]), _defect(where, row, header)
    mask = _existing(file, where, "mask", row["mask"]) if row.get("mask") else None
    if mask and defect == GOOD:
        raise DataError(f"{where}: a normal image has a mask; leave its mask empty, or give it the label of a defect")
    return Row(where, Sample(image, defect, mask), _split(where, row, header))


def _existing(file: Path, where: str, column: str, name: str) -> Path:
    """Return the path of an image or a mask, which must exist."""
    if not name:
        raise DataError(f"{where}: the {column} is empty")
    for text in (name, name.replace("\\", "/")):  # as Windows writes them
        path = Path(os.path.normpath(file.parent / text))
        if path.exists():
            break
    else:
        raise DataError(f"{where}: {column} {file.parent / name} does not exist")
    if path.is_dir() if column == "path" else not path.is_dir() and path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{where}: {column} {path} is no image file")
    if column == "path" and path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{where}: {column} {path} is none of {', '.join(sorted(SUFFIXES))}")
    return path


def _defect(where: str, row: dict[str, str], header: list[str]) -> str:
    if "label" not in header:
        if row.get("mask"):
            raise DataError(f"{where}: an image has a mask, but there is no column label")
        return GOOD
    label = row.get("label", "")
    if not label:
        raise DataError(f"{where}: the label is empty")
    found = LABELS.get(label.casefold(), label)
    is_number = found == label and label.lstrip("+-").replace(".", "", 1).isdigit()
    if is_number or plain_name(label) in UNCLEAR:
        raise DataError(f"{where}: label {label} is unclear; write 0 or {GOOD} for normal, 1 or a name for a defect")
    return GOOD if is_normal_name(found) else found


def _split(where: str, row: dict[str, str], header: list[str]) -> str:
    if "split" not in header:
        return ""
    split = row.get("split", "").casefold()
    if split not in SPLITS and split not in OTHER_SPLITS:
        raise DataError(f"{where}: split {row.get('split', '')!r} is none of train, test, val")
    return SPLITS.get(split, "other")


def _check_once(rows: list[Row]) -> None:
    images: dict[Path, str] = {}
    masks: dict[Path, str] = {}
    for row in rows:
        for name, path, seen in (("image", row.sample.image, images), ("mask", row.sample.mask, masks)):
            if path in seen:
                raise DataError(f"{row.where}: {name} {path} is also in {seen[path].rpartition(', ')[2]}")
            if path:
                seen[path] = row.where


def _warn(file: Path, header: list[str], defects: list[Row], parts: dict[str, list[Sample]], to_train: bool) -> None:
    """Warn of everything in the file that is not used."""
    if unknown := [name for name in header if name and name not in COLUMNS]:
        warnings.warn(f"{file}: not used: the columns {', '.join(unknown)}", stacklevel=4)
    if defects and to_train:
        warnings.warn(
            f"not used: {len(defects)} defects of the split train ({defects[0].where}), since training is on normal "
            "images",
            stacklevel=4,
        )
    if parts["other"]:
        warnings.warn(
            f"{file}: not used: {len(parts['other'])} images of the split val"
            + ("; the threshold is set by a part of the split train" if to_train else ""),
            stacklevel=4,
        )
    bare = sum(sample.mask is None and sample.defect != GOOD for sample in parts["test"])
    if bare and any(sample.mask for sample in parts["test"]):
        warnings.warn(f"{file}: {bare} defects have no mask, so there are no pixel metrics", stacklevel=4)


def _common_folder(folder: Path, samples: list[Sample]) -> Path:
    """Return the folder of the file, or a higher one if it does not hold all files."""
    files = [path for sample in samples for path in (sample.image, sample.mask) if path]
    while not all(path.is_relative_to(folder) for path in files) and folder != folder.parent:
        folder = folder.parent
    return folder
