"""Recipes: which names there are, and what they set."""

import pytest

from fastflow_lite.backbones import PRESETS
from fastflow_lite.config import FastFlowConfig
from fastflow_lite.datasets.augmentation import Augmentation
from fastflow_lite.training import Settings, recipes


def test_ours_is_what_the_defaults_are() -> None:
    assert recipes.training_settings("ours") == Settings()
    assert recipes.model_config("ours", "resnet18") == FastFlowConfig("resnet18")


def test_the_paper_is_not_turned_where_a_turn_is_a_defect() -> None:
    assert recipes.training_settings("paper", "transistor").augment is None
    assert recipes.training_settings("paper", "bottle").augment is not None


def test_the_papers_settings_and_ours() -> None:
    assert recipes.training_settings("paper") == Settings(
        epochs=500, batch_size=32, lr=1e-3, weight_decay=1e-5, clip=None, schedule="constant", augment=Augmentation()
    )
    ours = Settings(8, 8, None, 1e-5, 1.0, 0, "one_cycle", None, "float32", None, 3)
    assert recipes.training_settings("ours") == ours


def test_image_sizes_are_the_papers() -> None:
    assert [recipes.image_size(name) for name in PRESETS] == [256, 256, 384, 448]


def test_another_name_is_refused() -> None:
    for call in (recipes.training_settings, lambda name: recipes.model_config(name, "resnet18")):
        with pytest.raises(ValueError, match="recipe must be one of 'ours', 'paper', got 'theirs'"):
            call("theirs")
