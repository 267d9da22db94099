"""The GPU benchmark's pure parts: shares of the time, estimates, counted bytes, records and the tables made of them."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from gpu_parts import card, command, correctness, data, goals, speed, suite, table5, training
from gpu_parts.run import FAILED, STOPPED, Record, Run, read
from gpu_parts.training import FIRST, NOT_RUN, Training
from PIL import Image

from fastflow_lite.flows import flow_steps


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run("cpu", tmp_path, time.time() + 1000, tiny=True)


def trained(epochs: int, seconds: float, recipe: str = "ours", **more: Any) -> dict[str, Any]:
    """A row as `train_once` makes it: 10 seconds beside the training."""
    about = training.describe("weave", Training(recipe, epochs))
    return about | {"seconds": seconds, "stages": {"features": 5.0, "training": seconds - 10, "scoring": 5.0}} | more


def test_parts_share_what_is_left() -> None:
    assert command.time_limit("e", [], 100) == 100
    shares = command.SHARES
    assert command.time_limit("a", ["b"], 70) == pytest.approx(70 * shares["a"] / (shares["a"] + shares["b"]))
    left, parts = 480.0, list(command.MODULES)
    for k, part in enumerate(parts):  # each takes all it may
        left -= command.time_limit(part, parts[k + 1 :], left)
    assert left == pytest.approx(0)
    assert command.time_limit("a", ["b"], -5) == 0


def test_an_estimate_is_in_proportion_to_the_epochs() -> None:
    rows = [trained(8, 50), trained(24, 58)]
    assert training.estimate(rows, Training("ours", 100)) == pytest.approx(58 + 76 * 2)
    assert training.estimate(rows, Training("paper", 100)) is None
    assert training.estimate(rows, Training("ours", 100, "bf16")) is None


def test_the_first_training_of_a_process_counts_only_without_another() -> None:
    first = trained(24, 250, **{FIRST: True})
    assert training.estimate([first], Training("ours", 48)) == pytest.approx(250 + 240)
    assert training.estimate([first, trained(8, 18)], Training("ours", 16)) == pytest.approx(18 + 8)


def test_what_does_not_fit_is_named_with_its_seconds(run: Run) -> None:
    rows = [trained(8, 50), trained(24, 5000)]
    (row,) = training.needed_rows(run, "weave", Training("ours", 500), rows, (2, 6))
    assert row[NOT_RUN] == pytest.approx(training.estimate(rows, Training("ours", 500)))
    assert "not run, would need" in training.tables({"rows": [row]})[0]


def test_every_budget_and_recipe_is_planned() -> None:
    plan = training.plan(["bottle", "screw"], tiny=False)
    ours = {(name, t.epochs) for name, t in plan if t.recipe == "ours" and t.precision == "float32"}
    assert ours == {(name, epochs) for name in ("bottle", "screw") for epochs in (8, 24, 100, 500)}
    assert {t.epochs for _, t in plan if t.recipe in (training.PAPER, training.KEPT)} == {500}
    assert len(plan) == len(set(plan))


def test_the_papers_recipe_with_kept_features_has_no_augmentation() -> None:
    assert Training(training.PAPER, 3).settings("bottle").augment is not None
    kept = Training(training.KEPT, 3).settings("bottle")
    assert (kept.augment, kept.batch_size, kept.schedule, kept.epochs) == (None, 32, "constant", 3)


def test_rows_are_kept_as_they_come(tmp_path: Path) -> None:
    Record(tmp_path, "b").begin(tiny=True)
    first = Record(tmp_path, "a")
    first.begin(tiny=True)
    first.add({"n": 1})
    assert read(tmp_path)["a"]["rows"] == [{"n": 1}]
    first.add({"n": 2})
    Record(tmp_path, "a").set(state=STOPPED)  # the command, after the part's process
    kept = json.loads((tmp_path / "gpu.json").read_text())
    assert kept["a"] == {"state": STOPPED, "tiny": True, "rows": [{"n": 1}, {"n": 2}]}
    assert kept["b"]["rows"] == []
    Record(tmp_path, "a").begin()
    assert read(tmp_path)["a"]["rows"] == []


def test_bytes_of_a_flow_by_hand() -> None:
    """One step on 10 channels, 2x3, hidden 4: products 5 + 4 + 4 + 10, then 10 read as predicted, 10 in, 10 out."""
    shapes: list[tuple[int, ...]] = [(10, 2, 3)]
    assert card.flow_bytes(shapes, [4], 1, "float32", training=False) == 6 * 4 * (23 + 30)
    assert card.flow_bytes(shapes, [4], 2, "bf16", training=True) == 3 * 2 * 6 * (2 * (23 + 10) + 4 * 20)


def test_rates_are_in_units_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "timed", lambda *_: {"low": 1.0})  # a millisecond
    rates = card.rates(torch.device("cpu"), tiny=True)
    assert rates["float32"] == rates["bf16"] == 2 * 256**3 * 1000
    assert rates["bytes"] == 2 * 4 * 1024**2 * 1000


def test_tf32_is_put_back() -> None:
    before = card.tf32_setting()
    with pytest.raises(ZeroDivisionError), card.tf32(True):
        assert all(card.tf32_setting().values())
        1 / 0  # noqa: B018
    assert card.tf32_setting() == before


def test_a_wrong_path_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The errors of a right path are those of rounding; a doubled log_det has an error of 1, and is reported."""
    right = next(correctness.compare((8, 4, 4), 2, torch.device("cpu"), list(correctness.PATHS)))
    assert right["ok"]
    assert all(0 < right[name] < 1e-5 for name in ("z", "log_det", "gradient", "inverse"))

    def doubled(self: correctness.Path, flow: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z, log_det = flow(x)
        return z, log_det * (2 if x.dtype == torch.float32 else 1)

    monkeypatch.setattr(correctness.Path, "apply", doubled)
    wrong = next(correctness.compare((8, 4, 4), 2, torch.device("cpu"), list(correctness.PATHS)))
    assert wrong["log_det"] == pytest.approx(1)
    assert not wrong["ok"]


def test_a_path_that_raises_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correctness, "apply_flow", lambda *_, **__: 1 / 0)
    rows = list(correctness.compare((8, 4, 4), 1, torch.device("cpu"), list(correctness.PATHS)))
    assert len(rows) == len(correctness.PATHS)
    assert rows[0]["ok"]
    assert rows[1]["error"].startswith("ZeroDivisionError")
    assert "ZeroDivisionError" in correctness.tables({"rows": rows})[0]


