"""The memory and the threads of devices: where cached features are kept, copies beside what computes, threads.

This package does not depend on models, images or training.
"""

from fastflow_lite.devices.feature_storage import FeatureStorage, choose_place, free_memory, make_storage
from fastflow_lite.devices.host_copy import HostCopy
from fastflow_lite.devices.thread_choice import ThreadChoice

__all__ = ["FeatureStorage", "HostCopy", "ThreadChoice", "choose_place", "free_memory", "make_storage"]
