"""Adam in one pass over the weights ends where Adam by parts ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from fastflow_lite import FastFlow, fit, training
from fastflow_lite.datasets import open_dataset


def test_adam_makes_one_pass() -> None:
    assert training.adam([torch.nn.Parameter(torch.zeros(1))], 1e-3).defaults["fused"]


def weights(model: FastFlow) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.flows.parameters()])


def trained(category: Path, device: torch.device) -> torch.Tensor:
    data = open_dataset(category.parent, category.name, image_size=64)
    model = FastFlow("resnet18", "bundled", steps=1, hidden=8).to(device)
    fit(model, data.train, epochs=2, batch_size=2, progress=False)
    return weights(model)


def by_parts(parameters: Sequence[torch.Tensor], lr: float, weight_decay: float) -> torch.optim.Adam:
    return torch.optim.Adam(parameters, lr, weight_decay=weight_decay, fused=False)


def test_one_pass_and_parts_train_alike(category: Path, monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    in_one_pass, start = (
        trained(category, device),
        weights(FastFlow("resnet18", "bundled", steps=1, hidden=8).to(device)),
    )
    monkeypatch.setattr(training, "adam", by_parts)
    assert (trained(category, device) - in_one_pass).abs().max() < 1e-3 * (in_one_pass - start).abs().max()


def test_the_default_rate_falls_with_depth_and_is_recorded(category: Path, device: torch.device) -> None:
    data = open_dataset(category.parent, category.name, image_size=64)
    for steps, rate in ((1, 3e-3), (16, 7.5e-4)):
        model = FastFlow("resnet18", "bundled", steps=steps, hidden=8).to(device)
        history = fit(model, data.train, epochs=1, batch_size=4, progress=False)
        assert history.settings.lr == pytest.approx(rate)
    assert fit(model, data.train, epochs=1, lr=1e-3, progress=False).settings.lr == 1e-3
