"""The report of findings in headless Chromium: what the mouse and the keyboard do, and what it loads.

`make test-browser` runs these too and keeps the screenshots in runs/browser.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from drawn_findings import drawn_detector, drawn_files

from fastflow_lite.detection import Report
from fastflow_lite.errors import DataError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

SCORES = [0.2, 0.9, 0.6, 0.1, 0.7, 0.3, 0.55, 0.05, 0.4, 0.45, 0.15]  # of part 0 to part 10
BY_SCORE = [1, 4, 2, 6, 9, 8, 5, 0, 10, 3, 7]


@pytest.fixture
def written(tmp_path: Path) -> str:
    """The address of a report of eleven findings, four of them alarms, with names that try to be markup."""
    report = Report(drawn_detector(), "<script>document.title = 'run'</script>", {"detector": "part.safetensors"})
    for finding in drawn_files(tmp_path, SCORES, "part {} <img src=x onerror=alert(1)> \" '.png"):
        report.add(finding)
    report.add_unusable("cut.png", DataError("image cut.png is damaged"))
    report.write(tmp_path / "report.html")
    return (tmp_path / "report.html").as_uri()


@pytest.fixture
def opened(chromium: Browser, written: str, request: pytest.FixtureRequest, screenshots: Path) -> Iterator[Page]:
    """The report, opened; the test fails if it loaded anything but itself, or wrote to the console."""
    page, faults, asked = chromium.new_page(viewport={"width": 1280, "height": 900}), [], []
    page.set_default_timeout(20_000)
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(written)
    yield page
    page.screenshot(path=screenshots / f"report_{request.node.name}.png")
    assert not faults
    assert [url for url in asked if not url.startswith("data:")] == [written]


def names(page: Page) -> list[int]:
    """Return the numbers of the parts that are shown, in their order."""
    shown = page.locator("#cards > li:visible .name").all_inner_texts()
    return [int(name.split()[1]) for name in shown]


def focused(page: Page) -> str:
    """Return the number of the part whose card has the focus."""
    return page.evaluate("document.activeElement.closest('li').dataset.name.split(' ')[1]")


def see(page: Page, selector: str, visible: bool) -> None:
    from playwright.sync_api import expect

    (expect(page.locator(selector)).to_be_visible if visible else expect(page.locator(selector)).not_to_be_visible)()


def test_it_sorts_by_score_and_by_name_and_shows_alarms_only(opened: Page) -> None:
    assert names(opened) == BY_SCORE
    opened.select_option("#order", "name")
    assert names(opened) == list(range(11)), "10 comes after 9"
    opened.get_by_label("alarms only").check()
    assert names(opened) == [1, 2, 4, 6]
    opened.select_option("#order", "score")
    assert names(opened) == [1, 4, 2, 6]


def test_map_and_outline_are_switched_by_mouse_and_key(opened: Page) -> None:
    card = "#finding-1 "
    see(opened, card + ".map", False)
    see(opened, card + ".outline", True)
    opened.get_by_label("map", exact=False).first.check()
    see(opened, card + ".map", True)
    opened.keyboard.press("m")
    see(opened, card + ".map", False)
    opened.keyboard.press("o")
    see(opened, card + ".outline", False)
    assert opened.locator(card + ".photo").evaluate("image => image.naturalWidth") == 80


def test_the_keyboard_steps_through_the_cards_and_the_large_view(opened: Page, screenshots: Path) -> None:
    for key in ("j", "ArrowRight", "j", "k"):
        opened.keyboard.press(key)
    assert focused(opened) == "4"
    style = opened.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert style == "solid", "the focus cannot be seen"
    opened.keyboard.press("Enter")
    see(opened, "#large", True)
    assert opened.locator("#place").inner_text() == "2 of 11"
    assert "0.700" in opened.locator("#large-decision").inner_text()
    opened.keyboard.press("m")
    see(opened, "#large .map", True)
    opened.screenshot(path=screenshots / "report_large.png")
    opened.keyboard.press("ArrowRight")
    assert opened.locator("#place").inner_text() == "3 of 11"
    for _ in range(20):
        opened.keyboard.press("k")
    assert opened.locator("#place").inner_text() == "1 of 11", "the first is the first"
    opened.keyboard.press("Escape")
    see(opened, "#large", False)
    assert focused(opened) == "1", "the focus is at the finding that was shown"


def test_a_region_of_the_large_view_is_marked_in_the_picture(opened: Page) -> None:
    opened.locator("#finding-1 .open").click()
    rows = opened.locator("#large-regions tbody tr")
    assert rows.count() == 1 and "0.900" in rows.first.inner_text()
    see(opened, "#large .boxes rect", False)
    rows.first.hover()
    see(opened, "#large .boxes rect", True)
    picture, box = opened.locator("#large .photo").bounding_box(), opened.locator("#large .boxes rect").bounding_box()
    assert picture and box
    assert box["x"] == pytest.approx(picture["x"] + picture["width"] / 4, abs=picture["width"] / 20)
    opened.locator("#next").click()
    assert opened.locator("#place").inner_text() == "2 of 11"
    opened.keyboard.press("a")
    assert opened.locator("#place").inner_text() == "2 of 4"
    opened.locator("#close").click()
    see(opened, "#large", False)


def test_names_are_no_markup(opened: Page) -> None:
    assert opened.title() == "<script>document.title = 'run'</script>"
    assert opened.locator("script").count() == 1
    opened.locator("#finding-1 .open").click()
    assert opened.locator("#large-name").inner_text() == "part 1 <img src=x onerror=alert(1)> \" '.png"
    assert opened.locator("#large-name img").count() == 0


def test_it_is_complete_without_scripts(chromium: Browser, written: str) -> None:
    page = chromium.new_context(java_script_enabled=False).new_page()
    page.goto(written)
    assert names(page) == BY_SCORE
    see(page, "#order", False)
    page.locator("#show-map").check()
    see(page, "#finding-1 .map", True)
    page.locator("#only-alarms").check()
    assert names(page) == BY_SCORE[:4]
    page.locator("#finding-1 summary").click()
    see(page, "#finding-1 .regions", True)


def test_it_fits_a_phone_and_paper(chromium: Browser, written: str, screenshots: Path) -> None:
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    page.goto(written)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "it scrolls sideways"
    page.screenshot(path=screenshots / "report_phone.png")
    page.locator("#finding-1 .open").click()
    stage, large = page.locator("#stage").bounding_box(), page.locator("#large .photo").bounding_box()
    assert stage and large and large["width"] > 300 and large["height"] <= stage["height"]
    page.keyboard.press("Escape")
    page.emulate_media(media="print")
    see(page, "#order", False)
    see(page, "#finding-1 .photo", True)
