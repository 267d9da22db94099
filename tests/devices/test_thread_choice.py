"""Threads of a training: fewer while other processes keep the cores busy, all of them else and afterwards."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fastflow_lite import FastFlow, fit
from fastflow_lite.datasets import open_dataset
from fastflow_lite.devices import thread_choice
from fastflow_lite.devices.thread_choice import ThreadChoice
from fastflow_lite.training.loop import TrainingLoop

pytestmark = pytest.mark.cpu_only
CPU = torch.device("cpu")


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """The seconds that are "measured" for each number of threads."""
    measured = {4: 1.0, 2: 1.0, 1: 1.0}

    def measure(threads: int) -> float:
        torch.set_num_threads(threads)
        return measured[threads]

    monkeypatch.setattr(thread_choice, "measure", measure)
    return measured


def test_measuring_takes_time_and_sets_the_threads(four_threads: None) -> None:
    assert thread_choice.measure(2) > 0 and torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("measured", "chosen"),
    [((0.5, 0.9, 1.7), 4), ((5.0, 2.0, 1.7), 1), ((3.0, 1.0, 1.7), 2), ((1.0, 0.9, 1.0), 4)],
)
def test_the_fastest_number_is_taken_all_threads_where_it_matters_little(
    four_threads: None, seconds: dict[int, float], measured: tuple[float, ...], chosen: int
) -> None:
    seconds.update(zip((4, 2, 1), measured, strict=True))
    with ThreadChoice(CPU):
        assert torch.get_num_threads() == chosen
    assert torch.get_num_threads() == 4


def test_slow_steps_and_a_new_epoch_choose_anew(
    four_threads: None, seconds: dict[int, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    choice = ThreadChoice(CPU)

    def steps(*durations: float) -> None:
        for duration in durations:
            with choice.step(2):
                clock[0] += duration

    with choice:
        steps(1, 1.5, 1)
        seconds[4] = 9.0
        steps(1.9, 1.9, 1.9, 3, 3, 1, 3, 3)
        assert torch.get_num_threads() == 4, "two slow steps are no sign of another process"
        steps(3)
        assert torch.get_num_threads() == 2
        seconds[4] = 0.5
        choice.start_epoch()
        assert torch.get_num_threads() == 4


def test_a_training_goes_on_with_one_thread_beside_a_busy_process(
    four_threads: None, seconds: dict[int, float], category: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = open_dataset(category, image_size=(64, 48)).train
    seconds.update({4: 5.0, 2: 3.0})
    step, used = TrainingLoop.step, []

    def note(loop: TrainingLoop, *rest: object) -> None:
        used.append(torch.get_num_threads())
        step(loop, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(TrainingLoop, "step", note)
    fit(FastFlow("resnet18", steps=1, hidden=8), train, epochs=2, batch_size=2, progress=False)
    assert set(used) == {1} and torch.get_num_threads() == 4


def test_one_thread_and_a_gpu_measure_nothing(monkeypatch: pytest.MonkeyPatch, four_threads: None) -> None:
    def refuse(threads: int) -> float:
        raise AssertionError("measured")

    monkeypatch.setattr(thread_choice, "measure", refuse)
    with ThreadChoice(torch.device("cuda")):
        assert torch.get_num_threads() == 4
    torch.set_num_threads(1)
    with ThreadChoice(CPU):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "then"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "None")]
)
def test_threads_wait_without_keeping_their_core_busy(given: dict[str, str], then: str) -> None:
    """What the user has set stays."""
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    text = "import sys, os, fastflow_lite; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", text], env=clean | given, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [then, "False"]
