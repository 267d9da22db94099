"""3x3 convolutions with a quarter of the multiplications: Winograd's F(4x4, 3x3), by matrix products.

A tile of 6x6 input values gives 4x4 outputs. Direct convolution multiplies 9 times for each output and input channel,
this 36 times for 16 outputs; the transforms around it only add, or do so by small constants. All numbers are the same
in exact arithmetic; in float32 the largest error of an output is about five times that of a direct convolution.
Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (arXiv 1509.09308), section 4.2.

Maps are `(B, H, W, C)` here, channels last, so that whole rows of channels move. Only `fused.py` uses this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

Planes = Tensor | Sequence[Tensor]  # values of one place of all tiles each

TILE = 4  # outputs a side
# Three weights to six, along one side.
G = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
CHUNK = 2**21  # values of transformed input at a time: they should stay in the processor's cache


def transform_weight(weight: Tensor) -> Tensor:
    """`(C_out, C_in, 3, 3)` as 36 matrices `(36, C_out, C_in)` (G on both sides), one for each place of a tile."""
    places = weight.reshape(-1, 9).t()
    return (_g(weight) @ places).view(36, *weight.shape[:2])


def weight_gradient(gradient: Tensor) -> Tensor:
    """The gradient of a weight `(C_out, C_in, 3, 3)` from that of what `transform_weight` made of it."""
    places = _g(gradient).t() @ gradient.flatten(1)
    return places.t().reshape(*gradient.shape[1:], 3, 3)


def _g(like: Tensor) -> Tensor:
    """G for both sides of a 3x3 weight at once, `(36, 9)`: their Kronecker product."""
    one_side = like.new_tensor(G)
    return torch.kron(one_side, one_side)


def convolve(x: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """`x` `(B, H, W, C_in)`, zeros around it, convolved with each of several transformed weights.

    Gives one `(B, H, W, C_out)` for each weight; the transformed input is shared.
    """
    batch, height, width, _ = x.shape
    ys = [x.new_empty(batch, height, width, weight.shape[1]) for weight in weights]
    for part in _parts(x):
        tiles = _input_tiles(x[part])
        for y, weight in zip(ys, weights, strict=True):
            _join(torch.bmm(tiles, weight.transpose(1, 2)), y[part])
    return ys


def gradients(gs: Sequence[Tensor], x: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Of `x`, and of each transformed weight, from the gradients `gs` of what `convolve` returned."""
    g_x = torch.empty_like(x)
    g_weights = [torch.zeros_like(weight) for weight in weights]
    for part in _parts(x):
        tiles, g_tiles = _input_tiles(x[part]), None
        for g, weight, g_weight in zip(gs, weights, g_weights, strict=True):
            g_products = _split(g[part])
            g_weight.baddbmm_(g_products.transpose(1, 2), tiles)
            g_tiles = torch.bmm(g_products, weight) if g_tiles is None else g_tiles.baddbmm_(g_products, weight)
        g_x[part] = _overlap(cast(Tensor, g_tiles), g_x[part].shape)
    return g_x, g_weights


