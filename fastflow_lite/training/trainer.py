"""Training on normal images only. Nothing here can see a test label."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastflow_lite.datasets.augmentation import Augmentation
from fastflow_lite.datasets.image_set import ImageSet
from fastflow_lite.errors import DataError
from fastflow_lite.flows.likelihood import bits, nats_per_dim
from fastflow_lite.model import FastFlow
from fastflow_lite.progress import Progress
from fastflow_lite.scoring.maps import per_dimension
from fastflow_lite.training.checkpoint import Checkpoint
from fastflow_lite.training.feature_cache import FeatureCache, Features, FreshFeatures, cache_features
from fastflow_lite.training.processes import ALONE, World

SCHEDULES = ("one_cycle", "constant")


@dataclass(frozen=True)
class Settings:
    """How `fit` trains. Ours, found on cached features; `presets` has the paper's."""

    epochs: int = 8
    batch_size: int = 8
    lr: float = 3e-3  # the peak of the one-cycle schedule (Smith, arXiv 1708.07120)
    weight_decay: float = 1e-5  # the paper's
    clip: float | None = 1.0  # largest norm of the gradient
    seed: int = 0
    schedule: str = "one_cycle"  # or "constant"
    augment: Augmentation | None = None


@dataclass
class History:
    """What training leaves behind: negative log-likelihood in bits per dimension after each epoch.

    `held_out` is that of normal images not trained on, where some were given. `seconds` by stage.
    """

    settings: Settings
    bits_per_dim: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"features": 0.0, "training": 0.0})
    train_images: int = 0
    train_sha256: str = ""

    @property
    def epochs(self) -> int:
        """Epochs made so far."""
        return len(self.bits_per_dim)


def fit(
    model: FastFlow,
    train: ImageSet,
    *,
    held_out: ImageSet | None = None,
    epochs: int = Settings.epochs,
    batch_size: int = Settings.batch_size,
    lr: float = Settings.lr,
    weight_decay: float = Settings.weight_decay,
    clip: float | None = Settings.clip,
    seed: int = Settings.seed,
    schedule: str = Settings.schedule,
    augment: Augmentation | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
    world: World = ALONE,
) -> History:
    """Train the flows of `model` in place on the normal images `train`, on the device it is on.

    Features are computed once, unless `augment` changes the images in every step. With `checkpoint` (a file)
    every epoch is kept, and the same call after an interruption continues to the same result; a file of
    another run raises CheckpointError. `held_out` are normal images whose likelihood is reported, never learned
    from. Same seed and machine, same weights. Several processes, a `world` (`distributed`), each call `fit` alike:
    each takes its part of every batch of `batch_size`, and all end with the weights of one process but for rounding.
    Each keeps the features of all images, since the order is drawn anew every epoch. Raises DataError, naming the
    file, for images or features that cannot be used.
    """
    settings = Settings(epochs, batch_size, lr, weight_decay, clip, seed, schedule, augment)
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs and batch_size must be 1 or more, got {epochs} and {batch_size}")
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {SCHEDULES}, got {schedule!r}")
    if train.labels.any():
        raise DataError(f"the training images below {train.root} include some named as defects")
    history = History(settings, train_images=len(train), train_sha256=train.fingerprint())
    began = time.monotonic()
    features = FreshFeatures(model, train, augment) if augment else cache_features(model, train, batch_size)
    watched = cache_features(model, held_out, batch_size) if held_out else None
    history.seconds["features"] = time.monotonic() - began
    run = _Run(model, features, settings, world)
    keeper = Checkpoint(checkpoint, _identity(model, train, history)) if checkpoint else None
    run.begin(keeper, history)
    began = time.monotonic() - history.seconds["training"]
    with Progress(epochs, run.steps_per_epoch, history.epochs, progress and world.is_first) as bar:
        for epoch in range(history.epochs, epochs):
            history.bits_per_dim.append(run.epoch(epoch, bar))
            if watched:
                history.held_out.append(mean_bits_per_dim(model, watched, batch_size))
            history.seconds["training"] = time.monotonic() - began
            if keeper and world.is_first:
                keeper.save(run.state(history))
            bar.end_epoch(epoch, _summary(history))
    if isinstance(features, FreshFeatures):
        features.start_epoch(seed)  # the same changes whether or not this run was resumed
    remember_typical(model, features, batch_size)
    return history


@torch.inference_mode()
def remember_typical(model: FastFlow, features: Features, batch_size: int, images: int = 32) -> None:
    """Set `model.typical`, each scale's median energy and log_det, from evenly spread training images."""
    model.eval()
    chosen = torch.linspace(0, len(features) - 1, min(images, len(features))).round().int()
    found: list[list[Tensor]] = [[] for _ in model.flows]
    for batch in chosen.split(batch_size):
        outputs = model.flow([x.to(model.device) for x in features[batch.tolist()]])
        for values, output in zip(found, outputs, strict=True):
            values.append(torch.stack(per_dimension(*output)).flatten(1))
    model.typical.copy_(torch.stack([torch.cat(values, dim=1).median(dim=1).values for values in found]))


@torch.inference_mode()
def mean_bits_per_dim(model: FastFlow, features: FeatureCache, batch_size: int) -> float:
    """Negative log-likelihood of cached features under the model, in bits per dimension."""
    model.eval()
    total = 0.0
    for start in range(0, len(features), batch_size):
        batch = range(start, min(start + batch_size, len(features)))
        maps = [x.to(model.device) for x in features[batch]]
        total += nats_per_dim(model.flow(maps)).item() * len(batch)
    return bits(total / len(features))


