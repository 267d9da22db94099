"""Configuration: checked when it is made, the same after a trip through a file, complete as keyword arguments."""

import json
import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from tiny import Constant

from fastflow_lite import FastFlow
from fastflow_lite.config import FastFlowConfig, FastFlowOptions
from fastflow_lite.errors import ArgumentError, FastFlowError

WRONG = [
    ("backbone", "", "name of a network"),
    ("layers", "123", "sequence of whole numbers"),
    ("layers", [1, -1], "layers must be a whole number of at least 0, got -1"),
    ("steps", 0, "steps must be a whole number of at least 1, got 0"),
    ("steps", -1, "steps must be a whole number of at least 1, got -1"),
    ("steps", 2.5, "steps must be a whole number"),
    ("steps", True, "steps must be a whole number"),
    ("kernels", [], "kernels must be a sequence of whole numbers"),
    ("kernels", [2], "kernels must be odd"),
    ("hidden", 0, "hidden must be a whole number of at least 1"),
    ("coupling", "spline", "coupling must be one of 'affine', 'additive', got 'spline'"),
    ("clamp", 0, "clamp must be a finite number above 0, got 0"),
    ("clamp", math.nan, "clamp must be a finite number above 0, got nan"),
    ("clamp", math.inf, "clamp must be a finite number above 0, got inf"),
    ("clamp", "2", "clamp must be a finite number"),
    ("normalize", "batch", "normalize must be one of"),
    ("uncounted_affine", (64,), "uncounted_affine must hold 2 whole numbers"),
    ("seed", -1, "seed must be a whole number of at least 0"),
    ("seed", 2**64, r"seed must be below 2\*\*64"),
    ("map", "p", "map must be one of"),
    ("map", ["nll"], "map must be one of"),
    ("image_score", "mean", "image_score must be one of"),
    ("image_score", ["max"], "image_score must be one of"),
    ("image_score", 0.03, "image_score must be one of"),
    ("image_score", None, "image_score must be one of"),
    ("smoothing", -1.0, "smoothing must be a finite number of at least 0"),
    ("sharpness", 0, "sharpness must be a finite number above 0"),
    ("scale_weights", (1, 2, 3), "scale_weights must be one of 'equal', 'rising'"),
    ("save_memory", 1, "save_memory must be True or False"),
]


@pytest.mark.parametrize(("name", "value", "text"), WRONG)
def test_a_wrong_value_is_named_before_anything_is_built(name: str, value: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        FastFlowConfig(**{name: value})
    if name != "backbone":
        with pytest.raises(ValueError, match=text):  # an ArgumentError is a ValueError
            FastFlow(Constant(0.0, 1.0), **{name: value})


def test_numbers_and_sequences_of_other_types_are_taken() -> None:
    config = FastFlowConfig(layers=[1, np.int64(2)], steps=np.int64(3), kernels=[3])
    assert (config.layers, config.steps, config.kernels) == ((1, 2), 3, (3,))
    assert type(config.steps) is int  # so that JSON takes it


def test_a_record_gives_the_same_configuration() -> None:
    config = FastFlowConfig(layers=(1, 2), steps=3, uncounted_affine=(64, 96), map="nll", smoothing=2.0)
    assert FastFlowConfig.from_record(json.loads(json.dumps(config.to_record()))) == config


@pytest.mark.parametrize("record", [None, [], 3, "steps", {"stepz": 3}, {"steps": {}}, {"kernels": None}])
def test_another_record_is_refused(record: object) -> None:
    with pytest.raises(FastFlowError):
        FastFlowConfig.from_record(record)


def test_what_is_read_out_does_not_belong_to_the_identity() -> None:
    readout: Any = {"map": "nll", "image_score": "top", "smoothing": 1.0, "sharpness": 2.0, "scale_weights": "rising"}
    one, other = FastFlowConfig(**readout), FastFlowConfig(save_memory=True)
    assert one.to_identity() == other.to_identity()
    assert one.to_record() != other.to_record()
    assert FastFlowConfig(steps=3).to_identity() != other.to_identity()


def test_keyword_arguments_are_all_fields_but_the_backbone() -> None:
    assert set(FastFlowOptions.__annotations__) == {field.name for field in fields(FastFlowConfig)} - {"backbone"}


def test_the_defaults_are_those_of_saved_runs() -> None:
    """Results depend on them, so they change on purpose only."""
    assert FastFlowConfig() == FastFlowConfig(
        backbone="resnet18",
        layers=None,
        steps=None,
        kernels=(3, 1),
        hidden=None,
        coupling="affine",
        clamp=2.0,
        normalize="layer",
        uncounted_affine=None,
        seed=0,
        map="tempered",
        image_score="max",
        smoothing=0.0,
        sharpness=1.0,
        scale_weights="equal",
        save_memory=False,
    )