def _parts(x: Tensor) -> Iterator[slice]:
    """So many images at a time that their tiles fit into `CHUNK` values, at least one."""
    count = max(1, CHUNK // (x[0].numel() * 36 // TILE**2))
    return (slice(start, start + count) for start in range(0, len(x), count))


def _input_tiles(x: Tensor) -> Tensor:
    """All 6x6 tiles of `x`, four apart, transformed (B^T on both sides): `(36, tiles, C)`."""
    batch, height, width, channels = x.shape
    down, right = _tiles_of(height, width)
    x = F.pad(x, (0, 0, 1, 1 + TILE * right - width, 1, 1 + TILE * down - height))
    across = x.new_empty(6, batch, TILE * down + 2, right, channels)
    _b_transposed([x[:, :, k : k + TILE * right - 3 : TILE] for k in range(6)], across)
    tiles = x.new_empty(6, 6, batch, down, right, channels)
    _b_transposed([across[:, :, k : k + TILE * down - 3 : TILE] for k in range(6)], tiles)
    return tiles.view(36, -1, channels)


def _overlap(g_tiles: Tensor, shape: Sequence[int]) -> Tensor:
    """The reverse of `_input_tiles`: transform back and add up where tiles lie upon each other."""
    batch, height, width, channels = shape
    down, right = _tiles_of(height, width)
    g_tiles = g_tiles.view(6, 6, batch, down, right, channels)
    across = g_tiles.new_empty(6, batch, down + 1, TILE, right, channels)
    _b(g_tiles, across.unbind(3))
    x = g_tiles.new_empty(batch, TILE * (down + 1), right + 1, TILE, channels)
    _b(across.flatten(2, 3), x.unbind(3))
    return x.flatten(2, 3)[:, 1 : height + 1, 1 : width + 1]


def _join(products: Tensor, y: Tensor) -> None:
    """Products `(36, tiles, C)` as 4x4 outputs each (A^T on both sides), side by side in `y` `(B, H, W, C)`."""
    batch, height, width, channels = y.shape
    down, right = _tiles_of(height, width)
    across = products.new_empty(TILE, 6, batch, down, right, channels)
    _a_transposed(products.view(6, 6, batch, down, right, channels), across)
    fits = (height, width) == (TILE * down, TILE * right)
    whole = y if fits else y.new_empty(batch, TILE * down, TILE * right, channels)
    cells = whole.view(batch, down, TILE, right, TILE, channels).permute(4, 2, 0, 1, 3, 5)
    _a_transposed(across.transpose(0, 1), cells)
    if not fits:
        y.copy_(whole[:, :height, :width])


def _split(g: Tensor) -> Tensor:
    """The reverse of `_join`: the gradient of the products `(36, tiles, C)` from that of the outputs."""
    batch, height, width, channels = g.shape
    down, right = _tiles_of(height, width)
    if (height, width) != (TILE * down, TILE * right):
        g = F.pad(g, (0, 0, 0, TILE * right - width, 0, TILE * down - height))
    cells = g.view(batch, down, TILE, right, TILE, channels).permute(4, 2, 0, 1, 3, 5)
    across = g.new_empty(6, TILE, batch, down, right, channels)
    _a(cells, across)
    products = g.new_empty(6, 6, batch, down, right, channels)
    _a(across.transpose(0, 1), products)
    return products.view(36, -1, channels)


def _tiles_of(height: int, width: int) -> tuple[int, int]:
    return -(-height // TILE), -(-width // TILE)


# The transforms along one side of a tile, written out: few additions instead of a product with a matrix of zeros.


def _b_transposed(x: Planes, out: Tensor) -> None:
    """Six input values to six."""
    p, q = torch.sub(x[4], x[2], alpha=4), torch.sub(x[3], x[1], alpha=4)
    torch.add(p, q, out=out[1])
    torch.sub(p, q, out=out[2])
    torch.sub(p, x[2], out=out[0]).add_(x[0], alpha=4)
    r, t = torch.sub(x[4], x[2], out=p), torch.sub(x[3], x[1], out=q)
    torch.add(r, t, alpha=2, out=out[3])
    torch.sub(r, t, alpha=2, out=out[4])
    torch.sub(x[5], x[3], out=out[5]).sub_(t, alpha=4)


def _b(v: Planes, cells: Planes) -> None:
    """The transposed of `_b_transposed`: six gradients of a tile to its cell of four and, two, to the next cell."""
    axis, count = 2, v[0].shape[2]
    own = [cell.narrow(axis, 0, count) for cell in cells]
    for cell in cells:
        cell.narrow(axis, count, 1).zero_()
    a, b, c, d = v[1] + v[2], v[1] - v[2], v[3] + v[4], v[3] - v[4]
    torch.mul(v[0], 4, out=own[0])
    torch.sub(torch.sub(v[5], b).mul_(4), d, alpha=2, out=own[1])
    torch.sub(torch.add(b, d, alpha=2), v[5], alpha=5, out=own[3])
    fourth = (v[0] + a).add_(c)
    torch.sub(torch.sub(fourth, v[0], alpha=6).sub_(a, alpha=5), c, alpha=2, out=own[2])
    cells[0].narrow(axis, 1, count).add_(fourth)
    cells[1].narrow(axis, 1, count).add_(v[5])


def _a_transposed(m: Planes, out: Planes) -> None:
    """Six products to four outputs."""
    near, far = m[1] + m[2], m[3] + m[4]
    torch.add(m[0], near, out=out[0]).add_(far)
    torch.add(near, far, alpha=4, out=out[2])
    near, far = torch.sub(m[1], m[2], out=near), torch.sub(m[3], m[4], out=far)
    torch.add(near, far, alpha=2, out=out[1])
    torch.add(near, far, alpha=8, out=out[3]).add_(m[5])


def _a(g: Planes, out: Planes) -> None:
    """The transposed of `_a_transposed`: the gradients of four outputs to those of six products."""
    even, odd = g[0] + g[2], g[1] + g[3]
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    even, odd = torch.add(g[0], g[2], alpha=4, out=even), torch.add(g[1], g[3], alpha=4, out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])
    out[0].copy_(g[0])
    out[5].copy_(g[3])
