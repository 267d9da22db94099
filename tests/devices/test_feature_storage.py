"""Where features are kept: the choice of the place, equal values at every place, the order of staged copies."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from fastflow_lite.devices.feature_storage import (
    CUDA_SHARE,
    GIBIBYTE,
    HOST_BUDGET,
    PLAIN_DEVICE_BUDGET,
    Place,
    StagedHostStorage,
    choose_place,
    make_storage,
)

CPU = torch.device("cpu")
SHAPES = [(7, 4, 6, 3), (7, 2, 3, 5)]


def maps(count: int) -> list[torch.Tensor]:
    return [torch.randn(count, *shape[1:]).half() for shape in SHAPES]


@pytest.mark.parametrize(
    ("size", "free", "device", "place"),
    [
        (100, 1000, "cuda", "device"),
        (int(CUDA_SHARE * 1000), 1000, "cuda", "device"),
        (int(CUDA_SHARE * 1000) + 1, 1000, "cuda", "host"),
        (HOST_BUDGET, 0, "cuda", "host"),
        (HOST_BUDGET + 1, GIBIBYTE, "cuda", "file"),
        (HOST_BUDGET + 1, 80 * GIBIBYTE, "cuda", "device"),
        (PLAIN_DEVICE_BUDGET, 0, "xpu", "device"),
        (PLAIN_DEVICE_BUDGET + 1, 0, "xpu", "host"),
        (PLAIN_DEVICE_BUDGET, 0, "mps", "device"),
        (HOST_BUDGET + 1, 0, "mps", "file"),
        (100, 80 * GIBIBYTE, "cpu", "host"),
        (HOST_BUDGET + 1, 80 * GIBIBYTE, "cpu", "file"),
        (0, 0, "cpu", "host"),
    ],
)
def test_features_stay_on_the_device_while_they_fit(size: int, free: int, device: str, place: Place) -> None:
    assert choose_place(size, free, device) == place


def test_the_budget_of_the_host_can_be_lowered() -> None:
    assert [choose_place(100, 0, "cpu", budget) for budget in (100, 99)] == ["host", "file"]
    assert choose_place(100, 1000, "cuda", host_budget=0) == "device"


@pytest.mark.parametrize("place", ["device", "host", "file"])
def test_every_place_returns_what_was_written(place: Place) -> None:
    first, second = maps(4), maps(3)
    with torch.inference_mode():  # as features are computed
        storage = make_storage(place, SHAPES, CPU)
        storage.write(0, first)
    storage.write(4, second)
    expected = [torch.cat(pair) for pair in zip(first, second, strict=True)]
    for indices in ([6, 0, 3], [2], list(range(7)), []):
        for found, whole in zip(storage.read(indices), expected, strict=True):
            assert torch.equal(found, whole[indices])
            assert not found.is_inference()


def test_a_mapped_file_is_in_the_temporary_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    make_storage("host", SHAPES, CPU)
    with pytest.raises(FileNotFoundError):
        make_storage("file", SHAPES, CPU)


def test_a_staged_batch_is_copied_beside_the_stream_that_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that note what happens: pinned memory is copied on one, and the other waits before it reads."""
    notes: list[Any] = []

    class Stream:
        def __init__(self, name: Any) -> None:
            self.name = "copies" if isinstance(name, torch.device) else name

        def wait_stream(self, other: "Stream") -> None:
            notes.append(f"{self.name} waits for {other.name}")

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        notes.append(f"begin {stream.name}")
        yield
        notes.append(f"end {stream.name}")

    to, empty = torch.Tensor.to, torch.empty

    def note_copy(x: torch.Tensor, device: torch.device, non_blocking: bool) -> torch.Tensor:
        notes.append(f"copy {non_blocking}")
        return to(x, device)

    def note_pinned(*shape: int, pin_memory: bool, **options: Any) -> torch.Tensor:
        notes.append(f"pinned {pin_memory}")
        return empty(*shape, **options)

    written = maps(7)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("training"))
    storage = StagedHostStorage([x.clone() for x in written], CPU)
    monkeypatch.setattr(torch.Tensor, "to", note_copy)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda x, stream: notes.append(f"kept for {stream.name}"))
    monkeypatch.setattr(torch, "empty", note_pinned)
    found = storage.read([5, 1])
    assert all(torch.equal(x, whole[[5, 1]]) for x, whole in zip(found, written, strict=True))
    staged = ["pinned True", "copy True"]
    kept = ["kept for training"] * 2
    assert notes == ["begin copies", *staged, *staged, "end copies", "training waits for copies", *kept]
