"""3x3 convolutions with a quarter of the multiplications: Winograd's F(4x4, 3x3), by matrix products.

A tile of 6x6 inputs gives 4x4 outputs: Y = A^T [(G g G^T) * (B^T d B)] A for a weight g and a tile d, with an
elementwise product. Direct convolution needs 9 multiplications for each output and pair of channels, this method 36 for
16 outputs; the transforms with A, B and G only add and multiply by small constants. The result is the same in exact
arithmetic; in float32 the largest error of an output is about five times that of a direct convolution.
Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (arXiv 1509.09308), section 4.2.

Maps are `(B, H, W, C)`, channels last, so that the channels of a position are copied together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

Places = Tensor | Sequence[Tensor]  # element k: the values of all tiles at their place k, along one side

TILE = 4  # side of a tile of outputs; input tiles have a side of 6 and overlap
# The matrix G: three weights to six, along one side.
G = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
CHUNK_VALUES = 2**21  # transformed inputs computed at a time: few enough for the processor's cache


def transform_weight(weight: Tensor) -> Tensor:
    """Compute G g G^T: `(C_out, C_in, 3, 3)` to `(36, C_out, C_in)`, one matrix for each place of an input tile."""
    return (_both_sides_g(weight) @ weight.reshape(-1, 9).t()).view(36, *weight.shape[:2])


def weight_gradient(gradient: Tensor) -> Tensor:
    """Compute the gradient of a weight `(C_out, C_in, 3, 3)` from that of the transformed weight."""
    return (_both_sides_g(gradient).t() @ gradient.flatten(1)).t().reshape(*gradient.shape[1:], 3, 3)


def _both_sides_g(like: Tensor) -> Tensor:
    """Return G applied to both sides of a 3x3 weight as one matrix `(36, 9)`: the Kronecker product."""
    one_side = like.new_tensor(G)
    return torch.kron(one_side, one_side)


def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve `x` `(B, H, W, C_in)`, padded with zeros, with a transformed weight: `(B, H, W, C_out)`."""
    y = x.new_empty(*x.shape[:-1], weight.shape[1])
    for chunk in _image_chunks(x):
        _transform_output(torch.bmm(_transform_input(x[chunk]), weight.transpose(1, 2)), y[chunk])
        y[chunk].add_(bias)
    return y


