"""What several tests share: the device they run on, small models and sets, and the real data where there are some."""

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import parts, started, striped_category, tiny_detector

from fastflow_lite import FastFlow, Result, evaluate
from fastflow_lite.backbones.random_weights import settle_batch_norm
from fastflow_lite.batch.quick_import import GRAMMAR
from fastflow_lite.datasets import ImageSet, open_dataset
from fastflow_lite.errors import ArgumentError
from fastflow_lite.machine import DEVICES, choose_device
from fastflow_lite.synthetic.layers import MaterialPictures
from fastflow_lite.synthetic.materials import Material

# Folders and modules whose tests start processes or take seconds each; single tests carry the mark themselves.
SLOW = (
    "batch/test_batch.py",
    "batch/test_runner.py",
    "batch/test_faults.py",
    "batch/test_many_runs.py",
    "benchmarks/test_complexity.py",
    "benchmarks/test_gpu.py",
    "benchmarks/test_pretrain.py",
    "benchmarks/test_pretrain_products.py",
    "browser",
    "detection/test_export.py",
    "notebooks",
    "test_processes.py",
    "test_progress.py",
    "test_realdata.py",
)


sys.modules.setdefault(GRAMMAR, None)  # type: ignore[arg-type]  # jsonschema can do without its two seconds
gc.disable()  # until all tests are collected: a fifth of that time went into searches for cycles


def pytest_collection_finish() -> None:
    """Search for cycles again, but not in the libraries and the tests themselves."""
    gc.enable()
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that choose where and in which number format the tests of flows and models compute."""
    parser.addoption("--device", default="cpu", help=f"where tests compute: {', '.join(DEVICES)} (default cpu)")
    parser.addoption(
        "--dtype", default="float64", choices=("float32", "float64"), help="of the laws of flows (default float64)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, and let a GPU compute as exactly and repeatably as the tests expect."""
    try:
        device = choose_device(config.getoption("--device"))
    except ArgumentError as error:
        raise pytest.UsageError(f"--device: {error}") from error
    if device.type == "mps" and config.getoption("--dtype") == "float64":
        raise pytest.UsageError("--device mps has no float64: add --dtype float32")
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # it rounds the float32 products of convolutions to 10 bits
        torch.backends.cudnn.deterministic = True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of `SLOW` as slow; skip those marked `cpu_only` on another device."""
    places = [Path(__file__).parent / name for name in SLOW]
    elsewhere = choose_device(config.getoption("--device")).type != "cpu"
    for item in items:
        if any(item.path.is_relative_to(place) for place in places):
            item.add_marker("slow")
        if elsewhere and item.get_closest_marker("cpu_only"):
            item.add_marker(pytest.mark.skip(reason="tests what only the processor does"))


@pytest.fixture(scope="session")
def device(pytestconfig: pytest.Config) -> torch.device:
    """Where tests of flows and models compute: `pytest --device`."""
    return choose_device(pytestconfig.getoption("--device"))


@pytest.fixture(scope="session")
def dtype(pytestconfig: pytest.Config) -> torch.dtype:
    """The number format in which the laws of flows are tested: `pytest --dtype`."""
    return getattr(torch, pytestconfig.getoption("--dtype"))


@pytest.fixture(autouse=True)
def doctest_seed() -> None:
    """Every test and every docstring example starts from the same random state."""
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True)
def no_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only tests marked `slow` may start a process; `make test-fast` leaves those out."""
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr("subprocess.Popen.__init__", _refuse_process)


def _refuse_process(*_: object, **__: object) -> None:
    pytest.fail("this test starts a process: mark it slow")


@pytest.fixture(scope="session")
def real_data() -> Path:
    return Path(_setting("FASTFLOW_LITE_DATA"))


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """A local file of ImageNet ResNet-18 weights: the variable names it, or the folder it is in."""
    place = Path(_setting("FASTFLOW_LITE_WEIGHTS"))
    return place if place.is_file() else next(place.glob("resnet18*.safetensors"))


@pytest.fixture
def few_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the recipe "ours" fill small sets up to 16 images, not 640: that number is tested elsewhere."""
    monkeypatch.setattr("fastflow_lite.training.recipes.VIEWS", 16)


@pytest.fixture(scope="module")
def few_noise_images() -> Iterator[None]:
    """Let the normalizations of random networks see 8 noise images, not 32: what they become is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settle_batch_norm.__wrapped__, "__defaults__", (8, 128))  # type: ignore[attr-defined]
        yield


@pytest.fixture
def small_model(device: torch.device) -> FastFlow:
    """A small model that has seen one batch, so that it can be scored."""
    return started(FastFlow("resnet18", weights="bundled", steps=2, hidden=16).to(device))


@pytest.fixture(scope="session")
def detector_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small detector: pictures of `tiny.parts` with a spot are alarms."""
    return tiny_detector(tmp_path_factory.mktemp("detector"))


@pytest.fixture
def new_parts(tmp_path: Path) -> Path:
    """A folder of images that a run is to judge: `a.png` and `sub/b.jpg` are good, `sub/spot.png` is not."""
    folder = tmp_path / "new"
    (folder / "sub").mkdir(parents=True)
    for name, spot in (("a.png", False), ("sub/b.jpg", False), ("sub/spot.png", True)):
        Image.fromarray(parts(1, seed=3, spot=spot, size=(48, 80))[0]).save(folder / name)
    return folder


@pytest.fixture
def category(tmp_path: Path) -> Path:
    return striped_category(tmp_path / "set" / "stripes")


@pytest.fixture
def images(category: Path) -> ImageSet:
    """The test images of `category`: three good ones, then three squares."""
    return open_dataset(category.parent, category.name, image_size=(64, 48)).test


@pytest.fixture
def result(category: Path, small_model: FastFlow) -> Result:
    """The result of a model that has seen one batch."""
    data = open_dataset(category.parent, category.name, image_size=(64, 48))
    return evaluate(small_model, data.test, normal=data.train)


@pytest.fixture
def without_masks(category: Path, small_model: FastFlow) -> Result:
    """A result of good images only, without masks: no metric is defined."""
    shutil.rmtree(category / "ground_truth")
    data = open_dataset(category.parent, category.name, image_size=(64, 48))
    return evaluate(small_model, data.test.subset([0, 1, 2]))


@pytest.fixture(autouse=True)
def no_figure_stays_open() -> Iterator[None]:
    """Close the figures of a test."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def tiles() -> MaterialPictures:
    """Two pictures of each of eight materials, 64 pixels a side."""
    rng = np.random.default_rng(0)
    return (255 * np.stack([[Material(k).render(rng, 64) for _ in range(2)] for k in range(8)])).astype(np.uint8)


def _setting(name: str) -> str:
    if not os.environ.get(name):
        pytest.skip(f"{name} is not set: no real data on this machine")
    return os.environ[name]
