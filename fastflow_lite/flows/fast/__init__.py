"""The flow of `flows.flow_steps` computed faster: same values and gradients, up to rounding.

`flow(x)` is the reference implementation; `FastFlow` calls `apply_flow(flow, x)`. This package does not depend on
images or training, and only `model.py` imports it.
"""

from fastflow_lite.flows.fast.function import apply_flow, precompute_weights

__all__ = ["apply_flow", "precompute_weights"]
