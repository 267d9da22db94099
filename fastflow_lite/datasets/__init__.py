"""Images on disk and their masks: any folder or CSV file, CIFAR-10, downloads, near duplicates.

`open_dataset` is the entry point. This room does not know models or scores.
"""

from fastflow_lite.datasets.image_set import GOOD, NORMAL_NAMES, ImageSet, Sample, is_normal_name
from fastflow_lite.datasets.inspection import Inspection, inspect_data
from fastflow_lite.datasets.listing import SUFFIXES
from fastflow_lite.datasets.opening import OPENERS, Data, data_root, open_dataset

__all__ = [
    "GOOD",
    "NORMAL_NAMES",
    "OPENERS",
    "SUFFIXES",
    "Data",
    "ImageSet",
    "Inspection",
    "Sample",
    "data_root",
    "inspect_data",
    "is_normal_name",
    "open_dataset",
]
