"""Recipes: which names there are, and what they set."""

from dataclasses import asdict

import pytest

from fastflow_lite.backbones import PRESETS, preset_for
from fastflow_lite.config import FastFlowConfig
from fastflow_lite.datasets.augmentation import Augmentation
from fastflow_lite.training import Settings, recipes
from fastflow_lite.training.optimization import learning_rate


def test_ours_differs_from_v01_by_the_levers_alone() -> None:
    ours, before = (recipes.model_config(name, "resnet18").to_record() for name in ("ours", "v0.1"))
    levers = {"normalize": "channel", "standardize_positions": True, "couple_scales": True}
    levers |= {"map": "exp_energy", "image_score": "top_inside", "smoothing": 3.0}
    ours_all = FastFlowConfig("resnet18", layers=(1, 2, 3), steps=8).to_record() | levers
    assert ours | {"layers": [1, 2, 3], "steps": 8} == ours_all == before | levers
    assert recipes.training_settings("ours") == Settings(updates=200, noise=0.4, views=640)


def test_ours_has_3x3_kernels_alone_over_a_narrow_network() -> None:
    in_turn, only = (recipes.model_config("ours", name) for name in ("resnet18", "tf_efficientnet_lite0.in1k"))
    assert (in_turn.kernels, only.kernels) == ((3, 1), (3,))
    assert recipes.model_config("v0.1", "tf_efficientnet_lite0.in1k").kernels == (3, 1)


def test_without_a_recipe_everything_is_as_in_v01() -> None:
    plain = FastFlowConfig("resnet18", layers=(1, 2, 3), steps=8)
    assert plain == recipes.model_config("v0.1", "resnet18")
    assert Settings(epochs=8) == recipes.training_settings("v0.1")
    assert Settings().passes(steps_per_epoch=100) == 8


def test_the_paper_is_not_turned_where_a_turn_is_a_defect() -> None:
    assert recipes.training_settings("paper", "transistor").augment is None
    assert recipes.training_settings("paper", "bottle").augment is not None


def test_the_papers_settings() -> None:
    assert recipes.training_settings("paper") == Settings(
        epochs=500, batch_size=32, lr=1e-3, weight_decay=1e-5, clip=None, schedule="constant", augment=Augmentation()
    )


def test_image_sizes_are_the_papers() -> None:
    assert [recipes.image_size(name) for name in PRESETS] == [256, 256, 384, 448]


def test_v01_stays_what_it_is() -> None:
    """Results of version 0.1 depend on it: where a default changes, it is written out in the recipe."""
    record = {
        "layers": [1, 2, 3],
        "steps": 8,
        "kernels": [3, 1],
        "hidden": None,
        "coupling": "affine",
        "clamp": 2.0,
        "normalize": "layer",
        "feature_mean": 1,
        "standardize_positions": False,
        "couple_scales": False,
        "uncounted_affine": None,
        "seed": 0,
        "map": "tempered",
        "image_score": "max",
        "smoothing": 0.0,
        "sharpness": 1.0,
        "scale_weights": "equal",
    }
    for name in ("resnet18", "resnet18.tv_in1k"):
        assert recipes.model_config("v0.1", name).to_record() == {"backbone": name} | record
    training = {
        "epochs": 8,
        "batch_size": 8,
        "lr": None,
        "weight_decay": 1e-5,
        "clip": 1.0,
        "seed": 0,
        "schedule": "one_cycle",
        "augment": None,
        "precision": "float32",
        "compile": None,
        "halvings": 3,
        "updates": None,
        "noise": 0.0,
        "average": None,
        "views": 0,
    }
    settings = recipes.training_settings("v0.1")
    assert asdict(settings) == training
    assert [learning_rate(settings, steps) for steps in (4, 8, 20)] == pytest.approx([3e-3, 3e-3, 4.8e-4])


def test_v01_has_the_layers_steps_and_widths_that_presets_had() -> None:
    networks = {
        "resnet18": ((1, 2, 3), 8, [64, 64, 128]),
        "wide_resnet50_2": ((1, 2, 3), 8, [32, 64, 128]),
        "deit_base_distilled_patch16_384": ((7,), 20, [128, 128, 128]),
        "cait_m48_448": ((40,), 20, [128, 128, 128]),
        "tf_efficientnet_lite0": ((1, 2, 3), 8, [64, 64, 128]),
    }
    for name, (layers, steps, widths) in networks.items():
        config = recipes.model_config("v0.1", name)
        assert (config.layers, config.steps) == (layers, steps)
        assert [preset_for(name).hidden_for(channels) for channels in (64, 128, 256)] == widths
    assert recipes.model_config("v0.1", "resnet34").layers is None


def test_another_name_is_refused() -> None:
    for call in (recipes.training_settings, lambda name: recipes.model_config(name, "resnet18")):
        with pytest.raises(ValueError, match=r"recipe must be one of 'ours', 'v0\.1', 'paper', got 'theirs'"):
            call("theirs")
