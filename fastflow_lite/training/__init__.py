"""Training of the flows on normal images: feature cache, checkpoints, several processes, recipes.

`fit` is the one way in. This room sees normal images only: no label and no mask of a test set reaches it.
"""

from fastflow_lite.training.trainer import History, Settings, adam, fit, mean_bits_per_dim, trainable_state

__all__ = ["History", "Settings", "adam", "fit", "mean_bits_per_dim", "trainable_state"]
