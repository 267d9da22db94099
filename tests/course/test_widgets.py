"""Views: their figures are functions of values, and without a front end they are figures only."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from fastflow_lite import FastFlow
from fastflow_lite.course import widgets
from fastflow_lite.course.widgets import InteractiveView, Slider
from fastflow_lite.datasets import ImageSet


def pixels(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="raw", dpi=50)
    return buffer.getvalue()


def every_view(maps: np.ndarray, images: ImageSet, model: FastFlow) -> dict[str, InteractiveView]:
    return {
        "coupling": widgets.coupling(),
        "threshold": widgets.threshold(images, maps),
        "painter": widgets.painter(model, images[0][0]),
        "defects": widgets.defects(images, maps, 0.35),
    }


@pytest.mark.parametrize("name", ["coupling", "threshold", "painter", "defects"])
def test_every_control_moves_the_figure_and_the_start_repeats(
    name: str, maps: np.ndarray, images: ImageSet, perturbed_model: FastFlow
) -> None:
    view = every_view(maps, images, perturbed_model)[name]
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


def test_the_slider_spans_the_scores_and_starts_where_it_should(maps: np.ndarray, images: ImageSet) -> None:
    controls = widgets.threshold(images, maps).controls
    assert controls["threshold"].value == pytest.approx(0.5) and controls["index"].value == 5
    assert controls["threshold"].low < 0.1 and controls["threshold"].high > 0.9
    beyond = widgets.threshold(images, maps, value=99.0, index=1).controls
    assert beyond["threshold"].value == beyond["threshold"].high == 99.0 and beyond["index"].value == 1


def test_the_last_image_moves_with_the_kind(maps: np.ndarray, images: ImageSet) -> None:
    view = widgets.defects(images.subset([0, 1, 3, 4, 5]), maps[[0, 1, 3, 4, 5]])
    assert view.controls["defect"].options == ["square", "good"]
    assert view.controls["index"].high == 2
    assert view.limits({"defect": "good"}) == {"index": 1}


def test_without_a_front_end_a_view_is_a_closed_figure() -> None:
    assert isinstance(widgets.show(widgets.coupling()), Figure)
    assert not plt.get_fignums()


SHOWN = """
from fastflow_lite.course import widgets
from fastflow_lite.course import setup
setup(seed=0, out_dir={out!r})
widgets.show(widgets.coupling())
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[BlockingKernelClient]:
    manager, client = start_new_kernel(kernel_name="python3")
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run(kernel: BlockingKernelClient, source: str, allow_stdin: bool) -> list[dict[str, Any]]:
    """Every message that a cell with the source sends, in order."""
    said: list[dict[str, Any]] = []
    reply = kernel.execute_interactive(source, allow_stdin=allow_stdin, timeout=120, output_hook=said.append)
    assert reply["content"]["status"] == "ok", reply["content"]
    return said


def displays(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds = ("display_data", "update_display_data", "execute_result")
    return [message["content"] for message in said if message["msg_type"] in kinds]


@pytest.mark.slow
def test_an_executed_notebook_holds_the_figure_and_no_widget(kernel: BlockingKernelClient, tmp_path: Path) -> None:
    said = run(kernel, SHOWN.format(out=str(tmp_path)), allow_stdin=False)
    (output,) = displays(said)
    (kind,) = {"image/png", "image/jpeg"} & set(output["data"])
    assert "s(x_a)" in output["metadata"][kind]["alt"] and 400 < output["metadata"][kind]["width"] < 900
    assert not any("widget" in kind for kind in output["data"])
    assert not any(message["msg_type"].startswith("comm") for message in said), "the state of a widget"


@pytest.mark.slow
def test_a_live_notebook_gets_controls_that_move_the_figure(kernel: BlockingKernelClient, tmp_path: Path) -> None:
    """A kernel that may ask for input is live; a slider moved from the kernel side redraws as one moved by hand."""
    source = SHOWN.format(out=str(tmp_path)) + (
        "from ipywidgets import FloatSlider, Widget\n"
        "import ipywidgets.widgets.widget as registry\n"
        "slider = next(w for w in registry._instances.values() if getattr(w, 'description', '') == 'scale')\n"
        "slider.value = 2.5\n"
    )
    shown = [output["data"] for output in displays(run(kernel, source, allow_stdin=True))]
    images = [picture for data in shown for kind, picture in data.items() if kind.startswith("image/")]
    assert min(shown[0]) == "application/vnd.jupyter.widget-view+json"
    assert len(images) == 2 and images[0] != images[1]
