"""The long runs: what counts as growth, and that a short one goes through."""

import importlib
from types import ModuleType

import pytest
import torch
from tiny import Constant, started

from fastflow_lite import FastFlow
from fastflow_lite.datasets.input_format import InputFormat
from fastflow_lite.detection import Detector


@pytest.fixture
def soak() -> ModuleType:
    return importlib.import_module("soak")


def test_what_comes_and_goes_is_no_growth(soak: ModuleType) -> None:
    waves = [400 + 12 * (k % 3) for k in range(20)]
    assert soak.judged([300, 350, *waves[2:]]) == {"grown_mib": 0.0, "is_flat": True}
    slow = soak.judged([400 + 1.0 * k for k in range(20)])
    assert slow == {"grown_mib": 9.0, "is_flat": False}
    assert not soak.judged([*waves[:-1], 460])["is_flat"]


def test_a_short_run_of_images(soak: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def detector(paths: list[object], size: int) -> Detector:
        seen.extend((len(paths), size))
        model = started(FastFlow(Constant(0.0, 10.0), steps=1, hidden=4, map="energy", normalize="none"), size, size)
        model.input_format = InputFormat((size, size))
        return Detector.calibrate(model.eval(), list(torch.rand(3, 3, size, size)), rule="quantile")

    monkeypatch.setattr(soak, "make_detector", detector)
    monkeypatch.setattr(soak, "EVERY", 8)
    monkeypatch.setattr(soak, "PICTURES", 2)
    monkeypatch.setattr(soak, "SIDE", 32)
    found = soak.run_images(40, 32)
    assert seen == [40, 32] and len(found["mib"]) == 5 and all(mib > 0 for mib in found["mib"])
