"""The table of results, from runs written by hand."""

import math
from pathlib import Path

import pytest
from written_runs import SET, record, write_six_runs

from fastflow_lite import batch
from fastflow_lite.errors import DataError


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return write_six_runs(tmp_path)


def test_one_row_a_run(runs: Path) -> None:
    table = batch.table(runs)
    assert list(zip(table["category"], table["seed"], strict=True)) == SET  # counted: 10 comes after 1
    assert table["image_auroc"].tolist()[:4] == [0.8, 0.9, 1.0, 0.5]
    assert math.isnan(table["image_auroc"][4]) and table["pixel_auroc"].isna().all()
    assert set(table["weights_used"]) == {"a file"} and set(table["epochs_made"]) == {8}
    assert set(table["seconds"]) == {9.0}
    assert batch.varying(table) == ["category", "seed"]


def test_memory_and_size_are_those_of_the_record(tmp_path: Path) -> None:
    record(tmp_path / "a", 0.9, peak_memory_mib={"host": 700.0, "gpu": 500.0}, size_mib={"file": 34.6})
    record(tmp_path / "b", 0.9, peak_memory_mib={"host": 700.0})
    first, second = batch.table(tmp_path).to_dict("records")
    assert (first["memory_mib"], first["file_mib"], second["memory_mib"]) == (500.0, 34.6, 700.0)
    assert math.isnan(second["file_mib"])
    assert "| 35" in batch.markdown(batch.table(tmp_path)[["run", "memory_mib", "file_mib"]])


def test_means_over_seeds_leave_out_what_is_undefined(runs: Path) -> None:
    bottle, screw = batch.means(batch.table(runs), ["category"]).to_dict("records")
    assert (bottle["category"], bottle["runs"], bottle["image_auroc_n"]) == ("bottle", 3, 3)
    assert bottle["image_auroc"] == pytest.approx(0.9) and bottle["image_auroc_std"] == pytest.approx(0.1)
    assert (screw["runs"], screw["image_auroc_n"]) == (3, 2)
    assert screw["image_auroc"] == pytest.approx(0.6) and screw["image_auroc_std"] == pytest.approx(math.sqrt(0.02))
    assert math.isnan(screw["pixel_auroc"]) and screw["pixel_auroc_n"] == 0


def test_records_without_a_batch_count_too(tmp_path: Path) -> None:
    model, size = {"backbone": "resnet18", "seed": 3}, [64, 48]
    record(tmp_path / "demo", 0.9, data={"category": "weave"}, model=model, parameters={"image_size": size})
    record(tmp_path / ".hidden", 0.1)
    (row,) = batch.table(tmp_path).to_dict("records")
    assert (row["run"], row["category"], row["backbone"], row["seed"]) == ("demo", "weave", "resnet18", 3)
    assert row["image_size"] == "[64, 48]" and row["seconds"] == 4.0


def test_a_folder_without_records_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no result\.json"):
        batch.table(tmp_path / "nowhere")
