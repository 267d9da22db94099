"""Interactive views: a figure with sliders in a live notebook, the figure alone elsewhere.

A view is described without any widget; ipywidgets is imported when one is shown to a live notebook.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from fastflow_lite.course import latent_views, views
from fastflow_lite.datasets.image_set import GOOD, ImageSet
from fastflow_lite.model import FastFlow
from fastflow_lite.progress import is_live

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Slider:
    """A number from `low` to `high`: an int when all four numbers are ints, else a float."""

    value: float
    low: float
    high: float
    step: float = 1


@dataclass(frozen=True)
class Choice:
    """One of `options`."""

    value: str
    options: Sequence[str]


@dataclass(frozen=True)
class InteractiveView:
    """A figure as a function of named values, and the control of each.

    `limits` maps all values to the highest values that some sliders may take for now.
    """

    draw: Callable[..., Figure]
    controls: Mapping[str, Slider | Choice]
    limits: Callable[[Mapping[str, Any]], Mapping[str, float]] | None = None

    def figure(self, **values: Any) -> Figure:
        """Draw the figure of `values`; other controls keep their initial values. Raises TypeError for an unknown name.

        The figure is closed: pyplot keeps no copy, and the inline backend does not show it a second time.
        """
        from matplotlib import pyplot as plt

        if unknown := set(values) - set(self.controls):
            raise TypeError(f"no control {sorted(unknown)}; there are {', '.join(self.controls)}")
        figure = self.draw(**{name: control.value for name, control in self.controls.items()} | values)
        plt.close(figure)
        return figure


def show(view: InteractiveView) -> Figure | None:
    """Show `view` in a live notebook, its figure with controls above; elsewhere return the figure alone.

    Nobody can move a slider under papermill, nbconvert and nbval, so no widget state is left in what they write.
    """
    if has_front_end():
        _show_live(view)
        return None
    return view.figure()


def has_front_end() -> bool:
    """Return whether this is a live notebook (not a terminal), and ipywidgets is installed."""
    if "IPython" not in sys.modules or find_spec("ipywidgets") is None:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None and is_live()


def _show_live(view: InteractiveView) -> None:
    """Show the controls, and below them the figure as plain output, which a saved notebook keeps."""
    import ipywidgets
    from IPython.display import display

    controls = {name: _control(name, control) for name, control in view.controls.items()}

    def values() -> dict[str, Any]:
        return {name: control.value for name, control in controls.items()}

    def moved(_: object) -> None:
        for name, high in view.limits(values()).items() if view.limits else ():
            controls[name].max = high
        place.update(view.figure(**values()))

    display(ipywidgets.VBox(list(controls.values())))
    place = display(view.figure(), display_id=True)
    for control in controls.values():
        control.observe(moved, "value")


def _control(name: str, control: Slider | Choice) -> Any:
    import ipywidgets

    if isinstance(control, Choice):
        return ipywidgets.Dropdown(value=control.value, options=list(control.options), description=name)
    numbers = (control.value, control.low, control.high, control.step)
    kind = ipywidgets.IntSlider if all(isinstance(number, int) for number in numbers) else ipywidgets.FloatSlider
    value, low, high, step = numbers
    wide = {} if kind is ipywidgets.IntSlider else {"readout_format": ".3f"}
    return kind(value=value, min=low, max=high, step=step, description=name, **wide)


# ---- the views -----------------------------------------------------------------------------------


def coupling(scale: float = 0.8, shift: float = 0.4, clamp: float = 2.0) -> InteractiveView:
    """Make the view of a coupling of the plane: sliders for the two factors of its sub-net and for the clamp."""
    controls = {
        "scale": Slider(scale, min(-3.0, scale), max(3.0, scale), 0.1),
        "shift": Slider(shift, min(-2.0, shift), max(2.0, shift), 0.1),
        "clamp": Slider(clamp, min(0.1, clamp), max(3.0, clamp), 0.1),
    }
    return InteractiveView(views.draw_coupling, controls)


def threshold(
    images: ImageSet,
    maps: np.ndarray,
    scores: np.ndarray | None = None,
    value: float | None = None,
    index: int | None = None,
) -> InteractiveView:
    """Make the view of a threshold: its place in the histogram and on the ROC curve, the counts, the mask on an image.

    `maps` `(N, H, W)` and `scores` `(N,)`, by default the maps' highest pixels, belong to `images`. Starts at `value`,
    else in the middle, and at the image `index`, else at the anomalous one of the highest score.
    """
    scores = maps.max(axis=(1, 2)) if scores is None else scores
    low, high = float(scores.min()), float(scores.max())
    margin = 0.02 * (high - low) or 0.01
    low, high = low - margin, high + margin
    value = (low + high) / 2 if value is None else float(value)
    if index is None:
        index = max(range(len(images)), key=lambda k: (images.labels[k], scores[k]))
    controls = {
        "threshold": Slider(value, min(low, value), max(high, value), margin / 2),
        "index": Slider(int(index), 0, len(images) - 1),
    }
    return InteractiveView(lambda **values: views.draw_threshold(images, maps, scores, **values), controls)


def painter(model: FastFlow, image: Tensor, scale: int = 0, strength: float = 3.0, seed: int = 0) -> InteractiveView:
    """Make the view of noise added to a square of z of one scale of an `image` `(3, H, W)`: inverse and difference."""
    height, width = model.features(image[None].to(model.device))[scale].shape[-2:]
    side = max(1, min(height, width) // 4)
    controls = {
        "top": Slider((height - side) // 2, 0, height - 1),
        "left": Slider((width - side) // 2, 0, width - 1),
        "side": Slider(side, 1, min(height, width)),
        "strength": Slider(float(strength), 0.0, max(10.0, float(strength)), 0.5),
        "seed": Slider(seed, 0, max(seed, 20)),
    }
    return InteractiveView(lambda **values: latent_views.draw_painter(model, image, scale, **values), controls)


def defects(images: ImageSet, maps: np.ndarray, level: float = math.nan) -> InteractiveView:
    """Make the view of images by kind of defect: image and mask, map, and map over the image with a contour at `level`.

    `maps` `(N, H, W)` belong to `images`.
    """
    counts = {kind: images.defects.count(kind) for kind in sorted(set(images.defects), key=lambda k: (k == GOOD, k))}
    first = next(iter(counts))
    controls: dict[str, Slider | Choice] = {
        "defect": Choice(first, list(counts)),
        "index": Slider(0, 0, counts[first] - 1),
        "opacity": Slider(0.5, 0.0, 1.0, 0.1),
    }
    return InteractiveView(
        lambda **values: views.draw_defect(images, maps, **values, level=level),
        controls,
        lambda values: {"index": counts[values["defect"]] - 1},
    )
