"""Checkpoint files that others wrote."""

import hashlib
import io
import math
import pickle
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import Constant
from torch import nn

from fastflow_lite import FastFlow, fit
from fastflow_lite.backbones.weights import read_state as read_weights
from fastflow_lite.datasets import ImageSet, open_dataset
from fastflow_lite.errors import CheckpointError, WeightsError
from fastflow_lite.training import checkpoint as checkpoints
from fastflow_lite.training.checkpoint import Checkpoint


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.place,)


@pytest.mark.hostile
def test_no_file_is_unpickled(tmp_path: Path) -> None:
    sprung, bait = tmp_path / "sprung", tmp_path / "bait.pth"
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()  # the trap works
    sprung.unlink()
    torch.save({"state_dict": {"conv1.weight": Trap(sprung)}, "identity": {}, "state": Trap(sprung)}, bait)
    with pytest.raises(WeightsError, match=r"bait\.pth cannot be read"):
        read_weights(bait)
    content = bait.read_bytes()
    proof = checkpoints.hashlib.sha256(content).hexdigest().encode() + b"\n"  # whoever sets a trap can also add
    bait.write_bytes(checkpoints.MAGIC + proof + content)
    with pytest.raises(CheckpointError, match=r"bait\.pth holds more than tensors and numbers"):
        Checkpoint(bait, {}).load()
    with pytest.raises(CheckpointError, match=r"bait\.pth"):
        FastFlow.load(bait)
    assert not sprung.exists()


@pytest.fixture
def train(category: Path) -> ImageSet:
    return open_dataset(category, image_size=(32, 32)).train


def trained(train: ImageSet, file: Path) -> FastFlow:
    """Return a model whose second epoch continues `file`, if there is one."""
    model = FastFlow(Constant(0.0, 1.0), steps=1, hidden=4)
    fit(model, train, epochs=2, progress=False, checkpoint=file, held_out=train)
    return model


