"""What a baseline is: its validated, frozen configuration, and the form of it in files and records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

from fastflow_lite.errors import ArgumentError, check_number, check_whole

MAP = "distance"  # the one kind of map of a baseline, as records name it
NAMES = {"method", "map"}  # in a record and no field


@dataclass(frozen=True)
class BaselineConfig:
    """What both baselines are configured by, checked when it is made. ArgumentError names a wrong value.

    Attributes:
        backbone: Name of the backbone, see `backbones.Backbone`.
        layers: Feature levels of the backbone; None takes those of its preset, and an own module has none.
        smoothing: Standard deviation of the Gaussian over the map, in pixels; 0 for none.
        seed: Fixes what is drawn at random.
    """

    backbone: str = "resnet18"
    layers: tuple[int, ...] | None = None
    smoothing: float = 4.0
    seed: int = 0
    method: ClassVar[str]

    def __post_init__(self) -> None:
        if not isinstance(self.backbone, str) or not self.backbone:
            raise ArgumentError(f"backbone must be the name of a network, got {self.backbone!r}")
        if self.layers is not None:
            if isinstance(self.layers, str) or not isinstance(self.layers, Sequence):
                raise ArgumentError(f"layers must be a sequence of whole numbers, got {self.layers!r}")
            self._replace("layers", tuple(check_whole("layers", layer, 0) for layer in self.layers))
        self._replace("smoothing", check_number("smoothing", self.smoothing, least=0))
        if check_whole("seed", self.seed, 0) >= 2**63:
            raise ArgumentError(f"seed must be below 2**63, got {self.seed}")

    def to_record(self) -> dict[str, Any]:
        """Return what a record and a file keep, as JSON values: the fields, the method and the kind of map."""
        record = {"method": self.method, "map": MAP} | asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}

    @classmethod
    def from_record(cls, record: object) -> Self:
        """Read what `to_record` returned, after any trip through JSON. ArgumentError for anything else."""
        names = {field.name for field in fields(cls)} | NAMES
        if not isinstance(record, Mapping) or set(record) != names or record["method"] != cls.method:
            raise ArgumentError(f"a configuration has the entries {', '.join(sorted(names))}, got {record!r}")
        return cls(**{name: value for name, value in record.items() if name not in NAMES})

    def _replace(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # the usual way to convert in a frozen dataclass


@dataclass(frozen=True)
class PatchCoreConfig(BaselineConfig):
    """The configuration of a `PatchCore`.

    Attributes:
        levels: How many of the backbone's maps are used, the last ones (paper: layer2 and layer3 of three).
        share: Part of all training positions that the memory bank keeps, above 0 and at most 1.
        neighbors: Entries of the memory bank around the nearest one that weight the image score (paper, equation 7);
            1 for no weight.
    """

    levels: int = 2
    share: float = 0.1
    neighbors: int = 9
    method = "patchcore"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._replace("levels", check_whole("levels", self.levels, 1))
        self._replace("neighbors", check_whole("neighbors", self.neighbors, 1))
        self._replace("share", check_number("share", self.share, above=0))
        if self.share > 1:
            raise ArgumentError(f"share must be above 0 and at most 1, got {self.share}")


@dataclass(frozen=True)
class PaDiMConfig(BaselineConfig):
    """The configuration of a `PaDiM`.

    Attributes:
        channels: How many channels of all maps are used, drawn at random; None takes the paper's 550 for Wide ResNet-50
            and 100 for other backbones, or all where there are fewer.
    """

    channels: int | None = None
    method = "padim"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels is not None:
            self._replace("channels", check_whole("channels", self.channels, 1))
