"""Invertible transforms of vectors and maps, the stack of steps that FastFlow puts on a feature map, its likelihood.

Every transform keeps one contract: `t(x)` gives `(z, log_det)`, and `t.inverse(z)` gives `(x, log_det)`. The package
`fast` computes the same values and gradients in another order, on a processor. This room does not know images,
backbones or training.
"""

from fastflow_lite.flows.likelihood import bits, log_density, nats_per_dim
from fastflow_lite.flows.sampling import sample, stages
from fastflow_lite.flows.steps import COUPLINGS, conv_subnet, count_parameters, flow_steps
from fastflow_lite.flows.transforms import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    Coupling,
    Permute,
    Sequential,
    SubNet,
    Transform,
)

__all__ = [
    "COUPLINGS",
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "Coupling",
    "Permute",
    "Sequential",
    "SubNet",
    "Transform",
    "bits",
    "conv_subnet",
    "count_parameters",
    "flow_steps",
    "log_density",
    "nats_per_dim",
    "sample",
    "stages",
]
