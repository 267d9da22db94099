"""One notebook over a grid of parameters, on several workers, and the table of all results.

A run is a folder with an executed notebook, a state and a record. This room knows files and processes; it does not
know models, data sets or figures.
"""

from fastflow_lite.batch.run import plan, run_batch

__all__ = ["plan", "run_batch"]
