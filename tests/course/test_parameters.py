"""Parameters of notebooks: typed, explained, and each checked with its name, its value and what it may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from tiny import PAPERMILL

from fastflow_lite.course import setup
from fastflow_lite.course.parameters import check
from fastflow_lite.errors import ParameterError

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def named(stem: str) -> Path:
    return NOTEBOOKS[0].with_name(f"{stem}.ipynb")


each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)

WRONG: list[tuple[str, Any, str]] = [  # parameter, value, what the error says it must be
    ("seed", -1, "a whole number of at least 0"),
    ("seed", 2**32, "a whole number of at least 0 and below 2**32"),
    ("seed", "zero", "a whole number of at least 0"),
    ("seeds", "0 one", "words with spaces between, each a whole number of at least 0"),
    ("seeds", f"0 {2**32}", "each a whole number of at least 0 and below 2**32"),
    ("seeds", "", "one word or more"),
    ("fast", "yes", "True or False"),
    ("fast", 1, "True or False"),
    ("out_dir", "", "text"),
    ("epochs", 0, "a whole number of at least 1"),
    ("epochs", 2.5, "a whole number of at least 1"),
    ("epochs", True, "a whole number of at least 1"),
    ("category", "wave", "one of 'weave', 'grid', 'part' of toy"),
    ("category", 7, "text"),
    ("categories", "weave bottle", "words with spaces between, each one of 'weave', 'grid', 'part' of toy"),
    ("dataset", "mvtecad", "one of 'toy', 'mvtec', 'btad', 'cifar10', 'formulas', or the path of a folder that exists"),
    ("backbone", "resnet81", "or a name of timm's (near: resnet18"),
    ("weights", "imagenet.pth", "one of 'bundled', 'imagenet', 'timm', 'random', or a file that exists"),
    ("data_root", "nowhere/at/all", "'' or a folder that exists"),
    ("other_weights", "nowhere.safetensors", "'' or a file that exists"),
    ("image_size", 100, "a whole number of at least 16, a multiple of 16 (near: 96 and 112)"),
    ("image_size", 8, "a whole number of at least 16, a multiple of 16"),
    ("image_size", "64", "a whole number of at least 16, a multiple of 16"),
    ("channels", 5, "a multiple of 2 (near: 4 and 6)"),
    ("kernel", 4, "an odd whole number of at least 1"),
    ("map", "probability", "one of 'tempered', 'likelihood', 'exp_energy', 'energy', 'nll'"),
    ("normalize", "batch", "one of 'layer', 'map', 'channel', 'none'"),
    ("recipe", "theirs", "one of 'ours', 'v0.1', 'paper'"),
    ("kernels", "1-3", "one of '', '3-1', '3'"),
    ("protocol", "all", "one of 'one_class', 'leave_one_out', 'both'"),
    ("metric", "f1", "one of 'image_auroc', 'pixel_auroc'"),
    ("train_images", -1, "a whole number of at least 0"),
    ("lr", 0.0, "a number above 0"),
    ("lr", float("nan"), "a number above 0"),
    ("alpha", 1.0, "a number above 0 and below 1"),
    ("twist", float("inf"), "a number"),
    ("records", "", "text"),
    ("precision", "fp16", "one of 'float32', 'bf16'"),
    ("device", "gpu", "'cpu'"),
    ("device", "cpu:1", "the devices here"),
    ("device", 0, "one of 'auto', 'cpu'"),
]


@pytest.mark.parametrize(("name", "value", "must"), WRONG)
def test_a_wrong_value_is_refused_with_name_value_and_choices(name: str, value: object, must: str) -> None:
    with pytest.raises(ParameterError) as caught:
        check({name: value})
    said = str(caught.value)
    assert said.startswith(f"{name} must be ") and must in said and said.endswith(f", got {value!r}")


@pytest.mark.parametrize(
    "good",
    [
        {"recipe": "ours", "epochs": 0, "image_size": 0, "batch_size": 0},
        {"dataset": "mvtec", "category": "bottle"},
        {"dataset": "formulas", "category": "", "classes": "noise waves"},
        {"backbone": "resnet34", "weights": "timm", "image_size": 97},
        {"backbone": "cait_m48_448", "weights": "random", "image_size": 448},
        {"dataset": ".", "category": "whatever"},
        {"folder": ".", "image_size": "256x512"},
    ],
)
def test_what_belongs_together_is_accepted(good: dict[str, Any]) -> None:
    check(good)


@pytest.mark.parametrize(
    ("bad", "must"),
    [
        (
            {"recipe": "ours", "epochs": -1},
            "epochs must be a whole number of at least 1, or 0 for the recipe's, got -1",
        ),
        ({"dataset": "formulas", "category": "weave"}, "'marks' of formulas, got 'weave'"),
        (
            {"backbone": "resnet34", "weights": "bundled"},
            "a file with weights of resnet34 .bundled ones are resnet18's",
        ),
        ({"backbone": "resnet18", "weights": "imagenet"}, ".imagenet ones are tf_efficientnet_lite0's"),
        ({"epoch": 3}, "no rule for the parameter 'epoch'"),
        ({"folder": "nowhere/at/all"}, "folder must be '' or a folder that exists, got 'nowhere/at/all'"),
        (
            {"folder": "", "image_size": 64},
            "image_size must be height x width such as '256x512', each a multiple of 16",
        ),
        ({"folder": "", "image_size": "256x500"}, "each a multiple of 16, got '256x500'"),
        ({"folder": "", "image_size": "256"}, "height x width"),
        ({"folder": "", "image_size": "0x16"}, "height x width"),
    ],
)
def test_what_does_not_belong_together_is_refused(bad: dict[str, Any], must: str) -> None:
    with pytest.raises(ParameterError, match=must):
        check(bad)


def test_setup_checks_before_it_makes_anything(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="epochs must be a whole number of at least 1, got 0"):
        setup(seed=0, out_dir=tmp_path / "new", epochs=0)
    assert not (tmp_path / "new").exists()


def tagged(path: Path, tag: str) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return next(cell.source for cell in cells if tag in cell.metadata.get("tags", []))


def setup_call(path: Path) -> ast.Call:
    """The call of `setup` in a notebook."""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and "setup(" in cell.source:
            calls = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
            return next(call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "setup")
    raise AssertionError(f"{path.name} has no setup cell")


@each
def test_papermill_shows_types_defaults_and_help(path: Path) -> None:
    declared = [node.target.id for node in ast.parse(tagged(path, "parameters")).body]  # all are annotated
    shown = papermill.inspect_notebook(path)
    assert list(shown) == declared
    for name, facts in shown.items():
        assert facts["inferred_type_name"] in ("str", "int", "float", "bool"), name
        value = ast.literal_eval(facts["default"])
        assert type(value).__name__ == facts["inferred_type_name"], f"{name} is not what it says"
        assert len(facts["help"].split()) >= 2, f"{name} has no help"


@each
def test_setup_is_told_every_parameter_by_its_name(path: Path) -> None:
    call = setup_call(path)
    assert not call.args
    told = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    assert told == {name: name for name in papermill.inspect_notebook(path)}


@each
def test_the_defaults_fit_the_rules(path: Path) -> None:
    check({name: ast.literal_eval(facts["default"]) for name, facts in papermill.inspect_notebook(path).items()})


@pytest.mark.slow
def test_the_command_prints_the_help() -> None:
    run = [sys.executable, "-c", PAPERMILL, "--help-notebook", named("07_fastflow")]
    said = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert 'category: str (default "weave")' in said and "passes over the training images" in said


@pytest.mark.slow
def test_a_wrong_parameter_stops_a_run_in_its_set_up_cell(tmp_path: Path) -> None:
    run = [sys.executable, "-c", PAPERMILL, "--no-progress-bar", "-k", "python3", "-p", "category", "wave"]
    done = subprocess.run(
        [*run, named("08_reading_the_anomaly_map"), tmp_path / "out.ipynb"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode != 0
    assert "category must be one of 'weave', 'grid', 'part' of toy, got 'wave'" in done.stderr
