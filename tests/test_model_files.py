"""Files of models: complete, and read without trust."""

import copy
import json
import math
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from properties import given, st
from tiny import Constant, started
from torch import Tensor

from fastflow_lite import FastFlow
from fastflow_lite.config import FastFlowConfig
from fastflow_lite.errors import (
    CheckpointError,
)
from fastflow_lite.files import read_tensors, write_tensors
from fastflow_lite.model import FORMAT

Saved = tuple[dict[str, Tensor], dict[str, str]]  # tensors and header of a model


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    FastFlow(Constant(0.0, 1.0), steps=1, hidden=4).save(path)
    return read_tensors(path)


@pytest.mark.hostile
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


@pytest.mark.hostile
def test_a_model_of_numbers_that_are_none_is_refused(saved: Saved, tmp_path: Path) -> None:
    shift = "flows.0.transforms.0.shift"
    write_tensors(tmp_path / "nan.safetensors", saved[0] | {shift: saved[0][shift] * math.nan}, saved[1])
    with pytest.raises(CheckpointError, match=r"nan\.safetensors holds values that are not finite \(flows\.0"):
        FastFlow.load(tmp_path / "nan.safetensors", Constant(0.0, 1.0))


@pytest.mark.hostile
def test_damaged_model_files_are_refused_by_name(tmp_path: Path, small_model: FastFlow) -> None:
    file = tmp_path / "m.safetensors"
    with pytest.raises(CheckpointError, match=r"m\.safetensors does not exist"):
        FastFlow.load(file)
    with pytest.raises(CheckpointError, match=f"{tmp_path.name} is a folder: a file is expected$"):
        FastFlow.load(tmp_path)
    small_model.save(file)
    with pytest.raises(CheckpointError, match=rf"{tmp_path.name} is a folder: a file such as .*/m\.safetensors is"):
        FastFlow.load(tmp_path)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"m\.safetensors is damaged"):
        FastFlow.load(file)


def test_a_saved_model_keeps_every_option(tmp_path: Path) -> None:
    """The readout as well, which changes the scores and is no tensor."""
    options: Any = {
        "steps": 2, "kernels": (1,), "hidden": 5, "coupling": "additive", "clamp": 1.5, "normalize": "map", "seed": 3,
        "uncounted_affine": (32, 48), "map": "nll", "image_score": "top", "smoothing": 1.5, "save_memory": True,
        "sharpness": 2.0, "scale_weights": "rising",
    }  # fmt: skip
    model = started(FastFlow(Constant(0.0, 1.0), **options), 32, 48)
    plain = FastFlowConfig()
    assert {name for name in options if getattr(model.config, name) != getattr(plain, name)} == set(options)
    model.save(tmp_path / "model.safetensors")
    loaded = FastFlow.load(tmp_path / "model.safetensors", Constant(0.0, 1.0))
    assert loaded.config == replace(model.config, save_memory=False)  # which changes no result
    images = torch.rand(2, 3, 32, 48)
    for found, expected in zip(loaded.predict(images), model.predict(images), strict=True):
        torch.testing.assert_close(found, expected)


