"""What fitting a baseline leaves behind: its seconds and what it was fitted to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class FitHistory:
    """One fit of a baseline, with the names that `training.History` has for records.

    Attributes:
        seconds: Seconds by stage: "features", and "training" for all that comes after.
        train_images: Number of training images.
        train_sha256: Fingerprint of the training images.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    train_images: int = 0
    train_sha256: str = ""

    @property
    def epochs(self) -> int:
        """One: every image is used once."""
        return 1

    def to_record(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)
