"""Views: their figures are functions of values, and without a front end they are figures only."""

import io
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from nbclient import NotebookClient

from fastflow_lite import FastFlow
from fastflow_lite.course import checks, latent_views, views, widgets
from fastflow_lite.course.plane import log_density
from fastflow_lite.course.widgets import InteractiveView, Slider
from fastflow_lite.datasets import ImageSet, open_dataset


@pytest.fixture(autouse=True)
def no_figure_stays_open() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture
def images(category: Path) -> ImageSet:
    """Three good images, then three squares."""
    return open_dataset(category.parent, category.name, image_size=(64, 48)).test


SCORES = np.array([0.1, 0.3, 0.6, 0.4, 0.8, 0.9])  # two on the wrong side of 0.5


@pytest.fixture
def maps(images: ImageSet) -> np.ndarray:
    """Constant maps of good images, and maps that are high on the square; `SCORES` are their highest pixels."""
    levels = SCORES[:, None, None]
    masks = np.stack([mask.numpy() for _, mask in images])
    return np.where(masks | ~masks.any(axis=(1, 2), keepdims=True), levels, 0.01)


@cache
def model() -> FastFlow:
    model = FastFlow("resnet18", weights="bundled", steps=2, hidden=16)
    checks.perturb(model.flows, 0.05, seed=0)
    return model.eval()


def pixels(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="raw", dpi=50)
    return buffer.getvalue()


def every_view(maps: np.ndarray, images: ImageSet) -> dict[str, InteractiveView]:
    return {
        "coupling": widgets.coupling(),
        "threshold": widgets.threshold(images, maps),
        "painter": widgets.painter(model(), images[0][0]),
        "defects": widgets.defects(images, maps, 0.35),
    }


@pytest.mark.parametrize("name", ["coupling", "threshold", "painter", "defects"])
def test_every_control_moves_the_figure_and_the_start_repeats(name: str, maps: np.ndarray, images: ImageSet) -> None:
    view = every_view(maps, images)[name]
    start = pixels(view.figure())
    assert pixels(view.figure()) == start
    for control, values in view.controls.items():
        away = values.low if isinstance(values, Slider) and values.value > values.low else None
        away = values.high if away is None and isinstance(values, Slider) else away
        away = values.options[-1] if away is None else away
        assert pixels(view.figure(**{control: away})) != start, control


def test_an_unknown_control_is_named() -> None:
    with pytest.raises(TypeError, match=r"no control \['zoom'\]; there are scale, shift, clamp"):
        widgets.coupling().figure(zoom=2)


def test_the_plane_coupling_is_a_coupling() -> None:
    coupling, x = views.plane_coupling(0.9, -0.7, 1.5).double(), torch.randn(5, 2, dtype=torch.float64)
    assert checks.check_inverse(coupling, x) < 1e-10
    assert checks.check_log_det(coupling, x) < 1e-8
    s = 1.5 * torch.tanh(0.9 * x[:, 0] / 1.5)
    assert torch.allclose(coupling(x)[0], torch.stack([x[:, 0], x[:, 1] * s.exp() - 0.7 * x[:, 0]], dim=1))


def test_scale_stretches_the_density_where_half_a_is_large() -> None:
    points = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    low, high = log_density(views.plane_coupling(0.8, 0.0, 2.0), points)
    assert high - low > 1.0
    assert torch.allclose(*log_density(views.plane_coupling(0.0, 0.0, 2.0), points))


def test_a_clamp_must_be_positive() -> None:
    with pytest.raises(ValueError, match="clamp must be above 0, got 0"):
        views.draw_coupling(clamp=0)


@pytest.mark.parametrize(
    ("threshold", "counts"),
    [(0.0, [[0, 3], [0, 3]]), (0.5, [[2, 1], [1, 2]]), (0.6, [[2, 1], [1, 2]]), (1.0, [[3, 0], [3, 0]])],
)
def test_counts_are_those_of_the_rule(threshold: float, counts: list[list[int]]) -> None:
    assert views.confusion(np.arange(6) > 2, SCORES, threshold).tolist() == counts


def test_the_figure_shows_counts_rate_and_mask(maps: np.ndarray, images: ImageSet) -> None:
    figure = views.draw_threshold(images, maps, SCORES, 0.5, 4)
    _, counts, roc, overlay = figure.axes
    assert [text.get_text() for text in counts.texts] == ["2", "1", "1", "2"]
    assert np.allclose(roc.lines[-1].get_xydata(), [[1 / 3, 2 / 3]])
    assert overlay.get_title() == "square, 0.800: alarm"
    assert np.array_equal(~overlay.images[1].get_array().mask, images[4][1].numpy())