def write_content(file: Path, content: bytes) -> None:
    """Write a checkpoint with a right checksum: whoever changes one can compute it."""
    file.write_bytes(checkpoints.MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


@pytest.fixture
def kept(train: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The content of a checkpoint after the first of two epochs."""
    save, contents = Checkpoint.save, []

    def note(self: Checkpoint, state: dict[str, Any]) -> None:
        save(self, state)
        contents.append(self.path.read_bytes())

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", note)
        trained(train, tmp_path / "first")
    return torch.load(io.BytesIO(contents[0][len(checkpoints.MAGIC) + 65 :]), weights_only=True)


def packed(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


NAME = "flows.0.transforms.2.subnet.0.weight"


def of_optimizer(state: dict[str, Any]) -> dict[str, Any]:
    return next(values for values in state["optimizer"]["state"].values() if values["exp_avg"].dim() == 4)


def change(entries: dict[Any, Any], key: Any, value: Any) -> None:
    entries[key] = value(entries[key]) if callable(value) else value


CHANGES = {
    "a shape": lambda s: change(of_optimizer(s), "exp_avg", torch.zeros(1)),
    "a larger shape": lambda s: change(of_optimizer(s), "exp_avg_sq", lambda t: torch.zeros(2, *t.shape)),
    "a type": lambda s: change(of_optimizer(s), "exp_avg", lambda t: t.double()),
    "a sparse tensor": lambda s: change(of_optimizer(s), "exp_avg", lambda t: t.to_sparse()),
    "no data": lambda s: change(of_optimizer(s), "exp_avg", lambda t: t.to("meta")),
    "a number for a tensor": lambda s: change(of_optimizer(s), "exp_avg", 0.0),
    "steps of a vector": lambda s: change(of_optimizer(s), "step", torch.ones(3)),
    "more moments": lambda s: change(of_optimizer(s), "max_exp_avg_sq", torch.zeros(1)),
    "no moments": lambda s: s["optimizer"]["state"].popitem(),
    "moments of nothing": lambda s: change(s["optimizer"]["state"], 99, dict(of_optimizer(s))),
    "other parameters": lambda s: s["optimizer"]["param_groups"][0]["params"].reverse(),
    "a rate of NaN": lambda s: change(s["optimizer"]["param_groups"][0], "lr", math.nan),
    "the backbone": lambda s: change(s["model"], "backbone.mean", torch.ones(1, 3, 1, 1)),
    "no weight": lambda s: s["model"].pop(NAME),
    "a weight of NaN": lambda s: change(s["model"], NAME, lambda t: t * math.nan),
    "an infinite weight": lambda s: change(s["model"], NAME, lambda t: t + math.inf),
    "a weight of another shape": lambda s: change(s["model"], NAME, lambda t: t[:, :1]),
    "no schedule": lambda s: s.pop("schedule"),
    "an attribute of the schedule": lambda s: change(s["schedule"], "step", "none"),
    "a part of the schedule": lambda s: s["schedule"]["_schedule_phases"].pop(),
    "another part": lambda s: change(s, "more", [torch.zeros(1000)]),
    "a loss of NaN": lambda s: change(s["history"], "bits_per_dim", [math.nan]),
    "a loss that is a text": lambda s: change(s["history"], "bits_per_dim", ["low"]),
    "no losses": lambda s: change(s["history"], "bits_per_dim", []),
    "losses that were never made": lambda s: change(s["history"], "bits_per_dim", [1.0, 1.0]),
    "tensors for losses": lambda s: change(s["history"], "held_out", [torch.zeros(1)]),
    "set-backs that are no lists": lambda s: change(s["history"], "set_backs", [1]),
    "set-backs of another length": lambda s: change(s["history"], "set_backs", [[1, "high"]]),
    "no dictionary": lambda s: change(s, "history", [1.0]),
}


@pytest.mark.hostile
@pytest.mark.parametrize("what", CHANGES)
def test_a_state_that_this_run_did_not_write_is_refused(
    kept: dict[str, Any], train: ImageSet, tmp_path: Path, what: str
) -> None:
    CHANGES[what](kept["state"])
    write_content(tmp_path / "run.ckpt", packed(kept))
    with pytest.raises(CheckpointError, match=r"checkpoint .*run\.ckpt (cannot be continued: state|has).*; delete it"):
        trained(train, tmp_path / "run.ckpt")


@pytest.mark.hostile
def test_tensors_that_share_memory_are_separated(kept: dict[str, Any], train: ImageSet, tmp_path: Path) -> None:
    """One value for a whole moment, as `expand` makes it, would be written once for each weight."""
    write_content(tmp_path / "plain", packed(kept))
    expected = trained(train, tmp_path / "plain").state_dict()
    for values in kept["state"]["optimizer"]["state"].values():
        zeros = torch.zeros(()).expand(values["exp_avg"].shape)
        values |= {"exp_avg": zeros, "exp_avg_sq": zeros}
    write_content(tmp_path / "shared", packed(kept))
    for values in kept["state"]["optimizer"]["state"].values():
        values |= {name: torch.zeros(values[name].shape) for name in ("exp_avg", "exp_avg_sq")}
    write_content(tmp_path / "own", packed(kept))
    shared, own = (trained(train, tmp_path / name).state_dict() for name in ("shared", "own"))
    assert all(torch.equal(a, b) for a, b in zip(shared.values(), own.values(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(shared.values(), expected.values(), strict=True))


@pytest.mark.hostile
def test_a_file_larger_than_this_run_needs_is_not_read(kept: dict[str, Any], train: ImageSet, tmp_path: Path) -> None:
    content = packed(kept)
    write_content(tmp_path / "run.ckpt", content + bytes(10**7))
    with pytest.raises(CheckpointError, match=r"run\.ckpt has 1\d{7} bytes, this run needs \d+ at most; delete it"):
        trained(train, tmp_path / "run.ckpt")


@pytest.mark.hostile
@pytest.mark.parametrize("kind", ["compressed", "a script", "code", "a pickle", "a tar file"])
def test_archives_of_another_kind_are_refused_before_torch_sees_them(
    kept: dict[str, Any], train: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    write_content(tmp_path / "run.ckpt", other_kind(packed(kept), kind))
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(CheckpointError, match=r"run\.ckpt holds more than tensors and numbers; delete it"):
        trained(train, tmp_path / "run.ckpt")
    (tmp_path / "weights.pth").write_bytes(other_kind(packed(kept["state"]["model"]), kind))
    with pytest.raises(WeightsError, match=r"weights\.pth cannot be read: .*torch\.save writes"):
        read_weights(tmp_path / "weights.pth")


def other_kind(content: bytes, kind: str) -> bytes:
    """Return `content`, a file of torch.save, changed into another kind of file that torch reads, or once read."""
    buffer = io.BytesIO()
    if kind == "a script":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.script(nn.Linear(1, 1)), buffer)
    elif kind == "a pickle":
        return pickle.dumps({"conv1.weight": 1})
    elif kind == "a tar file":
        with tarfile.open(fileobj=buffer, mode="w:") as archive:
            archive.addfile(tarfile.TarInfo("pickle"))
    else:
        with zipfile.ZipFile(io.BytesIO(content)) as given, zipfile.ZipFile(buffer, "w") as made:
            for entry in given.infolist():
                method = zipfile.ZIP_DEFLATED if kind == "compressed" else zipfile.ZIP_STORED
                made.writestr(entry.filename, given.read(entry.filename), method)
            if kind == "code":
                made.writestr("archive/code/__torch__.py", "")
    return buffer.getvalue()


@pytest.mark.hostile
def test_a_checkpoint_without_its_parts_is_refused(tmp_path: Path) -> None:
    for content in ({}, {"identity": {}}, [], {"identity": {"a": torch.zeros(3)}, "state": {}}, 5):
        write_content(tmp_path / "run.ckpt", packed(content))
        with pytest.raises(CheckpointError, match=r"run\.ckpt holds more than tensors and numbers"):
            Checkpoint(tmp_path / "run.ckpt", {"a": 1}).load()


@pytest.mark.hostile
@pytest.mark.parametrize("odd", [lambda t: t.to_sparse(), lambda t: t.to("meta")])
def test_weights_without_values_of_their_own_are_refused(tmp_path: Path, odd: Any) -> None:
    torch.save({"conv1.weight": odd(torch.ones(3, 3))}, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=r"weights\.pth holds no state dict"):
        read_weights(tmp_path / "weights.pth")


def test_weights_of_torch_before_1_6_are_read(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert read_weights(tmp_path / "old.pth")["a"].tolist() == [1, 1, 1]


def test_each_value_that_differs_is_named() -> None:
    kept, wanted = {"a": {"b": 1, "c": 2}, "d": 3, "gone": 4}, {"a": {"b": 1, "c": 5}, "d": {"e": 6}, "new": 7}
    assert checkpoints._differences(kept, wanted) == [
        "a.c is 2 there and 5 here",
        "d is 3 there and {'e': 6} here",
        "gone is 4 there and None here",
        "new is None there and 7 here",
    ]
