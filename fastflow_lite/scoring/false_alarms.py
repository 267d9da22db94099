"""Which latents differ from N(0, I) beyond chance: regions with a number of false alarms (NFA) below one.

U-Flow's threshold of pixels, which needs no other image (Tailanian et al., arXiv 2211.12353; a-contrario tests:
Desolneux et al., Meaningful Alignments, IJCV 2000). If z were N(0, I) and its positions independent, a region of n
positions of one scale, all with |z|^2 of at least t, would have the probability P(chi2 >= t)^n. Times the number of
regions that are tested, this is the expected number of such regions in a normal image: the NFA.

The z of a trained flow are not N(0, I) at single positions: on normal images |z|^2 spreads several times as wide as
chi2, and neighbors depend on each other. The "published" number of tests is so large that this seldom matters, but then
only gross defects are marked. With tests "by_area" every normal image has alarms, and `marked_pixels` needs `levels` of
held-out normal images (`lowest_log_nfa`). The quantile of normal maps, `Result.pixel_threshold`, has the higher IoU:
benchmarks/README.md has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fastflow_lite.errors import check_choice

Values = NDArray[np.float64]
SHAPES = 0.316915, 4.062570  # a, b: about a b^n / n connected shapes of n cells (Jensen and Guttmann, J. Phys. A 2000)
TESTS = ("published", "by_area")


def log_tail(z: Tensor) -> Tensor:
    """Compute Chernoff's upper bound of log P(chi2_C >= |z|^2) at each position, `(B, h, w)`, of z `(B, C, h, w)`.

    It is 0 where |z|^2 is at most its expectation C.

    >>> log_tail(torch.ones(1, 4, 1, 2) * torch.tensor([1.0, 2.0])).squeeze().tolist()
    [0.0, -3.2274112701416016]
    """
    ratio = z.square().mean(dim=1).clamp(min=1)
    return z.shape[1] / 2 * (1 + ratio.log() - ratio)


def log_shapes(cells: int) -> Values:
    """Return the log of the number of 4-connected shapes of 1 to `cells` cells, `(cells,)`, by the asymptotic law."""
    areas = np.arange(1, cells + 1, dtype=np.float64)
    return math.log(SHAPES[0]) + areas * math.log(SHAPES[1]) - np.log(areas)


def log_tests(sizes: Sequence[tuple[int, int]], kind: str = "published") -> list[Values]:
    """Return for each scale `(h, w)` the log of the number of tests by the area of a region, `(h * w,)`.

    "published": U-Flow's number, the same for every region: places times shapes of all areas, of all scales. Since
    most shapes are large, it is about 4^(h w), and a small region has to be extremely unlikely. "by_area": the places
    and shapes of the region's own area, times the number of areas and of scales, so that each area has an equal share
    of the one false alarm. ArgumentError for another `kind`.
    """
    cells = [height * width for height, width in sizes]
    if check_choice("kind", kind, TESTS) == "by_area":
        return [math.log(len(cells)) + 2 * math.log(n) + log_shapes(n) for n in cells]
    total = np.logaddexp.reduce([math.log(n) + np.logaddexp.reduce(log_shapes(n)) for n in cells])
    return [np.full(n, total) for n in cells]


@dataclass(frozen=True)
class Regions:
    """The 4-connected regions of the upper level sets of values `(h, w)`: for each cell, the region it is the last of.

    Attributes:
        values: `(h, w)`.
        area: Cells of each region, `(h * w,)`; all are at least as high as the cell.
        parent: The cell of the next larger region, `(h * w,)`, -1 for the last.
    """

    values: np.ndarray
    area: NDArray[np.int64]
    parent: NDArray[np.int64]

    @classmethod
    def of(cls, values: np.ndarray) -> Regions:
        """Find the regions: cells from the highest to the lowest join those of their neighbors."""
        height, width = values.shape
        area, parent = np.zeros(values.size, np.int64), np.full(values.size, -1)
        last = [-1] * values.size  # a path to the last cell of the region, -1 for cells that are not in one yet
        for cell in np.argsort(-values, axis=None, kind="stable").tolist():
            last[cell] = cell
            y, x = divmod(cell, width)
            near = [cell - width] * (y > 0) + [cell + width] * (y < height - 1)
            near += [cell - 1] * (x > 0) + [cell + 1] * (x < width - 1)
            found = {_end(last, other) for other in near if last[other] >= 0}
            for other in found:
                last[other] = parent[other] = cell
            area[cell] = 1 + sum(int(area[other]) for other in found)
        return cls(values, area, parent)

    def log_nfa(self, log_tails: np.ndarray, tests: Values) -> Values:
        """Compute the log of each region's NFA, `(h * w,)`, from the `log_tail` `(h, w)` of each position."""
        found = log_tails.ravel() * self.area + tests[self.area - 1]
        flat = self.values.ravel()  # of cells with one value, the last has the whole region
        return np.where((self.parent >= 0) & (flat[self.parent] == flat), np.inf, found)

    def marked(self, log_nfa: Values, level: float = 0.0) -> NDArray[np.bool_]:
        """Return the cells `(h, w)` of the regions with a log NFA below `level`; of nested ones, the lowest one's."""
        from scipy.ndimage import label

        found, nested = np.zeros(self.values.shape, bool), np.zeros(self.values.size, bool)
        for cell in np.argsort(log_nfa, kind="stable").tolist():
            if log_nfa[cell] >= level:
                break
            if found.flat[cell] or nested[cell]:  # within a region that is marked, or around one
                continue
            parts = label(self.values >= self.values.flat[cell])[0]
            found |= parts == parts.flat[cell]
            while (cell := int(self.parent[cell])) >= 0 and not nested[cell]:
                nested[cell] = True
        return found


