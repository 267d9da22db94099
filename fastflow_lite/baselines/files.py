"""Files of baselines, read without trust: the form of every tensor is compared before it costs memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from fastflow_lite.backbones.frozen import Backbone
from fastflow_lite.backbones.stored_models import check_network_forms, refuse_what_does_not_fit
from fastflow_lite.backbones.weights import TO_FILL, WeightsInfo
from fastflow_lite.baselines.config import BaselineConfig
from fastflow_lite.datasets.input_format import InputFormat
from fastflow_lite.errors import CheckpointError
from fastflow_lite.files import TensorForms, check_format, check_forms, read_header, read_tensors

if TYPE_CHECKING:
    from fastflow_lite.baselines.baseline import Baseline

Model = TypeVar("Model", bound="Baseline")


def baseline_format(method: str) -> str:
    """Return the entry "format" in the header of a file of the baseline `method`."""
    return f"fastflow-lite {method} 1"


def read_baseline(kind: type[Model], path: Path, backbone: nn.Module | None) -> Model:
    """Read a model of this `kind`, as `Baseline.load`; CheckpointError for all that is no such file."""
    tensors, header = read_header(path)
    check_format(path, header, baseline_format(kind.config_type.method), f"{kind.__name__}.save")
    try:
        config = kind.config_type.from_record(json.loads(header.get("config", "")))
        info = WeightsInfo.from_record(json.loads(header.get("weights", "")))
        input_format = InputFormat.from_record(json.loads(header.get("images", "")))
    except (ValueError, RecursionError) as error:  # JSON's errors and ours are ValueErrors
        raise CheckpointError(f"{path} holds a configuration that cannot be used: {error}") from error
    with refuse_what_does_not_fit(path, config.backbone, kind.__name__):
        model = _of_size(kind, tensors, config, backbone)
        wanted, (stored, _) = model.state_dict(), read_tensors(path)
        state = {name: tensor.to(wanted[name].dtype) for name, tensor in stored.items()}
        if wild := [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]:
            raise CheckpointError(f"{path} holds values that are not finite ({wild[0]}): fit the model anew")
        model.load_state_dict(state, assign=True)
        model.check_values()
    model.backbone.weights_info, model.input_format = info, input_format
    return model.eval()


def _of_size(kind: type[Model], tensors: TensorForms, config: BaselineConfig, backbone: nn.Module | None) -> Model:
    """Make a model whose tensors have the types and shapes `tensors`. Before these are compared it costs no memory."""
    if backbone is None:
        check_network_forms(tensors, config.backbone, config.layers or ())
    with torch.random.fork_rng(devices=[]):
        frozen = Backbone(backbone or config.backbone, TO_FILL if backbone is None else None, config.layers)
        model = kind(frozen, None, config)
    model.make_room(tensors)
    check_forms(tensors, model.state_dict())
    return model
