"""FastFlow Lite: unsupervised anomaly detection with 2D normalizing flows (FastFlow, arXiv 2111.07677).

>>> from fastflow_lite import FastFlow, evaluate, fit, open_dataset
"""

from fastflow_lite.config import FastFlowConfig
from fastflow_lite.datasets import open_dataset
from fastflow_lite.errors import FastFlowError
from fastflow_lite.evaluation import Result, evaluate
from fastflow_lite.model import FastFlow
from fastflow_lite.scoring import Threshold
from fastflow_lite.training import History, Settings, fit

__version__ = "0.1.0"
__all__ = [
    "FastFlow",
    "FastFlowConfig",
    "FastFlowError",
    "History",
    "Result",
    "Settings",
    "Threshold",
    "evaluate",
    "fit",
    "open_dataset",
]
