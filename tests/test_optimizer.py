"""Adam in one pass over many weights ends where Adam by parts ends; test_training.py continues one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fastflow_lite import FastFlow, fit, training
from fastflow_lite.datasets import open_dataset


def test_only_many_weights_are_updated_in_one_pass() -> None:
    few = [torch.nn.Parameter(torch.zeros(training.MANY - 1))]
    assert not training.adam(few, 1e-3).defaults["fused"]
    assert training.adam([*few, torch.nn.Parameter(torch.zeros(1))], 1e-3).defaults["fused"]


def weights(model: FastFlow) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.flows.parameters()])


def trained(category: Path) -> torch.Tensor:
    data = open_dataset(category.parent, category.name, image_size=64)
    model = FastFlow("resnet18", "bundled", steps=1, hidden=8)
    fit(model, data.train, epochs=2, batch_size=2, progress=False)
    return weights(model)


def test_one_pass_and_parts_train_alike(category: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_parts, start = trained(category), weights(FastFlow("resnet18", "bundled", steps=1, hidden=8))
    monkeypatch.setattr(training, "MANY", 0)
    assert (trained(category) - by_parts).abs().max() < 1e-3 * (by_parts - start).abs().max()
