"""Two real processes that train one model: the gradients and weights of one process, one voice, one end.

This file is also what torchrun starts, once: `test_processes.py FOLDER` trains all that is compared, runs the command,
and fails. In what is compared, flows compute in float64, and the backbone sees one image at a time, so that all that
may differ is the order of sums.
"""

import contextlib
import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from tiny import striped_category
from torch import Tensor

from fastflow_lite import FastFlow, fit
from fastflow_lite.cli.main import main
from fastflow_lite.datasets import ImageSet, open_dataset
from fastflow_lite.datasets.augmentation import Augmentation
from fastflow_lite.errors import ArgumentError, DataError, FastFlowError
from fastflow_lite.processes import SINGLE_PROCESS, ProcessGroup, join, local_device
from fastflow_lite.progress import Progress
from fastflow_lite.training import History, trainable_state
from fastflow_lite.training.epoch_loss import EpochLoss
from fastflow_lite.training.loop import TrainingLoop

ROOT = Path(__file__).parents[1]
IMAGES = 5  # with batches of 4: one of two and two, one of none and one; so with the views up to 9
CLIP = 0.02  # below the first gradient's norm
KINDS: dict[str, dict[str, Any]] = {"cached": {"views": 9}, "augmented": {"augment": Augmentation()}}
forward, flow = FastFlow.features, FastFlow.flow


class Stop(Exception):
    """An interruption after an epoch."""


@contextlib.contextmanager
def exactly() -> Iterator[None]:
    """Float64 in the flows, features that do not depend on who is in the batch, one thread as under torchrun."""

    def one_by_one(model: FastFlow, images: Tensor, **options: Any) -> list[Tensor]:
        return [torch.cat(maps) for maps in zip(*(forward(model, x[None], **options) for x in images), strict=True)]

    def in_double(model: FastFlow, features: list[Tensor], **options: Any) -> list[tuple[Tensor, Tensor]]:
        return flow(model, [x.double() for x in features], **options)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with mock.patch.object(FastFlow, "features", one_by_one), mock.patch.object(FastFlow, "flow", in_double):
        yield
    torch.set_num_threads(threads)


def images() -> ImageSet:
    return open_dataset("toy", "weave", image_size=64).train.subset(range(IMAGES))


def model(seed: int = 0) -> FastFlow:
    made = FastFlow("resnet18", weights="bundled", steps=2, hidden=16, seed=seed)
    made.flows.double()
    return made


def train(trained: FastFlow, kind: str, group: ProcessGroup = SINGLE_PROCESS, **kwargs: Any) -> History:
    settings = KINDS[kind] | {"epochs": 2, "batch_size": 4, "clip": CLIP, "lr": 1e-2, "progress": False}
    return fit(trained, images(), group=group, **settings | kwargs)


def first_gradients(kind: str, group: ProcessGroup = SINGLE_PROCESS) -> list[Tensor]:
    """What the optimizer gets in the first step, after clipping."""
    trained = model()

    def stop(*_: object) -> None:
        raise Stop

    with mock.patch("torch.optim.Adam.step", stop), contextlib.suppress(Stop):
        train(trained, kind, group)
    return [p.grad for p in trained.parameters() if p.requires_grad]


def interrupted(kind: str, file: Path, group: ProcessGroup = SINGLE_PROCESS) -> None:
    def stop(*_: object) -> None:
        raise Stop

    with mock.patch.object(Progress, "end_epoch", stop), contextlib.suppress(Stop):
        train(model(), kind, group, checkpoint=file)


# ---- what each process does under torchrun ---------------------------------------------------------


def agree(folder: Path, group: ProcessGroup) -> None:
    """Gradients, weights and a resumed run of both kinds of features, written down by each rank."""
    for kind in KINDS:
        found: dict[str, Any] = {"gradients": first_gradients(kind, group)}
        trained = model(seed=group.rank)  # a rank that was made with other weights takes those of rank 0
        found["history"] = train(trained, kind, group).bits_per_dim
        found["weights"] = trainable_state(trained)
        file = folder / f"{kind}{group.rank}.ckpt"  # only rank 0 may write and read it
        interrupted(kind, file, group)
        if group.is_first:
            shutil.copy(file, folder / f"{kind}.half")
        resumed = model()
        found["resumed_epochs"] = train(resumed, kind, group, checkpoint=file).epochs
        found["resumed"] = trainable_state(resumed)
        torch.save(found, folder / f"{kind}{group.rank}.pt")


def run_command(folder: Path, group: ProcessGroup) -> None:
    """Do what `torchrun -m fastflow_lite.cli.train` does, but in `group`: a process can connect only once."""
    line = ["train.py", *command(folder / "set" / "stripes", folder / "run"), "--recipe", "v0.1"]
    joined = mock.patch("fastflow_lite.processes.join", return_value=contextlib.nullcontext(group))
    with joined, mock.patch.object(sys, "argv", line), contextlib.suppress(SystemExit):
        runpy.run_module("fastflow_lite.cli.train", run_name="__main__")


def fail(group: ProcessGroup) -> None:
    """Rank 1 finds an image unreadable in its second step; rank 0 waits for its gradients."""
    step, steps = TrainingLoop.step, []

    def then_fail(run: TrainingLoop, batch: list[int], losses: EpochLoss) -> None:
        steps.append(batch)
        if group.rank == 1 and len(steps) == 2:
            raise DataError("no_image.png cannot be decoded")
        step(run, batch, losses)

    with mock.patch.object(TrainingLoop, "step", then_fail):
        train(model(), "cached", group)


