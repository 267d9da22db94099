"""CIFAR-10: its protocols, and its files written out as images."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from fastflow_lite.datasets import cifar10, open_dataset
from fastflow_lite.errors import DataError


def cifar_folder(root: Path) -> Path:
    for part, count in (("train", 3), ("test", 2)):
        for k, name in enumerate(cifar10.CLASSES):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (32, 32), (20 * k, i, 0)).save(root / part / name / f"{i}.png")
    return root


def test_cifar10_protocols_are_each_others_opposite(tmp_path: Path) -> None:
    cifar_folder(tmp_path / "cifar10")
    one = open_dataset("cifar10", "dog", root=tmp_path, image_size=32)
    assert open_dataset("cifar10", root=tmp_path, image_size=32).category == "airplane"
    assert (one.category, one.test.category, len(one.train), len(one.test)) == ("dog", "dog", 3, 20)
    assert {s.image.parent.name for s in one.train.samples} == {"dog"}
    assert [s.image.parent.name != "dog" for s in one.test.samples] == one.test.labels.tolist()
    out = open_dataset("cifar10", "dog", root=tmp_path, image_size=32, protocol="leave_one_out")
    assert len(out.train) == 27 and not any(s.image.parent.name == "dog" for s in out.train.samples)
    assert (out.test.labels == ~one.test.labels).all()
    with pytest.raises(DataError, match="protocol must be one of"):
        open_dataset("cifar10", "dog", root=tmp_path, protocol="both")
    with pytest.raises(DataError, match="has the classes airplane"):
        open_dataset("cifar10", "wolf", root=tmp_path)


def test_cifar10_from_torchvisions_files_is_written_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "cifar10"
    with pytest.raises(DataError, match="fastflow-lite fetch cifar10"):
        open_dataset("cifar10", root=tmp_path)
    (root / cifar10.ARCHIVE_FOLDER).mkdir(parents=True)
    with pytest.raises(DataError, match="not CIFAR-10 as published"):
        open_dataset("cifar10", root=tmp_path)
    assert [p.name for p in root.iterdir()] == [cifar10.ARCHIVE_FOLDER]  # nothing half-made stays
    pictures = [(Image.new("RGB", (32, 32), (k, 7, 9)), k % 10) for k in range(30)]
    calls = []
    monkeypatch.setattr("torchvision.datasets.CIFAR10", lambda *a, **k: calls.append(k) or pictures)
    data = open_dataset("cifar10", "cat", root=tmp_path, image_size=32)
    open_dataset("cifar10", "cat", root=tmp_path, image_size=32)
    assert calls == [{"train": True}, {"train": False}]
    assert [s.image.name for s in data.train.samples] == ["00003.png", "00013.png", "00023.png"]
    assert torch.equal((data.train[1][0][:, 0, 0] * 255).round(), torch.tensor([13.0, 7, 9]))


@pytest.mark.realdata
def test_cifar10_images(real_data: Path) -> None:
    data = open_dataset("cifar10", "ship", root=real_data, image_size=64)
    assert (len(data.train), len(data.test), int(data.test.labels.sum())) == (500, 1000, 900)
