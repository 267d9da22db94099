"""The models whose speed is compared, each with what is timed of it: ours, anomalib's, and anomalib's operators."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import peer
import torch
from harness import mark, milliseconds
from peer_operators import PeerModel, peer_loss
from torch import Tensor

from fastflow_lite.backbones import PRESETS
from fastflow_lite.flows.likelihood import nats_per_dim
from fastflow_lite.model import FastFlow, PreparedModel
from fastflow_lite.training import Settings, adam, fit
from fastflow_lite.training.feature_noise import FeatureNoise
from fastflow_lite.training.recipes import training_settings

BATCH = {"resnet18": 8, "wide_resnet50_2": 4, "deit_base_distilled_patch16_384": 2}
WEIGHTS = {"resnet18": "bundled"}  # random weights give features so far from normal ones that a map underflows


class Side:
    """One model and what is timed of it, within its process."""

    adam: Callable[..., torch.optim.Optimizer] = torch.optim.Adam
    model: Any

    def __init__(self, args: argparse.Namespace, backbone: str) -> None:
        torch.manual_seed(0)
        self.device, self.dtype, self.recipe = torch.device(args.device), getattr(torch, args.dtype), args.recipe
        size = args.image_size or PRESETS[backbone].image_size
        self.build(backbone, size, args.weights or WEIGHTS.get(backbone, "random"))
        self.images = torch.rand(args.batch or BATCH[backbone], 3, size, size).to(self.device)
        self.prepare(args.compile)
        with torch.no_grad():
            self.features = [x.clone() for x in self.backbone()]
        learned = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = self.adam(learned, 1e-6)  # so small that nothing diverges on random images
        self.parameters = sum(p.numel() for p in learned)

    def build(self, backbone: str, size: int, weights: str) -> None:
        raise NotImplementedError

    def prepare(self, compiled: bool) -> None:
        """Choose how the flow is computed, once the model is there."""
        self.timed_flow: Callable[..., Any] = torch.compile(self.flow) if compiled else self.flow

    def products(self) -> AbstractContextManager[object]:
        """The context in which all is computed: autocast for bfloat16."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def backbone(self) -> list[Tensor]:
        raise NotImplementedError

    def flow(self, features: list[Tensor]) -> Any:
        raise NotImplementedError

    def loss(self, outputs: Any) -> Tensor:
        raise NotImplementedError

    def predict(self) -> None:
        raise NotImplementedError

    def once(self, work: str) -> tuple[float, float]:
        """Milliseconds an image on the wall's clock and the processor's."""
        self.model.train("training" in work)
        start = mark(self.device)
        with self.products():
            if "training" in work:
                self.step(work)
            else:
                with torch.inference_mode():
                    self.inference_of(work)()
        wall, processor = milliseconds(*start, *mark(self.device))
        return wall / len(self.images), processor / len(self.images)

    def inference_of(self, work: str) -> Callable[[], object]:
        """What is timed without gradients."""
        if work == "inference":
            return self.predict
        return self.backbone if work == "backbone" else partial(self.timed_flow, self.features)

    def step(self, work: str) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.timed_flow(self.for_step(work))).backward()
        self.clip()
        self.optimizer.step()

    def clip(self) -> None:
        """Bound the gradients, where the training does so."""

    def for_step(self, work: str) -> list[Tensor]:
        """The features that a step of training begins with."""
        raise NotImplementedError


class Ours(Side):
    """Inference as `score_images` does it; a training step from the cache of float16 features, as `fit` takes it."""

    adam = staticmethod(adam)
    model: FastFlow

    def build(self, backbone: str, size: int, weights: str) -> None:
        self.model = peer.ours(backbone, weights, recipe=self.recipe).to(self.device).eval()
        self.settings = training_settings(self.recipe)
        self.noise = FeatureNoise(self.settings.noise, self.device)
        fit(self.model, torch.rand(2, 3, size, size), Settings(updates=1), progress=False)  # sets all statistics
        self.prepared: PreparedModel | None = None  # during inference

    def prepare(self, compiled: bool) -> None:
        self.precision = "bf16" if self.dtype == torch.bfloat16 else "float32"
        self.compiled, self.timed_flow = compiled, self.flow

    def products(self) -> AbstractContextManager[object]:
        return nullcontext()  # the model itself has `precision`

    def working(self) -> FastFlow | PreparedModel:
        return self.prepared or self.model

    def backbone(self) -> list[Tensor]:
        return self.working().features(self.images)

    def flow(self, features: list[Tensor]) -> Any:
        if self.prepared:
            return self.prepared.flow(features)
        return self.model.flow(features, precision=self.precision, compiled=self.compiled)

    def loss(self, outputs: Any) -> Tensor:
        return nats_per_dim(outputs)

    def clip(self) -> None:
        if self.settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)

    def predict(self) -> None:
        self.model.maps_and_scores(self.working()(self.images), self.images.shape[-2:])

    def once(self, work: str) -> tuple[float, float]:
        if "training" in work:
            self.prepared = None
        elif self.prepared is None:
            self.prepared = self.model.prepared_for_inference(self.precision, self.compiled)
        return super().once(work)

    def for_step(self, work: str) -> list[Tensor]:
        if not hasattr(self, "kept"):
            self.kept = [x.half().cpu() for x in self.features]
        features = [x.float().to(self.device) for x in self.kept]
        self.noise.add(features, len(self.images), slice(None))
        return features


class Theirs(Side):
    """anomalib's model. Its training has no cache: a step runs the backbone too."""

    def build(self, backbone: str, size: int, weights: str) -> None:
        network = peer.ours(backbone, weights, steps=1).backbone.network
        self.model = peer.theirs(backbone, size, network).to(self.device).eval()

    def backbone(self) -> list[Tensor]:
        return peer.their_backbone(self.model, self.images)

    def flow(self, features: list[Tensor]) -> Any:
        return peer.their_flow(self.model, features)

    def loss(self, outputs: Any) -> Tensor:
        return peer.their_loss(outputs)

    def predict(self) -> None:
        self.model(self.images)

    def for_step(self, work: str) -> list[Tensor]:
        if work == "training step":
            with torch.no_grad():
                return self.backbone()
        return self.features


class Operators(Theirs):
    """anomalib's architecture by the same operators, for machines where it is not installed."""

    def build(self, backbone: str, size: int, weights: str) -> None:
        like = peer.ours(backbone, weights, steps=1).eval()
        with torch.no_grad():
            shapes = [tuple(x.shape[1:]) for x in like.backbone(torch.zeros(1, 3, size, size))]
        widths = [peer.hidden_of(backbone, shape[0]) for shape in shapes]
        model = PeerModel(like.backbone.network, shapes, (size, size), like.backbone.preset.steps, widths)
        self.model = model.to(self.device).eval()

    def loss(self, outputs: Any) -> Tensor:
        return peer_loss(outputs)


SIDES: dict[str, type[Side]] = {"ours": Ours, "anomalib": Theirs, "operators": Operators}
