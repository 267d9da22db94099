"""One training: the optimizer, the schedule, the order of the images and the state that a checkpoint keeps."""

from __future__ import annotations

import copy
import warnings
from dataclasses import astuple, fields
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fastflow_lite.devices.thread_choice import ThreadChoice
from fastflow_lite.errors import CheckpointError, DivergedError
from fastflow_lite.flows.likelihood import bits, nats_per_dim
from fastflow_lite.model import FastFlow
from fastflow_lite.processes import ProcessGroup
from fastflow_lite.progress import Progress
from fastflow_lite.training.checkpoint import Checkpoint
from fastflow_lite.training.epoch_loss import ADVICE, EpochLoss, epoch_loss
from fastflow_lite.training.feature_cache import Features
from fastflow_lite.training.feature_noise import FeatureNoise
from fastflow_lite.training.history import History, SetBack
from fastflow_lite.training.optimization import (
    adam,
    constant,
    halve_rates,
    learning_rate,
    one_cycle,
    state_after_a_step,
    steps_per_epoch,
)
from fastflow_lite.training.settings import Settings
from fastflow_lite.training.weight_average import WeightAverage

# A healthy loss falls. One bit a dimension more: the spread of every feature is wrong by a factor of two.
LARGEST_RISE = 3.0  # bits per dimension above the first step's loss


