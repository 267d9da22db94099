"""Records of runs, whatever is in their files: each is counted, or refused by name."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from properties import given, st

from fastflow_lite.batch.grid import STATE, read_state
from fastflow_lite.batch.records import RESULT, read_records
from fastflow_lite.batch.table import frame

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
RECORD = st.sampled_from(["state", "parameters", "error", "seconds", "attempts", "metrics", "model", "data", "weights"])


@pytest.mark.hostile
@given(st.dictionaries(RECORD, JSON), st.sampled_from([STATE, RESULT]))
def test_records_of_any_content_are_counted_or_named(tmp_path: Path, content: dict[str, Any], name: str) -> None:
    run = tmp_path / "runs" / "run=1"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    (run / name).write_text(json.dumps(content))
    assert name != STATE or len(read_state(run)) == len(content)
    records = read_records(tmp_path / "runs")
    assert len(records.rows + records.failed + records.unfinished + records.unreadable) == 1
    assert len(frame(records)) == len(records.rows)
    assert {p.name for p in tmp_path.rglob("*")} == {"runs", "run=1", name}


@pytest.mark.hostile
def test_json_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in (STATE, RESULT):
        (tmp_path / "a" / name).write_text("[" * 100_000)
    assert read_state(tmp_path / "a") == {}
    assert len(read_records(tmp_path).unreadable) == 1


@pytest.mark.hostile
def test_one_broken_record_leaves_the_others(tmp_path: Path) -> None:
    for name, content in {"a": {"metrics": {"image_auroc": 10**400}}, "b": {"metrics": {"image_auroc": 0.5}}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / RESULT).write_text(json.dumps(content))
    (tmp_path / "c" / STATE).mkdir(parents=True)  # a folder in the place of a file
    records = read_records(tmp_path)
    assert [row["run"] for row in records.rows] == ["b"]
    assert len(records.unreadable) == 1 and str(tmp_path / "a") in records.unreadable[0]


def test_a_secret_in_a_record_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / RESULT).write_text(json.dumps({"parameters": {"hf_token": "hunter2"}}))
    assert read_records(tmp_path).rows[0]["hf_token"] == "masked"
