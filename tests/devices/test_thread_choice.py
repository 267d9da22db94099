"""Threads of a training: fewer while other processes keep the cores busy, all of them else and afterwards."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from fastflow_lite import FastFlow, fit
from fastflow_lite.datasets import open_dataset
from fastflow_lite.devices import thread_choice
from fastflow_lite.devices.thread_choice import ThreadChoice
from fastflow_lite.evaluation import score_images

pytestmark = pytest.mark.cpu_only
CPU = torch.device("cpu")


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@dataclass
class Machine:
    """What is "measured": seconds for each number of threads, and the cores that they get."""

    seconds: dict[int, float]
    cores: float


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine({4: 1.0, 2: 2.0, 1: 4.0}, 3.9)

    def measure(threads: int) -> tuple[float, float]:
        torch.set_num_threads(threads)
        return machine.seconds[threads], machine.cores

    monkeypatch.setattr(thread_choice, "measure", measure)
    return machine


def test_measuring_takes_time_and_sets_the_threads(four_threads: None) -> None:
    seconds, cores = thread_choice.measure(2)
    assert seconds > 0 and 0 < cores < 3 and torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("cores", "two", "one", "chosen"), [(3.9, 0.1, 0.1, 4), (3.0, 2.0, 1.7, 1), (3.0, 1.0, 1.7, 2), (3.5, 1.0, 1.7, 4)]
)
def test_all_threads_where_each_gets_a_core_else_the_fastest_of_fewer(
    four_threads: None, machine: Machine, cores: float, two: float, one: float, chosen: int
) -> None:
    machine.cores, machine.seconds = cores, {4: 1.0, 2: two, 1: one}
    with ThreadChoice(CPU):
        assert torch.get_num_threads() == chosen
    assert torch.get_num_threads() == 4


def test_slow_steps_and_a_new_epoch_choose_anew(
    four_threads: None, machine: Machine, monkeypatch: pytest.MonkeyPatch
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
        machine.cores = 3.0
        steps(1.9, 1.9, 1.9, 3, 3, 1, 3, 3)
        assert torch.get_num_threads() == 4, "two slow steps are no sign of another process"
        steps(3)
        assert torch.get_num_threads() == 2
        steps(1)
        machine.cores = 4.0
        choice.start_epoch()
        assert torch.get_num_threads() == 4


def test_training_and_scoring_go_on_with_one_thread_beside_a_busy_process(
    four_threads: None, machine: Machine, category: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_dataset(category, image_size=(64, 48))
    machine.cores, machine.seconds = 3.0, {4: 5.0, 2: 3.0, 1: 2.0}
    flow, features, used = FastFlow.flow, FastFlow.features, {"flow": [], "features": []}

    def note(name: str, method: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            used[name].append(torch.get_num_threads())
            return method(*args, **options)

        return call

    monkeypatch.setattr(FastFlow, "flow", note("flow", flow))
    monkeypatch.setattr(FastFlow, "features", note("features", features))
    model = FastFlow("resnet18", steps=1, hidden=8)
    fit(model, data.train, epochs=2, batch_size=2, progress=False)
    medians = {used["flow"].pop() for _ in range(3)}  # three batches after the training
    assert set(used["flow"]) == set(used["features"]) == {1} and medians == {torch.get_num_threads()} == {4}
    used["features"].clear()
    score_images(model, data.test)
    assert set(used["features"]) == {1} and torch.get_num_threads() == 4


def test_one_thread_and_a_gpu_measure_nothing(monkeypatch: pytest.MonkeyPatch, four_threads: None) -> None:
    def refuse(threads: int) -> tuple[float, float]:
        raise AssertionError("measured")

    monkeypatch.setattr(thread_choice, "measure", refuse)
    with ThreadChoice(torch.device("cuda")):
        assert torch.get_num_threads() == 4
    torch.set_num_threads(1)
    with ThreadChoice(CPU):
        pass
