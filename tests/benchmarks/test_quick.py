"""The command of the quick benchmark: how repetitions become a number, and what a failed part leaves. No part runs."""

import statistics
from pathlib import Path

import history
import peer
import pytest
import quick
import torch
from history import Number

from fastflow_lite.flows.conditional import ConditionalFlow


def test_the_error_of_a_number_falls_with_the_root_of_the_repetitions() -> None:
    values = [1.0, 2.0, 3.0, 4.0]
    error = statistics.stdev(values) / 2
    assert quick.number(values) == Number(2.5, pytest.approx(1.25 * error))
    assert quick.number([*values, 9.0], statistics.mean).value == 3.8
    assert quick.number(values, statistics.mean).error == pytest.approx(error)
    assert quick.number([3.0]) == Number(3.0, 0.0)


def test_a_ratio_tells_how_many_times_ours_is_as_fast() -> None:
    assert quick.ratio({"ours": [1.0, 2.0], "peer": [3.0, 6.0]}).value == 3.0
    assert quick.ratio({"torch": [1.0, 2.0], "ours": [1.5, 3.0]}, "torch").value == 1.5


def test_every_part_has_its_numbers_among_those_of_the_history() -> None:
    names = {quantity.name for quantity in history.QUANTITIES}
    assert {"training step", "inference, anomalib", "maps and scores", "pixel metrics", "import", "model file"} <= names
    assert len(names) == len(history.QUANTITIES)


def test_a_part_that_fails_is_named_and_the_others_are_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> dict[str, Number]:
        raise RuntimeError("no memory is left")

    place = tmp_path / "history.jsonl"
    monkeypatch.setattr(history, "HISTORY", place)
    monkeypatch.setattr(quick.harness, "revision", lambda: "aaaaaaa")
    monkeypatch.setattr(quick, "parts", lambda: {"memory": fails, "import": lambda: {"import": Number(1.5, 0.01)}})
    monkeypatch.setattr("sys.argv", ["quick.py", "--record"])
    threads = quick.torch.get_num_threads()
    try:
        assert quick.main() == 1
        monkeypatch.setattr(quick, "parts", lambda: {"import": lambda: {"import": Number(1.2, 0.01)}})
        assert quick.main() == 0
    finally:
        quick.torch.set_num_threads(threads)
    first, second = history.read(place)
    assert first.missing == {"memory": "RuntimeError: no memory is left"}
    assert (first.numbers, second.missing) == ({"import": Number(1.5, 0.01)}, {})
    printed = capsys.readouterr()
    assert "memory: RuntimeError: no memory is left" in printed.err
    assert "| import | 1.50 | 1.20 | -0.30 | 0.04 | moved, better |" in printed.out
    assert "The last record: " in printed.out


def test_the_model_beside_the_peer_has_all_that_the_recipe_has() -> None:
    model = peer.ours("resnet18", "bundled", steps=1, recipe="ours").train()
    features = [torch.rand(2, channels, side, side) for channels, side in ((64, 8), (128, 4), (256, 2))]
    assert [z.shape for z, _ in model.flow(features)] == [x.shape for x in features]
    assert len([m for m in model.modules() if isinstance(m, ConditionalFlow)]) == 2
