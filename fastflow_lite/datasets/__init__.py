"""Images on disk and their masks: folders in MVTec layout, CIFAR-10, downloads, augmentation, near duplicates.

`open_dataset` is the entry point. This room does not know models or scores.
"""

from fastflow_lite.datasets.image_set import GOOD, NORMAL_NAMES, ImageSet, Sample, is_normal_name
from fastflow_lite.datasets.listing import SUFFIXES
from fastflow_lite.datasets.opening import OPENERS, Data, data_root, open_dataset

__all__ = [
    "GOOD",
    "NORMAL_NAMES",
    "OPENERS",
    "SUFFIXES",
    "Data",
    "ImageSet",
    "Sample",
    "data_root",
    "is_normal_name",
    "open_dataset",
]
