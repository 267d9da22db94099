"""FastFlow Lite: unsupervised anomaly detection with 2D normalizing flows (FastFlow, arXiv 2111.07677).

>>> from fastflow_lite import FastFlow, evaluate, fit, open_dataset

Each name is imported when it is first used, so that the command line answers before torch is loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastflow_lite.config import FastFlowConfig
    from fastflow_lite.datasets import open_dataset
    from fastflow_lite.detection import Detector
    from fastflow_lite.errors import FastFlowError
    from fastflow_lite.evaluation import Result, evaluate
    from fastflow_lite.model import FastFlow
    from fastflow_lite.scoring import Threshold
    from fastflow_lite.training import History, Settings, fit

__version__ = "0.1.0"
__all__ = [
    "Detector",
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
_MODULES = {
    "Detector": "detection",
    "FastFlow": "model",
    "FastFlowConfig": "config",
    "FastFlowError": "errors",
    "History": "training",
    "Result": "evaluation",
    "Settings": "training",
    "Threshold": "scoring",
    "evaluate": "evaluation",
    "fit": "training",
    "open_dataset": "datasets",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
