"""`fit`: the training of a FastFlow on normal images only. No label and no mask of a test set reaches this room."""

from __future__ import annotations

import copy
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

from fastflow_lite.datasets.image_set import ImageSet
from fastflow_lite.datasets.in_memory import ImageSource, TensorSet, training_sets
from fastflow_lite.datasets.input_format import InputFormat
from fastflow_lite.datasets.views import FilledSet
from fastflow_lite.errors import DivergedError
from fastflow_lite.flows.likelihood import bits, nats_per_dim
from fastflow_lite.model import FastFlow
from fastflow_lite.processes import SINGLE_PROCESS, ProcessGroup
from fastflow_lite.progress import Progress
from fastflow_lite.scoring.maps import per_dimension
from fastflow_lite.training.augmented_features import AugmentedFeatures
from fastflow_lite.training.checkpoint import Checkpoint
from fastflow_lite.training.feature_cache import FeatureCache, Features, cache_features
from fastflow_lite.training.history import History, settings_record
from fastflow_lite.training.loop import TrainingLoop
from fastflow_lite.training.optimization import learning_rate, steps_per_epoch
from fastflow_lite.training.position_statistics import fit_positions
from fastflow_lite.training.settings import Settings, SettingsOptions

MEDIAN_IMAGES = 32


def fit(
    model: FastFlow,
    train: ImageSource,
    settings: Settings | None = None,
    *,
    held_out: ImageSource | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
    group: ProcessGroup = SINGLE_PROCESS,
    **options: Unpack[SettingsOptions],
) -> History:
    """Train the flows of `model` in place on normal images, on the device that the model is on.

    Features are computed once, unless `augment` changes the images in every step. Same seed and machine, same weights,
    unless other processes keep the cores busy: then fewer threads are used, and sums are rounded in another order.

    Args:
        model: The model; its backbone stays as it is.
        train: Normal images: an `ImageSet`, a tensor `(N, 3, H, W)` in [0, 1], or a torch Dataset of tensors
            `(3, H, W)` (or of tuples that begin with one).
        settings: The settings; default `Settings()`.
        held_out: Normal images whose likelihood is reported after each epoch; never trained on.
        checkpoint: A file that keeps every epoch. The same call after an interruption continues to the same result.
        progress: Whether to show progress.
        group: The processes that train together (`processes.join`). Each calls `fit` alike, takes its part of every
            batch and keeps the features of all images; all end with the weights of one process but for rounding.
        **options: Fields of `Settings` that replace those of `settings`, such as `epochs=4`, or
            `updates=1000` in place of a number of epochs.

    Raises:
        ArgumentError: A setting has a value that it cannot have.
        DataError: Images or features cannot be used; the message names the file.
        CheckpointError: The checkpoint is damaged or belongs to another run.
        DivergedError: The loss is not finite or far above its start, `settings.halvings` times with lower rates too.
    """
    settings = (settings or Settings()).changed(**options)
    images, watched_images = training_sets(train, held_out)
    filled = FilledSet(images, settings.views, settings.seed) if settings.views > len(images) else images
    settings = _resolved(settings, model, len(filled))
    model.input_format = InputFormat.of_training(images, watched_images)
    history = History(settings, train_images=len(images), train_sha256=images.fingerprint())
    began = time.monotonic()
    features: Features = (
        AugmentedFeatures(model, images, settings.augment)
        if settings.augment
        else cache_features(model, filled, settings.batch_size)
    )
    features.start_epoch(settings.seed)
    fit_positions(model, features, settings.batch_size, len(images))  # a view may lie in another fold than its image
    watched = cache_features(model, watched_images, settings.batch_size) if watched_images is not None else None
    history.seconds["features"] = time.monotonic() - began
    loop = TrainingLoop(model, features, settings, group)
    checkpoint_file = Checkpoint(checkpoint, _identity(model, images, watched_images, history)) if checkpoint else None
    loop.begin(checkpoint_file, history)
    _run_epochs(loop, history, watched, checkpoint_file, progress)
    if loop.average:
        loop.average.apply()
    features.start_epoch(settings.seed)  # the same augmentation whether or not this run was resumed
    set_training_medians(model, features, settings.batch_size, len(images))
    return history


