"""anomalib's FastFlow beside ours: both built with the same backbone weights and widths, for the benchmarks.

anomalib is the extra `bench`. Nothing of the library imports it. Where it is not installed, `PeerModel` of
`peer_operators.py` takes its place: the same architecture by the same operators.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fastflow_lite import FastFlow
from fastflow_lite.backbones import PRESETS
from fastflow_lite.files import write_atomically
from fastflow_lite.flows import flow_steps
from fastflow_lite.machine import describe_machine, prepare_torchvision

RESULTS = Path(__file__).parent / "results"
QUIET = {"TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}


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


def ours(backbone: str, weights: str, steps: int | None = None, **options: Any) -> FastFlow:
    """Our model with 3x3 and 1x1 kernels in turn and the widths of `theirs`."""
    model = FastFlow(backbone, weights, steps=steps, **options)
    count = model.config.steps or model.backbone.preset.steps
    flows = [flow_steps(c, count, (3, 1), hidden_of(backbone, c)) for c in model.backbone.channels]
    model.add_module("flows", nn.ModuleList(flows))
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


class Fresh:
    """A process of its own, which keeps what is built in it: `Fresh()(function, *arguments)`."""

    def __init__(self, threads: int | None = None) -> None:
        os.environ.update(QUIET)
        context = multiprocessing.get_context("spawn")  # a forked process would start with its parent's peak memory
        self.pool = ProcessPoolExecutor(1, mp_context=context)
        if threads:
            self(torch.set_num_threads, threads)

    def __call__(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return self.pool.submit(work, *arguments).result()

    def __enter__(self) -> Fresh:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown()


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    values = list(values)
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def shown(values: dict[str, float], digits: int = 1) -> str:
    """`spread` as text."""
    return f"{values['median']:.{digits}f} ({values['low']:.{digits}f} to {values['high']:.{digits}f})"


def machine(device: str = "cpu") -> dict[str, Any]:
    """What a record was made on, anomalib's version included."""
    described = describe_machine(torch.device(device))
    described["versions"]["anomalib"] = anomalib_version()
    return described


def keep(name: str, records: dict[str, Any]) -> None:
    """Add `records` to results/`name`.json, where new ones replace those of the same key."""
    path = RESULTS / f"{name}.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    text = json.dumps(before | records, indent=1)
    write_atomically(path, lambda place: place.write_text(text + "\n"))
