"""anomalib's FastFlow as a method of `choose_parts.run`: its flows, loss, optimizer and map over our backbone.

anomalib has four backbones and builds the rest of its model from their channels. Here the same parts are put together
over any of our backbones: the trainable LayerNorm of each scale, `create_fast_flow_block`, `FastflowLoss`, Adam with
its learning rate 1e-3 and weight decay 1e-5, `AnomalyMapGenerator`, and the largest value of the map. The features are
computed once, since its training has no augmentation.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import peer
import torch
from torch import Tensor, nn

from fastflow_lite.backbones import Backbone
from fastflow_lite.baselines import FitHistory
from fastflow_lite.datasets import ImageSet
from fastflow_lite.devices.thread_choice import ThreadChoice
from fastflow_lite.files import write_atomically
from fastflow_lite.training import Settings

READ = 8  # images at a time where features are computed


@dataclass(frozen=True)
class Config:
    """What anomalib's FastFlow is trained by; steps and hidden width are its defaults for a ResNet."""

    backbone: str
    batch_size: int
    epochs: int | None = None
    updates: int | None = None  # in place of epochs, in whole passes, as `Settings` has it
    lr: float = 1e-3
    weight_decay: float = 1e-5
    steps: int = 8
    seed: int = 0

    def to_record(self) -> dict[str, Any]:
        return asdict(self)


class AnomalibFastFlow(nn.Module):
    """anomalib's flows over one of our backbones, with what `choose_parts.run` calls of a model."""

    def __init__(self, network: str, weights: str, seed: int = 0, image_size: int = 256, **options: Any) -> None:
        super().__init__()
        peer.anomalib_version()
        from anomalib.models.image.fastflow.anomaly_map import AnomalyMapGenerator
        from anomalib.models.image.fastflow.torch_model import create_fast_flow_block

        self.config = Config(network, seed=seed, **options)
        self.made_of = (network, weights, seed, image_size, options)
        self.backbone = Backbone(network, weights)
        shapes = [list(x.shape[1:]) for x in self.backbone(torch.rand(1, 3, image_size, image_size))]
        torch.manual_seed(seed)
        self.norms = nn.ModuleList(nn.LayerNorm(shape) for shape in shapes)
        steps = self.config.steps
        self.blocks = nn.ModuleList(create_fast_flow_block(s, False, 1.0, steps) for s in shapes)
        self.generator = AnomalyMapGenerator((image_size, image_size))

    @property
    def device(self) -> torch.device:
        return self.backbone.mean.device

    def flow(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return `(z, log_det)` lists, one entry a scale."""
        scales = zip(self.norms, self.blocks, features, strict=True)
        pairs = [block(norm(x)) for norm, block, x in scales]
        return [z for z, _ in pairs], [log_det for _, log_det in pairs]

    def fit(self, train: ImageSet, progress: bool = False) -> FitHistory:
        """Train the flows and the norms on the features of normal images."""
        from anomalib.models.image.fastflow.loss import FastflowLoss

        history = FitHistory(train_images=len(train), train_sha256=train.fingerprint())
        began = time.monotonic()
        with torch.inference_mode(), ThreadChoice(self.device):
            parts = [self.backbone(images) for images, _ in train.batches(READ)]
        features = [torch.cat(scale) for scale in zip(*parts, strict=True)]
        del parts
        history.seconds["features"] = time.monotonic() - began
        learned = [*self.norms.parameters(), *self.blocks.parameters()]
        optimizer = torch.optim.Adam(learned, self.config.lr, weight_decay=self.config.weight_decay)
        loss, order = FastflowLoss(), torch.Generator().manual_seed(self.config.seed)
        asked = Settings(epochs=self.config.epochs, updates=self.config.updates)
        passes = asked.passes(-(-len(train) // self.config.batch_size))
        self.train()
        with ThreadChoice(self.device):
            for _ in range(passes):
                for chosen in torch.randperm(len(train), generator=order).split(self.config.batch_size):
                    optimizer.zero_grad()
                    loss(*self.flow([x[chosen] for x in features])).backward()
                    optimizer.step()
        self.eval()
        history.seconds["training"] = time.monotonic() - began - history.seconds["features"]
        return history

    def prepared_for_inference(self) -> AnomalibFastFlow:
        return self

    @torch.inference_mode()
    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute z of every scale from images `(B, 3, H, W)` in [0, 1]."""
        return self.flow(self.backbone(images))[0]

    @torch.inference_mode()
    def maps_and_scores(self, outputs: list[Tensor], size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Compute anomalib's map `(B, 1, H, W)` and image score `(B,)` from what `forward` returned."""
        maps: Tensor = self.generator(outputs)
        return maps, maps.amax(dim=(1, 2, 3))

    def save(self, path: Path) -> None:
        """Write the weights, those of the backbone included, and what the model was made of."""
        state = {"made_of": self.made_of, "state": self.state_dict()}
        write_atomically(path, lambda place: torch.save(state, place))

    @classmethod
    def load(cls, path: Path) -> AnomalibFastFlow:
        """Read what `save` wrote."""
        kept = torch.load(path, weights_only=True)
        network, weights, seed, image_size, options = kept["made_of"]
        model = cls(network, weights, seed, image_size, **options)
        model.load_state_dict(kept["state"])
        return model.eval()
