"""The main job on real images: a short run that a broken part would spoil."""

from pathlib import Path

import pytest

from fastflow_lite import FastFlow, evaluate, fit
from fastflow_lite.datasets import open_dataset


@pytest.mark.realdata
def test_bottle_in_a_short_run(real_data: Path, real_weights: Path) -> None:
    """64 pixels, 4 flow steps, 6 epochs, half of the images: little of the run whose figures docs/results.md has."""
    data = open_dataset("mvtec", "bottle", root=real_data, image_size=64)
    half, test = (part.subset(range(0, len(part), 2)) for part in (data.train, data.test))
    train, held_out = half.split(0.2)
    model = FastFlow("resnet18", weights=real_weights, steps=4)
    history = fit(model, train, held_out=held_out, epochs=6, progress=False)
    result = evaluate(model, test, normal=held_out, history=history)
    assert result.image_auroc > 0.97
    assert result.pixel_auroc > 0.95
    assert abs(history.bits_per_dim[-1] - history.held_out[-1]) < 0.5
    rule = {row["strategy"]: row for row in result.record["thresholds"]}
    assert rule["quantile"]["recall"] > 0.8