def test_the_random_flow_is_no_identity() -> None:
    flow = correctness.random_flow((8, 4, 4), 2)
    x = torch.randn(2, 8, 4, 4)
    z, log_det = flow(x)
    assert log_det.std() > 0.1
    new, _ = flow_steps(8, 2, (3, 1), 64)(x)
    assert (z - new).norm() > 0.1 * z.norm()


def test_counts_of_pytest() -> None:
    output = "....F.\nFAILED tests/a.py::b - assert 1 in 2s\n1 failed, 5 passed, 2 skipped in 4.05s\n"
    assert suite.outcomes(output) == {"failed": 1, "passed": 5, "skipped": 2}
    assert suite.outcomes("Killed") == {}


def test_without_pytest_the_record_names_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    record = Record(run.out, "e")
    record.begin()
    suite.measure(run, record)
    assert "pytest is not installed" in suite.tables(record.facts)[0]


def test_data_is_packed_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "data", tmp_path / "packed"
    for name in data.REAL:
        for place in ("train/good/000.png", "test/good/000.png", "test/cut/000.png", "ground_truth/cut/000_mask.png"):
            file = source / "mvtec" / name / place
            file.parent.mkdir(parents=True)
            Image.new("L", (400, 300), 255).save(file)
    monkeypatch.setenv("FASTFLOW_LITE_DATA", str(source))
    total = data.pack(target, None)
    assert total == sum(file.stat().st_size for file in target.rglob("*.*"))
    found = data.open_category(Run("cpu", tmp_path, 0.0, data=target), "screw")
    assert (len(found.train), len(found.test), found.test.has_masks) == (1, 2, True)
    with Image.open(target / "mvtec/bottle/ground_truth/cut/000_mask.png") as mask:
        assert mask.size == (256, 256)
    monkeypatch.setattr(data, "MOST_BYTES", total - 1)
    with pytest.raises(SystemExit, match="do not carry it"):
        data.pack(target, None)


def test_packing_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTFLOW_LITE_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match="no bottle and screw"):
        data.pack(tmp_path / "packed", None)


def test_tables_of_speed_show_errors_and_peaks() -> None:
    time_of = {"median": 2.0, "low": 1.0, "high": 3.0, "peak_mib": 100.0}
    row = {"backbone": "resnet18", "image_size": 256, "work": "flow", "precision": "bf16", "batch": 32}
    row |= {"ours": time_of, "other": {"error": "out of memory"}, "compiled": True, "images/s": 16000.0}
    rates = dict.fromkeys((*card.FORMATS, "bytes"), 1e12)
    record = {"rates": rates, "tf32": {"convolutions": True}, "beside": "its operators"}
    head, table = speed.tables(record | {"rows": [row, {"backbone": "cait", "error": "no room"}]})
    assert "copy 1000 GB/s" in head and "convolutions yes" in head
    assert "| 32 | yes | 2.00 (1.00 to 3.00) | failed |" in table
    assert "100 / - / -" in table and "no room" in table


