"""What only the notebooks need: set-up and parameters, checks of transforms, widgets, flows on the plane, ablations.

The library works without this room, and nothing below it imports it.
"""

__all__ = [
    "ablation",
    "backbone_views",
    "checks",
    "latent_edits",
    "latent_views",
    "notebook",
    "parameters",
    "plane",
    "views",
    "widgets",
]
