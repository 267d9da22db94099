"""One style: colors live in one file, and stay apart for people who see fewer of them."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.colors import to_rgb

from fastflow_lite.figures import style

PACKAGE = Path(style.__file__).parent
# What a color turns into without one kind of cone, in linear RGB. Source: Machado, Oliveira and Fernandes, A
# physiologically-based model for simulation of color vision deficiency (2009), table of severity 1.0.
BLIND = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(color: str, kind: str) -> np.ndarray:
    """CIE L*a*b* of a color as someone with this color vision sees it; 2 is a just noticeable difference."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(XYZ @ np.clip(np.array(BLIND[kind]) @ linear, 1e-3, 1) / XYZ.sum(axis=1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("kind", BLIND)
@pytest.mark.parametrize("looks", [style.LINES, style.MARKED], ids=["lines", "marked"])
def test_curves_of_one_figure_are_told_apart(kind: str, looks: tuple[tuple[str, str], ...]) -> None:
    for (one, _), (other, _) in itertools.combinations(looks, 2):
        assert np.linalg.norm(lab(one, kind) - lab(other, kind)) > 15, (one, other)
    assert len({line for _, line in looks}) == len(looks)  # and without any color


@pytest.mark.parametrize("kind", BLIND)
def test_normal_and_anomalous_are_far_apart(kind: str) -> None:
    assert np.linalg.norm(lab(style.NORMAL, kind) - lab(style.ANOMALOUS, kind)) > 40


def test_a_distance_can_be_too_small() -> None:
    assert np.linalg.norm(lab("#c8552b", "deutan") - lab("#7d8a2b", "deutan")) < 15  # a red and a green


def test_no_color_is_written_elsewhere() -> None:
    figures = [path for path in PACKAGE.parent.rglob("*.py") if path != PACKAGE / "style.py"]
    for path in figures:
        assert not re.findall(r"#[0-9a-fA-F]{6}\b", path.read_text()), path.name


@pytest.mark.parametrize("room", ["figures", "course"])
def test_colors_and_color_maps_are_named_by_their_meaning(room: str) -> None:
    for path in (PACKAGE.parent / room).glob("*.py"):
        assert not re.findall(r"\b(?:\w*colors?|cmap)=[\"']\w+", path.read_text()), path.name


def test_use_sets_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rcParams, "font.size", 30)
    style.use()
    assert rcParams["font.size"] == style.SETTINGS["font.size"]
