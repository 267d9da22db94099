"""The two models that the speed part times, with the same frozen network, images and widths."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import peer
import torch
from peer_operators import PeerModel, peer_loss
from torch import Tensor

from fastflow_lite import FastFlow
from fastflow_lite.backbones import PRESETS
from fastflow_lite.flows import flow_steps
from fastflow_lite.flows.likelihood import nats_per_dim
from fastflow_lite.training import adam

ANOMALIB = "anomalib"
RATE = 1e-6  # so small that nothing diverges on random images


class Ours:
    """Our model with random weights, built on the device: a large network takes long to draw on a processor."""

    def __init__(self, name: str, size: int, batch: int, device: torch.device) -> None:
        torch.manual_seed(0)
        self.device = device
        with device:
            model = FastFlow(name, None, steps=1)
            preset = model.backbone.preset
            self.steps = preset.steps
            # anomalib's widths: half the channels, or the paper's for transformers
            self.hidden = [preset.hidden or c // 2 for c in model.backbone.channels]
            pairs = zip(model.backbone.channels, self.hidden, strict=True)
            flows = [flow_steps(c, self.steps, (3, 1), hidden) for c, hidden in pairs]
            model.add_module("flows", torch.nn.ModuleList(flows))
            self.images = torch.rand(batch, 3, size, size)
        self.model = model.to(device).eval()
        with torch.no_grad():
            self.features = [x.clone() for x in self.model.features(self.images)]
            self.model.train().flow(self.features)  # sets the ActNorms
        self.kept = [x.half().contiguous(memory_format=torch.channels_last) for x in self.features]
        self.optimizer = adam([p for p in self.model.parameters() if p.requires_grad], RATE)

    def work(self, work: str, precision: str, compiled: bool, save_memory: bool = False) -> Callable[[], object]:
        """Return a function that does `work` once."""
        self.model.train("training" in work)
        self.model.config = replace(self.model.config, save_memory=save_memory)
        if "training" in work:
            features = self._from_kept if work == "training step" else lambda: self.features
            return partial(self._step, features, precision, compiled)
        prepared = self.model.prepared_for_inference(precision=precision, compiled=compiled)
        if work == "flow":
            return partial(prepared.flow, self.features)
        return partial(self._infer, prepared)

    def _from_kept(self) -> list[Tensor]:
        return [x.float() for x in self.kept]

    def _step(self, features: Callable[[], list[Tensor]], precision: str, compiled: bool) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        outputs = self.model.flow(features(), precision=precision, compiled=compiled)
        nats_per_dim(outputs).backward()
        self.optimizer.step()

    @torch.inference_mode()
    def _infer(self, prepared: Callable[[Tensor], Any]) -> None:
        self.model.maps_and_scores(prepared(self.images), self.images.shape[-2:])


class Theirs:
    """anomalib's model where it is installed, else `PeerModel`, over the frozen network of ours."""

    def __init__(self, ours: Ours, name: str, size: int) -> None:
        self.images, self.features, self.device = ours.images, ours.features, ours.device
        network = ours.model.backbone.network
        self.model: Any
        if self.has_anomalib() and name in PRESETS:  # it cannot be built on a GPU
            self.model, self.loss = peer.theirs(name, size, network), peer.their_loss
        else:
            shapes = [tuple(x.shape[1:]) for x in self.features]
            with self.device:
                self.model = PeerModel(network, shapes, (size, size), ours.steps, ours.hidden)
            self.loss = peer_loss
        self.model.to(self.device)
        learned = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(learned, RATE)

    @staticmethod
    def has_anomalib() -> bool:
        """Whether anomalib can be imported here."""
        return importlib.util.find_spec(ANOMALIB) is not None

    def work(self, work: str, precision: str) -> Callable[[], object]:
        """Return a function that does `work` once."""
        self.model.train("training" in work)
        self.model.feature_extractor.eval()
        once = {
            "training step": partial(self._step, with_backbone=True),
            "flow training step": partial(self._step, with_backbone=False),
            "inference": partial(self.model, self.images),
            "flow": partial(peer.their_flow, self.model, self.features),
        }[work]
        return partial(self._in_precision, once, precision, "training" in work)

    def _in_precision(self, once: Callable[[], object], precision: str, training: bool) -> None:
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16")
        with autocast, torch.inference_mode(not training):
            once()

    def _step(self, with_backbone: bool) -> None:
        features = self.features
        if with_backbone:
            with torch.no_grad():
                features = peer.their_backbone(self.model, self.images)
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(peer.their_flow(self.model, features)).backward()
        self.optimizer.step()
