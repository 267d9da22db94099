"""A model from a file of any method."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from fastflow_lite.baselines import BASELINES
from fastflow_lite.baselines.files import baseline_format
from fastflow_lite.evaluation.anomaly_model import AnomalyModel
from fastflow_lite.files import read_header
from fastflow_lite.model import FastFlow


def load_model(path: str | Path, backbone: nn.Module | None = None) -> AnomalyModel:
    """Read the model that `FastFlow.save` or a baseline's `save` wrote; CheckpointError for anything else."""
    found = read_header(Path(path))[1].get("format", "")
    for method, kind in BASELINES.items():
        if found.startswith(baseline_format(method)[:-1]):  # of any version
            return kind.load(path, backbone)
    return FastFlow.load(path, backbone)
