"""The memory of devices: where cached features are kept, and copies that the device makes while it computes.

This package does not depend on models, images or training.
"""

from fastflow_lite.devices.feature_storage import FeatureStorage, choose_place, free_memory, make_storage
from fastflow_lite.devices.host_copy import HostCopy

__all__ = ["FeatureStorage", "HostCopy", "choose_place", "free_memory", "make_storage"]
