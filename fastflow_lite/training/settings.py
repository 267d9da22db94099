"""How a model is trained: one validated, frozen set of settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from fastflow_lite.datasets.augmentation import Augmentation
from fastflow_lite.errors import ArgumentError, check_choice, check_number, check_whole

SCHEDULES = ("one_cycle", "constant")


@dataclass(frozen=True)
class Settings:
    """The settings of `fit`, checked when they are made. ArgumentError names a wrong value and the choices.

    The defaults are ours, found on cached features; `training.recipes` has the paper's.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images in a step, of all processes together.
        lr: Learning rate of Adam; the peak of the one-cycle schedule (Smith, arXiv 1708.07120).
        weight_decay: Weight decay of Adam (the paper's).
        clip: Largest norm of the gradient, or None.
        seed: Fixes the order of images and the augmentation.
        schedule: "one_cycle", or "constant" as the paper.
        augment: Changes of the images in every step, or None: then features are computed once.
    """

    epochs: int = 8
    batch_size: int = 8
    lr: float = 3e-3
    weight_decay: float = 1e-5
    clip: float | None = 1.0
    seed: int = 0
    schedule: str = "one_cycle"
    augment: Augmentation | None = None

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
            object.__setattr__(self, name, check_whole(name, getattr(self, name), least))
        check_number("lr", self.lr, above=0)
        check_number("weight_decay", self.weight_decay, least=0)
        if self.clip is not None:
            check_number("clip", self.clip, above=0)
        check_choice("schedule", self.schedule, SCHEDULES)
        if self.augment is not None and not isinstance(self.augment, Augmentation):
            raise ArgumentError(f"augment must be an Augmentation or None, got {self.augment!r}")


class SettingsOptions(TypedDict, total=False):
    """The fields of `Settings` as keyword arguments, for type checkers and completion; defaults stand there."""

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    clip: float | None
    seed: int
    schedule: str
    augment: Augmentation | None
