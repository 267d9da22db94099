"""What a data set holds, and what in it may spoil a training or a test: looked at before hours are spent.

`inspect_data` reads the headers of all files. It decodes images to thumbnails: all of them, or evenly spaced ones where
`most` bounds their number. Nothing stops at the first file that cannot be read.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from fastflow_lite.datasets.decoding import Header, read_header
from fastflow_lite.datasets.image_files import WHITE_16
from fastflow_lite.datasets.image_set import GOOD, Sample
from fastflow_lite.datasets.masks import mask_files
from fastflow_lite.datasets.near_duplicates import Match, best_matches
from fastflow_lite.datasets.opening import Data
from fastflow_lite.datasets.thumbnails import normalize, read_thumbnails
from fastflow_lite.errors import DataError
from fastflow_lite.files import sha256_of_file

QUICK = 200  # images of each part that are decoded at the start of a training
PIXELS = 10**9  # pixels of all images together that are decoded, where their number is bounded
SHOWN = 5  # pairs and sizes that are named
FEW_TRAIN, FEW_TEST = 30, 10
ERRORS, LEAST_DRIFT = 3, 0.02  # from so many standard errors and so much of the range on, brightness differs
ASPECT = 1.1  # ratio of two aspects from which on they differ
MODES = {"1": "black and white", "L": "gray, 8 bits", "P": "palette", "RGB": "RGB, 8 bits", "RGBA": "RGBA, 8 bits"}


@dataclass(frozen=True)
class Inspection:
    """What was understood, as lines of text, and what one should look at, as sentences."""

    facts: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return what was understood."""
        return list(self.facts)


@dataclass(frozen=True)
class Part:
    """The samples of the training or test set, with what could be read of their files."""

    samples: Sequence[Sample]
    headers: dict[Path, Header]
    looked_at: list[Sample]
    thumbnails: np.ndarray  # (len(looked_at), 64, 64)

    def normal_pictures(self) -> np.ndarray:
        """Return the thumbnails of normal images, `(N, 64, 64)`."""
        return self.thumbnails[[sample.defect == GOOD for sample in self.looked_at]]


def inspect_data(data: Data, most: int | None = None) -> Inspection:
    """Inspect a data set. `most` bounds the images of each part that are decoded; use `QUICK` before a training.

    Raises DataError only if no training image can be read.
    """
    found, unreadable = Inspection(), dict[Path, str]()
    level = data.train.white_level or WHITE_16
    train, test = (_read(images.samples, most, level, unreadable) for images in (data.train, data.test))
    if not train.looked_at:
        raise DataError(f"no training image below {data.train.root} can be read: {next(iter(unreadable.values()), '')}")
    _count(data, found)
    if most is None:  # a training warns of these itself
        _check_numbers(data, found)
        _check_aspects([*train.headers.values(), *test.headers.values()], found)
    _describe_files(train, test, found)
    _check_masks(test, found, unreadable)
    decoded = len(train.looked_at) + len(test.looked_at)
    if most is not None and decoded < len(data.train) + len(data.test):
        found.facts.append(f"decoded: {decoded} of {len(data.train) + len(data.test)} images, evenly spaced")
    _compare_contents(train, test, found)
    _compare_pictures(train, test, found)
    _compare_brightness(train, test, found)
    if unreadable:
        found.warnings.append(f"{len(unreadable)} files cannot be used: " + "; ".join(unreadable.values()))
    return found


def warn_of_data(data: Data) -> None:
    """Warn of what `inspect_data` finds in a few seconds; for the start of a training."""
    for text in inspect_data(data, QUICK).warnings:
        warnings.warn(text, stacklevel=3)