class Side:
    """Stands for the models of both sides, which take seconds to make."""

    images = (0, 0)

    def __init__(self, *_: object) -> None:
        pass

    def work(self) -> None:
        """Never called."""


class OtherSide(Side):
    @staticmethod
    def has_anomalib() -> bool:
        return False


def test_the_other_side_is_timed_once_for_the_rows_of_one_work(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[type] = []

    def once(_: Run, make: Any) -> dict[str, Any]:
        timed.append(type(make.func.__self__))
        return {"median": float(len(timed))}

    for name, value in {"measure_once": once, "Ours": Side, "Theirs": OtherSide, "TINY": {"resnet18": 64}}.items():
        monkeypatch.setattr(speed, name, value)
    for name in ("multiply_adds", "of_the_card"):
        monkeypatch.setattr(speed, name, lambda *_: {})
    monkeypatch.setattr(card, "rates", lambda *_: {})
    monkeypatch.setattr(Run, "compiling", (False, True))
    record = Record(run.out, "c")
    record.begin()
    speed.measure(run, record)
    plain, compiled = record.facts["rows"][:8], record.facts["rows"][8:]
    assert [row["compiled"] for row in plain + compiled] == [False] * 8 + [True] * 8
    assert [row["other"] for row in compiled] == [row["other"] for row in plain]
    assert (timed.count(OtherSide), timed.count(Side)) == (8, 16 + 4)  # four with save_memory
    assert all(row["ratio"] == row["other"]["median"] / row["ours"]["median"] for row in compiled)


def test_tables_of_the_papers_five() -> None:
    parts = {part: {"median": ms} for part, ms in (("backbone", 1.0), ("added", 0.25), ("whole", 1.25))}
    row = {"backbone": "resnet18", "image_size": 256, "batch": 1, "precision": "bf16"}
    (table,) = table5.tables({"rows": [row | {"milliseconds_per_image": parts, "images/s": 800.0}]})
    assert "| 1 |  | 1.000 | 0.250 | 800 | 27 | 30.8 |" in table


def test_the_report_names_a_part_that_failed(tmp_path: Path) -> None:
    machine = {"device": "a card", "versions": {"torch": "2", "timm": "1"}}
    record = Record(tmp_path, "c")
    record.begin(machine=machine, tiny=False, minutes=8)
    record.set(state=FAILED, error="RuntimeError: no kernel")
    record.add({"backbone": "resnet18"})
    text = command.report(tmp_path)
    assert "a card, torch 2, timm 1; failed, never ended" in text
    assert "RuntimeError: no kernel" in text and "incomplete" in text
    assert command.report(tmp_path / "empty").startswith("There are no records")


def measured(backbone: str, work: str, precision: str, ours: float, other: float) -> dict[str, Any]:
    """A row of part c with medians in milliseconds."""
    row = {"backbone": backbone, "work": work, "precision": precision, "images/s": 32000 / ours}
    return row | {"ours": {"median": ours}, "other": {"median": other}, "of the bandwidth, %": 100 / ours}


def test_goals_are_held_against_the_worst_backbone() -> None:
    speeds = [
        measured("resnet18", "training step", "float32", 4.0, 12.0),
        measured("resnet18", "training step", "bf16", 2.0, 5.0),
        measured("cait_m48_448", "inference", "float32", 4.0, 6.0),
        measured("cait_m48_448", "inference", "bf16", 1.0, 4.0),
        measured("cait_m48_448", "flow", "bf16", 4.0, 1.0),
        measured("cait_m48_448", "flow", "float32", 1.0, 1.0),
        measured("resnet18", "flow", "float32", 2.0, 1.0),
        {"backbone": "wide_resnet50_2", "error": "no room"},
    ]
    paper = Training(training.KEPT, 500)
    records = {
        "a": {"rows": [{"differs from float32 by": {"image_auroc": 0.0, "pixel_auroc": -0.003}}]},
        "b": {"rows": [training.describe("bottle", paper) | {"seconds": 120.0}]},
        "c": {"rows": speeds},
    }
    assert goals.ratio_in("float32", "float32")(records) == 1.5
    assert goals.ratio_in("bf16", "bf16")(records) == 2.5
    assert goals.ratio_in("bf16", "float32")(records) == 6
    assert goals.images_a_second(records) == 16000
    assert goals.bandwidth(records) == 50
    lines = goals.table(records).splitlines()[2:]
    assert [line.split("|")[3].strip() for line in lines] == ["no", "yes", "yes", "yes", "yes", "no", "yes"]


def test_goals_without_records_are_left_out() -> None:
    assert goals.table({"c": {"rows": [{"backbone": "resnet18", "error": "no room"}]}}) == "No goal was measured."
