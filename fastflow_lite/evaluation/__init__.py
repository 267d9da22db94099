"""A trained model judged on labeled images: maps, scores, metrics, thresholds, the result record, a report as text.

`evaluate` is the one way in. This room trains nothing and draws nothing.
"""

from fastflow_lite.evaluation.evaluator import Result, Scored, evaluate, judge_thresholds, score_images

__all__ = ["Result", "Scored", "evaluate", "judge_thresholds", "score_images"]
