"""Loss, anomaly maps and image scores against their definitions, written out."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from properties import given, st
from scipy.ndimage import gaussian_filter
from tiny import defaults

from fastflow_lite import FastFlow
from fastflow_lite.errors import ArgumentError
from fastflow_lite.flows.likelihood import bits, nats_per_dim
from fastflow_lite.scoring import maps as scores
from fastflow_lite.scoring.maps import anomaly_map, image_score

SIZE, TYPICAL = (16, 24), (0.3, 0.2)


def outputs() -> list[tuple[torch.Tensor, torch.Tensor]]:
    g = torch.Generator().manual_seed(0)
    shapes = [(2, 4, 8, 12), (2, 6, 4, 6)]
    return [(torch.randn(s, generator=g), torch.randn(s[0], *s[2:], generator=g)) for s in shapes]


def test_loss_is_the_negative_log_likelihood_of_a_standard_normal() -> None:
    normal = torch.distributions.Normal(0, 1)
    likelihood = sum(normal.log_prob(z).sum() + log_det.sum() for z, log_det in outputs())
    dimensions = sum(z.numel() for z, _ in outputs())
    assert nats_per_dim(outputs()).item() == pytest.approx(-likelihood.item() / dimensions, rel=1e-5)


def test_loss_of_scaled_data_is_that_of_the_scaled_gaussian() -> None:
    """x = 3 z seen through z = x / 3: log_det is -log 3 a dimension, and the loss is N(0, 9)'s."""
    z = torch.randn(5, 4, 6, 6)
    log_det = torch.full((5, 6, 6), -4 * math.log(3))
    expected = -torch.distributions.Normal(0, 3).log_prob(3 * z).mean()
    assert nats_per_dim([(z, log_det)]).item() == pytest.approx(expected.item(), rel=1e-5)


def test_bits() -> None:
    assert bits(math.log(2) * 3) == pytest.approx(3)


@pytest.mark.parametrize("kind", ["tempered", "likelihood", "exp_energy", "energy", "nll"])
def test_maps_follow_their_definition(kind: str) -> None:
    total = torch.zeros(2, *SIZE)
    for z, log_det in outputs():
        value = (z**2).mean(dim=1) / 2
        if kind == "nll":
            value = value - log_det / z.shape[1]
        if kind == "exp_energy":
            value = -torch.exp(-value) / 2  # two scales, averaged
        if kind in ("likelihood", "tempered"):
            share = {"likelihood": 1, "tempered": 0.25}[kind]
            surplus = value - TYPICAL[0] - share * (log_det / z.shape[1] - TYPICAL[1])
            value = -torch.exp(-surplus) / 2
        total += torch.nn.functional.interpolate(value[:, None], SIZE, mode="bilinear")[:, 0]
    assert torch.allclose(anomaly_map(outputs(), SIZE, kind, [TYPICAL, TYPICAL])[:, 0], total, atol=1e-6)


def test_sharpness_is_a_factor_in_the_exponent_and_rising_weights_favor_coarse_scales() -> None:
    exponents = [-z.square().mean(dim=1, keepdim=True) / 2 for z, _ in outputs()]
    fine, coarse = (
        -torch.nn.functional.interpolate(torch.exp(3 * exponent), SIZE, mode="bilinear") for exponent in exponents
    )
    found = anomaly_map(outputs(), SIZE, "exp_energy", sharpness=3)
    torch.testing.assert_close(found, (fine + coarse) / 2)
    found = anomaly_map(outputs(), SIZE, "exp_energy", sharpness=3, scale_weights="rising")
    torch.testing.assert_close(found, (fine + 2 * coarse) / 3)
    likely = anomaly_map(outputs(), SIZE, "likelihood", [TYPICAL] * 2)
    assert torch.equal(anomaly_map(outputs(), SIZE, "likelihood", [TYPICAL] * 2, sharpness=1.0), likely)
    assert (anomaly_map(outputs()[:1], SIZE, "likelihood", sharpness=2) < 0).all()


@pytest.mark.parametrize("kind", ["energy", "nll"])
def test_sums_have_neither_sharpness_nor_weights(kind: str) -> None:
    other = anomaly_map(outputs(), SIZE, kind, sharpness=2.0, scale_weights="rising")
    assert torch.equal(other, anomaly_map(outputs(), SIZE, kind))


@pytest.mark.parametrize(
    "wrong", [{"sharpness": 0.0}, {"smoothing": -1.0}, {"sharpness": math.inf}, {"scale_weights": "falling"}]
)
def test_a_wrong_fusion_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        anomaly_map(outputs(), SIZE, "energy", **wrong)


