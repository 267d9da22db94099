"""Configurations: wrong values are named, and records are read back."""

import json
from typing import Any

import pytest

from fastflow_lite.baselines import PaDiMConfig, PatchCoreConfig
from fastflow_lite.errors import ArgumentError


@pytest.mark.parametrize("config", [PatchCoreConfig(layers=[2, 3], share=1), PaDiMConfig(channels=7, seed=4)])
def test_a_record_is_read_back(config: PatchCoreConfig | PaDiMConfig) -> None:
    record = config.to_record()
    assert type(config).from_record(json.loads(json.dumps(record))) == config
    assert record["map"] == "distance" and record["method"] == config.method
    with pytest.raises(ArgumentError, match="a configuration has the entries"):
        type(config).from_record(record | {"method": "fastflow"})
    with pytest.raises(ArgumentError, match="a configuration has the entries"):
        type(config).from_record({"backbone": "resnet18"})


def test_defaults() -> None:
    assert PatchCoreConfig().to_record() == {
        "method": "patchcore", "map": "distance", "backbone": "resnet18", "layers": None, "smoothing": 4.0, "seed": 0,
        "levels": 2, "share": 0.1, "neighbors": 9,
    }  # fmt: skip
    assert PaDiMConfig().channels is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backbone", ""), ("layers", "12"), ("layers", [-1]), ("smoothing", -1), ("seed", -1), ("seed", 2**63),
        ("levels", 0), ("share", 0), ("share", 1.5), ("neighbors", 0),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=name):
        PatchCoreConfig(**{name: value})


def test_a_wrong_number_of_channels_is_named() -> None:
    with pytest.raises(ArgumentError, match="channels must be a whole number of at least 1, got 0"):
        PaDiMConfig(channels=0)
