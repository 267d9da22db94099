"""What a learner sees: JupyterLab in headless Chromium shows the views, and every notebook opens clean.

`make test-browser` runs these and keeps the screenshots in runs/browser.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
RUN = 400_000  # milliseconds for all cells of a notebook, on a busy machine
RED = "[data-mime-type='application/vnd.jupyter.stderr'], [data-mime-type='application/vnd.jupyter.error']"
BROKEN = "Loading widget|Error displaying widget|Error creating widget|model not found"

PANEL = "document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer')"
UNDRAWN = """() => [...document.querySelectorAll('.jp-MarkdownCell .jp-RenderedMarkdown')].filter(cell => {
    const copy = cell.cloneNode(true);
    copy.querySelectorAll('code, pre, mjx-container, .MathJax').forEach(part => part.remove());
    return copy.textContent.includes('$');
}).map(cell => 'a formula that is not drawn: ' + cell.textContent.slice(0, 80))"""
BROKEN_FORMULAS = """() => [...document.querySelectorAll('mjx-merror, [data-mjx-error]')]
    .map(formula => 'a formula with an error: ' + formula.textContent)"""
TOO_WIDE = """() => [...document.querySelectorAll('.jp-RenderedMarkdown, .jp-OutputArea-output')]
    .filter(part => part.scrollWidth > part.clientWidth + 2)
    .map(part => 'wider than the page: ' + part.textContent.slice(0, 80))"""

TRAINED = """
from fastflow_lite import FastFlow, evaluate, fit
from fastflow_lite.course import widgets
from fastflow_lite.datasets import open_dataset
from fastflow_lite.course import setup
run = setup(seed=0, out_dir="runs/views")
data = open_dataset("toy", "weave", image_size=96)
train, held_out = data.train.split(0.1, seed=0)
model = FastFlow("resnet18", "bundled", steps=2, seed=0)
fit(model, train, epochs=1, seed=0, progress=False)
result = evaluate(model, data.test, normal=held_out)
"""
VIEWS = {
    "coupling": "widgets.show(widgets.coupling())",
    "threshold": "widgets.show(widgets.threshold(data.test, result.maps, result.scores))",
    "painter": "widgets.show(widgets.painter(model, held_out[0][0]))",
    "defects": "widgets.show(widgets.defects(data.test, result.maps, result.pixel_threshold))",
}


def open_notebook(page: Page, name: str, kernel: bool = True) -> None:
    page.evaluate(
        """async ([name, kernel]) => {
            const opened = await jupyterapp.commands.execute('docmanager:open', {path: name, factory: 'Notebook'});
            await opened.context.ready;
            await (kernel && opened.sessionContext.ready);
            window.opened = opened;
        }""",
        [name, kernel],
    )
    page.wait_for_function("opened.content.widgets.every(cell => cell.inViewport !== false)")


def unreadable(page: Page) -> list[str]:
    """What a reader could not read: a formula that is not drawn or has an error, a part wider than the page."""
    from playwright.sync_api import TimeoutError

    with suppress(TimeoutError):  # what is not drawn by then is returned
        page.wait_for_function(f"({UNDRAWN})().length === 0")
    return [fault for script in (UNDRAWN, BROKEN_FORMULAS, TOO_WIDE) for fault in page.evaluate(script)]


def run_all(page: Page) -> None:
    page.evaluate(
        """() => {
            window.finished = null;
            jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.finished = true; });
        }"""
    )
    page.wait_for_function("window.finished", timeout=RUN)


def close_notebook(page: Page) -> None:
    page.evaluate(
        """async () => {
            opened.context.model.dirty = false;
            opened.dispose();
            await jupyterapp.serviceManager.sessions.shutdownAll();
        }"""
    )


def keep_pages(page: Page, screenshots: Path, name: str) -> None:
    """Keep a screenshot of each page of the open notebook."""
    for number in range(page.evaluate(f"Math.ceil({PANEL}.scrollHeight / {PANEL}.clientHeight)")):
        page.evaluate(f"k => {{ {PANEL}.scrollTop = k * {PANEL}.clientHeight; }}", number)
        page.screenshot(path=screenshots / f"{name}_{number:02}.png")


def code_cells(page: Page) -> Locator:
    return page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell")


def faults(page: Page, may_raise: list[int]) -> list[str]:
    """What a reader would take for a failure: red output, a widget without its model, a picture that is none."""
    found = []
    for number, cell in enumerate(code_cells(page).all()):
        text = cell.locator(".jp-OutputArea").all_inner_texts()
        if number not in may_raise and cell.locator(RED).count():
            found.append(f"cell {number + 1} has red output: {cell.locator(RED).first.inner_text()[:200]}")
        found += [f"cell {number + 1} says {word!r}" for word in BROKEN.split("|") if word in "".join(text)]
        empty = "pictures => pictures.filter(p => !(p.complete && p.naturalWidth)).length"
        if cell.locator(".jp-OutputArea img").evaluate_all(empty):
            found.append(f"cell {number + 1} has an empty picture")
    return found


def may_raise(notebook: nbformat.NotebookNode) -> list[int]:
    """Code cells, counted from 0, that raise on purpose."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [k for k, cell in enumerate(cells) if "raises-exception" in cell.metadata.get("tags", [])]


