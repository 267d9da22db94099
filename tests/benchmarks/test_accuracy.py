"""The table of accuracies: what is run, what is left alone, and the rows of hand-made records."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import accuracy
import harness
import pytest
from choose_parts.settings import Setting

from fastflow_lite.config import FastFlowConfig
from fastflow_lite.errors import DivergedError
from fastflow_lite.training import Settings, recipes

COST = {"training_s": 2.0, "training_cpu_s": 3.0, "peak_memory_mib": 900.0, "file_mib": 4.0, "images_per_s": 5.0}


def record(setting: Setting, seed: int, value: float) -> dict[str, Any]:
    real = dict.fromkeys(("image_auroc", "pixel_auroc", "aupro"), value)
    found = {"set": "screw", "seed": seed, "options": setting.to_record(), "cost": dict(COST), "machine": {"cores": 2}}
    return found | {"planted": 3, "readouts": {"own": {"real": real}}}


def write(runs: Path, method: str, seed: int, value: float, **changes: Any) -> None:
    setting = replace(accuracy.methods()[method], backbone="bundled", **changes)
    file = runs / "screw" / "bundled" / method / f"{seed}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record(setting, seed, value)))


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["accuracy.py", *map(str, arguments)])
    accuracy.main()


@pytest.mark.parametrize("name", ["ours", "v0.1"])
def test_the_settings_are_the_recipes_of_their_names(name: str) -> None:
    setting = accuracy.methods()[name]
    recipe = recipes.model_config(name, "resnet18")
    assert replace(recipe, layers=None, steps=None) == FastFlowConfig("resnet18", **setting.config | {"steps": None})
    assert Settings(**setting.training | {"lr": None}) == recipes.training_settings(name)
    assert json.loads(json.dumps(setting.to_record())) == setting.to_record()


def test_anomalib_makes_as_many_updates_as_ours() -> None:
    config = accuracy.methods()["anomalib"].config
    ours = recipes.training_settings("ours")
    assert config == {"epochs": ours.epochs, "updates": ours.updates, "batch_size": ours.batch_size}
    assert config["updates"]


def test_the_table_has_means_and_spreads_and_leaves_out_other_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, value in enumerate((0.7, 0.8, 0.9)):
        write(tmp_path, "patchcore", seed, value)
    write(tmp_path, "v0.1", 0, 0.6)
    write(tmp_path, "ours", 0, 0.1, training={"epochs": 77})
    monkeypatch.setattr(harness, "revision", lambda: "1234567")
    call(monkeypatch, "--runs", tmp_path, "--table", "--summary", tmp_path / "accuracy.json")
    printed = capsys.readouterr()
    means = "0.8000 ± 0.1000 | 0.8000 ± 0.1000 | 0.8000 ± 0.1000"
    assert f"| screw | bundled | patchcore | 3 | {means} | 2.0 | 3.0 | 900.0 | 4.0 | 5.0 |" in printed.out
    assert "| screw | bundled | v0.1 | 1 | 0.6000 | 0.6000 | 0.6000 |" in printed.out
    assert "ours" not in printed.out and "1 runs of other options" in printed.err
    written = json.loads((tmp_path / "accuracy.json").read_text())
    assert [(row["method"], row["aupro"]) for row in written["rows"]] == [
        ("v0.1", [0.6, None]),
        ("patchcore", [0.8, 0.1]),
    ]
    assert written["machines"] == [{"cores": 2}]
    assert written["revision"] == "1234567"
    assert list(written["options"]) == ["bundled, patchcore", "bundled, v0.1"]
    assert written["options"]["bundled, v0.1"]["training"]["epochs"] == 8


def test_runs_of_other_options_alone_are_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "ours", 0, 0.1, training={"epochs": 77})
    with pytest.raises(SystemExit, match="no run of screw below"):
        call(monkeypatch, "--runs", tmp_path, "--sets", "screw", "--table")


def test_the_file_of_the_weights_need_not_be_at_hand() -> None:
    setting = accuracy.methods()["padim"]
    one = record(setting, 0, 0.5) | {"backbone": "resnet18"}
    one["options"]["weights"] = "some_file"
    assert accuracy.is_current(one, setting)
    assert not accuracy.is_current(one | {"backbone": "lite0"}, setting)


def test_a_record_of_choose_has_no_peak_memory() -> None:
    one = record(accuracy.methods()["padim"], 0, 0.5) | {"backbone": "bundled", "setting": "padim"}
    del one["cost"]["peak_memory_mib"]
    assert accuracy.rows([one])[0]["peak_memory_mib"] is None
    assert " | 3.0 |  | 4.0 |" in accuracy.to_markdown(accuracy.rows([one]))


class InThisProcess:
    """In the place of `harness.Fresh`."""

    def __enter__(self) -> Any:
        return lambda work, *arguments: work(*arguments)

    def __exit__(self, *_: object) -> None: ...


def test_what_is_there_is_not_made_again_and_a_failure_does_not_end_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[tuple[str, int]] = []

    def run_alone(name: str, setting: Setting, seed: int, *_: object) -> dict[str, Any]:
        made.append((setting.method, seed))
        if seed == 2:
            raise DivergedError("the loss is not finite")
        return record(setting, seed, 0.5)

    monkeypatch.setattr(accuracy.harness, "Fresh", InThisProcess)
    monkeypatch.setattr(accuracy, "run_alone", run_alone)
    monkeypatch.setattr(accuracy, "available", list)
    monkeypatch.setattr(accuracy, "RESNET", "bundled")
    write(tmp_path, "patchcore", 1, 0.7)
    chosen = ("--sets", "screw", "--backbones", "bundled", "resnet18", "--methods", "patchcore", "anomalib")
    with pytest.raises(SystemExit):
        call(monkeypatch, "--runs", tmp_path, *chosen)
    expected = [("patchcore", 0), ("anomalib", 0), ("anomalib", 1), ("patchcore", 2), ("anomalib", 2)]
    assert made == expected
    printed = capsys.readouterr()
    assert "resnet18 is left out: set FASTFLOW_LITE_WEIGHTS" in printed.out
    assert "seed 0  | screw | bundled | anomalib | 1 | 0.5000 |" in printed.out
    assert printed.err.count("seed 2 failed: the loss is not finite") == 2
    with pytest.raises(SystemExit, match="no run of bottle below"):
        call(monkeypatch, "--runs", tmp_path, "--sets", "bottle", "--table")


def test_the_peak_memory_is_that_after_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: Any) -> dict[str, Any]:
        _, found = arguments[-1](*arguments[:3])
        return dict(found)

    monkeypatch.setattr(accuracy.runs, "run", run)
    monkeypatch.setattr(accuracy.runs, "train_model", lambda *asked: (None, {"asked": asked, "cost": {}}))
    monkeypatch.setattr(accuracy, "peak_memory_mib", lambda: {"host": 7.0})
    found = accuracy.run_alone("screw", accuracy.methods()["ours"], 0, tmp_path, tmp_path)
    assert found and found["cost"] == {"peak_memory_mib": 7.0} and found["asked"][0] == "screw"
