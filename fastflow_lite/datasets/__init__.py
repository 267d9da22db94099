"""Images on disk and their masks: folders in MVTec layout, CIFAR-10, downloads, augmentation, near duplicates.

`open_dataset` is the entry point. This room does not know models or scores.
"""

from fastflow_lite.datasets.folders import NORMAL_FOLDERS
from fastflow_lite.datasets.image_files import SUFFIXES
from fastflow_lite.datasets.image_set import GOOD, ImageSet, Sample
from fastflow_lite.datasets.opening import OPENERS, Data, data_root, open_dataset

__all__ = [
    "GOOD",
    "NORMAL_FOLDERS",
    "OPENERS",
    "SUFFIXES",
    "Data",
    "ImageSet",
    "Sample",
    "data_root",
    "open_dataset",
]
