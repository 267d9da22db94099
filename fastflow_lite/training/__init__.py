"""Training of the flows on normal images: feature cache, checkpoints, recipes.

`fit` is the one way in. This room sees normal images only: no label and no mask of a test set reaches it.
"""

from fastflow_lite.training.history import History
from fastflow_lite.training.loop import trainable_state
from fastflow_lite.training.optimization import adam, one_cycle
from fastflow_lite.training.recipes import RECIPES
from fastflow_lite.training.settings import SCHEDULES, Settings
from fastflow_lite.training.trainer import fit, mean_bits_per_dim, set_training_medians

__all__ = [
    "RECIPES",
    "SCHEDULES",
    "History",
    "Settings",
    "adam",
    "fit",
    "mean_bits_per_dim",
    "one_cycle",
    "set_training_medians",
    "trainable_state",
]
