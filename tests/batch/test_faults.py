"""Killed at any moment, on a full disk, beside another process, with a damaged file: nothing is lost, nothing is wrong.

Every kind of work is killed with SIGKILL at FASTFLOW_LITE_FAULTS moments (2; `make test-faults`: 20), drawn evenly
over the time that it takes undisturbed. Then it is called again, and must end with what an undisturbed run left.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import fault_work as work
import nbformat
import numpy as np
import psutil
import pytest
import torch
from properties import given, settings, st

from fastflow_lite import evaluate, fit
from fastflow_lite.batch.table import table
from fastflow_lite.datasets import open_dataset
from fastflow_lite.errors import CheckpointError, DataError
from fastflow_lite.files import read_tensors, write_tensors
from fastflow_lite.synthetic import toy
from fastflow_lite.training.checkpoint import Checkpoint
from fastflow_lite.training.feature_cache import cache_features

MOMENTS = int(os.environ.get("FASTFLOW_LITE_FAULTS", "2"))
DRAWS = np.random.default_rng(2111_07677).uniform(0, 1, (4, 200))  # a row for each kind of work

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kills, forks and mounts as Linux does")


# ---- kill -9 -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., BaseProcess]]:
    """Start a function of `fault_work` in a process that need not import torch first."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fault_work"])
    begun: list[BaseProcess] = []

    def start(target: Callable[..., None], *args: Any) -> BaseProcess:
        begun.append(context.Process(target=target, args=args))
        begun[-1].start()
        return begun[-1]

    with pytest.MonkeyPatch.context() as patch:  # Python 3.11's server does not take over sys.path
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("OMP_NUM_THREADS", "1")  # threads do not survive a fork
        ensure_running()
    yield start
    for process in begun:
        process.kill()
        process.join()


def finish(process: BaseProcess) -> None:
    process.join(120)
    assert process.exitcode == 0


def disturb(start: Callable[..., BaseProcess], task: Callable[..., None], draws: np.ndarray, *args: Any) -> int:
    """Kill `task` at each drawn share of its undisturbed time, each time after the call before ended; how many hit.

    `args` without the last are its arguments; the last is the folder below which each moment gets its own.
    """
    *given, root = args
    seconds = []
    for name in ("warm", "undisturbed"):
        (root / name).mkdir()
        began = time.monotonic()
        finish(start(task, *given, root / name))
        seconds.append(time.monotonic() - began)
    hits = 0
    for k, share in enumerate(draws[:MOMENTS]):
        place = root / f"killed{k}"
        place.mkdir()
        process = start(task, *given, place)
        process.join(float(share) * seconds[-1])
        process.kill()
        process.join()
        hits += process.exitcode == -signal.SIGKILL
        finish(start(task, *given, place))
    print(f"\n{task.__name__}: {MOMENTS} kills within {seconds[-1]:.2f} s, {hits} before the end")
    return hits


def same_files(root: Path, *names: str) -> None:
    for place in sorted(root.glob("killed*")):
        for name in names:
            assert (place / name).read_bytes() == (root / "undisturbed" / name).read_bytes(), (place, name)


