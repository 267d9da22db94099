"""What only the notebooks need: set-up and parameters, checks of transforms, widgets, flows of points, ablations.

The other modules are imported by name, as in `from fastflow_lite.course import checks`. The library works without
this room, and no room but the command line may import it.
"""

from fastflow_lite.course.notebook import Session, reveal, setup

__all__ = [
    "Session",
    "ablation",
    "backbone_views",
    "checks",
    "doctor",
    "from_scratch",
    "latent_edits",
    "latent_views",
    "live",
    "notebook",
    "parameters",
    "peak_memory",
    "photographs",
    "plane",
    "reveal",
    "setup",
    "views",
    "widgets",
]