def _resolved(settings: Settings, model: FastFlow, images: int) -> Settings:
    """Return `settings` with a learning rate and a number of passes over `images` images, in place of None."""
    epochs = settings.passes(steps_per_epoch(images, settings.batch_size))
    return settings.changed(lr=learning_rate(settings, model.config.steps or 1), epochs=epochs)


def _run_epochs(
    loop: TrainingLoop, history: History, watched: FeatureCache | None, file: Checkpoint | None, progress: bool
) -> None:
    """Make the epochs that `history` lacks; keep each in the checkpoint `file`, and the last good one in memory."""
    settings, epochs, is_first = loop.settings, loop.epochs, loop.group.is_first
    began = time.monotonic() - history.seconds["training"]
    good = copy.deepcopy(loop.state(history))
    with loop.threads, Progress(epochs, loop.steps_per_epoch, history.epochs, progress and is_first) as bar:
        while (epoch := history.epochs) < epochs:
            try:
                loss = loop.epoch(epoch, bar)
            except DivergedError as error:
                if len(history.set_backs) == settings.halvings:
                    raise
                loop.set_back(good, history, error)
                good = copy.deepcopy(loop.state(history))
                continue
            history.bits_per_dim.append(loss)
            if watched:
                with loop.average.applied() if loop.average else nullcontext():
                    held_out = mean_bits_per_dim(
                        loop.model, watched, settings.batch_size, settings.precision, loop.compiled
                    )
                history.held_out.append(held_out)
            history.seconds["training"] = time.monotonic() - began
            good = copy.deepcopy(loop.state(history))
            if file and is_first:
                file.save(good)
            bar.end_epoch(epoch, history.summary())


@torch.inference_mode()
def set_training_medians(model: FastFlow, features: Features, batch_size: int, count: int | None = None) -> None:
    """Set `model.training_medians`: each scale's median energy and log_det over evenly spread training images.

    Those are at most `MEDIAN_IMAGES` of the first `count`, by default of all.
    """
    model.eval()
    count = len(features) if count is None else count
    chosen = torch.linspace(0, count - 1, min(MEDIAN_IMAGES, count)).round().int()
    found: list[list[Tensor]] = [[] for _ in model.flows]
    for batch in chosen.split(batch_size):
        for values, output in zip(found, model.flow(features[batch.tolist()]), strict=True):
            values.append(torch.stack(per_dimension(*output)).flatten(1))
    model.training_medians.copy_(torch.stack([torch.cat(values, dim=1).median(dim=1).values for values in found]))


@torch.inference_mode()
def mean_bits_per_dim(
    model: FastFlow, features: FeatureCache, batch_size: int, precision: str = "float32", compiled: bool = False
) -> float:
    """Compute the negative log-likelihood of cached features under the model, in bits per dimension.

    `precision` and `compiled` are those of `FastFlow.flow`.
    """
    flow = partial(model.flow, precision=precision, compiled=compiled)
    model.eval()
    batches = [batch.tolist() for batch in torch.arange(len(features)).split(batch_size)]
    nats = torch.stack([nats_per_dim(flow(features[batch])) for batch in batches])
    return bits(sum(mean * len(batch) for mean, batch in zip(nats.tolist(), batches, strict=True)) / len(features))


def _identity(
    model: FastFlow, images: ImageSet | TensorSet, held_out: ImageSet | TensorSet | None, history: History
) -> dict[str, Any]:
    """Return what must be equal for a checkpoint to be continued."""
    return {
        "settings": {k: v for k, v in settings_record(history.settings).items() if k != "compile"},  # only rounding
        "model": model.config.to_identity(),
        "weights_sha256": model.backbone.weights_info.sha256,
        "train_sha256": history.train_sha256,
        "image_size": list(images.size),
        "held_out_sha256": held_out.fingerprint() if held_out is not None else None,
        "held_out_size": list(held_out.size) if held_out is not None else None,
    }
