"""One notebook over a grid of parameters, on several workers, and the table of all results.

A run is a folder with an executed notebook, a state and a record. This package handles files and processes; it
imports no models, data sets or figures.
"""

from fastflow_lite.batch.published import compare_with_published, published
from fastflow_lite.batch.records import locate, read_records
from fastflow_lite.batch.run import plan, run_batch
from fastflow_lite.batch.table import half_width, markdown, means, table, to_csv, varying, with_spread

__all__ = [
    "compare_with_published",
    "half_width",
    "locate",
    "markdown",
    "means",
    "plan",
    "published",
    "read_records",
    "run_batch",
    "table",
    "to_csv",
    "varying",
    "with_spread",
]
