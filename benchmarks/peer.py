"""anomalib's FastFlow beside ours: both built with the same backbone weights and widths, for the benchmarks.

anomalib is the extra `bench`. Nothing of the library imports it. Where it is not installed, `PeerModel` of
`peer_operators.py` takes its place: the same architecture by the same operators.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from fastflow_lite import FastFlow
from fastflow_lite.backbones import PRESETS
from fastflow_lite.flows import flow_steps
from fastflow_lite.flows.conditional import coupled
from fastflow_lite.flows.positions import StandardizePositions
from fastflow_lite.flows.transforms import Sequential
from fastflow_lite.machine import prepare_torchvision
from fastflow_lite.training.recipes import model_config


def anomalib_version() -> str:
    """Its version, after an import that works beside a torch without CUDA. SystemExit says what to install."""
    _declared.append(prepare_torchvision())
    warnings.filterwarnings("ignore", module=r"timm|anomalib|lightning|torch|FrEIA|kornia")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import anomalib.models.image.fastflow
    except ImportError as error:
        raise SystemExit(f"{error}: the benchmarks need anomalib: pip install -e '.[bench]'") from error
    return anomalib.__version__


_declared: list[Any] = []  # the operators declared for torchvision live as long as this list


def hidden_of(backbone: str, channels: int) -> int:
    """Width of the sub-nets in both: half the channels, or the paper's for transformers."""
    return PRESETS[backbone].hidden or channels // 2


def ours(backbone: str, weights: str, steps: int | None = None, recipe: str = "v0.1") -> FastFlow:
    """Our model as `recipe` has it, but for 3x3 and 1x1 kernels in turn and the widths of `theirs`."""
    config = model_config(recipe, backbone)
    model = FastFlow(backbone, weights, replace(config, kernels=(3, 1), steps=steps or config.steps))
    count = model.config.steps or model.backbone.preset.steps
    flows = []
    for channels in model.backbone.channels:
        first = [StandardizePositions(channels)] if config.standardize_positions else []
        steps_of_scale = flow_steps(channels, count, (3, 1), hidden_of(backbone, channels)).transforms
        flows.append(Sequential(*first, *steps_of_scale))
    of_scales = coupled(flows, model.backbone.channels) if config.couple_scales else flows
    model.add_module("flows", nn.ModuleList(of_scales))
    return model


def theirs(backbone: str, size: int, network: nn.Module, steps: int | None = None) -> Any:
    """anomalib's model for images of `size`, with the weights of our backbone's `network`."""
    anomalib_version()
    from anomalib.models.image.fastflow.torch_model import FastflowModel

    preset = PRESETS[backbone]
    # anomalib states a sub-net's width as a share of half the channels, and cuts it to a whole number.
    ratio = (preset.hidden + 0.5) / (768 // 2) if preset.hidden else 1.0
    model = FastflowModel((size, size), backbone, False, steps or preset.steps, False, ratio)
    load_backbone(model, network)
    return model


def load_backbone(model: Any, network: nn.Module) -> None:
    """Our backbone's weights into anomalib's model, which may have later blocks that nothing reads."""
    state = {name.removeprefix("model."): value for name, value in network.state_dict().items()}
    missing, unexpected = model.feature_extractor.load_state_dict(state, strict=False)
    used = [name for name in missing if not name.startswith(("head", "blocks."))]
    if unexpected or used:
        raise RuntimeError(f"the backbones differ: {unexpected[:3]} only in ours, {used[:3]} only in anomalib's")


def their_backbone(model: Any, images: Tensor) -> list[Tensor]:
    """What anomalib's frozen part makes of normalized images."""
    if hasattr(model, "norms"):
        return list(model.feature_extractor(images))
    is_cait = type(model.feature_extractor).__name__ == "Cait"
    return list(model._get_cait_features(images) if is_cait else model._get_vit_features(images))


def their_flow(model: Any, features: Iterable[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """`(z, log_det)` lists; the trainable LayerNorm before the flow is its, and so is its cost."""
    if hasattr(model, "norms"):
        features = [norm(x) for norm, x in zip(model.norms, features, strict=True)]
    pairs = [block(x) for block, x in zip(model.fast_flow_blocks, features, strict=True)]
    return [z for z, _ in pairs], [log_det for _, log_det in pairs]


def their_loss(outputs: tuple[list[Tensor], list[Tensor]]) -> Tensor:
    from anomalib.models.image.fastflow.loss import FastflowLoss

    return FastflowLoss()(*outputs)
