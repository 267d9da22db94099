"""Settings of a training: checked when they are made, complete as keyword arguments."""

import math
from dataclasses import fields
from typing import Any

import pytest
import torch

from fastflow_lite.datasets.augmentation import Augmentation
from fastflow_lite.errors import ArgumentError
from fastflow_lite.training import Settings
from fastflow_lite.training.settings import COMPILED_FROM, DEFAULT_LENGTH, SettingsOptions

WRONG = [
    ("epochs", 0, "epochs must be a whole number of at least 1, got 0"),
    ("updates", 0, "updates must be a whole number of at least 1, got 0"),
    ("noise", -0.1, "noise must be a finite number of at least 0, got -0.1"),
    ("average", 0, "average must be a finite number above 0, got 0"),
    ("views", -1, "views must be a whole number of at least 0, got -1"),
    ("average", 1.0, "average must be a decay between 0 and 1, such as 0.98, or None, got 1.0"),
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


def test_a_number_of_steps_gives_the_passes_that_reach_it() -> None:
    assert [Settings(updates=updates).passes(3) for updates in (1, 3, 4, 9, 10)] == [1, 1, 2, 3, 4]
    assert [Settings(epochs=5).passes(steps) for steps in (1, 100)] == [5, 5]
    assert Settings().passes(3) == Settings(**DEFAULT_LENGTH).passes(3)


def test_a_training_has_one_length() -> None:
    with pytest.raises(ArgumentError, match="give epochs=2 or updates=3, not both"):
        Settings(epochs=2, updates=3)
    with pytest.raises(ArgumentError, match="give epochs=2 or updates=3, not both"):
        Settings(seed=1).changed(epochs=2, updates=3)
    assert Settings(epochs=500, seed=1).changed(updates=3) == Settings(updates=3, seed=1)
    assert Settings(updates=3).changed(epochs=2) == Settings(epochs=2)
    assert Settings(updates=3).changed(seed=1) == Settings(updates=3, seed=1)


def test_only_a_long_training_on_a_gpu_is_compiled_by_default() -> None:
    devices = [torch.device(kind) for kind in ("cpu", "cuda", "xpu", "mps")]
    for compiled, expected in ((None, [False, True, True, False]), (True, 4 * [True]), (False, 4 * [False])):
        assert [Settings(compile=compiled).compiles_on(device, COMPILED_FROM) for device in devices] == expected
    assert not Settings().compiles_on(torch.device("cuda"), COMPILED_FROM - 1)
    assert Settings(compile=True).compiles_on(torch.device("cuda"), 1)


def test_keyword_arguments_are_all_fields() -> None:
    assert set(SettingsOptions.__annotations__) == {field.name for field in fields(Settings)}
