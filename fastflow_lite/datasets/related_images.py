"""Which images of a set are related: those of the same object, and the frames of one recording."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from fastflow_lite.datasets.thumbnails import alike, normalize, read_thumbnails
from fastflow_lite.files import natural_sort_key

COARSE = 16  # pixels of the side in which neighbors in the order of names are compared
FEWEST = 8  # images of a set from which on its order is looked at
APART = 10  # places in the order of names from which on two images count as unrelated
OFFSETS = 200  # distances in that order which are compared, at most
CHANCE = 0.01  # share of unrelated pairs that are as similar as neighbors which count as related


def group_related(files: Sequence[Path], count: int) -> list[list[Path]]:
    """Return the files in groups, each in the order of names, so that related ones are in one group.

    Two images are related if they show the same object (`thumbnails.alike`), or if they are neighbors in the order of
    names in one folder and more similar than 99 % of the pairs that lie far apart. Both are compared after the mean of
    the set is taken away, since images of aligned parts are all similar: on MVTec's bottle all pairs correlate above
    0.99, but only one pair shows the same bottle. `count` images are to be held out. A group that is larger than half
    of the set or than twice the count (a recording that fills a folder) is cut into runs in the order of names, at
    least four of which are needed for `count` images: then related images meet only where two runs do.

    A file that cannot be read is related to none.
    """
    files = sorted(files, key=natural_sort_key)
    small, unreadable = read_thumbnails(files)
    pictures = normalize(small)
    common = pictures.sum(dim=0, keepdim=True) / max(1, len(files) - len(unreadable))
    links = [(i, j) for i, j, *_ in alike(pictures, pictures, common) if i < j]
    links += [(i, i + 1) for i in _followed(pictures) if files[i].parent == files[i + 1].parent]
    links = [pair for pair in links if not unreadable.keys() & set(pair)]
    longest, run = min(len(files) // 2, max(2 * count, 4)), max(1, count // 4)
    return [[files[i] for i in part] for group in _joined(len(files), links) for part in _cut(group, longest, run)]


def _followed(pictures: Tensor) -> list[int]:
    """Return the indices of pictures that are more similar to the next one than pictures far apart usually are."""
    if len(pictures) < FEWEST:
        return []
    coarse = normalize(functional.adaptive_avg_pool2d(pictures, COARSE))
    rows = normalize(coarse - coarse.mean(dim=0)).flatten(1)
    apart = torch.linspace(min(APART, len(rows) // 3) + 1, len(rows) - 1, OFFSETS).round().int().unique().tolist()
    unrelated = torch.cat([(rows[:-k] * rows[k:]).sum(dim=1) for k in apart])
    bound = unrelated.kthvalue(max(1, round((1 - CHANCE) * len(unrelated)))).values
    return ((rows[:-1] * rows[1:]).sum(dim=1) > bound).nonzero().flatten().tolist()


def _joined(count: int, links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the numbers below `count` in groups that the links connect, in order.

    >>> _joined(5, [(0, 3), (3, 4)])
    [[0, 3, 4], [1], [2]]
    """
    parents = list(range(count))

    def root(i: int) -> int:
        while parents[i] != i:
            parents[i] = parents[parents[i]]
            i = parents[i]
        return i

    for i, j in links:
        low, high = sorted((root(i), root(j)))
        parents[high] = low
    groups: dict[int, list[int]] = {}
    for i in range(count):
        groups.setdefault(root(i), []).append(i)
    return list(groups.values())


def _cut(group: list[int], longest: int, run: int) -> Iterator[list[int]]:
    """Yield a group, or runs of it if it is longer than `longest`."""
    step = len(group) if len(group) <= longest else run
    for start in range(0, len(group), step):
        yield group[start : start + step]
