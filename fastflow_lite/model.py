"""FastFlow: a frozen backbone, a normalization of its features, one flow per scale."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastflow_lite.backbones.batch_norm_folding import fold_batch_norm
from fastflow_lite.backbones.frozen import Backbone
from fastflow_lite.backbones.normalization import Normalize, UncountedAffine
from fastflow_lite.backbones.stored_models import check_network_forms, refuse_what_does_not_fit
from fastflow_lite.backbones.weights import TO_FILL, WeightsInfo, default_backbone
from fastflow_lite.config import FastFlowConfig, FastFlowOptions
from fastflow_lite.datasets.input_format import InputFormat
from fastflow_lite.errors import (
    ArgumentError,
    CheckpointError,
    NotTrainedError,
    check_choice,
)
from fastflow_lite.files import TensorForms, check_format, check_forms, read_header, read_tensors, write_tensors
from fastflow_lite.flows.conditional import ConditionalFlow, coupled
from fastflow_lite.flows.fast import apply_flow, precompute_weights
from fastflow_lite.flows.positions import StandardizePositions
from fastflow_lite.flows.precision import PRECISIONS, products_in
from fastflow_lite.flows.steps import flow_steps
from fastflow_lite.flows.transforms import ActNorm, Permute, Sequential
from fastflow_lite.machine import can_compile
from fastflow_lite.scoring import maps as scores

FORMAT = "fastflow-lite model 1"


def _readout(name: str) -> Any:
    """Make a property for a field of the configuration that may be changed after training."""

    def get(self: FastFlow) -> Any:
        return getattr(self.config, name)

    def put(self: FastFlow, value: Any) -> None:
        changes: Any = {name: value}
        self.config = replace(self.config, **changes)

    return property(get, put, doc=f"`FastFlowConfig.{name}`; a new value is checked as there.")


class FastFlow(nn.Module):
    """FastFlow (arXiv 2111.07677) over the feature maps of a frozen backbone.

    Args:
        backbone: Name of a network of the paper or of timm, or an own module that returns maps `(B, C, H, W)`. Default:
            that of `config`; without it the network that `weights` are made for, else ResNet-18.
        weights: "bundled", "imagenet", "timm", "random", a file, or None; see `backbones.weights.build_with_weights`.
        config: The configuration; default `FastFlowConfig()`.
        **options: Fields of `FastFlowConfig` that replace those of `config`, such as `steps=4` or `map="nll"`.

    Raises:
        ArgumentError: An option has a value that it cannot have.
        WeightsError: The weights cannot be had or do not fit the backbone.

    >>> model = FastFlow("resnet18", weights="bundled", steps=2)
    >>> outputs = model(torch.rand(2, 3, 64, 96))  # (z, log_det) of each scale
    >>> [tuple(z.shape) for z, log_det in outputs]
    [(2, 64, 16, 24), (2, 128, 8, 12), (2, 256, 4, 6)]
    """

    config: FastFlowConfig
    input_format: InputFormat  # set by `fit`
    training_medians: Tensor  # (scales, 2): median energy and log_det per dimension on training images
    normalize: Sequence[Normalize]  # registered as module lists; annotated by what they hold
    affine: Sequence[UncountedAffine]
    flows: Sequence[Sequential | ConditionalFlow]
    map = _readout("map")
    image_score = _readout("image_score")
    smoothing = _readout("smoothing")
    sharpness = _readout("sharpness")
    scale_weights = _readout("scale_weights")

    def __init__(
        self,
        backbone: str | nn.Module | None = None,
        weights: str | Path | None = "bundled",
        config: FastFlowConfig | None = None,
        **options: Unpack[FastFlowOptions],
    ) -> None:
        super().__init__()
        self.input_format = InputFormat()
        asked = replace(config or FastFlowConfig(), **options)  # type: ignore[arg-type]  # sequences become tuples there
        network = backbone if backbone is not None else config.backbone if config else default_backbone(weights)
        self.backbone = network if isinstance(network, Backbone) else Backbone(network, weights, asked.layers)
        preset, channels = self.backbone.preset, self.backbone.channels
        steps, layers = asked.steps or preset.steps, self.backbone.layers
        self.config = replace(asked, backbone=self.backbone.name, layers=layers, steps=steps)
        self.register_buffer("training_medians", torch.zeros(len(channels), 2))
        self.add_module("normalize", nn.ModuleList(Normalize(self.config.normalize, c) for c in channels))
        self.add_module("affine", nn.ModuleList(self._uncounted_affine()))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            flows = [self._flow(c) for c in channels]
            self.add_module("flows", nn.ModuleList(coupled(flows, channels) if asked.couple_scales else flows))

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.backbone.mean.device

    def features(self, images: Tensor, precision: str = "float32", backbone: Backbone | None = None) -> list[Tensor]:
        """Compute normalized feature maps of images `(B, 3, H, W)` in [0, 1], finest first.

        `precision` is that of `predict`; `backbone` takes the place of the model's own, such as a folded one.
        """
        with products_in(precision, self.device):
            maps = (backbone or self.backbone)(images.to(self.device, non_blocking=True))
        return self.normalized([x.to(self.backbone.mean.dtype) for x in maps])

    def normalized(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Normalize the maps that the backbone returned, then average each over `config.feature_mean` positions."""
        normalized = [normalize(x) for normalize, x in zip(self.normalize, maps, strict=True)]
        side = self.config.feature_mean
        if side == 1:
            return normalized
        return [F.avg_pool2d(x, side, stride=1, padding=side // 2, count_include_pad=False) for x in normalized]

    def flow_inputs(self, features: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
        """Return the arguments of each flow: its features, after the affine if any, and the coarser ones it is given.

        The latter are those of the next scale, for all scales but the coarsest of a model with `couple_scales`.
        """
        maps = [affine(x) for affine, x in zip(self.affine, features, strict=True)] if self.affine else features
        return [*pairwise(maps), (maps[-1],)] if self.config.couple_scales else [(x,) for x in maps]

    def flow(
        self, features: Sequence[Tensor], fast: bool = True, precision: str = "float32", compiled: bool = False
    ) -> list[scores.Output]:
        """Compute `(z, log_det)` of every scale from normalized features, `(B, C, h, w)` and `(B, h, w)`.

        `fast=False` computes `flow(x)` of each scale instead of `flows.fast`: the same to rounding. `precision` and
        `compiled` are those of `flows.fast.apply_flow`.
        """
        pairs = zip(self.flows, self.flow_inputs(features), strict=True)
        if not fast:
            return [flow(*inputs) for flow, inputs in pairs]
        keep = not self.config.save_memory
        return [
            apply_flow(flow, *inputs, keep_activations=keep, precision=precision, compiled=compiled)
            for flow, inputs in pairs
        ]

    def forward(self, images: Tensor, fast: bool = True, precision: str = "float32") -> list[scores.Output]:
        """Compute `(z, log_det)` of every scale from images `(B, 3, H, W)` in [0, 1]; `precision` as in `predict`.

        ArgumentError for values beyond [0, 1]; a warning if the model was trained on images of another size.
        """
        self.input_format.check_batch(images)
        return self.flow(self.features(images, precision), fast, precision)

    def predict(self, images: Tensor, precision: str = "float32") -> tuple[Tensor, Tensor]:
        """Compute anomaly maps `(B, 1, H, W)` and image scores `(B,)`; higher is more anomalous.

        `precision` is "float32" or "bf16", the number format of all convolutions. NotTrainedError for a model that
        `fit` has not seen; DivergedError for maps that are not finite, since NaN is no alarm in any comparison.
        """
        check_choice("precision", precision, PRECISIONS)
        self.check_trained()
        # The mode is left as it is: a trained model computes the same in both, and other threads may be training it.
        with torch.inference_mode():
            outputs = self(images, precision=precision)
            return scores.check_finite(*self.maps_and_scores(outputs, images.shape[-2:]))

    def anomaly_map(self, outputs: Sequence[scores.Output], size: Sequence[int], kind: str | None = None) -> Tensor:
        """Compute maps `(B, 1, *size)` of one `kind` (default: the model's own) from what `forward` returned."""
        readout = self.readout()
        return readout.maps(readout.terms(outputs), size, kind or self.map)

    def maps_and_scores(self, outputs: Sequence[scores.Output], size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Compute the model's own maps `(B, 1, *size)` and image scores `(B,)` from what `forward` returned."""
        maps = self.anomaly_map(outputs, size)
        return maps, scores.image_score(maps, self.image_score)

    def readout(self) -> scores.LatentReadout:
        """Return what computes maps and scores of every kind from outputs, with the settings of now."""
        medians = [scores.TrainingMedians(*pair) for pair in self.training_medians.tolist()]
        return scores.LatentReadout(medians, self.config)

    def prepared_for_inference(self, precision: str = "float32", compiled: bool = False) -> PreparedModel:
        """Return an object that computes what this model computes, with all that depends on the weights precomputed.

        For many predictions, without gradients. It is a copy: make another one when the weights have changed.
        `precision` is that of `predict`; `compiled` puts the backbone and the flows through `torch.compile`.
        """
        return PreparedModel(self, precision, compiled)

    def check_trained(self) -> None:
        """Raise NotTrainedError unless training has started: an untrained flow gives all images nearly one score."""
        started = [m.started for m in self.modules() if isinstance(m, ActNorm | StandardizePositions)]
        if not all(map(bool, started)) or any(n.needs_fit() for n in self.normalize):
            raise NotTrainedError("this model has not been trained: call fit(model, images), or FastFlow.load(path)")

    def save(self, path: str | Path, entries: Mapping[str, str] | None = None) -> None:
        """Write weights (the backbone's too, so the file stands alone) and configuration to `path`.

        A safetensors file with the configuration as JSON in its header, and other `entries`; written whole or not.
        """
        records = {"config": self.config.to_record(), "weights": vars(self.backbone.weights_info)}
        records["images"] = asdict(self.input_format)
        header = {"format": FORMAT} | {name: json.dumps(record) for name, record in records.items()}
        write_tensors(Path(path), self.state_dict(), header | dict(entries or {}))

    @classmethod
    def load(cls, path: str | Path, backbone: nn.Module | None = None) -> FastFlow:
        """Read the model that `save` wrote, in eval mode. A model over an own module needs it as `backbone`.

        Raises:
            CheckpointError: The file is missing, damaged or something else. Nothing of the size that it claims is made
                before its tensors have that size.
        """
        tensors, header = read_header(Path(path))
        check_format(Path(path), header, FORMAT, "FastFlow.save")
        try:
            config = FastFlowConfig.from_record(json.loads(header.get("config", "")))
            info = WeightsInfo.from_record(json.loads(header.get("weights", "")))
            input_format = InputFormat.from_record(json.loads(header.get("images", "{}")))  # absent in older files
        except (ValueError, RecursionError) as error:  # JSON's errors and ours are ValueErrors
            raise CheckpointError(f"{path} holds a configuration that cannot be used: {error}") from error
        with refuse_what_does_not_fit(Path(path), config.backbone, "FastFlow"):
            model = cls._of_size(tensors, config, backbone)
            state, _ = read_tensors(Path(path))
            if wild := [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]:
                raise CheckpointError(f"{path} holds values that are not finite ({wild[0]}): train the model anew")
            model.load_state_dict(state)
            for permutation in (module for module in model.modules() if isinstance(module, Permute)):
                permutation.check()
        model.backbone.weights_info, model.input_format = info, input_format
        return model.eval()

    @classmethod
    def _of_size(cls, tensors: TensorForms, config: FastFlowConfig, backbone: nn.Module | None) -> FastFlow:
        """Make a model whose tensors have the types and shapes `tensors`. Before these are compared it costs no memory.

        ArgumentError for other ones. The weights are drawn at random, to be overwritten.
        """
        if (config.steps or 1) * len(config.layers or (0,)) > len(tensors):  # each step of each scale has some
            raise ArgumentError(f"it holds no model of {config.steps} steps on the layers {config.layers}")
        if backbone is None:
            check_network_forms(tensors, config.backbone, config.layers or ())
        with torch.random.fork_rng(devices=[]):
            frozen = Backbone(backbone or config.backbone, TO_FILL if backbone is None else None, config.layers)
            with torch.device("meta"):
                check_forms(tensors, cls(frozen, None, config).state_dict())
            return cls(frozen, None, config)

    def _flow(self, channels: int) -> Sequential:
        c = self.config
        hidden = c.hidden or self.backbone.preset.hidden_for(channels)
        steps = c.steps or self.backbone.preset.steps
        flow = flow_steps(channels, steps, c.kernels, hidden, coupling=c.coupling, clamp=c.clamp)
        return Sequential(StandardizePositions(channels), *flow.transforms) if c.standardize_positions else flow

    def _uncounted_affine(self) -> list[UncountedAffine]:
        if self.config.uncounted_affine is None:
            return []
        height, width = self.config.uncounted_affine
        shapes = zip(self.backbone.channels, self.backbone.strides, strict=True)
        return [UncountedAffine(c, height // stride, width // stride) for c, stride in shapes]


class PreparedModel:
    """What `model(images)` and `model.predict(images)` compute, for repeated calls without gradients.

    Batch norms are folded into convolutions, and transformed weights of the flows are kept. The same to rounding. They
    are kept here and not in the model. A flow that `flows.fast` does not support is computed by the model's modules.
    """

    def __init__(self, model: FastFlow, precision: str, compiled: bool) -> None:
        check_choice("precision", precision, PRECISIONS)
        self.model, self.precision = model, precision
        self.compiled = compiled and can_compile(model.device.type)
        self.backbone = fold_batch_norm(model.backbone)
        if self.compiled:
            network: Any = torch.compile(self.backbone.network)
            self.backbone = self.backbone.with_network(network)
        self.weights = [precompute_weights(flow, precision) for flow in model.flows]

    @torch.inference_mode()
    def features(self, images: Tensor) -> list[Tensor]:
        """Compute normalized feature maps of images `(B, 3, H, W)`, as `FastFlow.features`."""
        return self.model.features(images, self.precision, self.backbone)

    @torch.inference_mode()
    def flow(self, features: Sequence[Tensor]) -> list[scores.Output]:
        """Compute `(z, log_det)` of every scale from normalized features, as `FastFlow.flow`."""
        options: Any = {"precision": self.precision, "compiled": self.compiled}
        ready = zip(self.model.flows, self.model.flow_inputs(features), self.weights, strict=True)
        return [apply_flow(flow, *inputs, precomputed=weights, **options) for flow, inputs, weights in ready]

    def __call__(self, images: Tensor) -> list[scores.Output]:
        """Compute `(z, log_det)` of every scale from images, as `FastFlow.forward`."""
        self.model.input_format.check_batch(images)
        return self.flow(self.features(images))

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute maps `(B, 1, H, W)` and scores `(B,)`, as `FastFlow.predict`."""
        self.model.check_trained()
        with torch.inference_mode():
            return scores.check_finite(*self.model.maps_and_scores(self(images), images.shape[-2:]))
