"""The flow of `flows.flow_steps` computed faster: the same values and gradients to rounding, in another order of work.

`flow(x)` is the code to read; this room is what `FastFlow` runs instead on a processor. It does not know images or
training, and only `model.py` imports it.
"""

__all__: list[str] = []