class TrainingLoop:
    """The training of one model on its features, alone or as one process of a group."""

    def __init__(self, model: FastFlow, features: Features, settings: Settings, group: ProcessGroup) -> None:
        self.model, self.features, self.settings, self.group = model, features, settings, group
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.steps_per_epoch = steps_per_epoch(len(features), settings.batch_size)
        self.epochs = settings.passes(self.steps_per_epoch)
        self.compiled = settings.compiles_on(model.device, self.epochs * self.steps_per_epoch)
        self.flow = partial(model.flow, precision=settings.precision, compiled=self.compiled)
        self.noise = FeatureNoise(settings.noise, model.device)
        self.average = WeightAverage(self.parameters, settings.average) if settings.average is not None else None
        self.threads = ThreadChoice(model.device)
        self.first_loss: list[float] = []  # one value after the first epoch, in bits per dimension
        lr = learning_rate(settings, model.config.steps or 1)
        self.optimizer = adam(self.parameters, lr, settings.weight_decay)
        self.schedule = (
            one_cycle(self.optimizer, lr, self.epochs * self.steps_per_epoch)
            if settings.schedule == "one_cycle"
            else constant(self.optimizer)
        )

    def begin(self, checkpoint_file: Checkpoint | None, history: History) -> None:
        """Continue from the checkpoint if there is one, else start. Rank 0 reads it, so that all ranks agree."""
        state = self.group.broadcast_object(
            lambda: self.read(checkpoint_file, history) if checkpoint_file and checkpoint_file.exists() else None
        )
        if state:
            self.load(state, history)
        elif self.group.size > 1:
            self.start_together()

    @torch.no_grad()
    def start_together(self) -> None:
        """Initialize ActNorm by the whole first batch, as one process does: on rank 0, then broadcast."""
        if self.group.is_first:
            self.model.train()
            batch = self.batches(0)[0]
            self.flow(self.load_features(batch, slice(0, len(batch))))
        self.group.broadcast_tensors(trainable_state(self.model).values())

    def batches(self, epoch: int) -> list[list[int]]:
        """Return the indices of images by batch; `seed` and `epoch` fix their order, augmentation and noise."""
        # Seeded by epoch, so that a resumed run needs no state of a generator to see the same order.
        seed = self.settings.seed * 1_000_003 + epoch
        generator = torch.Generator().manual_seed(seed)
        self.features.start_epoch(seed)
        self.noise.start_epoch(seed)
        order = torch.randperm(len(self.features), generator=generator)
        return [batch.tolist() for batch in order.split(self.settings.batch_size)]

    def epoch(self, epoch: int, bar: Progress) -> float:
        """Make one pass over all images; return the mean loss in bits per dimension.

        Raises:
            DivergedError: A loss is not finite, or the mean is far above the loss of the training's first step.
        """
        self.model.train()
        self.threads.start_epoch()
        losses = epoch_loss(self.optimizer, self.model.device)
        for batch in self.batches(epoch):
            with self.threads.step(len(batch)):
                self.step(batch, losses)
            bar.step(epoch, lambda: f"{bits(losses.mean()):.3f} bits/dim")
        mean = bits(losses.mean())
        self.first_loss = self.first_loss or [bits(losses.first())]
        if mean > self.first_loss[0] + LARGEST_RISE:
            raise DivergedError(
                f"the loss of epoch {epoch + 1} is {mean:.3g} bits per dimension, at the start it was "
                f"{self.first_loss[0]:.3g}: the training diverged. {ADVICE}"
            )
        return mean

    def step(self, batch: list[int], losses: EpochLoss) -> None:
        """Make one step of the optimizer on the images `batch`; add their loss before it to `losses`."""
        part = self.group.part(len(batch))
        self.optimizer.zero_grad()
        loss = self.backward(self.load_features(batch, part), len(batch[part]) / len(batch))
        losses.add(self.group.sum_gradients(self.parameters, loss), len(batch))
        if self.settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        self.optimizer.step()
        if self.average:
            self.average.update(self.schedule.last_epoch)
        self.schedule.step()

    def load_features(self, batch: list[int], part: slice) -> list[Tensor]:
        """Return the features of this process's part of `batch`, none for an empty part.

        The generator of the augmentation advances by the whole batch, so that every rank draws the same changes.
        """
        self.features.advance_generator(part.start)
        maps = self.features[batch[part]] if batch[part] else []
        self.features.advance_generator(len(batch) - part.stop)
        self.noise.add(maps, len(batch), part)
        return maps

    def backward(self, features: list[Tensor], share: float) -> Tensor:
        """Add the gradients of a part's loss, weighted by its `share` of the batch; return that weighted loss."""
        if not features:
            return torch.zeros((), device=self.model.device)
        loss = share * nats_per_dim(self.flow(features))
        loss.backward()
        return loss.detach()

    def state(self, history: History) -> dict[str, Any]:
        """Return everything that the next epoch depends on."""
        average = {"average": self.average.means} if self.average else {}
        return average | {
            "model": trainable_state(self.model),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": {k: getattr(history, k) for k in ("bits_per_dim", "held_out", "seconds")}
            | {"first_loss": self.first_loss, "set_backs": [astuple(each) for each in history.set_backs]},
        }

    def read(self, file: Checkpoint, history: History) -> dict[str, Any]:
        """Return the state in a checkpoint. CheckpointError unless it is one of `state` after some epochs."""
        state = file.load(self.state(history) | {"optimizer": state_after_a_step(self.optimizer)})
        kept, steps = state["history"], state["schedule"]["last_epoch"]
        losses = kept["bits_per_dim"] + kept["first_loss"]
        if not all(isinstance(loss, float) for loss in losses) or (len(losses) - 1) * self.steps_per_epoch != steps:
            raise CheckpointError(f"checkpoint {file.path} has {len(losses) - 1} losses for {steps} steps; delete it")
        if any(not isinstance(values, list) or len(values) != len(fields(SetBack)) for values in kept["set_backs"]):
            raise CheckpointError(f"checkpoint {file.path} has set-backs of another form; delete it")
        return state

    def load(self, state: dict[str, Any], history: History) -> None:
        """Take over what `state` returned, seconds of training included."""
        self.model.load_state_dict(state["model"], strict=False)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.average:
            self.average.load(state["average"])
        history.bits_per_dim, history.held_out = state["history"]["bits_per_dim"], state["history"]["held_out"]
        history.seconds["training"] = state["history"]["seconds"]["training"]
        history.set_backs = [SetBack(*values) for values in state["history"]["set_backs"]]
        self.first_loss = state["history"]["first_loss"]

    def set_back(self, good: dict[str, Any], history: History, error: DivergedError) -> None:
        """Take over the state `good` of an epoch before the divergence `error`, with half the learning rate."""
        reason, epoch = str(error), len(good["history"]["bits_per_dim"]) + 1
        self.load(copy.deepcopy(good), history)  # as torch goes on with the tensors that it is given
        halve_rates(self.optimizer)
        history.set_backs.append(SetBack(epoch, reason, 0.5 ** (len(history.set_backs) + 1)))
        if self.group.is_first:
            warnings.warn(
                f"epoch {epoch} is made anew from the end of the one before, with half the learning rate: {reason}",
                stacklevel=4,
            )


def trainable_state(model: FastFlow) -> dict[str, Tensor]:
    """Return the tensors of `model` that training may change: all but the backbone's."""
    return {name: t for name, t in model.state_dict().items() if not name.startswith("backbone.")}