def adam(parameters: Sequence[Tensor], lr: float, weight_decay: float = Settings.weight_decay) -> torch.optim.Adam:
    """The optimizer of `fit`, in one pass over the weights where torch can: faster, and the same to rounding."""
    one_pass = all(p.device.type in ("cpu", "cuda") for p in parameters)
    return torch.optim.Adam(parameters, lr, weight_decay=weight_decay, fused=one_pass)


class _Run:
    """The moving parts of one training: optimizer, schedule, the order of images, who takes which."""

    def __init__(self, model: FastFlow, features: Features, settings: Settings, world: World) -> None:
        self.model, self.features, self.settings, self.world = model, features, settings, world
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.steps_per_epoch = -(-len(features) // settings.batch_size)
        self.optimizer = adam(self.parameters, settings.lr, settings.weight_decay)
        self.schedule: torch.optim.lr_scheduler.LRScheduler
        if settings.schedule == "one_cycle":
            self.schedule = torch.optim.lr_scheduler.OneCycleLR(
                self.optimizer, settings.lr, total_steps=max(2, settings.epochs * self.steps_per_epoch)
            )
        else:
            self.schedule = torch.optim.lr_scheduler.ConstantLR(self.optimizer, 1.0)

    def begin(self, keeper: Checkpoint | None, history: History) -> None:
        """Go on from the checkpoint, if there is one, else from the start; rank 0 decides, so that all agree."""
        state = self.world.ask_first(lambda: keeper.load() if keeper and keeper.exists() else None)
        if state:
            self.load(state, history)
        elif self.world.size > 1:
            self.start_together()

    @torch.no_grad()
    def start_together(self) -> None:
        """Set ActNorm by the whole first batch, as one process does: on rank 0, whose values all others take."""
        if self.world.is_first:
            self.model.train()
            self.model.flow([x.to(self.model.device) for x in self.features[self.batches(0)[0]]])
        self.world.copy_first(trainable_state(self.model).values())

    def batches(self, epoch: int) -> list[list[int]]:
        """Indices of images in an order that `seed` and `epoch` fix, and with them the changes by augmentation."""
        # Seeded by epoch, so that a resumed run needs no state of a generator to see the same order.
        seed = self.settings.seed * 1_000_003 + epoch
        generator = torch.Generator().manual_seed(seed)
        if isinstance(self.features, FreshFeatures):
            self.features.start_epoch(seed)
        order = torch.randperm(len(self.features), generator=generator)
        return [batch.tolist() for batch in order.split(self.settings.batch_size)]

    def epoch(self, epoch: int, bar: Progress) -> float:
        """One pass over all images. Mean bits per dimension."""
        self.model.train()
        total, seen = 0.0, 0
        for batch in self.batches(epoch):
            total += self.step(batch) * len(batch)
            seen += len(batch)
            bar.step(epoch, lambda: f"{bits(total / seen):.3f} bits/dim")  # noqa: B023  (called before the next round)
        return bits(total / seen)

    def step(self, batch: list[int]) -> float:
        """One step of the optimizer on the images `batch`; their loss in nats per dimension before it."""
        part = self.world.part(len(batch))
        self.optimizer.zero_grad(set_to_none=True)
        mine = self.backward(self.take(batch, part), len(batch[part]) / len(batch))
        loss = self.world.sum_gradients(self.parameters, mine)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss.item()}: the training diverged. Lower lr or clamp, or normalize='layer'"
            )
        if self.settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        self.optimizer.step()
        self.schedule.step()
        return loss.item()

    def take(self, batch: list[int], part: slice) -> list[Tensor]:
        """Features of one part of `batch`; none for an empty one. Changes are drawn for the whole of it."""
        if isinstance(self.features, FreshFeatures):
            self.features.skip(part.start)
        maps = self.features[batch[part]] if batch[part] else []
        if isinstance(self.features, FreshFeatures):
            self.features.skip(len(batch) - part.stop)
        return maps

    def backward(self, features: list[Tensor], share: float) -> Tensor:
        """Gradients of a part's loss, weighted by its `share` of the batch; that weighted loss."""
        if not features:
            return torch.zeros((), device=self.model.device)
        loss = share * nats_per_dim(self.model.flow([x.to(self.model.device) for x in features]))
        loss.backward()
        return loss.detach()

    def state(self, history: History) -> dict[str, Any]:
        """All that the next epoch depends on."""
        return {
            "model": trainable_state(self.model),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": {k: getattr(history, k) for k in ("bits_per_dim", "held_out", "seconds")},
        }

    def load(self, state: dict[str, Any], history: History) -> None:
        """Go on from what `state` gave, seconds of training included."""
        self.model.load_state_dict(state["model"], strict=False)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        history.bits_per_dim, history.held_out = state["history"]["bits_per_dim"], state["history"]["held_out"]
        history.seconds["training"] = state["history"]["seconds"]["training"]


def trainable_state(model: FastFlow) -> dict[str, Tensor]:
    """The tensors of `model` that training may change: all but the backbone's."""
    return {name: t for name, t in model.state_dict().items() if not name.startswith("backbone.")}


def _identity(model: FastFlow, train: ImageSet, history: History) -> dict[str, Any]:
    """What must be equal for a checkpoint to be continued."""
    return {
        "settings": asdict(history.settings),
        "model": model.config,
        "weights_sha256": model.backbone.weights_info.sha256,
        "train_sha256": history.train_sha256,
        "image_size": list(train.size),
    }


def _summary(history: History) -> str:
    text = f"{history.bits_per_dim[-1]:.3f} bits/dim"
    return text + (f" ({history.held_out[-1]:.3f} held out)" if history.held_out else "")
