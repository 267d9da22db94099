"""Numbers that hold where nobody says another: results depend on them, so they change only on purpose."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from fastflow_lite.flows import conv_subnet, flow_steps
from fastflow_lite.flows import likelihood as losses
from fastflow_lite.flows.transforms import ActNorm, AffineCoupling, Permute
from fastflow_lite.scoring import maps as scores
from fastflow_lite.scoring import metrics, thresholds


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (ActNorm, {"min_std": 1e-2}),
        (AffineCoupling, {"clamp": 2.0}),
        (conv_subnet, {}),
        (flow_steps, {"kernels": (3, 1), "hidden": None, "coupling": "affine", "clamp": 2.0, "permute": True}),
        (scores.image_score, {"kind": "max", "top": 0.03}),
        (scores.anomaly_map, {"kind": "tempered", "training_medians": None, "smoothing": 0.0}),
        (thresholds.quantile, {"q": 0.95}),
        (thresholds.conformal, {"alpha": 0.05}),
        (thresholds.split_validation, {"fraction": 0.5, "seed": 0, "groups": None}),
        (metrics.aupro, {"fpr_limit": 0.3}),
        (metrics.bootstrap_interval, {"n": 1000, "level": 0.95, "seed": 0}),
    ],
)
def test_defaults(function: Callable[..., Any], expected: dict[str, Any]) -> None:
    parameters = inspect.signature(function).parameters
    assert {name: p.default for name, p in parameters.items() if p.default is not inspect.Parameter.empty} == expected


def test_constants() -> None:
    assert scores.LOG_DET_SHARE == 0.25
    assert metrics.PRO_LIMIT == 0.3
    assert abs(losses.HALF_LOG_TWO_PI - 0.9189385332) < 1e-9


def test_smoothing_is_a_gaussian_cut_at_three_deviations() -> None:
    z, log_det = torch.randn(1, 2, 16, 20), torch.zeros(1, 16, 20)
    plain = scores.anomaly_map([(z, log_det)], (16, 20), "energy")[0, 0].double().numpy()
    for sigma in (1.0, 2.0):
        smooth = scores.anomaly_map([(z, log_det)], (16, 20), "energy", smoothing=sigma)[0, 0].numpy()
        np.testing.assert_allclose(smooth, gaussian_filter(plain, sigma, mode="mirror", truncate=3), rtol=1e-4)


@pytest.mark.parametrize("size", [(3, 20), (20, 3), (2, 2)])
def test_smoothing_reaches_no_farther_than_a_map_is_wide(size: tuple[int, int]) -> None:
    peak = torch.zeros(1, 1, *size)
    peak[..., 0, 0] = 1
    smooth = scores.anomaly_map([(peak, torch.zeros(1, *size))], size, "energy", smoothing=9.0)
    radius = min(size) - 1
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * 81))
    assert smooth[0, 0, 0, 0].item() == pytest.approx(0.5 * (1 / kernel.sum()) ** 2, rel=1e-5)


def test_a_flow_is_act_norm_permutation_and_coupling_in_turn_with_kernels_in_turn() -> None:
    flow = flow_steps(6, steps=3, kernels=(3, 1), clamp=1.5)
    assert [type(t) for t in flow.transforms] == [ActNorm, Permute, AffineCoupling] * 3
    couplings = list(flow.transforms)[2::3]
    assert [c.subnet[0].kernel_size for c in couplings] == [(3, 3), (1, 1), (3, 3)]
    assert [c.subnet[0].out_channels for c in couplings] == [3, 3, 3]
    assert [c.clamp for c in couplings] == [1.5] * 3
    bare = flow_steps(6, steps=2, permute=False, hidden=5)
    assert [type(t) for t in bare.transforms] == [ActNorm, AffineCoupling] * 2
    assert [c.subnet[0].out_channels for c in list(bare.transforms)[1::2]] == [5, 5]


def test_a_new_subnet_says_nothing() -> None:
    subnet = conv_subnet(3, hidden=8)(4, 6)
    assert not subnet(torch.randn(1, 4, 5, 5)).any()
    assert subnet[0].weight.any()
    assert subnet(torch.randn(1, 4, 5, 7)).shape == (1, 6, 5, 7)