def _end(last: list[int], cell: int) -> int:
    """Return the end of the path from `cell`, and halve the path."""
    while last[cell] != cell:
        last[cell] = last[last[cell]]
        cell = last[cell]
    return cell


def marked_pixels(
    latents: Sequence[Tensor], size: Sequence[int], kind: str = "published", levels: Sequence[float] | None = None
) -> Tensor:
    """Mark the pixels `(B, *size)` bool in a region of any scale whose log NFA is below the level of the scale.

    Args:
        latents: z `(B, C, h, w)` of each scale.
        size: Height and width of the images.
        kind: The number of tests, see `log_tests`.
        levels: A level for each scale; default 0, an NFA of one.
    """
    found = torch.zeros(len(latents[0]), *size, dtype=torch.bool)
    for scale, level in zip(_tested(latents, kind), levels or [0.0] * len(latents), strict=True):
        cells = np.stack([regions.marked(log_nfa, level) for regions, log_nfa in scale])
        grown = F.interpolate(torch.from_numpy(cells).float()[:, None], tuple(size), mode="bilinear")
        found |= grown[:, 0] > 0.5
    return found


def lowest_log_nfa(latents: Sequence[Tensor], kind: str = "published") -> Values:
    """Return the lowest log NFA of each image and scale, `(B, S)`; the minimum over normal images is a level."""
    tested = _tested(latents, kind)
    return np.array([[float(log_nfa.min()) for _, log_nfa in scale] for scale in tested]).T


def _tested(latents: Sequence[Tensor], kind: str) -> list[list[tuple[Regions, Values]]]:
    """Return the regions of each scale and image with the logs of their NFAs."""
    tests = log_tests([(z.shape[2], z.shape[3]) for z in latents], kind)
    tested = []
    for z, of_scale in zip(latents, tests, strict=True):
        energies, tails = z.double().square().sum(dim=1).cpu().numpy(), log_tail(z.double()).cpu().numpy()
        found = [Regions.of(values) for values in energies]
        tested.append([(one, one.log_nfa(tail, of_scale)) for one, tail in zip(found, tails, strict=True)])
    return tested
