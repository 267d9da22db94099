"""Metrics against scikit-learn, against slow references, and against answers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics
from properties import given, st
from tiny import defaults

from fastflow_lite.scoring import metrics, thresholds
from fastflow_lite.scoring.metrics import (
    aupro,
    auroc,
    average_precision,
    bootstrap_interval,
    f1_max,
    image_metrics,
    pixel_metrics,
    pro_curve,
)

pytestmark = pytest.mark.cpu_only  # NumPy alone
SEEDS = range(12)


def random_images(seed: int, images: int = 4, size: int = 7, levels: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Masks with several small regions, and maps that know a little and have many ties."""
    rng = np.random.default_rng(seed)
    masks = rng.random((images, size, size)) < 0.25
    maps = (rng.integers(levels, size=masks.shape) + 2 * masks).astype(np.float32)
    return masks, maps


def reference_regions(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """8-connected regions by flood fill, without scipy."""
    left, regions = {(int(y), int(x)) for y, x in np.argwhere(mask)}, []
    while left:
        region, frontier = [], [left.pop()]
        while frontier:
            y, x = frontier.pop()
            region.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            frontier += near
        regions.append(region)
    return regions


def reference_aupro(masks: list[np.ndarray], maps: list[np.ndarray], limit: float) -> float:
    """AUPRO from its definition: a loop over thresholds, images and regions, segment by segment."""
    pixels = [(n, y, x) for n, mask in enumerate(masks) for y, x in np.ndindex(mask.shape)]
    normal = [p for p in pixels if not masks[p[0]][p[1:]]]
    regions = [[(n, *p) for p in r] for n, m in enumerate(masks) for r in reference_regions(m)]
    thresholds = sorted({float(maps[n][y, x]) for n, y, x in pixels}, reverse=True)
    area, before = 0.0, (0.0, 0.0)
    for threshold in thresholds:
        hit = {p for p in pixels if maps[p[0]][p[1:]] >= threshold}
        fpr = sum(p in hit for p in normal) / len(normal)
        pro = sum(sum(p in hit for p in r) / len(r) for r in regions) / len(regions)
        (x0, y0), (x1, y1) = before, (fpr, pro)
        if x1 > limit:
            x1, y1 = limit, y0 + (y1 - y0) * (limit - x0) / (fpr - x0)
        area += (x1 - x0) * (y0 + y1) / 2
        if fpr > limit:
            break
        before = fpr, pro
    return area / limit


@pytest.mark.parametrize("seed", SEEDS)
def test_auroc_counts_pairs(seed: int) -> None:
    masks, maps = random_images(seed)
    difference = maps[masks][:, None] - maps[~masks][None, :]
    wins = (difference > 0) + (difference == 0) / 2
    assert auroc(masks, maps) == pytest.approx(wins.mean(), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_to_scikit_learn(seed: int) -> None:
    masks, maps = random_images(seed)
    area = sklearn.metrics.roc_auc_score(masks.ravel(), maps.ravel())
    precision = sklearn.metrics.average_precision_score(masks.ravel(), maps.ravel())
    assert auroc(masks, maps) == pytest.approx(area, abs=1e-12)
    assert average_precision(masks, maps) == pytest.approx(precision, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_f1_max_is_the_best_of_all_thresholds(seed: int) -> None:
    masks, maps = random_images(seed)
    f1_at = {t: sklearn.metrics.f1_score(masks.ravel(), maps.ravel() >= t) for t in np.unique(maps)}
    f1, threshold = f1_max(masks, maps)
    assert f1 == pytest.approx(max(f1_at.values()), abs=1e-12)
    assert f1 == pytest.approx(f1_at[threshold], abs=1e-12)


def test_f1_max_decides_at_or_above() -> None:
    assert f1_max([0, 1, 1], [1.0, 2.0, 3.0]) == (1.0, 2.0)
    assert f1_max([1, 1, 0, 0], [1.0, 2.0, 3.0, 4.0]) == (pytest.approx(2 / 3), 1.0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, bool])
def test_score_types(dtype: type) -> None:
    scores = np.array([0, 1, 0, 1], dtype=dtype)
    assert set(image_metrics([0, 1, 0, 1], scores).values()) == {1.0}


def test_float64_scores_keep_their_precision() -> None:
    """Two scores that float32 cannot tell apart."""
    assert auroc([0, 1], [1.0, 1.0 + 1e-12]) == 1.0
    assert aupro([[[0, 1]]], [[[1.0, 1.0 + 1e-12]]]) == 1.0


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_aupro_equals_the_slow_reference(seed: int, limit: float) -> None:
    """With ties, without, and with images of different sizes."""
    masks, maps = random_images(seed)
    untied = maps + np.random.default_rng(seed).random(maps.shape)
    ragged = [masks[0], masks[1][:3], masks[2][:, :5]], [maps[0], maps[1][:3], maps[2][:, :5]]
    for case in ((masks, maps), (masks, untied), ragged):
        assert aupro(*case, limit) == pytest.approx(reference_aupro(*case, limit), abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_pro_curve_has_at_most_two_corners_per_distinct_anomalous_score(seed: int) -> None:
    masks, maps = random_images(seed)
    fpr, pro = pro_curve(masks, maps)
    distinct = len(np.unique(maps[masks.astype(bool)]))
    assert distinct <= len(fpr) == len(pro) <= 2 + 2 * distinct
    assert (fpr[0], pro[0], fpr[-1], pro[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert (np.diff(fpr) >= 0).all() and (np.diff(pro) >= 0).all()


def test_perfect_map_is_one() -> None:
    masks, _ = random_images(0)
    assert aupro(masks, masks.astype(np.float32)) == pytest.approx(1.0, abs=1e-12)
    assert all(value == pytest.approx(1.0) for value in pixel_metrics(masks, 1.0 * masks).values())


def test_never_above_one() -> None:
    for seed in range(100):
        masks, maps = random_images(seed)
        assert aupro(masks, maps + 1000 * masks) <= 1.0, seed


@pytest.mark.parametrize("limit", [0.1, 0.3, 1.0])
def test_constant_map_is_the_chance_line(limit: float) -> None:
    """One threshold: a straight line from (0, 0) to (1, 1), area limit^2 / 2."""
    masks, maps = random_images(0)
    assert aupro(masks, np.full_like(maps, 7.0), limit) == pytest.approx(limit / 2, abs=1e-12)


def test_a_small_missed_region_weighs_as_much_as_a_large_found_one() -> None:
    """Found at once: half of the regions. The missed one has the lowest score: a line to (1, 1)."""
    mask, scores = np.zeros((20, 20), bool), np.zeros((20, 20))
    mask[:10, :10], mask[15, 15] = True, True
    scores[:10, :10] = 1.0
    limit = 0.3
    assert aupro([mask], [scores], limit) == pytest.approx(0.5 + 0.5 * limit / 2, abs=1e-12)


def test_limit_is_interpolated() -> None:
    """The curve (0, 0), (0.5, 0.5), (1, 1) has no point at 0.3."""
    masks = [[[1, 1] + [0] * 10]]
    maps = [[[2.0, 1.0] + [2.0] * 5 + [1.0] * 5]]
    assert pro_curve(masks, maps)[0].tolist() == [0.0, 0.5, 1.0]
    assert aupro(masks, maps, 0.3) == pytest.approx(0.15, abs=1e-12)


def test_diagonal_pixels_are_one_region() -> None:
    """One region is a diagonal pair (half found), one a pixel (missed): 1/4, not 1/3."""
    mask = np.zeros((1, 5, 5), bool)
    mask[0, [0, 1, 4], [0, 1, 4]] = True
    maps = np.zeros((1, 5, 5))
    maps[0, 0, 0] = 1.0
    assert pro_curve(mask, maps)[1] == pytest.approx([0.0, 0.25, 1.0])


def test_regions_do_not_join_across_images() -> None:
    """A region at the bottom of one image and one at the top of the next stay two."""
    masks = np.zeros((2, 3, 3), bool)
    masks[0, 2], masks[1, 0, 0] = True, True
    maps = np.zeros((2, 3, 3))
    maps[1, 0, 0] = 1.0
    assert pro_curve(masks, maps)[1] == pytest.approx([0.0, 0.5, 1.0])


def test_false_positives_count_in_images_without_a_defect() -> None:
    masks = np.zeros((2, 2, 2), bool)
    masks[0, 0, 0] = True
    maps = np.array([[[1.0, 0.0], [0.0, 0.0]], [[2.0, 0.0], [0.0, 0.0]]])
    fpr, pro = pro_curve(masks, maps)
    assert fpr.tolist() == [0.0, 1 / 7, 1 / 7, 1.0]
    assert pro.tolist() == [0.0, 0.0, 1.0, 1.0]


def test_shifted_map_is_worse() -> None:
    mask = np.zeros((1, 32, 32), bool)
    mask[0, 10:16, 10:16] = True
    sharp = mask + 0.1 * np.random.default_rng(0).random(mask.shape)
    values = [aupro(mask, np.roll(sharp, shift, axis=2)) for shift in (0, 2, 4, 8)]
    assert values[0] == pytest.approx(1.0)
    assert values == sorted(values, reverse=True) and len(set(values)) == 4


@pytest.mark.parametrize("change", [np.exp, np.arctan, lambda s: 3 * s - 50])
def test_increasing_change_of_scores_changes_nothing(change: np.ufunc) -> None:
    masks, maps = random_images(1)
    expected = pixel_metrics(masks, maps)
    changed = change(maps.astype(np.float64))
    assert pixel_metrics(masks, changed) == pytest.approx(expected, abs=1e-12)


def test_order_of_images_does_not_matter() -> None:
    masks, maps = random_images(2)
    expected = pixel_metrics(masks, maps)
    assert pixel_metrics(masks[::-1], maps[::-1]) == pytest.approx(expected, abs=1e-12)


def test_pixel_metrics_take_channels_lists_and_uint8() -> None:
    masks, maps = random_images(3)
    expected = pixel_metrics(masks, maps)
    assert pixel_metrics(masks[:, None], maps[:, None]) == expected
    assert pixel_metrics(masks[:, None].astype(np.uint8), maps) == expected
    assert pixel_metrics(list(masks), [m.tolist() for m in maps.astype(np.float64)]) == expected


def test_pixel_metrics_are_the_four_metrics() -> None:
    masks, maps = random_images(4)
    names = ["pixel_auroc", "pixel_ap", "pixel_f1_max_oracle", "aupro"]
    values = [f(masks, maps) for f in (auroc, average_precision, lambda *x: f1_max(*x)[0], aupro)]
    assert pixel_metrics(masks, maps) == pytest.approx(dict(zip(names, values, strict=True)), abs=1e-12)


@pytest.mark.parametrize("labels", [[], [0, 0], [1, 1]], ids=["empty", "normal", "anomalous"])
def test_undefined_is_nan(labels: list[int]) -> None:
    scores = np.arange(len(labels), dtype=float)
    assert np.isnan(list(image_metrics(labels, scores).values())).all()
    assert np.isnan(f1_max(labels, scores)).all()
    image = np.array(labels).reshape(-1, 1, 1)
    assert np.isnan(list(pixel_metrics(image, scores.reshape(-1, 1, 1)).values())).all()
    assert np.isnan(pro_curve(image, scores.reshape(-1, 1, 1))).all()


@pytest.mark.parametrize("metric", [auroc, average_precision, f1_max])
def test_refuses_what_it_cannot_rank(metric: object) -> None:
    with pytest.raises(ValueError, match=r"\(3,\).*\(2,\)"):
        metric([0, 1, 1], [0.0, 1.0])
    with pytest.raises(ValueError, match="2 of 3 scores are NaN or infinite"):
        metric([0, 1, 1], [0.0, np.nan, np.inf])
    with pytest.raises(ValueError, match="binarize"):
        metric([0, 255], [0.0, 1.0])


def test_aupro_refuses_what_it_cannot_pair() -> None:
    masks, maps = random_images(0)
    with pytest.raises(ValueError, match="4 masks but 3 maps"):
        aupro(masks, maps[:3])
    with pytest.raises(ValueError, match=r"image 0: mask \(7, 7\) but map \(7, 5\)"):
        aupro(masks, maps[:, :, :5])
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        aupro(masks[0], maps[0])
    with pytest.raises(ValueError, match="1 of 196 scores are NaN"):
        aupro(masks, np.where(np.arange(196).reshape(maps.shape) == 5, np.nan, maps))
    with pytest.raises(ValueError, match="binarize"):
        aupro(masks * 0.5, maps)
    for limit in (0.0, 1.5):
        with pytest.raises(ValueError, match="fpr_limit"):
            aupro(masks, maps, fpr_limit=limit)


def test_bootstrap_interval_holds_the_value_and_repeats() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(80) < 0.5
    scores = rng.normal(size=80) + labels
    low, high = bootstrap_interval(auroc, labels, scores, n=100)
    assert 0 < low < auroc(labels, scores) < high < 1
    assert bootstrap_interval(auroc, labels, scores, n=100) == (low, high)
    narrow = bootstrap_interval(auroc, labels, scores, n=100, level=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_bootstrap_of_a_mean_has_its_known_width() -> None:
    """The 95 % interval of a mean of 400 standard normal values: +- 1.96 / 20."""
    scores = np.random.default_rng(1).normal(size=400)
    drawn: list[float] = []
    low, high = bootstrap_interval(lambda _, s: drawn.append(s.mean()) or drawn[-1], np.zeros(400), scores, n=2000)
    assert [low, high] == np.quantile(drawn, [0.025, 0.975]).tolist()
    assert (high - low) / 2 == pytest.approx(1.96 * scores.std() / 20, rel=0.1)


def test_bootstrap_keeps_the_pixels_of_an_image_together() -> None:
    masks, maps = random_images(5)
    low, high = bootstrap_interval(aupro, masks, maps, n=50)
    assert 0 <= low < high <= 1
    same = bootstrap_interval(aupro, masks[[0, 0, 0]], maps[[0, 0, 0]], n=50)
    assert same == pytest.approx([aupro(masks[:1], maps[:1])] * 2)


def test_bootstrap_skips_undefined_draws() -> None:
    assert bootstrap_interval(auroc, [0, 1], [0.0, 1.0], n=50) == (1.0, 1.0)
    assert np.isnan(bootstrap_interval(auroc, [0, 0], [0.0, 1.0], n=5)).all()
    assert np.isnan(bootstrap_interval(auroc, [], [], n=5)).all()
    with pytest.raises(ValueError, match="2 labels but 1 scores"):
        bootstrap_interval(auroc, [0, 1], [0.0])


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=8), st.integers(0, 255))
def test_metrics_are_in_their_range_undefined_or_refused(values: list[float], bits: int) -> None:
    labels = [bits >> k & 1 for k in range(len(values))]
    if not all(map(math.isfinite, values)):
        for use in (metrics.image_metrics, metrics.f1_max, lambda _, values: thresholds.quantile(values)):
            with pytest.raises(ValueError, match="NaN or infinite"):
                use(labels, values)
        return
    both = 0 < sum(labels) < len(labels)
    masks, maps = np.array(labels)[None, None], np.array(values)[None, None]
    for value in (metrics.image_metrics(labels, values) | metrics.pixel_metrics(masks, maps)).values():
        assert 0 <= value <= 1 if both else math.isnan(value)


def test_defaults() -> None:
    assert defaults(metrics.aupro) == {"fpr_limit": 0.3}
    assert defaults(metrics.bootstrap_interval) == {"n": 1000, "level": 0.95, "seed": 0}
    assert metrics.PRO_LIMIT == 0.3
