"""Whether a number moved since the last record, from records that are made up."""

from pathlib import Path

import history
import pytest
from history import FIRST, MISSING, WITHIN, Number, Quantity, Record

RATIO = Quantity("inference", "times as fast", higher_is_better=True, least=0.02)
MIB = Quantity("training memory", "MiB", higher_is_better=False, of_machine=True, least=0.01)


def record(value: float, error: float = 0.0, name: str = "inference", **about: str) -> Record:
    facts = {"date": "2026-01-01", "revision": "aaaaaaa", "machine": "one"} | about
    return Record(**facts, versions={"torch": "2"}, numbers={name: Number(value, error)})


def verdict(name: str, now: Record, *records: Record) -> str:
    (change,) = [change for change in history.compare(now, records) if change.quantity.name == name]
    return change.verdict


def test_a_change_is_a_move_from_three_deviations_of_the_difference_on() -> None:
    """Errors of .03 and .04 make one of .05, so that .15 is the noise."""
    last = record(2.0, 0.03)
    assert verdict("inference", record(2.149, 0.04), last) == WITHIN
    assert verdict("inference", record(2.151, 0.04), last) == "moved, better"
    assert verdict("inference", record(1.849, 0.04), last) == "moved, worse"


def test_less_memory_is_better() -> None:
    name = "training memory"
    assert verdict(name, record(900.0, name=name), record(1000.0, name=name)) == "moved, better"
    assert verdict(name, record(1100.0, name=name), record(1000.0, name=name)) == "moved, worse"


def test_the_least_change_is_a_share_of_the_last_value() -> None:
    assert verdict("inference", record(2.039), record(2.0)) == WITHIN
    assert verdict("inference", record(2.041), record(2.0)) == "moved, better"


def test_the_last_record_counts_that_has_the_number() -> None:
    other = record(1.0, name="AUPRO")
    assert verdict("inference", record(2.0), record(1.0, revision="bbbbbbb"), record(2.0), other) == WITHIN
    assert verdict("inference", record(2.0), other) == FIRST
    assert verdict("inference", other, record(2.0)) == MISSING


def test_ratios_are_compared_with_any_machine_and_memory_with_the_same() -> None:
    assert verdict("inference", record(2.0, machine="two"), record(1.0)) == "moved, better"
    memory = "training memory"
    assert verdict(memory, record(900.0, name=memory, machine="two"), record(1000.0, name=memory)) == FIRST
    both = (record(900.0, name=memory, machine="two"), record(1000.0, name=memory))
    assert verdict(memory, record(900.0, name=memory, machine="two"), *both) == WITHIN


def test_runs_of_one_revision_tell_the_noise_from_three_runs_on() -> None:
    """1.9 and 2.1 deviate by .1414; pooled with 2 and 2, 1.9 and 2.1 and 3 degrees of freedom by .1155."""
    two, other = [record(1.9), record(2.1)], [record(v, revision="bbbbbbb") for v in (5.0, 5.0, 5.2)]
    assert history.between_runs(RATIO, two) == 0
    assert history.between_runs(RATIO, [*two, record(7.0, revision="ccccccc")]) == 0
    assert history.between_runs(RATIO, [*two, record(2.0)]) == pytest.approx(0.1)
    pooled = ((0.02 + (2 * 0.2**2 / 3)) / 3) ** 0.5
    assert history.between_runs(RATIO, two + other) == pytest.approx(pooled)
    assert verdict("inference", record(2.4), *two, record(2.0)) == WITHIN


def test_runs_of_a_changed_tree_or_of_no_revision_are_not_the_same_code() -> None:
    for name in ("aaaaaaa+", None):
        runs = [record(value, revision=name) for value in (1.0, 2.0, 3.0)]  # type: ignore[arg-type]
        assert history.between_runs(RATIO, runs) == 0


def test_the_larger_of_both_estimates_is_the_noise() -> None:
    assert history.noise_of(RATIO, Number(2.0, 0.3), Number(2.0, 0.0), between=0.4) == pytest.approx(3 * 0.4 * 2**0.5)
    assert history.noise_of(RATIO, Number(2.0, 0.3), Number(2.0, 0.0), between=0.0) == pytest.approx(0.9)
    assert history.noise_of(MIB, Number(990.0), Number(1000.0), between=0.0) == pytest.approx(10.0)


def test_a_line_holds_a_whole_record(tmp_path: Path) -> None:
    first, second = record(1.0, 0.1), record(2.0, note="made later")
    file = tmp_path / "history.jsonl"
    file.write_text(f"{first.to_line()}\n{second.to_line()}\n")
    assert history.read(file) == [first, second]
    assert history.read(tmp_path / "none") == []
    assert "\n" not in first.to_line()


def test_the_table_has_a_row_for_each_number_and_leaves_unknown_cells_empty() -> None:
    rows = history.rows(history.compare(record(2.2, 0.01), [record(2.0, 0.01)]))
    assert [row["number"] for row in rows] == [quantity.name for quantity in history.QUANTITIES]
    shown = {row["number"]: row for row in rows}
    known = shown["inference"]
    assert [known[key] for key in ("last", "now", "change", "noise", "verdict")] == [
        *("2.00", "2.20", "+0.20", "0.04", "moved, better")
    ]
    assert [shown["AUPRO"][key] for key in ("last", "now", "change", "noise")] == [""] * 4


def test_the_records_of_the_repository_can_be_read() -> None:
    records = history.read()
    known = {quantity.name for quantity in history.QUANTITIES}
    assert all(set(record.numbers) <= known for record in records)
    assert [record.date for record in records] == sorted(record.date for record in records)
