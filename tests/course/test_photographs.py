"""Photographs are taken where they lie, with their credit; else the drawn set, and a wrong name is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastflow_lite.course.photographs import PHOTOGRAPHS, open_parts
from fastflow_lite.errors import ArgumentError


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_what_is_in_the_data_folder_is_opened_with_its_credit(name: str, tmp_path: Path) -> None:
    folder, credit = PHOTOGRAPHS[name]
    for part in ("train/good", "test/good", "test/broken"):
        (tmp_path / folder / part).mkdir(parents=True)
        Image.fromarray(np.zeros((40, 30, 3), np.uint8)).save(tmp_path / folder / part / "0.png")
    data, caption = open_parts(name, "weave", 32, root=tmp_path)
    assert len(data.train) == 1 and data.test.defects == ["broken", "good"] and data.train[0][0].shape == (3, 32, 32)
    assert caption == credit and "CC BY" in caption


@pytest.mark.parametrize("name", ["cookies", ""])
def test_without_them_the_drawn_set_is_opened_and_named(name: str, tmp_path: Path) -> None:
    data, caption = open_parts(name, "weave", 32, root=tmp_path if name else None)
    assert data.name == "toy" and caption == "drawn from formulas, category weave"


def test_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="cookies"):
        open_parts("cakes", "weave", 32, root=tmp_path)
