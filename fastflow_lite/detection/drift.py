"""Whether the images of a log are still like those of the calibration, so that the promised false alarm rate holds.

Two martingales test it, one with the alarms, one with the scores of the images without alarm. Both start at 1 and bet
on each image before it comes. As long as new good images and those of the calibration are exchangeable, a martingale
reaches 100 with a probability of 1 % at most, in a log of any length and however often one looks (Ville's inequality).
A plain binomial test has no such guarantee when it is repeated each day. Sources: Vovk, Nouretdinov and Gammerman,
Testing exchangeability on-line (ICML 2003); Volkhonskiy et al., Inductive conformal martingales for change-point
detection (COPA 2017, arXiv 1706.03415).

A calibration is finite, so the true alarm rate of good images is unknown even without any drift: with `k` of `n`
calibration scores above the threshold it has the distribution Beta(k + 1, n - k). A test against exactly the promised
rate would therefore warn falsely: at a level of 1 %, for n = 20 or 100, in 28 % of logs of 2,000 images. Here the next
image is compared with the calibration and all earlier images of the log together: the probability of an alarm is then
exactly (k + 1 + earlier alarms) / (n + 1 + earlier images).

What they need: images that are independent, which ten pictures of one part are not. What they cannot see: whether an
alarm is false. Defects that are known (the column `defect` of the log) are left out; others count as alarms.

Measured with 1,000 logs for each entry, normally distributed scores, 5 % promised (`tests/detection/test_drift.py`
repeats a part). False warnings: logs without drift, 2,000 images each; the error of these entries is 0.3 %. Drift: all
scores half a standard deviation higher from the first or the 1,001st image on; how many logs show it within 1,000
images, and after how many (median).

    calibration images (n)               20           100          1000
    false warnings: alarms            1.0 %         1.3 %         0.8 %
                    scores            1.0 %         0.7 %         0.7 %
    drift from the first: alarms     7 %, 41     38 %, 86    100 %, 123
                          scores    14 %, 67    73 %, 108     100 %, 79
    drift from the 1,001st: alarms 66 %, 389    84 %, 399     97 %, 362
                            scores 98 %, 228    99 %, 249     99 %, 225

A calibration of 20 images cannot show whether half a standard deviation is drift or its own error, so few logs do; the
earlier images of a long log are a reference too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fastflow_lite.detection.run_log import LoggedScores

LEVEL = 0.01  # probability of a false warning, over a whole log, of each of the two tests
RECENT = 100  # images that count as recent
ODDS = (1.5, 2.0, 3.0, 5.0)  # bets: the odds of an alarm become so many times higher
SHIFTS = (-1.0, -0.5, -0.25, 0.25, 0.5, 1.0)  # bets: scores move by so many standard deviations
GROUPS = 10  # of scores without alarm, of about equal size in the calibration

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AlarmRate:
    """How many of some images were alarms, and what that means.

    `low` and `high` bound the true rate with 95 % confidence (Clopper and Pearson 1934, exact). `p_value` is the
    probability of as many alarms or more if nothing has changed since the calibration: a one-sided test with the
    beta-binomial distribution, the binomial one of a rate that a finite calibration leaves uncertain. It holds for one
    look at the log.
    """

    images: int
    alarms: int
    low: float
    high: float
    p_value: float

    @property
    def rate(self) -> float:
        """Alarms per image, NaN without images."""
        return self.alarms / self.images if self.images else float("nan")


def alarm_rate(alarms: NDArray[np.bool_], above: int, normal: int) -> AlarmRate:
    """Compute the rate of `alarms` `(T,)`, beside a calibration of `normal` scores with `above` over the threshold.

    >>> rate = alarm_rate(np.array([True] * 3 + [False] * 17), above=4, normal=99)
    >>> round(rate.low, 3), round(rate.high, 3), round(rate.p_value, 3)
    (0.032, 0.379, 0.092)
    """
    from scipy import stats

    count, images = int(np.sum(alarms)), len(alarms)
    low = stats.beta.ppf(0.025, count, images - count + 1) if count else 0.0
    high = stats.beta.ppf(0.975, count + 1, images - count) if count < images else 1.0
    p_value = stats.betabinom.pmf(np.arange(count, images + 1), images, above + 1, normal - above).sum()
    return AlarmRate(images, count, float(low), float(high), float(p_value))


def log_martingales(groups: NDArray[np.int_], sizes: Array, bets: Array) -> Array:
    """Compute the logarithms `(T, A)` of one martingale for each of A bets, from the groups `(T,)` of new scores.

    Calibration scores divide the line of scores into K groups; `sizes` `(K,)` counts the gaps between them in each
    group, n + 1 in all. An exchangeable new score falls into a group with the probability `sizes / (n + 1)`, and then
    belongs to the calibration of the next one. `bets` `(A, K)` are logarithms: a bet pays its exponential, divided by
    its mean, so that its expected value is 1.

    Nobody knows when a drift begins, so the stake is spread: the share 1 / (t (t + 1)) is bet from image t on, which
    costs twice the logarithm of t. Without it a drift after months would take months to be seen.

    >>> log_martingales(np.array([1, 1]), np.array([9.0, 1.0]), np.log([[1.0, 5.0]])).round(3).ravel().tolist()
    [0.827, 1.789]
    """
    into = np.eye(len(sizes))[groups]  # (T, K)
    before = sizes + np.cumsum(into, axis=0) - into  # calibration and earlier images, by group
    means = before @ np.exp(bets).T / before.sum(axis=1, keepdims=True)
    steps = bets.T[groups] - np.log(means)  # (T, A), of a martingale that began before
    total = np.cumsum(steps, axis=0)
    image = np.arange(1.0, len(groups) + 1)[:, None]
    started = total + np.logaddexp.accumulate(-np.log(image * (image + 1)) - (total - steps), axis=0)
    return np.logaddexp(started, -np.log(image + 1))  # and the share that is not yet bet


@dataclass(frozen=True)
class Drift:
    """What a log of one detector shows: alarm rates, and the evidence of both tests after each image."""

    log: LoggedScores

    @property
    def _above(self) -> int:
        return int(np.sum(self.log.normal_scores >= self.log.threshold))

    @cached_property
    def rate(self) -> AlarmRate:
        """The alarm rate of the whole log."""
        return alarm_rate(self.log.alarms, self._above, len(self.log.normal_scores))

    @cached_property
    def recent(self) -> AlarmRate:
        """The alarm rate of the last 100 images."""
        return alarm_rate(self.log.alarms[-RECENT:], self._above, len(self.log.normal_scores))

    @cached_property
    def expected(self) -> tuple[float, float]:
        """Bounds of the alarm rate of good images without drift, with probability 95 % over calibrations."""
        from scipy import stats

        low, high = stats.beta.ppf([0.025, 0.975], self._above + 1, len(self.log.normal_scores) - self._above)
        return float(low), float(high)

    @cached_property
    def alarm_evidence(self) -> Array:
        """Natural logarithm `(T,)` of the martingale that bets on more alarms; 0 where no rate was promised."""
        if self.log.promised_rate is None:
            return np.zeros(len(self.log.alarms))
        sizes = np.array([len(self.log.normal_scores) - self._above, self._above + 1], np.float64)
        bets = np.log([[1.0, odds] for odds in ODDS])
        return _mean(log_martingales(self.log.alarms.astype(int), sizes, bets))

    @cached_property
    def _shifts(self) -> Array:
        """Logarithms `(T, A)` of the martingales of the scores without alarm, one for each of SHIFTS."""
        from scipy import stats

        below = self.log.normal_scores[self.log.normal_scores < self.log.threshold]
        if self.log.promised_rate is not None:
            below = below[:-1]  # the highest one set the threshold, so no score without alarm can be above it
        gaps = len(below) + 1
        ranks = np.round(np.linspace(0, gaps, min(GROUPS, gaps) + 1)[1:-1]).astype(int)
        borders = np.unique(below[ranks - 1])  # the highest score of each group but the last
        ends = np.array([0, *np.searchsorted(below, borders, "right"), gaps])
        middles = stats.norm.ppf((ends[:-1] + ends[1:]) / (2 * gaps))  # as if scores were normally distributed
        quiet = ~self.log.alarms
        groups = np.searchsorted(borders, self.log.raw_scores[quiet])
        values = log_martingales(groups, np.diff(ends).astype(np.float64), np.outer(SHIFTS, middles))
        return np.concatenate([np.zeros((1, len(SHIFTS))), values])[np.cumsum(quiet)]

    @cached_property
    def score_evidence(self) -> Array:
        """Natural logarithm `(T,)` of the martingale that bets on higher or lower scores of images without alarm.

        An image with an alarm changes nothing, so defects that are found do not count.
        """
        return _mean(self._shifts)

    @property
    def rate_broken(self) -> int | None:
        """The position of the image after which the promised rate no longer holds."""
        return _first(self.alarm_evidence)

    @property
    def scores_moved(self) -> int | None:
        """The position of the image after which the scores are no longer those of the calibration."""
        return _first(self.score_evidence)

    @property
    def moved_up(self) -> bool:
        """Whether the scores have become higher, where they have moved."""
        at = self.scores_moved
        return at is not None and SHIFTS[int(np.argmax(self._shifts[at]))] > 0


def _mean(logarithms: Array) -> Array:
    """Return the logarithm `(T,)` of the mean of martingales `(T, A)`, which is one itself."""
    return np.logaddexp.reduce(logarithms, axis=1) - np.log(logarithms.shape[1])


def _first(evidence: Array) -> int | None:
    """Return the first position where the evidence reaches the limit, or None."""
    reached = np.flatnonzero(evidence >= -np.log(LEVEL))
    return int(reached[0]) if len(reached) else None
