"""A trained model on labeled images: maps, scores, metrics, thresholds, the result record, a report as text.

`evaluate` is the one way in. This room trains nothing and draws nothing.
"""

from fastflow_lite.evaluation.evaluator import compare_thresholds, evaluate
from fastflow_lite.evaluation.result import Record, Result
from fastflow_lite.evaluation.scored_images import ScoredImages, score_images

__all__ = ["Record", "Result", "ScoredImages", "compare_thresholds", "evaluate", "score_images"]