# ---- the tests ---------------------------------------------------------------------------------------


def torchrun(*command: str) -> subprocess.CompletedProcess[str]:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *command]
    plain = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        launch, cwd=ROOT, env=plain, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            said = running.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            running.terminate()  # unlike a kill, torchrun answers that by ending the processes it started
            raise
    return subprocess.CompletedProcess(launch, running.returncode, *said)


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("ranks")
    images()  # drawn once, not by both
    striped_category(folder / "set" / "stripes")
    return folder, torchrun(__file__, str(folder))


@pytest.fixture(scope="module")
def folder(launched: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    assert (launched[0] / "agreed1").exists(), launched[1].stderr
    return launched[0]


def of_ranks(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [torch.load(folder / f"{kind}{rank}.pt") for rank in range(2)]


def close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found.double(), expected.double(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_one_process(folder: Path, kind: str) -> None:
    with exactly():
        alone = first_gradients(kind)
    assert torch.stack([gradient.norm() for gradient in alone]).norm() == pytest.approx(CLIP, rel=1e-3)
    for rank in of_ranks(folder, kind):
        assert all(close(*both) for both in zip(rank["gradients"], alone, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_those_of_one_process(folder: Path, kind: str) -> None:
    """After two epochs, the last batch of each with no image for rank 0; resumed or not, by two or by one."""
    ranks, alone, taken_over = of_ranks(folder, kind), model(), model()
    with exactly():
        history = train(alone, kind)
        assert train(taken_over, kind, checkpoint=folder / f"{kind}.half").epochs == 2
    for rank in ranks:
        assert rank["history"] == pytest.approx(history.bits_per_dim, abs=1e-9)
        assert rank["resumed_epochs"] == 2
        for name, tensor in trainable_state(alone).items():
            assert close(rank["weights"][name], tensor), name
            assert close(rank["resumed"][name], tensor), name
            assert torch.equal(rank["weights"][name], ranks[0]["weights"][name]), name
            assert close(taken_over.state_dict()[name], tensor), name


def test_only_the_first_rank_writes_checkpoints(folder: Path) -> None:
    assert sorted(file.name for file in folder.glob("*.ckpt")) == ["augmented0.ckpt", "cached0.ckpt"]


def test_a_failure_of_one_ends_all(launched: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    done = launched[1]
    assert done.returncode != 0
    assert "rank 1 of 2: no_image.png cannot be decoded" in done.stderr


def test_a_lost_process_is_an_error_of_ours() -> None:
    def lost(*_: object) -> None:
        raise RuntimeError("Connection closed by peer")

    with mock.patch("torch.distributed.all_reduce", lost), pytest.raises(FastFlowError, match="closed by peer"):
        ProcessGroup(0, 2).sum_gradients([], torch.zeros(()))


def command(category: Path, out: Path) -> list[str]:
    data = ["--dataset", str(category.parent), "--category", category.name, "--image-size", "64"]
    return [*data, "--steps", "2", "--epochs", "1", "--batch-size", "4", "--out", str(out)]


def test_the_command_speaks_once(folder: Path, launched: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    backbone, *lines = launched[1].stdout.splitlines()  # of both ranks; nothing else prints
    assert ", weights " in backbone
    assert [line.split()[0] for line in lines] == ["epoch", "stripes:", "threshold", "model"]
    record = json.loads((folder / "run/result.json").read_text())
    assert record["parameters"]["processes"] == 2
    assert record["training"]["settings"]["batch_size"] == 4
    assert FastFlow.load(folder / "run/model.safetensors").config.steps == 2
    assert (folder / "run/training.ckpt").is_file()


@pytest.mark.usefixtures("few_views")
def test_the_command_alone(
    category: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):  # the second time there is nothing left to train
        assert main(["train", "--precision", "bf16", *command(category, tmp_path)]) == 0
    assert capsys.readouterr().out.count("epoch 1/1") == 1
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["parameters"]["processes"] == 1
    assert record["training"]["settings"]["precision"] == "bf16"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["train", "--device", "cuda", *command(category, tmp_path / "absent")]) == 2
    assert "device 'cuda' is not there" in capsys.readouterr().err and not (tmp_path / "absent").exists()
    assert main(["train", "--dataset", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert "none does not exist: give a folder or a CSV file" in capsys.readouterr().err


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [1, 2, 7, 8, 32])
def test_parts_cover_a_batch_once(size: int, count: int) -> None:
    parts = [list(range(count))[ProcessGroup(rank, size).part(count)] for rank in range(size)]
    assert [image for part in parts for image in part] == list(range(count))
    assert {len(part) for part in parts} <= {count // size, count // size + 1}


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert local_device("cuda:1") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert local_device() == local_device("cuda") == torch.device("cuda", 1)
    assert local_device("cpu") == torch.device("cpu")
    with pytest.raises(ArgumentError, match="take one of 'cpu', 'cuda', 'xpu', got device 'cuda:0'"):
        local_device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(FastFlowError, match="2 GPUs and each takes one process"):
        local_device()


def test_several_processes_on_an_apple_machine_take_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert local_device() == torch.device("mps")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert local_device() == torch.device("cpu")
    with pytest.raises(ArgumentError, match="got device 'mps'"):
        local_device("mps")


if __name__ == "__main__":
    place = Path(sys.argv[1])
    with join() as joined:
        with exactly():
            agree(place, joined)
        run_command(place, joined)
        (place / f"agreed{joined.rank}").touch()
        fail(joined)