def picture(cell: Locator) -> str:
    return cell.locator(".jp-RenderedImage img").get_attribute("src") or ""


def see_it_change(cell: Locator, before: str) -> None:
    """Wait until the picture of `cell` is another than `before`."""
    from playwright.sync_api import expect

    expect(cell.locator(".jp-RenderedImage img")).not_to_have_attribute("src", before, timeout=60_000)


def drag(page: Page, slider: Locator, share: float) -> None:
    """Take the handle of `slider` to a `share` of its track, in small steps as a hand does."""
    handle, track = slider.locator(".noUi-handle").bounding_box(), slider.locator(".noUi-base").bounding_box()
    assert handle and track
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    page.mouse.down()
    page.mouse.move(track["x"] + share * track["width"], handle["y"] + handle["height"] / 2, steps=4)
    page.mouse.up()


@pytest.fixture(scope="module")
def views(course: Path) -> str:
    """A notebook with a cell for each view, and one that trains what they look at."""
    sources = [TRAINED.strip(), *VIEWS.values()]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(notebook, course / "views.ipynb")
    return "views.ipynb"


def test_each_control_of_each_view_moves_its_figure(page: Page, views: str, screenshots: Path) -> None:
    open_notebook(page, views)
    run_all(page)
    assert not faults(page, [])
    for number, name in enumerate(VIEWS, 1):
        cell = code_cells(page).nth(number)
        cell.scroll_into_view_if_needed()
        cell.screenshot(path=screenshots / f"{name}_start.png")
        sliders, choices = cell.locator(".widget-slider"), cell.locator("select")
        assert sliders.count() >= 2
        for k in range(sliders.count()):
            before = picture(cell)
            drag(page, sliders.nth(k), 0.9 if name != "threshold" or k else 0.3)
            see_it_change(cell, before)
        for k in range(choices.count()):
            before = picture(cell)
            choices.nth(k).select_option(index=1)
            see_it_change(cell, before)
        cell.screenshot(path=screenshots / f"{name}_moved.png")
    assert not faults(page, [])
    close_notebook(page)


def test_every_notebook_opens_as_a_page_without_faults(page: Page, screenshots: Path) -> None:
    page.set_viewport_size({"width": 1280, "height": 1600})
    page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    wrong = {}
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        open_notebook(page, path.name, kernel=False)
        assert code_cells(page).count() == sum(cell.cell_type == "code" for cell in notebook.cells)
        pictures = sum(not {"image/png", "image/jpeg"}.isdisjoint(output.get("data", {}))
                       for cell in notebook.cells for output in cell.get("outputs", []))  # fmt: skip
        # Lab does not trust these notebooks: of a drawing it shows the PNG, not the SVG.
        shown = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea .jp-RenderedImage img")
        assert shown.count() == pictures, path.name
        if found := faults(page, may_raise(notebook)) + unreadable(page):
            wrong[path.name] = found
        keep_pages(page, screenshots, f"page_{path.stem.partition('_')[0]}")
        close_notebook(page)
    assert not wrong


def test_the_kernel_has_the_name_that_make_gave_it(page: Page) -> None:
    open_notebook(page, NOTEBOOKS[0].name)
    assert page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-KernelName").inner_text() == "FastFlow Lite"
    close_notebook(page)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_runs_in_lab(path: Path, page: Page, course: Path, screenshots: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, course / f"run_{path.name}")
    open_notebook(page, f"run_{path.name}")
    run_all(page)
    assert not faults(page, may_raise(notebook))
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    counts = page.evaluate(
        "opened.content.widgets.map(c => c.model).filter(m => m.type == 'code').map(m => m.executionCount)"
    )
    assert counts == list(range(1, len(code) + 1))
    keep_pages(page, screenshots, f"ran_{path.stem.partition('_')[0]}")
    for number in [k for k, cell in enumerate(code) if "widgets.show(" in cell.source]:
        cell = code_cells(page).nth(number)
        before = picture(cell)
        cell.scroll_into_view_if_needed()
        drag(page, cell.locator(".widget-slider").first, 0.9)
        see_it_change(cell, before)
        cell.screenshot(path=screenshots / f"run_{path.stem.partition('_')[0]}_{number + 1}.png")
    close_notebook(page)
