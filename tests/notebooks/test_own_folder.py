"""Notebooks 07 and 10 on one's own folder: whatever is in it, what was trained is kept and the notebook ends."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastflow_lite import FastFlow

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def only_good(folder: Path) -> None:
    shutil.rmtree(folder / "ground_truth")
    for kind in (folder / "test").iterdir():
        if kind.name != "good":
            shutil.rmtree(kind)


def no_masks_and_bad_first(folder: Path) -> None:
    shutil.rmtree(folder / "ground_truth")
    next(kind for kind in (folder / "test").iterdir() if kind.name != "good").rename(folder / "test" / "bad")


def constant(folder: Path) -> None:
    for path in folder.rglob("good/*.png"):
        Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("notebook", "change", "epochs"),
    [
        ("07_fastflow", only_good, 1),
        ("07_fastflow", no_masks_and_bad_first, 2),
        ("07_fastflow", constant, 2),
        ("10_mvtec_btad", only_good, 2),
        ("10_mvtec_btad", no_masks_and_bad_first, 1),
    ],
)
def test_what_was_trained_is_kept(
    notebook: str, change: Callable[[Path], None], epochs: int, category: Path, tmp_path: Path
) -> None:
    change(category)
    options = {"dataset": category, "category": "", "image_size": 64, "epochs": epochs, "out_dir": tmp_path / "out"}
    words = [word for name, value in options.items() for word in ("-p", name, str(value))]
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--kernel", "python3"]
    pages = [NOTEBOOKS / f"{notebook}.ipynb", tmp_path / "executed.ipynb"]
    done = subprocess.run([*command, *pages, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert FastFlow.load(tmp_path / "out" / "model.safetensors").training_medians.isfinite().all()
    assert json.loads((tmp_path / "out" / "result.json").read_text())["epochs"] == epochs


@pytest.mark.parametrize("notebook", ["07_fastflow", "10_mvtec_btad"])
def test_the_model_is_saved_in_the_cell_that_trains_it(notebook: str) -> None:
    cells = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    (training,) = [source for source in sources if " = fit(" in source]
    (judging,) = [source for source in sources if "result = evaluate(" in source]
    assert training.index(" = fit(") < training.index("model.save(")
    assert judging.index(" = evaluate(") < judging.index("result.to_json(")
