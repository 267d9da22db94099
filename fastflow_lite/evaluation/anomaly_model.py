"""What evaluation and detection need of a model: `FastFlow` has it, and so have the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from fastflow_lite.backbones.frozen import Backbone
from fastflow_lite.datasets.input_format import InputFormat


class Readout(Protocol):
    """What `readout()` of a model returns: its maps and scores, with the settings of the moment of that call.

    Attributes:
        kinds: The kinds of map that can be computed.
    """

    @property
    def kinds(self) -> Sequence[str]:
        """Return the kinds of map that can be computed."""

    def terms(self, outputs: Any) -> list[Tensor]:
        """Return what maps and scores of every kind are computed from: as small as feature maps, the batch first."""

    def maps(self, terms: Sequence[Tensor], size: Sequence[int], kind: str) -> Tensor:
        """Compute maps `(B, 1, *size)` of one kind."""

    def scores(self, maps: Tensor, terms: Sequence[Tensor]) -> Tensor:
        """Compute image scores `(B,)` from maps of one kind."""

    def mean_nats(self, outputs: Any) -> Tensor:
        """Compute the mean negative log-likelihood in nats per dimension; nan where a model has none."""


class ModelConfig(Protocol):
    """The configuration of a model."""

    @property
    def backbone(self) -> str:
        """Return the name of the backbone."""

    def to_record(self) -> dict[str, Any]:
        """Return what records keep, as JSON values: the kind of map by the name "map" among it."""


class PreparedAnomalyModel(Protocol):
    """What `AnomalyModel.prepared_for_inference` returns."""

    @property
    def model(self) -> AnomalyModel:
        """Return the model that it was made from."""

    def __call__(self, images: Tensor) -> Any:
        """Compute what the model's `readout` and `maps_and_scores` take, from images `(B, 3, H, W)`."""


class AnomalyModel(Protocol):
    """A trained model from images to anomaly maps and scores, higher for more anomalous; see `FastFlow` for each name.

    `map` is the kind of its own map, `image_score` how a map that was changed or joined becomes one score.
    """

    input_format: InputFormat
    training: bool
    map: Any
    image_score: Any

    @property
    def config(self) -> ModelConfig:
        """Return the configuration."""

    @property
    def backbone(self) -> Backbone:
        """Return the backbone."""

    @property
    def device(self) -> torch.device:
        """Return where the model computes."""

    def check_trained(self) -> None:
        """Raise NotTrainedError for a model without training."""

    def readout(self) -> Readout:
        """Return what computes maps and scores of every kind, with the settings of now."""

    def anomaly_map(self, outputs: Any, size: Sequence[int]) -> Tensor:
        """Compute maps `(B, 1, *size)` of the model's own kind."""

    def maps_and_scores(self, outputs: Any, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Compute maps `(B, 1, *size)` of the model's own kind, and image scores `(B,)`."""

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute maps `(B, 1, H, W)` and image scores `(B,)`."""

    def prepared_for_inference(self, precision: str = "float32") -> PreparedAnomalyModel:
        """Return an object for many predictions."""

    def train(self, mode: bool = True) -> Any:
        """Set the mode."""

    def to(self, device: Any) -> Any:
        """Move the model, and return it."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors that `save` writes; the names of the backbone's begin with "backbone."."""

    def save(self, path: str | Path, entries: Mapping[str, str] | None = None) -> None:
        """Write the model to a file."""


class TrainingHistory(Protocol):
    """What records keep of a training or a fit: `training.History` and `baselines.FitHistory`."""

    seconds: dict[str, float]

    @property
    def epochs(self) -> int:
        """Return the number of passes over the images."""

    def to_record(self) -> dict[str, Any]:
        """Return JSON values."""


def size_in_mib(model: AnomalyModel) -> dict[str, float]:
    """Return the size in MiB of the backbone's tensors, of what was learned (a memory bank, say), and of both.

    Both together are the size of the file of `save`, but for its header.
    """
    sizes = {"backbone": 0, "learned": 0}
    for name, tensor in model.state_dict().items():
        sizes["backbone" if name.startswith("backbone.") else "learned"] += tensor.nbytes
    sizes["file"] = sum(sizes.values())
    return {name: round(size / 2**20, 3) for name, size in sizes.items()}
