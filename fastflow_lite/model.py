"""FastFlow: a frozen backbone, a normalization, one flow per scale."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from fastflow_lite.backbones.batch_norm_folding import fold
from fastflow_lite.backbones.frozen import Backbone
from fastflow_lite.backbones.normalization import Normalize, UncountedAffine
from fastflow_lite.backbones.weights import WeightsInfo
from fastflow_lite.errors import CheckpointError, WeightsError
from fastflow_lite.files import read_tensors, write_tensors
from fastflow_lite.flows.fast import fused
from fastflow_lite.flows.steps import flow_steps
from fastflow_lite.flows.transforms import Transform
from fastflow_lite.scoring import maps as scores

FORMAT = "fastflow-lite model 1"
# What a configuration that `save` did not write may lead to: names and values of any kind.
UNFIT = (
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    WeightsError,
)


class FastFlow(nn.Module):
    """FastFlow (arXiv 2111.07677) over the feature maps of a frozen backbone.

    `backbone`, `weights`, `layers`: see `backbones.Backbone`. `steps` and `hidden` default to the
    backbone's preset, which has the paper's values. `kernels` alternate for every backbone; the paper's
    ResNet-18 has 3x3 only, `kernels=(3,)`. `normalize`: see `normalize.Normalize`. `map`, `image_score`,
    `smoothing`: see `scores`; they do not touch training and may be changed at any time. `save_memory`: a training
    step computes each step's input backwards from its output instead of keeping it, so that its memory does not grow
    with `steps`; slower, the same gradients to rounding (on a processor; a GPU takes the plain path). `seed` fixes the
    flows' first weights and permutations. `uncounted_affine=(height, width)` of the images puts other
    implementations' trainable affine in front of the flows, as an ablation.

    >>> model = FastFlow("resnet18", weights="bundled", steps=2)
    >>> maps, scores = model.predict(torch.rand(2, 3, 64, 96))
    >>> maps.shape, scores.shape
    (torch.Size([2, 1, 64, 96]), torch.Size([2]))
    """

    typical: Tensor

    def __init__(
        self,
        backbone: str | nn.Module = "resnet18",
        weights: str | Path | None = "bundled",
        *,
        layers: Sequence[int] | None = None,
        steps: int | None = None,
        kernels: Sequence[int] = (3, 1),
        hidden: int | None = None,
        coupling: str = "affine",
        clamp: float = 2.0,
        normalize: str = "layer",
        map: str = "tempered",
        image_score: str = "max",
        smoothing: float = 0.0,
        save_memory: bool = False,
        uncounted_affine: tuple[int, int] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.backbone = Backbone(backbone, weights, layers)
        preset = self.backbone.preset
        self.config: dict[str, Any] = {
            "backbone": self.backbone.name,
            "layers": list(self.backbone.layers),
            "steps": preset.steps if steps is None else steps,
            "kernels": list(kernels),
            "hidden": hidden,
            "coupling": coupling,
            "clamp": clamp,
            "normalize": normalize,
            "uncounted_affine": list(uncounted_affine) if uncounted_affine else None,
            "seed": seed,
        }
        self.map, self.image_score, self.smoothing, self.save_memory = map, image_score, smoothing, save_memory
        self._prepared: tuple[Backbone, list[Any]] | None = None  # within `fused`
        channels = self.backbone.channels
        self.register_buffer("typical", torch.zeros(len(channels), 2))  # `scores.Typical` of each scale, from `fit`
        self.normalize = cast("Sequence[Normalize]", nn.ModuleList(Normalize(normalize, c) for c in channels))
        self.affine = cast("Sequence[UncountedAffine]", nn.ModuleList(self._uncounted_affine(uncounted_affine)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            flows = nn.ModuleList(self._flow(c, hidden or preset.hidden_for(c)) for c in channels)
        self.flows = cast("Sequence[Transform]", flows)

    def features(self, images: Tensor) -> list[Tensor]:
        """Normalized feature maps of images `(B, 3, H, W)` in [0, 1], finest first."""
        backbone = self._prepared[0] if self._prepared else self.backbone
        return self.normalized(backbone(images))

    def normalized(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The backbone's maps as the flows want them."""
        return [normalize(x) for normalize, x in zip(self.normalize, maps, strict=True)]

    def rescaled(self, features: Sequence[Tensor]) -> list[Tensor]:
        """What the flows are given: the features, or what the uncounted affine makes of them where the model has it."""
        return [affine(x) for affine, x in zip(self.affine, features, strict=True)] if self.affine else list(features)

    def flow(self, features: Sequence[Tensor]) -> list[scores.Output]:
        """`(z, log_det)` of every scale from normalized features."""
        prepared = self._prepared[1] if self._prepared else [None] * len(self.flows)
        flows = zip(self.flows, self.rescaled(features), prepared, strict=True)
        return [fused.run(flow, x, not self.save_memory, ready) for flow, x, ready in flows]

    @contextmanager
    def fused(self) -> Iterator[None]:
        """Within it, what only the weights decide is computed once, not in every call. Same maps to rounding.

        For many predictions; the weights must stay as they are meanwhile, and there are no gradients.
        """
        before = self._prepared
        self._prepared = fold(self.backbone), [fused.prepare(flow) for flow in self.flows]
        try:
            yield
        finally:
            self._prepared = before

    def forward(self, images: Tensor) -> list[scores.Output]:
        """`(z, log_det)` of every scale: `(B, C, h, w)` and `(B, h, w)`."""
        return self.flow(self.features(images))

    @torch.inference_mode()
    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Anomaly maps `(B, 1, H, W)` and image scores `(B,)`, higher is more anomalous."""
        was_training = self.training
        self.eval()
        try:
            outputs = self(images.to(self.device))
        finally:
            self.train(was_training)
        maps = self.anomaly_map(outputs, images.shape[-2:])
        return maps, scores.image_score(maps, self.image_score)

    def anomaly_map(self, outputs: Sequence[scores.Output], size: Sequence[int], kind: str | None = None) -> Tensor:
        """Maps `(B, 1, *size)` of one `kind` (default: the model's own) from what `forward` returned."""
        return scores.anomaly_map(
            outputs, size, kind or self.map, [(e, d) for e, d in self.typical.tolist()], self.smoothing
        )

    @property
    def device(self) -> torch.device:
        return self.backbone.mean.device

    def save(self, path: str | Path) -> None:
        """Write weights (the backbone's too, so the file stands alone) and configuration to `path`.

        A safetensors file with the configuration as JSON in its header; written whole or not at all.
        """
        views = {"map": self.map, "image_score": self.image_score, "smoothing": self.smoothing}
        info = vars(self.backbone.weights_info)
        header = {"format": FORMAT, "config": json.dumps(self.config | views), "weights": json.dumps(info)}
        write_tensors(Path(path), self.state_dict(), header)

    @classmethod
    def load(cls, path: str | Path, backbone: nn.Module | None = None) -> FastFlow:
        """The model that `save` wrote, in eval mode. A model over your own module needs it as `backbone`.

        Raises CheckpointError when the file is missing, damaged or something else.
        """
        state, header = read_tensors(Path(path))
        if header.get("format") != FORMAT:
            raise CheckpointError(f"{path} is not a model written by FastFlow.save")
        if wild := [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]:
            raise CheckpointError(f"{path} holds values that are not finite ({wild[0]}): train the model anew")
        name: Any = "?"
        try:
            config, info = json.loads(header["config"]), WeightsInfo(**json.loads(header["weights"]))
            config["uncounted_affine"] = tuple(config["uncounted_affine"] or ()) or None
            name = config.pop("backbone")
            if config["steps"] > len(state):  # each has tensors of its own: a false number is not worth its memory
                raise ValueError(f"it has no {config['steps']} steps")
            with torch.random.fork_rng(devices=[]):  # what is drawn here is overwritten at once
                model = cls(backbone or name, weights=None, **config)
            model.load_state_dict(state)
        except UNFIT as error:
            raise CheckpointError(
                f"{path} holds a model over {name!r} that does not fit: {error}; for your own network give "
                "FastFlow.load(path, backbone=<that module>)"
            ) from error
        model.backbone.weights_info = info
        return model.eval()

    def _flow(self, channels: int, hidden: int) -> Transform:
        c = self.config
        return flow_steps(channels, c["steps"], tuple(c["kernels"]), hidden, coupling=c["coupling"], clamp=c["clamp"])

    def _uncounted_affine(self, size: tuple[int, int] | None) -> list[UncountedAffine]:
        if size is None:
            return []
        shapes = zip(self.backbone.channels, self.backbone.strides, strict=True)
        return [UncountedAffine(c, size[0] // stride, size[1] // stride) for c, stride in shapes]