CLAIMS = [
    {"hidden": 10**6},
    {"hidden": 10**30},
    {"steps": 10**6},
    {"layers": list(range(10**4))},
    {"kernels": [10**5 + 1]},
    {"uncounted_affine": [2**20, 2**20]},
    {"backbone": "wide_resnet50_2"},
    {"backbone": "vit_giant_patch14_clip_224", "layers": [20]},
    {"backbone": "hf-hub:someone/something"},
    {"backbone": "resnet18.of_nobody"},
    {"seed": 2**70},
]
MEASURE = """
import json, os, resource, sys
from fastflow_lite import FastFlow
from fastflow_lite.errors import CheckpointError
from fastflow_lite.backbones.timm_networks import import_timm
import_timm()
if os.fork():  # a program that was started counts the memory of the one that started it; a copy does not
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
for path in sys.argv[1:]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        FastFlow.load(path)
    except CheckpointError as error:
        assert path in str(error)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.hostile
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a copy of a process is measured")
def test_a_small_file_that_claims_a_large_model_costs_no_memory(tmp_path: Path) -> None:
    """A network's own code in timm takes some megabytes; the largest claims here would take terabytes."""
    paths = [tmp_path / f"{number}.safetensors" for number in range(len(CLAIMS))]
    for path, claim in zip(paths, CLAIMS, strict=True):
        config = FastFlowConfig(layers=(1, 2, 3), steps=1).to_record() | claim
        weights = {"source": "random", "description": "", "sha256": ""}
        header = {"format": FORMAT, "config": json.dumps(config), "weights": json.dumps(weights)}
        write_tensors(path, {name: torch.zeros(1) for name in "abc"}, header)
    done = subprocess.run([sys.executable, "-c", MEASURE, *map(str, paths)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    grown = [int(line) for line in done.stdout.split()]
    assert len(grown) == len(CLAIMS) and max(grown) < 150, grown


def changed(saved: Saved, **changes: Tensor) -> dict[str, Tensor]:
    return saved[0] | {f"flows.0.transforms.{name.replace('__', '.')}": value for name, value in changes.items()}


ORDER = [4, 0, 1, 2, 5, 3]
ODD = {
    "float8": (
        {"0__shift": torch.zeros(6).to(torch.float8_e4m3fn)},
        r"0\.shift is F8_E4M3 \(6,\) there, F32 \(6,\)",
    ),
    "complex": ({"0__shift": torch.zeros(6, dtype=torch.complex64)}, r"0\.shift is C64 \(6,\) there, F32 \(6,\) here"),
    "whole": ({"0__shift": torch.zeros(6, dtype=torch.int64)}, r"0\.shift is I64 \(6,\) there, F32 \(6,\) here"),
    "shape": ({"0__shift": torch.zeros(60)}, r"0\.shift is F32 \(60,\) there, F32 \(6,\) here"),
    "more": ({"9__shift": torch.zeros(1)}, r"it has or lacks flows\.0\.transforms\.9\.shift"),
    "order of floats": ({"1__order": torch.arange(6.0)}, r"1\.order is F32 \(6,\) there, I64 \(6,\) here"),
    "no permutation": ({"1__order": torch.zeros(6, dtype=torch.int64)}, r"order must hold 0 \.\. 5 once each"),
    "beyond": ({"1__order": torch.arange(1, 7)}, r"order must hold 0 \.\. 5 once each"),
    "another inverse": ({"1__order": torch.tensor(ORDER), "1__back": torch.tensor(ORDER)}, r"order must hold 0 \.\. 5"),
}


@pytest.mark.hostile
@pytest.mark.parametrize("kind", ODD)
def test_tensors_that_save_did_not_write_are_named(saved: Saved, tmp_path: Path, kind: str) -> None:
    if kind == "complex" and tuple(map(int, version("safetensors").split(".")[:2])) < (0, 7):
        pytest.skip("safetensors writes no complex numbers before 0.7")
    changes, reason = ODD[kind]
    write_tensors(tmp_path / "odd.safetensors", changed(saved, **changes), saved[1])
    with pytest.raises(CheckpointError, match=rf"odd\.safetensors holds a model over 'Constant' that .*{reason}"):
        FastFlow.load(tmp_path / "odd.safetensors", Constant(0.0, 1.0))


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"format": "fastflow-lite model 2"},
            r"has the format 'fastflow-lite model 2' of another version",
        ),
        ({"format": "something"}, r"is not a model written by FastFlow\.save"),
        ({"format": "fastflow-lite models"}, r"is not a model written by FastFlow\.save"),
        ({"format": "film"}, r"is not a model written by FastFlow\.save"),
        (
            {"config": '{"clamp": NaN}'},
            "holds a configuration that cannot be used: clamp must be a finite number",
        ),
        (
            {"config": '{"clamp": 0}'},
            "holds a configuration that cannot be used: clamp must be a finite number",
        ),
        ({"config": '{"clampz": 1}'}, "holds a configuration that cannot be used: a configuration has the entries"),
    ],
)
def test_a_header_that_save_did_not_write_is_named(
    saved: Saved, tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    write_tensors(tmp_path / "odd.safetensors", saved[0], saved[1] | changes)
    with pytest.raises(CheckpointError, match=rf"odd\.safetensors {reason}"):
        FastFlow.load(tmp_path / "odd.safetensors", Constant(0.0, 1.0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_model_saved_in_another_precision_is_read(tmp_path: Path, dtype: torch.dtype) -> None:
    model = FastFlow(Constant(0.0, 1.0), steps=1, hidden=4)
    copy.deepcopy(model).to(dtype).save(tmp_path / "m.safetensors")
    read = FastFlow.load(tmp_path / "m.safetensors", Constant(0.0, 1.0)).state_dict()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(read[name], tensor, rtol=1e-2, atol=1e-2)


def test_reading_a_model_leaves_the_random_state(saved: Saved, tmp_path: Path) -> None:
    write_tensors(tmp_path / "m.safetensors", *saved)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    FastFlow.load(tmp_path / "m.safetensors", Constant(0.0, 1.0))
    assert torch.equal(torch.rand(1), expected)
