"""`fastflow-lite table`, on runs written by hand."""

import re
from pathlib import Path

import pandas as pd
import pytest
from written_runs import record, state, write_six_runs

from fastflow_lite import batch
from fastflow_lite.cli import main as cli


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return write_six_runs(tmp_path)


def cells(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was printed, with one space around each cell of a table."""
    return re.sub(r" +", " ", capsys.readouterr().out)


def test_both_tables_are_printed_as_markdown(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["table", str(runs)]) == 0
    printed = cells(capsys)
    assert "| bottle | 10 | 1.000 | - | 0.500 | 0.750 | 0.250 | - | - | 9 | - | - | 8 | a file |" in printed
    assert "The same in all runs: epochs=8." in printed
    assert "| bottle | 3 | 0.900 ± 0.100 | 0.500 ± 0.000 |" in printed, "no run has an image AP: no column"
    assert "| screw | 3 | 0.600 ± 0.141 (n=2) | 0.500" in printed


def test_means_by_a_chosen_parameter(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["table", str(runs), "--by", "seed"]) == 0
    assert "| 10 | 2 | 0.850 ± 0.212 |" in cells(capsys)
    assert cli.main(["table", str(runs), "--by", "sed"]) == 2
    assert "there are category, seed, epochs" in capsys.readouterr().err


def test_csv_holds_every_run_unrounded(runs: Path, tmp_path: Path) -> None:
    assert cli.main(["table", str(runs), "--csv", str(tmp_path / "all.csv")]) == 0
    table = pd.read_csv(tmp_path / "all.csv")
    assert len(table) == 6 and table["image_auroc"][5] == 0.7 and table["epochs"].tolist() == [8] * 6


@pytest.mark.parametrize("target", ["file/all.csv", "runs"])
def test_a_csv_that_cannot_be_written_is_one_line(
    runs: Path, tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert cli.main(["table", str(runs), "--csv", str(tmp_path / target)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fastflow-lite table: {tmp_path / target} cannot be written")


def test_failed_and_unfinished_runs_are_named_and_not_counted(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = {"type": "ValueError", "message": "first line\nthe last line", "traceback": "..."}
    state(runs / "category=cable,seed=0", "failed", {"category": "cable", "seed": 0}, error=error)
    record(runs / "category=cable,seed=0", 0.1)  # written before the notebook failed: no result
    state(runs / "category=pill,seed=0", "running", {"category": "pill", "seed": 0})
    assert len(batch.table(runs)) == 6
    cli.main(["table", str(runs)])
    printed = capsys.readouterr().out.splitlines()
    assert "failed: category=cable,seed=0: ValueError: the last line (attempts: 2)" in printed
    assert "unfinished: category=pill,seed=0" in printed


@pytest.mark.hostile
def test_a_damaged_file_is_named_and_left_out(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "category=screw,seed=1" / "result.json").write_text('{"metrics": {')
    (runs / "category=screw,seed=10" / "run.json").write_text("[]")
    with pytest.warns(UserWarning, match=r"left out: .*seed=1.*json"):
        assert len(batch.table(runs)) == 4
    capsys.readouterr()
    assert cli.main(["table", str(runs)]) == 0
    printed = capsys.readouterr().err.splitlines()
    assert [line.rpartition("/")[2].split(":")[0] for line in printed] == ["result.json", "run.json"]


def test_only_failures_are_a_table_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state(tmp_path / "seed=0", "failed", {"seed": 0}, error={"type": "KilledWorker", "message": ""})
    assert batch.table(tmp_path).empty
    assert cli.main(["table", str(tmp_path)]) == 0
    assert "failed: seed=0: KilledWorker (attempts: 2)" in capsys.readouterr().out


EVIL = {"category": "\x1b[2J|x\udcff", "note": "=HYPERLINK(1)", "+column": "@SUM(1)", "lr": -0.5}


@pytest.mark.hostile
def test_names_from_elsewhere_reach_neither_the_terminal_nor_a_spreadsheet_as_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        state(tmp_path / "runs" / f"seed={seed}", "done", {"seed": seed, **EVIL})
        record(tmp_path / "runs" / f"seed={seed}", 0.5)
    state(tmp_path / "runs" / "failed", "failed", EVIL, error={"type": "ValueError", "message": "\x1b[31mred"})
    state(tmp_path / "runs" / "\x1b]0;title\x07", "running", {})
    assert cli.main(["table", str(tmp_path / "runs"), "--by", "category", "--csv", str(tmp_path / "all.csv")]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "\x07" not in printed and printed.encode()
    assert r"\x1b[2J\|x\udcff" in printed and r"ValueError: \x1b[31mred" in printed and r"\x1b]0;title\x07" in printed
    (first, _) = pd.read_csv(tmp_path / "all.csv").to_dict("records")
    assert (first["note"], first["'+column"], first["lr"]) == ("'=HYPERLINK(1)", "'@SUM(1)", -0.5)
    assert not re.search(r"(^|,)[\"]?[=+@]", (tmp_path / "all.csv").read_text(), re.MULTILINE)
