"""The choice without test labels: a run on a small set, and the tables of hand-made runs."""

import json
import sys
from pathlib import Path
from typing import Any

import choose
import harness
import numpy as np
import pytest
from choose_parts import run as runs
from choose_parts import sets
from choose_parts.settings import SETTINGS, V01, Setting
from choose_parts.tables import ALL, interval, options_of, read_runs, summarize
from PIL import Image
from tiny import parts

from fastflow_lite.datasets import open_dataset
from fastflow_lite.datasets.opening import Data
from fastflow_lite.errors import DivergedError
from fastflow_lite.training.recipes import model_config

SMALL = V01.changed({"steps": 1, "hidden": 8}, epochs=1)
READOUTS = {"nll": {"map": "nll"}}


@pytest.fixture
def small_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set of images of 64 x 64 pixels in the place of bottle, and few planted defects; return a folder for runs."""
    for kind, count, spot in (("train/good", 8, False), ("test/good", 3, False), ("test/bad", 3, True)):
        folder = tmp_path / "data" / kind
        folder.mkdir(parents=True)
        for k, image in enumerate(parts(count, seed=len(kind), spot=spot)):
            Image.fromarray(image).save(folder / f"{k}.png")
    masks = tmp_path / "data" / "ground_truth" / "bad"
    masks.mkdir(parents=True)
    mask = np.zeros((64, 64), np.uint8)
    mask[21:32, 21:32] = 255
    for k in range(3):
        Image.fromarray(mask).save(masks / f"{k}_mask.png")

    def open_small(name: str, image_size: int) -> Data:
        return open_dataset(tmp_path / "data", image_size=64)

    monkeypatch.setattr(runs, "open_set", open_small)
    monkeypatch.setattr(sets, "EACH", 2)
    return tmp_path / "runs" / "bottle" / "bundled" / "small"


def make(folder: Path, setting: Setting = SMALL, readouts: Any = READOUTS) -> dict[str, Any] | None:
    return runs.run("bottle", setting, 0, readouts, folder, folder.parents[3] / "cache")


def test_a_run_is_made_once_and_its_readouts_are_judged_later(small_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(small_set)
    assert first
    assert first["options"] == SMALL.to_record()
    assert set(first["readouts"]) == {"own", "nll"}
    for judged in first["readouts"].values():
        families = [of["aupro"] for of in judged["families"].values()]
        assert judged["protocol"]["aupro"] == pytest.approx(np.mean(families))
        assert len(families) == 9
        assert 0.9 < judged["real"]["image_auroc"] <= 1, "a bright spot on a smooth surface"
    assert first["cost"]["training_s"] > 0 and first["cost"]["images_per_s"] > 0 and first["cost"]["file_mib"] > 1
    assert json.loads((small_set / "0.json").read_text()) == first
    monkeypatch.setattr(runs, "train_model", None)  # which a second training would need
    assert make(small_set) is None
    later = make(small_set, readouts=READOUTS | {"likelihood": {"map": "likelihood"}})
    assert later
    assert set(later["readouts"]) == {"own", "nll", "likelihood"}
    assert later["readouts"]["nll"] == first["readouts"]["nll"]
    assert later["readouts"]["likelihood"]["protocol"] != later["readouts"]["own"]["protocol"]
    with pytest.raises(SystemExit, match="other options"):
        make(small_set, SMALL.changed({"clamp": 1.0}))


def test_a_baseline_is_judged_alike(small_set: Path) -> None:
    record = make(small_set, Setting(method="padim", config={"channels": 8}))
    assert record
    assert set(record["readouts"]) == {"own"}


def test_held_out_images_are_not_trained_on(small_set: Path) -> None:
    data = runs.open_set("bottle", 64)
    train, held_out = sets.divide(data, seed=1)
    files = [{sample.image for sample in part.samples} for part in (train, held_out)]
    assert len(files[1]) == sets.LEAST
    assert not files[0] & files[1]
    assert files[0] | files[1] == {sample.image for sample in data.train.samples}


def test_planted_images_are_kept_and_the_same(small_set: Path, tmp_path: Path) -> None:
    _, held_out = sets.divide(runs.open_set("bottle", 64), seed=1)
    made = sets.planted("bottle", held_out, 1, tmp_path / "cache")
    read = sets.planted("bottle", held_out, 1, tmp_path / "cache")
    anew = sets.make_planted(held_out, [1, 1], each=2)
    for family, images in made.images.items():
        assert images.dtype == np.uint8 and len(images) == 2
        assert np.array_equal(images, read.images[family])
        assert np.array_equal(made.masks[family], read.masks[family])
        assert not np.array_equal(images, anew.images[family]), "another name of the set, other defects"


def judged(protocol: float, real: float) -> dict[str, Any]:
    sides = {"protocol": protocol, "real": real}
    return {side: dict.fromkeys(("image_auroc", "pixel_auroc", "aupro"), value) for side, value in sides.items()}


def write_run(folder: Path, name: str, setting: str, seed: int, of: dict[str, Any], method: str = "fastflow") -> None:
    cost = {"training_s": 2.0, "training_cpu_s": 3.0, "file_mib": 4.0, "images_per_s": 5.0}
    made = {"options": {"method": method}, "planted": 3}
    record = {"set": name, "seed": seed, **made, "cost": cost, "readouts": {"own": of}}
    file = folder / name / "resnet18" / setting / f"{seed}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record))


def test_tables_have_means_intervals_and_the_rank_correlation(tmp_path: Path) -> None:
    for k, (setting, protocol) in enumerate({"a": 0.7, "b": 0.8, "c": 0.9}.items()):
        for seed in (0, 1):
            write_run(tmp_path, "bottle", setting, seed, judged(protocol + 0.02 * seed, protocol))
            write_run(tmp_path, "screw", setting, seed, judged(protocol, 0.5 - 0.1 * k))
    write_run(tmp_path, "screw", "memory bank", 0, judged(1, 1), method="patchcore")
    summary = summarize(read_runs(tmp_path))
    rows = {(row["set"], row["setting"]): row for row in summary["rows"]}
    assert rows["bottle", "a"]["protocol"]["aupro"] == pytest.approx(0.71)
    assert rows["bottle", "a"]["protocol_interval"]["mean"] == pytest.approx(12.706 * 0.01, abs=1e-4)  # t of 1 freedom
    assert rows[ALL, "b"]["real"]["mean"] == pytest.approx((0.8 + 0.4) / 2)
    assert (ALL, "memory bank") not in rows and ("screw", "memory bank") in rows
    found = {one["set"]: one for one in summary["rank_correlation"]}
    assert found["bottle"]["aupro"] == 1 and found["screw"]["image_auroc"] == -1
    assert found["screw"]["first"] == pytest.approx(0.3) and found["screw"]["best"] == pytest.approx(0.5)
    assert found["screw"]["rows"] == 3, "a baseline is no choice"


def test_runs_of_one_name_and_other_options_are_all_given() -> None:
    runs = [{"backbone": "lite0", "setting": "ours", "options": {"noise": noise}, "planted": 3} for noise in (1, 2, 1)]
    assert options_of(runs) == {"lite0, ours": [{"noise": 1, "planted": 3}, {"noise": 2, "planted": 3}]}


def test_one_seed_has_no_interval() -> None:
    assert interval([0.5]) is None


def test_command_prints_tables_and_writes_the_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "runs", "bottle", "a", 0, judged(0.7, 0.6))
    command = ["choose.py", "--table", "--runs", str(tmp_path / "runs"), "--summary", str(tmp_path / "choose.json")]
    monkeypatch.setattr(harness, "revision", lambda: "1234567")
    monkeypatch.setattr(sys, "argv", command)
    choose.main()
    assert "| a | resnet18 | own | 1 | 0.7000 |" in capsys.readouterr().out
    written = json.loads((tmp_path / "choose.json").read_text())
    assert written["columns"]["metrics"] == ["image_auroc", "pixel_auroc", "aupro", "mean"]
    assert written["rows"][0]["real"] == [0.6] * 4
    assert written["rank_correlation"][0]["set"] == "bottle"
    assert written["options"] == {"resnet18, a": {"method": "fastflow", "planted": 3}}
    assert written["revision"] == "1234567" and {"date", "machine"} <= set(written)
    monkeypatch.setattr(sys, "argv", [*command, "--sets", "screw"])
    with pytest.raises(SystemExit, match="no run of screw"):
        choose.main()


def test_a_failed_run_does_not_end_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[int] = []

    def diverge(name: str, setting: Setting, seed: int, *_: object) -> None:
        made.append(seed)
        raise DivergedError("the loss is not finite")

    monkeypatch.setattr(choose, "run", diverge)
    monkeypatch.setattr(choose, "available", list)
    monkeypatch.setattr(sys, "argv", ["choose.py", "--runs", str(tmp_path), "--sets", "bottle", "--seeds", "0", "1"])
    with pytest.raises(SystemExit):
        choose.main()
    assert made == [0, 1]
    assert "v0.1  seed 1 failed: the loss is not finite" in capsys.readouterr().err


@pytest.mark.parametrize(("word", "network"), [("lite0", "tf_efficientnet_lite0"), ("bundled", "resnet18")])
def test_ours_is_the_recipe_over_each_network(word: str, network: str) -> None:
    setting, recipe = SETTINGS["ours"].over(word), model_config("ours", network).to_record()
    found = setting.to_record()["config"]
    assert setting.backbone == word
    assert {name: recipe[name] for name in found} | {"steps": 8} == found
    in_turn = SETTINGS["kernels in turn"].over(word)
    assert in_turn.config == setting.config | {"kernels": (3, 1)}


def test_every_setting_can_be_made() -> None:
    for name, setting in SETTINGS.items():
        assert json.loads(json.dumps(setting.to_record())) == setting.to_record(), name
