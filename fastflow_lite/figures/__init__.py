"""Every figure, a module for each subject, in one style.

A function here takes arrays or results and returns a matplotlib figure. This room does not know training, and it
computes no score and no metric.
"""

__all__ = ["basics", "features", "flows", "inverse", "judging", "maps", "plane", "plots", "style"]
