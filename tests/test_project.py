"""Promises about the repository itself."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import rooms

import fastflow_lite
from fastflow_lite.datasets.sources import SOURCES

ROOT = Path(__file__).parent.parent
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
PROJECT = tomllib.loads(PYPROJECT)["project"]


def test_environment_equals_the_extras() -> None:
    """environment.yml: python, pip, one line that installs all extras but `bench` and `docs`."""
    text = (ROOT / "environment.yml").read_text()
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("- ")]
    assert [line.split("  #")[0] for line in lines] == [
        "- conda-forge",
        "- python" + PROJECT["requires-python"],
        "- pip",
        "- pip:",
        f"- -e .[{','.join(extra for extra in PROJECT['optional-dependencies'] if extra not in ('bench', 'docs'))}]",
    ]


def test_every_dependency_has_its_reason() -> None:
    lines = [line for line in (ROOT / "pyproject.toml").read_text().splitlines() if re.match(r'    "[\w.-]+>=', line)]
    assert lines
    assert all(re.search(r"# \w+", line) for line in lines), lines


def test_the_version_is_written_once() -> None:
    assert PROJECT["dynamic"] == ["version"]
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert cited and cited[1] == fastflow_lite.__version__


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    copy = tmp_path / "project"
    shutil.copytree(ROOT / "fastflow_lite", copy / "fastflow_lite", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    code = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=copy, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        described = wheel.read(next(name for name in wheel.namelist() if name.endswith("METADATA"))).decode()
    files = {p.relative_to(copy).as_posix() for p in (copy / "fastflow_lite").rglob("*") if p.is_file()}
    assert names == files, "package-data in pyproject.toml leaves a file out, or more"
    assert f"Version: {fastflow_lite.__version__}\n" in described
    assert all(link.startswith("https://") for link in re.findall(r"\]\(([^)]+)\)", described))


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
        "pyproject.toml", "Makefile", "LICENSE", ".gitignore", ".github", ".pre-commit-config.yaml", "MANIFEST.in",
        "CHANGELOG.md", "CITATION.cff", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md",
    }  # fmt: skip
    assert {p.relative_to(ROOT).parts[0] for p in tracked()} <= expected


@pytest.mark.slow
def test_nothing_large_and_no_image_data_is_tracked() -> None:
    sizes = {p.relative_to(ROOT).as_posix(): p.stat().st_size for p in tracked()}
    assert sizes.pop("fastflow_lite/backbones/resnet18_formulas.safetensors", 0) < 6_000_000  # the bundled weights
    assert not {name: size for name, size in sizes.items() if size > 1_000_000}
    assert [p.name for p in tracked() if p.is_relative_to(ROOT / "data")] == ["README.md"]


PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def test_links_of_the_pages_lead_to_files_and_headings() -> None:
    texts = {page: re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL) for page in PAGES}
    links = [(page, target) for page, text in texts.items() for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    inner = [(page, target.partition("#")) for page, target in links if not target.startswith("http")]
    assert len(inner) > 50
    broken = [f"{page.name}: {file}" for page, (file, _, _) in inner if file and not (page.parent / file).exists()]
    for page, (file, _, heading) in inner:
        place = page.parent / file if file else page
        if heading and place.suffix == ".md" and heading not in headings(place.read_text("utf-8")):
            broken.append(f"{page.name}: {file}#{heading}")
    assert not broken


def headings(text: str) -> set[str]:
    """The names by which headings of a page are linked, as GitHub and mkdocs make them."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_is_read_in_three_minutes() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 150
    assert text.count("<!-- results: begin -->\n\n| set |") == text.count("|\n\n<!-- results: end -->") == 1


def test_the_page_of_the_code_names_every_room_in_the_order_of_imports() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    cells = [row.split("|")[1] for row in text.splitlines() if row.startswith("| `")]
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert named == [room for room in rooms.layers() if rooms.files(room)[0].exists()]


