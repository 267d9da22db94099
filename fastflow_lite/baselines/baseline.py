"""What PatchCore and PaDiM share: a frozen backbone, a fit in one pass, maps of distances, one file."""

from __future__ import annotations

import json
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastflow_lite.backbones.batch_norm_folding import fold_batch_norm
from fastflow_lite.backbones.frozen import Backbone
from fastflow_lite.backbones.weights import default_backbone
from fastflow_lite.baselines.config import MAP, BaselineConfig
from fastflow_lite.baselines.files import baseline_format, read_baseline
from fastflow_lite.baselines.history import FitHistory
from fastflow_lite.datasets.image_set import ImageSet
from fastflow_lite.datasets.in_memory import ImageSource, TensorSet, as_normal_set
from fastflow_lite.datasets.input_format import InputFormat
from fastflow_lite.devices.thread_choice import ThreadChoice
from fastflow_lite.errors import DataError, DivergedError, NotTrainedError, check_choice, check_whole
from fastflow_lite.files import TensorForms, write_tensors
from fastflow_lite.flows.precision import PRECISIONS, products_in
from fastflow_lite.progress import Count
from fastflow_lite.scoring.maps import blur, image_score

Outputs = list[Tensor]  # distances (B, h, w); for PatchCore also the weight (B,) of each image's score


@dataclass(frozen=True)
class DistanceReadout:
    """From the distances of a batch to maps and image scores; see `evaluation.anomaly_model.Readout`.

    Attributes:
        smoothing: Standard deviation of the Gaussian over a map, in pixels.
        interpolation: How distances are brought to the size of the images.
    """

    smoothing: float
    interpolation: str
    kinds: Sequence[str] = (MAP,)

    def terms(self, outputs: Outputs) -> list[Tensor]:
        """Return what maps and scores are computed from."""
        return outputs

    def maps(self, terms: Sequence[Tensor], size: Sequence[int], kind: str = MAP) -> Tensor:
        """Compute maps `(B, 1, *size)`."""
        check_choice("map", kind, self.kinds)
        maps = F.interpolate(terms[0].unsqueeze(1), tuple(size), mode=self.interpolation)
        return blur(maps, self.smoothing) if self.smoothing else maps

    def scores(self, maps: Tensor, terms: Sequence[Tensor]) -> Tensor:
        """Compute scores `(B,)`: the largest distance by its weight; without weights, the largest value of the map."""
        return terms[0].flatten(1).amax(dim=1) * terms[1] if len(terms) > 1 else image_score(maps)

    def mean_nats(self, outputs: Outputs) -> Tensor:
        """Return nan: distances are no likelihood."""
        return torch.tensor(torch.nan)


