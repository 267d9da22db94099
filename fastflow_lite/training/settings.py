"""How a model is trained: one validated, frozen set of settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypedDict, Unpack

import torch

from fastflow_lite.datasets.augmentation import Augmentation
from fastflow_lite.errors import ArgumentError, check_choice, check_number, check_whole
from fastflow_lite.flows.precision import PRECISIONS

SCHEDULES = ("one_cycle", "constant")
LEAST = {"epochs": 1, "batch_size": 1, "seed": 0, "halvings": 0, "updates": 1, "views": 0}  # of whole numbers
COMPILED_FROM = 5000  # steps: about half a minute pays then, at the 10 ms a step that an H200 gained at most
DEFAULT_LENGTH: dict[str, Any] = {"epochs": 8}  # of a training for which neither `epochs` nor `updates` is given


@dataclass(frozen=True)
class Settings:
    """The settings of `fit`, checked when they are made. ArgumentError names a wrong value and the choices.

    The defaults are ours, found on cached features; `training.recipes` has the paper's.

    Attributes:
        epochs: Passes over the training images. None: as many as `updates` needs; where that is None too, the default
            length, `DEFAULT_LENGTH`. `History.settings` has the number.
        batch_size: Images in a step, of all processes together.
        lr: Learning rate of Adam; the peak of the one-cycle schedule (Smith, arXiv 1708.07120). None: the default for
            the number of flow steps, `optimization.learning_rate`; `History.settings` has the value.
        weight_decay: Weight decay of Adam (the paper's).
        clip: Largest norm of the gradient, or None.
        seed: Fixes the order of images and the augmentation.
        schedule: "one_cycle", or "constant" as the paper.
        augment: Changes of the images in every step, or None: then features are computed once.
        precision: Number format of the flows' convolutions, "float32" or "bf16". The loss, log-determinants and sums
            are float32 in either. "bf16" is for GPUs and processors that have it; measured with AVX-512 only.
        compile: Whether `torch.compile` fuses what lies between the convolutions: about half a minute before the first
            step. On a processor it was measured to gain with "bf16" only. None: on a GPU, in trainings of at least
            `COMPILED_FROM` steps.
        halvings: How many times a training that diverges goes back to the end of its last good epoch and goes on with
            half the learning rate, before `fit` raises DivergedError. `History.set_backs` lists them.
        updates: Steps of the optimizer, in place of `epochs`: the training then takes about as long for few images as
            for many. The last pass is made whole, so there may be more steps, fewer than one pass more.
        noise: Standard deviation of Gaussian noise that is added to the normalized features in every step, and not to
            held-out images. It regularizes a training on few images.
        average: Decay a step, such as 0.98, of an exponential moving average of the weights, or None for none. `fit`
            leaves the averaged weights in the model, and the likelihoods of held-out images are theirs.
        views: A set of fewer training images is filled up to so many by views of them, each a little turned, moved,
            scaled, less sharp, and of other light and noise (`datasets.views`), whose features are kept like those of
            the images. Not with `augment`.
    """

    epochs: int | None = None
    batch_size: int = 8
    lr: float | None = None
    weight_decay: float = 1e-5
    clip: float | None = 1.0
    seed: int = 0
    schedule: str = "one_cycle"
    augment: Augmentation | None = None
    precision: str = "float32"
    compile: bool | None = None
    halvings: int = 3
    updates: int | None = None
    noise: float = 0.0
    average: float | None = None
    views: int = 0

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            if getattr(self, name) is not None or name not in ("epochs", "updates"):
                object.__setattr__(self, name, check_whole(name, getattr(self, name), least))
        if self.epochs is not None and self.updates is not None:
            raise ArgumentError(f"give epochs={self.epochs} or updates={self.updates}, not both")
        if self.lr is not None:
            object.__setattr__(self, "lr", check_number("lr", self.lr, above=0))
        object.__setattr__(self, "weight_decay", check_number("weight_decay", self.weight_decay, least=0))
        object.__setattr__(self, "noise", check_number("noise", self.noise, least=0))
        if self.average is not None and not check_number("average", self.average, above=0) < 1:
            raise ArgumentError(f"average must be a decay between 0 and 1, such as 0.98, or None, got {self.average!r}")
        if self.clip is not None:
            object.__setattr__(self, "clip", check_number("clip", self.clip, above=0))
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("precision", self.precision, PRECISIONS)
        if self.compile not in (True, False, None):
            raise ArgumentError(f"compile must be True, False or None, got {self.compile!r}")
        if self.augment is not None and not isinstance(self.augment, Augmentation):
            raise ArgumentError(f"augment must be an Augmentation or None, got {self.augment!r}")
        if self.augment is not None and self.views:
            raise ArgumentError(f"give augment or views={self.views}, not both: an augmented image is not kept")

    def changed(self, **options: Unpack[SettingsOptions]) -> Settings:
        """Return a copy with the fields `options`; a number of `epochs` replaces `updates`, and the reverse.

        >>> Settings(epochs=500, seed=1).changed(updates=100) == Settings(updates=100, seed=1)
        True
        """
        if options.get("epochs") is not None or options.get("updates") is not None:
            options = {"epochs": None, "updates": None, **options}
        return replace(self, **options)

    def passes(self, steps_per_epoch: int) -> int:
        """Return the number of passes over the training images that these settings stand for.

        >>> [Settings(updates=updates).passes(steps_per_epoch=27) for updates in (27, 28, 1000)]
        [1, 2, 38]
        """
        if self.epochs is None and self.updates is None:
            return self.changed(**DEFAULT_LENGTH).passes(steps_per_epoch)
        return self.epochs or -(-(self.updates or 0) // steps_per_epoch)

    def compiles_on(self, device: torch.device, steps: int) -> bool:
        """Return whether a training of `steps` steps on `device` goes through `torch.compile`."""
        if self.compile is None:
            return device.type in ("cuda", "xpu") and steps >= COMPILED_FROM
        return self.compile


class SettingsOptions(TypedDict, total=False):
    """The fields of `Settings` as keyword arguments, for type checkers and completion; defaults stand there."""

    epochs: int | None
    batch_size: int
    lr: float | None
    weight_decay: float
    clip: float | None
    seed: int
    schedule: str
    augment: Augmentation | None
    precision: str
    compile: bool | None
    halvings: int
    updates: int | None
    noise: float
    average: float | None
    views: int
