"""Live views are one piece of HTML: a still picture, a script with its data, nothing from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import norm

from fastflow_lite.course import live
from fastflow_lite.figures.style import ACCENT, ANOMALOUS, GREEN, GUIDE, NORMAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORES, LABELS = np.array([0.1, 0.2, 0.6, 0.5, 0.9]), np.array([False, False, False, True, True])
MAKERS: dict[str, Callable[[], live.LiveView]] = {
    "slope": live.slope,
    "threshold": lambda: live.threshold(SCORES, LABELS),
    "clamp": live.clamp,
    "coupling": live.coupling,
}


@pytest.fixture
def stills(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The still figures of the views that a test makes. They are kept and not encoded, which takes most of the time."""
    kept: list[Figure] = []

    def keep(figure: Figure) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        kept.append(figure)
        return {"image/png": ""}, {"image/png": {"alt": "A chart"}}

    monkeypatch.setattr(live, "to_output", keep)
    return kept


def data_of(view: live.LiveView) -> dict[str, object]:
    found = re.search(r"const data = (\{.*\});", view.html)
    assert found is not None
    return json.loads(found[1])


@pytest.mark.parametrize("name", MAKERS)
def test_it_holds_a_still_picture_and_asks_nothing_of_a_network(name: str) -> None:
    html = MAKERS[name]()._repr_html_()
    assert re.search(r'<img alt="A chart: [^"]+"|<img alt="\d panels: [^"]+"', html)
    assert 'src="data:image/' in html and "http" not in html and len(html) < 80_000
    assert not re.search(r"\$(alt|kind|still|data|draw)\b", html)


@pytest.mark.usefixtures("stills")
@pytest.mark.parametrize(
    ("name", "colors"),
    [
        ("slope", [NORMAL, GREEN, ACCENT]),
        ("threshold", [NORMAL, ANOMALOUS, ACCENT]),
        ("clamp", [NORMAL, ANOMALOUS, ACCENT]),
        ("coupling", [NORMAL, GREEN, GUIDE]),
    ],
)
def test_the_data_has_everything_that_the_script_reads(name: str, colors: list[str]) -> None:
    data = data_of(MAKERS[name]())
    script = files("fastflow_lite.course").joinpath(f"live_{name}.js").read_text(encoding="utf-8")
    assert set(re.findall(r"\bdata\.(\w+)", script)) <= data.keys()
    assert [data[key] for key in ("first", "second", "axis")] == colors


@pytest.mark.usefixtures("stills")
def test_the_scores_are_in_the_data_with_six_decimals() -> None:
    data = data_of(live.threshold(SCORES + 1e-7, LABELS))
    assert data["normal"] == [0.1, 0.2, 0.6] and data["anomalous"] == [0.5, 0.9]
    assert data_of(live.threshold(SCORES + 1e-6, LABELS))["normal"] == [0.100001, 0.200001, 0.600001]


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        (np.array([0.1]), LABELS),
        (np.array([np.nan, 1.0, 1.0, 1.0, 1.0]), LABELS),
        (np.array([]), np.array([], dtype=bool)),
    ],
)
def test_scores_that_cannot_be_drawn_are_refused(scores: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="as many finite scores as labels"):
        live.threshold(scores, labels)


@pytest.mark.usefixtures("stills")
def test_a_slider_has_two_hundred_steps_between_the_scores_and_one_beyond_each() -> None:
    data = data_of(live.threshold(np.array([1.0, 3.0]), np.array([False, True])))
    assert [data[name] for name in ("low", "high", "step", "value")] == pytest.approx([0.99, 3.01, 0.01, 2])
    data = data_of(live.threshold(np.full(2, 0.5), np.array([False, True])))
    assert [data[name] for name in ("low", "high", "step", "value")] == pytest.approx([0.49, 0.51, 0.01, 0.5])


@pytest.mark.usefixtures("stills")
@pytest.mark.parametrize(
    ("make", "low", "high", "step", "value"),
    [(live.slope, 0.4, 3, 0.05, 2), (live.clamp, 0.5, 5, 0.1, 2), (live.coupling, -2, 2, 0.1, 0.8)],
)
def test_sliders_begin_at_the_value_of_the_still_picture(
    make: Callable[[], live.LiveView], low: float, high: float, step: float, value: float
) -> None:
    data = data_of(make())
    assert [data[name] for name in ("low", "high", "step", "value")] == [low, high, step, value]


def test_the_still_slope_is_that_of_the_slider_and_both_densities_have_mass_1(stills: list[Figure]) -> None:
    slope = data_of(live.slope())["value"]
    above, _, middle, right = stills[0].axes
    (x, p_x), (_, z), (p_z, along) = (axes.lines[0].get_data() for axes in (above, middle, right))
    assert x[[0, -1]].tolist() == [-3, 3] and 0.0 in x and np.allclose(z, slope * x) and np.allclose(z, along)
    assert np.allclose(p_x, norm.pdf(x)) and np.allclose(p_z, norm.pdf(z, scale=slope))
    strip = above.collections[0].get_datalim(above.transData)
    assert [strip.x0, strip.x1] == pytest.approx([0.5, 1.5])


def test_the_still_clamp_is_that_of_the_slider(stills: list[Figure]) -> None:
    clamp = data_of(live.clamp())["value"]
    clamped, free = stills[0].axes[0].lines[:2]
    raw, s = clamped.get_data()
    assert raw[[0, -1]].tolist() == [-8, 8] and 0.0 in raw
    assert np.allclose(s, clamp * np.tanh(raw / clamp)) and np.allclose(free.get_ydata(), raw)


def test_the_still_threshold_is_that_of_the_slider(stills: list[Figure]) -> None:
    middle = data_of(live.threshold(SCORES, LABELS))["value"]
    assert any(np.allclose(line.get_xdata(), middle) for line in stills[0].axes[0].lines)