def test_the_core_stays_small() -> None:
    assert rooms.core_lines() <= rooms.CORE_LIMIT
    assert f"at most {rooms.CORE_LIMIT:,} lines" in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_environment_variable_has_a_line_on_the_page_of_the_installation() -> None:
    """A name that is built, as that of the addresses, is written out on the page."""
    named = re.compile(r"FASTFLOW_LITE_[A-Z0-9_]*[A-Z0-9]")
    page = (ROOT / "docs" / "installation.md").read_text("utf-8")
    documented = {name for line in page.splitlines() if line.startswith("| `FASTFLOW") for name in named.findall(line)}
    folders = ("fastflow_lite", "benchmarks", "notebooks", "tests")
    texts = [p.read_text("utf-8") for folder in folders for p in (ROOT / folder).rglob("*.py")]
    used = {name for text in [*texts, (ROOT / "Makefile").read_text()] for name in named.findall(text)}
    addresses = {source.variable for source in SOURCES.values()}
    assert used | addresses == documented


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
    steps = {
        "import fastflow_lite.cli.main": ["torch", "numpy"],
        "import fastflow_lite.batch": ["torch", "pandas"],  # each worker of a batch does so
        "from fastflow_lite import *": heavy,
        "import fastflow_lite.figures": ["matplotlib", "pandas"],
        "import fastflow_lite.course.widgets": ["ipywidgets", "matplotlib.pyplot"],
    }
    code = "import sys\n" + "".join(
        f"{step}\nprint([m for m in {names} if m in sys.modules])\n" for step, names in steps.items()
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["[]"] * len(steps), done.stdout + done.stderr
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
    "notebook_pages",
    "project",
    "realdata",
    "site",
    "training/divergence",
}
# Files whose tests stand elsewhere, since they do nothing alone: file, test.
TESTED_BY = {
    "baselines/history": "baselines/baseline",
    "batch/execute": "batch/batch",
    "batch/run": "batch/batch",
    "batch/view": "batch/batch",
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


@pytest.mark.slow
def test_the_changes_that_contributing_shows_can_be_made() -> None:
    """If one fails, the code around it has changed: make the change anew and take over its `git diff -U1`."""
    tracked()  # skips where there is no git
    blocks = re.findall(r"```diff\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL)
    whole = [block for block in blocks if "\n@@ " in block]
    assert len(whole) == 3
    for block in whole:
        done = subprocess.run(["git", "apply", "--check", "-"], input=block, cwd=ROOT, capture_output=True, text=True)
        assert not done.returncode, done.stderr


def test_make_help_names_every_target_and_clean_leaves_what_people_made() -> None:
    text = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    phony = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    targets = re.findall(r"^([a-z-]+):(.*)$", text, re.MULTILINE)
    assert len(phony) == 1 and sorted(phony[0].split()) == sorted(name for name, _ in targets)
    assert [name for name, rest in targets if "## " not in rest] == ["help"]
    removed = re.search(r"^clean:.*\n\trm -rf (.*)$", text, re.MULTILINE)
    assert removed and not {"runs", "data", "notebooks"} & set(removed[1].split())


def test_templates_and_workflow_call_what_is_there() -> None:
    fault = (ROOT / ".github" / "ISSUE_TEMPLATE" / "fault.yml").read_text("utf-8")
    assert "fastflow-lite doctor" in fault
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    called = re.findall(r"run: (\.ci/\w+)", workflow)
    assert called == [".ci/run", ".ci/oldest"] and all((ROOT / script).exists() for script in called)


def test_every_notebook_is_in_the_tables() -> None:
    names = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    for page, folder in (("README.md", "notebooks/"), ("notebooks/README.md", "")):
        text = (ROOT / page).read_text("utf-8")
        assert not {name for name in names if not re.search(rf"^\| \[\w+\]\({folder}{name}\) \|", text, re.MULTILINE)}
