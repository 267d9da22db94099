"""`pytest --device --dtype`: the options reach the tests, and the tests of a GPU need few packages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
TESTS = Path(__file__).parent

PROBE = """
import pytest

def test_probe(device, dtype):
    print("computed on", device, "in", dtype)

@pytest.mark.cpu_only
def test_of_the_processor():
    print("on the processor")
"""
GPUS = """
from fastflow_lite import machine
machine.count_devices = lambda: {"cpu": 1, "cuda": 4, "xpu": 0, "mps": 1}
"""
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


def run(folder: Path, plugin: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run pytest in a process that imports the module with the text `plugin` first."""
    (folder / "loaded_first.py").write_text(plugin)
    path = os.pathsep.join(map(str, (folder, TESTS, TESTS.parent)))
    environment = os.environ | {"PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-rs", "-p", "loaded_first", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=TESTS.parent)


def probe(folder: Path, *options: str) -> str:
    """Run two small tests with the options on a machine with four CUDA devices and MPS; return what was printed."""
    (folder / "test_probe.py").write_text(PROBE)
    done = run(folder, GPUS, "-p", "conftest", *options, folder / "test_probe.py")
    return done.stdout + done.stderr


def test_without_options_tests_compute_on_the_processor_in_float64(tmp_path: Path) -> None:
    printed = probe(tmp_path)
    assert "computed on cpu in torch.float64" in printed and "on the processor" in printed


def test_the_options_reach_the_tests(tmp_path: Path) -> None:
    printed = probe(tmp_path, "--device", "cuda:1", "--dtype", "float32")
    assert "computed on cuda:1 in torch.float32" in printed and "on the processor" not in printed
    assert "tests what only the processor does" in printed and "1 passed, 1 skipped" in printed


@pytest.mark.parametrize(
    ("device", "message"),
    [("xpu", "--device: device 'xpu' is not there"), ("mps", "--device mps has no float64: add --dtype float32")],
)
def test_a_device_that_cannot_be_used_is_refused(device: str, message: str, tmp_path: Path) -> None:
    printed = probe(tmp_path, "--device", device)
    assert message in printed and "computed on" not in printed


def test_the_tests_of_a_gpu_need_few_packages(tmp_path: Path) -> None:
    """A rented machine has torch, torchvision, timm, numpy, scipy, scikit-learn, pillow, safetensors, tqdm, pytest."""
    places = [TESTS / name for name in ("flows", "scoring", "training", "test_model.py")]
    done = run(tmp_path, HIDE, "--collect-only", "-m", "not slow and not cpu_only", *places)
    assert done.returncode == 0, done.stdout
    few = run(tmp_path, HIDE, TESTS / "test_model.py", "-k", "wrong_shape or untrained")
    assert "1 passed, 1 skipped" in few.stdout and "hypothesis is not installed" in few.stdout, few.stdout
