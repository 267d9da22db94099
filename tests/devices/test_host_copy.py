"""Copies to the host: complete at once, or when they are waited for."""

from typing import Any

import pytest
import torch

from fastflow_lite.devices.host_copy import HostCopy


def test_the_copy_of_a_processor_is_complete() -> None:
    found = HostCopy([torch.arange(3.0), torch.tensor(7)], torch.device("cpu")).wait()
    assert found[0].tolist() == [0, 1, 2] and found[1] == 7


def test_the_copy_of_a_gpu_is_waited_for_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []

    class Event:
        def record(self, stream: str) -> None:
            notes.append(f"record on {stream}")

        def synchronize(self) -> None:
            notes.append("wait")

    def note_copy(x: torch.Tensor, device: str, non_blocking: bool) -> Any:
        notes.append(f"copy to {device}, {non_blocking}")
        return x

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the stream of {device}")
    monkeypatch.setattr(torch.Tensor, "to", note_copy)
    copy = HostCopy([torch.ones(2), torch.ones(3)], torch.device("cuda", 0))
    assert notes == ["copy to cpu, True"] * 2 + ["record on the stream of cuda:0"]
    assert [len(x) for x in copy.wait()] == [2, 3]
    assert notes[-1] == "wait"
