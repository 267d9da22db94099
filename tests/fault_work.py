"""What `test_faults.py` kills: each in a process of its own, forked from one that has imported all this already."""

import hashlib
import json
from pathlib import Path

import torch
from tiny import Constant

from fastflow_lite import FastFlow, fit
from fastflow_lite.backbones import import_timm
from fastflow_lite.datasets import open_dataset
from fastflow_lite.datasets.image_files import resize
from fastflow_lite.synthetic import toy
from fastflow_lite.training.checkpoint import Checkpoint
from fastflow_lite.training.feature_cache import cache_features

import_timm()  # else every process would
resize(torch.zeros(3, 8, 8), (4, 4))  # torchvision, likewise

EPOCHS, SAVES = 6, 20


def small() -> FastFlow:
    return FastFlow("resnet18", weights="bundled", steps=1, hidden=8)


def train(category: Path, place: Path) -> None:
    """Train with a checkpoint and leave the weights and the losses."""
    model = small()
    data = open_dataset(category, image_size=(64, 48))
    history = fit(
        model, data.train, epochs=EPOCHS, batch_size=2, checkpoint=place / "run.ckpt", progress=False,
        held_out=data.test.subset([0]),
    )  # fmt: skip
    model.save(place / "model.safetensors")
    (place / "history.json").write_text(json.dumps([history.bits_per_dim, history.held_out]))


def cache(category: Path, place: Path) -> None:
    """Compute features into mapped files, and leave their checksum."""
    features = cache_features(small(), open_dataset(category, image_size=(64, 48)).train, 1, budget=0)
    assert features.place == "file"
    content = b"".join(m.numpy().tobytes() for m in features[range(len(features))])
    (place / "features.sha256").write_text(hashlib.sha256(content).hexdigest())


def save(place: Path) -> None:
    """Count to SAVES, each number a checkpoint of 2 MB that holds it in every value; go on from the last one."""
    keeper = Checkpoint(place / "count.ckpt", {"run": 1})
    last = int(keeper.load()["values"][0]) if keeper.exists() else 0
    for number in range(last + 1, SAVES + 1):
        keeper.save({"values": torch.full((500_000,), float(number))})


def draw(root: Path) -> None:
    toy.generate(root, size=64, categories=("weave",), train=6, test_good=2, test_defect=2)


def save_forever(place: Path, number: int) -> None:
    keeper = Checkpoint(place / "shared.ckpt", {"run": 1})
    while True:
        keeper.save({"values": torch.full((100_000,), float(number))})


def identity(network: float = 0.0) -> FastFlow:
    """A model of a few kilobytes."""
    return FastFlow(Constant(network, 1.0), steps=1, hidden=4)
