"""What a FastFlow network is: one validated, frozen configuration, and its form in files and records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypedDict

from fastflow_lite.backbones.normalization import NORMALIZATIONS
from fastflow_lite.errors import ArgumentError, check_choice, check_number, check_whole
from fastflow_lite.flows.steps import COUPLINGS
from fastflow_lite.scoring.maps import ReadoutSettings

# Training does not depend on these: they may be changed at any time, and belong to no checkpoint's identity.
READOUT = {field.name for field in fields(ReadoutSettings)}
# What a record of version 0.1 means, which lacks them.
ABSENT = {"feature_mean": 1, "standardize_positions": False, "couple_scales": False}


@dataclass(frozen=True)
class FastFlowConfig(ReadoutSettings):
    """The configuration of a `FastFlow`, checked when it is made. ArgumentError names a wrong value and the choices.

    `map`, `image_score`, `smoothing`, `sharpness` and `scale_weights` are those of `scoring.ReadoutSettings`.

    Attributes:
        backbone: Name of the backbone, see `backbones.Backbone`.
        layers: Feature levels of the backbone; None takes those of its preset, and an own module has none.
        steps: Flow steps of each scale; None takes the preset's (paper, section 4.1).
        kernels: Sides of the sub-nets' kernels, odd, used in turn. The paper's ResNet-18 has 3x3 only, `(3,)`.
        hidden: Width of the sub-nets in channels; None takes the preset's.
        coupling: One of `flows.COUPLINGS`.
        clamp: Bound of the log-scale s of an affine coupling.
        normalize: Normalization of the features, see `backbones.Normalize`.
        feature_mean: Side in positions, odd, of the window over which the normalized features are averaged; 1 for none.
            PatchCore (arXiv 2106.08265, section 3.1) averages over 3 x 3.
        standardize_positions: Whether the flow of each scale begins with `StandardizePositions`, by as much as the
            position explains the training features.
        couple_scales: Whether the couplings of each scale but the coarsest have the features of the next coarser one as
            a further input (`flows.ConditionalFlow`), which makes the likelihood that of all scales together.
        uncounted_affine: `(height, width)` of the images: puts the trainable affine of other implementations in
            front of the flows, as an ablation. Its Jacobian is not part of the likelihood.
        seed: Fixes the flows' first weights and permutations.
        save_memory: Keep the inputs of every few flow steps, and compute what lies between again in the backward
            pass. The memory of a training step then grows with the square root of `steps`; slower, same gradients.
    """

    backbone: str = "resnet18"
    layers: tuple[int, ...] | None = None
    steps: int | None = None
    kernels: tuple[int, ...] = (3, 1)
    hidden: int | None = None
    coupling: str = "affine"
    clamp: float = 2.0
    normalize: str = "layer"
    feature_mean: int = 1
    standardize_positions: bool = False
    couple_scales: bool = False
    uncounted_affine: tuple[int, int] | None = None
    seed: int = 0
    save_memory: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()

        def replace(name: str, value: object) -> None:
            object.__setattr__(self, name, value)  # the usual way to convert in a frozen dataclass

        if not isinstance(self.backbone, str) or not self.backbone:
            raise ArgumentError(f"backbone must be the name of a network, got {self.backbone!r}")
        if self.layers is not None:
            replace("layers", _whole_numbers("layers", self.layers, 0, may_be_empty=True))
        for name in ("steps", "hidden"):
            if getattr(self, name) is not None:
                replace(name, check_whole(name, getattr(self, name), 1))
        replace("kernels", _whole_numbers("kernels", self.kernels, 1))
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise ArgumentError(f"kernels must be odd to keep the size of a map, got {self.kernels}")
        check_choice("coupling", self.coupling, COUPLINGS)
        replace("clamp", check_number("clamp", self.clamp, above=0))
        check_choice("normalize", self.normalize, NORMALIZATIONS)
        if check_whole("feature_mean", self.feature_mean, 1) % 2 == 0:
            raise ArgumentError(f"feature_mean must be odd to keep the size of a map, got {self.feature_mean}")
        for name in ("standardize_positions", "couple_scales", "save_memory"):
            if not isinstance(getattr(self, name), bool):
                raise ArgumentError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.uncounted_affine is not None:
            replace("uncounted_affine", _whole_numbers("uncounted_affine", self.uncounted_affine, 1, count=2))
        replace("seed", check_whole("seed", self.seed, 0))
        if self.seed >= 2**64:
            raise ArgumentError(f"seed must be below 2**64, got {self.seed}")

    def to_record(self) -> dict[str, Any]:
        """Return what a record and a file keep, as JSON values: all but `save_memory`, which changes no result."""
        record = asdict(self)
        del record["save_memory"]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}

    def to_identity(self) -> dict[str, Any]:
        """Return what the result of a training depends on: the record without `READOUT`."""
        return {name: value for name, value in self.to_record().items() if name not in READOUT}

    @classmethod
    def from_record(cls, record: object) -> FastFlowConfig:
        """Read what `to_record` returned, after any trip through JSON. ArgumentError for anything else.

        Fields that version 0.1 did not have may be absent; they then have the value that gives its results.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(record, Mapping) or not names.issuperset(record):
            raise ArgumentError(f"a configuration has the entries {', '.join(sorted(names))}, got {record!r}")
        return cls(**{**ABSENT, **record})


class FastFlowOptions(TypedDict, total=False):
    """The fields of `FastFlowConfig` as keyword arguments, for type checkers and completion; defaults stand there."""

    layers: Sequence[int] | None
    steps: int | None
    kernels: Sequence[int]
    hidden: int | None
    coupling: str
    clamp: float
    normalize: str
    feature_mean: int
    standardize_positions: bool
    couple_scales: bool
    uncounted_affine: tuple[int, int] | None
    seed: int
    map: str
    image_score: str
    smoothing: float
    sharpness: float
    scale_weights: str
    save_memory: bool


def _whole_numbers(
    name: str, values: Any, least: int, count: int | None = None, may_be_empty: bool = False
) -> tuple[int, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence) or not (values or may_be_empty):
        raise ArgumentError(f"{name} must be a sequence of whole numbers, got {values!r}")
    if count is not None and len(values) != count:
        raise ArgumentError(f"{name} must hold {count} whole numbers, got {values!r}")
    return tuple(check_whole(name, value, least) for value in values)
