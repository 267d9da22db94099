"""Live views are one piece of HTML: a still picture, a script with its data, nothing from elsewhere."""

import json
import re
from collections.abc import Callable

import numpy as np
import pytest

from fastflow_lite.course import live

SCORES, LABELS = np.array([0.1, 0.2, 0.6, 0.5, 0.9]), np.array([False, False, False, True, True])


@pytest.fixture(scope="module", params=["slope", "threshold", "clamp", "coupling"])
def html(request: pytest.FixtureRequest) -> str:
    view = live.threshold(SCORES, LABELS) if request.param == "threshold" else getattr(live, request.param)()
    return view._repr_html_()


def test_it_holds_a_still_picture_and_asks_nothing_of_a_network(html: str) -> None:
    assert re.search(r'<img alt="A chart: [^"]+"|<img alt="\d panels: [^"]+"', html)
    assert 'src="data:image/' in html and "http" not in html and len(html) < 80_000
    assert not re.search(r"\$(alt|kind|still|data|draw)\b", html)


def test_the_scores_are_in_the_data() -> None:
    found = re.search(r"const data = (\{.*\});", live.threshold(SCORES, LABELS).html)
    assert found is not None
    data = json.loads(found[1])
    assert data["normal"] == [0.1, 0.2, 0.6] and data["anomalous"] == [0.5, 0.9]
    assert data["low"] < 0.1 < data["value"] < 0.9 < data["high"]


@pytest.mark.parametrize("scores", [np.array([0.1]), np.array([np.nan, 1.0, 1.0, 1.0, 1.0])])
def test_scores_that_cannot_be_drawn_are_refused(scores: np.ndarray) -> None:
    with pytest.raises(ValueError, match="as many finite scores as labels"):
        live.threshold(scores, LABELS)


def data_of(view: live.LiveView) -> dict[str, object]:
    found = re.search(r"const data = (\{.*\});", view.html)
    assert found is not None
    return json.loads(found[1])


def test_a_slider_has_two_hundred_steps_between_the_scores_and_one_beyond_each() -> None:
    data = data_of(live.threshold(np.array([1.0, 3.0]), np.array([False, True])))
    assert [data[name] for name in ("low", "high", "step", "value")] == pytest.approx([0.99, 3.01, 0.01, 2])
    data = data_of(live.threshold(np.full(2, 0.5), np.array([False, True])))
    assert [data[name] for name in ("low", "high", "step", "value")] == pytest.approx([0.49, 0.51, 0.01, 0.5])


@pytest.mark.parametrize(
    ("make", "low", "high", "step", "value"),
    [(live.slope, 0.4, 3, 0.05, 2), (live.clamp, 0.5, 5, 0.1, 2), (live.coupling, -2, 2, 0.1, 0.8)],
)
def test_sliders_begin_at_the_value_of_the_still_picture(
    make: Callable[[], live.LiveView], low: float, high: float, step: float, value: float
) -> None:
    data = data_of(make())
    assert [data[name] for name in ("low", "high", "step", "value")] == [low, high, step, value]
    assert {"first", "words"} & data.keys()
