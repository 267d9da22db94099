"""Notebooks 07, 10 and 16 on one's own folder: whatever is in it, what was trained is kept and the notebook ends."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from fastflow_lite import FastFlow
from fastflow_lite.detection import Detector
from fastflow_lite.figures import pictures

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
pytestmark = pytest.mark.usefixtures("few_views")


@pytest.fixture(autouse=True)
def figures_are_laid_out_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing their pixels would take half of the time."""
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figure.draw_without_rendering())
    monkeypatch.setattr(pictures, "_drawn", lambda *_: Image.new("RGB", (8, 8)))


def code_cells(notebook: str) -> list[dict[str, Any]]:
    cells = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells if cell["cell_type"] == "code"]


def run_cells(notebook: str, without: str = "SOLUTION", **parameters: object) -> dict[str, Any]:
    """Run the cells of `notebook` before its exercises, but none with the text `without`, and return its variables.

    It runs in this process: a kernel would take longer to start than these trainings take.
    """
    variables: dict[str, Any] = {"__name__": "__main__"}
    for cell in code_cells(notebook):
        if "SOLUTION" in cell["source"]:
            break
        if without in cell["source"]:
            continue
        exec(cell["source"], variables)
        if "parameters" in cell["metadata"].get("tags", []):
            assert parameters.keys() <= variables.keys()
            variables |= {name: type(variables[name])(value) for name, value in parameters.items()}
    return variables


def only_constant_and_good(folder: Path) -> None:
    shutil.rmtree(folder / "ground_truth")
    shutil.rmtree(folder / "test" / "square")
    for path in folder.rglob("good/*.png"):
        Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(path)


def no_masks_and_bad_first(folder: Path) -> None:
    shutil.rmtree(folder / "ground_truth")
    (folder / "test" / "square").rename(folder / "test" / "bad")


def no_test_images(folder: Path) -> None:
    shutil.rmtree(folder / "ground_truth")
    shutil.rmtree(folder / "test")


@pytest.mark.parametrize(
    ("notebook", "change", "epochs"),
    [
        pytest.param("07_fastflow", only_constant_and_good, 2, marks=pytest.mark.long),
        ("07_fastflow", no_masks_and_bad_first, 1),
        ("07_fastflow", no_test_images, 1),
        ("10_mvtec_btad", only_constant_and_good, 2),
        pytest.param("10_mvtec_btad", no_test_images, 1, marks=pytest.mark.long),
    ],
)
def test_what_was_trained_is_kept(
    notebook: str, change: Callable[[Path], None], epochs: int, category: Path, tmp_path: Path
) -> None:
    change(category)
    kept = tmp_path / "out"
    run_cells(notebook, dataset=category, category="", image_size=32, epochs=epochs, out_dir=kept)
    assert FastFlow.load(kept / "model.safetensors").training_medians.isfinite().all()
    assert json.loads((kept / "result.json").read_text())["epochs"] == epochs


def one_defect_without_mask(folder: Path) -> None:
    shutil.rmtree(folder / "ground_truth")
    for path in sorted((folder / "test" / "square").iterdir())[1:]:
        path.unlink()


@pytest.mark.parametrize(
    "change",
    [
        one_defect_without_mask,
        *(pytest.param(c, marks=pytest.mark.long) for c in (only_constant_and_good, no_test_images)),
    ],
)
def test_notebook_16_only_reads_the_folder(change: Callable[[Path], None], category: Path, tmp_path: Path) -> None:
    """Its cells of exports are left out: they are tested elsewhere, and take most of its time."""
    change(category)
    before = {path: path.read_bytes() for path in category.rglob("*") if path.is_file()}
    options = {"folder": category, "image_size": "48x32", "epochs": 1, "fast": True, "out_dir": tmp_path / "out"}
    options["alpha"] = 0.5  # which one image held out can promise
    variables = run_cells("16_your_own_images", without="exported", **options)
    variables["scratch"].cleanup()
    assert {path: path.read_bytes() for path in category.rglob("*") if path.is_file()} == before
    assert Detector.load(tmp_path / "out" / "detector.safetensors").size == (48, 32)
    assert Detector.load(tmp_path / "out" / "by_tiles.safetensors").tile == 16


@pytest.mark.parametrize("notebook", ["07_fastflow", "10_mvtec_btad"])
def test_the_model_is_saved_in_the_cell_that_trains_it(notebook: str) -> None:
    sources = [cell["source"] for cell in code_cells(notebook)]
    (training,) = [source for source in sources if " = fit(" in source]
    (judging,) = [source for source in sources if "result = evaluate(" in source]
    assert training.index(" = fit(") < training.index("model.save(")
    assert judging.index(" = evaluate(") < judging.index("result.to_json(")
