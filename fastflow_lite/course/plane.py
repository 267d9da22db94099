"""Flows of points in the plane: toy points, a sub-net and a training loop for vectors, the loss in nats per point."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fastflow_lite.errors import check_choice
from fastflow_lite.flows.likelihood import log_density, nats_per_dim
from fastflow_lite.flows.transforms import SubNet, Transform
from fastflow_lite.training import adam, one_cycle

SHAPES = ("moons", "rings")


def points(shape: str, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw points `(count, 2)` of two moons or two rings about the origin, and the part of each, 0 or 1, `(count,)`.

    `shape` is one of `SHAPES`, else ArgumentError. Source: scikit-learn's `make_moons` and `make_circles`, moved and
    scaled by fixed numbers, so that training and test points share them.

    >>> x, part = points("rings", 400)
    >>> [round(float(x[part == k].norm(dim=1).mean()), 1) for k in (0, 1)]
    [2.0, 1.0]
    """
    from sklearn.datasets import make_circles, make_moons

    check_choice("shape", shape, SHAPES)
    if shape == "moons":
        x, part = make_moons(count, noise=0.07, random_state=seed)
        x = 1.5 * (x - [0.5, 0.25])
    else:
        x, part = make_circles(count, noise=0.05, factor=0.5, random_state=seed)
        x = 2.0 * x
    return torch.from_numpy(x).float(), torch.from_numpy(part)


def mlp_subnet(hidden: int = 64) -> SubNet:
    """Return a function that makes the sub-net of a coupling of vectors: two hidden layers, the last one zero at first.

    >>> mlp_subnet(8)(1, 2)(torch.ones(3, 1)).tolist()
    [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    """

    def make(channels_in: int, channels_out: int) -> nn.Module:
        last = nn.Linear(hidden, channels_out)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        inner = nn.Linear(hidden, hidden)
        return nn.Sequential(nn.Linear(channels_in, hidden), nn.ReLU(), inner, nn.ReLU(), last)

    return make


def fit_points(
    flow: Transform,
    x: Tensor,
    steps: int,
    *,
    batch_size: int = 512,
    lr: float = 3e-3,
    seed: int = 0,
    watch: Callable[[int], None] = lambda updates: None,
) -> list[float]:
    """Train `flow` in place on vectors `(N, C)`; return the loss of every step in nats per point.

    Adam with a one-cycle schedule that peaks at `lr`, gradients clipped at norm 2; batches drawn with `seed`.
    The flow is left in eval mode. `watch` is called with the number of updates so far, before the first and after each.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = adam(flow.parameters(), lr, weight_decay=0, betas=(0.9, 0.99))
    schedule = one_cycle(optimizer, lr, steps, pct_start=0.1)
    losses = []
    flow.train()
    watch(0)
    for k in range(steps):
        batch = x[torch.randint(len(x), (batch_size,), generator=generator)]
        loss = nats_per_dim([flow(batch)])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 2.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item() * x.shape[1])
        watch(k + 1)
    flow.eval()
    return losses


def nats(flow: Transform, x: Tensor) -> float:
    """Return the mean negative log-likelihood of vectors `(N, C)`, in nats per point."""
    return -float(log_density(flow, x).mean())


def gaussian_nats(train: Tensor, test: Tensor) -> float:
    """Return the mean negative log-likelihood of `test` under the Gaussian fitted to `train`, in nats per point."""
    gaussian = torch.distributions.MultivariateNormal(train.mean(dim=0), train.T.cov())
    return -float(gaussian.log_prob(test).mean())
