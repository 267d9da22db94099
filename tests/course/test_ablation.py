"""Ablations: variants side by side, differences with intervals, nothing made twice."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from fastflow_lite.course import ablation
from fastflow_lite.course.ablation import Setting, Variant, compare, differences, milliseconds
from fastflow_lite.datasets import Data, open_dataset
from fastflow_lite.flows import flow_steps

PLAIN, ADDITIVE = Variant("affine"), Variant("additive", model={"coupling": "additive"})
SETTING = Setting(model={"steps": 1}, fit={"epochs": 1})


@pytest.fixture
def data(category: Path) -> Data:
    return open_dataset(category.parent, category.name, image_size=(64, 48))


@pytest.mark.slow
def test_a_run_is_made_once_and_anew_when_an_argument_changes(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compare(data, [PLAIN, ADDITIVE], [0, 1], tmp_path, SETTING)
    assert list(first["variant"]) == ["affine", "affine", "additive", "additive"]
    assert len(list(tmp_path.glob("stripes_*.json"))) == 4
    assert (
        first["parameters"].iloc[0] > first["parameters"].iloc[2]
    )  # an additive coupling predicts half as many values

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(ablation, "train", forbidden)
    pd.testing.assert_frame_equal(first, compare(data, [PLAIN, ADDITIVE], [0, 1], tmp_path, SETTING))
    for other in (Setting(model={"steps": 2}, fit={"epochs": 1}), Setting(weights="random", model={"steps": 1})):
        with pytest.raises(AssertionError, match="made again"):
            compare(data, [PLAIN], [0], tmp_path, other)


def test_a_training_that_diverges_is_kept_as_such(
    data: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = Variant("wild", fit={"lr": 1e6, "clip": None, "epochs": 3})
    rows = compare(data, [PLAIN, wild], [0], tmp_path, SETTING)
    assert rows["image_auroc"].isna().tolist() == [False, True]
    assert "wild, seed 0: " in capsys.readouterr().out
    again = compare(data, [PLAIN, wild], [0], tmp_path, SETTING)
    assert "diverged" in capsys.readouterr().out and again["image_auroc"].isna().tolist() == [False, True]
    assert math.isnan(differences(rows, "affine")["difference"].iloc[0])


def test_difference_is_paired_by_seed_and_has_students_interval() -> None:
    scores = {"a": [0.5, 0.7, 0.9], "b": [0.6, 0.8, 1.0], "c": [0.5, 0.8, 0.8]}
    rows = [
        {"category": "x", "variant": name, "seed": seed, "image_auroc": value, "pixel_auroc": value, "aupro": math.nan}
        for name, values in scores.items()
        for seed, value in enumerate(values)
    ]
    found = differences(pd.DataFrame(rows), "a").set_index(["variant", "metric"])
    always = found.loc[("b", "image_auroc")]
    assert always["difference"] == pytest.approx(0.1) and always["half_width"] == pytest.approx(0, abs=1e-9)
    mixed = found.loc[("c", "pixel_auroc")]  # 0, 0.1, -0.1: mean 0, deviation 0.1, t(0.975, 2) = 4.3027
    assert mixed["difference"] == pytest.approx(0)
    assert mixed["half_width"] == pytest.approx(4.3027 * 0.1 / 3**0.5, abs=1e-4)
    assert found.loc[("c", "aupro")]["seeds"] == 0
    alone = differences(pd.DataFrame([row for row in rows if row["seed"] == 0]), "a")
    assert alone["half_width"].isna().all()


def test_milliseconds_has_each_model() -> None:
    flows = {"narrow": [flow_steps(8, 1)], "wide": [flow_steps(64, 4)]}
    times = milliseconds(flows, [(16, 16)], rounds=3)
    assert set(times) == {"narrow", "wide"} and min(times.values()) > 0


def test_weights_are_told_apart_by_what_is_in_them(tmp_path: Path) -> None:
    file = tmp_path / "some.safetensors"
    file.write_bytes(b"1")
    first = ablation._identity_of(str(file))
    file.write_bytes(b"2")
    assert ablation._identity_of(str(file)) != first != ablation._identity_of("bundled")
