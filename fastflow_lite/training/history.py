"""What a training leaves behind: its losses, its seconds and what it was trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from fastflow_lite.training.settings import Settings

LATE = ("precision", "compile", "halvings", "updates", "noise", "average", "views")


@dataclass(frozen=True)
class SetBack:
    """A divergence, after which the training went back to the end of its last good epoch.

    Attributes:
        epoch: The epoch that diverged, from 1. It was made anew.
        reason: What was seen, such as the loss.
        lr_factor: What the learning rates of the schedule were multiplied by from then on, of all set-backs together.
    """

    epoch: int
    reason: str
    lr_factor: float


@dataclass
class History:
    """The course of one training.

    Attributes:
        settings: The settings of the training.
        bits_per_dim: Negative log-likelihood in bits per dimension, the mean over each epoch.
        held_out: The same of normal images not trained on, after each epoch, where some were given.
        seconds: Seconds by stage, "features" and "training".
        train_images: Number of training images.
        train_sha256: Fingerprint of the training images.
        set_backs: The divergences that were mended, in their order; empty for a training without one.
    """

    settings: Settings
    bits_per_dim: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"features": 0.0, "training": 0.0})
    train_images: int = 0
    train_sha256: str = ""
    set_backs: list[SetBack] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """Epochs made so far."""
        return len(self.bits_per_dim)

    def summary(self) -> str:
        """Return the losses of the last epoch as text."""
        text = f"{self.bits_per_dim[-1]:.3f} bits/dim"
        return text + (f" ({self.held_out[-1]:.3f} held out)" if self.held_out else "")

    def to_record(self) -> dict[str, Any]:
        """Return the history as nested dicts, for `result.json`; `set_backs` only where there are any."""
        record = asdict(self) | {"settings": settings_record(self.settings)}
        return record if self.set_backs else {name: value for name, value in record.items() if name != "set_backs"}


def settings_record(settings: Settings) -> dict[str, Any]:
    """Return the settings as a dict; those of `LATE` only where they are not the defaults.

    Records and checkpoints of ordinary trainings are then equal to those from before these settings were made.
    """
    late = {name: getattr(Settings, name) for name in LATE}
    return {name: value for name, value in asdict(settings).items() if name not in late or value != late[name]}
