"""A detector in use: called by several threads at once, and for so many images that what is kept of each would show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import Constant, started

from fastflow_lite import FastFlow
from fastflow_lite.datasets.input_format import InputFormat
from fastflow_lite.detection import Detector

SIDE = 128
THREADS = torch.get_num_threads()
STATUS = Path("/proc/self/statm")


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    yield
    torch.set_num_threads(THREADS)


def picture(seed: int, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width), np.uint8)


@pytest.fixture(params=[None, SIDE], ids=["resized", "tiles"])
def detector(request: pytest.FixtureRequest) -> Detector:
    model = started(FastFlow(Constant(0.0, 10.0), steps=1, hidden=4, map="energy", normalize="none"), SIDE, SIDE)
    model.input_format = InputFormat((SIDE, SIDE))
    return Detector.calibrate(model.eval(), [picture(k) for k in range(3)], rule="quantile", tile=request.param)


def test_threads_that_share_a_detector_get_the_scores_of_one_alone(detector: Detector) -> None:
    images = [picture(seed, SIDE + 16 * (seed % 3), SIDE + 16) for seed in range(24)]
    alone = [detector(image).raw_score for image in images]

    def judge(number: int) -> list[float]:
        if number % 2:
            return [detector(image).raw_score for image in images]
        return [finding.raw_score for finding in detector.findings(images, batch_size=1 + number)]

    with ThreadPoolExecutor(8) as pool:
        for scores in pool.map(judge, range(8)):
            assert scores == pytest.approx(alone, rel=1e-5)


def resident() -> int:
    """Bytes of this process in memory."""
    return 4096 * int(STATUS.read_text().split()[1])


@pytest.mark.skipif(not STATUS.exists(), reason="needs /proc")
@pytest.mark.parametrize("is_counted", [True, False])
def test_memory_does_not_grow_with_the_number_of_images(detector: Detector, is_counted: bool) -> None:
    torch.set_num_threads(2 if is_counted else 1)  # two that compute one batch wait long where other programs run
    few = [picture(k) for k in range(16)]
    many: Iterable[np.ndarray] = few * 48 if is_counted else (few[k % 16] for k in range(768))
    findings: Iterator[object] = detector.findings(many, batch_size=16)
    assert sum(1 for _ in islice(findings, 256)) == 256
    before = resident()
    assert sum(1 for _ in findings) == 512
    assert resident() - before < 2**24, "512 maps are 32 MiB"
