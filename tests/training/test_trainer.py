"""Training on extreme features and on no images."""

import math
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import Constant

from fastflow_lite import FastFlow, fit
from fastflow_lite.datasets import open_dataset
from fastflow_lite.errors import DataError

KINDS = ["layer", "map", "channel", "none"]  # of normalization


NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(NUMBERS | st.sampled_from([0.0, 1.0, 6e4, 7e4]), st.sampled_from([0.0, 1e-30, 1.0, 3e4]), st.sampled_from(KINDS))
@settings(max_examples=10)
def test_features_of_any_size_end_in_finite_weights_or_a_clear_error(
    category: Path, level: float, gain: float, kind: str
) -> None:
    train = open_dataset(category, image_size=(64, 48)).train.subset([0, 1])
    model = FastFlow(Constant(level, gain), steps=2, hidden=4, normalize=kind)
    extreme = not math.isfinite(level) or abs(level) > 100 or gain > 100
    with pytest.raises((DataError, FloatingPointError), match=r"not finite|diverged") if extreme else nullcontext():
        history = fit(model, train, epochs=1, progress=False)
        assert math.isfinite(history.bits_per_dim[0])
        assert all(torch.isfinite(p).all() for p in model.parameters())
        if extreme:
            raise FloatingPointError("not finite, but the weights are: large and still usable")
