"""Adam in one pass over many weights ends where Adam by parts ends, and a training with it can be continued."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fastflow_lite import FastFlow, fit, training
from fastflow_lite.checkpoint import Checkpoint
from fastflow_lite.datasets import open_dataset


def test_only_many_weights_are_updated_in_one_pass() -> None:
    few = [torch.nn.Parameter(torch.zeros(training.MANY - 1))]
    assert not training.adam(few, 1e-3).defaults["fused"]
    assert training.adam([*few, torch.nn.Parameter(torch.zeros(1))], 1e-3).defaults["fused"]


def weights(model: FastFlow) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.flows.parameters()])


def trained(category: Path, checkpoint: Path | None = None) -> torch.Tensor:
    data = open_dataset(category.parent, category.name, image_size=64)
    model = FastFlow("resnet18", "bundled", steps=1, hidden=8)
    fit(model, data.train, epochs=2, batch_size=2, checkpoint=checkpoint, progress=False)
    return weights(model)


def test_one_pass_and_parts_train_alike(category: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_parts, start = trained(category), weights(FastFlow("resnet18", "bundled", steps=1, hidden=8))
    monkeypatch.setattr(training, "MANY", 0)
    assert (trained(category) - by_parts).abs().max() < 1e-3 * (by_parts - start).abs().max()


def test_training_in_one_pass_goes_on_where_it_stopped(
    category: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "MANY", 0)
    undisturbed, save = trained(category), Checkpoint.save

    def save_then_stop(self: Checkpoint, state: dict[str, object]) -> None:
        save(self, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "save", save_then_stop)
        trained(category, tmp_path / "run.ckpt")
    assert torch.equal(trained(category, tmp_path / "run.ckpt"), undisturbed)
