"""The one ranking gives scikit-learn's metrics, whichever class has the highest score, and with ties."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from fastflow_lite.scoring.ranking import Ranking

pytestmark = pytest.mark.cpu_only  # NumPy alone


@pytest.mark.parametrize("distinct", [3, 50, 10**6])
@pytest.mark.parametrize("top_is_normal", [True, False])
def test_metrics_equal_scikit_learns(distinct: int, top_is_normal: bool) -> None:
    rng = np.random.default_rng(distinct)
    labels = rng.random(200) < 0.3
    scores = np.r_[rng.integers(distinct, size=200), distinct + 1.0]
    labels = np.r_[labels, not top_is_normal]
    ranking = Ranking.of(labels, scores)
    assert ranking.auroc() == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert ranking.average_precision() == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = (2 * precision * recall / np.maximum(precision + recall, 1e-300))[:-1]
    assert ranking.f1_max() == (pytest.approx(f1.max(), abs=1e-12), thresholds[np.argmax(f1)])


def test_all_wrong_and_all_right() -> None:
    assert Ranking.of([1, 0], [0.0, 1.0]).auroc() == 0
    assert Ranking.of([0, 1], [0.0, 1.0]).auroc() == 1
