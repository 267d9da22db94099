"""Settings of a training: checked when they are made, complete as keyword arguments."""

import math
from dataclasses import fields
from typing import Any

import pytest

from fastflow_lite.errors import ArgumentError
from fastflow_lite.training import Settings
from fastflow_lite.training.settings import SettingsOptions

WRONG = [
    ("epochs", 0, "epochs must be a whole number of at least 1, got 0"),
    ("batch_size", 1.5, "batch_size must be a whole number"),
    ("lr", 0, "lr must be a finite number above 0, got 0"),
    ("lr", math.inf, "lr must be a finite number above 0, got inf"),
    ("weight_decay", -1e-5, "weight_decay must be a finite number of at least 0"),
    ("clip", 0.0, "clip must be a finite number above 0"),
    ("seed", -1, "seed must be a whole number"),
    ("schedule", "cosine", "schedule must be one of 'one_cycle', 'constant', got 'cosine'"),
    ("augment", "flip", "augment must be an Augmentation or None"),
]


@pytest.mark.parametrize(("name", "value", "text"), WRONG)
def test_a_wrong_value_is_named(name: str, value: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Settings(**{name: value})


def test_keyword_arguments_are_all_fields() -> None:
    assert set(SettingsOptions.__annotations__) == {field.name for field in fields(Settings)}