@pytest.mark.parametrize("kind", ["tempered", "likelihood", "exp_energy", "energy", "nll"])
def test_higher_is_more_anomalous(kind: str) -> None:
    calm, wild = outputs(), outputs()
    wild[0][0][:, :, 2, 3] *= 5
    difference = anomaly_map(wild, SIZE, kind) - anomaly_map(calm, SIZE, kind)
    assert difference.min() > -1e-5
    row, column = divmod(int(difference[0, 0].argmax()), SIZE[1])
    assert (row // 2, column // 2) == (2, 3)


def test_a_map_has_an_alias() -> None:
    assert torch.equal(anomaly_map(outputs(), SIZE, "prob"), anomaly_map(outputs(), SIZE, "exp_energy"))
    for wrong in ("probability", ["prob"], 3):
        with pytest.raises(ArgumentError, match="map must be one of 'tempered'"):
            scores.map_name(wrong)  # type: ignore[arg-type]


def test_only_maps_with_the_log_determinant_see_volume() -> None:
    squeezed = [(z, log_det - 1) for z, log_det in outputs()]
    for kind in ("nll", "likelihood", "tempered"):
        assert (anomaly_map(squeezed, SIZE, kind) > anomaly_map(outputs(), SIZE, kind)).all()
    for kind in ("energy", "exp_energy"):
        assert torch.equal(anomaly_map(squeezed, SIZE, kind), anomaly_map(outputs(), SIZE, kind))


def test_one_scale_gone_wild_cannot_outshout_the_others() -> None:
    """The bound: an impossible position of one scale adds at most 1 / scales."""
    wild = outputs()
    wild[1][0].mul_(1000)
    assert anomaly_map(wild, SIZE, "nll").max() > 1e4
    assert anomaly_map(wild, SIZE, "likelihood").max() <= 0


def test_a_typical_position_is_zero_unless_said() -> None:
    zeros = [(0.0, 0.0)] * 2
    for kind in ("tempered", "likelihood"):
        assert torch.equal(anomaly_map(outputs(), SIZE, kind), anomaly_map(outputs(), SIZE, kind, zeros))
    with pytest.raises(ValueError, match="shorter"):
        anomaly_map(outputs(), SIZE, "likelihood", zeros[:1])


def test_smoothing_keeps_a_constant_and_spreads_a_peak() -> None:
    flat = [(torch.ones(1, 2, 4, 4), torch.zeros(1, 4, 4))]
    assert torch.allclose(anomaly_map(flat, (16, 16), "energy", smoothing=2.0), torch.tensor(0.5), atol=1e-6)
    sharp, soft = (anomaly_map(outputs(), SIZE, "energy", smoothing=s) for s in (0.0, 2.0))
    assert soft.max() < sharp.max()
    assert soft.mean().item() == pytest.approx(sharp.mean().item(), rel=0.05)


def test_image_scores() -> None:
    maps = torch.arange(200.0).view(2, 1, 10, 10)
    assert image_score(maps).tolist() == [99, 199]
    assert image_score(maps, "top", top=0.03).tolist() == [98, 198]
    assert image_score(maps, "top", top=1e-9).tolist() == [99, 199]


def test_inside_is_the_largest_value_away_from_the_border() -> None:
    inside = torch.zeros(64, 96)
    inside[2:62, 3:93] = 1
    rows, columns = torch.eye(64)[:, None, :, None], torch.eye(96)[:, None, None, :]  # one row or column of ones each
    assert torch.equal(image_score(rows.expand(-1, -1, -1, 96), "inside"), inside[:, 50])
    assert torch.equal(image_score(columns.expand(-1, -1, 64, -1), "inside"), inside[30])
    assert image_score(torch.ones(1, 1, 4, 4), "inside").tolist() == [1]


def test_top_inside_is_the_mean_of_the_largest_hundredth_away_from_the_border() -> None:
    maps = torch.rand(3, 1, 64, 96)
    expected = [np.sort(one[0, 2:62, 3:93], axis=None)[-54:].mean() for one in maps.numpy()]  # of 60 x 90 pixels
    np.testing.assert_allclose(image_score(maps, "top_inside").numpy(), expected, rtol=1e-6)
    maps[..., :2, :] = maps[..., 93:] = 100
    np.testing.assert_allclose(image_score(maps, "top_inside").numpy(), expected, rtol=1e-6)
    assert image_score(torch.arange(16.0).view(1, 1, 4, 4), "top_inside").tolist() == [15]


def test_unknown_names_list_the_choices() -> None:
    with pytest.raises(ValueError, match=r"tempered.*likelihood.*exp_energy.*energy.*nll"):
        anomaly_map(outputs(), SIZE, "likely")
    with pytest.raises(ValueError, match=r"max.*top.*inside.*top_inside"):
        image_score(torch.zeros(1, 1, 2, 2), "mean")


@given(st.sampled_from(sorted(scores.MAPS)), st.floats(-1e4, 1e4, width=32), st.floats(-50, 50, width=32))
def test_maps_of_constant_and_extreme_latents_keep_their_order(kind: str, level: float, log_det: float) -> None:
    """A constant latent gives a constant map; one that is farther out never scores lower."""
    z, spread = torch.full((1, 2, 4, 4), level), torch.full((1, 4, 4), log_det)
    near, far = (scores.anomaly_map([(factor * z, spread)], (8, 8), kind) for factor in (1, 2))
    assert torch.allclose(near, near.mean(), rtol=1e-5)
    assert (far >= near - 1e-5 * near.abs()).all()


def test_smoothing_is_a_gaussian_cut_at_three_deviations() -> None:
    z, log_det = torch.randn(1, 2, 16, 20), torch.zeros(1, 16, 20)
    plain = scores.anomaly_map([(z, log_det)], (16, 20), "energy")[0, 0].double().numpy()
    for sigma in (1.0, 2.0):
        smooth = scores.anomaly_map([(z, log_det)], (16, 20), "energy", smoothing=sigma)[0, 0].numpy()
        np.testing.assert_allclose(smooth, gaussian_filter(plain, sigma, mode="mirror", truncate=3), rtol=1e-4)


@pytest.mark.parametrize(("size", "sigma"), [((40, 33), 4.0), ((5, 30), 4.0), ((30, 5), 0.3), ((1, 7), 2.0)])
def test_blur_is_that_of_scipy_cut_where_the_map_ends(size: tuple[int, int], sigma: float) -> None:
    maps = torch.randn(2, 1, *size, dtype=torch.float64)
    radius = min(math.ceil(3 * sigma), size[0] - 1, size[1] - 1)
    expected = torch.from_numpy(gaussian_filter(maps.numpy(), sigma, mode="mirror", radius=radius, axes=(2, 3)))
    given = maps.clone()
    torch.testing.assert_close(scores.blur(given, sigma), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(scores.blur(maps.float(), sigma), expected.float(), rtol=1e-5, atol=1e-6)
    assert torch.equal(given, maps), "the maps of the caller are changed"


@pytest.mark.parametrize("size", [(3, 20), (20, 3), (2, 2)])
def test_smoothing_reaches_no_farther_than_a_map_is_wide(size: tuple[int, int]) -> None:
    peak = torch.zeros(1, 1, *size)
    peak[..., 0, 0] = 1
    smooth = scores.anomaly_map([(peak, torch.zeros(1, *size))], size, "energy", smoothing=9.0)
    radius = min(size) - 1
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * 81))
    assert smooth[0, 0, 0, 0].item() == pytest.approx(0.5 * (1 / kernel.sum()) ** 2, rel=1e-5)


