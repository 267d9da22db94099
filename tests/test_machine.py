import functools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from fastflow_lite import machine
from fastflow_lite.errors import ArgumentError
from fastflow_lite.machine import choose_device, describe_machine, peak_memory_mib, prepare_torchvision, synchronize


def devices_here(monkeypatch: pytest.MonkeyPatch, cuda: int = 0, xpu: int = 0, mps: int = 0) -> None:
    for module, count in ((torch.cuda, cuda), (torch.xpu, xpu)):
        monkeypatch.setattr(module, "is_available", lambda count=count: count > 0)
        monkeypatch.setattr(module, "device_count", lambda count=count: count)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps > 0)


@pytest.mark.parametrize(
    ("here", "first"),
    [({"cuda": 2, "xpu": 1, "mps": 1}, "cuda"), ({"xpu": 1, "mps": 1}, "xpu"), ({"mps": 1}, "mps"), ({}, "cpu")],
)
def test_auto_takes_the_first_gpu(here: dict[str, int], first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    devices_here(monkeypatch, **here)
    assert choose_device() == choose_device("auto") == torch.device(first)
    assert choose_device("cpu") == torch.device("cpu")


def test_a_named_device_is_taken_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    devices_here(monkeypatch, cuda=2)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    for absent in ("cuda:2", "mps", "xpu", "xpu:0", "cpu:1"):
        with pytest.raises(ArgumentError, match=rf"device '{absent}' is not there: torch .* finds 1 cpu, 2 cuda\. Use"):
            choose_device(absent)
    for wrong in ("gpu", "", "cuda:", "cuda:x", "cuda:-1", "meta", 0, None):
        with pytest.raises(ArgumentError, match="device must be one of 'auto', 'cpu', 'cuda', 'xpu', 'mps', or"):
            choose_device(wrong)  # type: ignore[arg-type]


def test_gpus_are_described_by_their_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert describe_machine(torch.device("cpu"))["device"] == "cpu"
    assert describe_machine(torch.device("mps"))["device"] == "mps"
    for module in (torch.cuda, torch.xpu):
        monkeypatch.setattr(module, "get_device_name", lambda device: f"card {device.index}")
    assert describe_machine(torch.device("cuda", 1))["device"] == "card 1"
    assert describe_machine(torch.device("xpu", 0))["device"] == "card 0"


def test_peak_memory_of_the_gpu_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert peak_memory_mib().keys() <= {"host"}
    devices_here(monkeypatch, xpu=1)
    monkeypatch.setattr(torch.xpu, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.xpu, "max_memory_allocated", lambda: 3 * 1024**2)
    assert peak_memory_mib()["gpu"] == 3
    devices_here(monkeypatch, mps=1)
    for held, gpu in ((0, None), (5 * 1024**2, 5)):
        monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda held=held: held)
        assert peak_memory_mib().get("gpu") == gpu


def test_synchronize_waits_for_the_device_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    monkeypatch.setattr(torch.xpu, "synchronize", waited.append)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append(torch.device("mps")))
    devices = [torch.device(name) for name in ("cuda:0", "xpu:1", "mps")]
    for device in (*devices, torch.device("cpu")):
        synchronize(device)
    assert waited == devices


def test_threads_declare_the_operators_of_torchvision_once(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = []

    class Library:
        def __init__(self, *names: str) -> None:
            declared.append(names)

        def define(self, schema: str) -> None: ...

    def fail_slowly(path: str) -> Any:
        time.sleep(0.05)
        raise OSError(path)

    anew = functools.cache(machine._prepare_torchvision.__wrapped__)
    monkeypatch.setattr(machine, "_prepare_torchvision", anew)
    monkeypatch.setattr(torch.ops, "load_library", fail_slowly)
    monkeypatch.setattr(torch.library, "Library", Library)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: prepare_torchvision(), range(2)))
    assert declared == [("torchvision", "DEF")]
