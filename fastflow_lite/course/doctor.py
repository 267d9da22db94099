"""The instruments of notebook 15 in one call: what normal images that trained nothing show about a flow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastflow_lite.flows.likelihood import bits, nats_per_dim
from fastflow_lite.flows.transforms import AffineCoupling
from fastflow_lite.model import FastFlow

if TYPE_CHECKING:
    import pandas as pd

STANDARD_NORMAL_BITS = bits(0.5 + 0.5 * math.log(2 * math.pi))  # what values of deviation 1 cost before training


@dataclass(frozen=True)
class Instrument:
    """A measurement, the range in which it is normal, and the likely cause of a value outside of it."""

    name: str
    measure: Callable[[Examined], float]
    lowest: float
    highest: float
    cause: str


class Doctor:
    """Measurements of a trained model on normal images that did not train it.

    The ranges are those of notebook 15; its last table relates each cause to a cure. A value that is not a number
    lies outside of every range.

    >>> model = FastFlow(weights="random", steps=2, hidden=8)
    >>> table = Doctor(model)(torch.rand(2, 3, 32, 32))
    >>> table["finding"]["copied channels"]
    'no permutation, or too little training'
    """

    def __init__(self, model: FastFlow) -> None:
        self.model = model

    @torch.no_grad()
    def __call__(self, images: Tensor) -> pd.DataFrame:
        """Examine the model on normal images `(B, 3, H, W)` in [0, 1]; its mode and parameters stay as they are.

        Returns:
            A row for each instrument; columns value, lowest, highest (the normal range) and finding, which is "" or
            the likely cause.
        """
        import pandas as pd

        was_training = self.model.training
        self.model.eval()
        try:
            examined = Examined(self.model, images)
        finally:
            self.model.train(was_training)
        rows = {}
        for tool in self.instruments():
            value = tool.measure(examined)
            finding = "" if tool.lowest <= value <= tool.highest else tool.cause
            rows[tool.name] = {"value": value, "lowest": tool.lowest, "highest": tool.highest, "finding": finding}
        return pd.DataFrame.from_dict(rows, orient="index")

    def instruments(self) -> list[Instrument]:
        """Return the instruments with the ranges that are normal for this model's number of steps."""
        copies = 2.0 ** -(self.model.config.steps or 1)  # the share of channels that no step has moved
        return [
            Instrument("held-out bits", _bits, -math.inf, STANDARD_NORMAL_BITS, "diverged, or not trained"),
            Instrument("copied channels", _copied, 0, copies + 0.1, "no permutation, or too little training"),
            Instrument("s at the clamp", _at_clamp, 0, 0.1, "learning rate too high, or features not normalized"),
            Instrument("deviation of z", _deviation, 0.7, 1.4, "features not normalized, or overfitted"),
            Instrument("largest |z|", _largest, 0, 1000, "features not normalized"),
            Instrument("uncounted log2 scale", _uncounted, -0.05, 0.05, "a scale that no log-determinant counts"),
            Instrument("round trip error", _round_trip, 0, 1e-2, "the inverse is not exact in float32"),
        ]


class Examined:
    """What the instruments read: inputs, outputs and log-scales of the flows of `model` for `images`."""

    def __init__(self, model: FastFlow, images: Tensor) -> None:
        self.model = model
        features = model.features(images)
        self.inputs = model.flow_inputs(features)
        self.maps = [x for x, *_ in self.inputs]
        self.outputs, self.log_scales = _with_log_scales(model, features)


def _with_log_scales(model: FastFlow, features: Sequence[Tensor]) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor]]:
    """Run the flows; return `(z, log_det)` of each scale and the log-scales of each coupling, flat."""
    scales: list[Tensor] = []
    couplings = [module for module in model.modules() if isinstance(module, AffineCoupling)]
    hooks = [
        one.subnet.register_forward_hook(lambda net, x, out, one=one: scales.append(one.scale_and_shift(out)[0]))
        for one in couplings
    ]
    try:
        return model.flow(features, fast=False), [s.flatten() for s in scales]
    finally:
        for hook in hooks:
            hook.remove()


def _bits(examined: Examined) -> float:
    return bits(nats_per_dim(examined.outputs).item())


def _copied(examined: Examined) -> float:
    """Return the share of the channels of z that correlate with a channel of x by more than 0.999."""
    found = torch.cat([likeness(x, z) for x, (z, _) in zip(examined.maps, examined.outputs, strict=True)])
    finite = all(z.isfinite().all() for z, _ in examined.outputs)
    return (found > 0.999).double().mean().item() if finite else math.nan


def likeness(x: Tensor, z: Tensor) -> Tensor:
    """Return the largest absolute correlation of each channel of `z` with a channel of `x`: `(C,)`."""
    channels = x.shape[1]
    both = torch.cat([x, z], dim=1).transpose(0, 1).flatten(1).cpu().double()  # (2C, positions)
    return both.corrcoef()[channels:, :channels].abs().nan_to_num().amax(dim=1)


def _at_clamp(examined: Examined) -> float:
    if not examined.log_scales:
        return 0.0  # additive couplings have no log-scales
    s = torch.cat(examined.log_scales)
    limit = 0.9 * examined.model.config.clamp
    return (s.abs() > limit).double().mean().item() if s.isfinite().all() else math.nan


def _deviation(examined: Examined) -> float:
    return torch.cat([z.flatten() for z, _ in examined.outputs]).std().item()


def _largest(examined: Examined) -> float:
    return max(z.abs().max().item() for z, _ in examined.outputs)


def _uncounted(examined: Examined) -> float:
    """Return the mean of log2 |scale| of the uncounted affine, 0 without one."""
    scales = [affine.scale.flatten() for affine in examined.model.affine]
    return torch.cat(scales).abs().log2().mean().item() if scales else 0.0


def _round_trip(examined: Examined) -> float:
    inverses: list[Callable[..., tuple[Tensor, Tensor]]] = [flow.inverse for flow in examined.model.flows]
    trips = zip(inverses, examined.inputs, examined.outputs, strict=True)
    return max((inverse(z, *given)[0] - x).abs().max().item() for inverse, (x, *given), (z, _) in trips)
