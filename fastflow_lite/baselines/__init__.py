"""PatchCore and PaDiM over any backbone, with the interface of `FastFlow`: the control of every claim about a flow.

Both are fitted in one pass over normal images, without gradients. This room does not know the model or any label.
"""

from fastflow_lite.baselines.baseline import Baseline
from fastflow_lite.baselines.config import BaselineConfig, PaDiMConfig, PatchCoreConfig
from fastflow_lite.baselines.history import FitHistory
from fastflow_lite.baselines.padim import PaDiM
from fastflow_lite.baselines.patchcore import PatchCore

BASELINES: dict[str, type[PatchCore] | type[PaDiM]] = {"patchcore": PatchCore, "padim": PaDiM}

__all__ = [
    "BASELINES",
    "Baseline",
    "BaselineConfig",
    "FitHistory",
    "PaDiM",
    "PaDiMConfig",
    "PatchCore",
    "PatchCoreConfig",
]
