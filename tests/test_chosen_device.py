"""`pytest --device --dtype`: the options reach the tests, and the tests of a GPU need few packages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.long]
TESTS = Path(__file__).parent

PROBE = """
import pytest

def test_probe(device, dtype):
    print("computed on", device, "in", dtype)

@pytest.mark.cpu_only
def test_of_the_processor():
    print("on the processor")
"""
# A machine with four CUDA devices and MPS. What is imported is imported once, for a copy of the process each call.
CALLS = """
import contextlib, json, os, sys
import pytest, torch
from fastflow_lite import machine
machine.count_devices = lambda: {"cpu": 1, "cuda": 4, "xpu": 0, "mps": 1}
for name, options in json.loads(sys.argv[1]).items():
    if os.fork():
        os.wait()
        continue
    with open(name, "w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        pytest.main(["-q", "-s", "-rs", "-p", "conftest", *options, "test_probe.py"])
    os._exit(0)
"""
OPTIONS = {
    "none": [],
    "cuda": ["--device", "cuda:1", "--dtype", "float32"],
    "xpu": ["--device", "xpu"],
    "mps": ["--device", "mps"],
}
# Neither these nor what they need is on a rented machine with a GPU.
HIDDEN = (
    "anomalib dask distributed hypothesis importlinter ipykernel IPython ipywidgets jinja2 matplotlib mypy nbformat "
    "nbval onnx onnxruntime onnxscript pandas papermill playwright pooch psutil tabulate xdist"
)
HIDE = f"""
import sys
from importlib.machinery import PathFinder

class Visible(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {HIDDEN.split()} else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Visible
"""


def run(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python in `folder`, which it searches for modules first, then tests/ and the project."""
    path = os.pathsep.join(map(str, (folder, TESTS, TESTS.parent)))
    environment = os.environ | {"PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=folder)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What two small tests printed under each of OPTIONS."""
    folder = tmp_path_factory.mktemp("probe")
    (folder / "test_probe.py").write_text(PROBE)
    done = run(folder, "-c", CALLS, json.dumps(OPTIONS))
    assert done.returncode == 0, done.stderr
    return {name: (folder / name).read_text() for name in OPTIONS}


def test_without_options_tests_compute_on_the_processor_in_float64(printed: dict[str, str]) -> None:
    assert "computed on cpu in torch.float64" in printed["none"] and "on the processor" in printed["none"]


def test_the_options_reach_the_tests(printed: dict[str, str]) -> None:
    said = printed["cuda"]
    assert "computed on cuda:1 in torch.float32" in said and "on the processor" not in said
    assert "tests what only the processor does" in said and "1 passed, 1 skipped" in said


@pytest.mark.parametrize(
    ("device", "message"),
    [("xpu", "--device: device 'xpu' is not there"), ("mps", "--device mps has no float64: add --dtype float32")],
)
def test_a_device_that_cannot_be_used_is_refused(device: str, message: str, printed: dict[str, str]) -> None:
    assert message in printed[device] and "computed on" not in printed[device]


def test_the_tests_of_a_gpu_need_few_packages(tmp_path: Path) -> None:
    """A rented machine has torch, torchvision, timm, numpy, scipy, scikit-learn, pillow, safetensors, tqdm, pytest.

    All are collected; of two that are run, one needs a package that is not there.
    """
    (tmp_path / "loaded_first.py").write_text(HIDE)
    places = [TESTS / name for name in ("flows", "scoring", "training", "test_model.py")]
    two = "test_model and (wrong_shape or untrained)"
    done = run(
        tmp_path, "-m", "pytest", "-q", "-rs", "-p", "loaded_first", "-c", TESTS.parent / "pyproject.toml",
        "-m", "not slow and not cpu_only", "-k", two, *places,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 skipped" in done.stdout and "hypothesis is not installed" in done.stdout, done.stdout
