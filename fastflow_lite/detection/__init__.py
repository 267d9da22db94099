"""A trained model at work: large images in tiles, files that run without this package, a report of decisions.

This room does not know the course or batches of notebooks.
"""

__all__ = ["export", "html_report", "tiling"]
