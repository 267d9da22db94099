"""Outlines: each closed curve has an inside and an outside."""

import numpy as np
import pytest

from fastflow_lite.synthetic.outlines import Outline


@pytest.mark.parametrize("number", range(12))
def test_outline_has_an_inside_and_an_outside(number: int) -> None:
    axis = np.linspace(-3, 3, 61, dtype=np.float32)
    distance = Outline(number).distance(*np.meshgrid(axis, axis))
    assert 0.005 < (distance < 0).mean() < 0.5
    border = np.concatenate([distance[0], distance[-1], distance[:, 0], distance[:, -1]])
    assert (border > 0).all()
