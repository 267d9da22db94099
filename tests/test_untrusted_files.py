"""Files that others wrote run nothing, write nothing outside their place, and are refused by name."""

import json
import math
import pickle
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import Constant
from torch import Tensor

from fastflow_lite import FastFlow
from fastflow_lite.backbones.weights import read_state as read_weights
from fastflow_lite.batch.grid import STATE, read_state
from fastflow_lite.batch.records import RESULT, read_records
from fastflow_lite.batch.table import frame
from fastflow_lite.errors import CheckpointError, WeightsError
from fastflow_lite.files import read_tensors, write_tensors
from fastflow_lite.training import checkpoint as checkpoints
from fastflow_lite.training.checkpoint import Checkpoint

Saved = tuple[dict[str, Tensor], dict[str, str]]  # tensors and header of a model
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.place,)


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


WAYS = (
    r"\bimport pickle|allow_pickle|joblib|shelve|marshal|yaml\.|(?<![.\w])(?:eval|exec)\(|os\.system|shell=True|"
    r"__import__|torch\.load\((?![^\n]*weights_only=True)"
)


def test_nothing_in_the_package_could_run_what_it_reads() -> None:
    """torchvision unpickles CIFAR-10, but compares the checksums of its files first."""
    assert re.search(WAYS, "x = torch.load(path)")
    assert not re.search(WAYS, "x = torch.load(path, weights_only=True)")
    found = {p.name for p in Path(checkpoints.__file__).parent.glob("*.py") if re.search(WAYS, p.read_text("utf-8"))}
    assert not found


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    FastFlow(Constant(0.0, 1.0), steps=1, hidden=4).save(path)
    return read_tensors(path)


@given(st.data(), st.none() | JSON | st.binary(max_size=9))
def test_a_configuration_that_save_did_not_write_is_refused_or_harmless(
    saved: Saved, tmp_path: Path, data: st.DataObject, other: Any
) -> None:
    tensors, header = saved
    config = json.loads(header["config"])
    changes = data.draw(st.dictionaries(st.sampled_from([*config, "weights", "__class__"]), JSON, max_size=3))
    content = config | changes if other is None else other
    text = content.decode("latin1") if isinstance(content, bytes) else json.dumps(content)
    path = tmp_path / "odd.safetensors"
    write_tensors(path, tensors, header | {"config": text})
    with suppress(CheckpointError):  # anything else is a failure
        FastFlow.load(path, Constant(0.0, 1.0))
        assert set(content) <= set(config)
    assert list(tmp_path.iterdir()) == [path]


def test_a_model_of_numbers_that_are_none_is_refused(saved: Saved, tmp_path: Path) -> None:
    shift = "flows.0.transforms.0.shift"
    write_tensors(tmp_path / "nan.safetensors", saved[0] | {shift: saved[0][shift] * math.nan}, saved[1])
    with pytest.raises(CheckpointError, match=r"nan\.safetensors holds values that are not finite \(flows\.0"):
        FastFlow.load(tmp_path / "nan.safetensors", Constant(0.0, 1.0))


RECORD = st.sampled_from(["state", "parameters", "error", "seconds", "attempts", "metrics", "model", "data", "weights"])


@given(st.dictionaries(RECORD, JSON), st.sampled_from([STATE, RESULT]))
def test_records_of_any_content_are_counted_or_named(tmp_path: Path, content: dict[str, Any], name: str) -> None:
    run = tmp_path / "runs" / "run=1"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    (run / name).write_text(json.dumps(content))
    assert name != STATE or len(read_state(run)) == len(content)
    records = read_records(tmp_path / "runs")
    assert len(records.rows + records.failed + records.unfinished + records.unreadable) == 1
    assert len(frame(records)) == len(records.rows)
    assert {p.name for p in tmp_path.rglob("*")} == {"runs", "run=1", name}


def test_json_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in (STATE, RESULT):
        (tmp_path / "a" / name).write_text("[" * 100_000)
    assert read_state(tmp_path / "a") == {}
    assert len(read_records(tmp_path).unreadable) == 1
