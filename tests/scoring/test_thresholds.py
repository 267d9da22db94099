"""Thresholds: exact counts of alarms, the conformal guarantee, and splits that lose nobody."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tiny import defaults

from fastflow_lite.errors import ArgumentError
from fastflow_lite.scoring import thresholds
from fastflow_lite.scoring.thresholds import (
    Threshold,
    best_f1,
    conformal,
    conformal_p_values,
    f1_curve,
    fixed,
    quantile,
    report,
    split_validation,
)

pytestmark = pytest.mark.cpu_only  # NumPy alone

# --- the rule ---------------------------------------------------------------------------------


def test_decides_at_or_above_in_any_shape() -> None:
    alarms = fixed(2).decide(np.array([[1.0, 2.0], [3.0, np.nextafter(2.0, 0)]]))
    assert alarms.tolist() == [[False, True], [True, False]]
    assert alarms.dtype == bool


def test_threshold_is_frozen_and_never_nan() -> None:
    with pytest.raises(AttributeError):
        fixed(1.0).value = 2.0
    with pytest.raises(ValueError, match="NaN"):
        fixed(math.nan)


# --- quantile ---------------------------------------------------------------------------------

SCORES = {
    "distinct": np.random.default_rng(0).normal(size=100),
    "float32": np.random.default_rng(1).normal(size=100).astype(np.float32),
    "ties": np.random.default_rng(2).integers(5, size=100).astype(float),
    "constant": np.full(100, 3.0),
    "one": np.array([3.0]),
}


@pytest.mark.parametrize("q", [0.07, 0.5, 0.9, 0.95, 0.999, 1.0])
@pytest.mark.parametrize("name", SCORES)
def test_quantile_is_the_smallest_that_keeps_its_promise(name: str, q: float) -> None:
    scores = SCORES[name]
    allowed = math.floor(round((1 - q) * len(scores), 6))
    threshold = quantile(scores, q)
    assert threshold.decide(scores).sum() <= allowed
    smaller = fixed(np.nextafter(threshold.value, -np.inf))
    assert smaller.decide(scores).sum() > allowed


def test_quantile_by_hand() -> None:
    threshold = quantile(range(1, 101), q=0.95)
    assert threshold.value == np.nextafter(95.0, np.inf)
    assert threshold.decide([95, 96]).tolist() == [False, True]
    assert (threshold.strategy, "5 of 100" in threshold.note) == ("quantile", True)


def test_float32_scores_do_not_pull_the_threshold_down_onto_themselves() -> None:
    """In float32 the value just above 0.1 is 0.1 again, and the normal score would be an alarm."""
    scores = np.full(10, 0.1, dtype=np.float32)
    assert not quantile(scores).decide(scores).any()


@pytest.mark.parametrize("q", [0.0, -0.1, 1.1, 95])
def test_quantile_refuses_bad_q(q: float) -> None:
    with pytest.raises(ValueError, match="q must be"):
        quantile([1.0, 2.0], q)


@pytest.mark.parametrize("strategy", [quantile, conformal, lambda s: conformal_p_values(s, [1.0])])
def test_normal_scores_must_exist_and_be_finite(strategy: object) -> None:
    with pytest.raises(ValueError, match="no normal scores"):
        strategy([])
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        strategy([1.0, np.nan])


# --- best F1 ----------------------------------------------------------------------------------


def brute_force_f1(labels: np.ndarray, alarms: np.ndarray) -> float:
    return 2 * (labels & alarms).sum() / (labels.sum() + alarms.sum())


@pytest.mark.parametrize("seed", range(10))
def test_best_f1_beats_every_other_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.random(40) < 0.4
    scores = rng.integers(20, size=40) + 5 * labels
    reached = brute_force_f1(labels, best_f1(labels, scores).decide(scores))
    candidates = np.unique(scores)
    values = [brute_force_f1(labels, scores >= t) for t in candidates]
    assert reached == pytest.approx(max(values), abs=1e-12)
    f1, thresholds = f1_curve(labels, scores)
    assert thresholds.tolist() == candidates.tolist()
    np.testing.assert_allclose(f1, values, atol=1e-12)


def test_best_f1_lies_midway() -> None:
    assert best_f1([0, 0, 1, 1], [1.0, 2.0, 4.0, 5.0]).value == 3.0


def test_best_f1_at_the_lowest_score_stays_there() -> None:
    threshold = best_f1([1, 1, 0], [1.0, 2.0, 3.0])
    assert threshold.value == 1.0
    assert threshold.decide([1.0, 2.0, 3.0]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_best_f1_between_neighboring_floats(dtype: type) -> None:
    scores = np.array([1, np.nextafter(dtype(1), dtype(2))], dtype=dtype)
    assert best_f1([0, 1], scores).decide(scores).tolist() == [False, True]


@pytest.mark.parametrize("labels", [[], [0, 0], [1, 1]])
def test_best_f1_needs_both_classes(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="both classes"):
        best_f1(labels, np.zeros(len(labels)))


# --- conformal --------------------------------------------------------------------------------


def test_p_values_by_hand() -> None:
    p = conformal_p_values([1, 2, 2, 3], [[0, 1, 2], [2.5, 3, 4]])
    assert (p * 5).round(12).tolist() == [[5, 5, 4], [2, 2, 1]]


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.5])
@pytest.mark.parametrize("ties", [False, True])
def test_exchangeable_scores_keep_the_guarantee(alpha: float, ties: bool) -> None:
    """20 000 draws of 19 normal scores and a new one: P(p <= alpha) is alpha, less with ties."""
    rng = np.random.default_rng(0)
    draws = rng.integers(10, size=(20_000, 20)) if ties else rng.normal(size=(20_000, 20))
    rate = np.mean([conformal_p_values(d[:19], d[19]) <= alpha + 1e-12 for d in draws])
    deviation = math.sqrt(alpha * (1 - alpha) / len(draws))
    assert rate <= alpha + 3 * deviation
    if not ties:
        assert rate >= alpha - 3 * deviation


@pytest.mark.parametrize("name", ["distinct", "float32", "ties", "constant"])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.07, 0.5, 0.99])
def test_conformal_threshold_decides_as_the_p_value(name: str, alpha: float) -> None:
    normal = SCORES[name]
    scores = np.concatenate([normal, normal + 0.01, np.linspace(-4, 9, 50)])
    alarms = conformal(normal, alpha).decide(scores)
    assert alarms.tolist() == (conformal_p_values(normal, scores) <= alpha + 1e-12).tolist()


def test_conformal_says_how_many_normal_scores_it_needs() -> None:
    assert conformal(range(19), alpha=0.05).value == np.nextafter(18.0, np.inf)
    with pytest.raises(ValueError, match=r"alpha=0\.05 needs 19 normal scores or more, got 18"):
        conformal(range(18), alpha=0.05)
    for alpha in (0.0, 1.0):
        with pytest.raises(ValueError, match="alpha must be"):
            conformal(range(18), alpha=alpha)


# --- report -----------------------------------------------------------------------------------


def test_report_by_hand() -> None:
    rows = report([0, 0, 0, 1, 1], [1, 2, 5, 3, 6], [fixed(5), Threshold(3.0, "mine", "")])
    assert rows[0] == {
        "strategy": "fixed",
        "value": 5.0,
        "precision": 1 / 2,
        "recall": 1 / 2,
        "f1": 1 / 2,
        "false_alarm_rate": 1 / 3,
        "accuracy": 3 / 5,
        "n_normal": 3,
        "n_anomalous": 2,
    }
    assert (rows[1]["strategy"], rows[1]["recall"], rows[1]["accuracy"]) == ("mine", 1.0, 4 / 5)


def test_report_marks_what_is_undefined() -> None:
    silent = report([0, 0], [1, 2], [fixed(9)])[0]
    assert [k for k, v in silent.items() if v != v] == ["precision", "recall", "f1"]
    assert (silent["accuracy"], silent["false_alarm_rate"]) == (1.0, 0.0)
    all_anomalous = report([1, 1], [1, 2], [fixed(0)])[0]
    assert [k for k, v in all_anomalous.items() if v != v] == ["false_alarm_rate"]
    assert math.isnan(report([], [], [fixed(0)])[0]["accuracy"])


# --- split ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_few_images_are_split_as_promised(seed: int) -> None:
    labels = np.array([0, 0, 0, 1])
    validation, test = split_validation(labels, 0.9, seed)
    assert labels[validation].tolist() == [0, 0], "a class of three leaves one to the test part"
    assert labels[test].tolist() == [0, 1], "the only anomalous image belongs to the test part"


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(5))
def test_split_is_exhaustive_disjoint_and_stratified(seed: int, fraction: float) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.random(60) < 0.6).astype(int)
    groups = np.where(labels, rng.choice(["crack", "hole", "stain"], size=60), "good")
    validation, test = split_validation(labels, fraction, seed, groups)
    assert sorted([*validation, *test]) == list(range(60))
    assert set(labels[validation]) == set(labels[test]) == {0, 1}
    for label in (0, 1):
        of_class = labels == label
        count = (labels[validation] == label).sum()
        assert count == np.clip(round(fraction * of_class.sum()), 1, of_class.sum() - 1)
        for group in set(groups[of_class]):
            share = count / of_class.sum() * (groups == group).sum()
            assert abs((groups[validation] == group).sum() - share) < 1 + 1e-9, group


def test_split_repeats_with_the_seed_and_changes_with_it() -> None:
    labels = np.arange(40) % 2
    first, again, other = (split_validation(labels, seed=seed)[0].tolist() for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("labels", [[], [1], [0, 1], [0, 0, 1, 1], [0, 0, 0, 1]])
def test_split_of_tiny_sets(labels: list[int]) -> None:
    validation, test = split_validation(labels)
    assert sorted([*validation, *test]) == list(range(len(labels)))
    for label in (0, 1):
        if labels.count(label) >= 2:
            assert {label} <= {labels[i] for i in validation} & {labels[i] for i in test}


def test_split_of_many_groups_of_one_is_not_one_sided() -> None:
    labels, groups = np.repeat([0, 1], 10), np.arange(20)
    validation, _ = split_validation(labels, groups=groups)
    assert labels[validation].tolist() == [0] * 5 + [1] * 5


def test_split_refuses_bad_input() -> None:
    for fraction in (0.0, 1.0):
        with pytest.raises(ValueError, match="fraction"):
            split_validation([0, 1], fraction=fraction)
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        split_validation([0, 1], groups=["a", "b", "c"])
    with pytest.raises(ValueError, match="bool, or 0 and 1"):
        split_validation([1, 2])


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (thresholds.quantile, {"q": 0.95}),
        (thresholds.conformal, {"alpha": 0.05}),
        (thresholds.split_validation, {"fraction": 0.5, "seed": 0, "groups": None}),
    ],
)
def test_defaults(function: Callable[..., Any], expected: dict[str, Any]) -> None:
    assert defaults(function) == expected


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_a_score_that_is_no_number_is_never_no_alarm(bad: float, shape: tuple[int, ...]) -> None:
    scores = np.full(shape, -1.0)
    scores[tuple(0 for _ in shape)] = bad
    for rule in (fixed(0.5), fixed(math.inf)):
        with pytest.raises(ArgumentError, match=f"1 of {scores.size} scores are NaN or infinite"):
            rule.decide(scores)