def test_a_readout_computes_the_maps_and_scores_of_the_model_at_the_time_of_its_call(small_model: FastFlow) -> None:
    small_model.image_score, small_model.smoothing = "top", 1.0
    small_model.sharpness, small_model.scale_weights = 2.0, "rising"
    small_model.training_medians.copy_(torch.tensor([[0.4, -0.1], [0.5, 0.1], [0.6, 0.2]]))
    readout = small_model.readout()
    with torch.no_grad():
        outputs = small_model(torch.rand(2, 3, 32, 48))
        expected = {kind: small_model.anomaly_map(outputs, (32, 48), kind) for kind in scores.MAPS}
        found = small_model.maps_and_scores(outputs, (32, 48))[1]
    small_model.image_score, small_model.smoothing = "max", 0.0
    small_model.sharpness, small_model.scale_weights = 1.0, "equal"
    terms = readout.terms(outputs)
    assert tuple(readout.kinds) == tuple(scores.MAPS)
    assert [len(term) for term in terms] == [2] * 6
    for kind, maps in expected.items():
        assert torch.equal(readout.maps(terms, (32, 48), kind), maps)
    assert torch.equal(readout.scores(expected[small_model.map], terms), found)
    assert math.isfinite(readout.mean_nats(outputs))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (scores.image_score, {"kind": "max", "top": 0.03}),
        (
            scores.anomaly_map,
            {
                "kind": "tempered",
                "training_medians": None,
                "smoothing": 0.0,
                "sharpness": 1.0,
                "scale_weights": "equal",
            },
        ),
    ],
)
def test_defaults(function: Callable[..., Any], expected: dict[str, Any]) -> None:
    assert defaults(function) == expected


def test_constants() -> None:
    assert scores.LOG_DET_SHARE == 0.25
    assert scores.TOP_INSIDE == 0.01