class Baseline(nn.Module):
    """A model of the features of normal images, by their distances; the interface is that of `FastFlow`.

    Attributes:
        config: The configuration.
        input_format: The images that it was fitted to.
    """

    config: Any  # of the type `config_type`
    config_type: ClassVar[type[BaselineConfig]]
    interpolation: ClassVar[str]  # of `DistanceReadout`
    input_format: InputFormat
    map = MAP
    image_score = "max"  # of a map that was changed, such as one with a part left out

    def __init__(
        self,
        backbone: str | nn.Module | None = None,
        weights: str | Path | None = "bundled",
        config: Any = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.input_format = InputFormat()
        asked = replace(config or self.config_type(), **options)
        network = backbone if backbone is not None else config.backbone if config else default_backbone(weights)
        self.backbone = network if isinstance(network, Backbone) else Backbone(network, weights, asked.layers)
        self.config = replace(asked, backbone=self.backbone.name, layers=self.backbone.layers)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.backbone.mean.device

    @abstractmethod
    def embed(self, maps: Sequence[Tensor]) -> Tensor:
        """Combine the backbone's maps into one, `(B, C, h, w)` of the finest used."""

    @abstractmethod
    def distances(self, embeddings: Tensor) -> Outputs:
        """Compute how far embeddings `(B, C, h, w)` are from the normal ones."""

    @abstractmethod
    def check_trained(self) -> None:
        """Raise NotTrainedError unless the model has been fitted."""

    @abstractmethod
    def collector(self, images: int, shape: Sequence[int]) -> Collector:
        """Return what takes the embeddings of `images` images, each of `shape` `(C, h, w)`."""

    @abstractmethod
    def make_room(self, forms: TensorForms) -> None:
        """Give the buffers, without memory, the shapes that a file names. ArgumentError for impossible ones."""

    def check_values(self) -> None:
        """Raise ArgumentError if a file gave a buffer values that it cannot have."""

    @torch.inference_mode()
    def fit(self, train: ImageSource, *, batch_size: int = 8, progress: bool = True) -> FitHistory:
        """Fit the model in place to normal images, in one pass, on the device that it is on.

        DataError for images or features that cannot be used; the message names the file. A model that had been fitted
        is as it was after an error.
        """
        check_whole("batch_size", batch_size, 1)
        images = as_normal_set(train, "train")
        found = InputFormat.of_training(images)
        history = FitHistory(train_images=len(images), train_sha256=images.fingerprint())
        began = time.monotonic()
        with ThreadChoice(self.device):
            collector = self._collected(images, batch_size, progress)
            history.seconds["features"] = time.monotonic() - began
            collector.finish(progress)
        history.seconds["training"] = time.monotonic() - began - history.seconds["features"]
        self.input_format = found
        return history

    def _collected(self, images: ImageSet | TensorSet, batch_size: int, progress: bool) -> Collector:
        """Give the embeddings of all images to a collector, and return it."""
        collector, start, backbone, device = None, 0, fold_batch_norm(self.backbone), self.device
        with Count(len(images), show=progress) as count:
            for batch, _ in images.batches(batch_size, pin=device.type == "cuda"):
                embeddings = self.embed(backbone(batch.to(device, non_blocking=True)))
                for index in (~torch.isfinite(embeddings.half()).flatten(1).all(dim=1)).nonzero()[:1, 0].tolist():
                    name = images.name_of(start + index)
                    raise DataError(f"features of {name} are not finite in float16; check the backbone's weights")
                collector = collector or self.collector(len(images), embeddings.shape[1:])
                collector.add(start, embeddings)
                start += len(batch)
                count.step(len(batch))
        if collector is None:
            raise DataError(f"there are no images to learn from below {images.root}")
        return collector

    def forward(self, images: Tensor, precision: str = "float32") -> Outputs:
        """Compute distances from images `(B, 3, H, W)` in [0, 1]; `precision` as in `predict`."""
        return PreparedBaseline(self, precision, self.backbone)(images)

    def predict(self, images: Tensor, precision: str = "float32") -> tuple[Tensor, Tensor]:
        """Compute anomaly maps `(B, 1, H, W)` and image scores `(B,)`; higher is more anomalous.

        `precision` is "float32" or "bf16", the number format of the backbone. NotTrainedError for a model that was not
        fitted; DivergedError for maps that are not finite.
        """
        self.check_trained()
        with torch.inference_mode():
            return self.maps_and_scores(self(images, precision), images.shape[-2:])

    def readout(self) -> DistanceReadout:
        """Return what computes maps and scores from distances."""
        return DistanceReadout(self.config.smoothing, self.interpolation)

    def anomaly_map(self, outputs: Outputs, size: Sequence[int], kind: str | None = None) -> Tensor:
        """Compute maps `(B, 1, *size)` from what `forward` returned. There is one `kind`, "distance"."""
        return self.readout().maps(outputs, size, kind or MAP)

    def maps_and_scores(self, outputs: Outputs, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Compute maps `(B, 1, *size)` and image scores `(B,)` from what `forward` returned."""
        maps = self.anomaly_map(outputs, size)
        if not torch.isfinite(maps).all():
            raise DivergedError("the anomaly maps are not finite: look for NaN or infinite values in the images")
        return maps, self.readout().scores(maps, outputs)

    def prepared_for_inference(self, precision: str = "float32", compiled: bool = False) -> PreparedBaseline:
        """Return an object that computes what this model computes, with the backbone's batch norms folded.

        `compiled` is taken for the sake of the interface, and nothing is compiled.
        """
        return PreparedBaseline(self, precision, fold_batch_norm(self.backbone))

    def save(self, path: str | Path, entries: Mapping[str, str] | None = None) -> None:
        """Write what was fitted, the backbone's weights and the configuration to `path`, a safetensors file.

        Other `entries` go into its header. Written whole or not at all. NotTrainedError for a model without a fit.
        """
        self.check_trained()
        records = {"config": self.config.to_record(), "weights": vars(self.backbone.weights_info)}
        records["images"] = asdict(self.input_format)
        header = {"format": baseline_format(self.config.method)}
        header |= {name: json.dumps(record) for name, record in records.items()}
        write_tensors(Path(path), self.state_dict(), header | dict(entries or {}))

    @classmethod
    def load(cls, path: str | Path, backbone: nn.Module | None = None) -> Self:
        """Read the model that `save` wrote. A model over an own module needs it as `backbone`.

        CheckpointError for a file that is missing, damaged or something else. Nothing of the size that it claims is
        made before its tensors have that size.
        """
        return read_baseline(cls, Path(path), backbone)

    def check_fitted(self, buffer: Tensor) -> None:
        """Raise NotTrainedError if `buffer` is empty."""
        if not buffer.numel():
            raise NotTrainedError("this model has not been fitted: call model.fit(images), or load a file of `save`")


class Collector:
    """Takes the embeddings of all training images, batch by batch, and fits a model to them."""

    def add(self, start: int, embeddings: Tensor) -> None:
        """Take embeddings `(B, C, h, w)` of consecutive images from index `start` on."""
        raise NotImplementedError

    def finish(self, progress: bool) -> None:
        """Fit the model; `progress` shows how far it is."""
        raise NotImplementedError


class PreparedBaseline:
    """What `model(images)` and `model.predict(images)` compute, for repeated calls."""

    def __init__(self, model: Baseline, precision: str, backbone: Backbone) -> None:
        check_choice("precision", precision, PRECISIONS)
        self.model, self.precision, self.backbone = model, precision, backbone

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Outputs:
        """Compute distances from images, as the model's `forward`."""
        self.model.input_format.check_batch(images)
        with products_in(self.precision, self.model.device):
            maps = self.backbone(images.to(self.model.device, non_blocking=True))
        return self.model.distances(self.model.embed([x.to(self.backbone.mean.dtype) for x in maps]))

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute maps `(B, 1, H, W)` and scores `(B,)`, as the model's `predict`."""
        self.model.check_trained()
        return self.model.maps_and_scores(self(images), images.shape[-2:])