def _read(samples: Sequence[Sample], most: int | None, level: int, unreadable: dict[Path, str]) -> Part:
    samples = list({sample.image: sample for sample in samples}.values())  # a set may hold several tiles of one file
    headers = _headers((sample.image for sample in samples), unreadable)
    good = [sample for sample in samples if sample.image in headers]
    if most is not None and good:
        pixels = int(np.median([headers[sample.image].height * headers[sample.image].width for sample in good]))
        count = min(len(good), most, max(2, PIXELS // (2 * pixels)))
        good = [good[k] for k in np.unique(np.linspace(0, len(good) - 1, count).round().astype(int))]
    small, errors = read_thumbnails([sample.image for sample in good], level)
    unreadable |= {good[k].image: str(error) for k, error in errors.items()}
    kept = [k for k in range(len(good)) if k not in errors]
    return Part(samples, headers, [good[k] for k in kept], small.numpy()[kept])


def _headers(paths: Iterable[Path], unreadable: dict[Path, str]) -> dict[Path, Header]:
    headers = {}
    for path in paths:
        try:
            headers[path] = read_header(path)
        except (DataError, OSError) as error:
            unreadable[path] = str(error)
    return headers


def _count(data: Data, found: Inspection) -> None:
    kinds = Counter(data.test.defects)
    good, bad = kinds.pop(GOOD, 0), sum(kinds.values())
    masks = sum(sample.mask is not None for sample in data.test.samples)
    named = f" ({', '.join(f'{kind} {count}' for kind, count in sorted(kinds.items()))})" if kinds else ""
    found.facts.append(f"{data.name}, category {data.category}" + (f": {data.layout}" if data.layout else ""))
    found.facts.append(f"train: {len(data.train)} good")
    found.facts.append(f"test: {good} good, {bad} bad{named}, {masks} masks" if len(data.test) else "test: no images")


def _check_numbers(data: Data, found: Inspection) -> None:
    bad = sum(kind != GOOD for kind in data.test.defects)
    good = len(data.test) - bad
    if len(data.train) < FEW_TRAIN:
        found.warnings.append(
            f"only {len(data.train)} images to train on, of which some set the threshold: {FEW_TRAIN} or more are "
            "advisable"
        )
    if bad and good < FEW_TEST:
        found.warnings.append(f"only {good} good images in the test: the rate of false alarms is known but roughly")


def _describe_files(train: Part, test: Part, found: Inspection) -> None:
    headers = [*train.headers.values(), *test.headers.values()]
    if not headers:
        return
    sizes = Counter((header.height, header.width) for header in headers)
    shown = [f"{h}x{w} ({count})" for (h, w), count in sizes.most_common(SHOWN)]
    rest = f" and {len(sizes) - SHOWN} more" if len(sizes) > SHOWN else ""
    found.facts.append(f"sizes, height x width: {', '.join(shown)}{rest}")
    found.facts.append(f"modes: {', '.join(f'{m} ({n})' for m, n in _modes(headers).most_common())}")
    here, there = _modes(train.headers.values()), _modes(test.headers.values())
    if there and set(there) - set(here):
        found.warnings.append(
            f"the test has {', '.join(sorted(set(there) - set(here)))}, the training has {', '.join(sorted(here))}"
        )


def _check_aspects(headers: Iterable[Header], found: Inspection) -> None:
    aspects = sorted(width / height for height, width, _ in headers)
    if aspects[-1] > ASPECT * aspects[0]:
        found.warnings.append(
            f"width / height is {aspects[0]:.2f} to {aspects[-1]:.2f}: all are brought to one size, which changes "
            "their shapes differently"
        )


def _modes(headers: Iterable[Header]) -> Counter[str]:
    return Counter(MODES.get(h.mode, "gray, 16 bits" if h.mode.startswith("I") else h.mode) for h in headers)


def _check_masks(test: Part, found: Inspection, unreadable: dict[Path, str]) -> None:
    other = []
    for sample in test.samples:
        try:
            files = mask_files(sample.mask) if sample.mask else []
        except DataError as error:
            unreadable[sample.image] = str(error)
            continue
        size = test.headers.get(sample.image)
        masks = _headers(files, unreadable)
        other += [path for path, mask in masks.items() if size and mask[:2] != size[:2]]
    if other:
        found.warnings.append(f"{len(other)} masks are not of the size of their images: {_named(other)}")


def _compare_contents(train: Part, test: Part, found: Inspection) -> None:
    """Warn of files of equal content; only files of equal length are read."""
    paths = [sample.image for part in (train, test) for sample in part.looked_at]
    by_length: dict[int, list[Path]] = {}
    for path in paths:
        by_length.setdefault(path.stat().st_size, []).append(path)
    by_content: dict[str, list[Path]] = {}
    for path in (path for group in by_length.values() if len(group) > 1 for path in group):
        by_content.setdefault(sha256_of_file(path), []).append(path)
    if equal := [group for group in by_content.values() if len(group) > 1]:
        names = "; ".join(" = ".join(map(str, group[:3])) for group in equal[:SHOWN])
        found.warnings.append(f"{len(equal)} images are there more than once, byte by byte: {names}")


def _compare_pictures(train: Part, test: Part, found: Inspection) -> None:
    """Warn of pairs of a training and a test image that show the same object."""
    ours, theirs = ([sample.image for sample in part.looked_at] for part in (test, train))
    pictures = [normalize(torch.from_numpy(part.thumbnails)) for part in (test, train)]
    matches: list[Match] = best_matches(ours, pictures[0], theirs, pictures[1])
    if len(test.samples):
        found.facts.append(f"near duplicates between train and test: {len(matches)}")
    if matches:
        pairs = [f"{m.image} ~ {m.twin}{' (flipped or turned)' if m.turned else ''}" for m in matches[:SHOWN]]
        found.warnings.append(
            f"{len(matches)} test images show the same object as a training image, so the test is easier than the "
            f"line: {'; '.join(pairs)}"
        )


def _compare_brightness(train: Part, test: Part, found: Inspection) -> None:
    """Warn if normal test images are brighter, darker or of another contrast than training images."""
    ours, theirs = train.normal_pictures(), test.normal_pictures()
    if min(len(ours), len(theirs)) < 3:
        return
    for name, statistic in (("brightness", np.mean), ("contrast", np.std)):
        a, b = (np.array([statistic(picture) for picture in pictures]) for pictures in (ours, theirs))
        error = float(np.hypot(a.std(ddof=1) / len(a) ** 0.5, b.std(ddof=1) / len(b) ** 0.5))
        text = (
            f"{name} of good images, 0 to 1: train {a.mean():.3f} ± {a.std():.3f}, test {b.mean():.3f} ± {b.std():.3f}"
        )
        found.facts.append(text)
        if abs(a.mean() - b.mean()) > max(ERRORS * error, LEAST_DRIFT):
            found.warnings.append(f"train and test differ in light: {text}; a threshold of one does not fit the other")


def _named(paths: Sequence[Path]) -> str:
    rest = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(map(str, paths[:SHOWN])) + rest