@pytest.mark.long
def test_training_goes_on_to_the_same_weights(
    start: Callable[..., BaseProcess], category: Path, tmp_path: Path
) -> None:
    assert disturb(start, work.train, DRAWS[0], category, tmp_path) >= MOMENTS // 2
    same_files(tmp_path, "history.json")
    expected = read_tensors(tmp_path / "undisturbed" / "model.safetensors")[0]
    for place in tmp_path.glob("killed*"):
        found = read_tensors(place / "model.safetensors")[0]
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_feature_cache_leaves_nothing_behind(
    start: Callable[..., BaseProcess], category: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(Path(tempfile.gettempdir()).iterdir())
    assert disturb(start, work.cache, DRAWS[1], category, tmp_path) >= MOMENTS // 2
    same_files(tmp_path, "features.sha256")
    left = set(Path(tempfile.gettempdir()).glob(f"{tempfile.gettempprefix()}*")) - before  # others write there too
    assert not [p for p in left if p.is_file() and p.stat().st_size > 100_000]


def test_a_checkpoint_is_whole_at_every_moment(start: Callable[..., BaseProcess], tmp_path: Path) -> None:
    assert disturb(start, work.save, DRAWS[2], tmp_path) >= MOMENTS // 2
    same_files(tmp_path, "count.ckpt")
    values = Checkpoint(tmp_path / "killed0" / "count.ckpt", {"run": 1}).load()["values"]
    assert values.tolist() == [work.SAVES] * len(values)


CELLS = [
    "import hashlib, json, time\nfrom pathlib import Path\nfrom fastflow_lite.files import write_atomically",
    "state = Path(out_dir, 'state.json')",
    "step, value = json.loads(state.read_text()) if state.exists() else (0, str(seed))",
    """while step < 8:
    step, value = step + 1, hashlib.sha256(value.encode()).hexdigest()
    write_atomically(state, lambda place: place.write_text(json.dumps([step, value])))
    time.sleep(0.05)""",
    "Path(out_dir, 'result.json').write_text(json.dumps({'metrics': {'image_auroc': int(value[:8], 16) / 16**8}}))",
]


@pytest.mark.long
def test_a_batch_goes_on_whoever_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client, a worker or a kernel: a random process of the batch, at a random moment."""
    monkeypatch.chdir(tmp_path)
    parameters = nbformat.v4.new_code_cell('seed: int = 0\nout_dir: str = "."', metadata={"tags": ["parameters"]})
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=[parameters, *cells]), "chain.ipynb")
    command = [
        sys.executable,
        "-m",
        "fastflow_lite.cli.main",
        "batch",
        "chain.ipynb",
        "--set",
        "seed=4",
        "--workers",
        "1",
    ]

    def begin(out: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*command, "--out", out], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)

    began = time.monotonic()
    assert begin("undisturbed").wait(300) == 0
    seconds, expected = time.monotonic() - began, table("undisturbed")["image_auroc"].tolist()
    rng, victims = np.random.default_rng(7), []
    for k, share in enumerate(DRAWS[3, :MOMENTS]):
        client = begin(f"killed{k}")
        time.sleep(float(share) * seconds)
        family = family_of(client.pid)
        victim = family[int(rng.integers(len(family)))]
        victims.append("client" if victim.pid == client.pid else "child")
        with suppress(psutil.NoSuchProcess):
            victim.kill()
        client.wait(300)
        assert begin(f"killed{k}").wait(300) == 0
        assert table(f"killed{k}")["image_auroc"].tolist() == expected
    print(f"\nbatch: {MOMENTS} kills within {seconds:.1f} s, {victims.count('client')} of the client itself")


def family_of(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *(parent.children(recursive=True) if parent.is_running() else [])]


# ---- a full disk ---------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk_keeps_the_old_files_and_says_so(small_disk: Path, category: Path) -> None:
    keeper = Checkpoint(small_disk / "run.ckpt", {})
    keeper.save({"values": torch.ones(50_000)})
    write_tensors(small_disk / "model.safetensors", {"w": torch.ones(50_000)}, {})
    data = open_dataset(category, image_size=(64, 48))
    model = work.identity()
    fit(model, data.train, epochs=1, progress=False)
    result = evaluate(model, data.test.subset([0]))
    result.to_json(small_disk / "result.json")
    filler = small_disk / "filler"
    filler.write_bytes(bytes(400_000))
    with pytest.raises(OSError, match=r"No space left on device\).*before stays.*run\.ckpt"):
        keeper.save({"values": torch.zeros(200_000)})
    with pytest.raises(OSError, match=r"No space left on device.*before stays.*model\.safetensors"):
        write_tensors(small_disk / "model.safetensors", {"w": torch.zeros(200_000)}, {})
    record = result.record | {"padding": "x" * 800_000}
    result.record = record
    with pytest.raises(OSError, match=r"No space left on device.*before stays.*result\.json"):
        result.to_json(small_disk / "result.json")
    assert keeper.load()["values"].sum() == 50_000
    assert read_tensors(small_disk / "model.safetensors")[0]["w"].sum() == 50_000
    assert "padding" not in (small_disk / "result.json").read_text()
    assert {p.name for p in small_disk.iterdir()} == {"run.ckpt", "model.safetensors", "result.json", "filler"}


def test_a_training_that_met_a_full_disk_goes_on_when_there_is_room(small_disk: Path, category: Path) -> None:
    train = open_dataset(category, image_size=(64, 48)).train
    whole, again = work.identity(), work.identity()
    fit(whole, train, epochs=2, progress=False)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(1024 * (4 * os.statvfs(small_disk).f_bavail - 4)))  # blocks of 4 KB, one left
    with pytest.raises(OSError, match=r"No space left on device.*run\.ckpt"):
        fit(again, train, epochs=2, progress=False, checkpoint=small_disk / "run.ckpt")
    filler.unlink()
    again = work.identity()
    fit(again, train, epochs=2, progress=False, checkpoint=small_disk / "run.ckpt")
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))


def test_features_and_pictures_that_do_not_fit_are_an_error_not_a_crash(
    small_disk: Path, category: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError, match="No space left on device"):
        toy.generate(small_disk, categories=("weave",), train=60)
    assert not any(small_disk.iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    train = open_dataset(category, image_size=(64, 48)).train
    with pytest.raises(OSError, match="GiB of features: No space left on device; set another TMPDIR"):
        cache_features(work.small(), train.subset([0] * 60), 8, budget=0)


# ---- two at once, and damage ---------------------------------------------------------------------


def test_two_processes_draw_one_toy_set(start: Callable[..., BaseProcess], tmp_path: Path) -> None:
    for k in range(MOMENTS):
        both = [start(work.draw, tmp_path / str(k)) for _ in range(2)]
        for process in both:
            finish(process)
        work.draw(tmp_path / str(k))  # compares the checksum
        assert [p.name for p in (tmp_path / str(k)).iterdir()] == ["weave"]


def test_two_processes_that_save_one_file_never_mix(start: Callable[..., BaseProcess], tmp_path: Path) -> None:
    both, keeper = (
        [start(work.save_forever, tmp_path, k) for k in (1, 2)],
        Checkpoint(tmp_path / "shared.ckpt", {"run": 1}),
    )
    ends, seen = time.monotonic() + 30, set()
    while len(seen) < 2 and time.monotonic() < ends:
        if keeper.exists():
            values = keeper.load()["values"]
            assert values.min() == values.max()
            seen.add(float(values[0]))
    for process in both:
        process.kill()
        process.join()
    assert seen == {1.0, 2.0}


@pytest.mark.hostile
def test_a_damaged_toy_set_is_refused_by_name(tmp_path: Path) -> None:
    work.draw(tmp_path)
    first, second = sorted((tmp_path / "weave/train/good").iterdir())[:2]
    first.write_bytes(second.read_bytes())  # a picture, but not the one that was drawn
    with pytest.raises(DataError, match=r"weave is damaged.*Delete it to have it made anew"):
        work.draw(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint and a model."""
    folder = tmp_path_factory.mktemp("whole")
    Checkpoint(folder / "run.ckpt", {}).save({"values": torch.arange(40.0)})
    work.identity().save(folder / "model.safetensors")
    return folder


@pytest.mark.hostile
@settings(max_examples=60)
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 8), st.sampled_from(["run.ckpt", "model.safetensors"]))
def test_one_flipped_bit_or_a_lost_end_is_found(tmp_path: Path, whole: Path, share: float, bit: int, name: str) -> None:
    content = bytearray((whole / name).read_bytes())
    place = int(share * len(content))
    if bit < 8:
        content[place] ^= 1 << bit
    else:
        del content[place:]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        Checkpoint(tmp_path / name, {}).load() if name == "run.ckpt" else read_tensors(tmp_path / name)


@pytest.mark.hostile
def test_a_checksum_whose_name_is_damaged_is_missed(tmp_path: Path, whole: Path) -> None:
    content = (whole / "model.safetensors").read_bytes()
    assert content.count(b'"sha256"') == 1
    (tmp_path / "m.safetensors").write_bytes(content.replace(b'"sha256"', b'"rha256"'))
    with pytest.raises(CheckpointError, match=r"m\.safetensors has no checksum"):
        read_tensors(tmp_path / "m.safetensors")
