"""Every figure, a module for each subject, in one style.

A function here takes arrays, results or flows and returns a matplotlib figure, or draws a schematic as SVG; `from
fastflow_lite import figures` is enough to call all of them, as `figures.maps.gallery(...)`, and matplotlib is imported
when one is drawn. This room does not know training, and computes neither scores nor metrics; the points of ROC and PRO
curves are the only exception.
"""

from fastflow_lite.figures import (
    change_of_variables,
    comparisons,
    course_map,
    curves,
    drawing,
    drift,
    features,
    images,
    latents,
    layout,
    likelihoods,
    loops,
    maps,
    method_schematics,
    pictures,
    plane,
    rivals,
    schematics,
    scores,
    style,
)

__all__ = [
    "change_of_variables",
    "comparisons",
    "course_map",
    "curves",
    "drawing",
    "drift",
    "features",
    "images",
    "latents",
    "layout",
    "likelihoods",
    "loops",
    "maps",
    "method_schematics",
    "pictures",
    "plane",
    "rivals",
    "schematics",
    "scores",
    "style",
]
