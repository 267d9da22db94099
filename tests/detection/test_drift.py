"""Drift: false warnings are as rare as promised whatever the calibration's size, and a shift is found."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from fastflow_lite.detection.drift import LEVEL, Drift, alarm_rate, log_martingales
from fastflow_lite.detection.run_log import LoggedScores
from fastflow_lite.scoring.thresholds import Threshold, conformal, fixed


def logged(normal: np.ndarray, new: np.ndarray, rule: Threshold | None = None) -> Drift:
    """The drift of scores that come a second apart, with a conformal threshold at 5 % unless another is given."""
    threshold = conformal(normal, 0.05) if rule is None else rule
    times = np.datetime64("2026-11-01T08:00", "ms") + 1000 * np.arange(len(new))
    promised = 0.05 if rule is None else None
    scores = (np.sort(normal), times, new, threshold.decide(new), 0, 0)
    return Drift(LoggedScores("a" * 64, threshold.strategy, threshold.value, promised, *scores))


def simulated(seed: int, normal: int, new: int, shift: float = 0, start: int = 0) -> Drift:
    rng = np.random.default_rng([seed, normal])
    scores = rng.standard_normal(new)
    scores[start:] += shift
    return logged(rng.standard_normal(normal), scores)


@pytest.mark.parametrize("normal", [20, 100, 1000])
def test_false_warnings_are_rare_however_often_one_looks(normal: int) -> None:
    """`LEVEL` is 1 %: above 8 of 200 logs the chance is 0.03 %. A binomial test of exactly 5 % fails here."""
    drifts = [simulated(seed, normal, 500) for seed in range(200)]
    assert sum(drift.rate_broken is not None for drift in drifts) <= 8
    assert sum(drift.scores_moved is not None for drift in drifts) <= 8
    assert sum(drift.rate.p_value < LEVEL for drift in drifts) <= 8


def test_scores_that_are_rounded_warn_no_more_often() -> None:
    drifts = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        drifts.append(logged(rng.standard_normal(1000).round(1), rng.standard_normal(500).round(1)))
    assert sum(drift.scores_moved is not None for drift in drifts) <= 8


def test_half_a_standard_deviation_is_found() -> None:
    """Found by the scores in 100 % of logs and by the alarms in 97 %, late in a log too; see the module."""
    for start, within in ((0, 250), (1000, 500)):
        drifts = [simulated(seed, 1000, start + 1000, 0.5, start) for seed in range(20)]
        by_scores = [drift.scores_moved for drift in drifts if drift.scores_moved is not None]
        by_alarms = [drift.rate_broken for drift in drifts if drift.rate_broken is not None]
        assert len(by_scores) == 20 and all(drift.moved_up for drift in drifts)
        assert len(by_alarms) >= 17
        assert start < np.median(by_scores) < start + within and np.median(by_scores) < np.median(by_alarms)


def test_lower_scores_are_found_by_the_scores_alone() -> None:
    drift = simulated(0, 1000, 500, -0.5)
    assert drift.rate_broken is None and drift.scores_moved is not None and not drift.moved_up


def test_found_defects_break_the_rate_and_leave_the_scores() -> None:
    rng = np.random.default_rng(0)
    new = rng.standard_normal(500)
    new[::5] = 50
    drift = logged(rng.standard_normal(1000), new)
    assert drift.rate_broken is not None and drift.scores_moved is None


def test_a_rule_without_a_promise_is_tested_by_its_scores() -> None:
    rng = np.random.default_rng(0)
    drift = logged(rng.standard_normal(200), rng.standard_normal(500) + 1, fixed(2))
    assert drift.rate_broken is None and not drift.alarm_evidence.any() and drift.scores_moved is not None


@pytest.mark.parametrize("rule", [None, fixed(-5), fixed(100)])
@pytest.mark.parametrize("new", [1, 150])
def test_odd_logs_give_finite_evidence(rule: Threshold | None, new: int) -> None:
    """All are alarms, none is, or there is one image; a calibration may be one score."""
    rng = np.random.default_rng(0)
    for normal in (20, 200) if rule is None else (1, 20):
        drift = logged(rng.standard_normal(normal), rng.standard_normal(new), rule)
        assert np.isfinite(drift.alarm_evidence).all() and np.isfinite(drift.score_evidence).all()
        assert drift.score_evidence.shape == drift.alarm_evidence.shape == (new,)
        assert drift.recent.images == min(new, 100) and 0 <= drift.rate.low <= drift.rate.rate <= drift.rate.high <= 1


def test_a_martingale_keeps_its_expected_value() -> None:
    """By hand, over all sequences of three scores in two groups, with the probabilities of exchangeable scores."""
    sizes, bets = np.array([3.0, 2.0]), np.log([[1.0, 4.0], [3.0, 0.5]])
    expected = np.zeros((3, 2))
    for number in range(8):
        groups = np.array([number >> 2 & 1, number >> 1 & 1, number & 1])
        pool, probability = sizes.copy(), 1.0
        for group in groups:
            probability *= pool[group] / pool.sum()
            pool[group] += 1
        expected += probability * np.exp(log_martingales(groups, sizes, bets))
    np.testing.assert_allclose(expected, 1)


@pytest.mark.parametrize("normal", [20, 45])
def test_a_score_without_alarm_is_expected_to_change_nothing(normal: int) -> None:
    """It lies in each gap below the highest calibration score without alarm with the same probability."""
    scores = np.arange(normal, dtype=float)
    below = scores[scores < conformal(scores, 0.05).value]
    new = np.append(below[:-1], below[-2]) + np.append(np.full(len(below) - 1, -0.5), 0.5)
    evidence = [logged(scores, np.array([score])).score_evidence[0] for score in new]
    assert np.exp(evidence).mean() == pytest.approx(1)


def test_recent_images_are_the_last() -> None:
    drift = logged(np.arange(100.0), np.repeat([0.0, 200.0, 0.0], [300, 60, 40]))
    assert (drift.rate.alarms, drift.rate.images, drift.recent.alarms, drift.recent.images) == (60, 400, 60, 100)


def test_the_stake_is_spread_over_all_beginnings() -> None:
    """Against a plain sum over the beginnings."""
    rng = np.random.default_rng(0)
    groups, sizes, bets = rng.integers(0, 3, 12), np.array([4.0, 3.0, 2.0]), np.log([[1.0, 2.0, 5.0]])
    pays, pool = [], sizes.copy()
    for group in groups:
        pays.append(np.exp(bets[0, group]) / (np.exp(bets[0]) @ pool / pool.sum()))
        pool[group] += 1
    for last in range(12):
        begun = sum(np.prod(pays[first : last + 1]) / ((first + 1) * (first + 2)) for first in range(last + 1))
        found = np.exp(log_martingales(groups, sizes, bets)[last, 0])
        assert found == pytest.approx(begun + 1 / (last + 2))


def test_the_interval_and_the_test_of_a_rate() -> None:
    """Against exact values: Clopper and Pearson for 0, 1 and 10 of 10; a beta-binomial summed by hand."""
    none, one, every = (alarm_rate(np.arange(10) < count, 0, 19) for count in (0, 1, 10))
    assert (none.low, every.high) == (0, 1)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 10)) and every.low == pytest.approx(0.025 ** (1 / 10))
    assert one.low == pytest.approx(0.00252858) and one.high == pytest.approx(0.44501612)
    assert none.p_value == pytest.approx(1)
    assert one.p_value == pytest.approx(1 - np.prod([(19 + k) / (20 + k) for k in range(10)]))  # a draw from an urn
    rates = [alarm_rate(np.arange(50) < count, 3, 96).p_value for count in range(51)]
    assert all(later < earlier for earlier, later in pairwise(rates))


def test_the_evidence_of_one_image_by_hand() -> None:
    """Half of the stake is bet on the first image; its pay is divided by its mean over the calibration."""
    scores = np.arange(93.0)
    threshold = conformal(scores, 0.05).value
    above = int((scores >= threshold).sum())
    alarm = logged(scores, np.array([200.0])).alarm_evidence
    pays = [odds * 94 / (93 - above + (above + 1) * odds) for odds in (1.5, 2, 3, 5)]
    assert np.exp(alarm) == pytest.approx([0.5 + 0.5 * np.mean(pays)])
    gaps = 93 - above
    assert gaps == 90, "ten groups of equal size"
    middles = stats.norm.ppf((np.arange(10) + 0.5) / 10)
    for group, score in enumerate(np.arange(10) * 9 + 4.5):
        pays = [np.exp(s * middles[group]) / np.exp(s * middles).mean() for s in (-1, -0.5, -0.25, 0.25, 0.5, 1)]
        found = logged(scores, np.array([score])).score_evidence
        assert np.exp(found) == pytest.approx([0.5 + 0.5 * np.mean(pays)])


def test_the_rate_that_is_expected_without_drift() -> None:
    """Without a score above the threshold it has the distribution Beta(1, n), whose quantiles are roots."""
    low, high = logged(np.arange(20.0), np.zeros(1), fixed(100)).expected
    assert (low, high) == (pytest.approx(1 - 0.975 ** (1 / 20)), pytest.approx(1 - 0.025 ** (1 / 20)))
    one = logged(np.arange(20.0), np.zeros(1), fixed(19)).expected
    assert stats.binom.sf(1, 20, one) == pytest.approx([0.025, 0.975])
