"""Settings of a training: checked when they are made, complete as keyword arguments."""

import math
from dataclasses import fields
from typing import Any

import pytest
import torch

from fastflow_lite.datasets.augmentation import Augmentation
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
    ("compile", "yes", "compile must be True, False or None, got 'yes'"),
    ("halvings", -1, "halvings must be a whole number of at least 0"),
]


@pytest.mark.parametrize(("name", "value", "text"), WRONG)
def test_a_wrong_value_is_named(name: str, value: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Settings(**{name: value})


def test_the_least_values_are_taken() -> None:
    least = Settings(epochs=1, batch_size=1, lr=1e-9, weight_decay=0, clip=None, seed=0, halvings=0)
    assert (least.epochs, least.weight_decay, least.halvings) == (1, 0, 0)
    assert Settings(augment=Augmentation()).augment == Augmentation()


def test_only_on_a_gpu_a_training_is_compiled_by_default() -> None:
    devices = [torch.device(kind) for kind in ("cpu", "cuda", "xpu", "mps")]
    for compiled, expected in ((None, [False, True, True, False]), (True, 4 * [True]), (False, 4 * [False])):
        assert [Settings(compile=compiled).compiles_on(device) for device in devices] == expected


def test_keyword_arguments_are_all_fields() -> None:
    assert set(SettingsOptions.__annotations__) == {field.name for field in fields(Settings)}
