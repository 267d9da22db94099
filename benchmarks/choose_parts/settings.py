"""The settings that `choose.py` compares: what is trained, and how the trained model is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

Options = Mapping[str, Any]
FASTFLOW = "fastflow"
RESNET = os.environ.get("FASTFLOW_LITE_WEIGHTS", "bundled")
# A word for the command line and tables: the network, and its weights.
BACKBONES = {
    "resnet18": ("resnet18", RESNET),
    "bundled": ("resnet18", "bundled"),
    "lite0": ("tf_efficientnet_lite0", "imagenet"),
}


@dataclass(frozen=True)
class Setting:
    """One training: a `method`, fields of its configuration as `config`, of `Settings` as `training`.

    The method is "fastflow" or one of `baselines.BASELINES`; these have no training options and no other read-outs.
    """

    config: Options = field(default_factory=dict)
    training: Options = field(default_factory=dict)
    backbone: str = "resnet18"  # a word in BACKBONES
    image_size: int = 256
    method: str = FASTFLOW
    of_backbone: Mapping[str, Options] = field(default_factory=dict)  # fields of the configuration over one network

    @property
    def network(self) -> str:
        return BACKBONES[self.backbone][0]

    @property
    def weights(self) -> str:
        return BACKBONES[self.backbone][1]

    def changed(self, config: Options | None = None, **training: Any) -> Setting:
        """Return this setting with other fields of the configuration, over all networks, and of the training."""
        config = config or {}
        kept = {
            word: {name: value for name, value in options.items() if name not in config}
            for word, options in self.of_backbone.items()
        }
        training = {**self.training, **training}
        return replace(self, config={**self.config, **config}, training=training, of_backbone=kept)

    def over(self, backbone: str) -> Setting:
        """Return this setting over a network, a word in BACKBONES, with the fields that it has over that one."""
        config = {**self.config, **self.of_backbone.get(backbone, {})}
        return replace(self, backbone=backbone, config=config, of_backbone={})

    def to_record(self) -> dict[str, Any]:
        """Return what two runs of one name must have in common, as JSON values."""
        options = {"config": dict(self.config), "training": dict(self.training)}
        named = {name: {k: list(v) if isinstance(v, tuple) else v for k, v in o.items()} for name, o in options.items()}
        weights = {"network": self.network, "weights": Path(self.weights).stem, "image_size": self.image_size}
        return {"method": self.method} | named | weights


# Every value is written out: what is a default today may be none tomorrow.
V01 = Setting(
    config={
        "steps": 8,
        "kernels": (3, 1),
        "coupling": "affine",
        "clamp": 2.0,
        "normalize": "layer",
        "map": "tempered",
        "image_score": "max",
        "smoothing": 0.0,
    },
    training={"epochs": 8, "batch_size": 8, "lr": 3e-3, "weight_decay": 1e-5, "clip": 1.0, "schedule": "one_cycle"},
)

ALL_LEVERS = {
    "normalize": "channel",
    "standardize_positions": True,
    "couple_scales": True,
    "map": "exp_energy",
    "image_score": "top_inside",
    "smoothing": 3.0,
}
OURS = replace(
    V01.changed(ALL_LEVERS),
    training={"updates": 200, "noise": 0.4, "views": 640},
    of_backbone={"lite0": {"kernels": (3,)}},
)

SETTINGS: dict[str, Setting] = {
    "v0.1": V01,
    "ours": OURS,  # the recipe of that name
    # Ours without one of its levers, or with another one.
    "layer": OURS.changed({"normalize": "layer"}),
    "no positions": OURS.changed({"standardize_positions": False}),
    "no coupling": OURS.changed({"couple_scales": False}),  # the scales as independent parts
    "no views": OURS.changed(views=0),
    "views 320": OURS.changed(views=320),
    "no noise": OURS.changed(noise=0.0),
    "noise 0.2": OURS.changed(noise=0.2),
    "noise 0.3": OURS.changed(noise=0.3),
    "noise 0.6": OURS.changed(noise=0.6),
    "mean 3": OURS.changed({"feature_mean": 3}),
    "updates 100": OURS.changed(updates=100),
    "updates 400": OURS.changed(updates=400),
    "average 0.98": OURS.changed(average=0.98),
    "steps 4": OURS.changed({"steps": 4}),
    "kernels in turn": OURS.changed({"kernels": (3, 1)}),
    "kernels 3": OURS.changed({"kernels": (3,)}),  # over Lite0 that is "ours"
    "kernels 1": OURS.changed({"kernels": (1,)}),
    "320 pixels": replace(OURS, image_size=320),
    "levels 2 and 3": OURS.changed({"layers": (2, 3)}),
    "patchcore": Setting(method="patchcore"),
    "padim": Setting(method="padim"),
}

OWN = "own"  # the read-out that the setting has; it is always judged
# Others, judged on the same trained model: fields of `FastFlowConfig` that no training depends on.
READOUTS: dict[str, Options] = {
    "likelihood": {"map": "likelihood"},
    "tempered": {"map": "tempered"},
    "largest value": {"image_score": "max"},
    "no smoothing": {"smoothing": 0.0},
    "smoothing 4": {"smoothing": 4.0},
    # How the maps of the scales become one; the recipe's own is sharpness 1, equal.
    **{
        f"sharpness {k}, {weights}": {"sharpness": float(k), "scale_weights": weights}
        for k, weights in ((1, "rising"), (2, "equal"), (2, "rising"), (4, "equal"), (4, "rising"))
    },
}
