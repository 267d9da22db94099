"""What benchmarks share: turns, ratios, records. Clocks are not tested, since no test may depend on a time."""

import subprocess
from pathlib import Path

import harness
import pytest


def test_sides_take_turns_and_the_first_turns_are_dropped() -> None:
    calls: list[str] = []

    def side(name: str) -> int:
        calls.append(name)
        return len(calls)

    found = harness.in_turns({"a": lambda: side("a"), "b": lambda: side("b")}, repeats=2, warmup=1)
    assert calls == ["a", "b"] * 3
    assert found == {"a": [3, 5], "b": [4, 6]}


def test_a_ratio_is_of_each_turn_so_that_a_slow_moment_of_both_does_not_count() -> None:
    assert harness.ratios([2.0, 4.0, 20.0], [1.0, 2.0, 10.0]) == {"median": 2.0, "low": 2.0, "high": 2.0}
    assert harness.shown(harness.ratios([3.0, 1.0], [1.0, 1.0])) == "2.0 (1.0 to 3.0)"


def test_a_new_record_replaces_that_of_its_key_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    harness.keep("speed", {"a": 1, "b": 2})
    harness.keep("speed", {"b": 3})
    assert harness.read_json(tmp_path / "speed.json") == {"a": 1, "b": 3}
    assert [place.name for place in tmp_path.iterdir()] == ["speed.json"]
    assert harness.read_json(tmp_path / "none.json", []) == []


@pytest.mark.slow
def test_a_record_names_machine_versions_and_day_and_neither_path_nor_host() -> None:
    made = harness.provenance()
    assert set(made) == {"machine", "revision", "date"} and len(made["date"]) == len("2026-01-01")
    assert {"processor", "cores", "versions"} <= set(made["machine"])
    assert str(Path.home()) not in str(made) and str(harness.ROOT) not in str(made)


@pytest.mark.slow
def test_a_changed_file_marks_the_revision_and_a_new_record_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "ROOT", tmp_path)
    assert harness.revision() is None
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    for place in (tmp_path / "code.py", results / "history.jsonl"):
        place.write_text("1\n")
    about = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*about, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    head = harness.revision()
    assert head and len(head) == 7
    (results / "history.jsonl").write_text("2\n")
    assert harness.revision() == head
    (tmp_path / "code.py").write_text("2\n")
    assert harness.revision() == head + "+"
