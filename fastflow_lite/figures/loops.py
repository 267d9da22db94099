"""Loops: a few figures shown one after the other, again and again, as one picture of a notebook's output.

The picture is an animated PNG. Browsers play it; what does not play it shows its first frame. No script is needed.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastflow_lite.figures.layout import Array, Mask, new_grid, new_panel, open_frame, set_title
from fastflow_lite.figures.pictures import SHOWN, describe
from fastflow_lite.figures.plane import REACH, density_on_grid, frame, grid_lines, scatter
from fastflow_lite.figures.scores import histogram_by_label
from fastflow_lite.figures.style import ACCENT, AMOUNTS, BLANK, GUIDE, NORMAL
from fastflow_lite.flows.sampling import stages
from fastflow_lite.flows.transforms import Sequential, Transform

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

PACE, REST = 150, 1500  # milliseconds that a frame is shown, and the first and the last one
SLOW = 600  # milliseconds, for frames that differ much
LEVELS = 8  # of a density
LIGHT = 60_000  # bytes of a loop
COLORS = (64, 32, 16, 8)  # of all frames together; the first number that makes the file light enough


@dataclass(frozen=True)
class Loop:
    """A looping picture for a notebook: the file, its size in pixels, a description in words."""

    data: bytes = field(repr=False)
    size: tuple[int, int]
    alt: str

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
        shown = {"width": self.size[0], "height": self.size[1], "alt": self.alt}
        return {"image/png": base64.b64encode(self.data).decode()}, {"image/png": shown}


def loop(figures: Iterable[Figure], pace: int = PACE) -> Loop:
    """Return a picture that shows `figures`, all of one size, one after the other without end; close each of them.

    Each is shown for `pace` milliseconds, the first and the last one longer. The file has at most `LIGHT` bytes, or
    else the fewest colors of `COLORS`.
    """
    from matplotlib import pyplot as plt

    images: list[Image] = []
    words: list[str] = []
    for figure in figures:
        images.append(_drawn(figure))
        words.append(describe(figure))
        plt.close(figure)
    for colors in COLORS:
        data = _animated(images, colors, pace)
        if len(data) <= LIGHT:
            break
    return Loop(data, images[0].size, f"A loop of {len(images)} pictures. The first: {words[0]} The last: {words[-1]}")


def _drawn(figure: Figure) -> Image:
    from PIL import Image

    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=SHOWN, facecolor=BLANK)  # no tight box, so that all have one size
    return Image.open(file).convert("RGB")


def _animated(images: list[Image], colors: int, pace: int) -> bytes:
    """Return the file of a loop; the frames get their colors together, so that what stays still does not flicker.

    It holds whole frames, or of each but the first only the pixels that change, whichever makes the file lighter.
    """
    from PIL import Image

    strip = Image.fromarray(np.concatenate([np.asarray(image) for image in images])).quantize(colors, method=0)
    whole = np.asarray(strip).reshape(len(images), images[0].height, images[0].width)
    changes = whole.copy()
    changes[1:][whole[1:] == whole[:-1]] = colors  # the number of a color that is transparent
    palette = (strip.getpalette() or [])[: 3 * colors]
    palette += [0] * (3 * colors + 3 - len(palette))
    times = [REST, *[pace] * (len(images) - 2), REST]

    def file(pixels: NDArray[np.uint8], **how: int) -> bytes:
        first, *others = map(Image.fromarray, pixels)
        for picture in (first, *others):
            picture.putpalette(palette)
        to = io.BytesIO()
        first.save(to, "PNG", save_all=True, append_images=others, duration=times, loop=0, optimize=True, **how)
        return to.getvalue()

    return min(file(whole), file(changes, transparency=colors, blend=1), key=len)  # 1: over the frame before


@torch.no_grad()
def through_the_steps(flow: Sequential, x: Tensor, part: Tensor, count: int = 13) -> Loop:
    """Show points `(N, 2)`, each of the part `(N,)`, and a grid of the plane on their way through the steps of a flow.

    Each step must swap the two channels. The pictures swap them back, because they would be mirrored at every step.
    Between two steps each point moves along a straight line.
    """
    lines, steps = grid_lines(5, resolution=160), len(flow.transforms)
    grid_way, way = _unswapped(flow, lines.reshape(-1, 2)), _unswapped(flow, x)

    def pictures() -> Iterator[Figure]:
        for time in np.linspace(0, steps, count):
            figure, ((axes,),) = new_grid(1, 1, 2.4)
            for line in _at(grid_way, time).reshape(lines.shape).numpy():
                axes.plot(*line.T, color=GUIDE, linewidth=0.7)
            scatter(axes, _at(way, time), part, size=5)
            for drawn in (*axes.lines, *axes.collections):
                drawn.set_antialiased(False)  # of few colors, and so light
            frame(axes, f"step {int(np.ceil(time))} of {steps}" if time else "data")
            yield figure

    return loop(pictures())


def _unswapped(flow: Sequential, x: Tensor) -> list[Tensor]:
    return [moved.flip(1) if k % 2 else moved for k, moved in enumerate(stages(flow, x))]


def _at(way: list[Tensor], time: float) -> Tensor:
    k = min(int(time), len(way) - 2)
    return torch.lerp(way[k], way[k + 1], time - k)


def training(flows: Mapping[int, Transform], losses: Sequence[float]) -> Loop:
    """Show the density of a flow in training, by its number of updates, and the loss up to there.

    `losses` are those of all updates in nats per point. The density has few levels, so that the file is light.
    """
    densities = {updates: density_on_grid(flow) for updates, flow in flows.items()}
    levels = np.linspace(0, float(np.quantile(densities[max(flows)], 0.995)), LEVELS + 1)[1:]
    limits = 0.97 * min(losses), 1.05 * float(np.quantile(losses, 0.98))  # without the peaks of single batches

    def pictures() -> Iterator[Figure]:
        for updates, density in densities.items():
            figure, ((plane, curve),) = new_grid(1, 2, 2.6)
            axis = np.linspace(-REACH, REACH, len(density))
            plane.contourf(axis, axis, density, levels, cmap=AMOUNTS, extend="max", antialiased=False)
            frame(plane, f"density after {updates} updates")
            curve.plot(np.arange(1, updates + 1), losses[:updates], color=NORMAL, linewidth=1, antialiased=False)
            curve.set(xlim=(0, len(losses)), ylim=limits, xlabel="update", ylabel="nats per point")
            open_frame(curve)
            yield figure

    return loop(pictures(), SLOW)


def moving_threshold(scores: Array, labels: Mask, count: int = 24) -> Loop:
    """Show a threshold that rises through the histogram of image scores `(N,)`, and the counts of both errors."""

    def pictures() -> Iterator[Figure]:
        for threshold in np.linspace(scores.min(), scores.max(), count):
            alarms, bad = scores >= threshold, labels.sum()
            figure, axes = new_panel(6.2, 2.8)
            histogram_by_label(axes, scores, labels)
            axes.axvline(threshold, color=ACCENT, linewidth=2)
            axes.set(xlabel="image score (higher is more anomalous)", ylabel="images")
            axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
            false = f"false alarms: {(alarms & ~labels).sum()} of {len(labels) - bad}"
            set_title(axes, f"{false}, missed defects: {(labels & ~alarms).sum()} of {bad}")
            yield figure

    return loop(pictures())
