"""Invertible transforms of vectors and maps, the stack of flow steps of one feature map, and its likelihood.

Every transform follows one contract: `t(x)` returns `(z, log_det)`, and `t.inverse(z)` returns `(x, log_det)`. This
package does not depend on images, backbones or training.
"""

from fastflow_lite.flows.conditional import ConditionalFlow
from fastflow_lite.flows.likelihood import bits, log_density, nats_per_dim
from fastflow_lite.flows.precision import PRECISIONS
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
    "PRECISIONS",
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "ConditionalFlow",
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