def test_one_class_has_no_curve(maps: np.ndarray, images: ImageSet) -> None:
    roc = views.draw_threshold(images.subset([0, 1, 2]), maps[:3], SCORES[:3], 0.5, 0).axes[2]
    assert roc.get_title() == "ROC: undefined" and len(roc.lines) == 1


def test_the_slider_spans_the_scores_and_starts_where_it_should(maps: np.ndarray, images: ImageSet) -> None:
    controls = widgets.threshold(images, maps).controls
    assert controls["threshold"].value == pytest.approx(0.5) and controls["index"].value == 5
    assert controls["threshold"].low < 0.1 and controls["threshold"].high > 0.9
    beyond = widgets.threshold(images, maps, value=99.0, index=1).controls
    assert beyond["threshold"].value == beyond["threshold"].high == 99.0 and beyond["index"].value == 1


def test_the_difference_lies_where_it_was_painted(images: ImageSet) -> None:
    figure = latent_views.draw_painter(model(), images[0][0], 0, top=3, left=2, side=3, strength=4.0, seed=1)
    before, after, difference = (np.asarray(axes.images[0].get_array()) for axes in figure.axes[2:])
    assert before.shape == (16, 12) and not np.array_equal(before, after)
    energy = difference**2
    assert energy[1:8, 0:7].sum() > 0.95 * energy.sum() > 0
    calm = latent_views.draw_painter(model(), images[0][0], 0, top=3, left=2, side=3, strength=0.0, seed=1)
    assert np.asarray(calm.axes[4].images[0].get_array()).max() < 1e-4


def test_the_browser_counts_within_a_kind(maps: np.ndarray, images: ImageSet) -> None:
    figure = views.draw_defect(images, maps, "square", 1)
    assert [axes.get_title() for axes in figure.axes] == ["square, 2 of 3", "map, at most 0.800", "overlay"]
    assert np.array_equal(figure.axes[1].images[-1].get_array(), maps[4])
    with pytest.raises(ValueError, match="index must be from 0 to 2, got 3"):
        views.draw_defect(images, maps, "square", 3)
    with pytest.raises(ValueError, match="no image of defect 'hole'; there are good, square"):
        views.draw_defect(images, maps, "hole", 0)


def test_the_last_image_moves_with_the_kind(maps: np.ndarray, images: ImageSet) -> None:
    view = widgets.defects(images.subset([0, 1, 3, 4, 5]), maps[[0, 1, 3, 4, 5]])
    assert view.controls["defect"].options == ["square", "good"]
    assert view.controls["index"].high == 2
    assert view.limits({"defect": "good"}) == {"index": 1}


def test_without_a_front_end_a_view_is_a_closed_figure() -> None:
    assert isinstance(widgets.show(widgets.coupling()), Figure)
    assert not plt.get_fignums()


def test_importing_brings_no_widgets() -> None:
    names = "'ipywidgets' in sys.modules, 'matplotlib.pyplot' in sys.modules"
    code = f"import sys, fastflow_lite.course.widgets; print({names})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


SHOWN = """
from fastflow_lite.course import widgets
from fastflow_lite.course.notebook import setup
setup(seed=0, out_dir={out!r})
widgets.show(widgets.coupling())
"""


def test_an_executed_notebook_holds_the_figure_and_no_widget(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SHOWN.format(out=str(tmp_path)))])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(tmp_path))
    (output,) = notebook.cells[0].outputs
    assert "image/jpeg" in output.data
    assert not any("widget" in kind for kind in output.data)
    assert "widgets" not in notebook.metadata


def test_a_live_notebook_gets_controls_that_move_the_figure(tmp_path: Path) -> None:
    """A kernel that may ask for input is live; a slider moved from the kernel side redraws as one moved by hand."""
    source = SHOWN.format(out=str(tmp_path)) + (
        "from ipywidgets import FloatSlider, Widget\n"
        "import ipywidgets.widgets.widget as registry\n"
        "slider = next(w for w in registry._instances.values() if getattr(w, 'description', '') == 'scale')\n"
        "slider.value = 2.5\n"
    )
    kinds, images = _run_live(source)
    assert kinds[0] == "application/vnd.jupyter.widget-view+json"
    assert len(images) == 2 and images[0] != images[1]


def _run_live(source: str) -> tuple[list[str], list[str]]:
    """The richest kind of each output, and every picture shown or updated."""
    from jupyter_client.manager import start_new_kernel

    kinds, images = [], []

    def seen(message: dict) -> None:
        data = message["content"].get("data", {}) if message["header"]["msg_type"].startswith(("disp", "upd")) else {}
        kinds.extend(sorted(data)[:1])
        images.extend(picture for kind, picture in data.items() if kind.startswith("image/"))

    manager, client = start_new_kernel(kernel_name="python3")
    try:
        reply = client.execute_interactive(source, allow_stdin=True, timeout=120, output_hook=seen)
        assert reply["content"]["status"] == "ok", reply["content"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return kinds, images
