"""The cost benchmark: what it counts, what it keeps, what it prints. Times are its business, not ours."""

import importlib
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from fastflow_lite import FastFlow
from fastflow_lite.backbones import PRESETS
from fastflow_lite.flows import conv_subnet, count_parameters
from fastflow_lite.machine import describe_machine

pytestmark = pytest.mark.usefixtures("few_noise_images")


@pytest.fixture(scope="module")
def complexity() -> ModuleType:
    return importlib.import_module("complexity")


@pytest.fixture(scope="module")
def measured(complexity: ModuleType) -> dict[str, Any]:
    return complexity.measure("resnet18", 64, 2, "cpu", repeats=2)


@pytest.fixture(scope="module")
def four(complexity: ModuleType, measured: dict[str, Any]) -> dict[str, Any]:
    """Records as the command keeps them, the numbers of one backbone for all."""
    about = {"batch": 2, "device": "cpu", "machine": describe_machine(torch.device("cpu"))}
    done = complexity.exercise("resnet18", 64, 1, "cpu")
    named = {name: {"backbone": name, "image_size": preset.image_size} | about for name, preset in PRESETS.items()}
    return {
        "complexity": {name: record | measured for name, record in named.items()},
        "real_size": {name: record | done for name, record in named.items()},
    }


def test_parameters_are_the_models(measured: dict[str, Any]) -> None:
    counted = measured["parameters"]
    for label, kernels in {"3-1": (3, 1), "3x3 only": (3,)}.items():
        assert counted["flow"][label] == count_parameters(FastFlow(weights="random", kernels=kernels))
    assert counted["backbone"] == sum(p.numel() for p in FastFlow(weights="random").backbone.parameters())
    assert measured["kernels"] == "3x3 only"


def test_multiply_adds_of_one_subnet_by_hand(complexity: ModuleType) -> None:
    """Per position and convolution: kernel area times channels in times channels out."""
    subnet, x = conv_subnet(3, hidden=16)(8, 20), torch.zeros(1, 8, 5, 7)
    assert complexity.count_multiply_adds(lambda: subnet(x)) == 5 * 7 * 9 * (8 * 16 + 16 * 20)


def test_multiply_adds_of_attention_by_hand(complexity: ModuleType) -> None:
    """Two products of tokens x tokens x channels, whichever fused kernel would do them."""
    tokens = torch.zeros(1, 2, 10, 4)
    work = complexity.count_multiply_adds(lambda: nn.functional.scaled_dot_product_attention(tokens, tokens, tokens))
    assert work == 2 * 2 * 10 * 10 * 4


def test_multiply_adds_of_the_flow_by_hand(measured: dict[str, Any]) -> None:
    preset, by_hand = PRESETS["resnet18"], {"3-1": 0, "3x3 only": 0}
    for channels, side in ((64, 16), (128, 8), (256, 4)):
        hidden = preset.hidden_for(channels)
        a_convolution_pair = side * side * (channels // 2 * hidden + hidden * channels)
        by_hand["3x3 only"] += preset.steps * 9 * a_convolution_pair
        by_hand["3-1"] += preset.steps // 2 * (9 + 1) * a_convolution_pair
    assert measured["multiply_adds_per_image"]["flow"] == by_hand  # of one image, though the batch has two


def test_whole_is_backbone_and_flow(measured: dict[str, Any]) -> None:
    times = measured["milliseconds_per_image"]
    assert all(0 < t["low"] <= t["median"] <= t["high"] for t in times.values())
    # With two passes the median is the mean, and means add up.
    for clock in ({part: t["median"] for part, t in times.items()}, measured["processor_milliseconds_per_image"]):
        assert min(clock.values()) > 0
        assert clock["whole"] == pytest.approx(clock["backbone"] + clock["added"])
    assert measured["cores_at_work"] > 0


@pytest.mark.long
def test_exercise_trains_the_flow_alone_and_loads_what_it_saved(four: dict[str, Any]) -> None:
    done = four["real_size"]["resnet18"]
    model = FastFlow(weights="random", kernels=(3,))
    assert done["difference_after_load"] == 0
    assert done["finite_gradients"] == {"flow": count_parameters(model), "backbone": 0}
    assert done["file_mib"] > 4 * count_parameters(model) / 1024**2
    peaks = [stage["peak_memory_mib"]["host"] for stage in done["stages"].values()]
    assert peaks == sorted(peaks)


def test_tables_have_every_row(complexity: ModuleType, four: dict[str, Any]) -> None:
    tables = complexity.tables(json.loads(json.dumps(four))).split("\n\n")
    assert tables.pop(2) == complexity.NOTE
    assert "second-hand" in complexity.NOTE
    for table in tables:
        lines = table.splitlines()
        assert [line.split(" | ")[0] for line in lines[2:]] == [f"| {name}" for name in PRESETS]
        assert len({line.count(" | ") for line in lines}) == 1
    assert len(tables) == 3


def test_command_keeps_what_others_measured(
    complexity: ModuleType,
    tmp_path: Path,
    four: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = tmp_path / "complexity.json"
    place.write_text(json.dumps(four))
    options = ["--backbones", "resnet18", "--image-size", "64", "--repeats", "1", "--records", str(place)]
    monkeypatch.setattr(sys, "argv", ["complexity.py", *options])
    monkeypatch.setattr(
        complexity, "Fresh", lambda: nullcontext(lambda work, *args: work(*args))
    )  # a process of its own
    complexity.main()
    printed = capsys.readouterr().out
    kept = json.loads(place.read_text())
    assert kept["real_size"] == four["real_size"]
    (key,) = kept["complexity"].keys() - four["complexity"].keys()
    assert key.startswith("resnet18, 64 px, batch 1, cpu ")
    assert kept["complexity"][key]["repeats"] == 1
    assert printed.endswith(complexity.tables(kept) + "\n")