def gradients(g: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the gradients of `x` and of the transformed weight from the gradient `g` of `convolve`'s result."""
    g_x, g_weight = torch.empty_like(x), torch.zeros_like(weight)
    for chunk in _image_chunks(x):
        g_products = _output_gradient(g[chunk])
        g_weight.baddbmm_(g_products.transpose(1, 2), _transform_input(x[chunk]))
        g_x[chunk] = _input_gradient(torch.bmm(g_products, weight), g_x[chunk].shape)
    return g_x, g_weight


def _image_chunks(x: Tensor) -> Iterator[slice]:
    """Split the batch so that the tiles of a chunk have at most `CHUNK_VALUES` values, or are those of one image."""
    count = max(1, CHUNK_VALUES // (x[0].numel() * 36 // TILE**2))
    return (slice(start, start + count) for start in range(0, len(x), count))


def _transform_input(x: Tensor) -> Tensor:
    """Compute B^T d B of all 6x6 tiles d of `x`, whose corners lie four apart: `(36, tiles, C)`."""
    batch, height, width, channels = x.shape
    rows, columns = _tile_counts(height, width)
    x = pad(x, (0, 0, 1, 1 + TILE * columns - width, 1, 1 + TILE * rows - height))
    half_transformed = x.new_empty(6, batch, TILE * rows + 2, columns, channels)
    _multiply_b_t([x[:, :, k : k + TILE * columns - 3 : TILE] for k in range(6)], half_transformed)
    tiles = x.new_empty(6, 6, batch, rows, columns, channels)
    _multiply_b_t([half_transformed[:, :, k : k + TILE * rows - 3 : TILE] for k in range(6)], tiles)
    return tiles.view(36, -1, channels)


def _input_gradient(g_tiles: Tensor, shape: Sequence[int]) -> Tensor:
    """Apply the transpose of `_transform_input`: B g B^T of all tiles, added where tiles overlap."""
    batch, height, width, channels = shape
    rows, columns = _tile_counts(height, width)
    g_tiles = g_tiles.view(6, 6, batch, rows, columns, channels)
    half_transformed = g_tiles.new_empty(6, batch, rows + 1, TILE, columns, channels)
    _multiply_b(g_tiles, half_transformed.unbind(3))
    x = g_tiles.new_empty(batch, TILE * (rows + 1), columns + 1, TILE, channels)
    _multiply_b(half_transformed.flatten(2, 3), x.unbind(3))
    return x.flatten(2, 3)[:, 1 : height + 1, 1 : width + 1]


def _transform_output(products: Tensor, y: Tensor) -> None:
    """Compute A^T p A of all products p `(36, tiles, C)`, and write the 4x4 outputs of each into `y` `(B, H, W, C)`."""
    batch, height, width, channels = y.shape
    rows, columns = _tile_counts(height, width)
    half_transformed = products.new_empty(TILE, 6, batch, rows, columns, channels)
    _multiply_a_t(products.view(6, 6, batch, rows, columns, channels), half_transformed)
    fits = (height, width) == (TILE * rows, TILE * columns)
    whole = y if fits else y.new_empty(batch, TILE * rows, TILE * columns, channels)
    cells = whole.view(batch, rows, TILE, columns, TILE, channels).permute(4, 2, 0, 1, 3, 5)
    _multiply_a_t(half_transformed.transpose(0, 1), cells)
    if not fits:
        y.copy_(whole[:, :height, :width])


def _output_gradient(g: Tensor) -> Tensor:
    """Apply the transpose of `_transform_output`: the gradient of the products `(36, tiles, C)` from that of `y`."""
    batch, height, width, channels = g.shape
    rows, columns = _tile_counts(height, width)
    if (height, width) != (TILE * rows, TILE * columns):
        g = pad(g, (0, 0, 0, TILE * columns - width, 0, TILE * rows - height))
    cells = g.view(batch, rows, TILE, columns, TILE, channels).permute(4, 2, 0, 1, 3, 5)
    half_transformed = g.new_empty(6, TILE, batch, rows, columns, channels)
    _multiply_a(cells, half_transformed)
    products = g.new_empty(6, 6, batch, rows, columns, channels)
    _multiply_a(half_transformed.transpose(0, 1), products)
    return products.view(36, -1, channels)


def _tile_counts(height: int, width: int) -> tuple[int, int]:
    return -(-height // TILE), -(-width // TILE)


# Products with the matrices along one side of a tile, written out because many of their elements are 0.


def _multiply_b_t(x: Places, out: Tensor) -> None:
    """Multiply by B^T: six inputs to six."""
    p, q = torch.sub(x[4], x[2], alpha=4), torch.sub(x[3], x[1], alpha=4)
    torch.add(p, q, out=out[1])
    torch.sub(p, q, out=out[2])
    torch.sub(p, x[2], out=out[0]).add_(x[0], alpha=4)
    r, t = torch.sub(x[4], x[2], out=p), torch.sub(x[3], x[1], out=q)
    torch.add(r, t, alpha=2, out=out[3])
    torch.sub(r, t, alpha=2, out=out[4])
    torch.sub(x[5], x[3], out=out[5]).sub_(t, alpha=4)


def _multiply_b(v: Places, cells: Places) -> None:
    """Multiply by B: six gradients of a tile are added to its cell of four inputs, the last two to the next cell."""
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


def _multiply_a_t(m: Places, out: Places) -> None:
    """Multiply by A^T: six products to four outputs."""
    near, far = m[1] + m[2], m[3] + m[4]
    torch.add(m[0], near, out=out[0]).add_(far)
    torch.add(near, far, alpha=4, out=out[2])
    near, far = torch.sub(m[1], m[2], out=near), torch.sub(m[3], m[4], out=far)
    torch.add(near, far, alpha=2, out=out[1])
    torch.add(near, far, alpha=8, out=out[3]).add_(m[5])


def _multiply_a(g: Places, out: Places) -> None:
    """Multiply by A: the gradients of four outputs to those of six products."""
    even, odd = g[0] + g[2], g[1] + g[3]
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    even, odd = torch.add(g[0], g[2], alpha=4, out=even), torch.add(g[1], g[3], alpha=4, out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])
    out[0].copy_(g[0])
    out[5].copy_(g[3])
