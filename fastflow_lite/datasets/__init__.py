"""Images on disk and their masks: folders in MVTec layout, CIFAR-10, downloads, augmentation, near duplicates.

`open_dataset` is the one way in. This room does not know backbones, models or scores.
"""

from fastflow_lite.datasets.image_set import (
    GOOD,
    NAMED,
    NORMAL_FOLDERS,
    READERS,
    SUFFIXES,
    Data,
    ImageSet,
    Sample,
    data_root,
    open_dataset,
)

__all__ = [
    "GOOD",
    "NAMED",
    "NORMAL_FOLDERS",
    "READERS",
    "SUFFIXES",
    "Data",
    "ImageSet",
    "Sample",
    "data_root",
    "open_dataset",
]
