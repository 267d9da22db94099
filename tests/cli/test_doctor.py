"""`fastflow-lite doctor`: each fact in a line, and no fault hides another fact."""

import tomllib
from pathlib import Path

import pytest
from torch import Tensor

from fastflow_lite.backbones import weights
from fastflow_lite.cli import doctor
from fastflow_lite.cli import main as cli
from fastflow_lite.flows.transforms import AffineCoupling


def printed(capsys: pytest.CaptureFixture[str], status: int, *options: object) -> dict[str, str]:
    assert cli.main(["doctor", *map(str, options)]) == status
    shown = capsys.readouterr()
    assert not shown.err, "no warning"
    lines = [line.partition(" ") for line in shown.out.splitlines()]
    names = dict.fromkeys(name for name, _, _ in lines)
    return {name: "\n".join(text.strip() for found, _, text in lines if found == name) for name in names}


def test_all_facts_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mvtec" / "bottle" / "train" / "good").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FASTFLOW_LITE_FAST", "secret")
    facts = printed(capsys, 0, "--root", tmp_path)
    assert list(facts) == ["version", "extras", "device", "memory", "disk", "weights", "data", "settings", "check"]
    assert "torch 2." in facts["version"] and "installed: " in facts["extras"]
    assert "torch finds 1 cpu" in facts["device"] and "GiB free" in facts["disk"]
    assert facts["weights"].startswith(f"bundled: found, sha256 {weights.BUNDLED_SHA256[:12]}")
    assert "mvtec: found in ~/mvtec\nbtad: not found in ~/btad" in facts["data"]
    assert "FASTFLOW_LITE_FAST" in facts["settings"] and "secret" not in facts["settings"]
    assert facts["check"].startswith("a small flow is exact")
    assert str(tmp_path) not in "".join(facts.values())


def test_a_fault_is_named_and_the_other_facts_follow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "BUNDLED_SHA256", "0" * 64)
    transform_half = AffineCoupling.transform_half

    def doubled(*given: Tensor) -> tuple[Tensor, Tensor]:
        z, log_scale = transform_half(*given)
        return z, 2 * log_scale

    monkeypatch.setattr(AffineCoupling, "transform_half", doubled)
    facts = printed(capsys, doctor.FAILED_STATUS)
    assert (
        facts["weights"].startswith("FAILED: ") and "is not the file that belongs to this version" in facts["weights"]
    )
    assert facts["check"].startswith("FAILED: ArithmeticError: a flow is off by ")
    assert "mvtec: " in facts["data"]


def test_the_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for_developers = {"test", "bench", "browser", "docs"}
    assert set(doctor.EXTRAS) == set(project["optional-dependencies"]) - for_developers
