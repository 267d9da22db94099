"""Exponential moving average of the weights over the steps of a training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

WARM_UP = 9  # the mean reaches back over about a ninth of the steps made, until `decay` allows no longer memory


class WeightAverage:
    """The mean of `weights` over the steps, with weights that fall by `decay` for each step back.

    In the first steps the decay is smaller, `n / (n + 9)` after `n` steps, as in TensorFlow and timm: the mean begins
    with the weights of the first step and soon forgets them. A plain average would keep the untrained weights in a
    training of few steps; a start after a fixed share of the steps would need their number.

    >>> weight = torch.zeros(1)
    >>> average = WeightAverage([weight], decay=0.5)
    >>> for step in range(3):
    ...     average.update(step)
    ...     weight += 1
    >>> weight.item(), round(average.means[0].item(), 3)  # 0, then 0.9 of 1, then 0.818 of 2
    (3.0, 1.8)
    """

    def __init__(self, weights: Sequence[Tensor], decay: float) -> None:
        self.weights, self.decay = list(weights), decay
        self.means = [weight.detach().clone() for weight in weights]

    def update(self, steps: int) -> None:
        """Add the weights after a step, which follows `steps` other ones."""
        decay = min(self.decay, steps / (steps + WARM_UP))
        torch._foreach_lerp_(self.means, [weight.detach() for weight in self.weights], 1 - decay)

    def load(self, means: Sequence[Tensor]) -> None:
        """Take over `means`, such as those of a checkpoint."""
        for mean, kept in zip(self.means, means, strict=True):
            mean.copy_(kept)

    @torch.no_grad()
    def apply(self) -> None:
        """Set the weights to the means, for good."""
        for weight, mean in zip(self.weights, self.means, strict=True):
            weight.copy_(mean)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Set the weights to the means inside a `with` block, and back to the last step's after it."""
        kept = [weight.detach().clone() for weight in self.weights]
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                for weight, value in zip(self.weights, kept, strict=True):
                    weight.copy_(value)
