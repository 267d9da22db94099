"""Promises about the repository itself."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import rooms

import fastflow_lite

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_environment_equals_the_extras() -> None:
    """environment.yml: python, pip, one line that installs all extras but `bench`."""
    text = (ROOT / "environment.yml").read_text()
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("- ")]
    assert [line.split("  #")[0] for line in lines] == [
        "- conda-forge",
        "- python" + PROJECT["requires-python"],
        "- pip",
        "- pip:",
        f"- -e .[{','.join(extra for extra in PROJECT['optional-dependencies'] if extra != 'bench')}]",
    ]


def test_every_dependency_has_its_reason() -> None:
    lines = [line for line in (ROOT / "pyproject.toml").read_text().splitlines() if re.match(r'    "[\w.-]+>=', line)]
    assert lines
    assert all(re.search(r"# \w+", line) for line in lines), lines


def test_nothing_is_pinned_from_above() -> None:
    every = PROJECT["dependencies"] + [r for extra in PROJECT["optional-dependencies"].values() for r in extra]
    assert not [requirement for requirement in every if re.search(r"==|<|~=", requirement)]


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


@pytest.mark.slow
def test_files_are_small_enough_to_read() -> None:
    long = {p.name: n for p in tracked() if p.suffix == ".py" and (n := len(p.read_text().splitlines())) > 330}
    assert not long


@pytest.mark.slow
def test_top_level_is_what_it_should_be() -> None:
    expected = {
        "notebooks", "fastflow_lite", "data", "docs", "tests", "benchmarks", ".ci", "environment.yml", "README.md",
        "pyproject.toml", "Makefile", "LICENSE", ".gitignore",
    }  # fmt: skip
    assert {p.relative_to(ROOT).parts[0] for p in tracked()} <= expected


@pytest.mark.slow
def test_nothing_large_and_no_image_data_is_tracked() -> None:
    sizes = {p.relative_to(ROOT).as_posix(): p.stat().st_size for p in tracked()}
    assert sizes.pop("fastflow_lite/backbones/resnet18_formulas.safetensors", 0) < 6_000_000  # the bundled weights
    assert not {name: size for name, size in sizes.items() if size > 1_000_000}
    assert [p.name for p in tracked() if p.is_relative_to(ROOT / "data")] == ["README.md"]


def test_figures_in_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text()
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if not t.startswith("http")]
    assert targets
    assert all((ROOT / target).exists() for target in targets), targets


def test_the_readme_names_every_room_in_the_order_of_imports() -> None:
    table = (ROOT / "README.md").read_text().split("## The house")[1].split("\n## ")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert named == [room for room in rooms.layers() if rooms.files(room)[0].exists()]


def test_the_core_stays_small() -> None:
    assert rooms.core_lines() <= rooms.CORE_LIMIT
    assert f"at most {rooms.CORE_LIMIT:,} lines" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_few_files_lie_at_the_root_of_the_package() -> None:
    assert len(list((ROOT / "fastflow_lite").glob("*.py"))) <= 8


WAYS = (
    r"\bimport pickle|allow_pickle|joblib|shelve|marshal|yaml\.|(?<![.\w])(?:eval|exec)\(|os\.system|shell=True|"
    r"__import__|torch\.load\((?![^\n]*weights_only=True)"
)


def test_nothing_in_the_package_could_run_what_it_reads() -> None:
    """torchvision unpickles CIFAR-10, but compares the checksums of its files first."""
    assert re.search(WAYS, "x = torch.load(path)")
    assert not re.search(WAYS, "x = torch.load(path, weights_only=True)")
    files = list((ROOT / "fastflow_lite").rglob("*.py"))
    assert len(files) > 50
    found = {p.name for p in files if re.search(WAYS, p.read_text("utf-8"))}
    assert not found


@pytest.mark.slow
def test_importing_the_package_is_light() -> None:
    heavy = ["matplotlib", "ipywidgets", "dask", "timm", "pandas", "sklearn"]
    code = f"import sys\nfrom fastflow_lite import *\nprint([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.slow
def test_the_command_line_starts_before_torch_is_loaded() -> None:
    code = "import sys, fastflow_lite.cli.main; print('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
    assert set(dir(fastflow_lite)) >= set(fastflow_lite.__all__)


# Tests that are not those of one file: of laws, of notebooks, of scripts, of whole runs.
OTHER_TESTS = {
    "batch/batch",
    "chosen_device",
    "detection/many_images",
    "batch/faults",
    "batch/many_runs",
    "flows/laws",
    "model_files",
    "project",
    "realdata",
    "training/divergence",
}
# Files whose tests stand elsewhere, since they do nothing alone: file, test.
TESTED_BY = {
    "baselines/history": "baselines/baseline",
    "batch/execute": "batch/batch",
    "batch/run": "batch/batch",
    "batch/view": "batch/batch",
    "cli/batch": "batch/batch",
    "cli/fetch": "datasets/download",
    "cli/__main__": "cli/main",
    "cli/train_options": "cli/train",
    "detection/outputs": "cli/predict",
    "flows/sampling": "course/plane",
    "synthetic/drawing": "synthetic/toy",
    "synthetic/formula_classes": "datasets/opening",
    "synthetic/layers": "synthetic/scenes",
    "synthetic/toy_scenes": "synthetic/toy",
}


def test_tests_mirror_the_package() -> None:
    package, tests = ROOT / "fastflow_lite", ROOT / "tests"
    files = {p.relative_to(package).with_suffix("").as_posix() for p in package.rglob("*.py") if p.stem != "__init__"}
    found = {(p.parent.relative_to(tests) / p.stem[5:]).as_posix() for p in tests.rglob("test_*.py")}
    mirrored = {name for name in found if name.split("/")[0] not in ("benchmarks", "browser", "notebooks")}
    assert mirrored - files == OTHER_TESTS
    assert files - found == set(TESTED_BY)
    assert set(TESTED_BY.values()) <= found
