"""Live views in a static page: a slider moves the picture without a kernel; without scripts a still picture stays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fastflow_lite.course import live

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

SCORES, LABELS = np.array([0.1, 0.2, 0.6, 0.5, 0.9]), np.array([False, False, False, True, True])
MOVED = {
    "slope": ("0.5", "log |slope| = -0.69"),
    "threshold": ("0.15", "2 of 3 normal images are false alarms"),
    "clamp": ("1", "at most e^1.0 = 2.7"),
    "coupling": ("0", "the left square gets about 1.00 times its area, the right one 1.00 times"),
}


def page_of(name: str, folder: Path) -> Path:
    view = live.threshold(SCORES, LABELS) if name == "threshold" else getattr(live, name)()
    path = folder / f"{name}.html"
    path.write_text(f"<!doctype html><meta charset='utf-8'><body>{view.html}</body>", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", MOVED)
def test_a_slider_changes_picture_and_words(name: str, chromium: Browser, tmp_path: Path, screenshots: Path) -> None:
    page = chromium.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(page_of(name, tmp_path).as_uri())
    value, words = MOVED[name]
    picture = "canvas => canvas.toDataURL()"
    before = page.locator("canvas").evaluate(picture)
    page.locator("input").evaluate("(slider, value) => { slider.value = value; }", value)
    page.locator("input").dispatch_event("input")
    assert page.locator("canvas").evaluate(picture) != before
    assert words in page.locator("[role=status]").inner_text()
    assert not errors and page.locator("img").count() == 0
    page.screenshot(path=screenshots / f"live_{name}.png")


@pytest.mark.parametrize("name", MOVED)
def test_without_scripts_the_still_picture_stays(name: str, chromium: Browser, tmp_path: Path) -> None:
    page = chromium.new_context(java_script_enabled=False).new_page()
    page.goto(page_of(name, tmp_path).as_uri())
    assert page.locator("img").is_visible() and page.locator("img").get_attribute("alt")
    assert page.locator("canvas").count() == 0
