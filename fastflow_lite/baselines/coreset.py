"""A coreset: few points that stand for many, chosen greedily so that no point is far from the nearest of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PROJECTED = 128  # dimensions in which distances are compared, as in the authors' code of PatchCore
POOL = 4096  # points among which the centers of one round are found
BLOCK = 2048  # points whose distances to all centers of a round are in memory at once


def random_projection(channels: int, seed: int, dimensions: int = PROJECTED) -> Tensor:
    """Return a matrix `(channels, dimensions)` that nearly keeps distances; the identity for few channels.

    Its entries are Gaussian, with a variance by which it keeps the mean squared length (Johnson and Lindenstrauss).
    """
    if channels <= dimensions:
        return torch.eye(channels)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(channels, dimensions, generator=generator) / dimensions**0.5


@torch.inference_mode()
def greedy_coreset(points: Tensor, count: int, seed: int, on_round: Callable[[int], object] | None = None) -> Tensor:
    """Return the indices of `count` of the `points` `(N, D)` by farthest-first traversal (arXiv 1708.00489, k-center).

    The first is random; each next one is the point farthest from all that are chosen. `on_round` is called with the
    number of points that each round chose.

    The distances of all points are computed once a round, in one product for all centers of the round, and not once a
    center. The result is the same to rounding: a round finds its centers among the `POOL` points that are farthest when
    it begins. Distances only shrink, so while one of the pool is farther than any other point was, it is the farthest.
    """
    total, norms = len(points), points.square().sum(dim=1)
    nearest = torch.full_like(norms, torch.inf)  # squared distance of each point from the chosen ones
    new = torch.randint(total, (1,), generator=torch.Generator().manual_seed(seed)).to(points.device)
    chosen, found, least = [new], 1, 0.0
    while found < count:
        _shrink(nearest, points, norms, new, least)
        values, pool = nearest.topk(min(POOL + 1, total))
        bound = float(values[-1]) if total > POOL else 0.0  # no point outside the pool is farther
        picked, least = _farthest_first(points[pool[:POOL]], values[:POOL].cpu(), bound, count - found)
        if picked:
            new = pool[picked]
        else:  # all others are copies of chosen points
            is_chosen = torch.zeros(total, dtype=torch.bool, device=points.device)
            is_chosen[torch.cat(chosen)] = True
            new = (~is_chosen).nonzero()[: count - found, 0]
        chosen.append(new)
        found += len(new)
        if on_round is not None:
            on_round(len(new))
    return torch.cat(chosen)


def _shrink(nearest: Tensor, points: Tensor, norms: Tensor, centers: Tensor, least: float) -> None:
    """Lower the squared distances `nearest` in place, to those from new `centers`.

    When they were chosen, all `centers` were `least` or more (squared) away from all older ones. By the triangle
    inequality a point within half of that distance has an older one as its nearest, and is left out.
    """
    near, lengths = points[centers].T, norms[centers]
    for part in (nearest > least / 4).nonzero()[:, 0].split(BLOCK):
        products = torch.addmm(lengths, points[part], near, alpha=-2)
        distances = products.amin(dim=1).add_(norms[part]).clamp_(min=0)
        nearest[part] = torch.minimum(nearest[part], distances)
    nearest[centers] = 0


def _farthest_first(pool: Tensor, nearest: Tensor, bound: float, most: int) -> tuple[list[int], float]:
    """Return indices in `pool` of up to `most` next centers, and the squared distance of the last when it was chosen.

    It ends before one that is nearer than `bound`, or a copy of a chosen point. `nearest` is overwritten.
    """
    between = torch.cdist(pool, pool).square_().cpu()
    picked: list[int] = []
    least = 0.0
    while len(picked) < most:
        value, index = nearest.max(dim=0)
        if value <= 0 or value < bound:
            break
        least = float(value)
        picked.append(int(index))
        torch.minimum(nearest, between[picked[-1]], out=nearest)
        nearest[picked[-1]] = 0
    return picked, least
